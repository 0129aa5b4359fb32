//! How long a pool takes to notice the death of a worker, and to have another one.
#![allow(unsafe_code, reason = "it kills by number")]

use std::time::{Duration, Instant};

use multiproc::{Connection, Nothing, Pipe, Pool, Task, TaskError};

use super::increment;
use crate::support::delays::Delays;

pub(crate) const TITLE: &str = "From kill -9 of a worker that has a task";

/// Prints how long callers wait.
pub(crate) fn table(rounds: usize) {
    let mut delays = Delays::new(TITLE, "until", "deaths");
    delays.row("the error of its task is there", rounds, || until(&error_of));
    delays.row("its successor has answered the next task", rounds, || until(&answer_after));
}

/// A task: says who it is, and stays.
fn stay(mut held: Connection<u32, Nothing>) {
    held.send(std::process::id()).expect("somebody who listens");
    loop {
        std::thread::park();
    }
}

fn until(wait: &dyn Fn(&Pool, Task<()>)) -> Duration {
    let pool = Pool::new(1).expect("a pool");
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let task = pool.submit(stay, tell).expect("an open pool");
    let pid = held.recv().expect("a worker");
    let start = Instant::now();
    // SAFETY: the worker runs until this signal ends it, so the number is its own.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    wait(&pool, task);
    start.elapsed()
}

fn error_of(_: &Pool, task: Task<()>) {
    let error = task.get();
    assert!(matches!(error, Err(TaskError::WorkerDied { .. })), "{error:?}");
}

fn answer_after(pool: &Pool, _: Task<()>) {
    assert_eq!(pool.apply(increment, 1).expect("another worker"), 2);
}
