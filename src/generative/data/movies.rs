//! Six people and which of six films they want to see: a minimal example of a restricted Boltzmann machine's latent
//! factors.
//!
//! Source: E. Chen, "Introduction to Restricted Boltzmann Machines" (2011): Alice, Bob and Carol like fantasy, David,
//! Eric and Fred films that won Oscars. Two hidden units should find the two tastes.

use super::dataset::{Dataset, Split};

/// Name of the data set.
pub(crate) const NAME: &str = "movies";

/// The films, in the order of the columns.
pub(crate) const TITLES: [&str; 6] = ["Harry Potter", "Avatar", "LOTR 3", "Gladiator", "Titanic", "Glitter"];

/// One row a person: 1 for a film they want to see.
pub(crate) const ROWS: [[u8; 6]; 6] = [
    [1, 1, 1, 0, 0, 0],
    [1, 0, 1, 0, 0, 0],
    [1, 1, 1, 0, 0, 0],
    [0, 0, 1, 1, 1, 0],
    [0, 0, 1, 1, 0, 0],
    [0, 0, 1, 1, 1, 0],
];

/// The two tastes, and the films that belong to each, as indices of [`TITLES`]. LOTR 3 belongs to both.
pub(crate) const GROUPS: [(&str, [usize; 3]); 2] = [("fantasy", [0, 1, 2]), ("Oscar winners", [2, 3, 4])];

/// Returns the six rows as both splits, `[1, 1, 6]`, without labels.
pub(crate) fn dataset() -> Dataset {
    let shape = [1, 1, TITLES.len()];
    let split = || Split::new(shape, ROWS.concat(), Vec::new());
    Dataset { name: NAME.to_owned(), shape, max: 1, n_classes: 0, train: split(), test: split() }
}
