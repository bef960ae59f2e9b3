//! Lets this package's programs, tests and benches find libtorch at run time without `LD_LIBRARY_PATH`.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // In the order of torch-sys, so that what is loaded is what was linked.
    let Ok(libtorch) = env::var("LIBTORCH_LIB").or_else(|_| env::var("LIBTORCH")) else { return };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // RUNPATH, not RPATH: a user's LD_LIBRARY_PATH comes first.
        println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags");
    }
}
