//! The classifiers that judge generated images: opened from a run, or from the cache, where they are fitted on first
//! use.

use super::revision;
use super::run_loop::fit;
use super::session::{FitProgress, FitSession};
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::layers::Layer;
use crate::files;
use crate::generative::classifier::{Classifier, ClassifierConfig};
use crate::generative::data::{self, Source, published};
use crate::generative::images::Data;
use crate::generative::measures::judge::Judge;
use crate::generative::model::{JudgeChoice, Model};
use crate::interrupt::Interrupted;
use crate::run::{self, Outcome, Replaces, Run, checkpoint, layout};
use anyhow::{Context, Error, Result, bail, ensure};
use carom_envs::{Seeds, settings};
use std::path::{Path, PathBuf};
use tch::Device;

/// Opens the judge of images like those of `data`. [`JudgeChoice::Auto`] is the cached classifier of the data set,
/// which is fitted on first use; that takes a minute or two.
///
/// # Errors
/// When the run is not that of a classifier of such images, or the classifier cannot be fitted.
pub(crate) fn open(choice: &JudgeChoice, data: &Data) -> Result<Judge> {
    let (name, [channels, rows, columns]) = (single(&data.name), data.shape);
    let (n_channels, n_classes) = if data.name == name { (channels, data.n_classes) } else { (1, 10) };
    let dir = match choice {
        JudgeChoice::Auto => cached(name, data)?,
        JudgeChoice::Run(dir) => dir.clone(),
    };
    let classifier = open_classifier(&dir, [n_channels, rows, columns], n_classes, data.device())?;
    Ok(Judge::new(classifier, n_channels))
}

/// Checks that the run which the settings name as judge is there, before any data are fetched.
///
/// # Errors
/// When it is not the run of a fit.
pub(crate) fn check_named(config: &FitConfig) -> Result<()> {
    match named(config) {
        Some(run) => kind::fit_config(run, "judge samples").context("model.classifier").map(drop),
        None => Ok(()),
    }
}

/// Copies the run which the settings name as judge into the run directory `dir`, if they name one.
///
/// # Errors
/// When it has no valid checkpoint, or a file cannot be copied.
pub(crate) fn copy_named(config: &FitConfig, dir: &Path) -> Result<()> {
    let Some(judge) = named(config) else { return Ok(()) };
    let (text, checkpoint) = (run::config_text(judge)?, checkpoint::newest::<FitProgress>(judge)?);
    run::copy(&text, &checkpoint, &dir.join(layout::JUDGE)).context("cannot copy the run of model.classifier")
}

/// Returns the run which the settings name as judge. Such paths are stored as absolute ones.
fn named(config: &FitConfig) -> Option<&Path> {
    let named = config.model.settings().get("classifier").and_then(|named| named.as_str());
    named.map(Path::new).filter(|named| named.is_absolute())
}

/// Opens the classifier fitted in the run `dir`, of images `[channels, rows, columns]`.
fn open_classifier(dir: &Path, shape: [i64; 3], n_classes: i64, device: Device) -> Result<Classifier> {
    let Config::Fit(config) = kind::config(dir)? else { bail!("{} is no fit of a classifier", dir.display()) };
    let model = &config.model;
    ensure!(model.name() == "classifier", "{} is a fitted {}, not a classifier", dir.display(), model.name());
    let settings = settings::resolve::<ClassifierConfig>(model.settings())?;
    let checkpoint = checkpoint::newest::<FitProgress>(dir)?;
    let mut classifier = Classifier::of(&settings, shape, n_classes, device, &mut Seeds::new(0).stream("init"))?;
    let [channels, rows, columns] = shape;
    checkpoint.load(|learned| Ok(classifier.load(learned)?)).with_context(|| {
        format!("expected a classifier of images of {channels}x{rows}x{columns} with {n_classes} labels")
    })?;
    Ok(classifier)
}

/// Returns the data set whose classifier judges samples of data set `name`, channel by channel.
fn single(name: &str) -> &str {
    if name == "stacked-mnist" { "mnist" } else { name }
}

/// Returns the cached run of the classifier of data set `name`. It is fitted first if there is none with these
/// settings.
fn cached(name: &str, data: &Data) -> Result<PathBuf> {
    let published = name.parse().ok().filter(|source: &Source| source.published().is_some());
    let Some(source) = published else {
        ensure!(data.n_classes > 0, "images of {name} have no labels for a classifier to learn");
        bail!(
            "there is no recipe for a classifier of {name}; fit one (`carom fit classifier --data {name}`), and fit \
             the model with --set model.classifier=RUN"
        )
    };
    let layer = Layer::default().with("model", Some("classifier")).with("data", Some(source.to_string()));
    let config = FitConfig::resolve(&[layer.with("eval_every", Some(0)).with("checkpoint_every", Some(0))])?;
    let cache = published::cache()?;
    let dir = cache.join("classifiers").join(revision::cache_name(&config));
    if fault(&dir, &config).is_none() {
        return Ok(dir);
    }
    let lock = cache.join("locks").join(format!("classifier-{source}"));
    let _lock = files::wait_for_lock(&lock, &format!("another process is fitting the classifier of {source}"))?;
    let Some(fault) = fault(&dir, &config) else { return Ok(dir) };
    if dir.exists() {
        tracing::warn!("the classifier of {source} in the cache: {fault:#}; fitting it again");
        run::check_free(&dir, true)?;
    }
    let threads = tch::get_num_threads();
    // Reads the folder that the data were read from, if one was given, since there may be no network.
    let own = match data.name == name {
        true => data.share(),
        false => Data::new(&data::open(&source, data.folder.as_deref(), config.run.seed)?, data.device()),
    };
    let made = tch::with_grad(|| make(&dir, config, own));
    tch::set_num_threads(threads);
    made.with_context(|| format!("cannot fit the classifier that judges samples of {name}"))?;
    Ok(dir)
}

/// Returns why the run in `dir` cannot be used as the fit of `config`, or `None` if it can.
fn fault(dir: &Path, config: &FitConfig) -> Option<Error> {
    revision::check_settings(dir, config).and_then(|()| checkpoint::check_last(dir)).err()
}

/// Fits the classifier in the run directory `dir`, which is created when the fit is finished.
fn make(dir: &Path, config: FitConfig, data: Data) -> Result<()> {
    let name = config.source.to_string();
    tracing::info!("fitting the classifier that judges samples of {name}, once (a minute or two): {}", dir.display());
    files::replace_folder(dir, Some(layout::is_ours), |aside| {
        let mut session = FitSession::on(config, data, open)?;
        let mut run = Run::create(aside, &session.config.to_toml(), None, Replaces::Nothing, |_| Ok(()))?;
        match fit(&mut session, &mut run)? {
            Outcome::Finished => Ok(()),
            Outcome::Interrupted => {
                bail!(Interrupted("stopped while the classifier was fitted; the same command restarts it".to_owned()))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};

    #[test]
    fn a_judge_in_the_cache_that_is_damaged_or_of_other_settings_is_not_used() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = |epochs: u64| {
            let layer = Layer::default().with("model", Some("ae")).with("data", Some("movies"));
            FitConfig::resolve(&[layer.with("epochs", Some(epochs))]).expect("valid")
        };
        let dir = folder.path().join("judge");
        let fault = |epochs| fault(&dir, &config(epochs)).map(|fault| format!("{fault:#}"));
        assert!(fault(1).is_some_and(|fault| fault.contains("there is no run")));
        make(&dir, config(1), crate::fit::open::begin(config(1)).expect("valid").data).expect("fitted");
        assert_eq!(fault(1), None);
        assert!(fault(2).is_some_and(|fault| fault.contains("other settings")));
        let steps = fs_err::read_dir(dir.join("checkpoints")).expect("there").flatten();
        for step in steps {
            fs_err::write(step.path().join("arrays.safetensors"), "x").expect("writable");
        }
        assert!(fault(1).is_some_and(|fault| fault.contains("damaged")));
        make(&dir, config(1), crate::fit::open::begin(config(1)).expect("valid").data).expect("fitted again");
        assert_eq!(fault(1), None);
    }

    #[test]
    fn data_without_a_classifier_say_how_to_get_one() {
        let split = || Split::new([1, 1, 2], vec![0, 1, 1, 0], vec![0, 1]);
        let (train, test) = (split(), split());
        let dataset = Dataset { name: "noise".to_owned(), shape: [1, 1, 2], max: 1, n_classes: 2, train, test };
        let data = Data::new(&dataset, Device::Cpu);
        let error = open(&JudgeChoice::Auto, &data).err().expect("no classifier").to_string();
        assert!(error.contains("carom fit classifier --data noise") && error.contains("model.classifier"), "{error}");
    }
}
