"""Steps per second of Atari's Breakout under a random policy on one core: single 84x84 observations, four frames a
step, in ALE and EnvPool.

    python3 scripts/peers/atari_speed.py --seconds 2 [--only envpool]

Actions are drawn beforehand. Prints one JSON object, {"peer environment count": steps per second}.
"""

import atari
import speed

atari.start()

if __name__ == "__main__":
    speed.report(atari.peers(stack=1), __doc__)
