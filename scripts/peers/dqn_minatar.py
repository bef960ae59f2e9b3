"""The MinAtar paper's DQN (Young & Tian 2019) as a plain PyTorch loop on the `minatar` package: learning steps
per second.

    python3 scripts/peers/dqn_minatar.py --steps 6000 --replay-start 1000 --epsilon-frames 1000 --seed 0 --threads 1

One environment step and one gradient step a frame. The clock runs from 50 updates after the start of the replay to the
end. Prints one JSON object. With --steps 5000000 and nothing else it is the paper's run.
"""

import argparse
import json
import time
from collections import deque

from peer_env import TORCH, enter

enter("torch", *TORCH)

import minatar  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from learning import begin, parse  # noqa: E402
from torch import nn  # noqa: E402

N_ACTIONS = 6
BATCH_SIZE = 32
REPLAY_SIZE = 100_000
TARGET_EVERY = 1_000
GAMMA = 0.99
EPSILON_START, EPSILON_END = 1.0, 0.1
WARM_UP_UPDATES = 50


class QNetwork(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(4, 16, kernel_size=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 8 * 8, 128),
            nn.ReLU(),
            nn.Linear(128, N_ACTIONS),
        )


class Replay:
    """Transitions in a ring of numpy arrays, planes first as the convolution wants them."""

    def __init__(self, capacity: int):
        self.obs = np.zeros((capacity, 4, 10, 10), dtype=np.uint8)
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
        value = reward + discount * target(next_obs.float()).amax(1)
    q = network(obs.float()).gather(1, action).squeeze(1)
    loss = F.smooth_l1_loss(q, value)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6_000, help="frames in all")
    parser.add_argument("--replay-start", type=int, default=5_000, help="frames before the first update")
    epsilon_help = "frames of falling epsilon, from the first update"
    parser.add_argument("--epsilon-frames", type=int, default=100_000, help=epsilon_help)
    args = parse(parser)
    rng = begin(args)

    env = minatar.Environment("breakout", sticky_action_prob=0.1)
    env.seed(args.seed)
    network, target = QNetwork(), QNetwork()
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.RMSprop(network.parameters(), lr=2.5e-4, alpha=0.95, eps=0.01, centered=True)
    replay = Replay(min(REPLAY_SIZE, args.steps))
    returns, episode_return = deque(maxlen=100), 0.0
    clock_start = args.replay_start + WARM_UP_UPDATES
    if args.steps <= clock_start:
        parser.error(f"--steps must be above {clock_start}")

    env.reset()
    obs = env.state().transpose(2, 0, 1)
    for frame in range(args.steps):
        if frame == clock_start:
            start = time.perf_counter()
        fallen = min(1.0, max(0, frame - args.replay_start) / args.epsilon_frames)
        epsilon = EPSILON_START + (EPSILON_END - EPSILON_START) * fallen
        if frame < args.replay_start or rng.random() < epsilon:
            action = int(rng.integers(N_ACTIONS))
        else:
            with torch.no_grad():
                action = int(network(torch.from_numpy(obs).float()[None]).argmax())
        reward, terminated = env.act(action)
        next_obs = env.state().transpose(2, 0, 1)
        replay.add(obs, action, reward, next_obs, terminated)
        episode_return += reward
        if terminated:
            returns.append(episode_return)
            episode_return = 0.0
            env.reset()
            next_obs = env.state().transpose(2, 0, 1)
        obs = next_obs

        update = frame - args.replay_start
        if update >= 0:
            learn(network, target, optimizer, replay.sample(rng))
            if update % TARGET_EVERY == 0:
                target.load_state_dict(network.state_dict())

    seconds = time.perf_counter() - start
    speed = (args.steps - clock_start) / seconds
    answer = {"steps": args.steps, "learning_steps_per_s": round(speed, 1), "seconds": round(seconds, 2)}
    print(json.dumps(answer | {"return_mean_100": float(np.mean(returns)) if returns else None}))


if __name__ == "__main__":
    main()
