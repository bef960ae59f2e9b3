//! The terminal as a screen for games: pictures in half blocks, lines of text below, keys as they come.

mod canvas;
mod colour;
mod keys;
mod scale;

pub(crate) use keys::{Held, Keys, Meaning};

use crate::interrupt;
use anyhow::{Result, ensure};
use canvas::Canvas;
use carom_envs::Picture;
use colour::{Colour, Depth};
use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    self, Event, KeyCode, KeyEventKind, KeyModifiers, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::terminal::{
    self, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use std::io::{IsTerminal, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The smallest terminal in which a picture can be recognised.
const LEAST: (usize, usize) = (20, 8);

/// Shades of gray that can be read on light and on dark.
const DIM: Colour = Colour::Index(245);

/// Whether there is something to restore, and keyboard flags among it.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
static HAS_FLAGS: AtomicBool = AtomicBool::new(false);

/// The terminal while a game has it. Dropping it gives it back as it was; so does a panic.
pub(crate) struct Terminal {
    depth: Depth,
    size: (usize, usize),
    shown: Option<Canvas>,
    buffer: Vec<u8>,
}

/// A key that went down or up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Which.
    pub code: KeyCode,
    /// Up instead of down, where the terminal tells.
    pub is_release: bool,
}

/// What is below the picture.
pub(crate) struct Lines {
    /// Facts, the most important first: those that do not fit are left out.
    pub status: Vec<String>,
    /// What can be pressed, likewise.
    pub help: Vec<String>,
}

impl Terminal {
    /// Takes over the terminal; [`interrupt::requested`] tells from then on when to give it back.
    ///
    /// # Errors
    /// When stdout is none; `instead` says what can be done then.
    pub fn open(instead: &str) -> Result<Self> {
        ensure!(stdout().is_terminal(), "stdout is not a terminal, and pictures are drawn there; {instead}");
        let term = std::env::var("TERM").unwrap_or_default();
        ensure!(term != "dumb", "the terminal cannot draw pictures (TERM is dumb); {instead}");
        restore_on_panic();
        interrupt::listen_in_terminal(restore)?;
        enable_raw_mode()?;
        IS_OPEN.store(true, Ordering::Relaxed);
        let colorterm = std::env::var("COLORTERM").ok();
        let mut this = Self { depth: Depth::of(colorterm.as_deref()), size: (0, 0), shown: None, buffer: vec![] };
        execute!(stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        if matches!(terminal::supports_keyboard_enhancement(), Ok(true)) {
            let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
                | KeyboardEnhancementFlags::REPORT_EVENT_TYPES
                | KeyboardEnhancementFlags::REPORT_ALL_KEYS_AS_ESCAPE_CODES;
            HAS_FLAGS.store(true, Ordering::Relaxed);
            execute!(stdout(), PushKeyboardEnhancementFlags(flags))?;
        }
        let (columns, rows) = terminal::size()?;
        this.size = (columns.into(), rows.into());
        Ok(this)
    }

    /// Whether it tells when a key is released.
    pub fn tells_releases(&self) -> bool {
        cfg!(windows) || HAS_FLAGS.load(Ordering::Relaxed)
    }

    /// Whether there is too little room for any picture.
    pub fn is_too_small(&self) -> bool {
        self.size.0 < LEAST.0 || self.size.1 < LEAST.1
    }

    /// Shows the picture and the lines below it. A pixel is shown `aspect` times as wide as high.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(&mut self, picture: &Picture, aspect: f64, lines: &Lines) -> Result<()> {
        let canvas = match self.is_too_small() {
            true => apology(self.size),
            false => compose(self.size, self.depth, picture, aspect, lines),
        };
        self.buffer.clear();
        queue!(self.buffer, terminal::BeginSynchronizedUpdate)?;
        let empty = self.buffer.len();
        canvas.write_over(self.shown.as_ref(), &mut self.buffer)?;
        if self.buffer.len() > empty {
            queue!(self.buffer, terminal::EndSynchronizedUpdate)?;
            let mut out = stdout().lock();
            out.write_all(&self.buffer)?;
            out.flush()?;
        }
        self.shown = Some(canvas);
        Ok(())
    }

    /// The next key, waiting for it no longer than `timeout`; Ctrl-C comes as Esc does. None as well after a change of size,
    /// when it is time to show again.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn key(&mut self, timeout: Duration) -> Result<Option<Key>> {
        let until = Instant::now() + timeout;
        while event::poll(until.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) => {
                    let is_ctrl_c = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                    let code = if is_ctrl_c { KeyCode::Esc } else { key.code };
                    return Ok(Some(Key { code, is_release: key.kind == KeyEventKind::Release }));
                }
                Event::Resize(columns, rows) => {
                    (self.size, self.shown) = ((columns.into(), rows.into()), None);
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

/// Gives the terminal back; a second time does nothing. What fails cannot be helped any more.
fn restore() {
    if IS_OPEN.swap(false, Ordering::Relaxed) {
        if HAS_FLAGS.swap(false, Ordering::Relaxed) {
            let _ = execute!(stdout(), PopKeyboardEnhancementFlags);
        }
        let _ = execute!(stdout(), terminal::EndSynchronizedUpdate, EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// A panic's message is to be read on the ordinary screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            told(panic);
        }));
    });
}

/// The picture in the middle of what the two lines at the bottom leave.
fn compose(size: (usize, usize), depth: Depth, picture: &Picture, aspect: f64, lines: &Lines) -> Canvas {
    let (columns, rows) = size;
    let mut canvas = Canvas::new(columns, rows);
    let rows_left = rows - 2;
    let (width, height) = scale::fit((picture.width, picture.height), aspect, (columns, 2 * rows_left));
    let scaled = scale::resize(picture, width, height);
    canvas.picture((columns - width) / 2, (rows_left - height.div_ceil(2)) / 2, &scaled, depth);
    canvas.text(rows - 2, &joined(&lines.status, columns), Colour::Default);
    canvas.text(rows - 1, &joined(&lines.help, columns), DIM);
    canvas
}

fn apology((columns, rows): (usize, usize)) -> Canvas {
    let mut canvas = Canvas::new(columns, rows);
    canvas.text(0, &format!("{columns}x{rows}: too small"), Colour::Default);
    canvas.text(1, &format!("{}x{} is needed", LEAST.0, LEAST.1), Colour::Default);
    canvas
}

/// The parts, two spaces apart, as many of the first as fit.
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

/// How many steps are due, at a speed that can be changed, whatever drawing takes.
pub(crate) struct Pace {
    /// Steps a second.
    pub speed: f64,
    last: Instant,
    /// Steps that are due, with fractions.
    due: f64,
    drawn: Instant,
}

impl Pace {
    /// Nothing is drawn more often than this.
    const DRAW_EVERY: Duration = Duration::from_millis(16);
    /// Longest time that is made up for; a longer one was a pause.
    const MADE_UP: f64 = 0.1;
    const SPEEDS: (f64, f64) = (0.25, 4_000.0);

    /// `speed` steps a second from now on.
    pub fn new(speed: f64) -> Self {
        let now = Instant::now();
        Self { speed, last: now, due: 0.0, drawn: now }
    }

    /// Steps to make now.
    pub fn due(&mut self, now: Instant) -> u32 {
        let passed = now.duration_since(self.last).as_secs_f64().min(Self::MADE_UP.max(1.0 / self.speed));
        (self.last, self.due) = (now, self.due + passed * self.speed);
        if now.duration_since(self.drawn) < Self::DRAW_EVERY || self.due < 1.0 {
            return 0;
        }
        self.drawn = now;
        let whole = self.due.floor();
        self.due -= whole;
        whole as u32
    }

    /// Until a step is due.
    pub fn wait(&self, now: Instant) -> Duration {
        let step = Duration::from_secs_f64((1.0 - self.due).max(0.0) / self.speed);
        let step = step.saturating_sub(now.duration_since(self.last));
        step.max(Self::DRAW_EVERY.saturating_sub(now.duration_since(self.drawn)))
    }

    /// Forgets what was due: time does not pass while a game is paused.
    pub fn skip(&mut self, now: Instant) {
        (self.last, self.due) = (now, 0.0);
    }

    /// `+` and `-` change the speed by half an octave; whether `code` was one of them.
    pub fn takes(&mut self, code: KeyCode) -> bool {
        let factor = match code {
            KeyCode::Char('+' | '=') => 2.0_f64.powf(0.5),
            KeyCode::Char('-' | '_') => 0.5_f64.powf(0.5),
            _ => return false,
        };
        self.speed = (self.speed * factor).clamp(Self::SPEEDS.0, Self::SPEEDS.1);
        true
    }

    /// What to press, and the present speed.
    pub fn help(&self) -> String {
        let digits = if self.speed < 9.95 { 1 } else { 0 };
        format!("+/- speed ({:.digits$}/s)", self.speed)
    }
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
        let canvas = compose((80, 24), Depth::True, &picture, 1.0, &lines(&["status"], &["help"]));
        let mut expected = Canvas::new(80, 24);
        expected.picture(20, 1, &Picture::filled(40, 40, [9, 9, 9]), Depth::True);
        expected.text(22, "status", Colour::Default);
        expected.text(23, "help", DIM);
        assert_eq!(canvas, expected);
        // The smallest terminal still has six rows for it.
        compose(LEAST, Depth::Palette, &Picture::filled(300, 7, [1, 2, 3]), 2.0, &lines(&[], &[]));
        apology((1, 1));
    }

    #[test]
    fn steps_are_due_as_time_passes() {
        let mut pace = Pace::new(10.0);
        let (start, ms) = (pace.last, Duration::from_millis);
        assert_eq!(pace.due(start + ms(50)), 0);
        assert_eq!(pace.wait(start + ms(60)), ms(40));
        assert_eq!(pace.due(start + ms(110)), 1);
        assert_eq!(pace.due(start + ms(205)), 1);
        // A long time is not made up for.
        assert_eq!(pace.due(start + ms(60_000)), 1);
        pace.speed = 1_000.0;
        assert_eq!(pace.due(start + ms(60_020)), 20);
        assert!(pace.takes(KeyCode::Char('+')) && !pace.takes(KeyCode::Char('q')));
        assert_eq!(pace.help(), "+/- speed (1414/s)");
    }
}
