//! `carom reconstruct`: test images over what a fitted model makes of their codes.

use super::print;
use crate::config::kind;
use crate::fit;
use crate::fit::session::FitSession;
use crate::gallery;
use crate::human::parse_count;
use anyhow::{Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Show test images over what a fitted model makes of their codes, as a PNG; prints its path
///
/// The newest checkpoint is what counts. Images are taken evenly from the test split.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  carom reconstruct runs/mnist-ae-s0\n  carom reconstruct runs/mnist-ae-s0 -n 16 -o digits.png"
)]
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

/// A picture of more images is no picture any more.
const MOST: u64 = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.run;
    let path = picture_path(dir, arguments.n, arguments.output.as_deref(), "reconstructions.png")?;
    let session = open(dir, "reconstruct images")?;
    session.seed_torch("draw", session.progress.step);
    let n = arguments.n as usize;
    let Some(picture) = tch::no_grad(|| gallery::reconstructions(&*session.model, &session.data.test, n)) else {
        bail!("{} is of model `{}`, which cannot turn a code into an image", dir.display(), session.config.model.name())
    };
    gallery::grid::write_png(&path, &picture)?;
    print(&format!("{}\n", path.display()))
}

/// The fit in `dir`, which is to do what is `wanted`, as its newest checkpoint has it.
pub(super) fn open(dir: &Path, wanted: &str) -> Result<FitSession> {
    let config = kind::fit_config(dir, wanted)?;
    Ok(fit::open::open(dir, config)?.0)
}

/// Where a picture of `n` images goes: `output`, or `name` in the run's `plots/`.
pub(super) fn picture_path(dir: &Path, n: u64, output: Option<&Path>, name: &str) -> Result<PathBuf> {
    ensure!((1..=MOST).contains(&n), "-n is {n}: expected a number of images in 1..={MOST}");
    let path = output.map_or_else(|| dir.join("plots").join(name), Path::to_owned);
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    ensure!(is_png, "-o {}: pictures are PNG files; give a name that ends in .png", path.display());
    Ok(path)
}
