//! What processes write down of their calls: in shared memory, so that the dead have, too.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it reads the kernel's clock")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use multiproc::{Array, Barrier, Process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::common::next;
use crate::history::Call;

/// So many processes take part in a history.
pub(crate) const PROCESSES: usize = 4;

/// What travels to those who take part.
pub(crate) trait Object: Serialize + DeserializeOwned + Clone + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + 'static> Object for T {}

/// What a process needs to take part: the object, where to write, whom to wait for, and where its
/// random numbers begin.
pub(crate) type Part<T> = (T, Log, Barrier, u64);

/// The words of a call: when it began, the operation, when it ended, what it returned.
const WORDS: usize = 4;

/// What one process writes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Log {
    words: Array<AtomicU64>,
    process: usize,
    next: usize,
}

/// How a history is made.
pub(crate) struct Plan<T, Op> {
    /// What each process does.
    pub(crate) body: fn(Part<T>),
    /// How often it calls, at the most.
    pub(crate) calls: usize,
    /// What a word of its log says.
    pub(crate) op: fn(u64) -> Op,
    /// Whether the first process is killed meanwhile.
    pub(crate) kills: bool,
}

impl<T: Serialize + DeserializeOwned + 'static, Op> Plan<T, Op> {
    /// Has processes use an object, each with a handle of its own: what they called.
    pub(crate) fn record(
        &self,
        mut handle: impl FnMut(usize) -> T,
        random: &mut u64,
    ) -> Vec<Call<Op>> {
        let together = Barrier::new(PROCESSES + 1).unwrap();
        // The lowest bits say which process it is.
        let base = next(random) & !(PROCESSES as u64 - 1);
        let start = |process: usize| {
            let log = Log::new(process, self.calls);
            let part = (handle(process), log.clone(), together.clone(), base + process as u64);
            (log, Process::spawn(self.body, part).unwrap())
        };
        let (logs, processes): (Vec<_>, Vec<_>) = (0..PROCESSES).map(start).unzip();
        meet(&together);
        if self.kills {
            let until = now() + next(random) % 20_000;
            while now() < until {}
            processes[0].kill().unwrap();
        }
        for (number, process) in processes.into_iter().enumerate() {
            let ended = process.join();
            assert!(ended.is_ok() || self.kills && number == 0, "{ended:?}");
        }
        logs.iter().flat_map(|log| log.calls(self.op)).collect()
    }
}

/// Waits for all others, and then for the same moment.
pub(crate) fn meet(together: &Barrier) {
    together.wait().unwrap();
    let tick = now() >> 16;
    while now() >> 16 == tick {}
}

impl Log {
    /// For so many calls of a process.
    fn new(process: usize, calls: usize) -> Self {
        Self { words: Array::atomics(calls * WORDS, 0_u64).unwrap(), process, next: 0 }
    }

    /// Makes a call, and writes it down.
    pub(crate) fn call(&mut self, op: u64, act: impl FnOnce() -> u64) {
        let entry = &self.words[self.next * WORDS..][..WORDS];
        self.next += 1;
        entry[1].store(op, SeqCst);
        entry[0].store(now(), SeqCst);
        let returned = act();
        // It ends when everybody can see what it did: stores wait a moment for that, an exchange
        // does not return before.
        entry[3].swap(returned, SeqCst);
        entry[2].store(now(), SeqCst);
    }

    /// The calls that were begun.
    fn calls<Op>(&self, op: fn(u64) -> Op) -> Vec<Call<Op>> {
        let entries = self.words.chunks(WORDS).map(|entry| {
            let [from, number, end, returned] = [0, 1, 2, 3].map(|word| entry[word].load(SeqCst));
            let ended = (end > 0).then_some((end, returned));
            Call { process: self.process, op: op(number), from, ended }
        });
        entries.filter(|call| call.from > 0).collect()
    }
}

/// Nanoseconds, the same for all processes.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
