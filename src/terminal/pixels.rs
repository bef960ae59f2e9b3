//! Pictures as cells of a terminal: two pixels in one cell.

use super::colour::Depth;
use carom_envs::Picture;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::widgets::Widget;

/// The foreground is the upper pixel, the background the lower one.
const UPPER_HALF: &str = "▀";

/// Draws a picture from the upper left corner of its area; parts that do not fit are left out.
pub(super) struct Pixels<'a> {
    pub(super) picture: &'a Picture,
    pub(super) depth: Depth,
}

impl Pixels<'_> {
    /// Returns the colour of a pixel: the terminal's own below the last row of a picture of odd height.
    fn colour(&self, x: usize, y: usize) -> Color {
        let start = 3 * (y * self.picture.width + x);
        match self.picture.rgb.get(start..start + 3) {
            Some(rgb) => self.depth.colour([rgb[0], rgb[1], rgb[2]]),
            None => Color::Reset,
        }
    }
}

impl Widget for Pixels<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let columns = self.picture.width.min(area.width.into());
        let rows = self.picture.height.div_ceil(2).min(area.height.into());
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let (upper, lower) = (self.colour(column, 2 * row), self.colour(column, 2 * row + 1));
            let mut cell = Cell::EMPTY;
            cell.set_bg(lower);
            // A cell of one colour is a blank, so that fonts whose half block has gaps show none.
            if upper != lower {
                cell.set_symbol(UPPER_HALF).set_fg(upper);
            }
            buffer[(area.x + column as u16, area.y + row as u16)] = cell;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    fn drawn(picture: &Picture, area: Rect, buffer: Rect) -> Buffer {
        let mut buffer = Buffer::empty(buffer);
        Pixels { picture, depth: Depth::True }.render(area, &mut buffer);
        buffer
    }

    #[test]
    fn two_pixels_make_a_cell() {
        // Columns: red over blue, green over green; a third row alone in its cells.
        let mut picture = Picture::filled(2, 3, [0, 255, 0]);
        picture.fill_rect(0, 0, 1, 1, [255, 0, 0]);
        picture.fill_rect(0, 1, 1, 1, [0, 0, 255]);
        let mut expected = Buffer::with_lines([" ▀  ", " ▀▀ ", "    "]);
        let [red, green, blue] = [Color::Rgb(255, 0, 0), Color::Rgb(0, 255, 0), Color::Rgb(0, 0, 255)];
        expected.set_style(Rect::new(1, 0, 1, 1), Style::new().fg(red).bg(blue));
        expected.set_style(Rect::new(2, 0, 1, 1), Style::new().bg(green));
        expected.set_style(Rect::new(1, 1, 2, 1), Style::new().fg(green));
        assert_eq!(drawn(&picture, Rect::new(1, 0, 3, 3), Rect::new(0, 0, 4, 3)), expected);
    }

    #[test]
    fn parts_that_do_not_fit_are_left_out() {
        let mut expected = Buffer::empty(Rect::new(0, 0, 3, 1));
        expected.set_style(Rect::new(2, 0, 1, 1), Style::new().bg(Color::Rgb(1, 1, 1)));
        let picture = Picture::filled(5, 9, [1, 1, 1]);
        assert_eq!(drawn(&picture, Rect::new(2, 0, 5, 5), Rect::new(0, 0, 3, 1)), expected);
    }
}
