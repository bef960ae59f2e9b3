"""The games behind Gymnasium's interfaces: its checkers, its vectors, its tables."""

import unittest
import warnings

import carom_envs
import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

GAMES = [game.name for game in carom_envs.games()]


def equal(a, b):
    """Compare observations and info: arrays by type and value, arrays of objects and dictionaries within."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) and a.dtype == object:
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    return type(a) is type(b) and a == b


class Checks(unittest.TestCase):
    def test_check_env_passes_for_every_id_and_render_mode(self):
        for game in GAMES:
            for mode in (None, "rgb_array", "ansi"):
                with self.subTest(game=game, mode=mode), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    # Velocities have no bounds.
                    warnings.filterwarnings("ignore", message=".*observation space m.*imum value is -?infinity")
                    check_env(gymnasium.make(carom_envs.gymnasium_id(game), render_mode=mode).unwrapped)

    def test_ids_make_environments_and_vectors(self):
        self.assertIn("carom/Breakout-v0", gymnasium.registry)
        self.assertIn("carom/MinAtarBreakout-v0", gymnasium.registry)
        for game in GAMES:
            name = carom_envs.gymnasium_id(game)
            env = gymnasium.make(name)
            self.assertEqual((env.spec.id, env.unwrapped.game), (name, game))
            envs = gymnasium.make_vec(name, num_envs=2)
            self.assertIs(type(envs), carom_envs.GameVectorEnv)
            self.assertEqual((envs.spec.id, envs.num_envs), (name, 2))
        env = gymnasium.make("carom/Breakout-v0", sticky=0.25, frame_stack=2)
        self.assertEqual(env.unwrapped.settings["sticky"], 0.25)
        self.assertEqual(env.observation_space.shape, (2, 84, 84))
        envs = gymnasium.make_vec("carom/Breakout-v0", num_envs=2, vectorization_mode="sync", frame_stack=1)
        self.assertEqual(envs.observation_space.shape, (2, 1, 84, 84))

    def test_wrappers_of_gymnasium_work(self):
        envs = carom_envs.make_vec("cartpole", 4, seed=0, autoreset_mode=AutoresetMode.NEXT_STEP)
        envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
        envs.reset()
        envs.action_space.seed(0)
        lengths = []
        for _ in range(200):
            *_, info = envs.step(envs.action_space.sample())
            if "episode" in info:
                mask = info["_episode"]
                lengths += info["episode"]["l"][mask].tolist()
                self.assertEqual(info["episode"]["l"][mask].tolist(), info["game_length"][mask].tolist())
        self.assertGreater(len(lengths), 10)


class Vectors(unittest.TestCase):
    """A vector plays what Gymnasium's own vector of single environments plays, in every mode of autoreset."""

    def compare(self, game, mode, steps, **settings):
        n_envs = 3
        ours = carom_envs.make_vec(game, n_envs, autoreset_mode=mode, **settings)
        theirs = SyncVectorEnv([lambda: carom_envs.make(game, **settings)] * n_envs, autoreset_mode=mode)
        self.assertIs(ours.metadata["autoreset_mode"], mode)
        self.assertEqual(ours.observation_space, theirs.observation_space)
        self.assertEqual(ours.action_space, theirs.action_space)
        choices = np.random.default_rng(0)
        self.assertTrue(equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0]))
        n_ends = 0
        for step in range(steps):
            actions = choices.integers(ours.single_action_space.n, size=n_envs)
            results = ours.step(actions), theirs.step(actions)
            for a, b in zip(*results, strict=True):
                self.assertTrue(equal(a, b), f"{game}, {mode}, step {step}:\n{a}\n{b}")
            self.assertIn(results[0][0], ours.observation_space)
            ended = results[0][2] | results[0][3]
            n_ends += ended.sum()
            if mode is AutoresetMode.DISABLED and ended.any():
                obs = [envs.reset(options={"reset_mask": ended.copy()})[0] for envs in (ours, theirs)]
                self.assertTrue(equal(*obs))
        self.assertGreater(n_ends, 1)

    def test_every_game_and_mode(self):
        for game in GAMES:
            settings = {"max_steps": 40} if game != "cartpole" else {}
            for mode in AutoresetMode:
                with self.subTest(game=game, mode=mode):
                    self.compare(game, mode, 120, **settings)

    def test_breakout_with_lives_and_stacks(self):
        for mode in AutoresetMode:
            for settings in ({"frame_stack": 1}, {"protocol": "machado-2018"}, {"fire_reset": True, "frame_stack": 2}):
                with self.subTest(mode=mode, settings=settings):
                    self.compare("breakout", mode, 300, **settings)

    def test_without_copies_one_array_is_written(self):
        envs = carom_envs.make_vec("breakout", 3, seed=2, copy=False)
        others = carom_envs.make_vec("breakout", 3, seed=2)
        first, _ = envs.reset()
        self.assertTrue(equal(first, others.reset()[0]))
        choices = np.random.default_rng(0)
        for _ in range(300):
            actions = choices.integers(4, size=3)
            obs, *rest, info = envs.step(actions)
            self.assertIs(obs, first)
            for a, b in zip((obs, *rest, info), others.step(actions), strict=True):
                self.assertTrue(equal(a, b))


class Tables(unittest.TestCase):
    def compare(self, ours, theirs):
        ours, theirs = carom_envs.make(ours[0], **ours[1]), gymnasium.make(theirs[0], **theirs[1]).unwrapped

        def plain(table):
            return {
                int(s): {int(a): [(float(p), int(to), float(r), bool(end)) for p, to, r, end in outcomes]
                         for a, outcomes in actions.items()}
                for s, actions in table.items()
            }  # fmt: skip

        self.assertEqual(ours.P, plain(ours.P))
        self.assertEqual(plain(ours.P), plain(theirs.P))
        np.testing.assert_allclose(ours.initial_state_distrib, theirs.initial_state_distrib, rtol=1e-15)

    def test_tables_equal_gymnasiums(self):
        self.compare(("frozen-lake", {}), ("FrozenLake-v1", {}))
        self.compare(("frozen-lake", {"map": "8x8"}), ("FrozenLake-v1", {"map_name": "8x8"}))
        self.compare(("frozen-lake", {"slippery": False}), ("FrozenLake-v1", {"is_slippery": False}))
        self.compare(("cliff-walking", {}), ("CliffWalking-v1", {}))
        self.compare(("cliff-walking", {"slippery": True}), ("CliffWalking-v1", {"is_slippery": True}))
        # Later versions of Gymnasium have only v4, whose table is the same.
        taxi = "Taxi-v4" if "Taxi-v4" in gymnasium.registry else "Taxi-v3"
        self.compare(("taxi", {}), (taxi, {}))

    def test_vectors_have_tables_too(self):
        self.assertEqual(carom_envs.make_vec("taxi", 2).P, carom_envs.make("taxi").P)
        for env in (carom_envs.make("breakout"), carom_envs.make_vec("breakout", 2)):
            self.assertFalse(hasattr(env, "P"))


if __name__ == "__main__":
    unittest.main()
