//! `carom reconstruct`: shows a fitted model's reconstructions of test images.

use super::print;
use crate::config::kind;
use crate::device;
use crate::files;
use crate::fit;
use crate::fit::session::FitSession;
use crate::gallery;
use crate::human::parse_count;
use anyhow::{Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Write test images above a fitted model's reconstructions of them as a PNG, and print its path
///
/// The newest checkpoint is used. Images are evenly spaced in the test split.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom reconstruct runs/mnist-ae-s0\n  \
                  carom reconstruct runs/mnist-ae-s0 -n 16 -o digits.png")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Test images to show
    #[arg(short, value_name = "N", default_value = "64", value_parser = parse_count, allow_hyphen_values = true)]
    n: u64,
    /// File to write [default: plots/reconstructions.png of the run]
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,
}

/// Largest number of images in a picture.
const MAX_IMAGES: u64 = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.run;
    let path = picture_path(dir, arguments.n, arguments.output.as_deref(), "reconstructions.png")?;
    let session = open(dir, "reconstruct images")?;
    session.seed_torch("draw", session.progress.step);
    let n = arguments.n as usize;
    let Some(picture) = tch::no_grad(|| gallery::reconstructions(&*session.model, &session.data.test, n)) else {
        bail!("{} is of model `{}`, which cannot decode images", dir.display(), session.config.model.name())
    };
    let caption = session.captions().of(gallery::RECONSTRUCTIONS);
    gallery::grid::write_captioned(&path, &picture, &caption)?;
    print(&format!("{}\n", path.display()))
}

/// Restores the fit in `dir` from its newest checkpoint. `wanted` completes the error message if `dir` is not a fit.
pub(super) fn open(dir: &Path, wanted: &str) -> Result<FitSession> {
    let mut config = kind::fit_config(dir, wanted)?;
    config.run.device = device::for_reading(config.run.device, None);
    Ok(fit::open::open(dir, config)?.0)
}

/// Returns the path of a picture of `n` images: `output`, or `name` in the run's `plots/`.
pub(super) fn picture_path(dir: &Path, n: u64, output: Option<&Path>, name: &str) -> Result<PathBuf> {
    ensure!((1..=MAX_IMAGES).contains(&n), "-n is {n}: expected a number of images in 1..={MAX_IMAGES}");
    let path = output.map_or_else(|| dir.join("plots").join(name), Path::to_owned);
    if output.is_none() {
        files::check_default_picture(&path)?;
    }
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    ensure!(is_png, "-o {}: pictures are PNG files; give a name that ends in .png", path.display());
    Ok(path)
}
