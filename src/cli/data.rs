//! `carom data`: downloads a data set, or verifies a local copy, and describes it.

use super::Out;
use crate::config::fit;
use crate::generative::data::dataset::Dataset;
use crate::generative::data::published::Published;
use crate::generative::data::{self, Source};
use anyhow::Result;
use carom_envs::settings::Values;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Download a data set if it is missing, verify it, and print its size and files
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// mnist, fashion-mnist, stacked-mnist, movies, env:ID, or a folder of IDX files
    #[arg(value_name = "NAME")]
    source: String,
    /// Directory with a copy of the published files, to use instead of the cache
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints size and shape of the data as a fit takes them, and for published data sets the files with their checksums.
///
/// # Errors
/// When the data set cannot be downloaded, or one of its files is damaged.
pub(super) fn run(args: &Args) -> Result<()> {
    let data_dir = args.data_dir.as_deref();
    let source = fit::source(&args.source, &Values::new())?;
    let dataset = data::open(&source, data_dir, 0)?;
    let ([channels, rows, columns], mut out) = (dataset.shape, Out::lock());
    if args.json {
        return Ok(writeln!(out, "{}", json_of(&source, &dataset, data_dir)?)?);
    }
    writeln!(out, "{source}: {} to train on, {} to test", dataset.train.len(), dataset.test.len())?;
    writeln!(out, "shape    {channels} x {rows} x {columns} (channels, rows, columns), values 0 to {}", dataset.max)?;
    match dataset.n_classes {
        0 => writeln!(out, "classes  none")?,
        n => writeln!(out, "classes  {n}")?,
    }
    let Some(published) = source.published() else { return Ok(()) };
    print_files(published, &mut out, data_dir)
}

/// Returns size, shape and files as one JSON object.
fn json_of(source: &Source, dataset: &Dataset, data_dir: Option<&Path>) -> Result<Value> {
    let mut files = vec![];
    if let Some(published) = source.published() {
        for (path, file) in published.paths(data_dir)?.iter().zip(&published.files) {
            let n_bytes = fs_err::metadata(path)?.len();
            files.push(json!({"path": path.display().to_string(), "bytes": n_bytes, "sha256": file.sha256}));
        }
    }
    let n_classes = (dataset.n_classes > 0).then_some(dataset.n_classes);
    Ok(json!({
        "data": source.to_string(), "train": dataset.train.len(), "test": dataset.test.len(), "shape": dataset.shape,
        "max": dataset.max, "classes": n_classes, "files": files,
    }))
}

/// Prints each file's path, size on disk, and SHA-256 of its decompressed content, which was verified on opening.
fn print_files(set: &Published, out: &mut impl Write, data_dir: Option<&Path>) -> Result<()> {
    for (path, file) in set.paths(data_dir)?.iter().zip(&set.files) {
        let n_bytes = fs_err::metadata(path)?.len();
        writeln!(out, "{}  {n_bytes:>8} bytes  {}", file.sha256, path.display())?;
    }
    Ok(())
}
