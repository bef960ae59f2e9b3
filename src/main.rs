//! The program `carom`.

fn main() -> std::process::ExitCode {
    carom::cli::main()
}
