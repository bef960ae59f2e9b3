//! Environments of one kind that are stepped together.

use crate::arrays::Observations;
use crate::failures::gymnasium::{InvalidAction, ResetNeeded};
use crate::failures::{runtime_error, value_error, without_panic};
use carom_envs::rand_pcg::Pcg32;
use carom_envs::serde_json::{self, Value};
use carom_envs::{Autoreset, BatchEnv, EnvSpec, ObsSpace, Seeds, Transition, Values, registry};
use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// One outcome of an action: probability, next state, reward, and whether the episode ends.
type Outcome = (f64, usize, f64, bool);

/// A transition table: the outcomes of every action in every state, and the probability of each first state.
type Table = (Vec<Vec<Vec<Outcome>>>, Vec<f64>);

/// Observations, rewards, terminations and truncations of a step, and whether an episode ended in it.
type Stepped<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<bool>>, Bound<'py, PyArray1<bool>>, bool);

/// Environments of one kind that are stepped together.
#[pyclass(module = "carom_envs._core", frozen)]
pub(crate) struct Games {
    spec: EnvSpec,
    obs_shape: Vec<usize>,
    state: Mutex<State>,
}

/// Results of a step.
struct State {
    envs: BatchEnv,
    observations: Observations,
    /// No episode has begun.
    is_new: bool,
    actions: Vec<usize>,
}

#[pymethods]
impl Games {
    /// Makes an environment for each of `seeds`. `settings` is an object in JSON. With `batched`, observations of all
    /// environments are one array; otherwise there is one environment and its observations have no first axis for it.
    /// With `copies`, an array of observations never changes while Python holds it.
    #[new]
    fn new(
        py: Python<'_>,
        id: &str,
        settings: &str,
        seeds: Vec<u64>,
        autoreset: &str,
        batched: bool,
        copies: bool,
    ) -> PyResult<Self> {
        let given: Values = serde_json::from_str(settings).map_err(value_error)?;
        let spec = registry::resolve(id, &given).map_err(value_error)?;
        let rngs = seeds.into_iter().map(stream).collect();
        let autoreset = to_autoreset(autoreset)?;
        let made = without_panic(|| spec.make_batch(rngs, autoreset)).map_err(runtime_error)?;
        let envs = made.map_err(value_error)?;
        let mut obs_shape = match envs.obs_space() {
            ObsSpace::Discrete { .. } => vec![],
            &ObsSpace::Vector { len } => vec![len],
            ObsSpace::Planes { shape } => shape.to_vec(),
            ObsSpace::Pixels { shape } => shape.to_vec(),
        };
        if spec.settings().contains_key("frame_stack") {
            obs_shape.insert(0, spec.frame_stack());
        }
        let n_envs = batched.then_some(envs.n_envs());
        let shape: Vec<usize> = n_envs.into_iter().chain(obs_shape.iter().copied()).collect();
        let n_bytes = envs.n_envs() * envs.stack_bytes();
        let observations = Observations::new(py, envs.obs_space(), n_bytes, &shape, copies)?;
        let state = State { envs, observations, is_new: true, actions: Vec::new() };
        Ok(Self { spec, obs_shape, state: Mutex::new(state) })
    }

    /// Begins an episode in the environments of `mask`, or in all. Those with a seed are made anew from it.
    #[pyo3(signature = (seeds = None, mask = None))]
    fn reset<'py>(
        &self,
        py: Python<'py>,
        seeds: Option<Vec<Option<u64>>>,
        mask: Option<Vec<bool>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut state = self.lock()?;
        let State { envs, observations, is_new, .. } = &mut *state;
        let n_envs = envs.n_envs();
        let seeds = seeds.unwrap_or_else(|| vec![None; n_envs]);
        let mask = mask.unwrap_or_else(|| vec![true; n_envs]);
        if seeds.len() != n_envs || mask.len() != n_envs {
            let (seeds, mask) = (seeds.len(), mask.len());
            return Err(value_error(format_args!("{seeds} seeds and a mask of {mask}: expected {n_envs} of each")));
        }
        if *is_new && mask.contains(&false) {
            return Err(ResetNeeded::new_err("nothing has begun: reset all environments first"));
        }
        *is_new = false;
        observations.after(py, |before, stacks| {
            if let Some(before) = before {
                stacks.copy_from_slice(before);
            }
            for env_idx in (0..n_envs).filter(|&env_idx| mask[env_idx]) {
                match seeds[env_idx] {
                    Some(seed) => envs.replace(env_idx, self.spec.make(), stream(seed), stacks),
                    None => envs.begin(env_idx, stacks),
                }
            }
        })
    }

    /// Plays an action in each environment.
    fn step<'py>(&self, py: Python<'py>, actions: &Bound<'py, PyArray1<i64>>) -> PyResult<Stepped<'py>> {
        let mut state = self.lock()?;
        let actions = contiguous(actions)?.try_readonly()?;
        let obs = state.play(py, actions.as_slice()?.iter().copied())?;
        let transitions = state.envs.transitions();
        let rewards = PyArray1::from_iter(py, transitions.iter().map(|transition| f64::from(transition.reward)));
        let terminated = PyArray1::from_iter(py, transitions.iter().map(|transition| transition.terminated));
        let truncated = PyArray1::from_iter(py, transitions.iter().map(|transition| transition.truncated));
        let has_ended = transitions.iter().any(Transition::done);
        Ok((obs, rewards, terminated, truncated, has_ended))
    }

    /// Plays an action in the only environment.
    fn step_one<'py>(&self, py: Python<'py>, action: i64) -> PyResult<(Bound<'py, PyAny>, f64, bool, bool)> {
        let mut state = self.lock()?;
        let obs = state.play(py, std::iter::once(action))?;
        let transition = state.envs.transitions()[0];
        Ok((obs, transition.reward.into(), transition.terminated, transition.truncated))
    }

    /// Returns the last observation of the episode that the latest step ended in environment `env_idx`.
    fn final_obs<'py>(&self, py: Python<'py>, env_idx: usize) -> PyResult<Bound<'py, PyAny>> {
        let state = self.lock()?;
        check_index(&state.envs, env_idx)?;
        let bytes = state.envs.final_stack(env_idx);
        let words = bytes.as_chunks().0;
        let shape = self.obs_shape.as_slice();
        Ok(match state.envs.obs_space() {
            ObsSpace::Planes { .. } | ObsSpace::Pixels { .. } => {
                PyArray1::from_slice(py, bytes).reshape(shape)?.into_any()
            }
            ObsSpace::Vector { .. } => {
                let numbers = words.iter().map(|&word| f32::from_le_bytes(word));
                PyArray1::from_iter(py, numbers).reshape(shape)?.into_any()
            }
            ObsSpace::Discrete { .. } => {
                let states = words.iter().map(|&word| i64::from(u32::from_le_bytes(word)));
                PyArray1::from_iter(py, states).reshape(shape)?.into_any()
            }
        })
    }

    /// Returns environment, return and length of each whole game that the latest step ended.
    fn episodes(&self) -> PyResult<Vec<(usize, f64, u64)>> {
        let state = self.lock()?;
        let episodes = state.envs.episodes().iter();
        Ok(episodes.map(|episode| (episode.env_idx, episode.episode_return, episode.length)).collect())
    }

    /// Returns the whole state as JSON.
    ///
    /// # Errors
    /// When no episode has begun: in a state that is restored, episodes run.
    fn save(&self, py: Python<'_>) -> PyResult<String> {
        let state = self.lock()?;
        if state.is_new {
            return Err(ResetNeeded::new_err("nothing has begun: call reset() before save()"));
        }
        let saved = state.observations.read(py, |stacks| without_panic(|| state.envs.save(stacks).to_string()))?;
        saved.map_err(runtime_error)
    }

    /// Restores the state that `save` returned, or leaves all as it is, and returns the observations.
    fn restore<'py>(&self, py: Python<'py>, saved: &str) -> PyResult<Bound<'py, PyAny>> {
        let saved: Value =
            serde_json::from_str(saved).map_err(|_| value_error("this is no state that save() wrote"))?;
        let mut state = self.lock()?;
        let State { envs, observations, is_new, .. } = &mut *state;
        let before = observations.read(py, |stacks| without_panic(|| envs.save(stacks)))?.map_err(runtime_error)?;
        let mut outcome = Ok(());
        let restored = observations.after(py, |_, stacks| outcome = envs.restore(&saved, stacks));
        if restored.is_err() || outcome.is_err() {
            observations.after(py, |_, stacks| drop(envs.restore(&before, stacks)))?;
            outcome.map_err(value_error)?;
        }
        *is_new = false;
        restored
    }

    /// Returns a colour picture of environment `env_idx`, `[height, width, 3]`, if it can draw itself.
    fn picture<'py>(&self, py: Python<'py>, env_idx: usize) -> PyResult<Option<Bound<'py, PyArray3<u8>>>> {
        let state = self.lock()?;
        check_index(&state.envs, env_idx)?;
        let picture = without_panic(|| state.envs.env(env_idx).picture()).map_err(runtime_error)?;
        let array =
            picture.map(|picture| PyArray1::from_vec(py, picture.rgb).reshape([picture.height, picture.width, 3]));
        array.transpose()
    }

    /// Returns the true state variables of all environments, `[n_envs, n_factors]`.
    fn factors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let state = self.lock()?;
        let (n_envs, n_factors) = (state.envs.n_envs(), state.envs.env(0).factor_names().len());
        let mut factors = vec![0.0; n_envs * n_factors];
        let written = without_panic(|| {
            for env_idx in 0..n_envs {
                state.envs.env(env_idx).factors(&mut factors[env_idx * n_factors..][..n_factors]);
            }
        });
        written.map_err(runtime_error)?;
        PyArray1::from_vec(py, factors).reshape([n_envs, n_factors])
    }

    /// Names of the true state variables.
    #[getter]
    fn factor_names(&self) -> PyResult<Vec<&'static str>> {
        Ok(self.lock()?.envs.env(0).factor_names().to_vec())
    }

    /// Returns the actions of the player written for the game, if there is one.
    fn scripted_actions<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<i64>>>> {
        let state = self.lock()?;
        let action = |env_idx| state.envs.env(env_idx).scripted_action().map(|action| action as i64);
        let actions = without_panic(|| (0..state.envs.n_envs()).map(action).collect::<Option<Vec<_>>>());
        Ok(actions.map_err(runtime_error)?.map(|actions| PyArray1::from_vec(py, actions)))
    }

    /// Returns the transition table, if there is one.
    fn table(&self) -> PyResult<Option<Table>> {
        let state = self.lock()?;
        Ok(state.envs.env(0).model().map(|model| {
            let outcomes = |s: usize, a: usize| {
                let outcomes = model.outcomes(s, a).iter();
                outcomes.map(|to| (to.probability, to.next_state, to.reward, to.terminated)).collect()
            };
            let actions = |s: usize| (0..model.n_actions).map(|a| outcomes(s, a)).collect();
            ((0..model.n_states()).map(actions).collect(), model.start.clone())
        }))
    }

    /// Kind of observation (`images`, `vectors` or `states`), shape, and largest value; the number of states of
    /// `states`, and 0 of `vectors`, which have none.
    #[getter]
    fn obs_space(&self) -> PyResult<(&'static str, Vec<usize>, usize)> {
        let state = self.lock()?;
        let space = state.envs.obs_space();
        let (kind, limit) = match (space, space.image()) {
            (_, Some(image)) => ("images", image.max.into()),
            (ObsSpace::Discrete { n }, None) => ("states", *n),
            _ => ("vectors", 0),
        };
        Ok((kind, self.obs_shape.clone(), limit))
    }

    /// Names of the actions, in the order of their numbers.
    #[getter]
    fn action_names(&self) -> PyResult<Vec<&'static str>> {
        Ok(self.lock()?.envs.env(0).action_names().to_vec())
    }

    /// Whether no episode has begun.
    #[getter]
    fn is_new(&self) -> PyResult<bool> {
        Ok(self.lock()?.is_new)
    }

    /// All settings with a value and an effect, an object in JSON.
    #[getter]
    fn settings(&self) -> PyResult<String> {
        serde_json::to_string(self.spec.settings()).map_err(value_error)
    }

    /// Name of the protocol that the settings amount to, with the time limit.
    #[getter]
    fn protocol(&self) -> String {
        self.spec.protocol()
    }
}

impl Games {
    /// # Errors
    /// When another thread is using the environments.
    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            // Panics are caught where environments run, so one in between has left them whole.
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => {
                Err(runtime_error("another thread is using these environments: give each thread its own"))
            }
        }
    }
}

impl State {
    fn play<'py>(&mut self, py: Python<'py>, actions: impl Iterator<Item = i64>) -> PyResult<Bound<'py, PyAny>> {
        let Self { envs, observations, is_new, actions: checked } = self;
        if *is_new {
            return Err(ResetNeeded::new_err("nothing has begun: call reset() before step()"));
        }
        let n_actions = envs.n_actions();
        checked.clear();
        for (env_idx, action) in actions.enumerate() {
            let valid = usize::try_from(action).ok().filter(|&action| action < n_actions);
            checked.push(valid.ok_or_else(|| {
                let last = n_actions - 1;
                InvalidAction::new_err(format!("action {action} of environment {env_idx}: expected 0 to {last}"))
            })?);
        }
        let n_envs = envs.n_envs();
        if checked.len() != n_envs {
            let n = checked.len();
            return Err(InvalidAction::new_err(format!("{n} actions: expected {n_envs}, one for each environment")));
        }
        if envs.autoreset() == Autoreset::Disabled
            && let Some(env_idx) = (0..n_envs).find(|&env_idx| envs.is_over(env_idx))
        {
            return Err(ResetNeeded::new_err(format!("the episode of environment {env_idx} is over: reset it first")));
        }
        observations.after(py, |before, stacks| {
            envs.step(checked, before, stacks);
        })
    }
}

/// Returns `actions`, or a copy of them if they do not lie side by side or are not aligned: the strides of a view are
/// any number of bytes.
///
/// # Errors
/// When they cannot be copied.
fn contiguous<'py>(actions: &Bound<'py, PyArray1<i64>>) -> PyResult<Bound<'py, PyArray1<i64>>> {
    if actions.is_contiguous() && actions.is_aligned() {
        return Ok(actions.clone());
    }
    Ok(actions.call_method0("copy")?.cast_into::<PyArray1<i64>>()?)
}

/// # Errors
/// When there is no such environment.
fn check_index(envs: &BatchEnv, env_idx: usize) -> PyResult<()> {
    let n_envs = envs.n_envs();
    if env_idx < n_envs {
        return Ok(());
    }
    Err(value_error(format_args!("environment {env_idx}: expected 0 to {}", n_envs - 1)))
}

/// # Errors
/// When there is no such mode.
fn to_autoreset(mode: &str) -> PyResult<Autoreset> {
    match mode {
        "SameStep" => Ok(Autoreset::SameStep),
        "NextStep" => Ok(Autoreset::NextStep),
        "Disabled" => Ok(Autoreset::Disabled),
        _ => Err(value_error(format_args!("autoreset is {mode}: expected SameStep, NextStep or Disabled"))),
    }
}

/// The random stream of an environment with `seed`: that of the first environment in the program `carom`.
fn stream(seed: u64) -> Pcg32 {
    Seeds::new(seed).stream("env/0")
}
