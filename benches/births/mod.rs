//! Processes from their beginning to their end, of all kinds.
#![allow(unsafe_code, reason = "the yardsticks are system calls")]
#![allow(dead_code, reason = "each bench uses a part")]

use std::ffi::CStr;
use std::io;

use multiproc::{Process, StartMethod};

use crate::support::Contender;

/// The argument with which this program ends as soon as it is in `main`.
const LEAVE: &CStr = c"--leave";

/// Starts processes of Python's, so many as a line says.
pub(crate) const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/births/process.py");

/// Starts one that waits.
pub(crate) const PYTHON_CHILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/births/child.py");

/// What `main` begins with: ends this process if it was started to end, and runs procspawn's.
pub(crate) fn init() {
    let argument = std::env::args_os().nth(1);
    if argument.is_some_and(|argument| argument.as_encoded_bytes() == LEAVE.to_bytes()) {
        std::process::exit(0);
    }
    // SAFETY: every function handed to procspawn is of this program, not of a shared library.
    unsafe { procspawn::assert_spawn_is_safe() };
    procspawn::init();
}

/// Row: one process after the other.
pub(crate) fn processes(name: &str, one: impl Fn() + 'static) -> Contender {
    Contender::repeat(name, move |_| one())
}

pub(crate) fn fork() {
    // SAFETY: the child calls nothing but `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: leaves at once, running nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    reap(pid);
}

pub(crate) fn posix_spawn() {
    let path = c"/proc/self/exe";
    let arguments = [path.as_ptr().cast_mut(), LEAVE.as_ptr().cast_mut(), std::ptr::null_mut()];
    let environment = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: the strings and both null-terminated arrays outlive the call, which only reads them.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    assert_eq!(error, 0, "posix_spawn: {}", io::Error::from_raw_os_error(error));
    reap(pid);
}

fn reap(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: our own child, waited for once.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert!(reaped == pid && status == 0, "child {pid}: {}", io::Error::last_os_error());
}

pub(crate) fn procspawn_join() {
    let answer = procspawn::spawn(41_u64, |question| question + 1).join();
    assert_eq!(answer.expect("an answer"), 42);
}

fn increment(question: u64) -> u64 {
    question + 1
}

/// `Process::spawn` and `join`, through the fork server.
pub(crate) fn multiproc_fork_server() {
    let process = Process::spawn(increment, 41).expect("a process");
    assert_eq!(process.join().expect("an answer"), 42);
}

/// The same with `StartMethod::Spawn`.
pub(crate) fn multiproc_spawn() {
    let builder = Process::builder().start_method(StartMethod::Spawn);
    let process = builder.spawn(increment, 41).expect("a process");
    assert_eq!(process.join().expect("an answer"), 42);
}
