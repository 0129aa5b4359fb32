//! How long it takes from the death of an owner until a survivor has its lock.
#![allow(unsafe_code, reason = "it kills by number")]

use std::time::Duration;

use multiproc::{Connection, Lock, LockError, Nothing, Pipe, Process};

use crate::support::delays::Delays;

pub(crate) const TITLE: &str = "From kill -9 of an owner until a survivor has the lock";

type Tell<T> = Connection<T, Nothing>;
type Hear<T> = Connection<Nothing, T>;

/// Prints how long survivors of all kinds wait.
pub(crate) fn table(rounds: usize) {
    let mut delays = Delays::new(TITLE, "survivor", "deaths");
    delays.row("the parent, which supervises", rounds, parent_survives);
    delays.row("a sibling, the parent supervises", rounds, sibling_survives);
    delays.row("a stranger, nobody supervises", rounds, stranger_survives);
}

/// Nanoseconds of the clock that all processes share.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Takes the lock, says who it is, and stays.
fn owner((lock, mut held): (Lock, Tell<u32>)) {
    let _guard = lock.lock().expect("a lock that is free");
    held.send(std::process::id()).expect("somebody who listens");
    loop {
        std::thread::park();
    }
}

/// Waits for the lock, and says when it got it.
fn survivor((lock, mut got): (Lock, Tell<u64>)) {
    got.send(survive(&lock)).expect("somebody who listens");
}

fn survive(lock: &Lock) -> u64 {
    let died = lock.lock();
    let time = now();
    assert!(matches!(died, Err(LockError::OwnerDied { .. })), "{died:?}");
    time
}

/// Looks until somebody sleeps at the lock.
fn until_awaited(lock: &Lock) {
    while !format!("{lock:?}").contains("is_awaited: true") {
        std::thread::yield_now();
    }
    // The mark is set just before the sleep.
    std::thread::sleep(Duration::from_millis(1));
}

fn parent_survives() -> Duration {
    let lock = Lock::new().expect("a lock");
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let process = Process::spawn(owner, (lock.clone(), tell)).expect("a process");
    held.recv().expect("an owner");
    std::thread::scope(|scope| {
        let survivor = scope.spawn(|| survive(&lock));
        until_awaited(&lock);
        let start = now();
        process.kill().expect("a process to kill");
        Duration::from_nanos(survivor.join().expect("a survivor") - start)
    })
}

fn sibling_survives() -> Duration {
    let lock = Lock::new().expect("a lock");
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let process = Process::spawn(owner, (lock.clone(), tell)).expect("a process");
    held.recv().expect("an owner");
    let (survivor, mut got) = start_survivor(&lock);
    let start = now();
    process.kill().expect("a process to kill");
    let time = Duration::from_nanos(got.recv().expect("a survivor") - start);
    survivor.join().expect("a survivor");
    time
}

/// The owner is an orphan by the time it is killed.
fn stranger_survives() -> Duration {
    let lock = Lock::new().expect("a lock");
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let parent = Process::spawn(orphan_maker, (lock.clone(), tell)).expect("a process");
    let orphan: u32 = held.recv().expect("an owner");
    parent.kill().expect("a process to kill");
    assert!(parent.join().is_err());
    let (survivor, mut got) = start_survivor(&lock);
    let start = now();
    // SAFETY: the orphan runs until this signal ends it, so the number is its own.
    unsafe { libc::kill(orphan as i32, libc::SIGKILL) };
    let time = Duration::from_nanos(got.recv().expect("a survivor") - start);
    survivor.join().expect("a survivor");
    time
}

fn start_survivor(lock: &Lock) -> (Process<()>, Hear<u64>) {
    let (tell, got) = Pipe::simplex().expect("a pipe");
    let process = Process::spawn(survivor, (lock.clone(), tell)).expect("a process");
    until_awaited(lock);
    (process, got)
}

/// Has a child that outlives it.
fn orphan_maker(held: (Lock, Tell<u32>)) {
    let child = Process::builder().daemon(false).spawn(owner, held);
    // Killed before it could end the child.
    let _ = child.expect("a process").join();
}
