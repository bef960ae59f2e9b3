//! A library that, loaded into the program by `LD_PRELOAD`, starts it again and again from one loaded process.
//!
//! Loading libtorch takes a quarter of a second of processor time: it registers thousands of operators before `main`.
//! The tests start the program some 700 times. This library takes the place of libc's `__libc_start_main`, which runs
//! when all libraries are loaded. There it waits for requests and forks for each, and the fork goes on to `main` with
//! the arguments of the request. Fuzzers start programs in the same way.
//!
//! A request is a connection to the listening socket that is the process' standard input. It has these words, separated
//! by NUL: files for standard output and standard error, the working directory, the number of variables, their names
//! and values in turn, and the arguments from the program's name on. The answer is the status as `wait` gives it.

use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};

type Main = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
type Hook = unsafe extern "C" fn();
type StartMain =
    unsafe extern "C" fn(Main, c_int, *mut *mut c_char, Option<Hook>, Option<Hook>, Option<Hook>, *mut c_void) -> c_int;

/// Serves, then runs libc's function in each fork with its own arguments.
///
/// # Safety
///
/// A program's first instructions call it, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_start_main(
    main: Main,
    _: c_int,
    _: *mut *mut c_char,
    init: Option<Hook>,
    fini: Option<Hook>,
    rtld_fini: Option<Hook>,
    stack_end: *mut c_void,
) -> c_int {
    // SAFETY: the name ends with a NUL.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"__libc_start_main".as_ptr()) };
    assert!(!next.is_null(), "libc starts programs by __libc_start_main");
    // SAFETY: glibc declares this type.
    let start_main = unsafe { std::mem::transmute::<*mut c_void, StartMain>(next) };
    let mut arguments = serve();
    let n = arguments.len() as c_int - 1;
    // SAFETY: all but the arguments comes from the caller. They end with a null pointer, and are never freed.
    unsafe { start_main(main, n, arguments.as_mut_ptr(), init, fini, rtld_fini, stack_end) }
}

/// Forks at each request. Returns in the fork, with the arguments of the request and a null pointer.
fn serve() -> Vec<*mut c_char> {
    // SAFETY: the tests pass a listening socket, which nothing else owns here.
    let listener = unsafe { UnixListener::from_raw_fd(0) };
    // SAFETY: whoever connects is waited for by a fork of its own. This process waits for none.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        wait_for_request();
        let (connection, _) = listener.accept().expect("a connection");
        if fork() == 0 {
            // SAFETY: the program and the wait below need the default.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
            return answer(connection);
        }
    }
}

/// Waits until a test connects. Ends the process when the tests have ended, and with them the reader of its output.
fn wait_for_request() {
    let [input, output] = [(0, libc::POLLIN), (1, 0)].map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    let mut files = [input, output];
    // SAFETY: the pointer is to two files.
    while unsafe { libc::poll(files.as_mut_ptr(), 2, -1) } < 1 {}
    if files[1].revents != 0 {
        exit();
    }
}

/// Forks once more: returns the arguments in the fork, and waits for its end to send the status.
fn answer(mut connection: UnixStream) -> Vec<*mut c_char> {
    let mut request = vec![];
    connection.read_to_end(&mut request).expect("a request");
    let program = fork();
    if program == 0 {
        drop(connection);
        return begin(&request);
    }
    let mut status = 0;
    // SAFETY: the pointer is to a status.
    while unsafe { libc::waitpid(program, &raw mut status, 0) } < 0 {}
    // The test may have ended.
    let _ = connection.write_all(&status.to_ne_bytes());
    exit()
}

/// Turns this process into one that was started as requested. Returns the arguments and a null pointer.
fn begin(request: &[u8]) -> Vec<*mut c_char> {
    let mut words = request.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let mut next = || words.next().expect("as many words as the tests send");
    let [output, error] = [(); 2].map(|()| File::create(next()).expect("a file that the tests made"));
    let input = File::open("/dev/null").expect("an empty file");
    for (file, fd) in [(input, 0), (output, 1), (error, 2)] {
        // SAFETY: both are open files. The socket and the pipe that they replace are used no more.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), fd) }, fd);
    }
    std::env::set_current_dir(next()).expect("a folder");
    let n_variables: usize = next().to_string_lossy().parse().expect("a number");
    // SAFETY: the process has one thread.
    unsafe { std::env::remove_var("LD_PRELOAD") };
    for _ in 0..n_variables {
        // SAFETY: as above.
        unsafe { std::env::set_var(next(), next()) };
    }
    let arguments = words.map(|word| CString::new(word.into_vec()).expect("split at NUL").into_raw());
    arguments.chain([std::ptr::null_mut()]).collect()
}

fn fork() -> c_int {
    // SAFETY: the process has one thread, so that the fork finds no lock taken.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    child
}

fn exit() -> ! {
    // SAFETY: nothing is left to be written. Destructors are those of a program that has not begun.
    unsafe { libc::_exit(0) }
}
