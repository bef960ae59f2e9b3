//! Starts the program from a process that has loaded its libraries already (`server.rs`).

use crate::program::PROGRAM;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use tempfile::NamedTempFile;

struct Server {
    address: SocketAddr,
    /// Ends when the tests end, which closes its standard output.
    _process: Child,
}

static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| {
    let library = Path::new(PROGRAM).parent()?.join("examples/libpreloaded.so");
    library.exists().then(|| Server::start(&library))
});

/// Runs the program to its end in `folder`, with variables of its environment set.
///
/// Without the library, which `cargo test --test main` does not build, it is started as any program.
pub(crate) fn run(folder: &Path, words: &[&OsStr], variables: &[(&str, PathBuf)]) -> Output {
    if let Some(server) = &*SERVER {
        return server.run(folder, words, variables);
    }
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).envs(variables.iter().cloned()).stdin(Stdio::null());
    command.args(words).output().expect("it starts")
}

impl Server {
    fn start(library: &Path) -> Self {
        let name = format!("carom-tests-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("short enough");
        let listener = UnixListener::bind_addr(&address).expect("the only server of this process");
        let mut command = Command::new(PROGRAM);
        command.env("LD_PRELOAD", library).stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        Self { address, _process: command.stdout(Stdio::piped()).spawn().expect("it starts") }
    }

    fn run(&self, folder: &Path, words: &[&OsStr], variables: &[(&str, PathBuf)]) -> Output {
        let [output, error] = [(); 2].map(|()| NamedTempFile::new().expect("a temporary file"));
        let n_variables = variables.len().to_string();
        let mut request: Vec<&OsStr> = [output.path(), error.path(), folder].map(Path::as_os_str).to_vec();
        request.push(OsStr::new(&n_variables));
        request.extend(variables.iter().flat_map(|(name, value)| [OsStr::new(name), value.as_os_str()]));
        request.push(OsStr::new(PROGRAM));
        request.extend(words);
        let request = request.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&0);

        let mut connection = UnixStream::connect_addr(&self.address).expect("the server listens");
        connection.write_all(&request).expect("the server reads");
        connection.shutdown(Shutdown::Write).expect("open");
        let mut status = [0; 4];
        connection.read_exact(&mut status).expect("the server answers");
        let [stdout, stderr] = [output, error].map(|file| fs_err::read(file.path()).expect("readable"));
        Output { status: ExitStatus::from_raw(i32::from_ne_bytes(status)), stdout, stderr }
    }
}
