//! Deaths that are timed: somebody has something, somebody waits for it, and the first one is
//! killed.
#![allow(unsafe_code, reason = "it kills by number")]

pub(crate) mod scenes;
pub(crate) mod servers;
pub(crate) mod workers;

use std::sync::mpsc;
use std::time::Duration;

use multiproc::{Connection, Nothing, Pipe, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) type Tell<T> = Connection<T, Nothing>;
pub(crate) type Hear<T> = Connection<Nothing, T>;

/// What one has who is killed, and another one waits for.
pub(crate) trait Scene: 'static {
    /// Crosses to the victim.
    type Theirs: Serialize + DeserializeOwned + 'static;
    /// Stays with the survivor.
    type Ours: Send + 'static;

    fn make() -> (Self::Theirs, Self::Ours);

    /// Takes it, calls `stay`, which does not return, and still has it then.
    fn hold(theirs: Self::Theirs, stay: impl FnOnce());

    /// Returns when the survivor goes on.
    fn survive(ours: Self::Ours);
}

/// The parent survives.
pub(crate) fn own_child<S: Scene>() -> Duration {
    let (theirs, ours) = S::make();
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let victim = Process::spawn(live::<S>, (theirs, tell)).expect("a process");
    let pid = held.recv().expect("a victim");
    let time = here(pid, || S::survive(ours));
    assert!(victim.join().is_err());
    time
}

/// A sibling survives, and the parent of both watches.
pub(crate) fn sibling<S: Scene>() -> Duration
where
    S::Ours: Serialize + DeserializeOwned,
{
    let (theirs, ours) = S::make();
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let victim = Process::spawn(live::<S>, (theirs, tell)).expect("a process");
    let pid = held.recv().expect("a victim");
    let time = elsewhere(pid, |(ours, tell)| wait_for(tell, || S::survive(ours)), ours);
    assert!(victim.join().is_err());
    time
}

/// Whose parent is dead already is killed. Who survives is no relative.
pub(crate) fn orphan<S: Scene>() -> Duration {
    let (theirs, ours) = S::make();
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let parent = Process::spawn(raise_an_orphan::<S>, (theirs, tell)).expect("a process");
    let pid = held.recv().expect("a victim");
    parent.kill().expect("a process to kill");
    assert!(parent.join().is_err());
    here(pid, || S::survive(ours))
}

/// The victim: takes what it is to have, says who it is, and stays.
fn live<S: Scene>((theirs, mut held): (S::Theirs, Tell<u32>)) {
    S::hold(theirs, || stay(&mut held));
}

pub(crate) fn stay(held: &mut Tell<u32>) {
    held.send(std::process::id()).expect("somebody who listens");
    loop {
        std::thread::park();
    }
}

/// Has a child that outlives it.
fn raise_an_orphan<S: Scene>(given: (S::Theirs, Tell<u32>)) {
    let child = Process::builder().daemon(false).spawn(live::<S>, given);
    // Killed before it could end the child.
    let _ = child.expect("a process").join();
}

/// Kills while a thread of this process sleeps in `survive`. How long until that returns.
fn here(victim: u32, survive: impl FnOnce() + Send) -> Duration {
    std::thread::scope(|scope| {
        let (say, is_there) = mpsc::channel();
        let survivor = scope.spawn(move || {
            // SAFETY: gettid takes nothing.
            say.send(unsafe { libc::gettid() }).expect("somebody who listens");
            survive();
            now()
        });
        until_asleep(std::process::id(), is_there.recv().expect("a survivor") as u32);
        let start = kill(victim);
        Duration::from_nanos(survivor.join().expect("a survivor") - start)
    })
}

/// Kills while another process sleeps, which says when it goes on.
fn elsewhere<A: Serialize + DeserializeOwned>(
    victim: u32,
    survive: fn((A, Tell<Option<u64>>)),
    argument: A,
) -> Duration {
    let (tell, mut hear) = Pipe::simplex().expect("a pipe");
    let survivor = Process::spawn(survive, (argument, tell)).expect("a process");
    assert_eq!(hear.recv().expect("a survivor"), None);
    until_asleep(survivor.pid(), survivor.pid());
    let start = kill(victim);
    let end = hear.recv().expect("a survivor").expect("a time");
    survivor.join().expect("a survivor");
    Duration::from_nanos(end - start)
}

/// The part of such a process: says when it begins to wait, and when it goes on.
fn wait_for(mut tell: Tell<Option<u64>>, survive: impl FnOnce()) {
    tell.send(None).expect("somebody who listens");
    survive();
    tell.send(Some(now())).expect("somebody who listens");
}

/// Nanoseconds of the clock that all processes share.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Kills, and says when.
fn kill(victim: u32) -> u64 {
    let time = now();
    // SAFETY: the victim runs until this signal ends it, so the number is its own.
    assert_eq!(unsafe { libc::kill(victim as i32, libc::SIGKILL) }, 0);
    time
}

/// Looks until a thread sleeps in the kernel.
fn until_asleep(pid: u32, thread: u32) {
    let state = format!("/proc/{pid}/task/{thread}/stat");
    let is_asleep = || {
        let stat = std::fs::read_to_string(&state).expect("a thread");
        stat.rsplit(") ").next().expect("its state").starts_with('S')
    };
    while !is_asleep() {
        std::thread::yield_now();
    }
}
