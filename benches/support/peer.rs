//! The other side of a measurement: a pinned process or thread that sleeps between samples.
#![allow(unsafe_code, reason = "the yardsticks stand below the crate")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use multiproc::Process;

use super::memory::{Line, lines};
use super::program;

/// The CPUs that this program could use when it began.
pub(crate) fn all_cpus() -> &'static [usize] {
    static CPUS: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    CPUS.get_or_init(|| {
        // SAFETY: a zeroed set is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes at most the given size into the set.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
        // SAFETY: every index is below the size of the set.
        (0..1024).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
    })
}

/// The two CPUs that a bench is pinned to: its own, its peer's. `None` if it may use only one.
pub(crate) fn cpus() -> Option<(usize, usize)> {
    let [here, there, ..] = all_cpus() else { return None };
    Some((*here, *there))
}

/// Keeps the calling thread on these CPUs.
pub(crate) fn pin(cpus: &[usize]) {
    // SAFETY: a zeroed set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: `cpu` came out of such a set.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the kernel only reads the set.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// How often the calling thread has gone to sleep so far.
pub(crate) fn sleeps() -> u64 {
    // SAFETY: zeros are valid numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `rusage`.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nvcsw as u64
}

/// Ends this process with SIGALRM so many seconds from now, and no earlier; its peers end with it.
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
    worker: Worker,
}

/// Somebody who works until told to stop.
pub(crate) enum Worker {
    Process(Option<Process<()>>),
    Thread(Option<JoinHandle<()>>),
}

impl Worker {
    pub(crate) fn process(work: impl FnOnce()) -> Self {
        let copy = || {
            program::forget_all();
            work();
        };
        // SAFETY: the bench's other threads sleep in the kernel and hold no lock, so the copy may
        // do what the original may.
        Self::Process(Some(unsafe { Process::fork(copy) }.expect("a fork")))
    }

    pub(super) fn thread(work: impl FnOnce() + Send + 'static) -> Self {
        Self::Thread(Some(std::thread::spawn(work)))
    }

    /// Waits until a process has done its work.
    pub(crate) fn join(&mut self) {
        if let Self::Process(process) = self {
            process.take().expect("a process").join().expect("an end in peace");
        }
    }

    /// Of a process.
    pub(crate) fn pid(&self) -> libc::pid_t {
        match self {
            Self::Process(Some(process)) => process.pid() as libc::pid_t,
            _ => panic!("a thread has no pid of its own"),
        }
    }

    /// Ends a worker that reads `orders`, and stops where it reads 0.
    pub(super) fn end(&mut self, orders: &mut PipeWriter) {
        match self {
            Self::Process(process) => {
                // Fails only if the process is gone already.
                let _ = process.take().map(|process| process.kill().map(|()| process.join()));
            }
            Self::Thread(thread) if !std::thread::panicking() => {
                // Fails only if the thread is gone, and then there is nothing to wait for.
                let _ = orders.write_all(&[0; 8]);
                let _ = thread.take().map(JoinHandle::join);
            }
            Self::Thread(_) => {}
        }
    }
}

impl Peer {
    fn process(work: impl FnMut(u64)) -> Self {
        let (inbox, orders) = std::io::pipe().expect("a pipe");
        let gate = lines();
        let worker = Worker::process(|| serve(inbox, gate, work));
        Self { orders, gate, round: 0, worker }
    }

    fn thread(work: impl FnMut(u64) + Send + 'static) -> Self {
        let (inbox, orders) = std::io::pipe().expect("a pipe");
        let gate = lines();
        let worker = Worker::thread(move || serve(inbox, gate, work));
        Self { orders, gate, round: 0, worker }
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
    pin(&[cpus().expect("two CPUs").1]);
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
        self.worker.end(&mut self.orders);
    }
}
