//! The colours that a terminal can show.

use ratatui::style::Color;

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// 24 bits.
    True,
    /// xterm's 256.
    Palette,
}

impl Depth {
    /// Returns the depth that the variable `COLORTERM` announces; terminals with 24 bits set it.
    pub(crate) fn of(colorterm: Option<&str>) -> Self {
        match colorterm {
            Some("truecolor" | "24bit") => Depth::True,
            _ => Depth::Palette,
        }
    }

    /// Returns the terminal's colour nearest to `rgb`.
    pub(crate) fn colour(self, rgb: [u8; 3]) -> Color {
        match self {
            Depth::True => Color::from(rgb),
            Depth::Palette => Color::Indexed(nearest_index(rgb)),
        }
    }
}

/// Values of a channel in xterm's 6x6x6 cube, which are its colours 16 to 231.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Returns the nearest index in the cube or on the ramp of 24 grays that follows it: 8, 18, …, 238.
fn nearest_index(rgb: [u8; 3]) -> u8 {
    let distance =
        |other: [u8; 3]| -> i32 { rgb.iter().zip(other).map(|(&a, b)| (i32::from(a) - i32::from(b)).pow(2)).sum() };
    let levels = rgb.map(|value| (0..6_u8).min_by_key(|&level| CUBE[level as usize].abs_diff(value)).unwrap_or(0));
    let mean = rgb.iter().map(|&value| u32::from(value)).sum::<u32>() / 3;
    let gray = (mean.saturating_sub(3) / 10).min(23) as u8;
    let in_cube = levels.map(|level| CUBE[level as usize]);
    if distance([8 + 10 * gray; 3]) < distance(in_cube) {
        232 + gray
    } else {
        16 + 36 * levels[0] + 6 * levels[1] + levels[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_256_colours_is_found() {
        let cases = [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([200, 72, 72], 167),
            ([142, 142, 142], 245),
            ([238, 238, 238], 255),
            ([9, 8, 8], 232),
        ];
        for (rgb, index) in cases {
            assert_eq!(Depth::Palette.colour(rgb), Color::Indexed(index), "{rgb:?}");
        }
        assert_eq!(Depth::of(Some("truecolor")), Depth::True);
        assert_eq!((Depth::of(Some("")), Depth::of(None)), (Depth::Palette, Depth::Palette));
    }
}
