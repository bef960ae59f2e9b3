"""PQN (Gallici et al. 2024) with its MinAtar recipe in plain PyTorch autograd on MinAtar's Breakout: frames per
second, learning included.

    python3 scripts/peers/pqn_minatar.py --steps 200000 --seed 0 --threads 1

The environment is a vectorised numpy Breakout of our own (no sticky actions, 3 actions, cap 1000, as gymnax has it), so
that it does not slow the learner; `env_share` in the answer is its part of the time. `--check` compares it with the
`minatar` package. The clock starts after the first rollout and its updates. `--steps 10000000` is the recipe's full
run. The inputs are 0 and 1; purejaxql divides them by 255, which is an accident of sharing code with Atari.
"""

import argparse
import json
import time
from collections import deque

from peer_env import TORCH, enter

enter("torch", *TORCH)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from learning import begin, parse  # noqa: E402
from torch import nn  # noqa: E402

N_ENVS, N_STEPS = 128, 32
N_EPOCHS, N_MINIBATCHES = 2, 32
LR, MAX_GRAD_NORM = 5e-4, 10.0
GAMMA, LAMBDA = 0.99, 0.65
EPSILON_START, EPSILON_END, EPSILON_FRACTION = 1.0, 0.05, 0.1
N_ACTIONS, MAX_EPISODE_STEPS = 3, 1000

DX = np.array([-1, 1, 1, -1])  # directions: up-left, up-right, down-right, down-left
DY = np.array([-1, -1, 1, 1])
MIRROR_X, MIRROR_Y, REVERSE = np.array([1, 0, 3, 2]), np.array([3, 2, 1, 0]), np.array([2, 3, 0, 1])


class Breakout:
    """`n` games in step; episodes restart by themselves and the step cap counts as an end, as in gymnax."""

    def __init__(self, n: int, rng: np.random.Generator):
        self.rows, self.rng = np.arange(n), rng
        self.x, self.y, self.dir, self.paddle, self.last_x, self.last_y, self.time = np.zeros((7, n), dtype=np.int64)
        self.strike = np.zeros(n, dtype=bool)
        self.bricks = np.zeros((n, 10, 10), dtype=bool)
        self.reset(self.rows)

    def reset(self, which: np.ndarray) -> None:
        right = self.rng.integers(2, size=len(which))
        self.x[which], self.y[which], self.dir[which] = 9 * right, 3, 2 + right
        self.last_x[which], self.last_y[which] = self.x[which], 3
        self.paddle[which], self.time[which], self.strike[which] = 4, 0, False
        self.bricks[which] = False
        self.bricks[which, 1:4] = True

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and ends for actions 0 (stay), 1 (left), 2 (right)."""
        rows, x = self.rows, self.x
        self.paddle = np.clip(self.paddle + (action == 2) - (action == 1), 0, 9)
        self.last_x, self.last_y = x, self.y
        nx, ny = x + DX[self.dir], self.y + DY[self.dir]
        wall = (nx < 0) | (nx > 9)
        nx, direction = np.clip(nx, 0, 9), np.where(wall, MIRROR_X[self.dir], self.dir)

        top = ny < 0
        ny = np.maximum(ny, 0)
        touching = self.bricks[rows, ny, nx] & ~top
        hit = touching & ~self.strike
        self.bricks[rows[hit], ny[hit], nx[hit]] = False
        bottom = (ny == 9) & ~touching
        for i in np.flatnonzero(bottom):
            if not self.bricks[i].any():
                self.bricks[i, 1:4] = True
        under = bottom & (x == self.paddle)
        corner = bottom & ~under & (nx == self.paddle)
        direction = np.where(top | hit | under, MIRROR_Y[direction], direction)
        direction = np.where(corner, REVERSE[direction], direction)
        self.strike = touching
        self.x, self.y, self.dir = nx, np.where(hit | under | corner, self.last_y, ny), direction

        self.time += 1
        done = (bottom & ~under & ~corner) | (self.time >= MAX_EPISODE_STEPS)
        return hit.astype(np.float32), done

    def observe(self) -> np.ndarray:
        """Observations [n, 10, 10, 4]: paddle, ball, trail, bricks."""
        obs = np.zeros((len(self.rows), 10, 10, 4), dtype=np.float32)
        obs[self.rows, 9, self.paddle, 0] = 1
        obs[self.rows, self.y, self.x, 1] = 1
        obs[self.rows, self.last_y, self.last_x, 2] = 1
        obs[..., 3] = self.bricks
        return obs


class QNetwork(nn.Module):
    """conv 16 3x3 -> LayerNorm over its 16 channels -> ReLU -> 128 -> LayerNorm -> ReLU -> actions."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv_norm = nn.Conv2d(4, 16, kernel_size=3), nn.LayerNorm(16, eps=1e-6)
        self.dense, self.dense_norm = nn.Linear(16 * 8 * 8, 128), nn.LayerNorm(128, eps=1e-6)
        self.head = nn.Linear(128, N_ACTIONS)
        for layer in (self.conv, self.dense):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=128**-0.5)
        for layer in (self.conv, self.dense, self.head):
            nn.init.zeros_(layer.bias)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Action values of observations [B, 10, 10, 4]."""
        x = self.conv(obs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = F.relu(self.conv_norm(x)).flatten(1)
        return self.head(F.relu(self.dense_norm(self.dense(x))))


def lambda_returns(reward, done, next_value) -> torch.Tensor:
    """G_t = r_t + gamma ((1 - lambda) v_{t+1} + lambda G_{t+1}), with nothing after an end; all arguments [T, N]."""
    returns = torch.empty_like(reward)
    carry = next_value[-1]
    for t in reversed(range(len(reward))):
        after = (1 - LAMBDA) * next_value[t] + LAMBDA * carry
        carry = returns[t] = reward[t] + GAMMA * (1 - done[t]) * after
    return returns


def learn(network, optimizer, obs, action, target) -> None:
    q = network(obs).gather(1, action[:, None]).squeeze(1)
    loss = 0.5 * F.mse_loss(q, target)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
    optimizer.step()


def train(args: argparse.Namespace) -> dict:
    rng = begin(args)
    env, network = Breakout(N_ENVS, rng), QNetwork()
    optimizer = torch.optim.RAdam(network.parameters(), lr=LR)
    returns, episode_return, env_seconds = deque(maxlen=100), np.zeros(N_ENVS), 0.0
    n_samples, n_updates = N_ENVS * N_STEPS, args.steps // (N_ENVS * N_STEPS)

    obs = torch.empty(N_STEPS, N_ENVS, 10, 10, 4)
    action = torch.empty(N_STEPS, N_ENVS, dtype=torch.int64)
    reward, done, value = torch.empty(3, N_STEPS + 1, N_ENVS)
    last_obs = torch.from_numpy(env.observe())
    for update in range(n_updates):
        if update == 1:
            start, env_seconds = time.perf_counter(), 0.0
        fraction = update / (EPSILON_FRACTION * n_updates)
        epsilon = max(EPSILON_END, EPSILON_START + (EPSILON_END - EPSILON_START) * fraction)
        with torch.no_grad():
            for t in range(N_STEPS):
                obs[t] = last_obs
                value[t], greedy = network(last_obs).max(1)
                random = torch.rand(N_ENVS) < epsilon
                action[t] = torch.where(random, torch.randint(N_ACTIONS, (N_ENVS,)), greedy)

                env_start = time.perf_counter()
                env_reward, env_done = env.step(action[t].numpy())
                episode_return += env_reward
                if env_done.any():
                    ended = np.flatnonzero(env_done)
                    returns.extend(episode_return[ended])
                    episode_return[ended] = 0.0
                    env.reset(ended)
                last_obs = torch.from_numpy(env.observe())
                env_seconds += time.perf_counter() - env_start
                reward[t], done[t] = torch.from_numpy(env_reward), torch.from_numpy(env_done)
            value[N_STEPS] = network(last_obs).amax(1)
        target = lambda_returns(reward[:N_STEPS], done[:N_STEPS], value[1:]).flatten()

        flat_obs, flat_action = obs.flatten(0, 1), action.flatten()
        for epoch in range(N_EPOCHS):
            for i, batch in enumerate(torch.randperm(n_samples).chunk(N_MINIBATCHES)):
                done_steps = (update * N_EPOCHS + epoch) * N_MINIBATCHES + i
                optimizer.param_groups[0]["lr"] = LR * (1 - done_steps / (n_updates * N_EPOCHS * N_MINIBATCHES))
                learn(network, optimizer, flat_obs[batch], flat_action[batch], target[batch])

    seconds = time.perf_counter() - start
    return {
        "steps": n_updates * n_samples,
        "learning_steps_per_s": round((n_updates - 1) * n_samples / seconds, 1),
        "seconds": round(seconds, 2),
        "env_share": round(env_seconds / seconds, 3),
        "return_mean_100": float(np.mean(returns)) if returns else None,
    }


def check(steps: int = 20_000) -> dict:
    """Play our game and the package's side by side, the package's start copied into ours."""
    import minatar

    reference = minatar.Environment("breakout", sticky_action_prob=0.0)
    reference.seed(0)
    rng = np.random.default_rng(0)
    ours = Breakout(1, rng)

    def reset() -> None:
        reference.reset()
        ours.reset(np.array([0]))
        ball = int(reference.state()[3, 9, 1])
        ours.x[0] = ours.last_x[0] = 9 * ball
        ours.dir[0] = 2 + ball

    reset()
    episodes = 0
    for step in range(steps):
        # Follow the ball most of the time, or no game would ever reach the second wall of bricks.
        towards = int(np.sign(ours.x[0] + DX[ours.dir[0]] - ours.paddle[0])) % 3
        action = (0, 2, 1)[towards] if rng.random() < 0.97 else int(rng.integers(3))
        want_reward, want_done = reference.act((0, 1, 3)[action])
        reward, _ = ours.step(np.array([action]))
        ours.time[0] = 0
        same = reward[0] == want_reward and (ours.observe()[0] == reference.state()).all()
        assert same or want_done, f"step {step} differs"
        if want_done:
            episodes += 1
            reset()
    return {"steps_equal": steps, "episodes": episodes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps_help = "frames in all, rounded down to whole rollouts of 4096"
    parser.add_argument("--steps", type=int, default=200_000, help=steps_help)
    parser.add_argument("--check", action="store_true", help="compare the environment with the minatar package instead")
    args = parse(parser)
    if args.steps < 2 * N_ENVS * N_STEPS:
        parser.error(f"--steps must be at least {2 * N_ENVS * N_STEPS}")
    print(json.dumps(check() if args.check else train(args)))


if __name__ == "__main__":
    main()
