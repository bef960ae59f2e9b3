//! Captions: text below a picture.

use crate::generative::images::Data;
use carom_envs::Picture;
use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, iso_8859_1::FONT_7X13};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use std::convert::Infallible;

const FONT: MonoFont = FONT_7X13;
/// Pixels around a caption and between its lines.
const SPACE: usize = 4;
/// Minimum width of a picture with a caption, so that lines hold some words.
const MIN_WIDTH: usize = 360;
const PAPER: [u8; 3] = [255; 3];
const INK: Rgb888 = Rgb888::new(34, 34, 34);

/// Words common to the captions of a fit's pictures.
pub(crate) struct Captions {
    subject: String,
    /// Note on the pixels of data that are no pictures; else empty.
    pixels: String,
}

impl Captions {
    /// Makes captions that begin with `subject`, the model in words.
    pub(crate) fn new(subject: String, data: &Data) -> Self {
        let note = |names: &[&str]| format!(" Pixels, from left to right: {}.", names.join(", "));
        Self { subject, pixels: data.pixel_names().map(note).unwrap_or_default() }
    }

    /// Returns the model in words.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the caption of a picture that `text` describes.
    pub(crate) fn of(&self, text: &str) -> String {
        format!("{}. {text}{}", self.subject, self.pixels)
    }
}

/// Returns `picture` with `caption` below it, in lines of its width. A narrow picture is placed on wider paper.
pub(super) fn captioned(picture: &Picture, caption: &str) -> Picture {
    let width = picture.width.max(MIN_WIDTH);
    let size = FONT.character_size;
    let lines = wrap(caption, (width - 2 * SPACE) / size.width as usize);
    let line_height = size.height as usize + SPACE;
    let mut page = Picture::filled(width, picture.height + SPACE + lines.len() * line_height, PAPER);
    let rows = page.rgb.chunks_exact_mut(3 * width);
    for (to, from) in rows.zip(picture.rgb.chunks_exact(3 * picture.width)) {
        to[..from.len()].copy_from_slice(from);
    }
    for (i, line) in lines.iter().enumerate() {
        let at = Point::new(SPACE as i32, (picture.height + SPACE + i * line_height) as i32);
        let text = Text::with_baseline(line, at, MonoTextStyle::new(&FONT, INK), Baseline::Top);
        let Ok(_) = text.draw(&mut Canvas(&mut page));
    }
    page
}

/// Stacks `rows`, pictures with a label each, vertically and `gap` pixels apart; labels are left of the rows.
pub(super) fn labelled(rows: &[(String, Picture)], gap: usize) -> Picture {
    let letter = FONT.character_size;
    let longest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let left = longest * letter.width as usize + 2 * SPACE;
    let width = left + rows.iter().map(|(_, picture)| picture.width).max().unwrap_or(0);
    let height = rows.iter().map(|(_, picture)| picture.height + gap).sum::<usize>().saturating_sub(gap);
    let mut page = Picture::filled(width, height, PAPER);
    let mut top = 0;
    for (label, picture) in rows {
        let lines = page.rgb[3 * width * top..].chunks_exact_mut(3 * width);
        for (to, from) in lines.zip(picture.rgb.chunks_exact(3 * picture.width)) {
            to[3 * left..][..from.len()].copy_from_slice(from);
        }
        let middle = top + picture.height.saturating_sub(letter.height as usize) / 2;
        let at = Point::new(SPACE as i32, middle as i32);
        let text = Text::with_baseline(label, at, MonoTextStyle::new(&FONT, INK), Baseline::Top);
        let Ok(_) = text.draw(&mut Canvas(&mut page));
        top += picture.height + gap;
    }
    page
}

/// Breaks `text` at spaces into lines of at most `n_chars` characters, where a word is not longer.
fn wrap(text: &str, n_chars: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= n_chars => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A picture that text is drawn on.
struct Canvas<'a>(&'a mut Picture);

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.0.width as u32, self.0.height as u32)
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
                && x < self.0.width
                && y < self.0.height
            {
                self.0.fill_rect(x, y, 1, 1, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_left_of_their_rows() {
        let rows =
            [("I".to_owned(), Picture::filled(9, 20, [1; 3])), ("II".to_owned(), Picture::filled(5, 20, [2; 3]))];
        let page = labelled(&rows, 3);
        let left = 2 * 7 + 2 * SPACE;
        assert_eq!((page.width, page.height), (left + 9, 43));
        let pixel = |x: usize, y: usize| page.rgb[3 * (y * page.width + x)];
        assert_eq!((pixel(left, 0), pixel(left, 21), pixel(left, 23), pixel(left + 5, 23)), (1, 255, 2, 255));
        let has_ink = |top: usize| (top..top + 20).any(|y| (0..left).any(|x| pixel(x, y) == 34));
        assert!(has_ink(0) && has_ink(23));
    }

    #[test]
    fn a_caption_is_below_the_picture_in_lines_of_its_width() {
        let picture = Picture::filled(20, 10, [9; 3]);
        let page = captioned(&picture, &"words that need more than one line ".repeat(3));
        assert_eq!((page.width, page.height), (MIN_WIDTH, 10 + SPACE + 3 * 17));
        assert_eq!((&page.rgb[..3], &page.rgb[60..63]), (&[9; 3][..], &PAPER[..]));
        let row_has_ink = |y: usize| page.rgb[3 * y * MIN_WIDTH..3 * (y + 1) * MIN_WIDTH].contains(&34);
        assert!((0..3).all(|line| (0..13).any(|y| row_has_ink(14 + 17 * line + y))), "each line has letters");
        assert!(wrap("one word", 3).concat() == "oneword" && wrap("", 9).is_empty());
    }
}
