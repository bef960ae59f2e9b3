//! Event files for TensorBoard: scalars as they are logged, and pictures.
//!
//! A file is a row of records: length, its checksum, an `Event` of TensorBoard's protocol, and its checksum
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>). A checkpoint holds the length of the file, which is cut
//! to it when the run is resumed, as tables are. So no point is there twice.

use anyhow::{Context, Result};
use crc::{CRC_32_ISCSI, Crc};
use fs_err as fs;
use prost::{Message, Oneof};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Folder of the file in a run's directory.
pub(super) const FOLDER: &str = "tensorboard";
/// Name of the file. TensorBoard reads files with `tfevents` in their names.
pub(super) const NAME: &str = "events.out.tfevents.carom";
/// Path of the file below a run's directory.
pub(super) const PATH: &str = "tensorboard/events.out.tfevents.carom";

/// First event of a file, the version of the format.
const VERSION: &str = "brain.Event:2";
/// Code of RGB in the protocol.
const RGB: i32 = 3;

const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Kind", tags = "2, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// A PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// An event file, open to append to it.
pub(super) struct Events {
    file: BufWriter<fs::File>,
}

impl Events {
    /// Opens the file of the run in `dir`; `None` if the run has none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(PATH);
        if !path.exists() {
            return Ok(None);
        }
        let file = fs::OpenOptions::new().append(true).open(path)?;
        Ok(Some(Self { file: BufWriter::new(file) }))
    }

    /// Makes the file of the run in `dir`, with the rows that its `tables` have so far.
    ///
    /// # Errors
    /// When it cannot be written, or a table cannot be read.
    pub(super) fn create(dir: &Path, tables: &[&str]) -> Result<Self> {
        fs::create_dir_all(dir.join(FOLDER))?;
        let mut events = Self { file: BufWriter::new(fs::File::create(dir.join(PATH))?) };
        events.write(0, What::FileVersion(VERSION.to_owned()))?;
        for path in tables.iter().map(|table| dir.join(table)).filter(|path| path.exists()) {
            let at = || format!("in {}", path.display());
            for row in csv::Reader::from_path(&path).with_context(at)?.into_deserialize() {
                let (step, name, value): (u64, String, f64) = row.with_context(at)?;
                events.scalar(step, &name, value)?;
            }
        }
        events.file.flush()?;
        Ok(events)
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn scalar(&mut self, step: u64, name: &str, value: f64) -> Result<()> {
        self.add(step, name, Kind::Scalar(value as f32))
    }

    /// Adds all PNG pictures in the folder `dir`, under the names of their files.
    ///
    /// # Errors
    /// When one cannot be read, or the file cannot be written.
    pub(super) fn pictures(&mut self, step: u64, dir: &Path) -> Result<()> {
        let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
        paths.sort();
        for path in paths {
            let encoded = fs::read(&path)?;
            let reader = png::Decoder::new(std::io::Cursor::new(&encoded)).read_info();
            let info = reader.with_context(|| format!("in {}", path.display()))?;
            let (width, height) = info.info().size();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let image = Image { height: height as i32, width: width as i32, colorspace: RGB, encoded };
            self.add(step, &name, Kind::Image(image))?;
        }
        Ok(())
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn flush(&mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }

    /// Fsyncs the file and returns its length.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn sync(&mut self) -> Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        Ok(self.file.get_ref().metadata()?.len())
    }

    fn add(&mut self, step: u64, tag: &str, kind: Kind) -> Result<()> {
        let value = Value { tag: tag.to_owned(), kind: Some(kind) };
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let event = Event { wall_time, step: step as i64, what: Some(what) }.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        for part in [&length[..], &masked_crc(&length), &event, &masked_crc(&event)] {
            self.file.write_all(part)?;
        }
        Ok(())
    }
}

/// Returns the checksum of a record's part: CRC-32C, turned and shifted so that a checksum of checksums is a good one.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Cuts the file of the run in `dir` to its length at a checkpoint. If it was begun after that, or was lost since, it
/// is made again from the `tables`, which are cut already.
///
/// # Errors
/// When it cannot be written.
pub(super) fn cut(dir: &Path, length: Option<u64>, tables: &[&str]) -> Result<()> {
    let path = dir.join(PATH);
    let found = fs::metadata(&path).map(|found| found.len()).ok();
    match (found, length) {
        (None, None) => Ok(()),
        (Some(found), Some(length)) if found >= length => {
            Ok(fs::OpenOptions::new().write(true).open(path)?.set_len(length)?)
        }
        _ => Events::create(dir, tables).map(drop),
    }
}
