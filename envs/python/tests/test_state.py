"""Seeds, arrays that are held, save and restore, pickles, threads."""

import copy
import pickle
import threading
import unittest
import warnings

import carom_envs
import numpy as np

GAMES = [game.name for game in carom_envs.games()]


def play(envs, steps, seed=0):
    """Play random actions, and return all that the steps return but info."""
    choices = np.random.default_rng(seed)
    n_actions = envs.single_action_space.n
    results = []
    for _ in range(steps):
        obs, *others, _ = envs.step(choices.integers(n_actions, size=envs.num_envs))
        results.append((obs.copy(), *others))
    return [np.array(column) for column in zip(*results, strict=True)]


def play_one(env, steps, seed=0):
    choices = np.random.default_rng(seed)
    results = []
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(choices.integers(env.action_space.n))
        results.append((np.array(obs), reward, terminated, truncated))
        if terminated or truncated:
            results.append(np.array(env.reset()[0]))
    return results


class Seeds(unittest.TestCase):
    def assert_same(self, a, b):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)

    def test_seeds_reproduce_whatever_was_played_before(self):
        for game in GAMES:
            with self.subTest(game=game):
                envs = carom_envs.make_vec(game, 3, seed=7)
                first, _ = envs.reset()
                played = play(envs, 150)
                again, _ = envs.reset(seed=7)
                np.testing.assert_array_equal(first, again)
                self.assert_same(played, play(envs, 150))
                other = carom_envs.make_vec(game, 3)
                np.testing.assert_array_equal(first, other.reset(seed=7)[0])
                self.assert_same(played, play(other, 150))

    def test_seeds_differ(self):
        envs = carom_envs.make_vec("cartpole", 3)
        a, b, c = envs.reset(seed=0)[0], envs.reset(seed=9)[0], envs.reset()[0]
        self.assertFalse((a == b).any() or (b == c).any())
        self.assertFalse((carom_envs.make_vec("cartpole", 3).reset()[0] == envs.reset()[0]).any())
        self.assertEqual(len({tuple(obs) for obs in a.tolist()}), 3)

    def test_every_environment_may_have_its_own_seed(self):
        envs = carom_envs.make_vec("cartpole", 3, seed=1)
        consecutive, _ = envs.reset(seed=4)
        own, _ = envs.reset(seed=[6, None, 4])
        np.testing.assert_array_equal(own[[0, 2]], consecutive[[2, 0]])
        self.assertFalse((own[1] == consecutive[1]).any())
        np.testing.assert_array_equal(carom_envs.make("cartpole").reset(seed=4)[0], consecutive[0])

    def test_a_mask_resets_only_some(self):
        for copies in (True, False):
            envs = carom_envs.make_vec("breakout", 3, seed=1, autoreset_mode="Disabled", copy=copies)
            envs.reset()
            before = play(envs, 5)[0][-1].copy()
            after, _ = envs.reset(seed=1, options={"reset_mask": np.array([False, True, False])})
            np.testing.assert_array_equal(before[[0, 2]], after[[0, 2]])
            self.assertFalse((before[1] == after[1]).all())


class Arrays(unittest.TestCase):
    def test_observations_that_are_held_do_not_change(self):
        for game in ("breakout", "minatar/breakout", "cartpole", "taxi"):
            with self.subTest(game=game):
                envs = carom_envs.make_vec(game, 4, seed=0)
                held, copies = [envs.reset()[0]], []
                copies.append(held[0].copy())
                choices = np.random.default_rng(0)
                for _ in range(100):
                    obs = envs.step(choices.integers(envs.single_action_space.n, size=4))[0]
                    # A view is enough to hold an array.
                    held.append(obs[:2])
                    copies.append(obs[:2].copy())
                for obs, copied in zip(held, copies, strict=True):
                    np.testing.assert_array_equal(obs, copied)

    def test_arrays_that_were_let_go_of_are_written_again(self):
        envs = carom_envs.make_vec("breakout", 4, seed=0)
        obs, _ = envs.reset()
        addresses = set()
        for _ in range(50):
            obs, *_ = envs.step([0] * 4)
            addresses.add(obs.ctypes.data)
        self.assertLessEqual(len(addresses), 3)


    def test_arrays_that_python_changed_are_not_handed_out_again(self):
        for game in ("breakout", "minatar/breakout", "cartpole", "taxi"):
            envs, others = carom_envs.make_vec(game, 4, seed=0), carom_envs.make_vec(game, 4, seed=0)
            obs, expected = envs.reset()[0], others.reset()[0]
            choices = np.random.default_rng(0)
            for step in range(60):
                self.assertEqual((obs.shape, obs.dtype), (expected.shape, expected.dtype), game)
                self.assertEqual(obs.flags.writeable, expected.flags.writeable, game)
                np.testing.assert_array_equal(obs, expected)
                change_in_place(obs, step % 3)
                if step % 2:
                    # Both an array that is held while the next is written, and one that only the games hold.
                    del obs
                actions = choices.integers(envs.single_action_space.n, size=4)
                obs, expected = envs.step(actions)[0], others.step(actions)[0]

    def test_images_of_another_type_go_on_and_of_other_strides_are_an_error(self):
        for copies in (True, False):
            envs = carom_envs.make_vec("breakout", 2, seed=0, copy=copies)
            others = carom_envs.make_vec("breakout", 2, seed=0)
            obs, _ = envs.reset()
            others.reset()
            with warnings.catch_warnings():
                # Later versions of numpy advise against changes in place.
                warnings.simplefilter("ignore", DeprecationWarning)
                obs.dtype = np.uint32
                state, strides = envs.save(), obs.strides
                self.assertEqual(state, others.save())
                obs.strides = np.empty_like(obs, order="F").strides
                for use in (envs.save, lambda: envs.step([0, 0]), envs.reset):
                    with self.assertRaisesRegex(RuntimeError, "other strides"):
                        use()
                obs.strides = strides
            self.assertEqual(envs.save(), state)
            envs.step([1, 1])
            others.step([1, 1])
            self.assertEqual(envs.save(), others.save())


def change_in_place(array, way):
    with warnings.catch_warnings():
        # Later versions of numpy advise against changes in place.
        warnings.simplefilter("ignore", DeprecationWarning)
        if way == 0:
            array.shape = (-1,)
        elif way == 1:
            array.dtype = np.int8 if array.itemsize > 1 else np.uint32
        else:
            array.setflags(write=not array.flags.writeable)


class States(unittest.TestCase):
    def test_a_restored_vector_plays_on_exactly(self):
        for game in GAMES:
            for mode in ("SameStep", "NextStep"):
                for copies in (True, False):
                    with self.subTest(game=game, mode=mode, copies=copies):
                        envs = carom_envs.make_vec(game, 2, seed=3, autoreset_mode=mode, copy=copies)
                        envs.reset()
                        obs = play(envs, 77)[0][-1].copy()
                        state = envs.save()
                        played = play(envs, 80, seed=1)
                        other = carom_envs.make_vec(game, 2, autoreset_mode=mode)
                        for target in (envs, other):
                            np.testing.assert_array_equal(target.restore(state), obs)
                            for a, b in zip(play(target, 80, seed=1), played, strict=True):
                                np.testing.assert_array_equal(a, b)

    def test_one_environment_too_also_where_its_episode_is_over(self):
        env = carom_envs.make("breakout", seed=3)
        env.reset()
        while not env.step(0)[2]:
            if env.factors()[env.factor_names.index("ball_y")] == 0:
                env.step(1)
        twin = carom_envs.make("breakout")
        twin.restore(env.save())
        np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])
        self.assertEqual(str(play_one(env, 50)), str(play_one(twin, 50)))

    def test_states_of_others_are_refused_and_change_nothing(self):
        envs = carom_envs.make_vec("breakout", 2, seed=0)
        envs.reset()
        play(envs, 10)
        before = envs.save()
        others = [carom_envs.make_vec("taxi", 2), carom_envs.make_vec("breakout", 3)]
        others.append(carom_envs.make_vec("breakout", 2, frame_stack=2))
        for other in others:
            other.reset(seed=0)
            with self.assertRaises(ValueError):
                envs.restore(other.save())
            self.assertEqual(envs.save(), before)
        for text in ("", "{}", "no", before[:-9], before.replace("lives", "livez")):
            with self.assertRaises(ValueError):
                envs.restore(text)
        self.assertEqual(envs.save(), before)

    def test_pickles_and_deep_copies_play_on_exactly(self):
        for game in GAMES:
            with self.subTest(game=game):
                envs = carom_envs.make_vec(game, 2, seed=3)
                new = pickle.loads(pickle.dumps(envs))
                np.testing.assert_array_equal(new.reset()[0], envs.reset()[0])
                play(envs, 30)
                twins = [pickle.loads(pickle.dumps(envs)), copy.deepcopy(envs)]
                played = play(envs, 60)
                for twin in twins:
                    for a, b in zip(play(twin, 60), played, strict=True):
                        np.testing.assert_array_equal(a, b)
                env = carom_envs.make(game, seed=3)
                env.reset()
                twin = pickle.loads(pickle.dumps(env))
                self.assertEqual(str(play_one(env, 60)), str(play_one(twin, 60)))


class Threads(unittest.TestCase):
    def test_environments_in_two_threads_do_not_disturb_each_other(self):
        def run(seed, results):
            envs = carom_envs.make_vec("breakout", 8, seed=seed)
            envs.reset()
            results[seed] = play(envs, 100, seed)

        alone, together = {}, {}
        for seed in range(2):
            run(seed, alone)
        threads = [threading.Thread(target=run, args=(seed, together)) for seed in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed in range(2):
            for a, b in zip(alone[seed], together[seed], strict=True):
                np.testing.assert_array_equal(a, b)

    def test_one_environment_in_two_threads_plays_or_says_so(self):
        envs = carom_envs.make_vec("breakout", 64, seed=0)
        envs.reset()
        messages, n_played = [], []

        def run():
            for _ in range(60):
                try:
                    envs.step([0] * 64)
                    n_played.append(1)
                except RuntimeError as error:
                    messages.append(str(error))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(n_played) + len(messages), 120)
        self.assertTrue(all("give each thread its own" in message for message in messages))


if __name__ == "__main__":
    unittest.main()
