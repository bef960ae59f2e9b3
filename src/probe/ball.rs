//! Finds the ball in true and decoded images, or the player of a game without a ball.
//!
//! In planes, it is at the maximum of its plane (the first of several). In pixels, it is at the maximum of
//! a detector's output: two convolutions with a receptive field of 11×11 pixels. They are fitted to true training
//! frames only, by the cross-entropy of a softmax over all positions. The detector's input is an image less the mean of
//! all images of its kind. For decoded frames that is the mean of the encoder's decoded test frames, so that a wall
//! that every frame shows slightly wrong is not taken for a ball.

use super::world::World;
use carom_agents::net::{Operation, Sequential, descend};
use carom_agents::optim::{OptimConfig, Rule};
use carom_envs::Seeds;
use tch::{Kind, Tensor};

/// Filters of the first convolution, of 7×7 pixels; the second is of 5×5.
const FILTERS: i64 = 8;
/// Bounds the training frames of the fit, which are evenly spaced.
const MAX_FRAMES: usize = 2000;
/// Passes over the training frames.
const N_PASSES: usize = 8;
/// Frames of a descent step.
const BATCH: i64 = 20;
/// First learning rate; it falls to 0 by half a cosine.
const FIRST_LR: f64 = 0.01;

/// Finds the ball.
pub(super) enum Finder {
    /// At the maximum of this plane, with this tolerance.
    Plane(i64, f32),
    /// At the maximum of the detector's output, with this tolerance.
    Detector(Box<Detector>, f32),
}

/// Network that maps an image, less the mean of its kind, to a logit for each pixel.
pub(super) struct Detector(Sequential);

impl Finder {
    /// Makes a finder for images of `world`. A detector is fitted to `images` with a ball at `balls`.
    pub(super) fn new(world: &World, images: &Tensor, balls: &[[f32; 2]]) -> Self {
        match world.plane() {
            Some(plane) => Finder::Plane(plane, world.tolerance()),
            None => Finder::Detector(Box::new(Detector::fit(images, balls)), world.tolerance()),
        }
    }

    /// Returns the share of the images whose ball is found within the tolerance of `balls`, in rows and in columns.
    pub(super) fn recall(&self, images: &Tensor, balls: &[[f32; 2]]) -> f64 {
        let (found, tolerance) = match self {
            Finder::Plane(plane, tolerance) => (largest(&images.select(1, *plane)), tolerance),
            Finder::Detector(detector, tolerance) => (detector.find(images), tolerance),
        };
        let is_near = |(a, b): (&[f32; 2], &[f32; 2])| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= *tolerance);
        found.iter().zip(balls).filter(|&pair| is_near(pair)).count() as f64 / balls.len() as f64
    }
}

impl Detector {
    fn fit(images: &Tensor, balls: &[[f32; 2]]) -> Self {
        let (size, stride) = (images.size(), balls.len().div_ceil(MAX_FRAMES));
        let images = images.slice(0, None, None, stride as i64) - images.mean_dim(0, true, Kind::Float);
        let places: Vec<i64> =
            balls.iter().step_by(stride).map(|&[row, column]| row as i64 * size[3] + column as i64).collect();
        let (places, n) = (Tensor::from_slice(&places), places.len() as i64);
        let layers = vec![
            Operation::conv([size[1], FILTERS], 7, 1, 3),
            Operation::relu(),
            Operation::conv([FILTERS, 1], 5, 1, 2),
        ];
        let mut rng = Seeds::new(0).stream("ball-detector");
        let mut network = Sequential::new(layers, OptimConfig::of(Rule::Adam), images.device(), &mut rng);
        let per_pass = (n / BATCH).max(1);
        let n_steps = N_PASSES as i64 * per_pass;
        for step in 0..n_steps {
            // Frames of a batch are evenly spaced, since neighbours are alike.
            let batch = Tensor::arange(BATCH.min(n), (Kind::Int64, images.device())) * per_pass + step % per_pass;
            let answers = network.forward(&images.index_select(0, &batch)).flatten(1, -1);
            let loss = answers.cross_entropy_for_logits(&places.index_select(0, &batch));
            let cosine = (std::f64::consts::PI * step as f64 / n_steps as f64).cos();
            descend(&loss, &mut [&mut network], FIRST_LR * f64::midpoint(1.0, cosine));
        }
        Self(network)
    }

    /// Returns row and column of the ball in each image. All images are of one kind.
    fn find(&self, images: &Tensor) -> Vec<[f32; 2]> {
        let mean = images.mean_dim(0, true, Kind::Float);
        let answers = |x: &Tensor| tch::no_grad(|| self.0.forward(&(x - &mean)).squeeze_dim(1));
        images.split(BATCH, 0).iter().flat_map(|x| largest(&answers(x))).collect()
    }
}

/// Returns row and column of the middle of the largest element in each of `[n, rows, columns]`.
fn largest(planes: &Tensor) -> Vec<[f32; 2]> {
    let columns = planes.size()[2];
    let at = Vec::<i64>::try_from(planes.flatten(1, -1).argmax(1, false)).expect("a vector of integers");
    at.into_iter().map(|at| [(at / columns) as f32 + 0.5, (at % columns) as f32 + 0.5]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// 20×20 pixels with a bar across that is always there, one now and then, and a ball of 2×2 pixels.
    fn planted(n: usize) -> (Tensor, Vec<[f32; 2]>) {
        let images = Tensor::zeros([n as i64, 1, 20, 20], (Kind::Float, Device::Cpu));
        let mut balls = vec![];
        for i in 0..n {
            let image = images.get(i as i64).get(0);
            let _ = image.narrow(0, 0, 3).fill_(0.9);
            if i % 3 == 0 {
                let _ = image.narrow(0, 16, 3).narrow(1, 5, 10).fill_(0.6);
            }
            let (row, column) = (4 + (7 * i) % 9, 2 + (5 * i) % 15);
            let _ = image.narrow(0, row as i64, 2).narrow(1, column as i64, 2).fill_(0.5);
            balls.push([row as f32 + 1.0, column as f32 + 1.0]);
        }
        (images, balls)
    }

    #[test]
    fn a_planted_ball_is_found_and_one_wiped_out_is_not() {
        let (images, balls) = planted(400);
        let finder = Finder::Detector(Box::new(Detector::fit(&images, &balls)), 2.0);
        let (test, places) = planted(90);
        assert!(finder.recall(&test, &places) > 0.98, "{}", finder.recall(&test, &places));
        let wiped = test.shallow_clone().copy();
        let _ = wiped.narrow(2, 3, 13).fill_(0.0);
        assert!(finder.recall(&wiped, &places) < 0.2, "{}", finder.recall(&wiped, &places));
    }

    #[test]
    fn the_ball_of_planes_may_be_a_cell_off() {
        let images = Tensor::zeros([3, 4, 10, 10], (Kind::Float, Device::Cpu));
        for (i, (row, column)) in [(4, 4), (5, 3), (4, 2)].into_iter().enumerate() {
            let _ = images.get(i as i64).get(1).get(row).get(column).fill_(0.7);
        }
        // The first is on the spot, the second a diagonal step away, the third two columns.
        let recall = Finder::Plane(1, 1.0).recall(&images, &[[4.5, 4.5]; 3]);
        assert!((recall - 2.0 / 3.0).abs() < 1e-12, "{recall}");
    }
}
