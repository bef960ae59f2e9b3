//! Sources of data, the values of `--data`.

use super::published::{FASHION_MNIST, MNIST, Published};
use crate::files;
use anyhow::{Result, bail};
use carom_envs::EnvSpec;
use carom_envs::settings::nearest;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Source of a data set. It is parsed from and displayed as the text that a person types; the path of a
/// folder is absolute inside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// `mnist`: handwritten digits, 28×28.
    Mnist,
    /// `fashion-mnist`: articles of clothing, 28×28.
    FashionMnist,
    /// `stacked-mnist`: three digits as three channels.
    StackedMnist,
    /// `movies`: six people's wishes for six films.
    Movies,
    /// `env:ID`: frames of an environment.
    Env(EnvSpec),
    /// A folder of IDX files.
    Folder(PathBuf),
}

/// Sources that are written as a plain name.
const NAMED: [(&str, Source); 4] = [
    ("mnist", Source::Mnist),
    ("fashion-mnist", Source::FashionMnist),
    ("stacked-mnist", Source::StackedMnist),
    (super::movies::NAME, Source::Movies),
];

impl Source {
    /// Returns the names of the built-in data sets.
    pub(crate) fn names() -> [&'static str; NAMED.len()] {
        NAMED.map(|(name, _)| name)
    }

    /// Returns the published files that the data are made from, if any. A person may have a copy of them.
    pub(crate) fn published(&self) -> Option<&'static Published> {
        match self {
            Source::Mnist | Source::StackedMnist => Some(&MNIST),
            Source::FashionMnist => Some(&FASHION_MNIST),
            Source::Movies | Source::Env(_) | Source::Folder(_) => None,
        }
    }
}

impl FromStr for Source {
    type Err = anyhow::Error;

    /// Reads a name, else the path of a folder; `./NAME` is a folder. An absolute path need not be there: a fit that
    /// is only used does without its data. Names of environments are resolved elsewhere.
    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, source)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(source.clone());
        }
        if Path::new(text).is_dir() || Path::new(text).is_absolute() {
            return Ok(Source::Folder(files::absolute(text)?.into()));
        }
        let what = if text.contains('/') { "folder" } else { "data set, and no folder," };
        let known = Self::names();
        let near = nearest(text, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        bail!("there is no {what} `{text}`; {near}(there are {}, env:ID and folders)", known.join(", "))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Env(spec) => write!(f, "env:{}", spec.id()),
            Source::Folder(folder) => {
                let shown = files::shown(folder).display().to_string();
                // A folder may have the name of something else.
                let is_taken = Self::names().contains(&shown.as_str()) || shown.starts_with("env:");
                f.write_str(if is_taken { "./" } else { "" })?;
                f.write_str(&shown)
            }
            named => f.write_str(NAMED.iter().find(|(_, source)| source == named).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_and_write_as_they_are_typed() {
        for text in ["mnist", "fashion-mnist", "stacked-mnist", "movies", "/tmp", "."] {
            let source: Source = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("/tmp".parse::<Source>().unwrap(), Source::Folder("/tmp".into()));
    }

    #[test]
    fn a_folder_with_the_name_of_a_data_set_is_told_from_it() {
        let here = std::env::current_dir().expect("a working directory");
        for name in ["mnist", "movies", "env:taxi"] {
            assert_eq!(Source::Folder(here.join(name)).to_string(), format!("./{name}"));
        }
        assert_eq!(Source::Folder(here.join("digits")).to_string(), "digits");
    }

    #[test]
    fn what_is_not_there_is_told_with_the_nearest() {
        assert_eq!("/no/such".parse::<Source>().unwrap(), Source::Folder("/no/such".into()));
        for (text, nearest) in [
            ("mnits", "`mnist`"),
            ("fashion_mnist", "`fashion-mnist`"),
            ("movie", "`movies`"),
            ("", "env:ID and folders"),
        ] {
            let message = text.parse::<Source>().expect_err("no such source").to_string();
            assert!(message.contains(&format!("`{text}`")) && message.contains(nearest), "{message}");
        }
    }
}
