//! The heads by name, and their settings.

mod categorical;
mod implicit;
mod quantile;
mod scalar;

use super::head::Head;
use crate::losses::Loss;
use carom_envs::Seeds;
use carom_envs::settings::{Fault, Settings};
use categorical::Categorical;
use implicit::Implicit;
use quantile::Quantile;
use scalar::Scalar;
use serde::{Deserialize, Serialize};

/// Form in which a network predicts the return of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Its mean.
    Scalar,
    /// Probabilities of fixed returns.
    C51,
    /// Quantiles at fixed fractions.
    Qr,
    /// The quantile at any fraction.
    Iqn,
}

carom_envs::settings! {
    /// Settings of a deep Q-network's outputs.
    pub struct HeadSettings {
        /// Form of the predicted return: `scalar` its mean, `c51` probabilities of fixed returns, `qr` quantiles
        /// at fixed fractions, `iqn` the quantile at any fraction.
        head: HeadKind = HeadKind::Scalar;
        /// Loss of the TD error.
        loss: Loss = Loss::Huber;
        /// Number of fixed returns.
        atoms: usize = 51, in 2..=MAX_ATOMS;
        /// Least of the fixed returns.
        v_min: f64 = -10.0, in -MAX_RETURN..=MAX_RETURN;
        /// Largest of the fixed returns.
        v_max: f64 = 10.0, in -MAX_RETURN..=MAX_RETURN;
        /// Number of quantiles at fixed fractions.
        quantiles: usize = 200, in 1..=MAX_ATOMS;
        /// Number of fractions in the loss, in its target and in the choice of an action.
        taus: usize = 8, in 1..=MAX_ATOMS;
    }
}

/// Largest number of outputs of an action.
const MAX_ATOMS: usize = 1 << 12;

/// Bounds the fixed returns.
const MAX_RETURN: f64 = 1e6;

impl Settings for HeadSettings {
    fn check(&self) -> Result<(), Fault> {
        match self.v_min < self.v_max {
            true => Ok(()),
            false => Err(Fault::value("v_max", self.v_max, format!("more than v_min, which is {}", self.v_min))),
        }
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let owners = [
            ("loss", HeadKind::Scalar, "only head scalar has a loss to choose"),
            ("atoms", HeadKind::C51, "only head c51 has fixed returns"),
            ("v_min", HeadKind::C51, "only head c51 has fixed returns"),
            ("v_max", HeadKind::C51, "only head c51 has fixed returns"),
            ("quantiles", HeadKind::Qr, "only head qr has quantiles at fixed fractions"),
            ("taus", HeadKind::Iqn, "only head iqn draws fractions"),
        ];
        let others = owners.into_iter().filter(|(_, owner, _)| *owner != self.head);
        others.map(|(key, _, reason)| (key, reason.to_owned())).collect()
    }
}

impl HeadSettings {
    /// The head for a network of `n_actions` that is fitted to `batch` transitions at once.
    pub(crate) fn make(&self, n_actions: usize, batch: usize, seeds: &Seeds) -> Box<dyn Head> {
        match self.head {
            HeadKind::Scalar => Box::new(Scalar { loss: self.loss }),
            HeadKind::C51 => Box::new(Categorical::new(n_actions, self.atoms, self.v_min, self.v_max)),
            HeadKind::Qr => Box::new(Quantile::new(n_actions, self.quantiles)),
            HeadKind::Iqn => Box::new(Implicit::new(n_actions, self.taus, batch, seeds.stream("taus"))),
        }
    }
}
