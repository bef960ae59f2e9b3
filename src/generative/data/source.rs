//! What `--data` takes.

use super::published::{FASHION_MNIST, MNIST, Published};
use anyhow::{Result, bail};
use carom_envs::{nearest, registry};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What `--data` takes; reads from and writes to the text a person types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `mnist`: handwritten digits, 28×28.
    Mnist,
    /// `fashion-mnist`: articles of clothing, 28×28.
    FashionMnist,
    /// `stacked-mnist`: three digits as three channels.
    StackedMnist,
    /// `movies`: six people's wishes for six films.
    Movies,
    /// `env:ID`: frames of an environment.
    Env(String),
    /// A folder of IDX files.
    Folder(PathBuf),
}

/// Sources that are a name and nothing more.
const NAMED: [(&str, Source); 4] = [
    ("mnist", Source::Mnist),
    ("fashion-mnist", Source::FashionMnist),
    ("stacked-mnist", Source::StackedMnist),
    ("movies", Source::Movies),
];

impl Source {
    /// The published files it is made from, of which there can be an own copy.
    pub fn published(&self) -> Option<&'static Published> {
        match self {
            Source::Mnist | Source::StackedMnist => Some(&MNIST),
            Source::FashionMnist => Some(&FASHION_MNIST),
            Source::Movies | Source::Env(_) | Source::Folder(_) => None,
        }
    }
}

impl FromStr for Source {
    type Err = anyhow::Error;

    /// A name comes before a folder of that name, which can be written `./NAME`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, source)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(source.clone());
        }
        if let Some(env_id) = text.strip_prefix("env:") {
            registry::find(env_id)?;
            return Ok(Source::Env(env_id.to_owned()));
        }
        let envs: Vec<String> = registry::all().iter().map(|entry| format!("env:{}", entry.id)).collect();
        let nearest = nearest(text, NAMED.iter().map(|(name, _)| *name).chain(envs.iter().map(String::as_str)));
        if Path::new(text).is_dir() {
            return Ok(Source::Folder(text.into()));
        }
        let folder = if text.contains('/') { "folder" } else { "data set, and no folder," };
        let names = NAMED.map(|(name, _)| name).join(", ");
        bail!("there is no {folder} `{text}`; the nearest is `{nearest}` (there are {names}, env:ID and folders)")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Env(env_id) => write!(f, "env:{env_id}"),
            Source::Folder(folder) => folder.display().fmt(f),
            named => f.write_str(NAMED.iter().find(|(_, source)| source == named).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_and_write_as_they_are_typed() {
        for text in ["mnist", "fashion-mnist", "stacked-mnist", "movies", "env:minatar/breakout", "/tmp", "."] {
            let source: Source = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("env:breakout".parse::<Source>().unwrap(), Source::Env("breakout".to_owned()));
        assert_eq!("/tmp".parse::<Source>().unwrap(), Source::Folder("/tmp".into()));
    }

    #[test]
    fn what_is_not_there_is_told_with_the_nearest() {
        for (text, nearest) in [
            ("mnits", "`mnist`"),
            ("fashion_mnist", "`fashion-mnist`"),
            ("movie", "`movies`"),
            ("env:minatar/breakot", "`minatar/breakout`"),
            ("minatar/breakout", "`env:minatar/breakout`"),
            ("", "`mnist`"),
        ] {
            let message = text.parse::<Source>().expect_err("no such source").to_string();
            assert!(
                message.contains(&format!("`{}`", text.trim_start_matches("env:"))) && message.contains(nearest),
                "{message}"
            );
        }
    }
}
