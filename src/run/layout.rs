//! Files of a run: how a run is recognised, and which files Carom wrote in it.

use super::{CONFIG, LOG, META, PLOTS, checkpoint, events, metrics};
use crate::files;
use fs_err as fs;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Folder of the encoder in a run's directory.
pub(crate) const ENCODER: &str = "encoder";
/// Folder of the judge of a model's samples in its run's directory, if the settings name the judge.
pub(crate) const JUDGE: &str = "judge";
/// Name of the file of an encoder's scales and cost.
pub(crate) const ENCODER_FACTS: &str = "encoder.json";

/// Returns whether `dir` is a run. Other programs also have a `config.toml`; the program's version and command in
/// `meta.json` are in runs alone.
pub(crate) fn is_run(dir: &Path) -> bool {
    let meta = fs::read(dir.join(META)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    meta.is_some_and(|meta| meta["carom"].is_string() && meta["command"].is_array())
}

/// Name of an exported network without its extension.
pub(crate) const EXPORT: &str = "policy";

/// Returns whether `carom export` writes files of this name.
fn is_export(name: &str) -> bool {
    let (network, _) = name.split_once(".examples.").unwrap_or((name, ""));
    ["safetensors", "pt", "onnx"].iter().any(|extension| network == format!("{EXPORT}.{extension}"))
}

/// Returns whether Carom wrote `file`, a path below the run `dir`. Pictures may have any name, and are recognised by
/// their mark.
pub(crate) fn is_ours(dir: &Path, file: &Path) -> bool {
    let Some(names) = file.iter().map(|name| name.to_str()).collect::<Option<Vec<_>>>() else { return false };
    if fs::symlink_metadata(dir.join(file)).is_ok_and(|found| !found.is_file()) {
        return false;
    }
    match names[..] {
        [CONFIG | META | LOG | ENCODER_FACTS] | [events::FOLDER, events::NAME] => true,
        [name] => metrics::is_table(name) || is_export(name),
        [PLOTS, _] => files::is_marked(&dir.join(file)),
        // A killed process may leave pictures that were not in their place yet.
        [PLOTS, ref folders @ .., name] if folders.iter().all(|folder| files::is_left_over(folder)) => {
            name == files::SCRATCH_FILE || files::is_marked(&dir.join(file))
        }
        [checkpoint::FOLDER, ref below @ ..] => checkpoint::is_ours(below),
        [run @ (ENCODER | JUDGE), ref below @ ..] => is_ours(&dir.join(run), &below.iter().collect::<PathBuf>()),
        _ => false,
    }
}
