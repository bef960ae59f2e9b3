"""DQN on CartPole-v1 in CleanRL's style and with its hyperparameters, in plain PyTorch on Gymnasium: steps per second.

    python3 scripts/peers/dqn_cartpole.py --steps 60000 --learning-starts 10000 --seed 0 --threads 1

One environment in a SyncVectorEnv with recorded episodes, as CleanRL has it; its TensorBoard logging is left out. An
update every 10 steps, so a "learning step" is one environment step of the phase after --learning-starts. Prints one
JSON object.
"""

import argparse
import json
import time
from collections import deque

from peer_env import TORCH, enter

enter("torch", *TORCH)

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from learning import begin, parse  # noqa: E402
from torch import nn  # noqa: E402

BATCH_SIZE = 128
REPLAY_SIZE = 10_000
TRAIN_EVERY = 10
TARGET_EVERY = 500
GAMMA = 0.99
EPSILON_START, EPSILON_END, EPSILON_FRACTION = 1.0, 0.05, 0.5
WARM_UP_STEPS = 500


def make_env() -> gym.Env:
    return gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))


def q_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2))


class Replay:
    """Transitions in a ring of numpy arrays."""

    def __init__(self, capacity: int):
        self.obs = np.zeros((capacity, 4), dtype=np.float32)
        self.next_obs = np.zeros_like(self.obs)
        self.action = np.zeros((capacity, 1), dtype=np.int64)
        self.reward = np.zeros(capacity, dtype=np.float32)
        self.discount = np.zeros(capacity, dtype=np.float32)
        self.added = 0

    def add(self, obs, action, reward, next_obs, terminated):
        i = self.added % len(self.reward)
        self.obs[i], self.next_obs[i] = obs, next_obs
        self.action[i], self.reward[i], self.discount[i] = action, reward, 0.0 if terminated else GAMMA
        self.added += 1

    def sample(self, rng: np.random.Generator) -> list[torch.Tensor]:
        i = rng.integers(min(self.added, len(self.reward)), size=BATCH_SIZE)
        fields = (self.obs, self.action, self.reward, self.next_obs, self.discount)
        return [torch.from_numpy(field[i]) for field in fields]


def learn(network, target, optimizer, batch) -> None:
    obs, action, reward, next_obs, discount = batch
    with torch.no_grad():
        value = reward + discount * target(next_obs).amax(1)
    loss = F.mse_loss(network(obs).gather(1, action).squeeze(1), value)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500_000, help="environment steps in all")
    parser.add_argument("--learning-starts", type=int, default=10_000, help="steps before the first update")
    args = parse(parser)
    rng = begin(args)

    envs = gym.vector.SyncVectorEnv([make_env], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    network, target = q_network(), q_network()
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=2.5e-4)
    replay = Replay(REPLAY_SIZE)
    returns = deque(maxlen=100)
    clock_start = args.learning_starts + WARM_UP_STEPS
    if args.steps <= clock_start:
        parser.error(f"--steps must be above {clock_start}")

    obs, _ = envs.reset(seed=args.seed)
    for step in range(args.steps):
        if step == clock_start:
            start = time.perf_counter()
        fraction = step / (EPSILON_FRACTION * args.steps)
        epsilon = max(EPSILON_END, EPSILON_START + (EPSILON_END - EPSILON_START) * fraction)
        if rng.random() < epsilon:
            actions = rng.integers(2, size=1)
        else:
            with torch.no_grad():
                actions = network(torch.from_numpy(obs)).argmax(1).numpy()
        next_obs, reward, terminated, truncated, infos = envs.step(actions)
        last_obs = next_obs[0]
        if terminated[0] or truncated[0]:
            last_obs = infos["final_obs"][0]
            returns.append(float(infos["final_info"]["episode"]["r"][0]))
        replay.add(obs[0], actions[0], reward[0], last_obs, terminated[0])
        obs = next_obs

        if step >= args.learning_starts:
            if step % TRAIN_EVERY == 0:
                learn(network, target, optimizer, replay.sample(rng))
            if step % TARGET_EVERY == 0:
                target.load_state_dict(network.state_dict())

    seconds = time.perf_counter() - start
    speed = (args.steps - clock_start) / seconds
    answer = {"steps": args.steps, "learning_steps_per_s": round(speed, 1), "seconds": round(seconds, 2)}
    print(json.dumps(answer | {"return_mean_100": float(np.mean(returns)) if returns else None}))


if __name__ == "__main__":
    main()
