//! Files of figures: SVG as it is, or drawn to PNG.

use super::error::PlotError;
use crate::files::{MARK, svg_mark, write_whole};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Pixels of the PNG for each of the SVG, so that text is sharp on dense screens.
const SCALE: f32 = 2.0;

/// Returns whether figures can be written to `path`: its extension is `svg` or `png`.
pub(crate) fn is_figure(path: &Path) -> bool {
    has_extension(path, "svg") || has_extension(path, "png")
}

/// Writes the figure `svg` to the file `out` atomically, as PNG if it has that extension, with the mark of this
/// program.
///
/// # Errors
/// When it cannot be drawn or written.
pub(super) fn write_file(out: &Path, svg: &str) -> Result<(), PlotError> {
    let bytes = if has_extension(out, "png") { png(svg)? } else { (svg.to_owned() + &svg_mark()).into_bytes() };
    write_whole(out, |file| Ok(file.write_all(&bytes)?))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Returns the bytes of a PNG of the figure `svg`. Text is in DejaVu Sans, whose widths the figures are laid out for,
/// so the picture does not depend on the fonts of the machine.
///
/// # Errors
/// When the figure cannot be drawn.
fn png(svg: &str) -> Result<Vec<u8>, PlotError> {
    let failed = |error: &dyn std::fmt::Display| PlotError::Draw(error.to_string());
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(&error))?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or_else(|| failed(&"it has no size"))?;
    let mut canvas = Pixmap::new(size.width(), size.height()).ok_or_else(|| failed(&"it is too large"))?;
    // The last row and column of pixels may be beyond the edge of the figure.
    canvas.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut canvas.as_mut());
    // On an opaque background premultiplied colours are the colours.
    let rgb: Vec<u8> = canvas.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    encode(size.width(), size.height(), &rgb).map_err(|error| failed(&error))
}

/// Returns a PNG with the mark of this program.
fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_text_chunk("Software".to_owned(), MARK.to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}
