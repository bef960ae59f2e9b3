//! Keys of a game, derived from the names of its actions.

use ratatui::crossterm::event::KeyCode;
use std::time::{Duration, Instant};

/// A part of an action. The action `up-right-fire` is three controls at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// ← or a.
    Left,
    /// → or d.
    Right,
    /// ↑ or w.
    Up,
    /// ↓ or s.
    Down,
    /// The space bar.
    Fire,
}

/// Names of actions that do nothing.
const IDLE: [&str; 4] = ["noop", "coast", "stay", "none"];
/// Actions with a letter of their own.
const LETTERS: [(&str, char); 2] = [("pick-up", 'p'), ("drop-off", 'd')];
/// Letters for controls, used unless one of them is the letter of an action.
const WASD: [(char, Control); 4] =
    [('a', Control::Left), ('d', Control::Right), ('w', Control::Up), ('s', Control::Down)];

/// Time that a control counts as held after its key's last event, in terminals that do not report releases. It is
/// longer than the time between two repeats of a key, and otherwise short, so that a tap stays a tap.
const HOLD_TIME: Duration = Duration::from_millis(120);

/// The keys of one game.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Actions that are made of controls, each with its controls.
    steered: Vec<(usize, Vec<Control>)>,
    letters: Vec<(char, usize)>,
    idle: Vec<usize>,
    has_wasd: bool,
    names: Vec<&'static str>,
}

/// The meaning of a key in a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A control is held while the key is.
    Control(Control),
    /// The action is played once.
    Action(usize),
}

impl Keys {
    /// Returns the keys of a game with actions of these names.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let mut keys = Self { steered: vec![], letters: vec![], idle: vec![], has_wasd: true, names: names.to_vec() };
        for (action, &name) in names.iter().enumerate() {
            if IDLE.contains(&name) {
                keys.idle.push(action);
            } else if let Some(controls) = controls(name) {
                keys.steered.push((action, controls));
            } else {
                let own = LETTERS.iter().find(|letter| letter.0 == name).map(|letter| letter.1);
                let digit = || char::from_digit(action as u32, 36).unwrap_or('z');
                keys.letters.push((own.unwrap_or_else(digit), action));
            }
        }
        if keys.idle.is_empty() {
            // Alternating left and right is the nearest to doing nothing.
            keys.idle = [Control::Left, Control::Right].iter().filter_map(|&way| keys.playing(&[way])).collect();
        } else {
            keys.letters.push(('.', keys.idle[0]));
        }
        keys.has_wasd = !keys.letters.iter().any(|(letter, _)| WASD.iter().any(|wasd| wasd.0 == *letter));
        keys
    }

    /// Returns the meaning of `code` in this game; `None` if it has none.
    pub(crate) fn meaning(&self, code: KeyCode) -> Option<Meaning> {
        let control = match code {
            KeyCode::Left => Control::Left,
            KeyCode::Right => Control::Right,
            KeyCode::Up => Control::Up,
            KeyCode::Down => Control::Down,
            KeyCode::Char(' ') => Control::Fire,
            KeyCode::Char(symbol) => {
                let symbol = symbol.to_ascii_lowercase();
                if let Some(&(_, action)) = self.letters.iter().find(|letter| letter.0 == symbol) {
                    return Some(Meaning::Action(action));
                }
                WASD.iter().find(|wasd| self.has_wasd && wasd.0 == symbol)?.1
            }
            _ => return None,
        };
        self.has(control).then_some(Meaning::Control(control))
    }

    /// Returns whether `control` is part of any action.
    pub(crate) fn has(&self, control: Control) -> bool {
        self.steered.iter().any(|(_, controls)| controls.contains(&control))
    }

    /// Returns the action that consists of exactly these controls.
    pub(crate) fn playing(&self, held: &[Control]) -> Option<usize> {
        let is_same = |controls: &[Control]| {
            controls.len() == held.len() && controls.iter().all(|control| held.contains(control))
        };
        self.steered.iter().find(|(_, controls)| is_same(controls)).map(|(action, _)| *action)
    }

    /// Returns the action to play while `held`, the latest last, are held down: the action with most of them, and among
    /// equals the one with the latest. If no control is held, returns the action that does nothing, or left and right
    /// alternately in games without one.
    pub(crate) fn action(&self, held: &[Control], step: u64) -> usize {
        let is_held = |controls: &[Control]| controls.iter().all(|control| held.contains(control));
        let latest = |controls: &[Control]| held.iter().rposition(|control| controls.contains(control));
        let playable = self.steered.iter().filter(|(_, controls)| is_held(controls));
        let best = playable.max_by_key(|(_, controls)| (controls.len(), latest(controls)));
        match (best, self.idle.len()) {
            (Some((action, _)), _) => *action,
            (None, 0) => 0,
            (None, n) => self.idle[step as usize % n],
        }
    }

    /// Returns a line that explains the keys.
    pub(crate) fn help(&self) -> String {
        let has = |control| self.has(control);
        let arrows = match (has(Control::Left) || has(Control::Right), has(Control::Up) || has(Control::Down)) {
            (true, true) => "arrows",
            (true, false) => "←/→",
            (false, true) => "↑/↓",
            (false, false) => "",
        };
        let mut parts: Vec<String> = vec![];
        parts.extend((!arrows.is_empty()).then(|| format!("{arrows} move")));
        parts.extend(has(Control::Fire).then(|| "space fire".to_owned()));
        parts.extend(
            self.letters
                .iter()
                .filter(|letter| letter.0 != '.')
                .map(|&(letter, action)| format!("{letter} {}", self.names[action])),
        );
        parts.join("  ")
    }
}

/// Returns the controls that an action's name consists of; `None` if a part of it is not a control.
fn controls(name: &str) -> Option<Vec<Control>> {
    let control = |part| match part {
        "left" => Some(Control::Left),
        "right" => Some(Control::Right),
        "up" => Some(Control::Up),
        "down" => Some(Control::Down),
        "fire" => Some(Control::Fire),
        _ => None,
    };
    name.split('-').map(control).collect()
}

/// The controls that are held down.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    presses: Vec<Press>,
    /// Whether the terminal reports when a key is released.
    reports_releases: bool,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    control: Control,
    at: Instant,
    /// Whether no step has seen it yet. Each press lasts for one step at least.
    is_new: bool,
    is_released: bool,
}

impl Held {
    /// Returns an empty set of controls.
    pub(crate) fn new(reports_releases: bool) -> Self {
        Self { presses: vec![], reports_releases }
    }

    /// Records that a key of `control` was pressed or repeats.
    pub(crate) fn press(&mut self, control: Control, at: Instant) {
        let is_opposite = |other: Control| {
            matches!(
                (other, control),
                (Control::Left, Control::Right)
                    | (Control::Right, Control::Left)
                    | (Control::Up, Control::Down)
                    | (Control::Down, Control::Up)
            )
        };
        if let Some(press) = self.presses.iter_mut().find(|press| press.control == control && !press.is_released) {
            (press.at, press.is_new) = (at, true);
            return;
        }
        let guesses = !self.reports_releases;
        self.presses.retain(|press| press.control != control && !(guesses && is_opposite(press.control)));
        self.presses.push(Press { control, at, is_new: true, is_released: false });
    }

    /// Records that a key of `control` was released.
    pub(crate) fn release(&mut self, control: Control) {
        self.presses.iter_mut().filter(|press| press.control == control).for_each(|press| press.is_released = true);
    }

    /// Releases all controls.
    pub(crate) fn clear(&mut self) {
        self.presses.clear();
    }

    /// Returns the controls held at the step of the time `now`, the latest last.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Control> {
        let reports_releases = self.reports_releases;
        self.presses.retain(|press| {
            let is_over = if reports_releases { press.is_released } else { now.duration_since(press.at) >= HOLD_TIME };
            press.is_new || !is_over
        });
        self.presses.iter_mut().for_each(|press| press.is_new = false);
        self.presses.iter().map(|press| press.control).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Control::{Down, Fire, Left, Right, Up};

    const ATARI: [&str; 4] = ["noop", "fire", "right", "left"];
    const TAXI: [&str; 6] = ["down", "up", "right", "left", "pick-up", "drop-off"];

    #[test]
    fn keys_follow_from_the_names_of_the_actions() {
        let atari = Keys::new(&ATARI);
        assert_eq!(atari.meaning(KeyCode::Left), Some(Meaning::Control(Left)));
        assert_eq!(atari.meaning(KeyCode::Char('D')), Some(Meaning::Control(Right)));
        assert_eq!(atari.meaning(KeyCode::Char(' ')), Some(Meaning::Control(Fire)));
        assert_eq!((atari.meaning(KeyCode::Up), atari.meaning(KeyCode::Char('x'))), (None, None));
        let taxi = Keys::new(&TAXI);
        assert_eq!(taxi.meaning(KeyCode::Char('p')), Some(Meaning::Action(4)));
        assert_eq!(taxi.meaning(KeyCode::Char('d')), Some(Meaning::Action(5)));
        assert_eq!(taxi.meaning(KeyCode::Char('a')), None, "d is taken, so a, w and s steer nothing either");
        assert_eq!(taxi.playing(&[Up]), Some(1));
        assert_eq!(taxi.help(), "arrows move  p pick-up  d drop-off");
        assert_eq!(atari.help(), "←/→ move  space fire");
        assert_eq!(Keys::new(&["noop", "jump"]).meaning(KeyCode::Char('1')), Some(Meaning::Action(1)));
    }

    #[test]
    fn held_controls_make_the_fullest_action() {
        let atari = Keys::new(&ATARI);
        assert_eq!(atari.action(&[], 7), 0);
        assert_eq!((atari.action(&[Left, Fire], 0), atari.action(&[Fire, Left], 0)), (1, 3));
        let full = Keys::new(&["noop", "up", "right", "up-right", "up-right-fire"]);
        assert_eq!((full.action(&[Right, Up], 0), full.action(&[Up, Fire, Right], 0)), (3, 4));
        assert_eq!(full.action(&[Down], 0), 0);
        let cart = Keys::new(&["left", "right"]);
        assert_eq!((cart.action(&[], 0), cart.action(&[], 1), cart.action(&[Right], 0)), (0, 1, 1));
    }

    #[test]
    fn a_tap_is_seen_by_one_step_and_a_repeating_key_by_all() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut held = Held::new(false);
        held.press(Left, start);
        assert_eq!(held.take(start + ms(400)), [Left], "however late the step");
        assert_eq!(held.take(start + ms(401)), []);
        for at in (0..300).step_by(30) {
            held.press(Left, start + ms(at));
            assert_eq!(held.take(start + ms(at + 29)), [Left]);
        }
        held.press(Right, start + ms(280));
        assert_eq!(held.take(start + ms(290)), [Right], "the other way ends it at once");
    }

    #[test]
    fn releases_count_where_the_terminal_reports_them() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut held = Held::new(true);
        held.press(Left, start);
        held.press(Fire, start + ms(5));
        assert_eq!(held.take(start + ms(900)), [Left, Fire]);
        held.release(Left);
        assert_eq!(held.take(start + ms(901)), [Fire]);
        held.press(Right, start + ms(950));
        held.release(Right);
        assert_eq!(held.take(start + ms(951)), [Fire, Right], "shorter than a step");
        assert_eq!(held.take(start + ms(960)), [Fire]);
    }
}
