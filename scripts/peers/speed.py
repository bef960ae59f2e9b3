"""The clock of the environments' peers: steps per second of processor time, which a busy machine does not change."""

import argparse
import json
import os
import time
from collections.abc import Callable

CHUNK = 4096  # steps between two looks at the clock


def stay_on_one_core() -> None:
    """Keeps the process on one core. Call this before a library starts its threads."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def report(cases: dict[str, Callable[[], Callable[[], int]]], description: str | None) -> None:
    """Print `{"peer environment count": steps per second}`.

    A case makes a function that plays a chunk of steps and returns their number.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each environment")
    only_help = "only those whose name contains one of these"
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help=only_help)
    args = parser.parse_args()
    chosen = {name: make for name, make in cases.items() if any(only in name for only in args.only)}
    print(json.dumps({name: round(steps_per_s(make(), args.seconds)) for name, make in chosen.items()}))


def steps_per_s(run: Callable[[], int], seconds: float) -> float:
    """Runs once to warm up (and compile), then until `seconds` are over."""
    run()
    steps, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        steps += run()
    return steps / elapsed
