"""Rainbow (Hessel et al. 2018) as a plain PyTorch loop on the `minatar` package, with the network and the settings of
the preset `minatar-breakout-dqn-rainbow`: learning steps per second.

    python3 scripts/peers/rainbow_minatar.py --steps 24000 --learning-starts 5000 --seed 0 --threads 1

Sixteen games are played in step, their actions come from one forward pass, and an update of 32 transitions follows
every four frames. Priorities are a sum tree in numpy, all of whose operations take a whole batch. The clock runs from
50 updates after the start of learning to the end. Prints one JSON object.
"""

import argparse
import json
import math
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

N_ENVS, N_ACTIONS, BATCH_SIZE, TRAIN_EVERY = 16, 6, 32, 4
REPLAY_SIZE, TARGET_EVERY = 100_000, 1_000
GAMMA, N_STEP = 0.99, 3
ATOMS, V_MIN, V_MAX = 51, 0.0, 50.0
ALPHA, BETA_START, LEAST_PRIORITY = 0.5, 0.4, 1e-6
SIGMA = 0.5
WARM_UP_UPDATES = 50


class Noisy(nn.Module):
    """A dense layer with factorised noise (Fortunato et al. 2018)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), SIGMA * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), SIGMA * bound))
        self.draw()

    def draw(self) -> None:
        outputs, inputs = self.weight.shape
        noise = torch.randn(inputs + outputs)
        noise = noise.sign() * noise.abs().sqrt()
        self.noise_in, self.noise_out = noise[:inputs], noise[inputs:]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight + self.weight_sigma * torch.outer(self.noise_out, self.noise_in)
        return F.linear(x, weight, self.bias + self.bias_sigma * self.noise_out)


class Rainbow(nn.Module):
    """Logarithms of the atoms' probabilities, [B, actions, atoms]."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv_norm = nn.Conv2d(4, 16, kernel_size=3), nn.LayerNorm(16)
        self.hidden, self.hidden_norm = Noisy(16 * 8 * 8, 128), nn.LayerNorm(128)
        self.head = Noisy(128, (1 + N_ACTIONS) * ATOMS)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        cells = self.conv(obs).permute(0, 2, 3, 1)
        x = F.relu(self.conv_norm(cells)).flatten(1)
        x = F.relu(self.hidden_norm(self.hidden(x)))
        value, advantage = self.head(x).view(-1, 1 + N_ACTIONS, ATOMS).split([1, N_ACTIONS], dim=1)
        return (value + advantage - advantage.mean(1, keepdim=True)).log_softmax(2)

    def draw(self) -> None:
        self.hidden.draw()
        self.head.draw()


class SumTree:
    """Sums of weights in a binary tree; the leaves are the second half of the array."""

    def __init__(self, n: int):
        self.n_leaves = 1 << (n - 1).bit_length()
        self.sums = np.zeros(2 * self.n_leaves)

    def set(self, leaves: np.ndarray, weights: np.ndarray) -> None:
        nodes = leaves + self.n_leaves
        self.sums[nodes] = weights
        while nodes[0] > 1:
            nodes = np.unique(nodes // 2)
            self.sums[nodes] = self.sums[2 * nodes] + self.sums[2 * nodes + 1]

    def find(self, at: np.ndarray) -> np.ndarray:
        nodes = np.ones(len(at), dtype=np.int64)
        while nodes[0] < self.n_leaves:
            nodes *= 2
            is_right = at >= self.sums[nodes]
            at = at - np.where(is_right, self.sums[nodes], 0.0)
            nodes += is_right
        return nodes - self.n_leaves


class Replay:
    """Transitions of N_STEP steps in a ring of numpy arrays, drawn by priority (Schaul et al. 2016)."""

    def __init__(self, capacity: int):
        self.obs = np.zeros((capacity, 4, 10, 10), dtype=np.uint8)
        self.next_obs = np.zeros_like(self.obs)
        self.action = np.zeros(capacity, dtype=np.int64)
        self.reward = np.zeros(capacity, dtype=np.float32)
        self.discount = np.zeros(capacity, dtype=np.float32)
        self.tree, self.largest, self.added = SumTree(capacity), 1.0, 0
        self.waiting = [deque() for _ in range(N_ENVS)]

    def add(self, env: int, obs, action, reward, next_obs, terminated) -> None:
        steps = self.waiting[env]
        steps.append((obs, action, reward))
        while steps and (terminated or len(steps) == N_STEP):
            total = sum(GAMMA**i * reward for i, (_, _, reward) in enumerate(steps))
            i = self.added % len(self.reward)
            self.obs[i], self.action[i], _ = steps[0]
            self.next_obs[i], self.reward[i] = next_obs, total
            self.discount[i] = 0.0 if terminated else GAMMA ** len(steps)
            self.tree.set(np.array([i]), np.array([self.largest]))
            self.added += 1
            steps.popleft()

    def sample(self, rng: np.random.Generator, beta: float) -> tuple[np.ndarray, torch.Tensor, list[torch.Tensor]]:
        total = self.tree.sums[1]
        i = self.tree.find((np.arange(BATCH_SIZE) + rng.random(BATCH_SIZE)) * total / BATCH_SIZE)
        n = min(self.added, len(self.reward))
        weights = (n * self.tree.sums[i + self.tree.n_leaves] / total) ** -beta
        fields = (self.obs, self.action, self.reward, self.next_obs, self.discount)
        weights = torch.from_numpy((weights / weights.max()).astype(np.float32))
        return i, weights, [torch.from_numpy(field[i]) for field in fields]

    def learned(self, i: np.ndarray, losses: np.ndarray) -> None:
        weights = (losses + LEAST_PRIORITY) ** ALPHA
        self.largest = max(self.largest, weights.max())
        self.tree.set(i, weights)


def learn(network: Rainbow, target: Rainbow, optimizer, replay: Replay, rng, beta: float) -> None:
    i, weights, (obs, action, reward, next_obs, discount) = replay.sample(rng, beta)
    rows = torch.arange(BATCH_SIZE)
    network.draw()
    target.draw()
    with torch.no_grad():
        next_obs = next_obs.float()
        greedy = (network(next_obs).exp() * SUPPORT).sum(2).argmax(1)
        p = target(next_obs)[rows, greedy].exp()
        moved = (reward[:, None] + discount[:, None] * SUPPORT).clamp(V_MIN, V_MAX)
        at = (moved - V_MIN) / ((V_MAX - V_MIN) / (ATOMS - 1))
        below = at.floor().long().clamp(0, ATOMS - 2)
        share = at - below
        projected = torch.zeros(BATCH_SIZE, ATOMS)
        projected.scatter_add_(1, below, p * (1 - share))
        projected.scatter_add_(1, below + 1, p * share)
    losses = -(projected * network(obs.float())[rows, action]).sum(1)
    loss = (weights * losses).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    entropy = -(projected * projected.clamp_min(1e-12).log()).sum(1)
    replay.learned(i, (losses.detach() - entropy).clamp_min(0).numpy())


SUPPORT = torch.linspace(V_MIN, V_MAX, ATOMS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12_000, help="frames in all")
    parser.add_argument("--learning-starts", type=int, default=5_000, help="frames before the first update")
    args = parse(parser)
    rng = begin(args)

    envs = [minatar.Environment("breakout", sticky_action_prob=0.1) for _ in range(N_ENVS)]
    for i, env in enumerate(envs):
        env.seed(args.seed * N_ENVS + i)
        env.reset()
    network, target = Rainbow(), Rainbow()
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=2.5e-4)
    replay = Replay(min(REPLAY_SIZE, args.steps))
    returns, episode_returns = deque(maxlen=100), np.zeros(N_ENVS)
    clock_start = args.learning_starts + WARM_UP_UPDATES * TRAIN_EVERY
    if args.steps <= clock_start:
        parser.error(f"--steps must be above {clock_start}")

    start, start_frame = 0.0, 0
    obs = [env.state().transpose(2, 0, 1) for env in envs]
    for frame in range(0, args.steps, N_ENVS):
        if not start and frame >= clock_start:
            start, start_frame = time.perf_counter(), frame
        network.draw()
        with torch.no_grad():
            values = (network(torch.from_numpy(np.stack(obs)).float()).exp() * SUPPORT).sum(2)
        for i, (env, action) in enumerate(zip(envs, values.argmax(1).tolist(), strict=True)):
            reward, terminated = env.act(action)
            next_obs = env.state().transpose(2, 0, 1)
            replay.add(i, obs[i], action, reward, next_obs, terminated)
            episode_returns[i] += reward
            if terminated:
                returns.append(episode_returns[i])
                episode_returns[i] = 0.0
                env.reset()
                next_obs = env.state().transpose(2, 0, 1)
            obs[i] = next_obs

        after = frame + N_ENVS
        if after >= args.learning_starts:
            beta = BETA_START + (1 - BETA_START) * after / args.steps
            for _ in range(after // TRAIN_EVERY - frame // TRAIN_EVERY):
                learn(network, target, optimizer, replay, rng, beta)
            if after // TARGET_EVERY > frame // TARGET_EVERY:
                target.load_state_dict(network.state_dict())

    seconds = time.perf_counter() - start
    answer = {"steps": args.steps, "learning_steps_per_s": round((args.steps - start_frame) / seconds, 1)}
    answer |= {"seconds": round(seconds, 2), "return_mean_100": float(np.mean(returns)) if returns else None}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
