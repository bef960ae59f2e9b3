//! `carom watch`: shows a policy playing, in the terminal or as a GIF.

use super::eval::{RANDOM, refuse_epsilon};
use super::print;
use crate::config::kind::training_config;
use crate::config::layers::Layer;
use crate::config::names;
use crate::config::part::Part;
use crate::config::training::TRAINING;
use crate::device::Device;
use crate::encoder::ObsTransform;
use crate::files;
use crate::game::{End, LiveGame};
use crate::human::{parse_count, parse_seed, plural};
use crate::interrupt;
use crate::movie::Movie;
use crate::run::checkpoint::Which;
use crate::statistics::mean;
use crate::terminal::{Lines, Pace, Terminal};
use crate::train::evaluation::Evaluation;
use crate::train::policy::Policy;
use anyhow::{Context, Result, ensure};
use carom_envs::{EnvSpec, Seeds, Values};
use clap::{ArgGroup, Args, ValueEnum};
use rand::Rng;
use rand_pcg::Pcg32;
use ratatui::crossterm::event::KeyCode;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Watch a policy play, a run's or an untrained one, in the terminal or as a GIF
///
/// Keys: q quits, space pauses, n makes a single step, + and - change the speed. The first episode of a run is the
/// first one that `carom eval` plays with the same seed. The value that the agent gives each action is shown in the
/// terminal, with the largest in brackets, if there are at most six.
#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true), after_help = "Examples:
  carom watch runs/minatar-breakout-dqn-s0
  carom watch runs/minatar-breakout-dqn-s0 --gif breakout.gif
  carom watch --env breakout --agent scripted --fps 60")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN", group = "what")]
    run: Option<PathBuf>,
    /// Environment to watch without a run (`carom list envs`)
    #[arg(long, value_name = "ID", group = "what")]
    env: Option<String>,
    /// Player without a run
    #[arg(long, value_name = "NAME", requires = "env", conflicts_with = "run", default_value = "random")]
    agent: Untrained,
    /// Write an animated GIF instead of drawing in the terminal
    #[arg(long, value_name = "FILE")]
    gif: Option<PathBuf>,
    /// Episodes to play [default: 1 in a GIF, unlimited in the terminal]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    episodes: Option<u64>,
    /// Time limit of an episode [default: the environment's]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    max_steps: Option<u64>,
    /// Seed of the episodes [default: the run's, else 0]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Probability of a uniformly random action instead of the policy's [default: the run's eval_epsilon, else 0]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    epsilon: Option<f64>,
    /// Checkpoint of the run: newest, best (by the evaluations during training), or a step [default: newest]
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<Which>,
    /// A setting of the environment, e.g. env.sticky=0; may be repeated
    #[arg(long, value_name = "env.KEY=VALUE")]
    set: Vec<String>,
    /// Device that tensors are on [default: the run's, or cpu where that is missing]
    #[arg(long)]
    device: Option<Device>,
    /// Steps per second [default: depends on the environment]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    fps: Option<f64>,
}

/// A player that needs no training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Untrained {
    /// Uniformly random actions
    Random,
    /// The scripted player of the environment, if it has one
    Scripted,
}

/// Largest number of actions whose values are shown.
const MAX_VALUES: usize = 6;

/// Time that the end of an episode is shown.
const LINGER: Duration = Duration::from_secs(1);

/// Longest time between two checks for Ctrl-C.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Time limit of an episode in a GIF if nothing else limits it: a greedy policy may never end one.
const MAX_STEPS_IN_GIF: u64 = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let &Arguments { episodes, fps, .. } = arguments;
    ensure!(episodes != Some(0), "--episodes is 0: at least one is needed");
    ensure!(arguments.max_steps != Some(0), "--max-steps is 0: an episode has at least one step");
    if let Some(epsilon) = arguments.epsilon {
        ensure!((0.0..=1.0).contains(&epsilon), "--epsilon is {epsilon}: expected a number in 0..=1");
    }
    ensure!(fps.is_none_or(|fps| (0.1..=1000.0).contains(&fps)), "--fps: expected a number in 0.1..=1000");
    if let Some(path) = &arguments.gif {
        let is_gif = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif"));
        ensure!(is_gif, "--gif {}: give a name that ends in .gif", path.display());
    }
    let (mut game, mut player) = arguments.prepare()?;
    let speed = fps.unwrap_or(game.speed());
    if let Some(path) = &arguments.gif {
        return record(&mut game, &mut player, path, episodes.unwrap_or(1), speed);
    }
    let returns = show(&mut game, &mut player, episodes.unwrap_or(u64::MAX), speed)?;
    if !returns.is_empty() {
        let n = plural(returns.len() as u64, "episode");
        print(&format!("{n} watched, mean return {} ({})\n", number(mean(&returns)), game.protocol))?;
    }
    Ok(interrupt::exit_code())
}

impl Arguments {
    fn prepare(&self) -> Result<(LiveGame, EpsilonGreedy)> {
        let set = env_settings(&self.set)?;
        ensure!(
            self.max_steps.is_none_or(|n| set.get("max_steps").is_none_or(|set| set.as_u64() == Some(n))),
            "the time limit is given twice, by --max-steps and by --set env.max_steps"
        );
        let (spec, actor, seed, epsilon) = match (&self.run, &self.env) {
            (Some(dir), _) => {
                let config = training_config(dir, "watch")?.for_reading(self.device)?;
                refuse_epsilon(self.epsilon, config.agent.name() == RANDOM)?;
                let policy = Policy::of(config, dir, self.checkpoint.unwrap_or_default())?;
                let Evaluation { seed, epsilon, .. } = Evaluation::of_run(&policy.config);
                (policy.config.env.clone(), Actor::Trained(Box::new(policy)), seed, epsilon)
            }
            (None, id) => {
                // clap does not say so: the environment takes the run's place.
                for (flag, is_given) in [("checkpoint", self.checkpoint.is_some()), ("device", self.device.is_some())] {
                    ensure!(!is_given, "--{flag} has no effect: it is of a run, and --env is watched without one");
                }
                refuse_epsilon(self.epsilon, self.agent == Untrained::Random)?;
                let spec = names::env(id.as_deref().unwrap_or_default())?.resolve(&Values::new())?;
                (spec, Actor::Untrained(self.agent), 0, 0.0)
            }
        };
        names::env(spec.id())?.refuse_easing(&set)?;
        let seeds = Seeds::new(self.seed.unwrap_or(seed));
        let spec = self.with_limit(spec.with_all(&set)?);
        let transform = match &actor {
            Actor::Trained(policy) => &policy.transform,
            Actor::Untrained(_) => &ObsTransform::Raw,
        };
        let game = LiveGame::seen_through(transform, &spec, seeds.stream("eval/0"))?;
        actor.check(&game)?;
        let epsilon = self.epsilon.unwrap_or(epsilon);
        Ok((game, EpsilonGreedy { actor, epsilon, rng: seeds.stream("eval/explore/0") }))
    }

    fn with_limit(&self, spec: EnvSpec) -> EnvSpec {
        let is_endless = spec.time_limit().is_none();
        match self.max_steps.or((self.gif.is_some() && is_endless).then_some(MAX_STEPS_IN_GIF)) {
            Some(max_steps) => spec.with_time_limit(max_steps),
            None => spec,
        }
    }
}

/// Parses `--set` of a command that accepts no settings but the environment's.
pub(super) fn env_settings(assignments: &[String]) -> Result<Values> {
    for assignment in assignments {
        ensure!(
            assignment.trim_start().starts_with("env."),
            "--set {assignment}: only the environment can be set here, by env.KEY=VALUE"
        );
    }
    Ok(Layer::from_assignments(assignments, &TRAINING)?.part(Part::Env))
}

/// A policy: a trained agent's or a player's that needs no training.
enum Actor {
    Trained(Box<Policy>),
    Untrained(Untrained),
}

impl Actor {
    /// Returns an error if it cannot play the game.
    fn check(&self, game: &LiveGame) -> Result<()> {
        match self {
            Actor::Trained(policy) => {
                let suits = policy.suits(&game.obs_space(), game.frame_stack(), game.action_names().len());
                ensure!(
                    suits,
                    "--set: these settings change the observations or actions that the run's policy was trained with"
                );
            }
            Actor::Untrained(Untrained::Scripted) => {
                let is_there = game.env().scripted_action().is_some();
                ensure!(is_there, "`{}` has no scripted player; --agent random plays anything", game.id);
            }
            Actor::Untrained(Untrained::Random) => {}
        }
        Ok(())
    }

    /// Returns the action to play; `None` stands for a random one.
    fn action(&mut self, game: &LiveGame) -> Option<usize> {
        match self {
            Actor::Untrained(Untrained::Random) => None,
            Actor::Untrained(Untrained::Scripted) => game.env().scripted_action(),
            Actor::Trained(policy) => match policy.player.agent() {
                None => game.env().scripted_action(),
                Some(agent) => {
                    let mut action = [0];
                    agent.greedy(game.stack(), &mut action);
                    Some(action[0])
                }
            },
        }
    }
}

/// A policy that plays a random action with probability epsilon.
struct EpsilonGreedy {
    actor: Actor,
    epsilon: f64,
    rng: Pcg32,
}

impl EpsilonGreedy {
    /// Formats the value of each action in the present state. Returns `None` if the policy has no values, or too many
    /// for a line.
    fn values(&mut self, game: &LiveGame) -> Option<String> {
        let Actor::Trained(policy) = &mut self.actor else { return None };
        let names = game.action_names();
        if names.len() > MAX_VALUES {
            return None;
        }
        Some(value_line(names, &policy.player.agent()?.values_of(game.stack())?))
    }

    fn play(&mut self, game: &mut LiveGame) {
        let n_actions = game.action_names().len() as u32;
        let explores = self.epsilon > 0.0 && self.rng.gen_bool(self.epsilon);
        let action = if explores { None } else { self.actor.action(game) };
        game.play(action.unwrap_or_else(|| self.rng.gen_range(0..n_actions) as usize));
    }
}

/// Shows episodes in the terminal until enough are over or the user quits, and returns the returns of finished ones.
fn show(game: &mut LiveGame, player: &mut EpsilonGreedy, episodes: u64, speed: f64) -> Result<Vec<f64>> {
    let mut terminal = Terminal::open("--gif FILE writes a GIF instead")?;
    let (mut pace, mut is_paused, mut returns) = (Pace::new(speed), false, Vec::new());
    let mut ended_at = None;
    let (mut shown_at, mut values) = (None, None);
    while !interrupt::requested() {
        let picture = game.picture();
        if shown_at.is_none_or(|at| at != (game.episode, game.step)) {
            shown_at = Some((game.episode, game.step));
            values = player.values(game);
        }
        let lines = lines(game, &pace, is_paused, values.as_deref());
        terminal.show(&picture, LiveGame::pixel_aspect(&picture), &lines)?;
        // The faster the episodes are shown, the shorter their ends.
        let linger = LINGER.mul_f64((game.speed() / pace.speed).min(1.0));
        let lingers = ended_at.map_or(Duration::ZERO, |at: Instant| linger.saturating_sub(at.elapsed()));
        let is_still = is_paused || terminal.is_too_small();
        let wait = if is_still { POLL_EVERY } else { pace.wait(Instant::now()).max(lingers).min(POLL_EVERY) };
        let mut steps = 0;
        if let Some(key) = terminal.key(wait)?.filter(|key| !key.is_release) {
            match key.code {
                KeyCode::Char('q' | 'Q') | KeyCode::Esc => break,
                KeyCode::Char(' ') => is_paused = !is_paused,
                KeyCode::Char('n') => (is_paused, steps) = (true, 1),
                code => _ = pace.takes(code),
            }
        }
        let now = Instant::now();
        let is_still = is_paused || terminal.is_too_small();
        if is_still {
            pace.skip(now);
        } else {
            steps = pace.due(now);
        }
        match ended_at {
            Some(at) if steps > 0 && (is_still || now.duration_since(at) >= linger) => {
                if game.episode >= episodes {
                    break;
                }
                game.begin();
                ended_at = None;
            }
            Some(_) => {}
            None => {
                for _ in 0..steps {
                    player.play(game);
                    if game.end.is_some() {
                        returns.push(game.episode_return);
                        ended_at = Some(now);
                        break;
                    }
                }
            }
        }
    }
    Ok(returns)
}

/// Writes episodes as a GIF.
fn record(game: &mut LiveGame, player: &mut EpsilonGreedy, path: &Path, episodes: u64, speed: f64) -> Result<ExitCode> {
    interrupt::listen_saying("interrupted: finishing the GIF; press again to leave without")?;
    let mut n_frames = 0;
    files::write_whole(path, |file| {
        n_frames = film(game, player, file, episodes, speed, |ended| say!("{ended}"))?;
        anyhow::Ok(())
    })
    .with_context(|| format!("cannot write {}", path.display()))?;
    say!("{}", plural(n_frames, "frame"));
    print(&format!("{}\n", path.display()))?;
    Ok(interrupt::exit_code())
}

/// Writes episodes to `out` as a GIF, and calls `tell` with a summary of each. Returns the number of frames. A request
/// to stop ends it early.
fn film(
    game: &mut LiveGame,
    player: &mut EpsilonGreedy,
    out: impl Write,
    episodes: u64,
    speed: f64,
    mut tell: impl FnMut(String),
) -> Result<u64> {
    let mut movie = Movie::new(out, &game.picture())?;
    loop {
        movie.show(&game.picture(), 1.0 / speed)?;
        if interrupt::requested() {
            break;
        }
        player.play(game);
        if game.end.is_some() {
            movie.show(&game.picture(), LINGER.as_secs_f64())?;
            tell(format!("{} ({})", summary(game), game.protocol));
            if game.episode >= episodes {
                break;
            }
            game.begin();
        }
    }
    movie.finish()
}

/// Plays one episode of the policy of the run in `dir`, of `max_steps` steps at most. Returns it as a GIF, with a
/// summary.
///
/// # Errors
/// When the run has no checkpoint, or its environment cannot draw itself.
pub(super) fn episode(dir: &Path, max_steps: u64) -> Result<(Vec<u8>, String)> {
    let arguments = Arguments {
        run: Some(dir.to_path_buf()),
        env: None,
        agent: Untrained::Random,
        gif: None,
        episodes: None,
        max_steps: None,
        seed: None,
        epsilon: None,
        checkpoint: None,
        set: vec![],
        device: None,
        fps: None,
    };
    let (mut game, mut player) = arguments.prepare()?;
    let (mut gif, mut told, speed) = (vec![], String::new(), game.speed());
    game.shorten(max_steps);
    film(&mut game, &mut player, &mut gif, 1, speed, |ended| told = ended)?;
    Ok((gif, told))
}

fn lines(game: &LiveGame, pace: &Pace, is_paused: bool, values: Option<&str>) -> Lines {
    let mut status = vec![game.id.clone(), format!("episode {}", game.episode)];
    status.push(format!("step {:<4}", game.step));
    status.push(format!("return {:<4}", number(game.episode_return)));
    status.extend(last_step(game));
    status.extend(game.lives().map(|lives| format!("lives {lives}")));
    status.extend(game.end.map(|end| ending(end).to_owned()));
    status.extend(values.map(str::to_owned));
    let space = if is_paused { "space go on" } else { "space pause" };
    let help = ["q quit", space, "n step"].map(str::to_owned).into_iter();
    Lines { status, help: help.chain([pace.help()]).collect() }
}

/// Formats the value of each action, the largest in brackets unless all are alike.
fn value_line(names: &[&str], values: &[f64]) -> String {
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let has_best = values.iter().any(|&value| value != best);
    let cells = names.iter().zip(values).map(|(name, &value)| {
        let [open, close] = if has_best && value == best { ['[', ']'] } else { [' ', ' '] };
        format!("{open}{name} {value:.2}{close}")
    });
    format!("Q {}", cells.collect::<String>().trim_end())
}

/// Formats the latest action and its reward in columns of fixed width.
pub(super) fn last_step(game: &LiveGame) -> [String; 2] {
    let longest = game.action_names().iter().map(|name| name.len()).max().unwrap_or(0);
    let (name, reward) = match game.last {
        Some((action, reward)) => (game.action_names()[action], format!("reward {}", number(reward.into()))),
        None => ("", String::new()),
    };
    [format!("{name:longest$}"), format!("{reward:<9}")]
}

fn summary(game: &LiveGame) -> String {
    let note = match game.end {
        Some(End::Truncated) => ", cut off by the time limit",
        _ => "",
    };
    let steps = plural(game.step, "step");
    format!("episode {}: return {}, {steps}{note}", game.episode, number(game.episode_return))
}

/// Names how an episode ended.
pub(super) fn ending(end: End) -> &'static str {
    match end {
        End::Terminated => "ended",
        End::Truncated => "time limit",
    }
}

/// Formats a reward or return: a whole number without decimals, others with two.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::registry as envs;

    fn game(id: &str) -> LiveGame {
        LiveGame::new(&envs::resolve(id, &Values::new()).expect("valid"), Seeds::new(1).stream("eval/0"))
            .unwrap_or_else(|e| panic!("{e:#}"))
    }

    #[test]
    fn the_status_has_the_last_step() {
        let mut game = game("taxi");
        let status = |game: &LiveGame| lines(game, &Pace::new(4.0), true, None).status.join("|");
        assert_eq!(status(&game), "taxi|episode 1|step 0   |return 0   |        |         ");
        game.play(5);
        assert_eq!(status(&game), "taxi|episode 1|step 1   |return -10 |drop-off|reward -10");
        assert_eq!(
            lines(&game, &Pace::new(4.0), true, None).help.join("|"),
            "q quit|space go on|n step|+/- speed (4.0/s)"
        );
    }

    #[test]
    fn the_status_has_the_value_of_each_action_and_marks_the_largest() {
        assert_eq!(value_line(&["left", "right"], &[1.0, 2.504]), "Q  left 1.00 [right 2.50]");
        assert_eq!(value_line(&["left", "right"], &[0.0, 0.0]), "Q  left 0.00  right 0.00");
        let line = value_line(&["left", "right"], &[-1.0, -2.0]);
        let status = lines(&game("taxi"), &Pace::new(4.0), false, Some(&line)).status;
        assert_eq!(status.last().map(String::as_str), Some("Q [left -1.00] right -2.00"));
    }

    #[test]
    fn the_status_has_lives_and_the_end() {
        let mut game = game("breakout");
        let status = |game: &LiveGame| lines(game, &Pace::new(4.0), false, None).status.join("|");
        assert!(status(&game).ends_with("|lives 5"), "{}", status(&game));
        while game.end.is_none() {
            game.play(1);
        }
        assert!(status(&game).ends_with("|lives 0|ended"), "{}", status(&game));
        let line = summary(&game);
        assert!(line.starts_with("episode 1: return ") && line.ends_with(" steps"), "{line}");
        assert_eq!((number(-1.0), number(0.127), plural(1, "step")), ("-1".into(), "0.13".into(), "1 step".into()));
    }
}
