//! Rules that turn a gradient into a step, and their constants.

use serde::{Deserialize, Serialize};

/// The rule that turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Kingma & Ba 2015, algorithm 1.
    Adam,
    /// Tieleman & Hinton 2012: the gradient over the root of its running mean square.
    RmsProp,
    /// RMSProp with the running variance (Graves 2013).
    #[serde(rename = "rmsprop-centered")]
    RmsPropCentered,
    /// Liu et al. 2020, algorithm 2: Adam with a rectified adaptive rate.
    RAdam,
    /// Zeiler 2012, algorithm 1, with a learning rate: the gradient times the ratio of the root mean squares of past
    /// steps and gradients. Fits of generative models offer it, agents do not.
    #[serde(skip)]
    Adadelta,
}

impl Rule {
    /// Whether it divides by the root of a mean square that starts at 0 and is not corrected.
    pub(crate) fn is_rms_prop(self) -> bool {
        matches!(self, Rule::RmsProp | Rule::RmsPropCentered)
    }

    /// The optimiser's setting that has no effect beside this rule, with the reason.
    pub(crate) fn unheard(self) -> Option<(&'static str, String)> {
        let reason = || "only RMSProp can have its epsilon under the root".to_owned();
        (!self.is_rms_prop()).then(|| ("optimizer_epsilon_in_root", reason()))
    }
}

/// A rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimConfig {
    /// The rule.
    pub rule: Rule,
    /// Decay of the running mean of the gradient (Adam, RAdam).
    pub beta1: f64,
    /// Decay of the running mean square (RMSProp's α, Adadelta's ρ).
    pub beta2: f64,
    /// Added to the denominator; Adadelta adds it to both mean squares, under their roots.
    pub epsilon: f64,
    /// Whether ε is added to the mean square under RMSProp's root, as by Mnih et al. 2015, and not to the root, as in
    /// PyTorch and in MinAtar's DQN. Adam and RAdam add it to the root.
    pub epsilon_in_root: bool,
}

impl OptimConfig {
    /// The usual constants of `rule`: β 0.9 and 0.999, ε 1e-8; RMSProp α 0.95 and ε 0.01, as Mnih et al. 2015; Adadelta
    /// ρ 0.95 and ε 1e-6, as Zeiler 2012.
    pub fn of(rule: Rule) -> Self {
        let (beta1, beta2, epsilon) = match rule {
            Rule::Adam | Rule::RAdam => (0.9, 0.999, 1e-8),
            Rule::RmsProp | Rule::RmsPropCentered => (0.0, 0.95, 0.01),
            Rule::Adadelta => (0.0, 0.95, 1e-6),
        };
        Self { rule, beta1, beta2, epsilon, epsilon_in_root: false }
    }

    /// These constants with ε in its place, the usual one where `epsilon` is not given.
    #[must_use]
    pub fn with_epsilon(self, epsilon: Option<f64>, in_root: bool) -> Self {
        Self { epsilon: epsilon.unwrap_or(self.epsilon), epsilon_in_root: in_root, ..self }
    }

    /// RMSProp's ε under the root and beside it, one of which is 0.
    pub(super) fn rms_prop_epsilons(self) -> [f64; 2] {
        let epsilon = self.f32_epsilon();
        if self.epsilon_in_root { [epsilon, 0.0] } else { [0.0, epsilon] }
    }

    /// ε, but no less than the least normal `f32` where it is above 0. If it became 0 in `f32`, a parameter without a
    /// gradient would take the step 0 / 0.
    pub(super) fn f32_epsilon(self) -> f64 {
        if self.epsilon > 0.0 { self.epsilon.max(f32::MIN_POSITIVE.into()) } else { self.epsilon }
    }
}

/// One over the root of the second moment's bias correction after `t` steps.
pub(super) fn second_moment_correction(beta2: f64, t: u64) -> f64 {
    1.0 / (1.0 - beta2.powf(t as f64)).sqrt()
}

/// The bias-corrected learning rate of step `t`, and whether the step is divided by the root of the second moment:
/// RAdam's first steps are not (its variance is intractable while ρ_t ≤ 5).
pub(super) fn adam_rate(config: OptimConfig, t: u64, lr: f64) -> (f64, bool) {
    let (beta2, t) = (config.beta2, t as f64);
    let rate = lr / (1.0 - config.beta1.powf(t));
    if config.rule != Rule::RAdam {
        return (rate, true);
    }
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    let rho = rho_inf - 2.0 * t * beta2.powf(t) / (1.0 - beta2.powf(t));
    if rho <= 5.0 {
        return (rate, false);
    }
    let rectification = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
    (rate * rectification, true)
}
