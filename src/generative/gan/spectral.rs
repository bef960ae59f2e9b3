//! Weights divided by their largest singular value (Miyato et al. 2018, algorithm 1).

use carom_agents::net::Sequential;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Kind, Tensor};

/// Approximate singular vectors of a network's weights, found by power iteration.
#[derive(Debug)]
pub(super) struct Spectral {
    /// Left `[rows]` and right `[columns]` vectors of each weight as a matrix `[rows, columns]`, whose rows are its
    /// first dimension.
    vectors: Vec<(Tensor, Tensor)>,
}

impl Spectral {
    /// Draws random vectors for the weights of `network`.
    pub(super) fn new(network: &Sequential) -> Self {
        let vector = |n: i64| unit(&Tensor::randn([n], (Kind::Float, network.params().device())));
        let vectors = network.layout().shapes().iter().step_by(2).map(|weight| {
            let columns = weight[1..].iter().product();
            (vector(weight[0]), vector(columns))
        });
        Self { vectors: vectors.collect() }
    }

    /// Makes one power iteration of each weight.
    pub(super) fn iterate(&mut self, network: &Sequential) {
        let _no_grad = tch::no_grad_guard();
        let params = network.layout().split(network.params());
        // Weights and biases take turns.
        for ((left, right), weight) in self.vectors.iter_mut().zip(params.iter().step_by(2)) {
            let matrix = weight.view([left.size()[0], -1]);
            *right = unit(&matrix.tr().mv(left));
            *left = unit(&matrix.mv(right));
        }
    }

    /// Returns the flat parameters of `network` with each weight W divided by uᵀ W v, its largest singular value;
    /// differentiable.
    pub(super) fn normalised(&self, network: &Sequential) -> Tensor {
        let params = network.layout().split(network.params());
        let scaled = params.iter().enumerate().map(|(idx, param)| {
            let flat = param.view(-1);
            if idx % 2 == 1 {
                return flat;
            }
            let (left, right) = &self.vectors[idx / 2];
            let sigma = flat.view([left.size()[0], -1]).mv(right).dot(left);
            flat / sigma
        });
        Tensor::cat(&scaled.collect::<Vec<_>>(), 0)
    }

    /// Saves the vectors.
    pub(super) fn save(&self) -> Snapshot<'static> {
        self.vectors.iter().enumerate().fold(Snapshot::default(), |snapshot, (idx, (left, right))| {
            let snapshot = snapshot.owned_array(format!("left{idx}"), &to_vec(left));
            snapshot.owned_array(format!("right{idx}"), &to_vec(right))
        })
    }

    /// Restores the vectors that `save` wrote.
    ///
    /// # Errors
    /// When the state belongs to another network.
    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        for (idx, (left, right)) in self.vectors.iter_mut().enumerate() {
            read_tensor(from, &format!("left{idx}"), left)?;
            read_tensor(from, &format!("right{idx}"), right)?;
        }
        Ok(())
    }
}

fn unit(x: &Tensor) -> Tensor {
    x / (x.norm() + 1e-12)
}
