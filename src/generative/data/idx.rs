//! IDX, the format of MNIST and its successors: element type, number of dimensions, sizes, elements; all big-endian.
//!
//! The format is described by LeCun, Cortes and Burges with the MNIST database. Only unsigned bytes are read here (type
//! `0x08`), the one type that image sets use.

use crate::files::hex;
use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use fs_err as fs;
use sha2::{Digest, Sha256};
use std::io::{BufReader, Read, Write, copy, sink};
use std::path::{Path, PathBuf};

/// Two zeros and the type: unsigned bytes.
const MAGIC: [u8; 3] = [0, 0, 8];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bounds the dimensions of a file. Images have three or four.
const MAX_DIMS: u8 = 4;
/// Bounds the bytes of a plain file, since a small compressed file may hold more than fits into memory.
const MAX_BYTES: u64 = 16 << 30;

/// Contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idx {
    /// The file, for messages.
    pub path: PathBuf,
    /// Sizes, the slowest index first: `[n]`, `[n, rows, columns]` or `[n, channels, rows, columns]`.
    pub dims: Vec<usize>,
    /// The elements, as many as the product of `dims`.
    pub elements: Vec<u8>,
}

/// Reads a file, plain or compressed with gzip (recognised by its first bytes, not by its name).
///
/// # Errors
/// When it cannot be read, is no IDX of unsigned bytes, or holds fewer or more bytes than its header says.
pub(crate) fn read(path: &Path) -> Result<Idx> {
    from_reader(fs::File::open(path)?, path)
}

/// Reads from `source`, plain or compressed; `path` is its name in messages.
///
/// # Errors
/// When the source cannot be read, is no IDX of unsigned bytes, or holds fewer or more bytes than its header says.
pub(crate) fn from_reader(source: impl Read, path: &Path) -> Result<Idx> {
    from_reader_up_to(MAX_BYTES, source, path)
}

/// Reads from `source`, plain or compressed, a file that has at most `max_bytes` when it is plain; `path` is its name
/// in messages.
///
/// # Errors
/// When the source cannot be read, is no IDX of unsigned bytes, holds fewer or more bytes than its header says, or the
/// header says more than `max_bytes`.
pub(super) fn from_reader_up_to(max_bytes: u64, source: impl Read, path: &Path) -> Result<Idx> {
    let mut source = BufReader::new(source);
    let mut first = [0; 2];
    let n_first = fill(&mut source, &mut first).with_context(|| unreadable(path))?;
    let source = first[..n_first].chain(source);
    if first == GZIP_MAGIC {
        parse(MultiGzDecoder::new(source), max_bytes, path)
    } else {
        parse(source, max_bytes, path)
    }
}

impl Idx {
    /// SHA-256 of the plain file, in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        self.write(&mut hasher).expect("a hasher takes all");
        hex(&hasher.finalize())
    }

    /// Writes the plain file.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(crate) fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&[self.dims.len() as u8])?;
        for &dim in &self.dims {
            out.write_all(&(dim as u32).to_be_bytes())?;
        }
        out.write_all(&self.elements)
    }
}

fn parse(source: impl Read, max_bytes: u64, path: &Path) -> Result<Idx> {
    // One more, so that a file that is too long is told from the longest.
    let mut source = source.take(max_bytes + 1);
    let mut magic = [0; 4];
    let n_magic = fill(&mut source, &mut magic).with_context(|| unreadable(path))?;
    ensure!(n_magic == 4, "{}: expected an IDX file, found {n_magic} bytes", path.display());
    let [.., n_dims] = magic;
    ensure!(
        magic[..3] == MAGIC && (1..=MAX_DIMS).contains(&n_dims),
        "{}: wrong magic number 0x{:08x}; IDX files of unsigned bytes begin with 0x00000801 (labels), 0x00000803 or \
         0x00000804 (images)",
        path.display(),
        u32::from_be_bytes(magic),
    );
    let mut sizes = vec![0; 4 * usize::from(n_dims)];
    let n_sizes = fill(&mut source, &mut sizes).with_context(|| unreadable(path))?;
    let header_bytes = 4 + sizes.len();
    if n_sizes < sizes.len() {
        bail!("{}: cut short: expected a header of {header_bytes} bytes, found {}", path.display(), 4 + n_sizes);
    }
    let dims: Vec<usize> =
        sizes.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize).collect();
    let n_elements = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    let with_header = n_elements.and_then(|n_elements| Some((n_elements, n_elements.checked_add(header_bytes)?)));
    let (n_elements, expected) =
        with_header.filter(|&(_, expected)| expected as u64 <= max_bytes).with_context(|| {
            format!("{}: sizes {dims:?} are too large: at most {max_bytes} bytes are read", path.display())
        })?;
    let mut elements = Vec::new();
    // No memory is reserved, since the header may be wrong.
    source.by_ref().take(n_elements as u64).read_to_end(&mut elements).with_context(|| unreadable(path))?;
    let n_more = copy(&mut source, &mut sink()).with_context(|| unreadable(path))?;
    let found = (header_bytes + elements.len()) as u64 + n_more;
    if found != expected as u64 {
        let fault = if found < expected as u64 { "cut short" } else { "too long" };
        bail!("{}: {fault}: sizes {dims:?} make {expected} bytes, found {found}", path.display());
    }
    Ok(Idx { path: path.to_owned(), dims, elements })
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// Reads until `out` is full or nothing is left; returns the number of bytes read.
fn fill(source: &mut impl Read, out: &mut [u8]) -> std::io::Result<usize> {
    let mut found = Vec::with_capacity(out.len());
    source.by_ref().take(out.len() as u64).read_to_end(&mut found)?;
    out[..found.len()].copy_from_slice(&found);
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    const PLAIN: [u8; 22] = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    fn message(bytes: &[u8]) -> String {
        format!("{:#}", from_reader(bytes, Path::new("some-file")).expect_err("a bad file"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    #[test]
    fn plain_and_compressed_files_read_alike_and_write_back() {
        let idx = from_reader(&PLAIN[..], Path::new("a")).expect("an IDX file");
        assert_eq!((&idx.dims[..], &idx.elements[..]), (&[1, 2, 3][..], &[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(from_reader(&gzip(&PLAIN)[..], Path::new("a")).expect("the same"), idx);
        let mut written = Vec::new();
        idx.write(&mut written).expect("memory takes all");
        assert_eq!(written, PLAIN);
        assert_eq!(idx.sha256(), format!("{:x}", Sha256::digest(PLAIN)));
    }

    #[test]
    fn a_wrong_magic_number_is_told() {
        let mut floats = PLAIN;
        floats[2] = 0x0d;
        assert!(message(&floats).contains("some-file: wrong magic number 0x00000d03"), "{}", message(&floats));
        let page = b"<html>not found</html>";
        assert!(message(page).contains("0x3c68746d"), "{}", message(page));
        assert!(message(&[0, 0, 8, 9, 0]).contains("wrong magic number 0x00000809"));
    }

    #[test]
    fn no_more_than_the_bound_is_decompressed() {
        let read = |max_bytes, bytes: &[u8]| from_reader_up_to(max_bytes, bytes, Path::new("some-file"));
        assert_eq!(read(22, &gzip(&PLAIN)).expect("it just fits").elements, [1, 2, 3, 4, 5, 6]);
        let message = |max_bytes, bytes: &[u8]| read(max_bytes, bytes).expect_err("too large").to_string();
        let large = message(21, &gzip(&PLAIN));
        assert_eq!(large, "some-file: sizes [1, 2, 3] are too large: at most 21 bytes are read");
        let long = [&PLAIN[..], &vec![0; 100_000]].concat();
        assert!(message(22, &gzip(&long)).contains("too long: sizes [1, 2, 3] make 22 bytes, found 23"));
    }

    #[test]
    fn short_and_long_files_are_told_with_both_counts() {
        assert_eq!(message(&PLAIN[..20]), "some-file: cut short: sizes [1, 2, 3] make 22 bytes, found 20");
        assert_eq!(message(&gzip(&PLAIN[..20])), message(&PLAIN[..20]));
        assert_eq!(message(&PLAIN[..9]), "some-file: cut short: expected a header of 16 bytes, found 9");
        assert_eq!(message(&[]), "some-file: expected an IDX file, found 0 bytes");
        let long = [&PLAIN[..], &[7, 7]].concat();
        assert_eq!(message(&long), "some-file: too long: sizes [1, 2, 3] make 22 bytes, found 24");
        assert!(
            message(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).contains("too large")
        );
        // 2^32 - 1 = 3 × 5 × 17 × 257 × 65537 and 2^32 + 1 = 641 × 6700417: elements that just fit, and not with their
        // header.
        let most = [0x00, 0x00, 0x08, 0x03, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0x81, 0, 0x66, 0x3d, 0x81];
        assert!(message(&most).contains("too large"), "{}", message(&most));
        // A compressed stream that ends early.
        let cut = gzip(&PLAIN);
        assert!(message(&cut[..cut.len() - 9]).contains("cannot read some-file"));
    }
}
