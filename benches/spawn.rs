//! What a process costs, from the request until it is reaped, in a small and in a large parent.
#![allow(unsafe_code, reason = "the yardsticks are system calls")]

mod support;

use std::ffi::CStr;
use std::io;
use std::time::Instant;

use multiproc::{Process, StartMethod};
use support::memory::Ballast;
use support::{Contender, Table, start};

/// The argument with which this program ends as soon as it is in `main`.
const LEAVE: &CStr = c"--leave";

/// What weighs on the large parent.
const GIB: usize = 1 << 30;

fn main() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument.as_encoded_bytes() == LEAVE.to_bytes())
    {
        return;
    }
    // SAFETY: every function handed to procspawn below is of this program, not of a shared library.
    unsafe { procspawn::assert_spawn_is_safe() };
    procspawn::init();
    let rounds = start("spawn", 100);
    table("One process, start to reaped").run(rounds);
    match Ballast::new(GIB) {
        Some(_ballast) => table("The same with 1 GiB touched in the parent").run(rounds),
        None => {
            println!("\nThis machine has not got 1 GiB to spare: the large parent is left out.")
        }
    }
}

fn table(title: &str) -> Table {
    Table::new(title)
        .row(processes("fork, _exit, waitpid", fork))
        .row(processes("posix_spawn of this program", posix_spawn))
        .row(processes("procspawn, spawn and join", procspawn_join))
        .row(processes("multiproc, spawn and join", multiproc_fork_server))
        .row(processes("multiproc, spawn and join, by exec", multiproc_spawn))
}

/// One process after the other.
fn processes(name: &str, mut one: impl FnMut() + 'static) -> Contender {
    Contender::new(name, move |iterations| {
        let start = Instant::now();
        (0..iterations).for_each(|_| one());
        start.elapsed()
    })
}

fn fork() {
    // SAFETY: the child calls nothing but `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: leaves at once, running nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    reap(pid);
}

fn posix_spawn() {
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

fn procspawn_join() {
    let answer = procspawn::spawn(41_u64, |question| question + 1).join();
    assert_eq!(answer.expect("an answer"), 42);
}

fn increment(question: u64) -> u64 {
    question + 1
}

/// Row: `Process::spawn` and `join` through the fork server.
fn multiproc_fork_server() {
    let process = Process::spawn(increment, 41).expect("a process");
    assert_eq!(process.join().expect("an answer"), 42);
}

/// Row: the same with `StartMethod::Spawn`.
fn multiproc_spawn() {
    let builder = Process::builder().start_method(StartMethod::Spawn);
    let process = builder.spawn(increment, 41).expect("a process");
    assert_eq!(process.join().expect("an answer"), 42);
}
