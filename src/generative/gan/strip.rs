//! Pictures of how a generator learns: samples of the same noise along a fit.

use crate::generative::model::Exhibit;
use crate::human::count;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Device, Kind, Tensor};

/// Images in a row of the strip.
const STRIP_COLUMNS: i64 = 10;
/// Updates after which a row is added to the strip. In shorter fits they are scaled to the fit's length.
const STRIP_STEPS: [u64; 6] = [1000, 3000, 5000, 7000, 9000, 10_000];
/// Bounds the rows: a fit that is made longer has those of its earlier ends too.
const MAX_ROWS: usize = 64;

/// Samples of the same noise along a fit.
pub(super) struct Strip {
    /// `[STRIP_COLUMNS, latent_dim]`
    pub(super) noise: Tensor,
    shape: [i64; 3],
    /// Updates after which a row is added.
    pub(super) due: Vec<u64>,
    /// Updates of the rows there are.
    pub(super) steps: Vec<u64>,
    /// Bytes of the rows, `[rows, STRIP_COLUMNS, channels, rows, columns]`.
    pub(super) pixels: Vec<u8>,
}

impl Strip {
    pub(super) fn new(latent_dim: i64, shape: [i64; 3], total_steps: u64, device: Device) -> Self {
        let last = STRIP_STEPS[STRIP_STEPS.len() - 1];
        let mut due =
            STRIP_STEPS.map(|step| if total_steps < last { step * total_steps / last } else { step }).to_vec();
        due.push(total_steps);
        let noise = Tensor::randn([STRIP_COLUMNS, latent_dim], (Kind::Float, device));
        Self { noise, shape, due, steps: vec![], pixels: vec![] }
    }

    pub(super) fn is_due(&self, step: u64) -> bool {
        self.steps.len() < MAX_ROWS && self.due.contains(&step)
    }

    pub(super) fn add(&mut self, step: u64, images: &Tensor) {
        let bytes = (images * 255.0).round().to_kind(Kind::Uint8).flatten(0, -1).to_device(Device::Cpu);
        self.steps.push(step);
        self.pixels.extend(Vec::<u8>::try_from(&bytes).expect("bytes in one dimension"));
    }

    /// Returns a row of images for each step, or `None` before the first.
    pub(super) fn exhibit(&self) -> Option<Exhibit> {
        if self.steps.is_empty() {
            return None;
        }
        let [channels, rows, columns] = self.shape;
        let images = Tensor::from_slice(&self.pixels).view([-1, channels, rows, columns]).to_kind(Kind::Float) / 255.0;
        let row_labels = self.steps.iter().map(|&step| format!("{} updates", count(step))).collect();
        let caption = "Samples of the same noise along the fit.".to_owned();
        let n_columns = STRIP_COLUMNS as usize;
        Some(Exhibit { name: "strip", images, n_columns, caption, row_labels, pixel_names: None })
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .owned_array("noise", &to_vec(&self.noise))
            .array("pixels", &self.pixels)
            .value("steps", &self.steps)
    }

    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "noise", &mut self.noise)?;
        let is_possible = |steps: &Vec<u64>| steps.len() <= MAX_ROWS && steps.is_sorted_by(|a, b| a < b);
        self.steps = from.value_where("steps", is_possible)?;
        let row = STRIP_COLUMNS * self.shape.iter().product::<i64>();
        self.pixels = vec![0; self.steps.len() * row as usize];
        from.read("pixels", &mut self.pixels)
    }
}
