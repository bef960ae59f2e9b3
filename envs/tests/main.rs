//! Tests of the environments from outside the crate.

mod breakout; // Atari's: known scores, factors, restore at any frame
mod golden; // step for step against MinAtar and Gymnasium
mod minatar; // settings, players that know the rules
mod properties; // what every environment promises
mod registry; // settings, their errors, protocol names
mod saved_states; // all of play are restored, damaged ones are refused or harmless
mod vec_env; // time limits, automatic reset, save and restore
