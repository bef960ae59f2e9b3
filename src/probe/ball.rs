//! Finds the ball in true and decoded images, or the player of a game without a ball.
//!
//! In planes, it is at the maximum of its plane (the first of several). In pixels, it is at the maximum of
//! a detector's output: two convolutions with a receptive field of 11×11 pixels. They are fitted to true training
//! frames only, by the cross-entropy of a softmax over all positions. The detector's input is an image less the mean of
//! all images of its kind. For decoded frames that is the mean of the encoder's decoded test frames, so that a wall
//! that every frame shows slightly wrong is not taken for a ball.
//!
//! A maximum is somewhere in an empty image too. What is found must therefore have a share of the true brightness.

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

/// Share of the true brightness that a decoded ball must have.
const MIN_BRIGHTNESS: f32 = 0.5;

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

    /// Returns for each of `images` whether it has the ball: found within the tolerance of `balls`, in rows and in
    /// columns, and at least half as bright as in the true frames `truth`. In pixels, brightness is what an image has
    /// above the mean of its kind.
    pub(super) fn found(&self, images: &Tensor, truth: &Tensor, balls: &[[f32; 2]]) -> Vec<bool> {
        let (found, tolerance, brightness) = match self {
            Finder::Plane(plane, tolerance) => {
                let values = [images, truth].map(|images| floats(&images.select(1, *plane).amax([1, 2], false)));
                (largest(&images.select(1, *plane)), tolerance, values)
            }
            Finder::Detector(detector, tolerance) => {
                let found = detector.find(images);
                let values = [brightest(images, &found), brightest(truth, balls)];
                (found, tolerance, values)
            }
        };
        let is_near = |i: usize| found[i].iter().zip(balls[i]).all(|(a, b)| (a - b).abs() <= *tolerance);
        let is_bright = |i: usize| brightness[0][i] >= MIN_BRIGHTNESS * brightness[1][i];
        (0..balls.len()).map(|i| is_near(i) && is_bright(i)).collect()
    }
}

/// Returns what the brightest pixel around each place, 3×3 pixels in all, has above the mean of the images.
fn brightest(images: &Tensor, places: &[[f32; 2]]) -> Vec<f32> {
    let contrast = images - images.mean_dim(0, true, Kind::Float);
    // The maximum over the neighbourhood of each pixel.
    let peaks = contrast.amax([1], true).max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false).flatten(1, -1);
    let [.., rows, columns] = images.size()[..] else { panic!("images have rows and columns") };
    let at =
        |[row, column]: &[f32; 2]| (*row as i64).clamp(0, rows - 1) * columns + (*column as i64).clamp(0, columns - 1);
    let at = Tensor::from_slice(&places.iter().map(at).collect::<Vec<_>>()).unsqueeze(1).to_device(images.device());
    floats(&peaks.gather(1, &at, false))
}

fn floats(values: &Tensor) -> Vec<f32> {
    Vec::try_from(values.flatten(0, -1)).expect("a vector of floats")
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

    fn recall(finder: &Finder, images: &Tensor, truth: &Tensor, balls: &[[f32; 2]]) -> f64 {
        let found = finder.found(images, truth, balls);
        found.iter().filter(|&&found| found).count() as f64 / balls.len() as f64
    }

    #[test]
    fn a_planted_ball_is_found_and_one_wiped_out_or_faint_is_not() {
        let (images, balls) = planted(400);
        let finder = Finder::Detector(Box::new(Detector::fit(&images, &balls)), 2.0);
        let (test, places) = planted(90);
        let recall = |images: &Tensor| recall(&finder, images, &test, &places);
        assert!(recall(&test) > 0.98, "{}", recall(&test));
        let wiped = test.copy();
        let _ = wiped.narrow(2, 3, 13).fill_(0.0);
        assert!(recall(&wiped) < 0.2, "{}", recall(&wiped));
        // In its place, at a tenth or at seven tenths of its brightness.
        let dimmed = |share: f64| {
            let dimmed = test.copy();
            let mut field = dimmed.narrow(2, 3, 13);
            field *= share;
            dimmed
        };
        assert!(recall(&dimmed(0.1)) < 0.2 && recall(&dimmed(0.7)) > 0.9, "{}", recall(&dimmed(0.7)));
    }

    #[test]
    fn the_ball_of_planes_may_be_a_cell_off_and_no_ghost() {
        let images = Tensor::zeros([3, 4, 10, 10], (Kind::Float, Device::Cpu));
        for (i, (row, column)) in [(4, 4), (5, 3), (4, 2)].into_iter().enumerate() {
            let _ = images.get(i as i64).get(1).get(row).get(column).fill_(0.7);
        }
        // The first is on the spot, the second a diagonal step away, the third two columns.
        let truth = Tensor::zeros([3, 4, 10, 10], (Kind::Float, Device::Cpu));
        let _ = truth.select(1, 1).select(1, 4).select(1, 4).fill_(1.0);
        let recall = |images: &Tensor| recall(&Finder::Plane(1, 1.0), images, &truth, &[[4.5, 4.5]; 3]);
        assert!((recall(&images) - 2.0 / 3.0).abs() < 1e-12, "{}", recall(&images));
        assert_eq!(recall(&(images * 0.6)), 0.0, "0.42 of the true brightness");
    }
}
