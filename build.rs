//! Lets this package's programs, tests and benches find libtorch at run time without `LD_LIBRARY_PATH`, and builds the
//! presets into the program.

use std::path::Path;
use std::{env, fs};

fn main() {
    find_libtorch();
    embed_presets();
}

fn find_libtorch() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // In the order of torch-sys, so that what is loaded is what was linked.
    let Ok(libtorch) = env::var("LIBTORCH_LIB").or_else(|_| env::var("LIBTORCH")) else { return };
    if let Ok(version) = fs::read_to_string(Path::new(&libtorch).join("build-version")) {
        println!("cargo::rustc-env=CAROM_LIBTORCH_VERSION={}", version.trim());
    }
    for folder in relative(Path::new(&libtorch)).into_iter().chain([libtorch]) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}/lib");
    }
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // RUNPATH, not RPATH: a user's LD_LIBRARY_PATH comes first.
        println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags");
    }
}

/// Returns libtorch's folder as seen from the program, and from tests, benches and examples one folder below, so that a
/// moved checkout works. Empty if libtorch or the build is elsewhere.
fn relative(libtorch: &Path) -> Vec<String> {
    let folder = |name| env::var_os(name).and_then(|folder| Path::new(&folder).canonicalize().ok());
    let (Some(root), Some(out)) = (folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR")) else { return vec![] };
    let is_ours =
        libtorch.canonicalize().is_ok_and(|found| root.join(".libtorch").canonicalize().is_ok_and(|it| it == found));
    // OUT_DIR is target/<profile>/build/<package>/out, and the program is in target/<profile>/.
    let depth = out.ancestors().nth(3).and_then(|profile| Some(profile.strip_prefix(&root).ok()?.iter().count()));
    match depth.filter(|_| is_ours) {
        Some(depth) => [depth, depth + 1].map(|depth| format!("$ORIGIN/{}.libtorch", "../".repeat(depth))).into(),
        None => vec![],
    }
}

/// Writes the list that `src/presets.rs` includes: every `presets/*.toml` by name.
fn embed_presets() {
    println!("cargo::rerun-if-changed=presets");
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let files =
        fs::read_dir(Path::new(&root).join("presets")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort();
    let mut list = "/// All presets, by name.\npub(crate) const PRESETS: &[Preset] = &[\n".to_string();
    for path in files {
        let name = path.file_stem().expect("a file").to_string_lossy();
        list += &format!("    Preset {{ name: {name:?}, text: include_str!({:?}) }},\n", path.display().to_string());
    }
    let out = env::var("OUT_DIR").expect("cargo names the output folder");
    fs::write(Path::new(&out).join("presets.rs"), list + "];\n").expect("the output folder is writable");
}
