//! Workers of a pool, which is their parent always.

use std::time::Duration;

use multiproc::{Pipe, Pool, Task, TaskError};

use super::{Tell, here, stay};

/// A task: says who it is, and stays.
fn hold(mut held: Tell<u32>) {
    stay(&mut held);
}

fn next(number: u64) -> u64 {
    number + 1
}

/// Until the caller has the error.
pub(crate) fn error_of_the_task() -> Duration {
    until(|_, task| {
        let error = task.get();
        assert!(matches!(error, Err(TaskError::WorkerDied { .. })), "{error:?}");
    })
}

/// Until the task that waits behind it has been done.
pub(crate) fn answer_of_the_successor() -> Duration {
    until(|pool, _| assert_eq!(pool.apply(next, 1).expect("another worker"), 2))
}

fn until(survive: fn(&Pool, Task<()>)) -> Duration {
    let pool = Pool::new(1).expect("a pool");
    let (tell, mut held) = Pipe::simplex().expect("a pipe");
    let task = pool.submit(hold, tell).expect("an open pool");
    let pid = held.recv().expect("a worker");
    here(pid, || survive(&pool, task))
}
