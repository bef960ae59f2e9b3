//! Resizing a picture to the space that a terminal has for it.

use carom_envs::Picture;
use std::collections::HashMap;

/// A whole factor keeps edges sharp. It is preferred if it is at least this share of the largest factor that fits.
const MIN_SHARE_OF_EXACT: f64 = 0.75;

/// Returns the width and height of a picture of `(width, height)` pixels that fills `space`. A pixel of the picture is
/// shown `aspect` times as wide as high.
pub(crate) fn fit((width, height): (usize, usize), aspect: f64, space: (usize, usize)) -> (usize, usize) {
    let (width, height) = (width as f64 * aspect, height as f64);
    let exact = (space.0 as f64 / width).min(space.1 as f64 / height);
    let whole = if exact >= 1.0 { exact.floor() } else { 1.0 / (1.0 / exact).ceil() };
    let scale = if whole >= MIN_SHARE_OF_EXACT * exact { whole } else { exact };
    let length = |length: f64, most: usize| ((length * scale).round() as usize).clamp(1, most.max(1));
    (length(width, space.0), length(height, space.1))
}

/// Returns the picture at another size. Each new pixel is a mean of the area that it covers.
///
/// A ball, a wall or a pole is thinner than a pixel of a small screen, and a plain mean would leave only a shadow of
/// it. So squares of the values are averaged, which is nearly the mean of the light, and rare colours get a larger
/// weight than the background.
pub(crate) fn resize(picture: &Picture, width: usize, height: usize) -> Picture {
    if (width, height) == (picture.width, picture.height) {
        return picture.clone();
    }
    let lights = lights(picture);
    let (across, down) = (Cover::all(picture.width, width), Cover::all(picture.height, height));
    let mut narrowed = vec![[0.0_f32; 4]; picture.height * width];
    for (row, out) in lights.chunks_exact(picture.width).zip(narrowed.chunks_exact_mut(width)) {
        for (cover, out) in across.iter().zip(out) {
            cover.weights.iter().zip(&row[cover.start..]).for_each(|(&share, light)| add(out, share, light));
        }
    }
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut sums = vec![[0.0; 4]; width];
    for cover in &down {
        sums.fill([0.0; 4]);
        for (&share, row) in cover.weights.iter().zip(narrowed[width * cover.start..].chunks_exact(width)) {
            sums.iter_mut().zip(row).for_each(|(sum, light)| add(sum, share, light));
        }
        rgb.extend(sums.iter().flat_map(|[weight, rgb @ ..]| rgb.map(|sum| (sum / weight).sqrt().round() as u8)));
    }
    Picture { width, height, rgb }
}

fn add(sum: &mut [f32; 4], share: f32, light: &[f32; 4]) {
    sum.iter_mut().zip(light).for_each(|(sum, light)| *sum += share * light);
}

/// Returns each pixel's weight and weighted squares. The weight is the fourth root of the inverse frequency of its
/// colour; with a larger exponent the seams between bricks would close.
fn lights(picture: &Picture) -> Vec<[f32; 4]> {
    let (mut index_of, mut counts) = (HashMap::new(), Vec::<([u8; 3], u32)>::new());
    let mut indices = Vec::with_capacity(picture.width * picture.height);
    let mut latest = 0;
    for pixel in picture.rgb.chunks_exact(3) {
        let colour = [pixel[0], pixel[1], pixel[2]];
        // Neighbours mostly have one colour: most pixels need no look-up.
        if counts.get(latest).is_none_or(|&(other, _)| other != colour) {
            latest = *index_of.entry(colour).or_insert_with(|| {
                counts.push((colour, 0));
                counts.len() - 1
            });
        }
        counts[latest].1 += 1;
        indices.push(latest);
    }
    let lights = counts.iter().map(|&(colour, count)| {
        let weight = (indices.len() as f32 / count as f32).powf(0.25);
        let [r, g, b] = colour.map(|value| weight * f32::from(value) * f32::from(value));
        [weight, r, g, b]
    });
    let lights: Vec<_> = lights.collect();
    indices.iter().map(|&index| lights[index]).collect()
}

/// The old pixels under a new one, and the share of the new one that each covers.
struct Cover {
    start: usize,
    weights: Vec<f32>,
}

impl Cover {
    /// Returns the cover of each of `new` pixels along a side that had `old` pixels. It calculates in units of
    /// 1 / (old · new) of the side, which makes all bounds whole numbers.
    fn all(old: usize, new: usize) -> Vec<Self> {
        let cover = |at: usize| {
            let (from, to) = (at * old, (at + 1) * old);
            let (start, end) = (from / new, to.div_ceil(new));
            let shared = |pixel: usize| (to.min((pixel + 1) * new) - from.max(pixel * new)) as f32;
            Self { start, weights: (start..end).map(|pixel| shared(pixel) / old as f32).collect() }
        };
        (0..new).map(cover).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fill_the_space_by_a_whole_factor_where_that_is_nearly_all_of_it() {
        // 80x24 less two lines of text, then 160x50.
        let cases = [
            ((160, 160), 1.0, (80, 44), (40, 40)),
            ((160, 160), 1.0, (160, 96), (80, 80)),
            ((160, 210), 2.0, (80, 44), (64, 42)),
            ((160, 210), 2.0, (160, 96), (146, 96)),
            ((300, 200), 1.0, (80, 44), (60, 40)),
            ((10, 10), 1.0, (80, 44), (40, 40)),
            ((300, 2), 1.0, (20, 10), (20, 1)),
        ];
        for (picture, aspect, space, fitted) in cases {
            assert_eq!(fit(picture, aspect, space), fitted, "{picture:?} in {space:?}");
        }
    }

    #[test]
    fn new_pixels_are_the_mean_light_of_what_they_cover() {
        // Two colours as frequent as each other: half the light is 1/√2 of the value.
        let mut picture = Picture::filled(2, 2, [0, 0, 0]);
        picture.fill_rect(0, 0, 1, 2, [200, 100, 0]);
        assert_eq!(resize(&picture, 1, 1).rgb, [141, 71, 0]);
        // Three pixels from two: the middle one has half of each.
        assert_eq!(resize(&picture, 3, 1).rgb, [200, 100, 0, 141, 71, 0, 0, 0, 0]);
    }

    #[test]
    fn rare_colours_weigh_more() {
        // One of 16 pixels: its weight is 2, that of the others (16/15)^¼ = 1.0163. Its quarter of the picture has
        // 2 / (2 + 3 · 1.0163) = 0.396 of the light.
        let mut picture = Picture::filled(4, 4, [0, 0, 0]);
        picture.fill_rect(1, 1, 1, 1, [255, 255, 255]);
        let small = resize(&picture, 2, 2);
        assert_eq!(small.rgb, [[160; 3], [0; 3], [0; 3], [0; 3]].concat());
    }

    #[test]
    fn whole_factors_repeat_pixels_and_one_colour_stays_itself() {
        let mut picture = Picture::filled(2, 1, [1, 2, 3]);
        picture.fill_rect(1, 0, 1, 1, [250, 0, 7]);
        let large = resize(&picture, 4, 2);
        assert_eq!(large.rgb[..12], [1, 2, 3, 1, 2, 3, 250, 0, 7, 250, 0, 7]);
        let plain = Picture::filled(160, 210, [200, 72, 72]);
        assert_eq!(resize(&plain, 61, 37), Picture::filled(61, 37, [200, 72, 72]));
    }
}
