"""Episodes of Gymnasium's CartPole-v1: `python gymnasium_cartpole.py FILE`.

An episode holds the random stream its reset draws from, its actions ("0110..."), its states (the reset's first) as
little-endian `f64` in hexadecimal, and whether it terminated with the last action.
"""

import random
import sys

import gymnasium
import numpy as np
from golden import pcg64_state, write

N_EPISODES = 24
MAX_STEPS = 250


def episode(env, seed):
    stream, _ = gymnasium.utils.seeding.np_random(seed)
    rng = pcg64_state(stream)
    env.reset(seed=seed)
    choices = random.Random(seed)
    states, actions, terminated = [env.state], "", False
    while not terminated and len(actions) < MAX_STEPS:
        # Random until the pole falls; balanced for a while; with the pole leaning over until the track ends.
        _, x_dot, theta, theta_dot = env.state
        balance = int(theta + 0.5 * theta_dot + 0.01 * x_dot > 0)
        lean = int(theta + 0.5 * theta_dot > (0.06 if seed % 2 else -0.06))
        action = [choices.randrange(2), balance, lean][seed % 3]
        _, reward, terminated, _, _ = env.step(action)
        assert reward == 1.0
        actions += str(action)
        states.append(env.state)
    states = np.array(states, dtype="<f8").tobytes().hex()
    return {"rng": rng, "actions": actions, "states": states, "terminated": terminated}


if __name__ == "__main__":
    cartpole = gymnasium.make("CartPole-v1").unwrapped
    episodes = [episode(cartpole, seed) for seed in range(N_EPISODES)]
    write(sys.argv[1], {"reference": f"gymnasium {gymnasium.__version__}", "episodes": episodes})
