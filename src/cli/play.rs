//! `carom play`: lets a person play an environment.

use super::watch::{ending, env_settings, last_step, number};
use super::{joined, print};
use crate::config::names;
use crate::game::LiveGame;
use crate::human::{parse_seed, plural};
use crate::interrupt;
use crate::terminal::{Held, Key, Keys, Lines, Meaning, Pace, Terminal};
use anyhow::Result;
use carom_envs::{EnvSpec, ObsSpace, Seeds, Values, registry as envs};
use clap::Args;
use ratatui::crossterm::event::KeyCode;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Play an environment yourself in the terminal
///
/// Arrow keys or WASD move, space fires; other actions have the letters shown below the picture. Grid games wait for
/// your move, the others begin with your first key. p pauses, r plays again after the end, + and - change the speed,
/// q quits. Breakout runs at 60 frames a second, without frame skip and sticky actions; --set changes that.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  carom play --env breakout\n  carom play --env frozen-lake --set env.slippery=false"
)]
pub(super) struct Arguments {
    /// Environment (`carom list envs`)
    #[arg(long, value_name = "ID")]
    env: String,
    /// Seed of the game [default: a new one each time]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// A setting of the environment, e.g. env.sticky=0.1; may be repeated
    #[arg(long, value_name = "env.KEY=VALUE")]
    set: Vec<String>,
}

/// Defaults of settings that make a game harder for agents, but would only annoy people. They replace the defaults of
/// environments that have these settings.
const FOR_PEOPLE: [(&str, u64); 3] = [("frame_skip", 1), ("sticky", 0), ("noop_max", 0)];

/// Time between two checks for Ctrl-C while a game waits for a key.
const POLL_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let spec = for_people(&arguments.env, env_settings(&arguments.set)?)?;
    let seed = arguments.seed.unwrap_or_else(any_seed);
    let game = LiveGame::new(&spec, Seeds::new(seed).stream("eval/0"))?;
    let terminal = Terminal::open("`carom watch --gif FILE` writes a GIF of a policy instead")?;
    let mut table = Match::new(game, terminal.reports_releases());
    table.play(terminal)?;
    let protocol = (!table.results.is_empty()).then(|| format!("protocol: {}", table.game.protocol));
    print(&joined(&table.results.into_iter().chain(protocol).collect::<Vec<_>>()))
}

fn for_people(id: &str, given: Values) -> Result<EnvSpec> {
    names::env(id)?.refuse_easing(&given)?;
    let known = envs::resolve(id, &given)?;
    let ours = FOR_PEOPLE.iter().filter(|(key, _)| known.settings().contains_key(*key));
    let mut settings: Values = ours.map(|&(key, value)| (key.to_owned(), json!(value))).collect();
    settings.extend(given);
    Ok(envs::resolve(id, &settings)?)
}

/// Returns a seed from the clock: people want a new game each time.
fn any_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the first key, so that the game does not surprise the player.
    Ready,
    Running,
    Paused,
    Over,
}

/// A session of games with a person.
struct Match {
    game: LiveGame,
    keys: Keys,
    held: Held,
    /// The action of a key that was pressed once, for the next step.
    pressed: Option<usize>,
    pace: Pace,
    phase: Phase,
    best: Option<f64>,
    /// A line for each game that is over.
    results: Vec<String>,
}

impl Match {
    fn new(game: LiveGame, reports_releases: bool) -> Self {
        let keys = Keys::new(game.action_names());
        let (held, pace) = (Held::new(reports_releases), Pace::new(speed(&game)));
        let phase = if game.is_turn_based() { Phase::Running } else { Phase::Ready };
        Self { game, keys, held, pressed: None, pace, phase, best: None, results: vec![] }
    }

    fn play(&mut self, mut terminal: Terminal) -> Result<()> {
        while !interrupt::requested() {
            let picture = self.game.picture();
            terminal.show(&picture, LiveGame::pixel_aspect(&picture), &self.lines())?;
            let is_running = self.phase == Phase::Running && !self.game.is_turn_based();
            let mut wait = if is_running { self.pace.wait(Instant::now()) } else { POLL_EVERY };
            while let Some(key) = terminal.key(wait)? {
                if !key.is_release && matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) {
                    return Ok(());
                }
                self.take(key);
                wait = Duration::ZERO;
            }
            if terminal.is_too_small() && is_running {
                self.phase = Phase::Paused;
            }
            self.advance(Instant::now());
        }
        Ok(())
    }

    /// Plays the steps that are due.
    fn advance(&mut self, now: Instant) {
        if self.phase != Phase::Running || self.game.is_turn_based() {
            return self.pace.skip(now);
        }
        for _ in 0..self.pace.due(now) {
            let held = self.held.take(now);
            let action = self.pressed.take().unwrap_or_else(|| self.keys.action(&held, self.game.step));
            self.step(action);
            if self.phase == Phase::Over {
                break;
            }
        }
    }

    fn step(&mut self, action: usize) {
        self.game.play(action);
        if self.game.end.is_some() {
            let score = self.game.episode_return;
            self.best = Some(self.best.map_or(score, |best| best.max(score)));
            let steps = plural(self.game.step, "step");
            self.results.push(format!("game {}: score {}, {steps}", self.game.episode, number(score)));
            self.phase = Phase::Over;
        }
    }

    fn take(&mut self, key: Key) {
        let meaning = self.keys.meaning(key.code);
        if key.is_release {
            if let Some(Meaning::Control(control)) = meaning {
                self.held.release(control);
            }
            return;
        }
        match (self.phase, meaning, key.code) {
            (Phase::Ready | Phase::Running, Some(meaning), _) => {
                self.phase = Phase::Running;
                self.act(meaning);
            }
            (Phase::Over, _, KeyCode::Char('r' | 'R') | KeyCode::Enter) => {
                self.game.begin();
                self.held.clear();
                self.phase = if self.game.is_turn_based() { Phase::Running } else { Phase::Ready };
            }
            (Phase::Paused, _, KeyCode::Char('p' | 'P' | ' ') | KeyCode::Enter)
            | (Phase::Ready, None, KeyCode::Char(' ') | KeyCode::Enter) => self.phase = Phase::Running,
            // Space pauses too in games that do not fire.
            (Phase::Running, None, KeyCode::Char('p' | 'P' | ' ')) if !self.game.is_turn_based() => {
                self.held.clear();
                self.phase = Phase::Paused;
            }
            (_, _, code) => _ = self.pace.takes(code),
        }
    }

    fn act(&mut self, meaning: Meaning) {
        match (meaning, self.game.is_turn_based()) {
            (Meaning::Control(control), true) => {
                if let Some(action) = self.keys.playing(&[control]) {
                    self.step(action);
                }
            }
            (Meaning::Action(action), true) => self.step(action),
            (Meaning::Control(control), false) => self.held.press(control, Instant::now()),
            (Meaning::Action(action), false) => self.pressed = Some(action),
        }
    }

    fn lines(&self) -> Lines {
        let game = &self.game;
        let mut status = vec![game.id.clone(), format!("score {:<4}", number(game.episode_return))];
        status.extend(game.lives().map(|lives| format!("lives {lives}")));
        status.push(format!("step {:<4}", game.step));
        if game.is_turn_based() {
            status.extend(last_step(game));
        }
        let state = match (self.phase, game.end) {
            (Phase::Over, Some(end)) => ending(end),
            (Phase::Paused, _) => "paused",
            _ => "",
        };
        status.push(state.to_owned());
        status.extend(self.best.map(|best| format!("best {}", number(best))));
        let is_real_time = !game.is_turn_based();
        let pause = if is_real_time { "p pause" } else { "" };
        let speed = if is_real_time { self.pace.help() } else { String::new() };
        let help = match self.phase {
            Phase::Ready => vec!["press a key to begin:".to_owned(), self.keys.help(), "q quit".to_owned(), speed],
            Phase::Running => vec![self.keys.help(), pause.to_owned(), "q quit".to_owned(), speed],
            Phase::Paused => vec!["p go on".to_owned(), "q quit".to_owned(), speed],
            Phase::Over => vec!["r play again".to_owned(), "q quit".to_owned()],
        };
        Lines { status, help }
    }
}

/// Returns the steps a second for a person: half the usual speed in control tasks, where a pole falls faster than
/// people react.
fn speed(game: &LiveGame) -> f64 {
    if matches!(game.env().obs_space(), ObsSpace::Vector { .. }) { game.speed() / 2.0 } else { game.speed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::Picture;

    fn table(id: &str) -> Match {
        let spec = for_people(id, Values::new()).unwrap_or_else(|e| panic!("{e:#}"));
        let game = LiveGame::new(&spec, Seeds::new(1).stream("eval/0")).unwrap_or_else(|e| panic!("{e:#}"));
        Match::new(game, false)
    }

    fn press(table: &mut Match, codes: &[KeyCode]) {
        for &code in codes {
            table.take(Key { code, is_release: false });
        }
    }

    #[test]
    fn breakout_is_played_frame_by_frame_and_begins_with_the_first_key() {
        let mut table = table("breakout");
        assert_eq!((table.phase, table.pace.speed), (Phase::Ready, 60.0));
        let start = Instant::now();
        table.advance(start + Duration::from_millis(50));
        assert_eq!(table.game.step, 0);
        press(&mut table, &[KeyCode::Char(' ')]);
        table.advance(start + Duration::from_millis(90));
        assert_eq!((table.phase, table.game.step), (Phase::Running, 2));
        assert_eq!(table.game.last, Some((1, 0.0)), "the first key fires already");
        press(&mut table, &[KeyCode::Char('p')]);
        assert_eq!(table.phase, Phase::Paused);
        press(&mut table, &[KeyCode::Left]);
        table.advance(start + Duration::from_millis(200));
        assert_eq!((table.phase, table.game.step), (Phase::Paused, 2));
        press(&mut table, &[KeyCode::Char('p')]);
        assert_eq!(table.phase, Phase::Running);
    }

    #[test]
    fn games_of_squares_move_with_each_key_and_begin_again_when_asked() {
        let mut table = table("taxi");
        table.advance(Instant::now() + Duration::from_secs(1));
        press(&mut table, &[KeyCode::Char('p'), KeyCode::Char('d'), KeyCode::Up, KeyCode::Char('x')]);
        assert_eq!((table.game.step, table.game.last), (3, Some((1, -1.0))));
        while table.phase == Phase::Running {
            press(&mut table, &[KeyCode::Up]);
        }
        assert_eq!((table.game.step, table.results.len()), (200, 1));
        press(&mut table, &[KeyCode::Up, KeyCode::Char('r')]);
        assert_eq!((table.phase, table.game.step, table.game.episode), (Phase::Running, 0, 2));
    }

    #[test]
    fn given_settings_override_the_defaults_for_people() {
        let given = Values::from_iter([("sticky".to_owned(), json!(0.25))]);
        let people = for_people("breakout", given).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!((&people.settings()["sticky"], &people.settings()["frame_skip"]), (&json!(0.25), &json!(1)));
        let taxi = for_people("taxi", Values::new()).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(taxi, envs::resolve("taxi", &Values::new()).expect("valid"));
        assert_eq!(LiveGame::pixel_aspect(&Picture::filled(160, 210, [0; 3])), 1.75);
    }
}
