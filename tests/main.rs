//! The program as a person meets it. One binary, so that it links once:
//!
//! - [`help`]: what the program says about itself, and `list`
//! - [`commands`]: every command in the documentation parses, and every link leads to a file
//! - [`arrows`]: every import points down, and none leads back to where it came from
//! - [`custom`]: the commands on an environment of a user's own
//! - [`train`]: a short real run, what it leaves behind, the same again from the same seed, settings by layer
//! - [`fit`]: the same of a generative model, its measures, and what can be seen of it
//! - [`resume`]: stopping and going on leaves the same bytes as never stopping; damaged checkpoints
//! - [`compare`]: a small comparison of encoders, made only once, and mended where it was cut off
//! - [`eval`]: scores, and their names in JSON
//! - [`encoder`]: what modes do to a fitted encoder, what is told of it, and which are impossible
//! - [`trace`]: given actions, row by row and as a NumPy array
//! - [`probe`]: what encoders keep of the true state, as table, JSON and picture
//! - [`data`]: what a data set is, and own copies that are not what they should be
//! - [`rbm`]: what two hidden units make of six films
//! - [`watch`]: an episode as a GIF; what `watch` and `play` say without a terminal
//! - [`mistakes`]: each likely mistake, its message, and nothing half-written

mod arrows;
mod commands;
mod compare;
mod custom;
mod data;
mod encoder;
mod eval;
mod fit;
mod help;
mod mistakes;
mod probe;
mod program;
mod rbm;
mod resume;
mod trace;
mod train;
mod watch;
