//! Frames of an environment under a mixed policy, with the true state variables.
//!
//! Half of the frames come from uniformly random play, and half from the scripted player of the game, who takes a
//! random action in one step of five. If the game has no scripted player, all come from random play. So the frames show
//! both the beginning of the game and states that only good play reaches.

use super::dataset::{Dataset, Split};
use super::image_space::{image_shape, image_space};
use anyhow::{Context, Result, ensure};
use carom_envs::{EnvSpec, ImageSpace, Seeds, VecEnv};
use rand::Rng;
use rand_pcg::Pcg32;

/// Steps between two frames of an episode. With 8, two stacks of the usual four share no frame, and 0.05 % of 10,000
/// frames of `breakout` equal the previous one (4 % with every step, 0.9 % with every fourth). The first frame is taken
/// after 0 to 7 random steps, since otherwise games with equal beginnings would give equal frames.
const FRAME_INTERVAL: u32 = 8;
/// Probability that the scripted player takes a random action.
const EPSILON: f64 = 0.2;
/// One in this many episodes is for testing, starting with the first of each policy.
const TEST_EVERY: u32 = 10;
/// Minimum number of episodes of a policy in frames to fit encoders to.
const MIN_EPISODES: usize = 10;
/// Minimum number of frames, for a split into training and test.
const MIN_FRAMES: usize = 2 * MIN_EPISODES;
/// Maximum number of frames: 4 GB of `minatar/breakout`, 71 GB of single frames of `breakout`.
pub(crate) const MAX_FRAMES: usize = 10_000_000;

/// How many frames a game gives, and from where in the game they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Games {
    /// Minimum number of episodes of a policy: an episode gives at most this fraction of its frames.
    min_episodes: usize,
    /// Bounds the steps of a scripted game before its first frame, which are drawn anew for each game. Random games are
    /// too short to be joined late.
    max_lead: u32,
}

impl Games {
    /// Few long games, from their beginning: frames to fit encoders to.
    const LONG: Self = Self { min_episodes: MIN_EPISODES, max_lead: 0 };
    /// Many short parts of games: frames to measure on, of which those of one game are no independent sample. Scripted
    /// play of `breakout` has cleared most of the wall after 1,000 steps.
    pub(crate) const SHORT: Self = Self { min_episodes: 100, max_lead: 1000 };
}

/// Frames of an environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frames {
    /// The environment.
    pub env_id: String,
    /// Shape of a single frame.
    pub space: ImageSpace,
    /// Frames that an agent sees at once.
    pub frame_stack: usize,
    /// `[n, frame_stack, obs_bytes]`, as the environment wrote them, the oldest of a stack first.
    pub obs: Vec<u8>,
    /// `[n, n_factors]`, the true state variables at the newest frame of each stack.
    pub factors: Vec<f32>,
    /// Names of the state variables.
    pub factor_names: Vec<String>,
    /// `[n]`, the episode (a whole game, across lost lives) of each frame, counted from 0.
    pub episode: Vec<u32>,
    /// `[n]`, whether a frame belongs to the test split. All frames of an episode belong to one split.
    pub is_test: Vec<bool>,
    /// Environment steps that were made.
    pub n_steps: u64,
}

impl Frames {
    /// Returns the number of frames, each with its stack.
    pub(crate) fn len(&self) -> usize {
        self.episode.len()
    }
}

/// Returns the default number of frames: 20,000 of planes (8 MB for `minatar/breakout`), 10,000 of pixels (282 MB in
/// stacks of four, and as much again while they are converted to a [`Dataset`]).
///
/// # Errors
/// When its observations are not images.
pub(crate) fn default_n_frames(env: &EnvSpec) -> Result<usize> {
    let space = image_space(env.id(), &env.make().obs_space())?;
    Ok(if space.is_planes() { 20_000 } else { 10_000 })
}

/// Checks that `n_frames` frames of environment `env_id` can be collected.
///
/// # Errors
/// When they are too few for a split into training and test, or too many.
pub(crate) fn check_n_frames(env_id: &str, n_frames: usize) -> Result<()> {
    ensure!(
        n_frames >= MIN_FRAMES,
        "{n_frames} frames of {env_id}: at least {MIN_FRAMES} are needed, to train and to test"
    );
    ensure!(n_frames <= MAX_FRAMES, "{n_frames} frames of {env_id}: at most {MAX_FRAMES} are collected");
    Ok(())
}

/// Collects `n_frames` frames to fit encoders to. Equal settings and seeds give equal frames.
///
/// # Errors
/// When the environment observes neither planes nor pixels, `n_frames` is too small for a split into training and test
/// or too large, or there is not the memory for them.
pub(crate) fn collect(spec: &EnvSpec, n_frames: usize, seed: u64) -> Result<Frames> {
    collect_from(Games::LONG, spec, n_frames, seed)
}

/// Collects `n_frames` frames of `games`. Equal settings and seeds give equal frames.
///
/// # Errors
/// When the environment observes neither planes nor pixels, `n_frames` is too small for a split into training and test
/// or too large, or there is not the memory for them.
pub(crate) fn collect_from(games: Games, spec: &EnvSpec, n_frames: usize, seed: u64) -> Result<Frames> {
    let env_id = spec.id();
    check_n_frames(env_id, n_frames)?;
    let seeds = Seeds::new(seed);
    let make = |policy| spec.make_vec(vec![seeds.stream(&format!("frames/env/{policy}"))]);
    let mut envs = make("random")?;
    let space = image_space(env_id, envs.obs_space())?;
    let mut obs = Vec::new();
    let n_bytes = n_frames * envs.frame_stack() * envs.obs_space().n_bytes();
    let there = obs.try_reserve_exact(n_bytes);
    there.with_context(|| format!("there is not the memory for {n_frames} frames of {env_id}, {n_bytes} bytes"))?;
    let mut frames = Frames {
        env_id: env_id.to_owned(),
        frame_stack: envs.frame_stack(),
        space,
        obs,
        factors: Vec::new(),
        factor_names: envs.env(0).factor_names().iter().map(|&name| name.to_owned()).collect(),
        episode: Vec::with_capacity(n_frames),
        is_test: Vec::with_capacity(n_frames),
        n_steps: 0,
    };
    let n_random = n_frames / 2;
    let n_scripted = n_frames - n_random;
    let from_the_start = Games { max_lead: 0, ..games };
    frames.play(&mut envs, from_the_start, 1.0, n_random, &mut seeds.stream("frames/actions/random"));
    frames.play(&mut make("scripted")?, games, EPSILON, n_scripted, &mut seeds.stream("frames/actions/scripted"));
    Ok(frames)
}

impl Frames {
    /// Adds `n_frames` frames of a player who acts at random with probability `epsilon`.
    fn play(&mut self, envs: &mut VecEnv, games: Games, epsilon: f64, n_frames: usize, rng: &mut Pcg32) {
        let (until, most) = (self.len() + n_frames, (n_frames / games.min_episodes).max(1));
        let first_episode = self.episode.last().map_or(0, |&last| last + 1);
        let lead = |rng: &mut Pcg32| rng.gen_range(0..FRAME_INTERVAL + games.max_lead);
        let (mut episode, mut begun_at, mut wait) = (first_episode, self.len(), lead(rng));
        while self.len() < until {
            if wait == 0 {
                self.take(envs, episode, (episode - first_episode).is_multiple_of(TEST_EVERY));
                wait = FRAME_INTERVAL;
            }
            let is_enough = self.len() - begun_at == most;
            if is_enough {
                envs.reset();
            } else {
                let random = rng.gen_range(0..envs.n_actions() as u32) as usize;
                let scripted = if rng.r#gen::<f64>() < epsilon { None } else { envs.env(0).scripted_action() };
                envs.step(&[scripted.unwrap_or(random)]);
                self.n_steps += 1;
                wait -= 1;
            }
            if is_enough || !envs.episodes().is_empty() {
                // An episode without frames is not counted.
                episode += u32::from(self.len() > begun_at);
                (begun_at, wait) = (self.len(), lead(rng));
            }
        }
    }

    fn take(&mut self, envs: &VecEnv, episode: u32, is_test: bool) {
        self.obs.extend_from_slice(envs.stacks(&mut Vec::new()));
        let n_factors = self.factors.len();
        self.factors.resize(n_factors + self.factor_names.len(), 0.0);
        envs.env(0).factors(&mut self.factors[n_factors..]);
        self.episode.push(episode);
        self.is_test.push(is_test);
    }
}

/// Converts frames to images `[channels, rows, columns]` without labels. The channels of a stack's oldest frame are the
/// first.
pub(crate) fn to_dataset(frames: &Frames) -> Dataset {
    let ImageSpace { n_channels, rows, columns, max } = frames.space;
    let shape = image_shape(frames.space, frames.frame_stack);
    let split = |is_test| {
        let n = frames.is_test.iter().filter(|&&test| test == is_test).count();
        let mut pixels = Vec::with_capacity(n * shape.iter().product::<usize>());
        let stacks = frames.obs.chunks_exact(shape.iter().product());
        for (stack, _) in stacks.zip(&frames.is_test).filter(|(_, test)| **test == is_test) {
            for frame in stack.chunks_exact(rows * columns * n_channels) {
                (0..n_channels).for_each(|channel| pixels.extend(frame.iter().skip(channel).step_by(n_channels)));
            }
        }
        Split::new(shape, pixels, Vec::new())
    };
    Dataset { name: format!("env:{}", frames.env_id), shape, max, n_classes: 0, train: split(false), test: split(true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::{Values, registry};

    fn collect(env_id: &str, n_frames: usize, seed: u64) -> Result<Frames> {
        super::collect(&spec(env_id), n_frames, seed)
    }

    fn spec(env_id: &str) -> EnvSpec {
        registry::resolve(env_id, &Values::new()).expect("an environment")
    }

    #[test]
    fn the_same_seed_gives_the_same_frames_and_another_others() {
        let collect = |seed| collect("minatar/breakout", 100, seed).expect("frames");
        let frames = collect(3);
        assert_eq!(frames, collect(3));
        assert_ne!(frames.obs, collect(4).obs);
        assert_eq!((frames.len(), frames.obs.len()), (100, 100 * 400));
        assert_eq!(frames.factors.len(), 100 * frames.factor_names.len());
        assert!(frames.n_steps >= 100, "{}", frames.n_steps);
    }

    #[test]
    fn no_episode_is_both_in_training_and_in_test() {
        for (env_id, n_frames) in [("minatar/breakout", 400), ("breakout", 60)] {
            let frames = collect(env_id, n_frames, 0).expect("frames");
            let of = |is_test: bool| {
                let marked = frames.episode.iter().zip(&frames.is_test).filter(move |(_, test)| **test == is_test);
                marked.map(|(&episode, _)| episode).collect::<std::collections::BTreeSet<_>>()
            };
            let (train, test) = (of(false), of(true));
            assert!(train.is_disjoint(&test), "{env_id}: {train:?} {test:?}");
            assert!(
                frames.episode.is_sorted() && train.len() + test.len() == *frames.episode.last().unwrap() as usize + 1
            );
            let share = test.len() as f64 / (train.len() + test.len()) as f64;
            assert!((0.05..0.2).contains(&share), "{env_id}: {share} of the episodes are for testing");
            let dataset = to_dataset(&frames);
            assert_eq!(dataset.train.len() + dataset.test.len(), n_frames);
        }
    }

    #[test]
    fn frames_to_measure_on_are_of_many_short_games_from_all_over_their_course() {
        let bricks = |frames: &Frames| {
            let at = frames.factor_names.iter().position(|name| name == "bricks_left").expect("bricks");
            let left = frames.factors.iter().skip(at).step_by(frames.factor_names.len());
            left.copied().fold(f32::INFINITY, f32::min)
        };
        let spec = spec("breakout");
        let short = collect_from(Games::SHORT, &spec, 400, 1).expect("frames");
        let long = super::collect(&spec, 400, 1).expect("frames");
        let n_episodes = |frames: &Frames| *frames.episode.last().expect("frames") as usize + 1;
        assert!(n_episodes(&short) >= 200 && n_episodes(&long) < 40, "{} {}", n_episodes(&short), n_episodes(&long));
        assert!(bricks(&short) < bricks(&long), "{} {}", bricks(&short), bricks(&long));
    }

    #[test]
    fn channels_and_stacked_frames_come_first() {
        // Two stacks of two frames of 1x2 cells with three planes each; the second is for testing.
        let frames = Frames {
            env_id: "planes".to_owned(),
            space: ImageSpace { n_channels: 3, rows: 1, columns: 2, max: 1 },
            frame_stack: 2,
            obs: (0..24).collect(),
            factors: Vec::new(),
            factor_names: Vec::new(),
            episode: vec![0, 1],
            is_test: vec![false, true],
            n_steps: 2,
        };
        let dataset = to_dataset(&frames);
        assert_eq!((dataset.shape, dataset.max), ([6, 1, 2], 1));
        assert_eq!(dataset.train.pixels, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert_eq!(dataset.test.image(0), [12, 15, 13, 16, 14, 17, 18, 21, 19, 22, 20, 23]);
    }

    #[test]
    fn factors_are_those_of_the_frame_beside_them() {
        let frames = collect("minatar/breakout", 200, 1).expect("frames");
        let factor = frames.factor_names.iter().position(|name| name.contains("paddle")).expect("a paddle");
        for (obs, factors) in frames.obs.chunks(400).zip(frames.factors.chunks(frames.factor_names.len())) {
            // Plane 0 is the paddle, in the last row.
            let column = (0..10).find(|column| obs[(90 + column) * 4] == 1).expect("a paddle");
            assert_eq!(factors[factor], column as f32);
        }
    }

    #[test]
    fn what_is_no_image_is_refused_with_the_reason() {
        for (env_id, found) in [("taxi", "one of 500 states"), ("cartpole", "a vector of 4 numbers")] {
            let message = collect(env_id, 100, 0).expect_err("no image").to_string();
            assert!(message.contains(found) && message.contains("planes or pixels"), "{message}");
            assert_eq!(default_n_frames(&spec(env_id)).expect_err("no image").to_string(), message);
        }
        let message = collect("minatar/breakout", 19, 0).expect_err("too few").to_string();
        assert!(message.contains("at least 20"), "{message}");
        let message = collect("minatar/breakout", 1_000_000_000_000_000, 0).expect_err("too many").to_string();
        assert!(message.contains("at most 10000000"), "{message}");
    }
}
