//! Images as pictures, pictures in grids, grids as PNG files.

use super::caption::captioned;
use crate::files;
use crate::generative::images::Data;
use anyhow::{Context, Result};
use carom_agents::net::tensor::to_vec;
use carom_envs::Picture;
use std::io::Write;
use std::path::Path;
use tch::Tensor;

/// Pixels between two images.
pub(crate) const GAP: usize = 2;

/// Minimum side of an image in pixels. Smaller images are enlarged by a whole factor.
const MIN_SIDE: usize = 48;

/// Colour between images and of empty cells in the last row.
const BETWEEN: [u8; 3] = [64, 64, 64];

/// Background of planes, and of colours that are not opaque.
const GROUND: [u8; 3] = [24, 26, 34];

/// Colours of planes: those of MinAtar Breakout's paddle, ball, trail and bricks as `carom watch` shows them, then
/// others. MinAtar Seaquest has ten planes.
const PLANES: [[u8; 3]; 10] = [
    [96, 164, 226],
    [244, 244, 240],
    [92, 98, 116],
    [214, 84, 72],
    [226, 148, 62],
    [126, 190, 120],
    [186, 130, 214],
    [224, 196, 84],
    [104, 200, 196],
    [222, 130, 170],
];

/// Meaning of an image's channels where they are neither one, which is gray, nor three, which are red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Four are red, green, blue and opacity. Of others the last three are shown.
    Colours,
    /// A stack of frames. The newest three are shown as red, green and blue, so static things are gray and moving
    /// things are coloured.
    Frames,
    /// Each plane has its own colour, with its value as opacity, and the first is on top.
    Planes,
}

impl Channels {
    /// Returns the meaning of the channels of `data`, and of a model's images of them.
    pub(crate) fn of(data: &Data) -> Self {
        match data.n_frames {
            _ if data.train.is_binary() => Self::Planes,
            1 => Self::Colours,
            _ => Self::Frames,
        }
    }
}

/// Arranges `images`, `[n, channels, rows, columns]` in 0..=1, row by row in `columns` columns (fewer if there are
/// fewer images), `gap` pixels apart. Small images are enlarged.
///
/// # Panics
/// When there are no images, or no columns.
pub(crate) fn grid(images: &Tensor, channels: Channels, columns: usize, gap: usize) -> Picture {
    let size = images.size();
    let [n, n_channels, rows, width] = [0, 1, 2, 3].map(|dim| size[dim] as usize);
    assert!(n > 0 && columns > 0, "{n} images in {columns} columns");
    let columns = columns.min(n);
    let factor = MIN_SIDE.div_ceil(rows.max(width)).max(1);
    let (cell_width, cell_height) = (width * factor + gap, rows * factor + gap);
    let (across, down) = (columns * cell_width + gap, n.div_ceil(columns) * cell_height + gap);
    let mut picture = Picture::filled(across, down, BETWEEN);
    for (idx, image) in to_vec(&images.contiguous()).chunks_exact(n_channels * rows * width).enumerate() {
        let (left, top) = (gap + idx % columns * cell_width, gap + idx / columns * cell_height);
        for pixel in 0..rows * width {
            let colour = colour(image.iter().skip(pixel).step_by(rows * width).copied(), channels);
            let (x, y) = (left + pixel % width * factor, top + pixel / width * factor);
            picture.fill_rect(x, y, factor, factor, colour);
        }
    }
    picture
}

/// Returns the colour of one pixel with these values of its channels.
fn colour(mut values: impl DoubleEndedIterator<Item = f32> + ExactSizeIterator + Clone, channels: Channels) -> [u8; 3] {
    let byte = |value: f32| (255.0 * value.clamp(0.0, 1.0)).round() as u8;
    match (channels, values.len()) {
        (Channels::Planes, n) if n != 1 && n != 3 => {
            let planes = values.zip((0..n).map(|plane| PLANES[plane % PLANES.len()]));
            planes.rev().fold(GROUND, |below, (opacity, plane)| mix(below, plane, opacity))
        }
        (Channels::Colours, 4) => {
            let opacity = values.next_back().expect("the last of four");
            let rgb = std::array::from_fn(|_| byte(values.next().expect("the first three of four")));
            mix(GROUND, rgb, opacity)
        }
        (_, n) => {
            let mut newest = values.skip(n.saturating_sub(3)).map(byte).cycle();
            std::array::from_fn(|_| newest.next().expect("it goes round"))
        }
    }
}

/// Returns `below` covered by `above` of this opacity.
fn mix(below: [u8; 3], above: [u8; 3], opacity: f32) -> [u8; 3] {
    let opacity = opacity.clamp(0.0, 1.0);
    let mix = |below: u8, above: u8| (f32::from(below) * (1.0 - opacity) + f32::from(above) * opacity).round();
    std::array::from_fn(|i| mix(below[i], above[i]) as u8)
}

/// Stacks `pictures` vertically, `gap` pixels apart.
pub(crate) fn stack(pictures: &[Picture], gap: usize) -> Picture {
    let width = pictures.iter().map(|picture| picture.width).max().unwrap_or(0);
    let height = pictures.iter().map(|picture| picture.height + gap).sum::<usize>().saturating_sub(gap);
    let mut stacked = Picture::filled(width, height, BETWEEN);
    let mut top = 0;
    for picture in pictures {
        let rows = stacked.rgb[3 * width * top..].chunks_exact_mut(3 * width);
        for (to, from) in rows.zip(picture.rgb.chunks_exact(3 * picture.width)) {
            to[..from.len()].copy_from_slice(from);
        }
        top += picture.height + gap;
    }
    stacked
}

/// Writes `picture` with `caption` below it to `path` as a PNG, which holds the caption as its description too.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_captioned(path: &Path, picture: &Picture, caption: &str) -> Result<()> {
    let page = captioned(picture, caption);
    files::write_whole(path, |file| encode(&page, Some(caption), file))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes `picture` to `to` as a PNG, with `caption` as its description, if any. A picture without colour is written as
/// gray.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn encode(picture: &Picture, caption: Option<&str>, to: impl Write) -> Result<()> {
    let mut encoder = png::Encoder::new(to, picture.width as u32, picture.height as u32);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    encoder.add_text_chunk("Software".to_owned(), files::MARK.to_owned())?;
    if let Some(caption) = caption {
        encoder.add_itxt_chunk("Description".to_owned(), caption.to_owned())?;
    }
    let is_gray = picture.rgb.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
    encoder.set_color(if is_gray { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    let mut writer = encoder.write_header()?;
    match is_gray {
        true => writer.write_image_data(&picture.rgb.iter().step_by(3).copied().collect::<Vec<_>>())?,
        false => writer.write_image_data(&picture.rgb)?,
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use fs_err as fs;

    fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        std::array::from_fn(|i| picture.rgb[3 * (y * picture.width + x) + i])
    }

    #[test]
    fn images_stand_row_by_row_a_gap_apart() {
        let images = Tensor::from_slice(&[0.0_f32, 0.5, 1.0]).view([3, 1, 1, 1]);
        let picture = grid(&images, Channels::Colours, 2, 3);
        let cell = MIN_SIDE + 3;
        assert_eq!((picture.width, picture.height), (2 * cell + 3, 2 * cell + 3));
        assert_eq!(pixel(&picture, 2, 2), BETWEEN);
        assert_eq!(pixel(&picture, 3, 3), [0; 3]);
        assert_eq!(pixel(&picture, 3 + cell, 3), [128; 3]);
        assert_eq!(pixel(&picture, 3 + MIN_SIDE - 1, 3 + cell), [255; 3]);
        assert_eq!(pixel(&picture, 3 + cell, 3 + cell), BETWEEN);
    }

    #[test]
    fn channels_are_gray_or_colours_or_frames_or_planes() {
        let picture = |channels: &[f32]| colour(channels.iter().copied(), Channels::Frames);
        assert_eq!(picture(&[1.0]), [255; 3]);
        assert_eq!(picture(&[1.0, 0.0, 2.0]), [255, 0, 255]);
        assert_eq!(picture(&[1.0, 0.0, 0.0, 1.0]), [0, 0, 255], "a frame stack's newest is blue");
        let rgba = |channels: &[f32]| colour(channels.iter().copied(), Channels::Colours);
        assert_eq!(rgba(&[1.0, 0.0, 0.2, 1.0]), [255, 0, 51]);
        assert_eq!(rgba(&[1.0, 0.0, 0.2, 0.0]), GROUND, "what is not opaque is not seen");
        let of = |channels: &[f32]| colour(channels.iter().copied(), Channels::Planes);
        assert_eq!(of(&[0.0; 4]), GROUND);
        assert_eq!(of(&[0.0, 1.0, 1.0, 0.0]), PLANES[1], "the ball hides its trail");
        assert_eq!(of(&[0.0, 0.5]), [134, 135, 137]);
        assert_eq!(of(&[0.0; 9]), GROUND);
    }

    #[test]
    fn the_data_and_not_the_size_of_an_image_say_what_its_channels_are() {
        let channels = |max, n_frames| {
            let split = Split::new([4, 1, 1], vec![0; 8], vec![]);
            let (name, test) = (String::new(), split.clone());
            let dataset = Dataset { name, shape: [4, 1, 1], max, n_classes: 0, train: split, test };
            Channels::of(&Data { n_frames, ..Data::new(&dataset, tch::Device::Cpu) })
        };
        assert_eq!(channels(255, 1), Channels::Colours);
        assert_eq!(channels(255, 4), Channels::Frames);
        assert_eq!([channels(1, 1), channels(1, 2)], [Channels::Planes; 2]);
    }

    #[test]
    fn a_png_reads_back() {
        let gray = stack(&[Picture::filled(5, 2, [9; 3]), Picture::filled(3, 1, [7; 3])], 1);
        let coloured = Picture::filled(4, 4, [1, 2, 3]);
        for (picture, expected) in [(&gray, png::ColorType::Grayscale), (&coloured, png::ColorType::Rgb)] {
            let mut file = vec![];
            encode(picture, None, &mut file).expect("memory takes all");
            let mut reader = png::Decoder::new(Cursor::new(file)).read_info().expect("a PNG");
            let mut bytes = vec![0; reader.output_buffer_size().expect("small")];
            let info = reader.next_frame(&mut bytes).expect("an image");
            assert_eq!(info.color_type, expected);
            assert_eq!((info.width as usize, info.height as usize), (picture.width, picture.height));
            let step = picture.rgb.len() / info.buffer_size();
            assert!(bytes[..info.buffer_size()].iter().eq(picture.rgb.iter().step_by(step)));
        }
        assert_eq!(gray.rgb[3 * 5 * 2], BETWEEN[0]);
    }

    #[test]
    fn a_picture_is_written_with_its_caption_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("plots/a.png");
        write_captioned(&path, &Picture::filled(4, 4, [1, 2, 3]), "Four by four.").expect("written");
        let bytes = fs::read(&path).expect("there");
        assert!(String::from_utf8_lossy(&bytes).contains("Four by four."));
        let names = fs::read_dir(folder.path().join("plots")).expect("readable");
        assert_eq!(names.count(), 1, "nothing is left beside it");
    }

    use std::io::Cursor;
}
