"""Plays the policy of a `breakout` run in ALE: the network in PyTorch, its weights from the run's checkpoint.

Preprocessing is that of the run's settings: frame skip, the maximum of a step's last two frames at 84x84, a stack that
repeats the first frame, no-op starts or sticky actions, whole games. See docs/breakout.md for the protocols.
"""

import json
import random
import re
import tomllib

import cv2
import numpy as np
import torch
from ale_py import ALEInterface, LoggerMode, roms

CONVOLUTIONS = [(8, 4, 32), (4, 2, 64), (3, 1, 64)]  # side, stride and filters of Mnih et al. 2015
LANES = 16  # each parameter begins at a multiple of so many floats
NORM_EPSILON = 1e-6
MINIMAL = [0, 1, 3, 4]


class Run:
    """Settings of a run and the weights of one of its checkpoints."""

    def __init__(self, path, checkpoint):
        self.config = tomllib.loads((path / "config.toml").read_text())
        wanted = {"kind": "training", "env": "breakout", "encoder": "raw"}
        for key, value in wanted.items():
            if self.config.get(key) != value:
                raise SystemExit(f"{path} has {key} = {self.config.get(key)!r}: expected {value!r}")
        folders = [folder.name for folder in (path / "checkpoints").iterdir() if re.fullmatch(r"\d+|best", folder.name)]
        steps = sorted((name for name in folders if name != "best"), key=int)
        self.checkpoint = steps[-1] if checkpoint == "newest" and steps else checkpoint
        if self.checkpoint not in folders:
            raise SystemExit(f"{path} has no checkpoint {checkpoint}; there are {', '.join(steps)}")
        # An average of the weights acts where one is kept.
        weights = "average" if self.config["agent_settings"].get("ema_decay", 0) > 0 else "online"
        arrays = path / "checkpoints" / self.checkpoint / "arrays.safetensors"
        self.params = read_array(arrays, f"network.{weights}")

    @property
    def env(self):
        return self.config["env_settings"]


def read_array(path, name):
    """A float array of a safetensors file: 8 bytes with the length of a JSON header, the header, the bytes."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    place = json.loads(data[8:end])[name]
    start, stop = place["data_offsets"]
    return np.frombuffer(data[end + start : end + stop], np.float32)


class Network:
    """Q-values of stacks `u8 [B, stack, 84, 84]`."""

    def __init__(self, run):
        agent, stack = run.config["agent_settings"], run.env["frame_stack"]
        self.norm = agent["layer_norm"]
        n_actions = 18 if run.env["action_set"] == "full" else 4
        self.left = torch.from_numpy(run.params.copy())
        self.layers, inputs = [], stack
        for side, stride, filters in CONVOLUTIONS:
            # A weight's dimensions are rows, columns, inputs, filters.
            weight, bias = self.take(side, side, inputs, filters), self.take(filters)
            self.layers.append((stride, weight.permute(3, 2, 0, 1).contiguous(), bias, self.norms(filters)))
            inputs = filters
        inputs *= 7 * 7
        for width in agent["hidden"]:
            self.layers.append((None, self.take(inputs, width), self.take(width), self.norms(width)))
            inputs = width
        self.head = self.take(inputs, n_actions), self.take(n_actions)
        if len(self.left):
            raise SystemExit(f"{len(self.left)} parameters are left over: the network has another form")

    def take(self, *shape):
        n = int(np.prod(shape))
        found, self.left = self.left[:n].reshape(shape), self.left[-(-n // LANES) * LANES :]
        return found

    def norms(self, width):
        return (self.take(width), self.take(width)) if self.norm else None

    @torch.inference_mode()
    def __call__(self, stacks):
        x = torch.from_numpy(stacks).permute(0, 2, 3, 1).float() / 255
        for stride, weight, bias, norm in self.layers:
            if stride:
                x = torch.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride).permute(0, 2, 3, 1)
            else:
                # A weight's rows go over rows, columns and filters of the convolutions, in this order.
                x = x.flatten(1) @ weight + bias
            if norm:
                x = torch.layer_norm(x, x.shape[-1:], *norm, eps=NORM_EPSILON)
            x = torch.relu(x)
        weight, bias = self.head
        return (x.flatten(1) @ weight + bias).numpy()


class Game:
    """One game in ALE, with a stack of observations."""

    def __init__(self, settings, seed):
        self.settings, self.draws = settings, random.Random(seed)
        self.ale = ALEInterface()
        self.ale.setInt("frame_skip", 1)
        self.ale.setInt("random_seed", self.draws.randrange(2**31))
        self.ale.setFloat("repeat_action_probability", settings["sticky"])
        self.ale.loadROM(roms.get_rom_path("breakout"))
        self.codes = list(range(18)) if settings["action_set"] == "full" else MINIMAL
        self.score, self.steps, self.is_over = 0, 0, False
        self.ale.reset_game()
        if settings["noop_max"] > 0:
            for _ in range(self.draws.randint(1, settings["noop_max"])):
                self.ale.act(0)
        self.stack = [self.observe([self.ale.getScreenGrayscale()])] * settings["frame_stack"]
        if settings["fire_reset"]:
            for code in [1, 3]:
                self.play(code)
            self.stack = [self.stack[-1]] * settings["frame_stack"]

    @staticmethod
    def observe(screens):
        return cv2.resize(np.maximum.reduce(screens), (84, 84), interpolation=cv2.INTER_AREA)

    def play(self, code):
        skip, screens = self.settings["frame_skip"], []
        for frame in range(skip):
            self.score += self.ale.act(code)
            if frame >= skip - 2:
                screens.append(self.ale.getScreenGrayscale())
        self.stack = [*self.stack[1:], self.observe(screens)]

    def step(self, action):
        self.play(self.codes[action])
        self.steps += 1
        cap = self.settings["max_steps"]
        self.is_over = self.ale.game_over() or 0 < cap <= self.steps


def scores(run, n_games, epsilon, seed):
    """Scores of whole games, and the share that the time limit cut off."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    network = Network(run)
    explore = random.Random(f"{seed}/explore")
    games = [Game(run.env, f"{seed}/{index}") for index in range(n_games)]
    while going := [game for game in games if not game.is_over]:
        q = network(np.array([game.stack for game in going]))
        for game, action in zip(going, q.argmax(axis=1)):
            game.step(explore.randrange(q.shape[1]) if explore.random() < epsilon else int(action))
    cut = sum(not game.ale.game_over() for game in games) / n_games
    return np.array([game.score for game in games], float), cut
