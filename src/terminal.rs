//! The terminal as a screen for games: pictures in half blocks, lines of text below, keys as they come.

mod colour;
mod keys;
mod pace;
mod pixels;
mod scale;

pub(crate) use keys::{Held, Keys, Meaning};
pub(crate) use pace::Pace;

use crate::interrupt;
use anyhow::{Result, ensure};
use carom_envs::Picture;
use colour::Depth;
use pixels::Pixels;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEventKind, KeyModifiers, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, supports_keyboard_enhancement,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Widget;
use std::io::{BufWriter, IsTerminal, Stdout, stdout};
use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The smallest terminal in which a picture can be recognised.
const MIN_SIZE: Size = Size::new(20, 8);

/// A gray that can be read on light and on dark.
const DIM: Style = Style::new().fg(Color::Indexed(245));

/// Whether the terminal is to be restored, and whether keyboard flags are part of it.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
static HAS_FLAGS: AtomicBool = AtomicBool::new(false);

/// The terminal while a game has it. Dropping it restores the terminal; so does a panic.
pub(crate) struct Terminal {
    depth: Depth,
    size: Size,
    /// Never dropped: its `drop` prints, and panics if the terminal was closed.
    screen: ManuallyDrop<ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
}

/// A key that went down or up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The key.
    pub(crate) code: KeyCode,
    /// Whether it went up; false in terminals that do not report releases.
    pub(crate) is_release: bool,
}

/// The two lines below the picture. Parts that do not fit are left out.
pub(crate) struct Lines {
    /// Facts, the most important first.
    pub(crate) status: Vec<String>,
    /// Keys that can be pressed, the most important first.
    pub(crate) help: Vec<String>,
}

impl Terminal {
    /// Takes over the terminal and listens for Ctrl-C, which the caller's loop finds in [`interrupt::requested`].
    ///
    /// # Errors
    /// When stdout is not a terminal; the message ends with `instead`, a way to do without.
    pub(crate) fn open(instead: &str) -> Result<Self> {
        ensure!(stdout().is_terminal(), "stdout is not a terminal, and pictures are drawn there; {instead}");
        let term = std::env::var("TERM").unwrap_or_default();
        ensure!(term != "dumb", "the terminal cannot draw pictures (TERM is dumb); {instead}");
        // `NO_COLOR` is about coloured text. Here the colours are the picture.
        force_color_output(true);
        let depth = Depth::of(std::env::var("COLORTERM").ok().as_deref());
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout()));
        let screen = ManuallyDrop::new(ratatui::Terminal::new(backend)?);
        let this = Self { depth, size: screen.size()?, screen };
        restore_on_panic();
        interrupt::listen_in_terminal(restore)?;
        enable_raw_mode()?;
        IS_OPEN.store(true, Ordering::Relaxed);
        execute!(stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        if matches!(supports_keyboard_enhancement(), Ok(true)) {
            let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
                | KeyboardEnhancementFlags::REPORT_EVENT_TYPES
                | KeyboardEnhancementFlags::REPORT_ALL_KEYS_AS_ESCAPE_CODES;
            HAS_FLAGS.store(true, Ordering::Relaxed);
            execute!(stdout(), PushKeyboardEnhancementFlags(flags))?;
        }
        Ok(this)
    }

    /// Returns whether the terminal reports when a key is released.
    #[allow(clippy::unused_self, reason = "only an open terminal knows")]
    pub(crate) fn reports_releases(&self) -> bool {
        cfg!(windows) || HAS_FLAGS.load(Ordering::Relaxed)
    }

    /// Returns whether there is too little room for any picture.
    pub(crate) fn is_too_small(&self) -> bool {
        is_too_small(self.size)
    }

    /// Shows the picture and the lines below it. A pixel is shown `aspect` times as wide as high.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(crate) fn show(&mut self, picture: &Picture, aspect: f64, lines: &Lines) -> Result<()> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        let depth = self.depth;
        let frame = self.screen.draw(|frame| compose(frame.buffer_mut(), depth, picture, aspect, lines))?;
        self.size = frame.area.as_size();
        execute!(self.screen.backend_mut(), EndSynchronizedUpdate)?;
        Ok(())
    }

    /// Waits for a key, no longer than `timeout`, and returns it. Ctrl-C is returned as Esc. After a change of size it
    /// returns `None` early, so that the caller shows the picture again.
    ///
    /// # Errors
    /// When the terminal was closed.
    pub(crate) fn key(&mut self, timeout: Duration) -> Result<Option<Key>> {
        let until = Instant::now() + timeout;
        while event::poll(until.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) => {
                    let is_ctrl_c = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                    let code = if is_ctrl_c { KeyCode::Esc } else { key.code };
                    return Ok(Some(Key { code, is_release: key.kind == KeyEventKind::Release }));
                }
                Event::Resize(columns, rows) => {
                    self.size = Size::new(columns, rows);
                    // Clears the screen even if the size is the old one again, which `draw` would not notice.
                    self.screen.resize(Rect::from(self.size))?;
                    return Ok(None);
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal; a second call does nothing. Errors are ignored: a terminal that was closed needs no
/// restoring.
fn restore() {
    if IS_OPEN.swap(false, Ordering::Relaxed) {
        if HAS_FLAGS.swap(false, Ordering::Relaxed) {
            let _ = execute!(stdout(), PopKeyboardEnhancementFlags);
        }
        let _ = execute!(stdout(), EndSynchronizedUpdate, EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Restores the terminal before a panic's message is printed, which would be lost on the alternate screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print_panic = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            print_panic(panic);
        }));
    });
}

fn is_too_small(size: Size) -> bool {
    size.width < MIN_SIZE.width || size.height < MIN_SIZE.height
}

/// Draws the two lines at the bottom and the picture in the middle of the space above, or a request for more space.
fn compose(buffer: &mut Buffer, depth: Depth, picture: &Picture, aspect: f64, lines: &Lines) {
    let Size { width: columns, height: rows } = buffer.area.as_size();
    if is_too_small(buffer.area.as_size()) {
        let request = format!("{columns}x{rows}: too small\n{MIN_SIZE} is needed");
        return Text::from(request).render(buffer.area, buffer);
    }
    let rows = [Constraint::Fill(1), Constraint::Length(1), Constraint::Length(1)];
    let [space, status, help] = Layout::vertical(rows).areas(buffer.area);
    let pixels = (space.width.into(), 2 * usize::from(space.height));
    let (width, height) = scale::fit((picture.width, picture.height), aspect, pixels);
    let picture = &scale::resize(picture, width, height);
    let (left, top) = ((space.width - width as u16) / 2, (space.height - height.div_ceil(2) as u16) / 2);
    Pixels { picture, depth }.render(Rect { x: left, y: top, ..space }, buffer);
    Line::raw(joined(&lines.status, columns.into())).render(status, buffer);
    Line::styled(joined(&lines.help, columns.into()), DIM).render(help, buffer);
}

/// Joins the first parts, as many as fit, two spaces apart.
fn joined(parts: &[String], columns: usize) -> String {
    let mut line = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let gap = if line.is_empty() { "" } else { "  " };
        if line.chars().count() + gap.len() + part.chars().count() > columns {
            break;
        }
        line += gap;
        line += part;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(status: &[&str], help: &[&str]) -> Lines {
        let owned = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect();
        Lines { status: owned(status), help: owned(help) }
    }

    #[test]
    fn a_line_keeps_its_first_parts_where_not_all_fit() {
        let parts = ["taxi", "step 12", "", "return -12"].map(str::to_owned);
        assert_eq!(joined(&parts, 80), "taxi  step 12  return -12");
        assert_eq!(joined(&parts, 24), "taxi  step 12");
        assert_eq!(joined(&parts, 3), "");
    }

    #[test]
    fn the_picture_stands_in_the_middle_above_the_lines() {
        let picture = Picture::filled(160, 160, [9, 9, 9]);
        let area = Rect::new(0, 0, 80, 24);
        let mut buffer = Buffer::empty(area);
        compose(&mut buffer, Depth::True, &picture, 1.0, &lines(&["status"], &["help"]));
        let mut expected = Buffer::empty(area);
        expected.set_style(Rect::new(20, 1, 40, 20), Style::new().bg(Color::Rgb(9, 9, 9)));
        expected.set_string(0, 22, "status", Style::new());
        expected.set_string(0, 23, "help", Style::new());
        expected.set_style(Rect::new(0, 23, 80, 1), DIM);
        assert_eq!(buffer, expected);
    }

    #[test]
    fn small_terminals_show_a_small_picture_or_ask_for_room() {
        let picture = Picture::filled(300, 7, [1, 2, 3]);
        let composed = |width, height| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            compose(&mut buffer, Depth::Palette, &picture, 2.0, &lines(&[], &[]));
            buffer
        };
        // 600 by 7 units at the width of 20 cells: one row of pixels, which are the upper halves of their cells.
        let smallest = composed(MIN_SIZE.width, MIN_SIZE.height);
        assert_eq!(smallest.content.iter().filter(|cell| cell.symbol() == "▀").count(), 20);
        assert_eq!(composed(16, 3), Buffer::with_lines(["16x3: too small ", "20x8 is needed  ", ""]));
        assert_eq!(composed(1, 1), Buffer::with_lines(["1"]));
    }
}
