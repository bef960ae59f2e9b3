//! Atomic writes of files and folders, and digests in hexadecimal.

use fs_err as fs;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes the file `path` atomically, and creates its folder if it is missing. `write` fills a file beside it, which is
/// fsynced and then renamed, so no reader sees half a file.
///
/// # Errors
/// When `write` fails or a file cannot be written. The file beside it is removed then, and `path` is left as it was.
pub(crate) fn write_whole<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let aside = beside(path, "new")?;
    let written = (|| {
        let mut file = BufWriter::new(fs::File::create(&aside)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&aside, path)?;
        Ok(sync(folder)?)
    })();
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Creates or replaces the folder `dir` atomically. `fill` writes to an empty folder beside it, which is fsynced with
/// all its contents and then renamed. The old folder is removed last.
///
/// # Errors
/// When `fill` fails or a file cannot be written. The folder beside it is removed then, and `dir` is left as it was.
pub(crate) fn replace_folder<E: From<io::Error>>(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    fs::create_dir_all(folder_of(dir))?;
    let aside = beside(dir, "new")?;
    let replaced = (|| {
        remove_if_there(&aside)?;
        fs::create_dir(&aside)?;
        fill(&aside)?;
        sync_tree(&aside)?;
        Ok(swap(dir, &aside)?)
    })();
    if replaced.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&aside);
    }
    replaced
}

/// Renames the folder `made` to `dir`, and removes the old one.
fn swap(dir: &Path, made: &Path) -> io::Result<()> {
    if !dir.exists() {
        fs::rename(made, dir)?;
        return sync(folder_of(dir));
    }
    let old = beside(dir, "old")?;
    remove_if_there(&old)?;
    fs::rename(dir, &old)?;
    fs::rename(made, dir)?;
    sync(folder_of(dir))?;
    fs::remove_dir_all(old)
}

/// Removes a folder beside the one to write that has this process's id. A killed process had that id before: in a
/// container it is often 1.
fn remove_if_there(aside: &Path) -> io::Result<()> {
    if aside.exists() { fs::remove_dir_all(aside) } else { Ok(()) }
}

/// Returns whether `name` is a temporary file or folder that a killed process left.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.starts_with('.') && (name.contains(".new-") || name.contains(".old-"))
}

/// Returns a hidden path beside `path`, so that renaming does not cross file systems. No other process uses it.
fn beside(path: &Path, what: &str) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{} does not name a file", path.display())));
    };
    Ok(folder_of(path).join(format!(".{}.{what}-{}", name.to_string_lossy(), std::process::id())))
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
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_left_by_a_killed_process_of_the_same_id_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("run");
        for what in ["new", "old"] {
            let left = beside(&dir, what).expect("a name");
            fs::create_dir(&left).expect("writable");
            fs::write(left.join("half"), "").expect("writable");
        }
        for text in ["first", "second"] {
            replace_folder(&dir, |aside| fs::write(aside.join("file"), text)).expect("written");
            assert_eq!(fs::read_to_string(dir.join("file")).expect("readable"), text);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_file_as_it_was_and_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("plots/a.txt");
        write_whole(&path, |file| file.write_all(b"first")).expect("written");
        let failed = write_whole(&path, |file| {
            file.write_all(b"sec")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.expect_err("it failed").to_string(), "no more");
        assert_eq!(fs::read_to_string(&path).expect("there"), "first");
        assert_eq!(names(path.parent().expect("a folder")), ["a.txt"]);
    }

    #[test]
    fn a_folder_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("run");
        for word in ["first", "second"] {
            replace_folder(&dir, |made| fs::write(made.join(word), word)).expect("made");
            assert_eq!(names(&dir), [word]);
        }
        let failed = replace_folder(&dir, |made| {
            fs::write(made.join("third"), "")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err() && names(&dir) == ["second"] && names(folder.path()) == ["run"]);
    }

    #[test]
    fn leftovers_are_told_from_other_names() {
        let left = beside(Path::new("a/12"), "new").expect("a name");
        assert!(is_left_over(&left.file_name().expect("a name").to_string_lossy()));
        assert!(!["12", ".lock", ".gitignore", "a.new-1"].into_iter().any(is_left_over));
    }

    #[test]
    fn digests_are_in_hexadecimal() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
