//! A small RGB picture, for watching a game and for GIFs.

/// An RGB picture, row-major, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, rgb: colour.repeat(width * height) }
    }

    /// Colours the rectangle whose upper left corner is `(x, y)`. Pixels outside the picture are left out.
    pub fn fill_rect(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        for row in y..y.saturating_add(height).min(self.height) {
            for column in x..x.saturating_add(width).min(self.width) {
                let at = 3 * (row * self.width + column);
                self.rgb[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    /// Draws a line of `thickness` pixels. Pixels outside the picture are left out.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), thickness: usize, colour: [u8; 3]) {
        let n_dots = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
        let half = thickness as f64 / 2.0;
        for dot in 0..=n_dots as usize {
            let along = dot as f64 / n_dots;
            let (x, y) = (from.0 + along * (to.0 - from.0) - half, from.1 + along * (to.1 - from.1) - half);
            if x >= 0.0 && y >= 0.0 {
                self.fill_rect(x as usize, y as usize, thickness, thickness, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_outside_the_picture_are_left_out() {
        let empty = Picture::filled(3, 2, [0; 3]);
        let mut picture = empty.clone();
        picture.fill_rect(usize::MAX, 0, 4, 4, [9; 3]);
        picture.fill_rect(0, usize::MAX, 4, 4, [9; 3]);
        assert_eq!(picture, empty);
        picture.fill_rect(2, 1, usize::MAX, usize::MAX, [9; 3]);
        assert_eq!(picture.rgb[15..], [9; 3]);
        assert_eq!(picture.rgb[..15], [0; 15]);
    }
}
