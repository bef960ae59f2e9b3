"""Pictures, texts, state variables and descriptions."""

import re
import unittest

import carom_envs
import numpy as np

GAMES = [game.name for game in carom_envs.games()]


class Pictures(unittest.TestCase):
    def test_every_game_draws_itself(self):
        for game in GAMES:
            env = carom_envs.make(game, render_mode="rgb_array", seed=0)
            env.reset()
            picture = env.render()
            self.assertEqual((picture.dtype, picture.ndim, picture.shape[2]), (np.uint8, 3, 3))
            self.assertGreater(picture.std(), 0)
            envs = carom_envs.make_vec(game, 2, render_mode="rgb_array", seed=0)
            envs.reset()
            np.testing.assert_array_equal(envs.render()[0], picture)

    def test_an_ended_episode_shows_its_last_state(self):
        env = carom_envs.make("taxi", render_mode="rgb_array", seed=0, max_steps=5)
        env.reset()
        env.action_space.seed(0)
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
        last = env.render()
        env.reset()
        self.assertFalse((env.render() == last).all())

    def test_text_is_at_most_eighty_columns_wide(self):
        for game in GAMES:
            env = carom_envs.make(game, render_mode="ansi", seed=0)
            env.reset()
            lines = re.sub(r"\x1b\[[\d;]*m", "", env.render()).splitlines()
            self.assertEqual({line.strip("▀") for line in lines}, {""})
            self.assertTrue(all(40 <= len(line) <= 80 for line in lines), game)


class Descriptions(unittest.TestCase):
    def test_games_and_settings_are_described(self):
        breakout = next(game for game in carom_envs.games() if game.name == "breakout")
        sticky = next(setting for setting in breakout.settings if setting.key == "sticky")
        self.assertEqual((sticky.default, sticky.expected), (0.0, "a number in 0..=1"))
        env = carom_envs.make("breakout", protocol="machado-2018")
        self.assertEqual(env.protocol, "machado-2018, cap 27000")
        self.assertEqual(env.action_names, ["noop", "fire", "right", "left"])

    def test_state_variables_and_scripted_players(self):
        env = carom_envs.make("breakout", seed=0, life_loss_terminal=False, reward_clip=False)
        env.reset()
        score = 0.0
        for _ in range(2000):
            score += env.step(env.scripted_action())[1]
        factors = dict(zip(env.factor_names, env.factors().tolist(), strict=True))
        self.assertEqual(factors["score"], score)
        self.assertGreater(score, 200)
        self.assertEqual(carom_envs.make_vec("breakout", 3).scripted_actions().shape, (3,))
        self.assertIsNone(carom_envs.make("taxi").scripted_action())


if __name__ == "__main__":
    unittest.main()
