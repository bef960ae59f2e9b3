"""A user's mistake raises an error that says what was expected."""

import re
import unittest

import carom_envs
import gymnasium
import numpy as np
from carom_envs import envpool
from gymnasium.error import ClosedEnvironmentError, InvalidAction, ResetNeeded


class Mistakes(unittest.TestCase):
    def test_settings_have_the_errors_of_set(self):
        cases = {
            "there is no environment `breakot`; did you mean `breakout`?": ("breakot", {}),
            "environment `breakout` has no setting `stick`; did you mean `sticky`?": ("breakout", {"stick": 1}),
            "env.sticky is 1.5: expected a number in 0..=1": ("breakout", {"sticky": 1.5}),
            "env.sticky is 2.5: expected a number in 0..=1": ("breakout", {"sticky": np.float64(2.5)}),
            'env.sticky is "nan": expected a number': ("breakout", {"sticky": float("nan")}),
            'env.frame_skip is "four": expected a whole number': ("breakout", {"frame_skip": "four"}),
            "env.frame_skip is 0: expected a whole number in 1..=16": ("breakout", {"frame_skip": np.int8(0)}),
            'env.map is "9x9": expected `4x4` or `8x8`': ("frozen-lake", {"map": "9x9"}),
            "env.max_steps is 1e+30: expected a whole number, 0 or above": ("taxi", {"max_steps": 10**30}),
        }
        for message, (game, settings) in cases.items():
            with self.subTest(message):
                for make in (carom_envs.make, carom_envs.make_vec):
                    with self.assertRaises(ValueError) as caught:
                        make(game, **settings)
                    self.assertIn(message, str(caught.exception))

    def test_other_arguments(self):
        for arguments in ({"num_envs": 0}, {"num_envs": 1.5}, {"seed": -1}, {"seed": "x"}, {"autoreset_mode": "never"},
                          {"render_mode": "human"}):  # fmt: skip
            with self.subTest(arguments), self.assertRaisesRegex(ValueError, "expected"):
                carom_envs.make_vec("taxi", **arguments)
        envs = carom_envs.make_vec("taxi", 2)
        for use in (lambda: envs.step([0, 0]), envs.save, carom_envs.make("taxi").save):
            with self.assertRaisesRegex(ResetNeeded, "call reset"):
                use()
        for seed in (-1, 1.5, "x", [1], [1, 2, 3], [1, -2], [0, "x"], [0, 1.5], np.array(1.5), 2**64):
            with self.subTest(seed=seed), self.assertRaisesRegex(ValueError, "expected"):
                envs.reset(seed=seed)
        envs.reset()
        for mask in (1, np.ones(3, bool), np.ones(2), np.zeros(2, bool), [True, False]):
            with self.subTest(mask=mask), self.assertRaisesRegex(ValueError, "expected"):
                envs.reset(options={"reset_mask": mask})

    def test_actions(self):
        env = carom_envs.make("taxi", seed=0)
        env.reset()
        before = env.save()
        message = "expected (a whole number from )?0 to 5"
        for action in (6, -1, 1.5, "x", 2**70, np.array([1]), None, [1]):
            with self.subTest(action=action), self.assertRaisesRegex(InvalidAction, message):
                env.step(action)
        self.assertEqual(env.save(), before)
        for action in (np.int64(1), np.uint8(1), np.array(1), True):
            env.step(action)
        envs = carom_envs.make_vec("taxi", 2, seed=0)
        envs.reset()
        before = envs.save()
        large = np.array([0, 2**63], np.uint64)
        for actions in ([0, 6], [0, -1], [0], [0, 0, 0], [0.0, 1.0], [[0, 0]], 0, None, "ab", large):
            with self.subTest(actions=actions), self.assertRaisesRegex(InvalidAction, "expected"):
                envs.step(actions)
        self.assertEqual(envs.save(), before)
        for actions in ([0, 1], (0, 1), np.array([0, 1], np.uint8)):
            envs.step(actions)

    def test_actions_are_read_whatever_their_place_in_memory(self):
        envs = carom_envs.make_vec("taxi", 2, seed=0)
        envs.reset()
        before = envs.save()
        envs.step(np.array([1, 3]))
        after = envs.save()
        packed = np.zeros(2, [("first", np.int8), ("action", np.int64)])
        packed["action"] = [1, 3]
        misaligned = np.frombuffer(b"\0" + np.array([1, 3]).tobytes(), np.int64, offset=1)
        places = {
            "strides of 9 bytes": packed["action"],
            "misaligned": misaligned,
            "strides of 16 bytes": np.array([1, 5, 3, 5])[::2],
            "backwards": np.array([3, 1])[::-1],
            "other order of bytes": np.array([1, 3], ">i8"),
        }
        for name, actions in places.items():
            with self.subTest(name):
                envs.restore(before)
                envs.step(actions)
                self.assertEqual(envs.save(), after)

    def test_episodes_that_are_over(self):
        env = carom_envs.make("gridworld", seed=0, max_steps=3)
        env.reset()
        while not any(env.step(1)[2:4]):
            pass
        with self.assertRaisesRegex(ResetNeeded, "reset it first"):
            env.step(1)
        env.reset()
        env.step(1)

    def test_closed_environments(self):
        for env in (carom_envs.make("taxi", render_mode="ansi"), carom_envs.make_vec("taxi", render_mode="ansi"),
                    gymnasium.make("carom/Taxi-v0", render_mode="ansi")):  # fmt: skip
            env.reset(seed=1)
            env.close()
            env.close()
            base = env.unwrapped
            for use in (lambda: env.step([0]), env.reset, env.render, base.save, base.factors, lambda: base.P):
                with self.assertRaisesRegex(ClosedEnvironmentError, "closed: expected an open environment"):
                    use()

    def test_a_broken_state_is_an_error_and_no_crash(self):
        env = carom_envs.make("breakout", seed=0)
        env.reset()
        state = env.save()
        for key, value in (("paddle_x", 0), ("steps", 40), ("lives", 9), ("score", 65535), ("vx", 1), ("speed", 14),
                           ("frame", 2**32 - 1), ("last_action", 255)):  # fmt: skip
            broken = re.sub(f'"{key}":-?[0-9]+', f'"{key}":{value}', state)
            self.assertNotEqual(broken, state)
            with self.subTest(key), self.assertRaisesRegex(ValueError, "a number out of range"):
                env.restore(broken)
            self.assertEqual(env.save(), state)
        env.step(0)


class EnvPool(unittest.TestCase):
    def test_its_interface(self):
        envs = envpool.make("Breakout-v5", num_envs=3, episodic_life=True, reward_clip=True, seed=1)
        obs, info = envs.reset()
        self.assertEqual((obs.shape, obs.dtype), ((3, 4, 84, 84), np.uint8))
        self.assertEqual(info["lives"].tolist(), [5, 5, 5])
        choices = np.random.default_rng(0)
        lives, n_over = info["lives"], 0
        for _ in range(1500):
            obs, rewards, terminations, _, info = envs.step(choices.integers(4, size=3))
            self.assertIn(obs, envs_space(envs))
            np.testing.assert_array_equal(rewards, np.sign(info["reward"]))
            np.testing.assert_array_equal(terminations, info["lives"] < lives)
            np.testing.assert_array_equal(info["terminated"], info["lives"] == 0)
            lives = np.where(info["lives"] == 0, 5, info["lives"])
            n_over += info["terminated"].sum()
        self.assertGreater(n_over, 3)

    def test_its_mistakes(self):
        for arguments in ({"task_id": "Pong-v5"}, {"env_type": "dm"}, {"frame_skip": 0}, {"num_envs": 0}):
            with self.assertRaisesRegex(ValueError, "expected"):
                envpool.make(**{"task_id": "Breakout-v5", **arguments})


def envs_space(envs):
    return gymnasium.spaces.Box(0, 255, (3, *envs.observation_space.shape), np.uint8)


if __name__ == "__main__":
    unittest.main()
