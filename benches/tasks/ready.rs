//! How long it takes until workers are there.

use std::time::{Duration, Instant};

use multiproc::{Connection, Nothing, Pipe, Pool, Process};

use super::{WORKERS, increment};
use crate::support::Contender;

/// Row: something that is made, and whose end is not timed.
fn making<T>(name: &str, make: impl Fn() -> T + 'static) -> Contender {
    Contender::new(name, move |iterations| {
        let one = |_| {
            let start = Instant::now();
            let made = make();
            let time = start.elapsed();
            drop(made);
            time
        };
        (0..iterations).map(one).sum::<Duration>()
    })
}

fn speak(mut voice: Connection<u64, Nothing>) {
    voice.send(42).expect("somebody who listens");
}

/// Row: one process, until its first message is here.
pub(crate) fn one_process(name: &str) -> Contender {
    making(name, || {
        let (voice, mut ear) = Pipe::simplex().expect("a pipe");
        let process = Process::spawn(speak, voice).expect("a process");
        assert_eq!(ear.recv().expect("a process that speaks"), 42);
        process
    })
}

/// Row: two workers, until both have run the initializer.
pub(crate) fn pool_of_two(name: &str) -> Contender {
    let builder = || Pool::builder().workers(WORKERS).initializer(increment, 1);
    making(name, move || builder().build().expect("a pool"))
}

/// Row: two workers of procspawn's, until two tasks are answered, which may both be of one.
pub(crate) fn procspawn(name: &str) -> Contender {
    making(name, || {
        let pool = procspawn::Pool::new(WORKERS).expect("a pool");
        let tasks = [1, 2].map(|number| procspawn::spawn!(in pool, (number) || increment(number)));
        for task in tasks {
            task.join().expect("a worker");
        }
        pool
    })
}
