//! Rules that turn a gradient into a step, and their constants.

use serde::{Deserialize, Serialize};

/// Which rule turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Kingma & Ba 2015, algorithm 1.
    Adam,
    /// Tieleman & Hinton 2012: the gradient over the root of its running mean square.
    RmsProp,
    /// RMSProp with the running variance (Graves 2013). ε is added to the root, as PyTorch and MinAtar's DQN have it;
    /// Mnih et al. 2015 had it under the root.
    #[serde(rename = "rmsprop-centered")]
    RmsPropCentered,
    /// Liu et al. 2020, algorithm 2: Adam with a rectified adaptive rate.
    RAdam,
}

/// A rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimConfig {
    /// The rule.
    pub rule: Rule,
    /// Decay of the running mean of the gradient (Adam, RAdam).
    pub beta1: f64,
    /// Decay of the running mean square (RMSProp's α).
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

impl OptimConfig {
    /// The usual constants of `rule`: β 0.9 and 0.999, ε 1e-8; RMSProp α 0.95 and ε 0.01, as Mnih et al. 2015.
    pub fn of(rule: Rule) -> Self {
        match rule {
            Rule::Adam | Rule::RAdam => Self { rule, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            Rule::RmsProp | Rule::RmsPropCentered => Self { rule, beta1: 0.0, beta2: 0.95, epsilon: 0.01 },
        }
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
