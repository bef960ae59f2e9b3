//! Losses of generator and discriminator on logits `[B, 1]`, which are high for images that the discriminator takes for
//! real.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Loss of generator and discriminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Loss {
    /// Non-saturating (Goodfellow et al. 2014, section 3).
    Ns,
    /// Hinge (Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17).
    Hinge,
    /// Wasserstein distance with a gradient penalty (Gulrajani et al. 2017, equation 3).
    WganGp,
    /// Relativistic pairing (Jolicoeur-Martineau 2019) with zero-centred gradient penalties on real and generated
    /// images, R1 and R2 (Huang et al. 2024, "The GAN is dead; long live the GAN!", equation 2 and section 3.2).
    Rp,
}

impl Loss {
    /// Returns the loss of the discriminator on logits `real` r and `fake` f, without penalties; ζ is softplus:
    /// `ns` E ζ(−r) + E ζ(f), `hinge` E max(0, 1 − r) + E max(0, 1 + f), `wgan-gp` E f − E r, `rp` E ζ(f − r).
    pub(crate) fn discriminator(self, real: &Tensor, fake: &Tensor) -> Tensor {
        match self {
            Loss::Ns => (-real).softplus().mean(Kind::Float) + fake.softplus().mean(Kind::Float),
            Loss::Hinge => (-real + 1.0).relu().mean(Kind::Float) + (fake + 1.0).relu().mean(Kind::Float),
            Loss::WganGp => fake.mean(Kind::Float) - real.mean(Kind::Float),
            Loss::Rp => (fake - real).softplus().mean(Kind::Float),
        }
    }

    /// Returns the loss of the generator: `ns` E ζ(−f), `hinge` and `wgan-gp` −E f, `rp` E ζ(r − f).
    pub(crate) fn generator(self, real: &Tensor, fake: &Tensor) -> Tensor {
        match self {
            Loss::Ns => (-fake).softplus().mean(Kind::Float),
            Loss::Hinge | Loss::WganGp => -fake.mean(Kind::Float),
            Loss::Rp => (real - fake).softplus().mean(Kind::Float),
        }
    }

    /// Returns whether the generator's loss depends on real images too.
    pub(crate) fn pairs(self) -> bool {
        self == Loss::Rp
    }
}

/// Returns |∇ₓ D(x)|² of each image `[B]`, differentiable in D's parameters: half of its mean over real images is R1
/// (Mescheder et al. 2018, equation 9), over generated ones R2. `x` requires a gradient, and `logits` are D(x).
pub(super) fn square_gradient(logits: &Tensor, x: &Tensor) -> Tensor {
    let grads = Tensor::run_backward(&[logits.sum(Kind::Float)], &[x], true, true);
    grads[0].square().flatten(1, -1).sum_dim_intlist(1, false, Kind::Float)
}

/// Draws points evenly between real and generated images, one a pair, for the penalty of `wgan-gp`; they require a
/// gradient.
pub(super) fn between(real: &Tensor, fake: &Tensor) -> Tensor {
    let share = Tensor::rand([real.size()[0], 1, 1, 1], (Kind::Float, real.device()));
    (fake + (real - fake) * share).detach().set_requires_grad(true)
}

/// Returns E (|∇ₓ D(x)| − 1)² of points `x` drawn by [`between`] (Gulrajani et al. 2017, equation 3, without its weight
/// λ).
pub(super) fn slope_penalty(logits: &Tensor, x: &Tensor) -> Tensor {
    // The epsilon keeps the root's derivative finite at 0.
    ((square_gradient(logits, x) + 1e-12).sqrt() - 1.0).square().mean(Kind::Float)
}
