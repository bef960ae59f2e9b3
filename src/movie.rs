//! Animated GIFs of pictures. Colours are exact in frames of at most 256 colours.

use anyhow::{Context, Result};
use carom_envs::Picture;
use gif::{Encoder, Frame, Repeat};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;

/// Smallest width of a GIF in pixels. Smaller pictures are enlarged by a whole factor.
const MIN_WIDTH: usize = 240;

/// Shortest time of a frame in hundredths of a second. Viewers replace a shorter one by a tenth of a second.
const MIN_DELAY: u64 = 2;

/// Longest time of a frame in hundredths of a second, a number of 16 bits in the file.
const MAX_DELAY: u64 = u16::MAX as u64;

/// A GIF being written.
pub(crate) struct Movie<W: Write> {
    encoder: Encoder<W>,
    size: (usize, usize),
    factor: usize,
    /// The picture after the frames written so far.
    written: Option<Picture>,
    /// The next frame and the time of its start. It is written when another follows, which ends it.
    pending: Option<(Picture, u64)>,
    seconds: f64,
    n_frames: u64,
}

impl<W: Write> Movie<W> {
    /// Begins a GIF for pictures of the size of `picture`.
    ///
    /// # Errors
    /// When `out` cannot be written, or the picture is too large for a GIF.
    pub(crate) fn new(out: W, picture: &Picture) -> Result<Self> {
        let size = (picture.width, picture.height);
        let factor = MIN_WIDTH.div_ceil(size.0);
        let enlarged = |length: usize| u16::try_from(length * factor).context("the picture is too large for a GIF");
        let (width, height) = (enlarged(size.0)?, enlarged(size.1)?);
        let mut encoder = Encoder::new(out, width, height, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        Ok(Self { encoder, size, factor, written: None, pending: None, seconds: 0.0, n_frames: 0 })
    }

    /// Appends `picture`, shown for `seconds`.
    ///
    /// # Errors
    /// When the GIF cannot be written.
    pub(crate) fn show(&mut self, picture: &Picture, seconds: f64) -> Result<()> {
        assert_eq!((picture.width, picture.height), self.size, "pictures of a movie have one size");
        let now = self.now();
        self.seconds += seconds;
        match self.pending.take() {
            Some((pending, since)) if pending == *picture => self.pending = Some((pending, since)),
            // Too soon for another frame: it replaces the one before.
            Some((_, since)) if now < since + MIN_DELAY => self.pending = Some((picture.clone(), since)),
            Some((pending, since)) => {
                self.write(&pending, now - since)?;
                self.pending = Some((picture.clone(), now));
            }
            None => self.pending = Some((picture.clone(), now)),
        }
        Ok(())
    }

    /// Writes the last frame and returns the number of frames.
    ///
    /// # Errors
    /// When the GIF cannot be written.
    pub(crate) fn finish(mut self) -> Result<u64> {
        if let Some((pending, since)) = self.pending.take() {
            self.write(&pending, (self.now() - since).max(MIN_DELAY))?;
        }
        self.encoder.into_inner()?;
        Ok(self.n_frames)
    }

    /// Returns the time since the start in hundredths of a second.
    fn now(&self) -> u64 {
        (100.0 * self.seconds).round() as u64
    }

    /// Writes `picture`, shown for `delay`: as several frames of about equal time if that is too long for one.
    fn write(&mut self, picture: &Picture, delay: u64) -> Result<()> {
        let mut left = delay;
        while left > 0 {
            let delay = left / left.div_ceil(MAX_DELAY);
            self.write_frame(picture, delay as u16)?;
            left -= delay;
        }
        Ok(())
    }

    fn write_frame(&mut self, picture: &Picture, delay: u16) -> Result<()> {
        let region = match &self.written {
            Some(written) => difference(written, picture).unwrap_or(Region { left: 0, top: 0, width: 1, height: 1 }),
            None => Region { left: 0, top: 0, width: picture.width, height: picture.height },
        };
        let mut frame = indexed(&region.cut(picture), region.width, region.height);
        let enlarged = enlarge(&frame.buffer, region.width, self.factor);
        frame.buffer = Cow::Owned(enlarged);
        let side = |length: usize| (length * self.factor) as u16;
        (frame.left, frame.top) = (side(region.left), side(region.top));
        (frame.width, frame.height) = (side(region.width), side(region.height));
        frame.delay = delay;
        self.encoder.write_frame(&frame)?;
        self.written = Some(picture.clone());
        self.n_frames += 1;
        Ok(())
    }
}

/// A rectangle of a picture.
#[derive(Debug, PartialEq, Eq)]
struct Region {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Region {
    fn cut(&self, picture: &Picture) -> Vec<u8> {
        let rows = picture.rgb.chunks_exact(3 * picture.width).skip(self.top).take(self.height);
        rows.flat_map(|row| &row[3 * self.left..3 * (self.left + self.width)]).copied().collect()
    }
}

/// Returns the smallest region outside which both pictures are equal; `None` if they are equal everywhere.
fn difference(a: &Picture, b: &Picture) -> Option<Region> {
    let pixel = |picture: &Picture, x: usize, y: usize| {
        let at = 3 * (y * picture.width + x);
        [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
    };
    let differs = |x: usize, y: usize| pixel(a, x, y) != pixel(b, x, y);
    let row_differs = |&y: &usize| (0..a.width).any(|x| differs(x, y));
    let (top, bottom) = ((0..a.height).find(row_differs)?, (0..a.height).rfind(row_differs)?);
    let column_differs = |&x: &usize| (top..=bottom).any(|y| differs(x, y));
    let (left, right) = ((0..a.width).find(column_differs)?, (0..a.width).rfind(column_differs)?);
    Some(Region { left, top, width: right + 1 - left, height: bottom + 1 - top })
}

/// Returns a frame with a palette of its own: its exact colours, or the 256 that approximate them best.
fn indexed(rgb: &[u8], width: usize, height: usize) -> Frame<'static> {
    let (mut indices, mut palette) = (HashMap::new(), Vec::new());
    let mut buffer = Vec::with_capacity(width * height);
    for pixel in rgb.chunks_exact(3) {
        let next = indices.len();
        let index = *indices.entry([pixel[0], pixel[1], pixel[2]]).or_insert_with(|| {
            palette.extend_from_slice(pixel);
            next
        });
        match u8::try_from(index) {
            Ok(index) => buffer.push(index),
            Err(_) => return Frame::from_rgb_speed(width as u16, height as u16, rgb, 10),
        }
    }
    Frame { buffer: Cow::Owned(buffer), palette: Some(palette), ..Frame::default() }
}

/// Returns the pixels with each one repeated as a square of `factor` by `factor`.
fn enlarge(indices: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let rows = indices.chunks_exact(width);
    rows.flat_map(|row| {
        let row: Vec<u8> = row.iter().flat_map(|&index| std::iter::repeat_n(index, factor)).collect();
        row.repeat(factor)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the frames as a viewer shows them, with their delays.
    fn frames(gif: &[u8]) -> Vec<(Picture, u16)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(gif).expect("a GIF");
        let mut shown = Picture::filled(decoder.width().into(), decoder.height().into(), [0; 3]);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().expect("a whole GIF") {
            for (at, pixel) in frame.buffer.chunks_exact(4).enumerate() {
                let (x, y) = (at % usize::from(frame.width), at / usize::from(frame.width));
                let colour = [pixel[0], pixel[1], pixel[2]];
                shown.fill_rect(x + usize::from(frame.left), y + usize::from(frame.top), 1, 1, colour);
            }
            frames.push((shown.clone(), frame.delay));
        }
        frames
    }

    #[test]
    fn pictures_come_back_enlarged_and_in_their_colours() {
        let mut gif = Vec::new();
        let first = Picture::filled(100, 3, [1, 2, 3]);
        let mut second = first.clone();
        second.fill_rect(40, 1, 2, 1, [200, 72, 72]);
        let mut movie = Movie::new(&mut gif, &first).expect("made");
        // 15 a second: the delays make up for being whole hundredths.
        for (picture, seconds) in [(&first, 1.0 / 15.0), (&second, 2.0 / 15.0), (&second, 1.0 / 15.0), (&first, 1.0)] {
            movie.show(picture, seconds).expect("shown");
        }
        assert_eq!(movie.finish().expect("written"), 3);
        let frames = frames(&gif);
        assert_eq!(frames.iter().map(|frame| frame.1).collect::<Vec<_>>(), [7, 20, 100]);
        let mut large = Picture::filled(300, 9, [1, 2, 3]);
        assert!(frames[0].0 == large && frames[2].0 == large);
        large.fill_rect(120, 3, 6, 3, [200, 72, 72]);
        assert!(frames[1].0 == large);
    }

    #[test]
    fn fast_pictures_are_thinned_out_and_the_last_is_kept() {
        let mut gif = Vec::new();
        let picture = |value: u8| Picture::filled(240, 1, [value; 3]);
        let mut movie = Movie::new(&mut gif, &picture(0)).expect("made");
        (0..=100).for_each(|value| movie.show(&picture(value), 0.01).expect("shown"));
        movie.finish().expect("written");
        let frames = frames(&gif);
        assert!(
            frames.iter().all(|frame| frame.1 >= 2),
            "{:?}",
            frames.iter().map(|frame| frame.1).collect::<Vec<_>>()
        );
        assert_eq!((frames.len(), &frames[50].0), (51, &picture(100)));
    }

    #[test]
    fn a_picture_that_is_shown_for_long_takes_several_frames() {
        let mut gif = Vec::new();
        let (still, last) = (Picture::filled(240, 2, [9; 3]), Picture::filled(240, 2, [7; 3]));
        let mut movie = Movie::new(&mut gif, &still).expect("made");
        movie.show(&still, 655.36).expect("shown");
        movie.show(&last, 2000.0).expect("shown");
        movie.finish().expect("written");
        let frames = frames(&gif);
        let delays =
            |of: &Picture| frames.iter().filter(|frame| frame.0 == *of).map(|frame| frame.1).collect::<Vec<_>>();
        // One hundredth alone would be shown for a tenth of a second.
        assert_eq!(delays(&still), [32_768; 2]);
        assert_eq!(delays(&last), [50_000; 4]);
    }

    #[test]
    fn many_colours_are_approximated() {
        let mut gif = Vec::new();
        let rgb = (0..240 * 10).flat_map(|at| [(at % 240) as u8, (at / 240 * 20) as u8, 90]).collect();
        let picture = Picture { width: 240, height: 10, rgb };
        let mut movie = Movie::new(&mut gif, &picture).expect("made");
        movie.show(&picture, 1.0).expect("shown");
        movie.finish().expect("written");
        let shown = &frames(&gif)[0].0;
        let error: u64 = shown.rgb.iter().zip(&picture.rgb).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
        assert!(error / (picture.rgb.len() as u64) < 12, "{error}");
    }
}
