//! Random inputs to everything that reads files and settings: no panic, and no more memory than twice the input and a
//! fixed amount for what is built from it. `scripts/fuzz` runs millions of inputs, a plain test a few thousand.

use crate::cli::trace::parse_actions;
use crate::config::fit::{FIT, FitConfig};
use crate::config::kind::Config;
use crate::config::layers::{Form, Layer};
use crate::config::training::{TRAINING, TrainConfig};
use crate::encoder::ObsTransform;
use crate::fit::session::FitSession;
use crate::generative::data::idx;
use crate::generative::model::ImageBatch;
use crate::ranks::Ranks;
use crate::run::{Replaces, Run};
use crate::train::session::Session;
use crate::{files, fit};
use carom_agents::Player;
use flate2::{Compression, write::GzEncoder};
use fs_err as fs;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use tch::Tensor;

/// The system's allocator, which counts the bytes of each thread.
struct Counting;

thread_local! {
    /// Bytes that this thread holds, and the most that it held since the last look. Memory that another thread frees is
    /// counted there.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: isize) {
    // A thread that ends has no counter any more.
    let _ = HELD.try_with(|held| {
        let now = held.get().0 + bytes;
        held.set((now, held.get().1.max(now)));
    });
}

// SAFETY: every call is passed on as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls `read`, and returns the most bytes that it held at once.
fn most_held(read: impl FnOnce()) -> usize {
    let before = HELD.get().0;
    HELD.set((before, before));
    read();
    (HELD.get().1 - before) as usize
}

/// Checks that `read` holds at most twice `n_bytes` and `more`.
fn check_memory(n_bytes: usize, more: usize, read: impl FnOnce()) {
    let held = most_held(read);
    assert!(held <= 2 * n_bytes + more, "{held} bytes held for an input of {n_bytes}");
}

/// Bytes for messages, buffers and decompression.
const BUFFERS: usize = 192 << 10;
/// Bytes for the schemas and the trees of settings.
const SETTINGS: usize = 4 << 20;

/// A change of an input. Places are taken modulo the length.
#[derive(Clone, Debug)]
enum Edit {
    Put(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Copy(usize, usize, usize),
    /// Replaces the next number at or after a place.
    Number(usize, &'static str),
    End(usize),
}

/// Numbers at which arithmetic breaks.
const NUMBERS: &str = "0 -0 1 -1 2 3 7 255 256 65536 4294967295 4294967296 9007199254740993 9223372036854775807 \
                       9223372036854775808 18446744073709551615 1e308 -1e308 5e-324 nan inf 0.5";

fn number() -> impl Strategy<Value = &'static str> {
    select(NUMBERS.split(' ').collect::<Vec<_>>())
}

/// Pieces of the formats.
const PIECES: [&str; 24] = [
    "\n",
    "=",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "null",
    "true",
    "[[]]",
    "[[[[",
    "\u{0}",
    "\u{ff}",
    "kind = \"fit\"",
    "[env_settings]\n",
    "[agent_settings]\n",
    "[model_settings]\n",
    "env.",
    "agent.",
    "#",
    "1_000",
    "-s0",
    "é",
];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<u32>().prop_map(|at| at as usize);
    let bytes = prop_oneof![
        vec(any::<u8>(), 1..5),
        select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        number().prop_map(|number| number.as_bytes().to_vec()),
    ];
    let edit = prop_oneof![
        (at.clone(), bytes.clone()).prop_map(|(at, bytes)| Edit::Put(at, bytes)),
        (at.clone(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at.clone(), 1..40_usize).prop_map(|(at, n)| Edit::Cut(at, n)),
        (at.clone(), at.clone(), 1..40_usize).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        (at.clone(), number()).prop_map(|(at, number)| Edit::Number(at, number)),
        at.prop_map(Edit::End),
    ];
    vec(edit, 0..6)
}

fn edited(original: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for edit in edits {
        let n = bytes.len();
        let place = |at: usize| at % (n + 1);
        let end = |at: usize, len: usize| (place(at) + len).min(n);
        match edit {
            Edit::Put(at, with) => drop(bytes.splice(place(*at)..end(*at, with.len()), with.iter().copied())),
            Edit::Insert(at, with) => drop(bytes.splice(place(*at)..place(*at), with.iter().copied())),
            Edit::Cut(at, len) => drop(bytes.drain(place(*at)..end(*at, *len))),
            Edit::Copy(from, to, len) => {
                let copied = bytes[place(*from)..end(*from, *len)].to_vec();
                bytes.splice(place(*to)..place(*to), copied);
            }
            Edit::Number(at, number) => {
                let is_digit = |byte: &u8| byte.is_ascii_digit() || b".-+e".contains(byte);
                let Some(from) = bytes[place(*at)..].iter().position(u8::is_ascii_digit) else { continue };
                let from = place(*at) + from;
                let to = bytes[from..].iter().position(|byte| !is_digit(byte)).map_or(n, |len| from + len);
                bytes.splice(from..to, number.bytes());
            }
            Edit::End(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}

/// Returns `few` cases, or a share of those that `scripts/fuzz` asks for: `CAROM_FUZZ_CASES`.
fn cases(few: u32) -> ProptestConfig {
    const FEW: u64 = 5_000;
    let wanted = std::env::var("CAROM_FUZZ_CASES").ok().and_then(|n| n.parse::<u64>().ok());
    let cases = wanted.map_or(few, |wanted| (wanted * u64::from(few)).div_ceil(FEW) as u32);
    ProptestConfig { failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::with_cases(cases) }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

const IMAGES: [u8; 40] = [
    0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    20, 21, 22, 23, 24,
];

fn train(text: &str) -> TrainConfig {
    let layer = Layer::from_toml(text, "fuzz.toml", &TRAINING).unwrap_or_else(|e| panic!("{e:#}"));
    TrainConfig::resolve(&[layer]).unwrap_or_else(|e| panic!("{e:#}"))
}

fn fit_config(text: &str) -> FitConfig {
    let layer = Layer::from_toml(text, "fuzz.toml", &FIT).unwrap_or_else(|e| panic!("{e:#}"));
    FitConfig::resolve(&[layer]).unwrap_or_else(|e| panic!("{e:#}"))
}

/// Whole configuration files of both kinds.
fn config_files() -> Vec<String> {
    let pairs =
        [("taxi", "q-lambda"), ("minatar/breakout", "dqn"), ("breakout", "pqn"), ("frozen-lake", "policy-iteration")];
    let runs = pairs.map(|(env, agent)| train(&format!("env = \"{env}\"\nagent = \"{agent}\"")).to_toml());
    let models = ["ae", "vae", "rbm", "gan", "pca"];
    let fits = models.map(|model| fit_config(&format!("model = \"{model}\"\ndata = \"env:breakout\"")).to_toml());
    runs.into_iter().chain(fits).collect()
}

fn resolve(layer: Layer, form: &Form) {
    // A valid configuration reads back as itself.
    match form.kind {
        "fit" => {
            if let Ok(config) = FitConfig::resolve(&[layer]) {
                assert_eq!(fit_config(&config.to_toml()), config);
            }
        }
        _ => {
            if let Ok(config) = TrainConfig::resolve(&[layer]) {
                assert_eq!(train(&config.to_toml()), config);
            }
        }
    }
}

/// Text of `--set`: any key with any value, and edits of both.
fn assignment() -> impl Strategy<Value = String> {
    let keys: Vec<String> = [&TRAINING, &FIT]
        .into_iter()
        .flat_map(|form| (form.own.list)().into_iter().map(|setting| setting.key.to_owned()))
        .chain(carom_envs::registry::all().into_iter().flat_map(|entry| of_part("env", entry.schema)))
        .chain(carom_agents::registry::all().flat_map(|entry| of_part("agent", entry.schema)))
        .chain(crate::generative::registry::MODELS.iter().flat_map(|entry| of_part("model", entry.schema)))
        .collect();
    let value = prop_oneof![
        number().prop_map(str::to_owned),
        select(&PIECES[..]).prop_map(str::to_owned),
        "[0-9\\[\\],.eE\"{}a-z=-]{0,12}",
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    (select(keys), value, edits()).prop_map(|(key, value, edits)| {
        // Most have a key that exists.
        let edits = if edits.len() > 3 { &edits[..] } else { &[] };
        String::from_utf8_lossy(&edited(format!("{key}={value}").as_bytes(), edits)).into_owned()
    })
}

fn of_part(prefix: &'static str, schema: carom_envs::settings::Schema) -> impl Iterator<Item = String> {
    (schema.list)().into_iter().map(move |setting| format!("{prefix}.{}", setting.key))
}

/// Runs whose checkpoints are edited.
const RUNS: [&str; 6] = [
    "env = \"taxi\"\nagent = \"q-lambda\"\nn_envs = 2",
    "env = \"minatar/breakout\"\nagent = \"dqn\"\n[agent_settings]\nhidden = [4]\nbuffer_size = 60\nbatch_size = 4\n\
     learning_starts = 30\nepsilon_steps = 40",
    "env = \"cartpole\"\nagent = \"pqn\"\nn_envs = 2\n[agent_settings]\nhidden = [16]\nrollout_len = 8\n\
     n_minibatches = 2",
    "env = \"cliff-walking\"\nagent = \"dyna-q\"",
    "env = \"frozen-lake\"\nagent = \"sarsa\"\nn_envs = 2",
    "env = \"breakout\"\nagent = \"random\"\n[env_settings]\nframe_stack = 2",
];

/// Fits whose checkpoints are edited.
const FITS: [&str; 4] = ["ae", "vae", "rbm", "gan"];

/// Steps of the runs before their checkpoint.
const N_STEPS: u64 = 50;

/// Makes `n` steps in every environment.
fn advance(session: &mut Session, n: u64) {
    let (mut actions, mut stacks) = (vec![0; session.config.run.n_envs], Vec::new());
    let Player::Learner(learner) = &mut session.player else { unreachable!("all of them learn") };
    for _ in 0..n {
        let obs = session.envs.stacks(&mut stacks);
        learner.act(obs, &mut actions);
        session.envs.step(&actions);
        // Weights of any value may diverge.
        if learner.observe(&session.envs, &actions).is_err() {
            return;
        }
        session.progress.advance(actions.len(), session.envs.episodes());
    }
}

/// Makes an update on the first images.
fn update(session: &mut FitSession) {
    let indices = Tensor::from_slice(&[0_i64, 1]);
    let (x, labels) = (session.data.train.gather(&indices), session.data.train.gather_labels(&indices));
    // Weights of any value may diverge.
    let _ = session.model.fit_batch(&ImageBatch { x, labels, step: session.progress.step, lr: 0.01 });
    session.progress.step += 1;
}

/// Makes a run with a checkpoint of step 1 in `dir`.
fn make_run(config: &Config, dir: &Path) {
    match config {
        Config::Training(config) => {
            let mut session = Session::new(config.clone(), ObsTransform::Raw, Ranks::alone()).expect("valid");
            let mut run =
                Run::create(dir, &config.to_toml(), Some("fuzz"), Replaces::Nothing, |_| Ok(())).expect("writable");
            advance(&mut session, N_STEPS / config.run.n_envs as u64);
            session.progress.step = 1;
            session.save(Some(&mut run)).expect("writable");
        }
        Config::Fit(config) => {
            let mut session = fit::open::begin(config.clone()).expect("valid");
            let mut run = Run::create(dir, &config.to_toml(), None, Replaces::Nothing, |_| Ok(())).expect("writable");
            update(&mut session);
            session.save(&mut run).expect("writable");
        }
    }
}

/// Opens the run in `dir`, and goes on with it if that succeeds.
fn go_on(config: &Config, dir: &Path) {
    match config {
        Config::Training(config) => {
            if let Ok((mut session, _)) = Session::open(config.clone(), dir) {
                advance(&mut session, 10);
            }
        }
        Config::Fit(config) => {
            if let Ok((mut session, _)) = fit::open::open(dir, config.clone()) {
                update(&mut session);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_bytes_are_an_idx_file_or_an_error(edits in edits(), is_packed: bool, is_packed_before: bool) {
        let plain = if is_packed_before { gzip(&IMAGES) } else { IMAGES.to_vec() };
        let bytes = edited(&plain, &edits);
        let bytes = if is_packed { gzip(&bytes) } else { bytes };
        check_memory(bytes.len().max(IMAGES.len()), BUFFERS, || {
            if let Ok(found) = idx::from_reader(&bytes[..], Path::new("fuzz")) {
                assert_eq!(found.dims.iter().product::<usize>(), found.elements.len());
            }
        });
    }

    #[test]
    fn any_text_is_a_list_of_actions_or_an_error(edits in edits()) {
        let bytes = edited(b"0\n1\n\n 2 \r\n3\n", &edits);
        let text = String::from_utf8_lossy(&bytes);
        check_memory(16 * bytes.len(), BUFFERS, || {
            if let Ok(actions) = parse_actions(&text, Path::new("fuzz"), 4) {
                assert!(actions.iter().all(|&action| action < 4));
            }
        });
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_text_is_a_configuration_or_an_error(edits in edits(), file in select(config_files())) {
        let bytes = edited(file.as_bytes(), &edits);
        let text = String::from_utf8_lossy(&bytes);
        check_memory(text.len(), SETTINGS, || {
            for form in [&TRAINING, &FIT] {
                if let Ok(layer) = Layer::from_toml(&text, "fuzz.toml", form) {
                    resolve(layer, form);
                }
            }
        });
    }

    #[test]
    fn any_setting_is_heard_or_an_error(assignments in vec(assignment(), 1..4), file in select(config_files())) {
        let form = if file.contains("kind = \"fit\"") { &FIT } else { &TRAINING };
        check_memory(file.len(), SETTINGS, || {
            let below = Layer::from_toml(&file, "fuzz.toml", form).expect("valid");
            if let Ok(layer) = Layer::from_assignments(&assignments, form) {
                let merged = crate::config::layers::merge(&[below, layer], form);
                if let Ok(merged) = merged {
                    resolve(merged, form);
                }
            }
        });
    }
}

/// Edits of the two files of a checkpoint, in each of the runs, whose checksums are those of the edited files.
#[test]
fn any_bytes_are_a_checkpoint_or_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runs = RUNS.map(|text| Config::Training(train(&format!("steps = 1000\n{text}"))));
    let fits =
        FITS.map(|model| Config::Fit(fit_config(&format!("model = \"{model}\"\ndata = \"movies\"\nbatch_size = 2"))));
    let configs: Vec<Config> = runs.into_iter().chain(fits).collect();
    for (idx, config) in configs.iter().enumerate() {
        make_run(config, &folder.path().join(idx.to_string()));
    }
    let files = ["state.json", "arrays.safetensors"];
    let originals: Vec<[Vec<u8>; 2]> = (0..configs.len())
        .map(|idx| {
            files.map(|file| fs::read(folder.path().join(format!("{idx}/checkpoints/1/{file}"))).expect("there"))
        })
        .collect();
    let mut runner = proptest::test_runner::TestRunner::new(cases(500));
    let ran = runner.run(&(0..configs.len(), 0..files.len(), edits(), any::<bool>()), |(idx, file, edits, mends)| {
        let (run, bytes) = (folder.path().join(idx.to_string()), edited(&originals[idx][file], &edits));
        let checkpoint = run.join("checkpoints/1");
        for (name, original) in files.iter().zip(&originals[idx]) {
            fs::write(checkpoint.join(name), original).expect("writable");
        }
        fs::write(checkpoint.join(files[file]), &bytes).expect("writable");
        if mends {
            let sum = |name: &&str| format!("{}  {name}\n", files::sha256(&checkpoint.join(name)).expect("readable"));
            fs::write(checkpoint.join("SHA256SUMS"), files.iter().map(sum).collect::<String>()).expect("writable");
        }
        let n_bytes = originals[idx].iter().map(Vec::len).sum::<usize>() + bytes.len();
        check_memory(n_bytes, SETTINGS, || go_on(&configs[idx], &run));
        Ok(())
    });
    ran.unwrap_or_else(|e| panic!("{e}"));
}
