//! `carom reconstruct`: shows a fitted model's reconstructions of test images.

use super::print;
use crate::config::kind;
use crate::device;
use crate::files;
use crate::fit;
use crate::fit::session::{FitSession, seed_torch};
use crate::gallery;
use crate::gallery::grid::Channels;
use crate::generative::images::Data;
use crate::human::{parse_count, parse_seed};
use anyhow::{Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

/// Write test images above a fitted model's reconstructions of them as a PNG, and print its path
///
/// The newest checkpoint is used. Images are evenly spaced in the test split. --chain shows what an RBM draws instead:
/// probabilities of the hidden units, states drawn from them, and the same backwards. Each image starts two chains.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom reconstruct runs/mnist-ae-s0\n  \
                  carom reconstruct runs/mnist-ae-s0 -n 16 -o digits.png\n  \
                  carom reconstruct runs/mnist-ae-s0 --data fashion-mnist\n  \
                  carom reconstruct runs/movies-rbm-s0 --chain 3 --seed 1")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Test images to show [default: 64, and 6 with --chain]
    #[arg(short, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    n: Option<u64>,
    /// Data whose test images are shown [default: the run's]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Standard deviation of Gaussian noise that is added to the images before they are encoded
    #[arg(long, value_name = "D", conflicts_with = "chain", allow_hyphen_values = true)]
    noise: Option<f64>,
    /// Steps of Gibbs chains to show, of an RBM
    #[arg(long, value_name = "K", value_parser = parse_count, allow_hyphen_values = true)]
    chain: Option<u64>,
    /// Seed of the noise, or of the chains [default: the run's]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// File to write [default: plots/reconstructions.png of the run]
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,
}

/// Test images without -n, and with --chain.
const N_IMAGES: u64 = 64;
const N_CHAIN_IMAGES: u64 = 6;
/// Largest number of steps in a picture.
const MAX_STEPS: u64 = 100;
/// Largest number of images in a picture.
const MAX_IMAGES: u64 = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.run;
    let (name, n) = match (arguments.chain, arguments.noise) {
        (Some(_), _) => ("chain.png", arguments.n.unwrap_or(N_CHAIN_IMAGES)),
        (None, Some(_)) => ("denoised.png", arguments.n.unwrap_or(N_IMAGES)),
        (None, None) => ("reconstructions.png", arguments.n.unwrap_or(N_IMAGES)),
    };
    let path = picture_path(dir, n, arguments.output.as_deref(), name)?;
    let noise = arguments.noise.unwrap_or_default();
    ensure!(noise.is_finite() && noise >= 0.0, "--noise is {noise}: expected a number of at least 0");
    let is_drawn = arguments.chain.is_some() || arguments.noise.is_some();
    ensure!(is_drawn || arguments.seed.is_none(), "--seed has no effect without --noise or --chain");
    let session = open(dir, "reconstruct images")?;
    let seed = arguments.seed.unwrap_or(session.config.run.seed);
    seed_torch(seed, "draw", session.progress.step);
    let other = arguments.data.as_deref().map(|name| session.other_data(name)).transpose()?;
    let data = other.as_ref().unwrap_or(&session.data);
    if let Some(n_steps) = arguments.chain {
        return show_chain(arguments, &session, data, [n, n_steps, seed], &path);
    }
    let picture = tch::no_grad(|| match arguments.noise {
        None => gallery::reconstructions(&*session.model, data, n as usize),
        Some(noise) => gallery::denoised(&*session.model, data, n as usize, noise),
    });
    let Some(picture) = picture else {
        bail!("{} is of model `{}`, which cannot decode images", dir.display(), session.config.model.name())
    };
    let images =
        other.as_ref().map_or_else(|| "Test images".to_owned(), |data| format!("Test images of {}", data.name));
    let caption = match arguments.noise {
        None => format!("{images}, each above its reconstruction."),
        Some(noise) => {
            format!("{images}; below each, with noise of deviation {noise} (seed {seed}), and the reconstruction.")
        }
    };
    gallery::grid::write_captioned(&path, &picture, &session.captions().of(&caption))?;
    print(&format!("{}\n", path.display()))
}

/// Shows `n` pairs of chains of `n_steps` steps: as a picture, or as text where the data are no pictures.
fn show_chain(
    arguments: &Arguments,
    session: &FitSession,
    data: &Data,
    [n, n_steps, seed]: [u64; 3],
    path: &Path,
) -> Result<()> {
    ensure!((1..=MAX_STEPS).contains(&n_steps), "--chain is {n_steps}: expected a number of steps in 1..={MAX_STEPS}");
    let once = data.test.spaced(n as usize).all();
    // Neighbours start from the same image.
    let x = once.repeat_interleave_self_int(2, 0, None);
    let Some(steps) = tch::no_grad(|| session.model.chains(&x, n_steps)) else {
        let model = session.config.model.name();
        bail!("{} is of model `{model}`, whose units are not drawn: --chain is for rbm", arguments.run.display())
    };
    if let Some(names) = data.pixel_names() {
        ensure!(arguments.output.is_none(), "-o: chains of {} are printed as text", data.name);
        return print(&gallery::chain_text(&x, &steps, names));
    }
    let caption = session.captions().of(&format!(
        "Gibbs chains, two from each image (seed {seed}): p(h|v) are the probabilities of the hidden units, h their \
         states, p(v|h) and v those of the pixels."
    ));
    let picture = gallery::chain(&x, Channels::of(data), &steps);
    gallery::grid::write_captioned(path, &picture, &caption)?;
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
        files::check_default(&path, files::OTHER_FILE)?;
    }
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    ensure!(is_png, "-o {}: pictures are PNG files; give a name that ends in .png", path.display());
    Ok(path)
}
