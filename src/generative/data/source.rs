//! What `--data` takes.

use super::published::{MNIST, Published};
use crate::human::nearest;
use std::fmt;
use std::str::FromStr;

/// What `--data` takes; reads from and writes to the text a person types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `mnist`: handwritten digits, 28×28.
    Mnist,
    /// `movies`: six people's wishes for six films.
    Movies,
}

/// Sources that are a name and nothing more.
const NAMED: [(&str, Source); 2] = [("mnist", Source::Mnist), ("movies", Source::Movies)];

impl Source {
    /// The published files it is made from, of which there can be an own copy.
    pub fn published(&self) -> Option<&'static Published> {
        match self {
            Source::Mnist => Some(&MNIST),
            Source::Movies => None,
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, source)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(source.clone());
        }
        let nearest = nearest(text, NAMED.iter().map(|(name, _)| *name));
        Err(format!("there is no data set `{text}`; the nearest is `{nearest}`"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMED.iter().find(|(_, source)| source == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}
