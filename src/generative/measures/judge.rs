//! Measures of generated images on the features of a classifier.

use super::distance::{frechet, kernel};
use super::manifold::precision_recall;
use super::memorisation::{COPIED_REAL, nearness};
use super::modes::Modes;
use crate::generative::classifier::Classifier;
use crate::generative::images::Data;
use crate::generative::model::{Effort, Measures};
use tch::Tensor;

/// A sphere of precision and recall reaches to the neighbour of this rank (Kynkäänniemi et al. 2019).
const NEIGHBOURS: i64 = 3;

/// Bounds the samples whose distance to all training images is measured.
const MAX_COPIES: usize = 1000;

/// A fitted classifier of the images that a model draws, or of each of their channels.
pub(crate) struct Judge {
    classifier: Classifier,
    n_channels: i64,
    sha256: String,
}

impl Judge {
    /// Makes a judge of a fitted classifier of images of `n_channels`.
    pub(crate) fn new(classifier: Classifier, n_channels: i64) -> Self {
        Self { sha256: classifier.sha256(), classifier, n_channels }
    }

    /// Whether images of `data` are classified channel by channel.
    fn counts_modes(&self, data: &Data) -> bool {
        data.shape[0] > self.n_channels
    }

    /// Returns the number of samples for [`Judge::measure`]: 2,000 for a point of the learning curve, and 10,000 for
    /// full measures, or 26,000 if modes are counted (Srivastava et al. 2017; Lin et al. 2018).
    pub(crate) fn n_samples(&self, data: &Data, effort: Effort) -> usize {
        match effort {
            Effort::Curve => 2000,
            Effort::Full if self.counts_modes(data) => 26_000,
            Effort::Full => 10_000,
        }
    }

    /// Compares `samples`, `[n, channels, rows, columns]` in 0..=1, with held-out images, and two halves of those with
    /// each other. If the classifier is of single channels, images of several are classified channel by channel, and
    /// their modes are counted.
    ///
    /// The held-out images are the test split; the judge was fitted to the training split, so distances to its images
    /// would be no floor. One half of them is for points of the learning curve, by which settings are chosen
    /// (`validation/`), the other for full measures (`test/`). Names end with the number of samples, since most
    /// measures depend on it.
    pub(crate) fn measure(&self, samples: &Tensor, data: &Data, effort: Effort) -> Measures {
        let mut measures = Measures::default();
        if self.counts_modes(data) {
            self.count_modes(samples, data, effort, &mut measures);
        } else {
            self.compare(samples, data, effort, &mut measures);
        }
        if effort == Effort::Full {
            check_copies(samples, data, &mut measures);
        }
        measures.note("classifier", self.sha256.as_str());
        measures
    }

    fn compare(&self, samples: &Tensor, data: &Data, effort: Effort, measures: &mut Measures) {
        let n = (samples.size()[0] as usize).min(data.test.len() / 2);
        if n <= NEIGHBOURS as usize {
            measures.note("samples", format!("not compared with the data: {n} images are too few"));
            return;
        }
        let (split, other_split) = match effort {
            Effort::Curve => ("validation", "test"),
            Effort::Full => ("test", "validation"),
        };
        let name = |measure: &str, what: &str| format!("{split}/{measure}_{n}{what}");
        let (fake, classes) = self.features(&samples.narrow(0, 0, n as i64));
        let [real, other] =
            [split, other_split].map(|split| self.features(&data.test.half(half_of(split)).spaced(n).all()).0);
        measures.add(name("fid", ""), frechet(&fake, &real));
        measures.add(name("fid", "_floor"), frechet(&other, &real));
        let block = (n as i64 / 10).max(2);
        let (distance, floor) = (kernel(&fake, &real, block), kernel(&other, &real, block));
        measures.add(name("kid", ""), distance.mean);
        measures.add(name("kid", "_error"), distance.error);
        measures.add(name("kid", "_floor"), floor.mean);
        measures.add(name("kid", "_floor_error"), floor.error);
        let (ours, ceiling) = (precision_recall(&real, &fake, NEIGHBOURS), precision_recall(&real, &other, NEIGHBOURS));
        measures.add(name("precision", ""), ours.precision);
        measures.add(name("recall", ""), ours.recall);
        measures.add(name("precision", "_real"), ceiling.precision);
        measures.add(name("recall", "_real"), ceiling.recall);
        let shares = Modes::of(&classes, data.n_classes).shares();
        measures.add(name("class_min", ""), shares.iter().copied().fold(1.0, f64::min));
        measures.add(name("class_max", ""), shares.iter().copied().fold(0.0, f64::max));
        let shares: Vec<String> = shares.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
        measures.note("classes", format!("{} % of the samples", shares.join(" ")));
        measures.note(
            "samples",
            format!("{n}, compared with as many images of one half of the test split; floors compare its two halves"),
        );
    }

    fn count_modes(&self, samples: &Tensor, data: &Data, effort: Effort, measures: &mut Measures) {
        let n = samples.size()[0];
        let split = if effort == Effort::Curve { "validation" } else { "test" };
        let modes = self.modes(samples);
        measures.add(format!("{split}/modes_{n}"), modes.n_found() as f64);
        measures.add(format!("{split}/modes_kl_{n}"), modes.kl_to_uniform());
        let mut note = format!("{} of {}, of {n} samples", modes.n_found(), modes.n_modes());
        if effort == Effort::Full {
            // The digits of the data are not equally frequent, so real images have a divergence too.
            let real = self.modes(&data.train.spaced(n as usize).all());
            measures.add(format!("test/modes_kl_{n}_real"), real.kl_to_uniform());
            note += "; _real is of as many training images";
        }
        measures.note("modes", note);
    }

    /// Counts the modes of images `[n, channels, rows, columns]`.
    fn modes(&self, images: &Tensor) -> Modes {
        let [n, channels, rows, columns] = images.size()[..] else { panic!("images, channel by channel") };
        let (_, classes) = self.features(&images.reshape([n * channels, 1, rows, columns]));
        Modes::stacked(&classes.view([n, channels]), self.classifier.n_classes())
    }

    /// Returns features `[n, d]` and classes `[n]`.
    fn features(&self, images: &Tensor) -> (Tensor, Tensor) {
        let judged: Vec<_> = images.split(1000, 0).iter().map(|x| self.classifier.judge(x)).collect();
        let (features, classes): (Vec<_>, Vec<_>) = judged.into_iter().unzip();
        (Tensor::cat(&features, 0), Tensor::cat(&classes, 0))
    }
}

/// Returns which half of the held-out images a split is.
fn half_of(split: &str) -> i64 {
    i64::from(split == "test")
}

/// Adds how near the samples are to training images, beside held-out images.
fn check_copies(samples: &Tensor, data: &Data, measures: &mut Measures) {
    let held_out = data.test.spaced(MAX_COPIES).all();
    let n = samples.size()[0].min(held_out.size()[0]);
    let found = nearness(&samples.narrow(0, 0, n), &held_out, &data.train);
    measures.add(format!("test/nearest_{n}"), found.nearest);
    measures.add(format!("test/nearest_{n}_real"), found.nearest_real);
    measures.add(format!("test/copied_{n}"), found.copied);
    measures.note(
        "copied",
        format!(
            "{n} samples: {:.1} % are nearer to a training image than all but {:.0} % of as many test images",
            100.0 * found.copied,
            100.0 * COPIED_REAL
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::classifier::ClassifierConfig;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::settings::{ModelTask, Optimizer};
    use carom_envs::Seeds;
    use tch::Device;

    /// Noise of two classes in images of 8×8.
    fn noise(channels: usize) -> Data {
        let split = |first: usize| {
            let pixels = (first..first + 40 * channels * 64).map(|pixel| (pixel * pixel * 31 % 251) as u8).collect();
            Split::new([channels, 8, 8], pixels, (0..40).map(|idx| idx % 2).collect())
        };
        let (train, test) = (split(0), split(7));
        let shape = [channels, 8, 8];
        Data::new(&Dataset { name: "noise".to_owned(), shape, max: 255, n_classes: 2, train, test }, Device::Cpu)
    }

    fn judge(channels: usize) -> Judge {
        let (data, config) = (noise(channels), ClassifierConfig { latent_dim: 4, ..ClassifierConfig::default() });
        let task = ModelTask { data: &data, total_steps: 1, optimizer: Optimizer::Adam, device: Device::Cpu };
        let classifier = Classifier::new(&config, &task, &mut Seeds::new(0).stream("init")).unwrap();
        Judge::new(classifier, channels as i64)
    }

    #[test]
    fn test_images_as_samples_are_perfect() {
        let data = noise(1);
        let measures = tch::no_grad(|| judge(1).measure(&data.test.half(1).all(), &data, Effort::Full));
        let get = |name: &str| measures.get(name).unwrap_or_else(|| panic!("{name} of {measures:?}"));
        assert!(get("test/fid_20").abs() < 1e-6 && get("test/fid_20_floor") > get("test/fid_20"), "{measures:?}");
        assert_eq!([get("test/precision_20"), get("test/recall_20")], [1.0, 1.0]);
        assert!((get("test/class_min_20") + get("test/class_max_20") - 1.0).abs() < 1e-9, "of two classes");
        assert!(measures.facts.iter().any(|(name, hash)| *name == "classifier" && hash.len() == 64));
    }

    #[test]
    fn settings_are_chosen_and_reported_on_different_images_and_floors_are_of_held_out_ones() {
        let data = noise(1);
        let measure = |samples: &Tensor, effort| tch::no_grad(|| judge(1).measure(samples, &data, effort));
        // Samples that are the images of one half are perfect there, and are what real images are in the other.
        let validation = data.test.half(0).all();
        let (curve, full) = (measure(&validation, Effort::Curve), measure(&validation, Effort::Full));
        assert!(curve.get("validation/fid_20").unwrap().abs() < 1e-6 && curve.get("test/fid_20").is_none());
        let floor = full.get("test/fid_20_floor").unwrap();
        assert!((full.get("test/fid_20").unwrap() - floor).abs() < 1e-9 && floor > 1e-6, "{full:?}");
    }

    #[test]
    fn training_images_as_samples_are_copies() {
        let data = noise(1);
        let copied = |samples: &Tensor| {
            let measures = tch::no_grad(|| judge(1).measure(samples, &data, Effort::Full));
            measures.get("test/copied_40").unwrap()
        };
        assert_eq!(copied(&data.train.all()), 1.0);
        assert!(copied(&data.test.all()) < 0.1, "{}", copied(&data.test.all()));
    }

    #[test]
    fn channels_are_judged_one_by_one() {
        let data = noise(3);
        let one = data.test.spaced(1).all().repeat([5, 1, 1, 1]);
        let measures = tch::no_grad(|| judge(1).measure(&one, &data, Effort::Full));
        assert_eq!(measures.get("test/modes_5"), Some(1.0));
        // All of one of eight modes: ln 8.
        assert!((measures.get("test/modes_kl_5").unwrap() - 8.0_f64.ln()).abs() < 1e-9);
        // Real images have modes of unequal frequency.
        let all = data.train.all();
        let real = tch::no_grad(|| judge(1).measure(&all, &data, Effort::Full));
        let floor = real.get("test/modes_kl_40_real").unwrap();
        assert!(floor > 0.0 && real.get("test/modes_kl_40") == Some(floor), "{real:?}");
    }

    #[test]
    fn a_classifier_of_several_channels_judges_them_together() {
        let data = noise(3);
        let measures = tch::no_grad(|| judge(3).measure(&data.test.half(1).all(), &data, Effort::Full));
        assert!(measures.get("test/fid_20").is_some_and(|fid| fid.abs() < 1e-6), "{measures:?}");
        assert!(measures.get("test/modes_20").is_none(), "{measures:?}");
    }
}
