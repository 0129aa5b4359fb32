//! The other side of a measurement: a pinned process or thread that sleeps between samples.
#![allow(unsafe_code, reason = "the yardsticks stand below the crate")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use multiproc::Process;

use super::memory::{Line, lines};

/// The two CPUs that a bench is pinned to: its own, its peer's. `None` if it may use only one.
pub(crate) fn cpus() -> Option<(usize, usize)> {
    static CPUS: std::sync::OnceLock<Option<(usize, usize)>> = std::sync::OnceLock::new();
    *CPUS.get_or_init(|| {
        // SAFETY: a zeroed set is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes at most the given size into the set.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
        // SAFETY: every index is below the size of the set.
        let mut cpus = (0..1024).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) });
        Some((cpus.next()?, cpus.next()?))
    })
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a zeroed set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` came out of such a set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel only reads the set.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// Ends this process with SIGALRM after so many seconds; its peers end with it.
pub(crate) fn watchdog(seconds: u32) {
    // SAFETY: the alarm's default action ends the process, and nobody changed it.
    unsafe { libc::alarm(seconds) };
}

/// Runs `theirs` in a forked process and `mine` here, both for so many iterations, and times it.
pub(crate) fn with_process(
    theirs: impl FnMut(u64),
    mut mine: impl FnMut(u64),
) -> impl FnMut(u64) -> Duration {
    let mut peer = Peer::process(theirs);
    move |iterations| peer.time(iterations, &mut mine)
}

/// Runs `theirs` in a thread and `mine` here, both for so many iterations, and times it.
pub(crate) fn with_thread(
    theirs: impl FnMut(u64) + Send + 'static,
    mut mine: impl FnMut(u64),
) -> impl FnMut(u64) -> Duration {
    let mut peer = Peer::thread(theirs);
    move |iterations| peer.time(iterations, &mut mine)
}

/// A peer that waits in `read` for the number of iterations of the next sample; 0 ends it.
struct Peer {
    orders: PipeWriter,
    gate: &'static [Line; 2],
    round: u64,
    who: Who,
}

enum Who {
    Process(Option<Process<()>>),
    Thread(Option<JoinHandle<()>>),
}

impl Peer {
    fn process(work: impl FnMut(u64)) -> Self {
        let (inbox, orders) = std::io::pipe().expect("a pipe");
        let gate = lines();
        // SAFETY: the bench's other threads sleep in the kernel and hold no lock, so the copy may
        // do what the original may.
        let process = unsafe { Process::fork(|| serve(inbox, gate, work)) }.expect("a fork");
        Self { orders, gate, round: 0, who: Who::Process(Some(process)) }
    }

    fn thread(work: impl FnMut(u64) + Send + 'static) -> Self {
        let (inbox, orders) = std::io::pipe().expect("a pipe");
        let gate = lines();
        let thread = std::thread::spawn(move || serve(inbox, gate, work));
        Self { orders, gate, round: 0, who: Who::Thread(Some(thread)) }
    }

    /// Starts the clock when the peer is awake, and stops it when both sides are done.
    fn time(&mut self, iterations: u64, mine: &mut impl FnMut(u64)) -> Duration {
        let [ready, done] = self.gate;
        self.round += 1;
        self.orders.write_all(&iterations.to_ne_bytes()).expect("a peer that reads");
        ready.wait_for(self.round);
        let start = Instant::now();
        mine(iterations);
        done.wait_for(self.round);
        start.elapsed()
    }
}

fn serve(mut inbox: PipeReader, [ready, done]: &[Line; 2], mut work: impl FnMut(u64)) {
    pin(cpus().expect("two CPUs").1);
    let mut order = [0; 8];
    let mut round = 0;
    while inbox.read_exact(&mut order).is_ok() && order != [0; 8] {
        round += 1;
        ready.set(round);
        work(u64::from_ne_bytes(order));
        done.set(round);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        match &mut self.who {
            Who::Process(process) => {
                // Fails only if the process is gone already.
                let _ = process.take().map(|process| process.kill().map(|()| process.join()));
            }
            Who::Thread(thread) if !std::thread::panicking() => {
                // Fails only if the thread is gone, and then there is nothing to wait for.
                let _ = self.orders.write_all(&[0; 8]);
                let _ = thread.take().map(JoinHandle::join);
            }
            Who::Thread(_) => {}
        }
    }
}
