"""The seed and the threads of the peers that learn. To be imported after `enter`."""

import argparse

import numpy as np
import torch


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds `--seed` and `--threads`, and parses the command line."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def begin(args: argparse.Namespace) -> np.random.Generator:
    """Sets torch's threads and seed, and returns a generator of the same seed."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    return np.random.default_rng(args.seed)
