//! Configuration of a training run, resolved once from defaults, preset, configuration file and flags.

use super::encoders::{self, EncoderMode, EncoderSpec};
use super::layers::{Form, Idle, Layer, merge};
use super::part::Part;
use crate::device::{self, Device};
use crate::human::round_down;
use anyhow::{Result, anyhow, bail};
use carom_agents::AgentSpec;
use carom_agents::registry as agents;
use carom_agents::settings::{AgentEntry, AgentKind};
use carom_envs::EnvSpec;
use carom_envs::registry as envs;
use carom_envs::settings::{self, AtLeast, IfGiven, Schema, Settings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bounds the number of parallel environments. More do not fit into memory.
const MAX_ENVS: usize = 100_000;

/// Bounds the number of torch's threads.
pub(super) const MAX_THREADS: usize = 1024;

/// Default number of rows of a metric in a run, approximately.
const DEFAULT_ROWS: u64 = 500;

/// Default number of checkpoints of a run, approximately.
const DEFAULT_CHECKPOINTS: u64 = 10;

carom_envs::settings! {
    /// Settings of a training run, without those of its environment and its agent.
    pub(crate) struct TrainSettings {
        /// Environment id.
        env: Option<String> = None;
        /// Agent name.
        agent: Option<String> = None;
        /// Encoder name, or the path of a fitted model's run.
        encoder: String = "raw".to_owned();
        /// How the encoder takes part in training, where it is a fitted model; frozen unless given.
        encoder_mode: Option<EncoderMode> = None;
        /// Weight of the encoder's reconstruction loss beside the agent's loss, in joint mode.
        recon_weight: Option<f64> = None, in IfGiven(AtLeast(0.0));
        /// Environment steps of the whole run, summed over its environments; for planners, sweeps at most.
        steps: u64 = 100_000, in AtLeast(1);
        /// Master seed of all random streams.
        seed: u64 = 0;
        /// Environments stepped at once.
        n_envs: usize = 1, in 1..=MAX_ENVS;
        /// Device of the tensors.
        device: Device = Device::Cpu;
        /// Threads of libtorch. Unless given: OMP_NUM_THREADS, or one for each core, where the network is of pixels,
        /// else one. On small networks two threads on busy cores were 10 to 50 times slower.
        threads: Option<usize> = None, in IfGiven(1..=MAX_THREADS);
        /// Precision of the factors in the pixel network's products of matrices.
        precision: Precision = Precision::F32;
        /// Steps between two rows of a metric; a 500th of the run unless given.
        log_every: u64 = 1, in AtLeast(1);
        /// Steps between two evaluations of the greedy policy; 0 for none. The best policy evaluated is kept.
        eval_every: u64 = 0;
        /// Episodes of each evaluation.
        eval_episodes: u64 = 20, in AtLeast(1);
        /// Probability of a random action in evaluations; the protocol's own unless given.
        eval_epsilon: Option<f64> = None, in IfGiven(0.0..=1.0);
        /// Time limit of an episode in evaluations during training, in steps; the protocol's own unless given.
        eval_max_steps: Option<u64> = None, in IfGiven(AtLeast(1));
        /// Steps between two checkpoints, 0 for one at the end only; a tenth of the run unless given.
        checkpoint_every: u64 = 1;
        /// Whether checkpoints hold the replay memory. Without it they are small; a run that is resumed then fills a
        /// new memory before it learns on, and takes another course.
        checkpoint_replay: bool = true;
    }
}

/// Precision of the factors of a product. Sums and parameters are f32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Precision {
    /// 24 bits.
    F32,
    /// Factors are rounded to 8 bits. Faster where the processor multiplies twice as many of them at once.
    Bf16,
}

impl Settings for TrainSettings {
    const DERIVED: &'static [&'static str] = &["log_every", "checkpoint_every", "recon_weight"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        let share_of_run = |n| round_down(self.steps / n).max(self.n_envs as u64);
        let (log_every, checkpoint_every) = (share_of_run(DEFAULT_ROWS), share_of_run(DEFAULT_CHECKPOINTS));
        if !is_given("log_every") {
            self.log_every = log_every;
        }
        if !is_given("checkpoint_every") {
            self.checkpoint_every = checkpoint_every;
        }
        if !is_given("recon_weight") && self.encoder_mode == Some(EncoderMode::Joint) {
            self.recon_weight = Some(encoders::RECON_WEIGHT);
        }
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let mut unheard = vec![];
        if self.encoder_mode != Some(EncoderMode::Joint) {
            unheard.push(("recon_weight", "only the encoder mode `joint` has a reconstruction loss".to_owned()));
        }
        if self.eval_every == 0 {
            let reason = || "eval_every is 0, so nothing is evaluated in training".to_owned();
            unheard.extend(["eval_episodes", "eval_max_steps"].map(|key| (key, reason())));
        }
        unheard
    }
}

/// Returns the settings that have no effect beside the agent and the encoder.
fn idle(layer: &Layer) -> Vec<Idle> {
    let Some(agent) = layer.name(Part::Agent).and_then(|name| agents::find(name).ok()) else { return vec![] };
    let name = agent.name;
    let encoder = layer.own.get("encoder").and_then(Value::as_str).unwrap_or("raw");
    let mut idle = vec![];
    if agent.kind == AgentKind::Planner {
        let steps_none = format!("{name} plans on the transition table and steps no environments");
        idle.push(Idle::own("n_envs", steps_none).fixed_at(1));
        idle.push(Idle::own("log_every", format!("{name} makes few sweeps, and each has its row")).fixed_at(1));
    }
    if !agent.kind.has_replay() {
        idle.push(Idle::own("checkpoint_replay", format!("{name} has no replay memory")).fixed_at(true));
    }
    let is_encoded = is_fitted(encoder);
    if let Some(has_no_tensors) = has_no_tensors(&agent, encoder) {
        idle.push(Idle::own("device", has_no_tensors.clone()).fixed_at("cpu"));
        idle.push(Idle::own("threads", has_no_tensors.clone()).fixed_at(1));
        idle.push(Idle::own("precision", has_no_tensors).fixed_at("f32"));
    }
    if let Some(why) = match encoder {
        "raw" => Some("encoder `raw` is the agent's own network; leave --encoder-mode out"),
        "oracle" => Some("the true state of `oracle` has no weights to train; leave --encoder-mode out"),
        _ => None,
    } {
        idle.push(Idle::own("encoder_mode", why));
    }
    let env = layer.name(Part::Env).and_then(|id| envs::find(id).ok());
    if env.is_some_and(|env| (env.schema.list)().iter().any(|setting| setting.key == "frame_stack")) {
        let single = |reason: &str| Idle::of(Part::Env, "frame_stack", reason).fixed_at(1);
        if encoder == "oracle" {
            idle.push(single("the true state of `oracle` includes velocities, so it is seen alone"));
        } else if agent.kind.keeps_table() && is_encoded {
            idle.push(single("a table is indexed by the code of one frame"));
        }
    }
    idle
}

/// Returns whether `encoder` is a fitted model, by name or by path.
fn is_fitted(encoder: &str) -> bool {
    !["raw", "oracle"].contains(&encoder)
}

/// Says why nothing of a run is on a device, or returns `None` if something is.
fn has_no_tensors(agent: &AgentEntry, encoder: &str) -> Option<String> {
    let has_none = !agent.kind.has_network() && !is_fitted(encoder);
    has_none.then(|| format!("{} has no network, and encoder `{encoder}` has none", agent.name))
}

/// Resolved, valid configuration of a training run. The run's directory stores it as `config.toml`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrainConfig {
    /// The run's own settings.
    pub run: TrainSettings,
    /// The environment.
    pub env: EnvSpec,
    /// The agent.
    pub agent: AgentSpec,
    /// The encoder of the agent's observations.
    pub encoder: EncoderSpec,
}

/// Kinds of settings of a training run.
pub(crate) const TRAINING: Form = Form {
    kind: "training",
    command: "train",
    own: Schema::of::<TrainSettings>(),
    parts: &[Part::Env, Part::Agent],
    idle,
};

impl TrainConfig {
    /// Merges `layers` over the defaults (later ones win), checks every value and looks up every name.
    ///
    /// # Errors
    /// When a value or a name is not valid. The error names the layer, the key, the value and what was expected.
    pub(crate) fn resolve(layers: &[Layer]) -> Result<Self> {
        let merged = merge(layers, &TRAINING)?;
        let mut run: TrainSettings = settings::resolve(&merged.own)?;
        let env =
            run.env.as_deref().ok_or_else(|| anyhow!("which environment? --env ID (`carom list envs` shows all)"))?;
        let agent =
            run.agent.as_deref().ok_or_else(|| anyhow!("which agent? --agent NAME (`carom list agents` shows all)"))?;
        let env = envs::resolve(env, &merged.part(Part::Env))?;
        let agent = agents::resolve(agent, &merged.part(Part::Agent))?;
        let encoder = EncoderSpec::resolve(&run.encoder)?;
        if let EncoderSpec::Run(dir) = &encoder {
            run.encoder = dir.display().to_string();
        }
        encoders::check(&encoder, run.encoder_mode, &agent)?;
        Ok(Self { run, env, agent, encoder })
    }

    /// Returns the text of a configuration file with these settings.
    pub(crate) fn to_toml(&self) -> String {
        let parts = [(Part::Env, self.env.settings()), (Part::Agent, self.agent.settings())];
        TRAINING.to_toml(&settings::heard(&self.run), &parts)
    }

    /// Returns this configuration with the device `asked` for, if one is.
    ///
    /// # Errors
    /// When it is another one than the CPU and the run has no tensors.
    pub(crate) fn on(mut self, asked: Option<Device>) -> Result<Self> {
        let Some(device) = asked else { return Ok(self) };
        let idle = has_no_tensors(self.agent.entry(), &self.run.encoder);
        if let Some(reason) = idle.filter(|_| device != Device::Cpu) {
            bail!("--device has no effect: {reason}");
        }
        self.run.device = device;
        Ok(self)
    }

    /// Returns this configuration on a device to read its run on: that `asked` for, else the run's own, or the CPU
    /// where that is missing. A run is read in f32, whatever it was trained with.
    ///
    /// # Errors
    /// When a device is asked for and the run has no tensors.
    pub(crate) fn for_reading(self, asked: Option<Device>) -> Result<Self> {
        let mut config = self.on(asked)?;
        config.run.device = device::for_reading(config.run.device, asked);
        config.run.precision = Precision::F32;
        Ok(config)
    }

    /// Returns this configuration with another seed.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        Self { run: TrainSettings { seed, ..self.run.clone() }, ..self.clone() }
    }

    /// Returns `<env>-<agent>`, the name of presets and run directories. `/` becomes `-`.
    pub(crate) fn slug(&self) -> String {
        format!("{}-{}", self.env.id().replace('/', "-"), self.agent.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layer(text: &str) -> Layer {
        Layer::from_toml(text, "test.toml", &TRAINING).unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn set(assignments: &[&str]) -> Result<Layer> {
        Layer::from_assignments(&assignments.iter().map(|&text| text.to_string()).collect::<Vec<_>>(), &TRAINING)
    }

    fn resolve(layers: &[Layer]) -> TrainConfig {
        TrainConfig::resolve(layers).unwrap_or_else(|e| panic!("{e:#}"))
    }

    const TAXI: &str = "env = \"taxi\"\nagent = \"q-learning\"\nsteps = 5000\n[agent_settings]\nlr = 0.5\n";

    #[test]
    fn what_one_layer_breaks_a_later_one_may_mend() {
        let file = layer("env = \"cartpole\"\nagent = \"dqn\"\n[agent_settings]\nbuffer_size = 10\nbatch_size = 32\n");
        let error = TrainConfig::resolve(std::slice::from_ref(&file)).expect_err("a batch beyond the replay");
        assert!(format!("{error:#}").contains("in test.toml: agent.batch_size is 32"), "{error:#}");
        let config = resolve(&[file, set(&["agent.buffer_size=5000"]).expect("valid")]);
        assert_eq!(config.agent.settings()["batch_size"], 32);
    }

    #[test]
    fn later_layers_win_and_a_resolved_run_resolves_to_itself() {
        let config = resolve(&[layer(TAXI), set(&["agent.gamma=0.9", "steps=2k"]).expect("valid")]);
        let run = &config.run;
        assert_eq!((run.steps, run.log_every, run.checkpoint_every), (2_000, 2, 200));
        let settings = config.agent.settings();
        assert_eq!((&settings["lr"], &settings["gamma"]), (&json!(0.5), &json!(0.9)));
        assert_eq!(resolve(&[layer(&config.to_toml())]), config);
    }

    #[test]
    fn settings_of_another_agent_are_dropped() {
        let config = resolve(&[layer(TAXI), layer("agent = \"value-iteration\"")]);
        assert!(!config.agent.settings().contains_key("lr"));
    }

    #[test]
    fn a_resolved_run_under_another_protocol_or_length_plays_that_in_full() {
        let old = resolve(&[layer("env = \"breakout\"\nagent = \"random\"\nsteps = 1000000")]);
        assert_eq!((old.env.settings()["sticky"].as_f64(), old.run.checkpoint_every), (Some(0.0), 100_000));
        let file = layer(&old.to_toml());
        let new = resolve(&[file.clone(), set(&["env.protocol=machado-2018", "steps=5000"]).expect("valid")]);
        assert_eq!(new.env.settings()["sticky"], json!(0.25));
        assert_eq!((new.run.log_every, new.run.checkpoint_every), (10, 500));
        let skip = resolve(&[file, set(&["env.frame_skip=1"]).expect("valid")]);
        assert_eq!(skip.env.settings()["max_steps"], json!(108_000));
    }

    #[test]
    fn a_setting_that_only_another_layer_gives_an_effect_waits_for_it() {
        let file = layer("env = \"minatar/breakout\"\nagent = \"dqn\"\nencoder = \"ae\"\nrecon_weight = 0.5");
        let joint = resolve(&[file.clone(), set(&["encoder_mode=joint"]).expect("valid")]);
        assert_eq!(joint.run.recon_weight, Some(0.5));
        let error = TrainConfig::resolve(&[file]).expect_err("no effect without the mode");
        assert!(format!("{error:#}").contains("recon_weight is 0.5, which has no effect"), "{error:#}");
    }

    #[test]
    fn an_encoders_settings_go_with_the_encoder() {
        let joint = "env = \"minatar/breakout\"\nagent = \"dqn\"\nencoder = \"ae\"\nencoder_mode = \"joint\"\n";
        let joint = resolve(&[layer(&format!("{joint}recon_weight = 0.5"))]);
        let raw = resolve(&[layer(&joint.to_toml()), set(&["encoder=raw"]).expect("valid")]);
        assert_eq!((raw.run.encoder_mode, raw.run.recon_weight), (None, None));
    }

    #[test]
    fn errors_name_the_source_the_key_and_the_nearest() {
        let error = |result: Result<Layer>| format!("{:#}", result.expect_err("an error"));
        let file = |text: &str| Layer::from_toml(text, "my.toml", &TRAINING);
        let unknown = error(file("stepss = 3"));
        assert!(unknown.starts_with("in my.toml: there is no key `stepss`; did you mean `steps`?"), "{unknown}");
        assert!(error(file("gamma = 0.9")).contains("under [agent_settings]"));
        assert!(error(file("steps = ")).starts_with("my.toml is not TOML"));
        assert!(error(file("kind = \"fit\"")).contains("kind is \"fit\": expected \"training\""));
        assert!(error(set(&["agent.lr"])).contains("expected key=value"));
        assert!(error(set(&["agnt.lr=1"])).contains("did you mean `agent.`?"));
        assert!(error(set(&["eval_evry=1"])).contains("did you mean `eval_every`?"));
        let fault = |text: &str| format!("{:#}", TrainConfig::resolve(&[layer(text)]).expect_err("an error"));
        assert_eq!(fault("steps = -1"), "in test.toml: steps is -1: expected a whole number, 1 or above");
        let bad = fault("env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nlrr = 1\n");
        assert!(bad.starts_with("in test.toml: ") && bad.contains("`lrr`") && bad.contains("`lr`"), "{bad}");
    }
}
