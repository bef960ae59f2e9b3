//! The program with an environment of your own: `train`, `eval`, `plot`, `watch` and `list` find it by its id.
//!
//! `cargo run --release --example custom_env -- train --env corridor --agent q-learning --steps 5k`

use carom_envs::rand::RngCore;
use carom_envs::serde_json::{self, Value, json};
use carom_envs::settings::{AtLeast, Settings};
use carom_envs::{Env, EnvEntry, Game, ObsSpace, Picture, RestoreError, Step, registry};
use std::process::ExitCode;

carom_envs::settings! {
    /// Settings of the corridor.
    pub struct CorridorSettings {
        /// Number of cells.
        length: u32 = 10, in AtLeast(2);
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = 100;
    }
}
impl Settings for CorridorSettings {}

/// Walk to the right end of a corridor. Reward: −1 a step.
struct Corridor {
    length: u32,
    cell: u32,
}

impl Env for Corridor {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Discrete { n: self.length as usize }
    }

    fn action_names(&self) -> &[&'static str] {
        &["left", "right"]
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        self.cell = 0;
    }

    fn step(&mut self, action: usize, _rng: &mut dyn RngCore) -> Step {
        self.cell = if action == 1 { self.cell + 1 } else { self.cell.saturating_sub(1) };
        Step { reward: -1.0, terminated: self.cell + 1 == self.length }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.cell.to_le_bytes());
    }

    fn save(&self) -> Value {
        json!(self.cell)
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        self.cell = serde_json::from_value(state.clone())?;
        Ok(())
    }

    fn picture(&self) -> Option<Picture> {
        let mut picture = Picture::filled(8 * self.length as usize, 8, [20, 24, 40]);
        picture.fill_rect(8 * self.cell as usize, 0, 8, 8, [250, 180, 60]);
        Some(picture)
    }
}

impl Game for Corridor {
    type Settings = CorridorSettings;

    fn make(settings: &CorridorSettings) -> Box<dyn Env> {
        Box::new(Corridor { length: settings.length, cell: 0 })
    }
}

fn main() -> ExitCode {
    registry::register(EnvEntry::of::<Corridor>("corridor", "walk to the end of a corridor")).expect("a new id");
    carom::cli::main()
}
