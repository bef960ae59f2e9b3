//! Pictures of observations.

use super::grid::SIZE;
use crate::picture::Picture;

/// How a picture shows the cells of one channel.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub(super) channel: usize,
    /// Pixels between the edge of the cell and the colour.
    pub(super) margin: usize,
    /// Red, green and blue, by row; from the first again when they are used up.
    pub(super) colours: &'static [[u8; 3]],
}

pub(super) const PLAYER: [u8; 3] = [96, 164, 226];
pub(super) const TRAIL: [u8; 3] = [92, 98, 116];
pub(super) const ENEMY: [u8; 3] = [214, 84, 72];
pub(super) const TREASURE: [u8; 3] = [224, 196, 84];
pub(super) const SHOT: [u8; 3] = [244, 244, 240];

const GROUND: [u8; 3] = [24, 26, 34];
/// Pixels of a cell's side.
const CELL: usize = 16;

/// Draws an observation, `[10, 10, n_channels]`.
pub(super) fn picture(obs: &[u8], looks: &[Look], n_channels: usize) -> Picture {
    let size = SIZE as usize;
    let mut picture = Picture::filled(size * CELL, size * CELL, GROUND);
    for Look { channel, margin, colours } in looks {
        for (cell, _) in obs.chunks_exact(n_channels).enumerate().filter(|(_, cell)| cell[*channel] != 0) {
            let (row, column) = (cell / size, cell % size);
            let width = CELL - 2 * margin;
            picture.fill_rect(column * CELL + margin, row * CELL + margin, width, width, colours[row % colours.len()]);
        }
    }
    picture
}
