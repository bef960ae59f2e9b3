//! Atomic writes of files and folders, removal of what this program wrote, locks, and digests in hexadecimal.
//!
//! A folder is removed as a whole only if the code has made it itself ([`Scratch`]). Of any other folder only files
//! that the program wrote are removed, and folders that are empty then.

use crate::interrupt::{self, Interrupted};
use anyhow::{Context, Result, anyhow, ensure};
use fs_err as fs;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::TryLockError;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Tells whether this program wrote a file in a folder: the folder, and the file's path below it.
pub(crate) type IsOurs = fn(&Path, &Path) -> bool;

/// Mark of the files that this program writes to places of its own choice: SVG, HTML, Markdown, TOML and scripts end
/// with it as a comment, a PNG names it as its software.
pub(crate) const MARK: &str = "Carom";

/// Name of a file that is being written, in a folder beside its place.
pub(crate) const SCRATCH_FILE: &str = "file";

/// Bounds the number of foreign files that a message names.
const MAX_NAMED: usize = 5;

/// Time between two tries to get a lock.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// Writes the file `path` atomically, and creates its folder if it is missing. `write` fills a file in a folder beside
/// it, which is fsynced and then renamed, so no reader sees half a file.
///
/// # Errors
/// When `write` fails, a file cannot be written, or `path` is something else than a file, as a device is. The file
/// beside it is removed then, and `path` is left as it was.
pub(crate) fn write_whole<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(path);
    name_of(path)?;
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other(format!("{} is there and is not a file", path.display())).into());
    }
    fs::create_dir_all(folder)?;
    let scratch = Scratch::beside(path)?;
    let aside = scratch.path().join(SCRATCH_FILE);
    let mut file = BufWriter::new(fs::File::create_new(&aside)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&aside, path)?;
    Ok(sync(folder)?)
}

/// Creates the folder `dir` atomically, or replaces it if `is_ours` is given. `fill` writes to an empty folder beside
/// it, which is fsynced with all its contents and then renamed. The files of the old folder are removed last.
///
/// # Errors
/// When `fill` fails, `dir` holds files that are not `is_ours`, or a file cannot be written. The folder beside it is
/// removed then, and `dir` is left as it was.
pub(crate) fn replace_folder<E: From<io::Error>>(
    dir: &Path,
    is_ours: Option<IsOurs>,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    name_of(dir)?;
    fs::create_dir_all(folder_of(dir))?;
    let made = Scratch::beside(dir)?;
    fill(made.path())?;
    sync_tree(made.path())?;
    Ok(swap(dir, made.path(), is_ours)?)
}

/// Renames the folder `made` to `dir`, and removes the files of the old one.
fn swap(dir: &Path, made: &Path, is_ours: Option<IsOurs>) -> io::Result<()> {
    // An empty folder is replaced by the system; of two processes that make the same folder, the second fails.
    let renamed = fs::rename(made, dir);
    let is_there = |error: &io::Error| [ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists].contains(&error.kind());
    let Some(is_ours) = is_ours.filter(|_| renamed.as_ref().is_err_and(is_there)) else {
        renamed?;
        return sync(folder_of(dir));
    };
    refuse_foreign(dir, &foreign(dir, is_ours)?)?;
    let old = names_beside(dir, "old")?.find(|old| fs::symlink_metadata(old).is_err()).expect("names never end");
    fs::rename(dir, &old)?;
    // The old folder has its name again if the new one cannot have it.
    fs::rename(made, dir).inspect_err(|_| drop(fs::rename(&old, dir)))?;
    sync(folder_of(dir))?;
    remove_ours(&old, is_ours)?;
    // Another program may have written to it in the meantime.
    if old.exists() { refuse_foreign(&old, &foreign(&old, is_ours)?) } else { Ok(()) }
}

fn refuse_foreign(dir: &Path, foreign: &[PathBuf]) -> io::Result<()> {
    match foreign_note(dir, foreign) {
        Some(note) => Err(io::Error::other(note)),
        None => Ok(()),
    }
}

/// Says which files of `dir` this program did not write; `None` if there are none.
pub(crate) fn foreign_note(dir: &Path, foreign: &[PathBuf]) -> Option<String> {
    let named = foreign.iter().take(MAX_NAMED).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let more = foreign.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!foreign.is_empty()).then(|| format!("{} holds files that Carom did not write ({named}{more})", dir.display()))
}

/// Returns the files below `dir` that are not `is_ours`, by their paths below `dir`.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) fn foreign(dir: &Path, is_ours: IsOurs) -> io::Result<Vec<PathBuf>> {
    let mut foreign = contents(dir)?.files;
    foreign.retain(|file| !is_ours(dir, file));
    Ok(foreign)
}

/// Removes the files below `dir` that are `is_ours`, and the folders that are empty then, `dir` itself among them.
///
/// # Errors
/// When a file cannot be removed.
pub(crate) fn remove_ours(dir: &Path, is_ours: IsOurs) -> io::Result<()> {
    let Contents { files, folders } = contents(dir)?;
    for file in files.iter().filter(|file| is_ours(dir, file)) {
        fs::remove_file(dir.join(file))?;
    }
    for folder in folders.iter().map(|folder| dir.join(folder)).chain([dir.to_owned()]) {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Paths below a folder.
#[derive(Default)]
struct Contents {
    /// Everything that is no folder; links too.
    files: Vec<PathBuf>,
    /// Each one after the folders in it.
    folders: Vec<PathBuf>,
}

fn contents(dir: &Path) -> io::Result<Contents> {
    fn walk(dir: &Path, below: &Path, found: &mut Contents) -> io::Result<()> {
        for entry in fs::read_dir(dir.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                walk(dir, &path, found)?;
                found.folders.push(path);
            } else {
                found.files.push(path);
            }
        }
        Ok(())
    }
    let mut found = Contents::default();
    walk(dir, Path::new(""), &mut found)?;
    found.files.sort();
    Ok(found)
}

/// A folder that this process has made for temporary files. It is removed with its contents on drop, also when the
/// process panics or a signal ends it.
pub(crate) struct Scratch(PathBuf);

/// The folders of all [`Scratch`] that live.
static SCRATCHES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn scratches() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    SCRATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all temporary folders of this process, which is about to end. A thread that makes another one or drops one
/// of these afterwards waits for the end.
pub(crate) fn remove_scratches() {
    let living = scratches();
    living.iter().for_each(|folder| discard(folder));
    mem::forget(living);
}

/// Removes a temporary folder. It is not there any more if it was renamed.
fn discard(scratch: &Path) {
    /// Another thread may write its first file there meanwhile, so that the folder is not empty.
    const TRIES: usize = 10;
    let is_filled = |removed: io::Result<()>| removed.is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty);
    let _ = (0..TRIES).find(|_| !is_filled(fs::remove_dir_all(scratch)));
}

impl Scratch {
    /// Makes a hidden folder beside `path`, so that renaming does not cross file systems.
    ///
    /// # Errors
    /// When it cannot be made, or `path` has no name.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        // Locked before the folder is there: a signal that comes next removes it.
        let mut living = scratches();
        for name in names_beside(path, "new")? {
            match fs::create_dir(&name) {
                Ok(()) => {
                    living.insert(name.clone());
                    return Ok(Self(name));
                }
                // A killed process had this one's id: in a container it is often 1.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("names never end")
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        discard(&self.0);
        scratches().remove(&self.0);
    }
}

/// Returns hidden names beside `path`, an endless row of them. They hold this process's id, so no other process that
/// runs uses them.
fn names_beside(path: &Path, what: &str) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
    let mut first = OsString::from(".");
    first.push(name_of(path)?);
    first.push(format!(".{what}-{}", std::process::id()));
    let folder = folder_of(path).to_owned();
    Ok((0_u64..).map(move |n| {
        let mut name = first.clone();
        if n > 0 {
            name.push(format!("-{n}"));
        }
        folder.join(name)
    }))
}

/// Returns the last part of `path`; `..` and `/` have none.
fn name_of(path: &Path) -> io::Result<&OsStr> {
    let unnamed = || io::Error::new(ErrorKind::InvalidInput, format!("{} does not name a file", path.display()));
    path.file_name().ok_or_else(unnamed)
}

/// Returns whether `name` is one that [`Scratch`] or a replaced folder has: a killed process leaves them.
pub(crate) fn is_left_over(name: &str) -> bool {
    let tail = [".new-", ".old-"].iter().find_map(|what| name.strip_prefix('.')?.rsplit_once(what));
    tail.is_some_and(|(name, id)| !name.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

/// Returns whether the file `path` has the mark of this program.
pub(crate) fn is_marked(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    [svg_mark(), line_mark()].iter().any(|mark| bytes.ends_with(mark.as_bytes()))
        || bytes.windows(16).take(200).any(|part| part.starts_with(PNG_MARK))
}

/// What to do about a picture that is in the way.
pub(crate) const OTHER_FILE: &str = "-o FILE writes elsewhere";

/// Checks that a file can be written to `path`, a place that the person who asked for it did not name.
///
/// # Errors
/// When there is something that this program did not write. The message ends with `advice`.
pub(crate) fn check_default(path: &Path, advice: &str) -> Result<()> {
    let is_free = fs::symlink_metadata(path).is_err() || is_marked(path);
    ensure!(is_free, "{} is there, and Carom did not write it; {advice}", path.display());
    Ok(())
}

/// Lets `draw` write pictures to an empty folder, and moves them to the folder `dir`. A file there that this program
/// did not write stays, with a warning.
///
/// # Errors
/// When `draw` fails or a file cannot be written. The pictures of `dir` are left as they were then.
pub(crate) fn add_pictures<E: From<io::Error>>(dir: &Path, draw: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    fs::create_dir_all(dir)?;
    let scratch = Scratch::beside(&dir.join("pictures"))?;
    draw(scratch.path())?;
    for file in contents(scratch.path())?.files {
        let place = dir.join(&file);
        match check_default(&place, "the new one is not written") {
            Ok(()) => fs::rename(scratch.path().join(&file), place)?,
            Err(refused) => tracing::warn!("{refused}"),
        }
    }
    Ok(sync(dir)?)
}

/// Keyword and text of a PNG's chunk with the mark.
const PNG_MARK: &[u8] = b"Software\0Carom";

/// Returns the last line of an SVG, a page or a Markdown text.
pub(crate) fn svg_mark() -> String {
    format!("<!-- {MARK} -->\n")
}

/// Returns the last line of TOML or a script.
pub(crate) fn line_mark() -> String {
    format!("# {MARK}\n")
}

/// Returns `path` as an absolute one without `.` and doubled or last slashes, so that it means the same in every
/// working directory. The path need not exist.
///
/// # Errors
/// When `path` is empty, or the working directory's name is not text, which a configuration file holds.
pub(crate) fn absolute(path: &str) -> Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("the path `{path}`"))?;
    let absolute: PathBuf = absolute.components().collect();
    absolute.into_os_string().into_string().map_err(|absolute| {
        anyhow!("the path `{path}` is {}, which is not UTF-8 and cannot be stored", absolute.display())
    })
}

/// Returns `path` as a person would type it: relative to the working directory, if it is below it.
pub(crate) fn shown(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(here) {
        Ok(below) if below.as_os_str().is_empty() => Path::new("."),
        Ok(below) => below,
        Err(_) => path,
    }
}

/// Locks `file` until it is closed. Returns whether it is locked, and not by another process. Some file systems have no
/// locks; a warning says so then, and the file counts as locked.
pub(crate) fn try_lock(file: &fs::File) -> bool {
    match file.file().try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => {
            let path = file.path().display();
            tracing::warn!("{path} cannot be locked ({error}); take care that no other process writes beside it");
            true
        }
    }
}

/// Creates and locks the file `path` until it is closed. If another process has locked it, says that it is `busy` and
/// waits.
///
/// # Errors
/// When the file cannot be written, or a stop is requested.
pub(crate) fn wait_for_lock(path: &Path, busy: &str) -> Result<fs::File> {
    fs::create_dir_all(folder_of(path))?;
    let file = fs::File::create(path)?;
    let mut is_told = false;
    while !try_lock(&file) {
        if !is_told {
            tracing::info!("{busy}; waiting for it");
            is_told = true;
        }
        if interrupt::requested() {
            return Err(Interrupted(format!("stopped while {busy}")).into());
        }
        thread::sleep(LOCK_EVERY);
    }
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fsyncs a folder and all its contents.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => sync(&entry.path())?,
        }
    }
    sync(dir)
}

/// Fsyncs a file, or the entries of a folder.
fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Returns the SHA-256 of a file's content in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

/// Returns `digest` in hexadecimal, two lower-case digits a byte.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
