//! Balance between generator and discriminator: whether the generator can still learn.

use super::loss::Loss;
use serde::{Deserialize, Serialize};

/// Updates over which the loss is averaged, and for which it must stay below that of a discriminator that has won.
const LONG_UPDATES: f64 = 500.0;
/// Below this ratio of the distances of samples to those of the data, samples are nearly one image.
const COLLAPSED_DIVERSITY: f64 = 0.5;

/// Running statistics of the discriminator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Balance {
    /// Running mean of the discriminator's loss, without penalties.
    loss: f64,
    /// Running mean of the distance between mean logits, real less generated.
    gap: f64,
    /// Updates since the discriminator won.
    won_for: u64,
}

impl Balance {
    /// Records one update. Returns a diagnosis once, when the discriminator has won for [`LONG_UPDATES`] updates.
    pub(super) fn observe(&mut self, loss: Loss, d_loss: f64, gap: f64) -> Option<String> {
        let share = 1.0 / LONG_UPDATES;
        // Each loss begins near 1.
        let before = if *self == Self::default() { 1.0 } else { self.loss };
        self.loss = before + share * (d_loss - before);
        self.gap += share * (gap - self.gap);
        self.won_for = if self.loss < won_below(loss) { self.won_for + 1 } else { 0 };
        (self.won_for == LONG_UPDATES as u64).then(|| self.saturated(loss))
    }

    /// Describes the balance. Samples are `diversity` times as far apart as the data.
    pub(super) fn diagnosis(&self, loss: Loss, diversity: Option<f64>) -> String {
        let spread = |diversity: f64| format!("samples lie {diversity:.2} times as far apart as the data");
        match diversity {
            Some(diversity) if diversity < COLLAPSED_DIVERSITY => {
                format!("collapsed: {}; try {}, or a lower lr", spread(diversity), steadier(loss))
            }
            _ if self.won_for >= LONG_UPDATES as u64 => self.saturated(loss),
            Some(diversity) => format!("goes on: logits {:.2} apart, {}", self.gap, spread(diversity)),
            None => format!("goes on: logits {:.2} apart", self.gap),
        }
    }

    fn saturated(&self, loss: Loss) -> String {
        format!(
            "saturated: the discriminator has won (loss {:.4}, logits {:.1} apart, for {} updates) and teaches \
             the generator nothing; try {}, or a smaller width",
            self.loss,
            self.gap,
            self.won_for,
            steadier(loss)
        )
    }
}

/// Returns the loss below which the discriminator almost always separates real from generated images.
fn won_below(loss: Loss) -> f64 {
    // ln(1 + exp(−4)): a logit of 4 is right with a probability of .98.
    const OF_A_JUDGEMENT: f64 = 0.02;
    match loss {
        // Each pair is judged by the difference of its logits.
        Loss::Rp => OF_A_JUDGEMENT,
        // Real and generated images are judged apart. By `hinge`, nearly all are beyond the margin of 1.
        Loss::Ns | Loss::Hinge => 2.0 * OF_A_JUDGEMENT,
        // It has no lower bound, and the penalty keeps the slope with which the generator is taught.
        Loss::WganGp => f64::NEG_INFINITY,
    }
}

/// Returns a setting that holds the discriminator back, and has an effect under `loss`.
fn steadier(loss: Loss) -> &'static str {
    match loss {
        Loss::Rp => "a larger gamma",
        Loss::WganGp => "loss rp, a larger lambda",
        Loss::Ns | Loss::Hinge => "loss rp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discriminator_that_has_won_is_reported_once() {
        let (mut level, mut won) = (Balance::default(), Balance::default());
        assert!((0..5000).all(|_| level.observe(Loss::Rp, 0.6, 0.3).is_none()));
        assert!(level.diagnosis(Loss::Rp, Some(0.95)).starts_with("goes on"));
        let told: Vec<String> = (0..5000).filter_map(|_| won.observe(Loss::Rp, 0.0001, 12.0)).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("saturated") && won.diagnosis(Loss::Rp, None).starts_with("saturated"));
    }

    #[test]
    fn each_loss_is_won_by_logits_that_are_almost_always_right() {
        let is_won = |loss, d_loss, gap| {
            let mut balance = Balance::default();
            (0..5000).any(|_| balance.observe(loss, d_loss, gap).is_some())
        };
        let softplus = |x: f64| x.exp().ln_1p();
        assert!(is_won(Loss::Rp, softplus(-4.0), 4.0) && !is_won(Loss::Rp, softplus(-3.0), 3.0));
        assert!(is_won(Loss::Ns, 2.0 * softplus(-4.0), 8.0) && !is_won(Loss::Ns, 2.0 * softplus(-3.0), 6.0));
        // Logits of 1 and −1 cost nothing, those of 0.9 and −0.9 a tenth each.
        assert!(is_won(Loss::Hinge, 0.0, 2.0) && !is_won(Loss::Hinge, 0.2, 1.8));
    }

    #[test]
    fn one_image_is_a_collapse() {
        assert!(Balance::default().diagnosis(Loss::Rp, Some(0.1)).starts_with("collapsed"));
    }

    #[test]
    fn advice_names_settings_that_have_an_effect() {
        let advice = |loss| Balance::default().diagnosis(loss, Some(0.1));
        assert!(advice(Loss::Rp).contains("try a larger gamma") && !advice(Loss::Rp).contains("loss rp"));
        assert!(advice(Loss::Hinge).contains("try loss rp") && !advice(Loss::Hinge).contains("gamma"));
        assert!(advice(Loss::WganGp).contains("a larger lambda"));
    }

    #[test]
    fn a_wasserstein_loss_may_be_negative() {
        let mut balance = Balance::default();
        assert!((0..5000).all(|_| balance.observe(Loss::WganGp, -3.0, 3.0).is_none()));
    }
}
