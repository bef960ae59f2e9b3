//! Measures of generated images on the features of a classifier.

use super::distance::{frechet, kernel};
use super::manifold::precision_recall;
use super::modes::Modes;
use crate::generative::classifier::Classifier;
use crate::generative::images::Data;
use crate::generative::model::{Effort, Measures};
use tch::Tensor;

/// A sphere of precision and recall reaches to the neighbour of this rank (Kynkäänniemi et al. 2019).
const NEIGHBOURS: i64 = 3;

/// A fitted classifier of single-channel images.
pub(crate) struct Judge {
    classifier: Classifier,
    sha256: String,
}

impl Judge {
    /// Makes a judge of a fitted classifier.
    pub(crate) fn new(classifier: Classifier) -> Self {
        Self { sha256: classifier.sha256(), classifier }
    }

    /// Returns the number of samples for [`Judge::measure`]: 2,000 for a point of the learning curve, and 10,000 for
    /// full measures, or 26,000 if modes are counted (Srivastava et al. 2017; Lin et al. 2018).
    pub(crate) fn n_samples(data: &Data, effort: Effort) -> usize {
        match effort {
            Effort::Curve => 2000,
            Effort::Full if data.shape[0] > 1 => 26_000,
            Effort::Full => 10_000,
        }
    }

    /// Compares `samples`, `[n, channels, rows, columns]` in 0..=1, with as many test images, and those with as many
    /// training images. Images of several channels are classified channel by channel, and their modes are counted.
    pub(crate) fn measure(&self, samples: &Tensor, data: &Data) -> Measures {
        let mut measures = Measures::default();
        if data.shape[0] > 1 {
            self.count_modes(samples, &mut measures);
        } else {
            self.compare(samples, data, &mut measures);
        }
        measures.note("classifier", self.sha256.as_str());
        measures
    }

    fn compare(&self, samples: &Tensor, data: &Data, measures: &mut Measures) {
        let n = (samples.size()[0] as usize).min(data.test.len()).min(data.train.len());
        if n <= NEIGHBOURS as usize {
            measures.note("samples", format!("not compared with the data: {n} images are too few"));
            return;
        }
        let (fake, classes) = self.features(&samples.narrow(0, 0, n as i64));
        let (real, _) = self.features(&data.test.spaced(n).all());
        let (other, _) = self.features(&data.train.spaced(n).all());
        measures.add("test/fid", frechet(&fake, &real));
        measures.add("test/fid_floor", frechet(&other, &real));
        let block = (n as i64 / 10).max(2);
        let (distance, floor) = (kernel(&fake, &real, block), kernel(&other, &real, block));
        measures.add("test/kid", distance.mean);
        measures.add("test/kid_error", distance.error);
        measures.add("test/kid_floor", floor.mean);
        measures.add("test/kid_floor_error", floor.error);
        let (ours, ceiling) = (precision_recall(&real, &fake, NEIGHBOURS), precision_recall(&real, &other, NEIGHBOURS));
        measures.add("test/precision", ours.precision);
        measures.add("test/recall", ours.recall);
        measures.add("test/precision_real", ceiling.precision);
        measures.add("test/recall_real", ceiling.recall);
        let shares = Modes::of(&classes, data.n_classes).shares();
        measures.add("test/class_min", shares.iter().copied().fold(1.0, f64::min));
        measures.add("test/class_max", shares.iter().copied().fold(0.0, f64::max));
        let shares: Vec<String> = shares.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
        measures.note("classes", format!("{} % of the samples", shares.join(" ")));
        measures.note(
            "samples",
            format!("{n}, compared with as many test images; floors compare as many training images with these"),
        );
    }

    fn count_modes(&self, samples: &Tensor, measures: &mut Measures) {
        let [n, channels, rows, columns] = samples.size()[..] else { panic!("images, channel by channel") };
        let (_, classes) = self.features(&samples.reshape([n * channels, 1, rows, columns]));
        let modes = Modes::stacked(&classes.view([n, channels]), self.classifier.n_classes());
        measures.add("test/modes", modes.n_found() as f64);
        measures.add("test/modes_kl", modes.kl_to_uniform());
        let floor = (modes.n_modes() - 1) as f64 / (2 * n) as f64;
        measures.note(
            "modes",
            format!(
                "{} of {}, of {n} samples (KL of as many perfect ones: {floor:.3})",
                modes.n_found(),
                modes.n_modes()
            ),
        );
    }

    /// Returns features `[n, d]` and classes `[n]`.
    fn features(&self, images: &Tensor) -> (Tensor, Tensor) {
        let judged: Vec<_> = images.split(1000, 0).iter().map(|x| self.classifier.judge(x)).collect();
        let (features, classes): (Vec<_>, Vec<_>) = judged.into_iter().unzip();
        (Tensor::cat(&features, 0), Tensor::cat(&classes, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::classifier::ClassifierConfig;
    use crate::generative::data::{Dataset, Split};
    use crate::generative::settings::ModelTask;
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

    fn judge() -> Judge {
        let (data, config) = (noise(1), ClassifierConfig { latent_dim: 4, ..ClassifierConfig::default() });
        let task = ModelTask { data: &data, total_steps: 1, device: Device::Cpu };
        let classifier = Classifier::new(&config, &task, &mut Seeds::new(0).stream("init")).unwrap();
        Judge::new(classifier)
    }

    #[test]
    fn test_images_as_samples_are_perfect() {
        let data = noise(1);
        let measures = tch::no_grad(|| judge().measure(&data.test.spaced(40).all(), &data));
        let get = |name: &str| measures.get(name).unwrap();
        assert!(get("test/fid").abs() < 1e-6 && get("test/fid_floor") > get("test/fid"), "{measures:?}");
        assert_eq!([get("test/precision"), get("test/recall")], [1.0, 1.0]);
        assert!((get("test/class_min") + get("test/class_max") - 1.0).abs() < 1e-9, "of two classes");
        assert!(measures.facts.iter().any(|(name, hash)| *name == "classifier" && hash.len() == 64));
    }

    #[test]
    fn channels_are_judged_one_by_one() {
        let data = noise(3);
        let one = data.test.spaced(1).all().repeat([5, 1, 1, 1]);
        let measures = tch::no_grad(|| judge().measure(&one, &data));
        assert_eq!(measures.get("test/modes"), Some(1.0));
        // All of one of eight modes: ln 8.
        assert!((measures.get("test/modes_kl").unwrap() - 8.0_f64.ln()).abs() < 1e-9);
    }
}
