//! A search over settings: its file, its trials, the journal of what was found, and the ranking of the trials.

pub(crate) mod file;
pub(crate) mod journal;
pub(crate) mod metric;
pub(crate) mod ranking;
pub(crate) mod space;
