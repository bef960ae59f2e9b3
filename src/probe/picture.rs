//! Pictures of probes: frames and their reconstructions, with the true ball or player framed.

use crate::files;
use crate::gallery::grid::{self, Channels, GAP, grid, stack};
use anyhow::{Context, Result, bail};
use carom_envs::Picture;
use std::io::Write;
use std::path::Path;
use tch::Tensor;

/// Frames in a row.
pub(super) const COLUMNS: usize = 10;

/// Colour of the frame around the ball.
const MARK: [u8; 3] = [255, 70, 60];
/// Distance in pixels from the ball's middle to the frame around it in large images. In small images a cell is framed.
const REACH: f32 = 5.0;
/// Width of the column of names in an SVG, in pixels.
const NAMES: usize = 110;
/// Size of the names' letters in pixels.
const NAME_SIZE: usize = 13;

/// Writes rows of images, each `[n, channels, rows, columns]`, with `object` framed where `balls` says, to a PNG, or
/// under their names to an SVG.
///
/// # Errors
/// When `path` ends in neither `.png` nor `.svg`, or cannot be written.
pub(super) fn write(path: &Path, object: &str, rows: &[(String, Tensor)], balls: &[[f32; 2]]) -> Result<()> {
    let pictures: Vec<Picture> = rows.iter().map(|(_, images)| row(images, balls)).collect();
    let picture = stack(&pictures, 0);
    match format(path)? {
        PictureFormat::Png => {
            let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
            let caption = format!("Test frames with the true {object} framed. Rows: {}.", names.join(", "));
            grid::write_captioned(path, &picture, &caption)
        }
        PictureFormat::Svg => {
            let names = rows.iter().map(|(name, _)| name.as_str());
            let text = svg(&picture, pictures[0].height, names)? + &files::svg_mark();
            files::write_whole(path, |file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))
        }
    }
}

/// File format of a picture.
pub(crate) enum PictureFormat {
    Png,
    Svg,
}

/// Returns the format for the ending of `path`.
///
/// # Errors
/// When the ending is neither `.png` nor `.svg`.
pub(crate) fn format(path: &Path) -> Result<PictureFormat> {
    match path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("png") => Ok(PictureFormat::Png),
        Some("svg") => Ok(PictureFormat::Svg),
        _ => bail!("-o {}: the picture is a PNG or an SVG; give a name that ends in .png or .svg", path.display()),
    }
}

/// Draws a row of images with framed balls.
fn row(images: &Tensor, balls: &[[f32; 2]]) -> Picture {
    // Environments observe planes, or gray pixels in one channel.
    let mut picture = grid(images, Channels::Planes, balls.len(), GAP);
    let (size, n) = (images.size(), balls.len());
    let [height, width] =
        [(picture.height - 2 * GAP) as f32 / size[2] as f32, ((picture.width - GAP) / n - GAP) as f32 / size[3] as f32];
    let is_small = width > 1.0;
    let reach = if is_small { width / 2.0 } else { REACH };
    for (i, [y, x]) in balls.iter().enumerate() {
        let origin = (GAP + i * ((picture.width - GAP) / n)) as f32;
        let middle = [origin + x * width, GAP as f32 + y * height];
        let [left, top] = middle.map(|at| (at - reach).max(0.0) as usize);
        let edge = (2.0 * reach) as usize;
        for (x, y, width, height) in [
            (left, top, edge + 1, 1),
            (left, top + edge, edge + 1, 1),
            (left, top, 1, edge + 1),
            (left + edge, top, 1, edge + 1),
        ] {
            picture.fill_rect(x, y, width, height, MARK);
        }
    }
    picture
}

/// Returns the picture as an SVG with the names of its rows, which are `row_height` pixels high, at the left.
fn svg<'a>(picture: &Picture, row_height: usize, names: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut png = vec![];
    grid::encode(picture, None, &mut png)?;
    let Picture { width, height, .. } = picture;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width + NAMES
    );
    for (i, name) in names.enumerate() {
        let name = name.rsplit('/').next().unwrap_or(name).replace('&', "&amp;").replace('<', "&lt;");
        let x = NAMES - 8;
        let y = i * row_height + row_height / 2 + NAME_SIZE / 3;
        text += &format!(
            "<text x=\"{x}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"{NAME_SIZE}\" \
             text-anchor=\"end\">{name}</text>\n"
        );
    }
    text += &format!(
        "<image x=\"{NAMES}\" width=\"{width}\" height=\"{height}\" href=\"data:image/png;base64,{}\"/>\n</svg>\n",
        base64(&png)
    );
    Ok(text)
}

/// Encodes `bytes` as Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfcs_examples() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_ball_is_framed_where_it_is() {
        let images = Tensor::zeros([2, 4, 10, 10], (tch::Kind::Float, tch::Device::Cpu));
        let picture = row(&images, &[[0.5, 0.5], [7.5, 3.5]]);
        let pixel = |x: usize, y: usize| &picture.rgb[3 * (y * picture.width + x)..][..3];
        // Cells of 5 pixels; the second image begins 52 pixels after the first.
        assert_eq!(pixel(GAP, GAP), MARK);
        assert_eq!(pixel(52 + GAP + 3 * 5, GAP + 7 * 5), MARK);
        assert_ne!(pixel(52 + GAP + 3 * 5 + 2, GAP + 7 * 5 + 2), MARK);
        assert_ne!(pixel(52 + GAP + 3 * 5 - 1, GAP + 7 * 5), MARK);
    }
}
