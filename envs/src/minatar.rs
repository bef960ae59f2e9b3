//! The MinAtar games: Atari's rules on a 10×10 grid (Young & Tian 2019).

pub mod breakout;
