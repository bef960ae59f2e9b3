//! `carom sample`: draws new images from a fitted model.

use super::print;
use super::reconstruct::{open, picture_path};
use crate::fit::session::seed_torch;
use crate::gallery;
use crate::human::{parse_count, parse_seed};
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

/// Write new images drawn from a fitted model as a PNG, and print its path
///
/// The newest checkpoint is used. The same seed draws the same images.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  carom sample runs/mnist-vae-s0\n  carom sample runs/mnist-vae-s0 -n 64 -o digits.png"
)]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Images to draw
    #[arg(short, value_name = "N", default_value = "256", value_parser = parse_count, allow_hyphen_values = true)]
    n: u64,
    /// File to write [default: plots/samples.png of the run]
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,
    /// Seed of the images [default: the run's]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.run;
    let path = picture_path(dir, arguments.n, arguments.output.as_deref(), "samples.png")?;
    let session = open(dir, "draw images")?;
    let seed = arguments.seed.unwrap_or(session.config.run.seed);
    seed_torch(seed, "sample", session.progress.step);
    let picture = tch::no_grad(|| gallery::samples(&*session.model, &session.data, arguments.n as usize));
    let Some(picture) = picture else {
        let (name, model) = (dir.display(), session.config.model.name());
        bail!(
            "{name} is of model `{model}`, which has no distribution to draw from: use vae, rbm or gan; \
             `carom reconstruct {name}` shows reconstructions of test images"
        )
    };
    let caption = session.captions().of(&format!("{} images drawn from the model, seed {seed}.", arguments.n));
    gallery::grid::write_captioned(&path, &picture, &caption)?;
    print(&format!("{}\n", path.display()))
}
