//! Step for step against the reference implementations; `scripts/golden/make` writes the files.

use carom_envs::model::Outcome;
use carom_envs::{Env, ObsSpace, Step, Values, registry};
use flate2::read::GzDecoder;
use rand_mt::Mt;
use rand_pcg::Pcg64;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use std::fs::File;
use std::io::Read;

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn observation(env: &dyn Env) -> Vec<u8> {
    let mut obs = vec![0; env.obs_space().n_bytes()];
    env.observe(&mut obs);
    obs
}

#[derive(Deserialize)]
struct MinatarTraces {
    block: usize,
    traces: Vec<MinatarTrace>,
}

#[derive(Deserialize)]
struct MinatarTrace {
    action_set: String,
    sticky: f64,
    seed: u32,
    steps: String,
    crcs: Vec<u32>,
}

#[test]
fn minatar_breakout_is_the_reference_at_every_step() {
    let MinatarTraces { block, traces } = golden("minatar_breakout");
    let mut n_steps = 0;
    for trace in traces {
        let name = format!("{} actions, sticky {}", trace.action_set, trace.sticky);
        let settings = json!({"action_set": trace.action_set, "sticky": trace.sticky});
        let mut env = registry::resolve("minatar/breakout", settings.as_object().unwrap()).unwrap().make();
        let mut rng = Mt::new(trace.seed);
        env.reset(&mut rng);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&observation(&*env));
        for (t, code) in bytes_of_hex(&trace.steps).into_iter().enumerate() {
            let step = env.step((code & 7).into(), &mut rng);
            assert_eq!(step.reward, f32::from(code >> 3 & 1), "reward of step {t}: {name}");
            assert_eq!(step.terminated, code >> 4 & 1 == 1, "ending at step {t}: {name}");
            crc.update(&observation(&*env));
            if code >> 5 & 1 == 1 {
                env.reset(&mut rng);
                crc.update(&observation(&*env));
            }
            if (t + 1) % block == 0 {
                let so_far = crc.clone().finalize();
                assert_eq!(so_far, trace.crcs[t / block], "observations of the {block} steps up to {t}: {name}");
            }
            n_steps += 1;
        }
    }
    assert!(n_steps >= 100_000, "only {n_steps} steps compared");
}

#[derive(Deserialize)]
struct MinatarGame {
    shape: [usize; 3],
    traces: Vec<ShortTrace>,
    long: LongTrace,
}

#[derive(Deserialize)]
struct ShortTrace {
    seed: u32,
    sticky: f64,
    /// A digit for each step, as in the rest.
    actions: String,
    rewards: Vec<u8>,
    terminals: String,
    obs_crc32: Vec<u32>,
    /// Of the observation after the first reset, and after that of each end.
    reset_crc32: Vec<u32>,
}

#[derive(Deserialize)]
struct LongTrace {
    seed: u32,
    sticky: f64,
    actions: String,
    reward_sum: u32,
    /// Numbers of the last steps of episodes, counted from 1.
    terminals: Vec<usize>,
    /// After every hundredth step, the CRC-32 of each step's observation, reward and terminal so far.
    digests: Vec<u32>,
}

const MINATAR_GAMES: [&str; 4] = ["asterix", "freeway", "seaquest", "space_invaders"];

fn minatar(game: &str, sticky: f64, seed: u32) -> (Box<dyn Env>, Mt) {
    let id = format!("minatar/{}", game.replace('_', "-"));
    let mut env = registry::resolve(&id, json!({"sticky": sticky}).as_object().unwrap()).unwrap().make();
    let mut rng = Mt::new(seed);
    env.reset(&mut rng);
    (env, rng)
}

fn codes(digits: &str) -> impl Iterator<Item = usize> {
    digits.bytes().map(|digit| (digit - b'0').into())
}

#[test]
fn minatar_games_are_the_reference_at_every_step() {
    for game in MINATAR_GAMES {
        let MinatarGame { shape, traces, .. } = golden(&format!("minatar_{game}"));
        for ShortTrace { seed, sticky, actions, rewards, terminals, obs_crc32, reset_crc32 } in traces {
            let (mut env, mut rng) = minatar(game, sticky, seed);
            assert_eq!(env.obs_space(), ObsSpace::Planes { shape });
            let crc = |env: &dyn Env| crc32fast::hash(&observation(env));
            let mut resets = vec![crc(&*env)];
            for (t, (action, ends)) in codes(&actions).zip(codes(&terminals)).enumerate() {
                let Step { reward, terminated } = env.step(action, &mut rng);
                let found = (reward, terminated, crc(&*env));
                let expected = (f32::from(rewards[t]), ends == 1, obs_crc32[t]);
                assert_eq!(found, expected, "step {} of {game}, seed {seed}", t + 1);
                if terminated {
                    env.reset(&mut rng);
                    resets.push(crc(&*env));
                }
            }
            assert_eq!((resets, rewards.len()), (reset_crc32, 400), "{game}, seed {seed}");
        }
    }
}

#[test]
fn minatar_games_are_the_reference_in_what_comes_late() {
    for game in MINATAR_GAMES {
        let LongTrace { seed, sticky, actions, reward_sum, terminals, digests } =
            golden::<MinatarGame>(&format!("minatar_{game}")).long;
        let (mut env, mut rng) = minatar(game, sticky, seed);
        let (mut crc, mut rewards, mut ends) = (crc32fast::Hasher::new(), 0, vec![]);
        for (step, action) in (1..).zip(codes(&actions)) {
            let Step { reward, terminated } = env.step(action, &mut rng);
            crc.update(&observation(&*env));
            crc.update(&[reward as u8, terminated.into()]);
            rewards += reward as u32;
            if step % 100 == 0 {
                assert_eq!(crc.clone().finalize(), digests[step / 100 - 1], "steps up to {step} of {game}");
            }
            if terminated {
                ends.push(step);
                env.reset(&mut rng);
            }
        }
        assert_eq!((rewards, ends, digests.len()), (reward_sum, terminals, 60), "{game}");
    }
}

#[derive(Deserialize)]
struct CartPoleEpisodes {
    episodes: Vec<CartPoleEpisode>,
}

#[derive(Deserialize)]
struct CartPoleEpisode {
    rng: Pcg64,
    actions: String,
    states: String,
    terminated: bool,
}

/// numpy's sine and cosine are not the platform's: they may differ in the last bit, and a step carries that on. The
/// pole's acceleration is at most of the order of 20, so that is what an error is measured by.
const TOLERANCE: f64 = 20.0 * 2.0 * f64::EPSILON;

#[test]
fn cartpole_is_gymnasiums_at_every_step() {
    let CartPoleEpisodes { episodes } = golden("cartpole");
    let mut n_steps = 0;
    for (i, mut episode) in episodes.into_iter().enumerate() {
        let bytes = bytes_of_hex(&episode.states);
        let numbers = bytes.chunks_exact(8).map(|word| f64::from_le_bytes(word.try_into().unwrap()));
        let states: Vec<f64> = numbers.collect();
        let mut env = registry::resolve("cartpole", &Values::new()).unwrap().make();
        env.reset(&mut episode.rng);
        assert_eq!(cartpole_state(&*env), states[..4], "first state of episode {i}");
        let n_actions = episode.actions.len();
        for (t, action) in episode.actions.bytes().enumerate() {
            let step = env.step((action - b'0').into(), &mut episode.rng);
            assert_eq!(step.reward, 1.0);
            assert_eq!(step.terminated, episode.terminated && t + 1 == n_actions, "ending at step {t} of episode {i}");
            let expected = &states[4 * (t + 1)..][..4];
            for (ours, theirs) in cartpole_state(&*env).iter().zip(expected) {
                assert!((ours - theirs).abs() <= TOLERANCE, "step {t} of episode {i}: {ours} instead of {theirs}");
            }
            // From the reference's state again: a pole that falls would blow up a last bit.
            set_cartpole_state(&mut *env, expected);
            n_steps += 1;
        }
    }
    assert!(n_steps >= 3000, "only {n_steps} steps compared");
}

const CARTPOLE_VARIABLES: [&str; 4] = ["x", "x_dot", "theta", "theta_dot"];

fn cartpole_state(env: &dyn Env) -> [f64; 4] {
    let state = env.save();
    CARTPOLE_VARIABLES.map(|name| state[name].as_f64().unwrap())
}

fn set_cartpole_state(env: &mut dyn Env, values: &[f64]) {
    let mut state = env.save();
    for (name, &value) in CARTPOLE_VARIABLES.into_iter().zip(values) {
        state[name] = value.into();
    }
    env.restore(&state).unwrap();
}

#[derive(Deserialize)]
struct ToyText {
    tables: Vec<Table>,
}

/// Probability, next state, reward, terminated.
type PlainOutcome = (f64, usize, f64, bool);

#[derive(Deserialize)]
struct Table {
    id: String,
    settings: Values,
    reference: String,
    outcomes: Vec<Vec<Vec<PlainOutcome>>>,
    start: Vec<f64>,
    walk: Walk,
}

#[derive(Deserialize)]
struct Walk {
    rng: Pcg64,
    actions: Vec<usize>,
    states: Vec<u32>,
}

#[test]
fn toy_text_tables_are_gymnasiums_entry_for_entry() {
    let ToyText { tables } = golden("toy_text");
    assert_eq!(tables.len(), 6);
    for Table { id, settings, reference, outcomes, start, .. } in tables {
        let env = registry::resolve(&id, &settings).unwrap().make();
        let model = env.model().unwrap();
        assert_eq!(model.start, start, "first states of {reference}");
        for (state, actions) in outcomes.iter().enumerate() {
            assert_eq!(actions.len(), model.n_actions);
            for (action, expected) in actions.iter().enumerate() {
                let ours: Vec<_> = model.outcomes(state, action).iter().map(plain).collect();
                assert_eq!(&ours, expected, "state {state}, action {action} of {reference} {settings:?}");
            }
        }
    }
}

fn plain(outcome: &Outcome) -> PlainOutcome {
    (outcome.probability, outcome.next_state, outcome.reward, outcome.terminated)
}

#[test]
fn toy_text_walks_are_gymnasiums_on_its_own_random_stream() {
    let ToyText { tables } = golden("toy_text");
    for Table { id, settings, reference, walk: Walk { mut rng, actions, states }, .. } in tables {
        let mut env = registry::resolve(&id, &settings).unwrap().make();
        let state = |env: &dyn Env| u32::from_le_bytes(observation(env).try_into().unwrap());
        let mut ours = Vec::new();
        env.reset(&mut rng);
        ours.push(state(&*env));
        for action in actions {
            let terminated = env.step(action, &mut rng).terminated;
            ours.push(state(&*env));
            if terminated {
                env.reset(&mut rng);
                ours.push(state(&*env));
            }
        }
        assert_eq!(ours, states, "{reference} {settings:?}");
    }
}
