//! Tests of the program through its command line. They are one binary, because each would link libtorch anew.
//!
//! - [`help`]: `--help` and `list`
//! - [`commands`]: every command in the documentation parses, and every link leads to a file
//! - [`arrows`]: every import points down, and there is no circle of imports
//! - [`custom`]: commands on an environment of a user's own
//! - [`train`]: a short real run, its files, its repetition from the same seed, layers of settings
//! - [`fit`]: a short fit of a generative model, its files, measures and pictures
//! - [`resume`]: a resumed run has the same bytes as an uninterrupted one; damaged checkpoints
//! - [`compare`]: a small comparison of encoders, and its continuation after runs were lost
//! - [`reproduce`]: baselines that are trained again
//! - [`sweep`]: searches over settings, killed, edited and with trials that fail
//! - [`eval`]: scores, and their names in JSON
//! - [`encoder`]: modes of a fitted encoder, messages about it, impossible modes
//! - [`table`]: the table of an agent as text, picture and JSON
//! - [`trace`]: given actions, row by row and as a NumPy array
//! - [`probe`]: probes of encoders, as table, JSON and picture
//! - [`json`]: summaries for programs
//! - [`origin`]: runs that begin at the weights of another
//! - [`plot`]: several metrics in one figure; figures as PNG
//! - [`tensorboard`]: event files, read back record by record
//! - [`report`]: a page about runs that holds all that it shows
//! - [`data`]: descriptions of data sets, and damaged copies
//! - [`kept`]: what is never lost: foreign files, and what a run was made from
//! - [`processes`]: two processes that want the same run or encoder, and signals
//! - [`places`]: where files are written; paths of any bytes
//! - [`rbm`]: an RBM with two hidden units on six films
//! - [`watch`]: an episode as a GIF; messages of `watch` and `play` without a terminal
//! - [`heard`]: every setting is heard or refused; short runs, caps, devices, names of another kind
//! - [`mistakes`]: messages of likely mistakes, which leave no file behind

mod arrows;
mod commands;
mod compare;
mod custom;
mod data;
mod encoder;
mod eval;
mod fit;
mod heard;
mod help;
mod json;
mod kept;
mod mistakes;
mod origin;
mod places;
mod plot;
mod preloaded;
mod probe;
mod processes;
mod program;
mod rbm;
mod report;
mod reproduce;
mod resume;
mod sweep;
mod table;
mod tensorboard;
mod trace;
mod train;
mod watch;
