//! Passes by hand on the CPU.

use super::update::{Descended, Update, Weights};
use crate::net::{Matrix, NetSpec, QPasses};
use crate::optim::{OptimConfig, Optimizer, clip_norm};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};

pub(super) struct NativeEngine {
    passes: QPasses,
    online: Matrix,
    target: Matrix,
    grads: Matrix,
    optimizer: Optimizer,
}

impl NativeEngine {
    /// An engine for `spec`; `None` where no passes cover it.
    pub(super) fn of(spec: &NetSpec, optimizer: OptimConfig, params: &[f32]) -> Option<Self> {
        let passes = QPasses::of(&spec.layout())?;
        let mut online = Matrix::zeros(1, params.len());
        online.as_mut_slice().copy_from_slice(params);
        let (target, grads) = (online.clone(), Matrix::zeros(1, params.len()));
        Some(Self { passes, target, grads, online, optimizer: Optimizer::new(optimizer, params.len()) })
    }

    pub(super) fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        let params = match weights {
            Weights::Online => &self.online,
            Weights::Target => &self.target,
        };
        self.passes.forward(params, obs)
    }

    pub(super) fn descend(&mut self, d_q: &[f32], how: &Update) -> Descended {
        self.passes.backward(&self.online, d_q, &mut self.grads);
        let grad_norm = clip_norm(self.grads.as_mut_slice(), how.max_norm());
        self.optimizer.step(self.online.as_mut_slice(), self.grads.as_slice(), how.lr);
        Descended { grad_norm, recon: None }
    }

    pub(super) fn sync_target(&mut self) {
        self.target.as_mut_slice().copy_from_slice(self.online.as_slice());
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .array("online", self.online.as_slice())
            .array("target", self.target.as_slice())
            .nest("optimizer", self.optimizer.save())
    }

    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        from.read("online", self.online.as_mut_slice())?;
        from.read("target", self.target.as_mut_slice())?;
        self.optimizer.load(&from.nested("optimizer")?)
    }
}
