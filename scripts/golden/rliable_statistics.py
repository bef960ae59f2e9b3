"""Writes scores and the statistics that rliable computes of them, to compare `carom compare` with.

    python rliable_statistics.py ../../tests/golden/rliable.json

A probability of improvement takes rliable a millisecond, so its interval is of fewer resamples than Carom's.
"""

import json
import sys

import numpy as np
from rliable import library, metrics

N_RESAMPLES = 50_000
N_PROFILE_RESAMPLES = 2_000
N_IMPROVEMENT_RESAMPLES = 10_000


def interval(bounds):
    return [round(float(bound), 6) for bound in np.ravel(bounds)]


def case(rng, n_runs, n_tasks):
    """Returns scores of two algorithms and their statistics. Scores of one decimal are equal now and then."""
    scores = {
        name: np.round(rng.gamma(2.0, scale, size=(n_runs, n_tasks)) * (1.0 + np.arange(n_tasks)), 1)
        for name, scale in (("x", 1.0), ("y", 1.4))
    }

    def estimates(of, function, n_resamples=N_RESAMPLES):
        return library.get_interval_estimates(of, function, reps=n_resamples, random_state=np.random.RandomState(1))

    iqm, iqm_bounds = estimates(scores, lambda s: np.array([metrics.aggregate_iqm(s)]))
    better, better_bounds = estimates(
        {"x,y": (scores["x"], scores["y"])},
        lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
        N_IMPROVEMENT_RESAMPLES,
    )
    thresholds = np.array([0.5, 1.5, 3.0, 6.0])
    shares, share_bounds = library.create_performance_profile(scores, thresholds, reps=N_PROFILE_RESAMPLES)
    return {
        # One list for each task.
        "scores": {name: s.T.tolist() for name, s in scores.items()},
        "iqm": {name: [float(iqm[name][0]), *interval(iqm_bounds[name])] for name in scores},
        "improvement": [float(better["x,y"][0]), *interval(better_bounds["x,y"])],
        "thresholds": thresholds.tolist(),
        "profile": {
            name: [[float(share), *interval(share_bounds[name][:, i])] for i, share in enumerate(shares[name])]
            for name in scores
        },
    }


def main(path):
    rng = np.random.default_rng(0)
    np.random.seed(0)
    cases = [case(rng, n_runs, n_tasks) for n_runs, n_tasks in ((10, 1), (5, 5), (3, 4))]
    with open(path, "w") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


main(sys.argv[1])
