use crate::program::Program;
use crc::{CRC_32_ISCSI, Crc};
use std::collections::BTreeMap;

const FILE: &str = "tensorboard/events.out.tfevents.carom";

/// A value of an event file: the step, the tag, and a number or the bytes of a picture.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    step: i64,
    tag: String,
    value: Option<f32>,
    picture: Vec<u8>,
}

/// Returns the values of an event file.
///
/// # Panics
/// When a checksum is wrong, a record is not whole, or the file does not begin with its version.
fn points(bytes: &[u8]) -> Vec<Point> {
    let (mut rest, mut points, mut is_first) = (bytes, vec![], true);
    while !rest.is_empty() {
        let (length, tail) = rest.split_at(8);
        let size = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        assert_eq!(tail[..4], checksum(length), "of a length");
        let (event, tail) = tail[4..].split_at(size);
        assert_eq!(tail[..4], checksum(event), "of an event");
        rest = &tail[4..];
        let event = fields(event);
        if std::mem::replace(&mut is_first, false) {
            assert_eq!(event[&3][0], b"brain.Event:2");
            continue;
        }
        assert!(f64::from_le_bytes(event[&1][0].clone().try_into().expect("8 bytes")) > 1e9, "a time");
        let step = event.get(&2).map_or(0, |step| varint(&step[0]).0 as i64);
        let value = fields(&fields(&event[&5][0])[&1][0]);
        points.push(Point {
            step,
            tag: String::from_utf8(value[&1][0].clone()).expect("UTF-8"),
            value: value.get(&2).map(|number| f32::from_le_bytes(number[0].clone().try_into().expect("4 bytes"))),
            picture: value.get(&4).map(|image| fields(&image[0])[&4][0].clone()).unwrap_or_default(),
        });
    }
    points
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let crc = Crc::<u32>::new(&CRC_32_ISCSI).checksum(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Returns the fields of a message of protocol buffers, by number, each with its bytes.
fn fields(mut message: &[u8]) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut fields = BTreeMap::<u64, Vec<Vec<u8>>>::new();
    while !message.is_empty() {
        let (key, n) = varint(message);
        message = &message[n..];
        let (start, end) = match key & 7 {
            0 => (0, varint(message).1),
            1 => (0, 8),
            5 => (0, 4),
            2 => {
                let (length, n) = varint(message);
                (n, n + length as usize)
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(message[start..end].to_vec());
        message = &message[end..];
    }
    fields
}

/// Returns a number, and of how many bytes it is.
fn varint(bytes: &[u8]) -> (u64, usize) {
    let end = bytes.iter().position(|byte| byte & 128 == 0).expect("a last byte") + 1;
    (bytes[..end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 127)), end)
}

fn events(program: &Program, run: &str) -> Vec<Point> {
    points(&fs_err::read(program.path(&format!("{run}/{FILE}"))).expect("an event file"))
}

/// Asserts that the events are the rows of the tables, in their order.
fn assert_has_rows(program: &Program, run: &str, tables: &[&str]) {
    for table in tables {
        let text = program.read(&format!("{run}/{table}"));
        let rows: Vec<(i64, String, f32)> = text
            .lines()
            .skip(1)
            .map(|row| {
                let cells: Vec<&str> = row.split(',').collect();
                (
                    cells[0].parse().expect("a step"),
                    cells[1].to_owned(),
                    cells[2].parse::<f64>().expect("a number") as f32,
                )
            })
            .collect();
        let part = if *table == "eval.csv" { "eval/" } else { "" };
        let has = |tag: &str| if part.is_empty() { !tag.starts_with("eval/") } else { tag.starts_with(part) };
        let found: Vec<_> = events(program, run).into_iter().filter(|point| has(&point.tag)).collect();
        let found: Vec<_> = found.into_iter().filter_map(|point| Some((point.step, point.tag, point.value?))).collect();
        assert!(!rows.is_empty() && rows == found, "{table} of {run}");
    }
}

const TRAIN: &str = "train --env taxi --agent q-learning --set eval_every=500 --set eval_episodes=2 --steps";

#[test]
fn events_are_the_rows_of_the_tables_after_a_resumption_too() {
    let program = Program::new();
    program.succeed(&format!("{TRAIN} 2k --tensorboard --out run"));
    assert_has_rows(&program, "run", &["metrics.csv", "eval.csv"]);
    // A killed process leaves rows and half an event after its last checkpoint.
    let file = program.path(&format!("run/{FILE}"));
    let mut bytes = fs_err::read(&file).expect("readable");
    bytes.extend_from_slice(&bytes.clone()[40..150]);
    fs_err::write(&file, bytes).expect("writable");
    program.succeed("resume run --steps 3k");
    assert_has_rows(&program, "run", &["metrics.csv", "eval.csv"]);
    program.succeed(&format!("{TRAIN} 2k --out plain"));
    program.succeed("resume plain --steps 3k");
    program.assert_same("run", "plain");
    assert!(!program.path("plain/tensorboard").exists());
    // A file that was lost is made again.
    fs_err::remove_dir_all(program.path("run/tensorboard")).expect("removable");
    program.succeed("resume run --steps 4k");
    assert_has_rows(&program, "run", &["metrics.csv", "eval.csv"]);
    // It belongs to the run.
    program.succeed(&format!("{TRAIN} 1k --force --out run"));
    assert!(!program.path("run/tensorboard").exists());
}

#[test]
fn a_run_that_goes_on_may_begin_with_events() {
    let program = Program::new();
    program.succeed(&format!("{TRAIN} 2k --set checkpoint_every=500 --out run"));
    fs_err::remove_dir_all(program.path("run/checkpoints/2000")).expect("removable");
    program.succeed(&format!("{TRAIN} 2k --set checkpoint_every=500 --continue --tensorboard --out run"));
    assert_has_rows(&program, "run", &["metrics.csv", "eval.csv"]);
}

#[test]
fn a_fit_has_its_pictures_among_the_events() {
    let program = Program::new();
    program.succeed("fit ae --data env:minatar/breakout --set n_frames=300 --epochs 1 --tensorboard --out fit");
    assert_has_rows(&program, "fit", &["metrics.csv"]);
    let pictures: Vec<Point> = events(&program, "fit").into_iter().filter(|point| point.value.is_none()).collect();
    let reconstructions = pictures.iter().find(|point| point.tag == "reconstructions").expect("a picture");
    assert!(reconstructions.picture == fs_err::read(program.path("fit/plots/reconstructions.png")).expect("a PNG"));
    let last = events(&program, "fit").iter().map(|point| point.step).max();
    assert_eq!(Some(reconstructions.step), last);
}
