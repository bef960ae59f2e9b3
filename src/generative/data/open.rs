//! Opens data sets by their source.

use super::dataset::{Dataset, Split};
use super::fetch;
use super::frames;
use super::idx::{self, Idx};
use super::movies;
use super::published::{self, FASHION_MNIST, MNIST};
use super::source::Source;
use super::stacked;
use crate::files::shown;
use anyhow::{Result, bail, ensure};
use std::path::Path;

/// Reads a data set. A published set is fetched first if it is not in the cache, or read from the folder `data_dir`, if
/// given. Random data are drawn from `seed`.
///
/// # Errors
/// When the set cannot be fetched, a file is damaged, or the source is not read from a `data_dir`.
pub(crate) fn open(source: &Source, data_dir: Option<&Path>, seed: u64) -> Result<Dataset> {
    if let Some(folder) = data_dir.filter(|_| source.published().is_none()) {
        bail!("--data-dir {}: {source} is not read from a folder; leave --data-dir out", shown(folder).display());
    }
    match source {
        Source::Mnist => images(source, fetch::read(&MNIST, data_dir)?.map(Some)),
        Source::FashionMnist => images(source, fetch::read(&FASHION_MNIST, data_dir)?.map(Some)),
        Source::StackedMnist => Ok(stacked::dataset(&open(&Source::Mnist, data_dir, seed)?, seed)),
        Source::Movies => Ok(movies::dataset()),
        Source::Env(spec) => {
            let n_frames = frames::default_n_frames(spec)?;
            Ok(frames::to_dataset(&frames::collect(spec, n_frames, seed)?))
        }
        Source::Folder(folder) => images(source, idx_files(folder)?),
    }
}

/// Reads the four files of a folder. Those of labels may be missing.
fn idx_files(folder: &Path) -> Result<[Option<Idx>; 4]> {
    ensure!(folder.is_dir(), "there is no folder `{}`, which the images are read from", folder.display());
    let images = |prefixes: &[&str]| idx::read(&published::find(folder, prefixes)?).map(Some);
    let labels = |prefixes: &[&str]| published::find(folder, prefixes).ok().map(|path| idx::read(&path)).transpose();
    Ok([
        images(&["train-images"])?,
        labels(&["train-labels"])?,
        images(&["t10k-images", "test-images"])?,
        labels(&["t10k-labels", "test-labels"])?,
    ])
}

/// Makes a data set of gray levels from training images and labels, test images and labels.
fn images(
    source: &Source,
    [train_images, train_labels, test_images, test_labels]: [Option<Idx>; 4],
) -> Result<Dataset> {
    let (Some(train_images), Some(test_images)) = (train_images, test_images) else { unreachable!("images are there") };
    for (there, missing) in [(&train_labels, &test_labels), (&test_labels, &train_labels)] {
        if let (Some(there), None) = (there, missing) {
            let hint = "add the labels of the other split, or remove these";
            bail!("{}: only one split has labels, but both or neither must; {hint}", there.path.display());
        }
    }
    let shape = image_shape(&train_images)?;
    let test_shape = image_shape(&test_images)?;
    ensure!(
        shape == test_shape,
        "{}: images of {test_shape:?}, but those of {} are {shape:?}",
        test_images.path.display(),
        train_images.path.display()
    );
    let train = split(shape, train_images, train_labels)?;
    let test = split(shape, test_images, test_labels)?;
    let largest = train.labels.iter().chain(&test.labels).max();
    let n_classes = largest.map_or(0, |&label| usize::from(label) + 1);
    Ok(Dataset { name: source.to_string(), shape, max: 255, n_classes, train, test })
}

/// Bounds the channels of coloured images: red, green, blue and opacity.
const MAX_COLOURS: usize = 4;

/// Returns `[channels, rows, columns]` from the header of a file of images.
fn image_shape(images: &Idx) -> Result<[usize; 3]> {
    let shape = match images.dims[..] {
        [_, rows, columns] => [1, rows, columns],
        [_, channels, rows, columns] => {
            ensure!(
                columns > MAX_COLOURS || channels <= MAX_COLOURS,
                "{}: sizes {:?} have the colours last; expected [images, channels, rows, columns], e.g. by NumPy's \
                 moveaxis(x, -1, 1)",
                images.path.display(),
                images.dims
            );
            [channels, rows, columns]
        }
        _ => bail!("{}: sizes {:?} are not of images", images.path.display(), images.dims),
    };
    ensure!(!images.elements.is_empty(), "{}: it contains no images (sizes {:?})", images.path.display(), images.dims);
    Ok(shape)
}

fn split(shape: [usize; 3], images: Idx, labels: Option<Idx>) -> Result<Split> {
    if let Some(labels) = &labels {
        let n = images.dims[0];
        ensure!(
            labels.dims == [n],
            "{}: sizes {:?}, expected [{n}], one label for each image of {}",
            labels.path.display(),
            labels.dims,
            images.path.display()
        );
    }
    Ok(Split::new(shape, images.elements, labels.map(|labels| labels.elements).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    fn write(folder: &Path, name: &str, dims: &[usize], elements: &[u8]) {
        let idx = Idx { path: name.into(), dims: dims.to_vec(), elements: elements.to_vec() };
        let mut bytes = Vec::new();
        idx.write(&mut bytes).expect("memory takes all");
        fs::write(folder.join(name), bytes).expect("writable");
    }

    #[test]
    fn the_six_films_are_those_of_the_source() {
        let movies = open(&Source::Movies, None, 0).expect("built in");
        assert_eq!((movies.shape, movies.max, movies.n_classes, movies.train.len()), ([1, 1, 6], 1, 0, 6));
        assert_eq!(movies.train.image(3), [0, 0, 1, 1, 1, 0]);
        assert_eq!(movies.train, movies.test);
        let message = open(&Source::Movies, Some(Path::new("/tmp")), 0).expect_err("no files").to_string();
        assert!(message.contains("--data-dir /tmp"), "{message}");
    }

    #[test]
    fn a_folder_of_idx_files_is_a_data_set() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = Source::Folder(folder.path().to_owned());
        let refuse = || format!("{:#}", open(&source, None, 0).expect_err("not whole"));
        assert!(refuse().contains("no train-images*"), "{}", refuse());
        write(folder.path(), "train-images", &[2, 3, 1, 2], &(0..12).collect::<Vec<_>>());
        assert!(refuse().contains("no t10k-images* or test-images*"), "{}", refuse());
        write(folder.path(), "test-images", &[1, 2, 3], &[0; 6]);
        assert!(refuse().contains("test-images: images of [1, 2, 3], but those of"), "{}", refuse());
        write(folder.path(), "test-images", &[1, 3, 1, 2], &[9; 6]);
        let unlabelled = open(&source, None, 0).expect("whole");
        assert_eq!((unlabelled.shape, unlabelled.max, unlabelled.n_classes), ([3, 1, 2], 255, 0));
        assert_eq!(
            (unlabelled.train.len(), unlabelled.test.len(), unlabelled.train.image(1)),
            (2, 1, &[6, 7, 8, 9, 10, 11][..])
        );
        write(folder.path(), "train-labels", &[2], &[1, 4]);
        assert!(refuse().contains("train-labels: only one split has labels"), "{}", refuse());
        write(folder.path(), "test-labels", &[2], &[1, 1]);
        assert!(refuse().contains("test-labels: sizes [2], expected [1]"), "{}", refuse());
        write(folder.path(), "test-labels", &[1], &[2]);
        assert_eq!(open(&source, None, 0).expect("whole").n_classes, 5);
        write(folder.path(), "train-images", &[1, 5, 6, 3], &[0; 90]);
        assert!(refuse().contains("[1, 5, 6, 3] have the colours last; expected [images, channels"), "{}", refuse());
        write(folder.path(), "train-images", &[0, 1, 2], &[]);
        assert!(refuse().contains("train-images: it contains no images"), "{}", refuse());
        write(folder.path(), "train-images", &[2], &[1, 1]);
        assert!(refuse().contains("train-images: sizes [2] are not of images"), "{}", refuse());
    }

    #[test]
    fn mnist_is_the_published_one() {
        let Some(folder) = MNIST.found() else {
            return eprintln!("skipped: MNIST is not in the cache; `carom data mnist` fetches it");
        };
        let mnist = open(&Source::Mnist, Some(&folder), 0).expect("whole");
        assert_eq!(
            (mnist.shape, mnist.train.len(), mnist.test.len(), mnist.n_classes),
            ([1, 28, 28], 60_000, 10_000, 10)
        );
        assert_eq!(mnist.train.labels[..5], [5, 0, 4, 1, 9]);
        // 0.1307, the mean by which MNIST is usually normalised.
        let mean =
            mnist.train.pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / mnist.train.pixels.len() as f64;
        assert!((mean / 255.0 - 0.1307).abs() < 5e-5, "{mean}");
    }
}
