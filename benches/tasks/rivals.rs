//! Other pools: procspawn's, of processes, and two of threads.
#![allow(unsafe_code, reason = "procspawn asks for a promise")]

use std::thread;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded, unbounded};
use rayon::prelude::*;

use super::ours::mapping;
use super::{NUMBERS, WORKERS, increment, numbers, scramble};
use crate::support::{Contender, away};

/// procspawn's pool dies of too many open files at 5000.
const PROCSPAWN_MOST: u64 = 1000;

/// Runs procspawn's workers, which begin in `main`.
pub(crate) fn init() {
    // SAFETY: every function handed to procspawn is of this program, not of a shared library.
    unsafe { procspawn::assert_spawn_is_safe() };
    procspawn::init();
}

/// Row: one task after the other, to one worker.
pub(crate) fn procspawn_join(name: &str) -> Contender {
    let pool = away(|| procspawn::Pool::new(1).expect("a pool"));
    Contender::repeat(name, move |number| {
        let answer = procspawn::spawn!(in pool, (number) || increment(number)).join();
        assert_eq!(answer.expect("a worker"), number + 1);
    })
}

/// Row: as many tasks at once as it bears.
pub(crate) fn procspawn_stream(name: &str) -> Contender {
    let pool = procspawn::Pool::new(WORKERS).expect("a pool");
    let run = move |iterations| {
        let start = Instant::now();
        for first in (0..iterations).step_by(PROCSPAWN_MOST as usize) {
            let numbers = first..iterations.min(first + PROCSPAWN_MOST);
            let submit = |number| procspawn::spawn!(in pool, (number) || increment(number));
            let tasks: Vec<_> = numbers.clone().map(submit).collect();
            for (number, task) in numbers.zip(tasks) {
                assert_eq!(task.join().expect("a worker"), number + 1);
            }
        }
        start.elapsed()
    };
    Contender::new(name, run).long()
}

/// A task of a thread: its argument, and where the result goes.
type Errand = (u64, Sender<u64>);

/// Threads that take errands from one channel until it is dropped.
fn threads(count: usize) -> Sender<Errand> {
    let (sender, errands) = unbounded::<Errand>();
    for _ in 0..count {
        let errands = errands.clone();
        thread::spawn(move || {
            for (number, result) in errands {
                result.send(increment(number)).expect("somebody who waits");
            }
        });
    }
    sender
}

/// Row: one task after the other, to one thread, each with a channel of its own for the result.
pub(crate) fn channels_ask(name: &str) -> Contender {
    let errands = away(|| threads(1));
    Contender::repeat(name, move |number| {
        let (sender, result) = bounded(1);
        errands.send((number, sender)).expect("a thread");
        assert_eq!(result.recv().expect("a thread"), number + 1);
    })
}

/// Row: so many tasks, and then so many results.
pub(crate) fn channels_stream(name: &str) -> Contender {
    let errands = threads(WORKERS);
    streaming(name, move |number, sender| errands.send((number, sender)).expect("a thread"))
}

/// Row: one task after the other, to one thread of rayon's.
pub(crate) fn rayon_install(name: &str) -> Contender {
    let pool = away(|| rayon_pool(1));
    Contender::repeat(name, move |number| {
        assert_eq!(pool.install(|| increment(number)), number + 1);
    })
}

/// Row: so many tasks, and then so many results.
pub(crate) fn rayon_stream(name: &str) -> Contender {
    let pool = rayon_pool(WORKERS);
    streaming(name, move |number, sender| {
        pool.spawn(move || sender.send(increment(number)).expect("somebody who waits"));
    })
}

fn streaming(name: &str, submit: impl Fn(u64, Sender<u64>) + 'static) -> Contender {
    let run = move |iterations| {
        let start = Instant::now();
        let results = (0..iterations).map(|number| {
            let (sender, result) = bounded(1);
            submit(number, sender);
            result
        });
        let results: Vec<_> = results.collect();
        for (number, result) in (0..).zip(results) {
            assert_eq!(result.recv().expect("a thread"), number + 1);
        }
        start.elapsed()
    };
    Contender::new(name, run).long()
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

/// Row: numbers that stay where they are.
pub(crate) fn rayon_map(name: &str) -> Contender {
    let (pool, inputs) = (rayon_pool(WORKERS), numbers(NUMBERS));
    mapping(name, NUMBERS, move || {
        let map = || inputs.par_iter().map(|number| scramble(*number)).collect::<Vec<_>>();
        pool.install(map).len()
    })
}
