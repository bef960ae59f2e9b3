//! Settings of a deep Q-network, in sections that stand beside the parts they are about.

use super::bootstrap::BootstrapSettings;
use super::exploration::ExplorationSettings;
use super::heads::HeadSettings;
use super::sampler::ReplaySettings;
use crate::net::{NetParts, NetSpec};
use crate::optim::{OptimConfig, Rule};
use crate::settings::{MAX_LAYER_WIDTH, check_widths};
use carom_envs::settings::{Above, AboveUpTo, AtLeast, Each, Fault, FromBelow, IfGiven, Settings};

carom_envs::settings! {
    /// Settings of a [`Dqn`](crate::Dqn). Steps are environment steps, summed over all environments.
    pub struct DqnConfig {
        /// Discount of one step.
        gamma: f64 = 0.99, in 0.0..=1.0;
        /// Number of transitions in an update.
        batch_size: usize = 32, in 1..=MAX_BATCH_SIZE;
        /// Steps between updates.
        train_every: u64 = 4, in AtLeast(1);
        /// Number of updates that are made each time.
        n_updates: u64 = 1, in 1..=10_000;
        /// Steps between moves of the target network.
        target_every: u64 = 1_000, in AtLeast(1);
        /// Share of the way to the network that a move takes the target network. At 1 it becomes a copy.
        tau: f64 = 1.0, in AboveUpTo(0.0, 1.0);
        /// Steps before the first update.
        learning_starts: u64 = 5_000;
    }
    with {
        /// The optimiser.
        descent: DescentSettings;
        /// The replay.
        replay: ReplaySettings;
        /// Exploration.
        exploration: ExplorationSettings;
        /// Value of the next states.
        bootstrap: BootstrapSettings;
        /// The outputs.
        outputs: HeadSettings;
        /// The network.
        network: NetworkSettings;
    }
}

/// Largest number of transitions in an update.
const MAX_BATCH_SIZE: usize = 1 << 20;

impl Settings for DqnConfig {
    const DERIVED: &'static [&'static str] = DescentSettings::DERIVED;

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        self.descent.derive(is_given);
    }

    fn check(&self) -> Result<(), Fault> {
        let buffer_size = self.replay.buffer_size;
        for (key, value) in [("batch_size", self.batch_size), ("n_step", self.replay.n_step)] {
            if value > buffer_size {
                return Err(Fault::value(key, value, format!("no more than buffer_size, which is {buffer_size}")));
            }
        }
        self.outputs.check()?;
        self.network.check()
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let blind = || "gamma is 0, so no next state is looked at".to_owned();
        let keys: &[&str] = match (self.gamma == 0.0, self.bootstrap.munchausen) {
            (false, _) => &[],
            (true, true) => &["n_step"],
            (true, false) => &["n_step", "double", "target_every", "tau"],
        };
        let sections = [
            keys.iter().map(|key| (*key, blind())).collect(),
            self.descent.unheard(),
            self.replay.unheard(),
            self.exploration.unheard(),
            self.bootstrap.unheard(),
            self.outputs.unheard(),
        ];
        sections.concat()
    }
}

carom_envs::settings! {
    /// Settings of the optimiser.
    pub struct DescentSettings {
        /// Learning rate.
        lr: f64 = 2.5e-4, in Above(0.0);
        /// Optimiser.
        optimizer: Rule = Rule::Adam;
        /// ε in the optimiser's denominator; unless given, 1e-8 with Adam and RAdam, 0.01 with RMSProp.
        optimizer_epsilon: Option<f64> = None, in IfGiven(Above(0.0));
        /// Add ε under RMSProp's root, as Mnih et al. 2015 did, and not to the root.
        optimizer_epsilon_in_root: bool = false;
        /// Largest Euclidean norm of a gradient, longer ones are clipped; 0 for no limit.
        max_grad_norm: f64 = 0.0, in AtLeast(0.0);
    }
}

impl Settings for DescentSettings {
    const DERIVED: &'static [&'static str] = &["optimizer_epsilon"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        if !is_given("optimizer_epsilon") {
            self.optimizer_epsilon = Some(OptimConfig::of(self.optimizer).epsilon);
        }
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        self.optimizer.unheard().into_iter().collect()
    }
}

impl DescentSettings {
    pub(crate) fn optimizer(&self) -> OptimConfig {
        OptimConfig::of(self.optimizer).with_epsilon(self.optimizer_epsilon, self.optimizer_epsilon_in_root)
    }
}

carom_envs::settings! {
    /// Settings of the network.
    pub struct NetworkSettings {
        /// Widths of the hidden dense layers.
        hidden: Vec<usize> = vec![128], in Each(1..=MAX_LAYER_WIDTH);
        /// Normalise each layer before its rectifier.
        layer_norm: bool = false;
        /// Add up a value of the state and an advantage of each action.
        dueling: bool = false;
        /// Share of the old average that an update keeps, in an exponential average of the weights that acts in
        /// evaluations; 0 for none: the latest weights act.
        ema_decay: f64 = 0.0, in FromBelow(0.0, 1.0);
    }
}

impl Settings for NetworkSettings {
    fn check(&self) -> Result<(), Fault> {
        check_widths(&self.hidden, self.layer_norm)
    }
}

impl DqnConfig {
    /// The network for a task, with `parts` as its head asks for them.
    pub(crate) fn net_spec(&self, task: &crate::agent::Task, parts: NetParts) -> NetSpec {
        NetSpec {
            obs_space: task.obs_space.clone(),
            frame_stack: task.frame_stack,
            hidden: self.network.hidden.clone(),
            layer_norm: self.network.layer_norm,
            n_actions: task.n_actions,
            parts,
        }
    }
}
