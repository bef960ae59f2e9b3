//! What a run is: every setting, resolved once from defaults, preset, configuration file and flags.

use crate::encoder::{self, EncoderMode};
use crate::generative::registry as models;
use crate::human::{parse_count, round_down};
use anyhow::{Context, Result, anyhow, bail, ensure};
use carom_agents::registry as agents;
use carom_envs::{nearest, registry as envs};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Settings of an environment or of an agent by key.
pub type Settings = Map<String, Value>;

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Main memory.
    #[default]
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// A whole run, resolved and valid: what `config.toml` in its directory holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunConfig {
    /// Environment id.
    pub env: String,
    /// Agent name.
    pub agent: String,
    /// Encoder name.
    pub encoder: String,
    /// How the encoder takes part in training, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_mode: Option<EncoderMode>,
    /// Weight of the encoder's reconstruction loss beside the agent's loss, in joint mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recon_weight: Option<f64>,
    /// Environment steps of the whole run, summed over its environments; planners: sweeps at most.
    pub steps: u64,
    /// Master seed of all random streams.
    pub seed: u64,
    /// Environments stepped at once.
    pub n_envs: usize,
    /// Where tensors live.
    pub device: Device,
    /// Threads of libtorch. Small networks want one: two on busy cores were 10 to 50 times slower.
    pub threads: usize,
    /// Steps between two rows of a metric.
    pub log_every: u64,
    /// Steps between two evaluations of the greedy policy; 0: none.
    pub eval_every: u64,
    /// Episodes of each evaluation.
    pub eval_episodes: u64,
    /// Steps between two checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// All settings of the environment.
    pub env_settings: Settings,
    /// All settings of the agent.
    pub agent_settings: Settings,
}

/// Environments side by side, at most: more fit no memory.
const MOST_ENVS: usize = 100_000;

/// Steps of a run for which nothing else is said.
const DEFAULT_STEPS: u64 = 100_000;

/// Episodes of an evaluation during training for which nothing else is said.
const DEFAULT_EVAL_EPISODES: u64 = 20;

impl RunConfig {
    /// Lays `layers` over the defaults, the later over the earlier, and checks every value.
    ///
    /// # Errors
    /// Names the layer and the key at fault, the value found and what was expected.
    pub fn resolve(layers: &[Layer]) -> Result<Self> {
        let (mut merged, mut first_error) = (Layer::default(), None);
        for layer in layers {
            merged = layer.clone().over(merged);
            // With what is below it: whether a value is in range may depend on others, and what one layer breaks a later one may mend.
            first_error = merged.check_settings().err().map(|error| {
                first_error.unwrap_or_else(|| match &layer.source {
                    Some(source) => error.context(format!("in {source}")),
                    None => error,
                })
            });
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        let env = merged.env.ok_or_else(|| anyhow!("which environment? --env ID (`carom list envs` shows all)"))?;
        let agent = merged.agent.ok_or_else(|| anyhow!("which agent? --agent NAME (`carom list agents` shows all)"))?;
        let (steps, n_envs) = (merged.steps.unwrap_or(DEFAULT_STEPS), merged.n_envs.unwrap_or(1));
        let share_of_run = |parts| round_down(steps / parts).max(n_envs as u64);
        let is_joint = merged.encoder_mode == Some(EncoderMode::Joint);
        let default_recon_weight = is_joint.then_some(encoder::RECON_WEIGHT);
        let config = Self {
            env_settings: envs::resolve(&env, &merged.env_settings)?,
            agent_settings: agents::resolve(&agent, &merged.agent_settings)?.settings().clone(),
            env,
            agent,
            encoder: merged.encoder.unwrap_or_else(|| "raw".to_string()),
            recon_weight: merged.recon_weight.or(default_recon_weight),
            encoder_mode: merged.encoder_mode,
            steps,
            seed: merged.seed.unwrap_or(0),
            n_envs,
            device: merged.device.unwrap_or_default(),
            threads: merged.threads.unwrap_or(1),
            log_every: merged.log_every.unwrap_or_else(|| share_of_run(500)),
            eval_every: merged.eval_every.unwrap_or(0),
            eval_episodes: merged.eval_episodes.unwrap_or(DEFAULT_EVAL_EPISODES),
            checkpoint_every: merged.checkpoint_every.unwrap_or_else(|| share_of_run(10)),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.steps > 0, "steps is 0: a run has at least one step, e.g. --steps 100k");
        ensure!(self.n_envs > 0, "n_envs is 0: at least one environment is needed");
        ensure!((1..=1024).contains(&self.threads), "threads is {}: expected a number in 1..=1024", self.threads);
        ensure!(self.log_every > 0, "log_every is 0: give the steps between two rows of metrics.csv, e.g. 1000");
        ensure!(
            self.eval_episodes > 0,
            "eval_episodes is 0: an evaluation plays at least one; eval_every = 0 turns it off"
        );
        ensure!(self.n_envs <= MOST_ENVS, "n_envs is {}: there are at most {MOST_ENVS}", self.n_envs);
        check_integers(self)?;
        encoder::check(self)
    }

    /// The settings as TOML, which is itself a configuration file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// `<env>-<agent>` with `/` as `-`: what presets and run directories are named after.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.env.replace('/', "-"), self.agent)
    }

    /// Name of the protocol that scores are reached under.
    pub fn protocol(&self) -> String {
        envs::protocol(&self.env, &self.env_settings)
    }
}

/// The settings that one source names: a preset, a file or the command line. Those left out are the layers' below.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// File or preset, for messages; `None` for the command line.
    #[serde(skip)]
    pub source: Option<String>,
    /// See [`RunConfig::env`].
    pub env: Option<String>,
    /// See [`RunConfig::agent`].
    pub agent: Option<String>,
    /// See [`RunConfig::encoder`].
    pub encoder: Option<String>,
    /// See [`RunConfig::encoder_mode`].
    pub encoder_mode: Option<EncoderMode>,
    /// See [`RunConfig::recon_weight`].
    pub recon_weight: Option<f64>,
    /// See [`RunConfig::steps`].
    pub steps: Option<u64>,
    /// See [`RunConfig::seed`].
    pub seed: Option<u64>,
    /// See [`RunConfig::n_envs`].
    pub n_envs: Option<usize>,
    /// See [`RunConfig::device`].
    pub device: Option<Device>,
    /// See [`RunConfig::threads`].
    pub threads: Option<usize>,
    /// See [`RunConfig::log_every`].
    pub log_every: Option<u64>,
    /// See [`RunConfig::eval_every`].
    pub eval_every: Option<u64>,
    /// See [`RunConfig::eval_episodes`].
    pub eval_episodes: Option<u64>,
    /// See [`RunConfig::checkpoint_every`].
    pub checkpoint_every: Option<u64>,
    /// Settings of the environment that this source names.
    pub env_settings: Settings,
    /// Settings of the agent that this source names.
    pub agent_settings: Settings,
}

/// Keys of a configuration file.
const KEYS: [&str; 16] = [
    "env",
    "agent",
    "encoder",
    "encoder_mode",
    "recon_weight",
    "steps",
    "seed",
    "n_envs",
    "device",
    "threads",
    "log_every",
    "eval_every",
    "eval_episodes",
    "checkpoint_every",
    "env_settings",
    "agent_settings",
];

impl Layer {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or holds an unknown key or a value of the wrong kind.
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::from_toml(&fs_err::read_to_string(path)?, &path.display().to_string())
    }

    /// Reads the text of a configuration file; `source` names it in messages.
    ///
    /// # Errors
    /// When it is not TOML, or holds an unknown key or a value of the wrong kind.
    pub fn from_toml(text: &str, source: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).with_context(|| format!("{source} is not TOML"))?;
        check_keys(table.keys(), &KEYS).with_context(|| format!("in {source}"))?;
        // From the text once more, so that errors show the line.
        let mut layer: Self = toml::from_str(text).with_context(|| format!("in {source}"))?;
        layer.source = Some(source.to_string());
        Ok(layer)
    }

    /// Reads the `key=value` pairs of `--set`: `env.KEY`, `agent.KEY` or a key of the run itself.
    ///
    /// # Errors
    /// When there is no `=`, the key does not exist, or a value is of the wrong kind.
    pub fn from_assignments(assignments: &[String]) -> Result<Self> {
        parse_assignments(assignments, &[("env", "env_settings"), ("agent", "agent_settings")], &KEYS)
    }

    /// This layer laid over `below`. Settings belong to the environment or agent they were written for: where this layer
    /// names another, those below are dropped.
    pub fn over(self, below: Self) -> Self {
        let keeps_env = self.env.is_none() || below.env.is_none() || self.env == below.env;
        let keeps_agent = self.agent.is_none() || below.agent.is_none() || self.agent == below.agent;
        let merge = |keeps: bool, below: Settings, above: Settings| {
            let mut settings = if keeps { below } else { Settings::new() };
            settings.extend(above);
            settings
        };
        Self {
            source: None,
            env: self.env.or(below.env),
            agent: self.agent.or(below.agent),
            encoder: self.encoder.or(below.encoder),
            encoder_mode: self.encoder_mode.or(below.encoder_mode),
            recon_weight: self.recon_weight.or(below.recon_weight),
            steps: self.steps.or(below.steps),
            seed: self.seed.or(below.seed),
            n_envs: self.n_envs.or(below.n_envs),
            device: self.device.or(below.device),
            threads: self.threads.or(below.threads),
            log_every: self.log_every.or(below.log_every),
            eval_every: self.eval_every.or(below.eval_every),
            eval_episodes: self.eval_episodes.or(below.eval_episodes),
            checkpoint_every: self.checkpoint_every.or(below.checkpoint_every),
            env_settings: merge(keeps_env, below.env_settings, self.env_settings),
            agent_settings: merge(keeps_agent, below.agent_settings, self.agent_settings),
        }
    }

    fn check_settings(&self) -> Result<()> {
        self.env.as_ref().map(|env| envs::resolve(env, &self.env_settings)).transpose()?;
        self.agent.as_ref().map(|agent| agents::resolve(agent, &self.agent_settings)).transpose()?;
        Ok(())
    }
}

/// Refuses whole numbers in `config` that TOML could not hold.
pub(crate) fn check_integers(config: &impl Serialize) -> Result<()> {
    fn check(key: &str, value: &Value) -> Result<()> {
        let largest = i64::MAX as u64;
        match value {
            Value::Object(table) => table.iter().try_for_each(|(inner, value)| {
                let part = key.strip_suffix("_settings").map(|part| format!("{part}.")).unwrap_or_default();
                check(&format!("{part}{inner}"), value)
            }),
            Value::Array(values) => values.iter().try_for_each(|value| check(key, value)),
            _ => match value.as_u64() {
                Some(n) if n > largest => bail!("{key} is {n}: whole numbers go up to {largest}"),
                _ => Ok(()),
            },
        }
    }
    check("", &serde_json::to_value(config)?)
}

/// Refuses keys that are not among `known`.
pub(crate) fn check_keys(keys: impl IntoIterator<Item = impl AsRef<str>>, known: &[&str]) -> Result<()> {
    for key in keys {
        let key = key.as_ref();
        if !known.contains(&key) {
            bail!("there is no key `{key}`; {}", hint(key, known));
        }
    }
    Ok(())
}

fn hint(key: &str, known: &[&str]) -> String {
    let has_key = |settings: Result<Settings>| settings.is_ok_and(|settings| settings.contains_key(key));
    let none = Settings::new();
    let of_agent = agents::all().any(|entry| (entry.schema.list)().iter().any(|setting| setting.key == key));
    let of_env = envs::ENVS.iter().any(|entry| has_key(envs::resolve(entry.id, &none).map_err(Into::into)));
    let of_model = models::MODELS.iter().any(|entry| has_key(models::resolve(entry.name, &none)));
    for (part, has) in [("agent", of_agent), ("model", of_model), ("env", of_env)] {
        if has && known.contains(&format!("{part}_settings").as_str()) {
            return format!("the setting is `{part}.{key}` in --set, and goes under [{part}_settings] in a file");
        }
    }
    format!("did you mean `{}`? (there are {})", nearest(key, known.iter().copied()), known.join(", "))
}

/// Reads `key=value` pairs as a layer; `PART.KEY` goes into the table named beside the part, other keys are among `known`.
pub(crate) fn parse_assignments<L: DeserializeOwned>(
    assignments: &[String],
    parts: &[(&str, &str)],
    known: &[&str],
) -> Result<L> {
    let mut table = Settings::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            bail!("--set {assignment}: expected key=value, e.g. {}.{}", parts[parts.len() - 1].0, "lr=0.1");
        };
        let (key, value) = (key.trim(), parse_value(value.trim()));
        match key.split_once('.') {
            Some((part, key)) => match parts.iter().find(|(name, _)| *name == part) {
                Some((_, settings)) => {
                    nested(&mut table, settings).insert(key.to_string(), value);
                }
                None => {
                    let near = nearest(part, parts.iter().map(|(name, _)| *name));
                    let all: Vec<String> = parts.iter().map(|(name, _)| format!("`{name}.`")).collect();
                    bail!("--set {assignment}: `{part}.` is not {}; did you mean `{near}.`?", all.join(" or "));
                }
            },
            None => {
                check_keys([key], known).with_context(|| format!("--set {assignment}"))?;
                table.insert(key.to_string(), value);
            }
        }
        L::deserialize(&table).with_context(|| format!("--set {assignment}"))?;
    }
    Ok(L::deserialize(&table)?)
}

fn nested<'a>(table: &'a mut Settings, key: &str) -> &'a mut Settings {
    let entry = table.entry(key).or_insert_with(|| Value::Object(Settings::new()));
    entry.as_object_mut().expect("only maps are put here")
}

/// A value as typed: a count in any of the forms people write, else a TOML value, else the text itself.
fn parse_value(text: &str) -> Value {
    if let Ok(count) = parse_count(text) {
        return count.into();
    }
    let document = toml::from_str::<Settings>(&format!("value = {text}")).ok();
    let value = document.and_then(|mut document| document.remove("value"));
    // TOML has nan and inf, settings have not.
    value.filter(|value| !value.is_null()).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layer(text: &str) -> Layer {
        Layer::from_toml(text, "test.toml").unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn set(assignments: &[&str]) -> Result<Layer> {
        Layer::from_assignments(&assignments.iter().map(|&text| text.to_string()).collect::<Vec<_>>())
    }

    const TAXI: &str = "env = \"taxi\"\nagent = \"q-learning\"\nsteps = 5000\n[agent_settings]\nlr = 0.5\n";

    #[test]
    fn what_one_layer_breaks_a_later_one_may_mend() {
        let file = layer("env = \"cartpole\"\nagent = \"dqn\"\n[agent_settings]\nbuffer_size = 10\nbatch_size = 32\n");
        let error = RunConfig::resolve(std::slice::from_ref(&file)).expect_err("a batch beyond the replay");
        assert!(format!("{error:#}").contains("in test.toml: agent.batch_size is 32"), "{error:#}");
        let config = RunConfig::resolve(&[file, set(&["agent.buffer_size=5000"]).expect("valid")]);
        assert_eq!(config.expect("enough").agent_settings["batch_size"], 32);
    }

    #[test]
    fn later_layers_win_and_a_resolved_run_resolves_to_itself() {
        let config = RunConfig::resolve(&[layer(TAXI), set(&["agent.gamma=0.9", "steps=2k"]).expect("valid")]);
        let config = config.unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!((config.steps, config.log_every, config.checkpoint_every), (2_000, 2, 200));
        assert_eq!((&config.agent_settings["lr"], &config.agent_settings["gamma"]), (&json!(0.5), &json!(0.9)));
        let again = RunConfig::resolve(&[layer(&config.to_toml())]).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(again, config);
    }

    #[test]
    fn settings_of_another_agent_are_dropped() {
        let other = layer("agent = \"value-iteration\"");
        let config = RunConfig::resolve(&[layer(TAXI), other]).unwrap_or_else(|e| panic!("{e:#}"));
        assert!(!config.agent_settings.contains_key("lr"));
    }

    #[test]
    fn all_keys_of_a_run_are_known() {
        let config = RunConfig::resolve(&[layer(TAXI)]).unwrap_or_else(|e| panic!("{e:#}"));
        let table: toml::Table = toml::from_str(&config.to_toml()).expect("TOML");
        assert!(table.keys().all(|key| KEYS.contains(&key.as_str())), "{table}");
    }

    #[test]
    fn values_are_read_as_typed() {
        let cases =
            [("1e-4", json!(1e-4)), ("1M", json!(1_000_000)), ("true", json!(true)), ("minimal", json!("minimal"))];
        for (text, value) in
            cases.into_iter().chain([("0.5", json!(0.5)), ("-1", json!(-1)), ("[1, 2]", json!([1, 2]))])
        {
            assert_eq!(parse_value(text), value, "{text}");
        }
    }

    #[test]
    fn errors_name_the_source_the_key_and_the_nearest() {
        let error = |result: Result<Layer>| format!("{:#}", result.expect_err("an error"));
        let unknown = error(Layer::from_toml("stepss = 3", "my.toml"));
        assert!(unknown.starts_with("in my.toml: there is no key `stepss`; did you mean `steps`?"), "{unknown}");
        let nested = error(Layer::from_toml("gamma = 0.9", "my.toml"));
        assert!(nested.contains("under [agent_settings]"), "{nested}");
        assert!(error(Layer::from_toml("steps = ", "my.toml")).starts_with("my.toml is not TOML"));
        assert!(error(Layer::from_toml("steps = -1", "my.toml")).contains("steps = -1"));
        assert!(error(set(&["agent.lr"])).contains("expected key=value"));
        assert!(error(set(&["agnt.lr=1"])).contains("did you mean `agent.`?"));
        assert!(error(set(&["eval_evry=1"])).contains("did you mean `eval_every`?"));
        let bad = layer("env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nlrr = 1\n");
        let bad = format!("{:#}", RunConfig::resolve(&[bad]).expect_err("an error"));
        assert!(bad.starts_with("in test.toml: ") && bad.contains("`lrr`") && bad.contains("`lr`"), "{bad}");
    }
}
