//! Stacked MNIST: three digits as the three channels of one image, so that there are a thousand kinds of image.
//!
//! Source: Metz, Poole, Pfau and Sohl-Dickstein 2017, "Unrolled Generative Adversarial Networks", section 3.3.1: how
//! many of the 1000 kinds a generator makes measures how much of the data it covers.

use super::dataset::{Dataset, Split};
use carom_envs::Seeds;
use rand::Rng;

const N_CHANNELS: usize = 3;

/// Draws as many images as `mnist` has, 60,000 of training digits and 10,000 of test digits, `[3, 28, 28]`, 165 MB.
/// Each digit is drawn uniformly and with replacement. There are no labels, since a thousand classes do not fit into a
/// byte.
pub(super) fn dataset(mnist: &Dataset, seed: u64) -> Dataset {
    let [_, rows, columns] = mnist.shape;
    let shape = [N_CHANNELS, rows, columns];
    let seeds = Seeds::new(seed);
    let split = |digits: &Split, stream: &str| {
        let mut rng = seeds.stream(stream);
        let mut pixels = Vec::with_capacity(N_CHANNELS * digits.pixels.len());
        for _ in 0..N_CHANNELS * digits.len() {
            pixels.extend_from_slice(digits.image(rng.gen_range(0..digits.len() as u32) as usize));
        }
        Split::new(shape, pixels, Vec::new())
    };
    let train = split(&mnist.train, "stacked-mnist/train");
    let test = split(&mnist.test, "stacked-mnist/test");
    Dataset { name: "stacked-mnist".to_owned(), shape, max: mnist.max, n_classes: 0, train, test }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_digits_drawn_from_the_seed() {
        let digits = |values: [u8; 4]| Split::new([1, 1, 2], values.to_vec(), vec![0, 1]);
        let (train, test) = (digits([10, 11, 20, 21]), digits([30, 31, 40, 41]));
        let mnist = Dataset { name: String::new(), shape: [1, 1, 2], max: 255, n_classes: 2, train, test };
        let stacked = dataset(&mnist, 5);
        assert_eq!((stacked.shape, stacked.train.len(), stacked.test.len()), ([3, 1, 2], 2, 2));
        let whole =
            |split: &Split, allowed: &[[u8; 2]]| split.pixels.chunks(2).all(|digit| allowed.iter().any(|a| a == digit));
        assert!(whole(&stacked.train, &[[10, 11], [20, 21]]) && whole(&stacked.test, &[[30, 31], [40, 41]]));
        assert_eq!(stacked, dataset(&mnist, 5));
        assert!((0..20).any(|seed| dataset(&mnist, seed).train != stacked.train));
    }
}
