//! A caller of `apply`, or of `get` that comes at once, has borrowed a worker: whatever becomes of
//! it, nobody else is in want of it.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::sync::Arc;
use std::thread;

use common::tasks::length;
use common::watchdog;
use multiproc::{Connection, Nothing, Pipe, Pool, TaskError};

type Tell = Connection<u32, Nothing>;
type Hear = Connection<Nothing, u32>;

fn double(n: u64) -> u64 {
    2 * n
}

/// Says who it is, and ends when the other side does.
fn say_and_wait((mut tell, mut end): (Tell, Hear)) {
    tell.send(std::process::id()).unwrap();
    let _ = end.recv();
}

fn kill(pid: u32) {
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
}

/// How a thread comes to wait for a task.
type Way = fn(&Pool, (Tell, Hear)) -> Result<(), TaskError>;

const WAYS: [Way; 2] = [
    |pool, arguments| pool.apply(say_and_wait, arguments),
    |pool, arguments| pool.submit(say_and_wait, arguments)?.get(),
];

/// Has a thread wait for a task, and does something while the worker is at it; what that gave.
fn during_apply(
    way: Way,
    pool: &Pool,
    act: impl FnOnce(u32, Connection<u32, Nothing>),
) -> Result<(), TaskError> {
    // What is idle may be lent from now on.
    assert_eq!(pool.apply(double, 1).unwrap(), 2);
    let (tell, mut said) = Pipe::simplex().unwrap();
    let (end, awaited) = Pipe::simplex().unwrap();
    thread::scope(|scope| {
        let applied = scope.spawn(|| way(pool, (tell, awaited)));
        act(said.recv().unwrap(), end);
        applied.join().unwrap()
    })
}

#[test]
fn a_worker_that_dies_under_its_borrower_is_replaced() {
    let _watchdog = watchdog("a_worker_that_dies_under_its_borrower_is_replaced");
    let pool = Pool::new(1).unwrap();
    for n in 0..6 {
        let mut victim = 0;
        let died = during_apply(WAYS[n % 2], &pool, |pid, _end| {
            victim = pid;
            kill(pid);
        });
        assert!(
            matches!(died, Err(TaskError::WorkerDied { pid, .. }) if pid == victim),
            "{died:?}"
        );
        assert_eq!(pool.apply(double, 4).unwrap(), 8);
    }
    assert_eq!(pool.stats().restarted, 6);
}

#[test]
fn what_is_submitted_meanwhile_is_done() {
    let _watchdog = watchdog("what_is_submitted_meanwhile_is_done");
    for (workers, way) in [1, 2].into_iter().flat_map(|workers| WAYS.map(|way| (workers, way))) {
        let pool = Pool::new(workers).unwrap();
        let mut task = None;
        during_apply(way, &pool, |_, end| {
            let submitted = pool.submit(double, 21).unwrap();
            if workers > 1 {
                // By somebody else.
                submitted.wait();
            }
            task = Some(submitted);
            drop(end);
        })
        .unwrap();
        assert_eq!(task.unwrap().get().unwrap(), 42);
    }
}

#[test]
fn the_end_of_the_pool_is_the_end_of_apply() {
    let _watchdog = watchdog("the_end_of_the_pool_is_the_end_of_apply");
    for way in WAYS {
        let pool = Pool::new(2).unwrap();
        let ended = during_apply(way, &pool, |_, _end| pool.terminate());
        assert!(matches!(ended, Err(TaskError::Terminated)), "{ended:?}");
        let pool = Pool::new(1).unwrap();
        let ended = during_apply(way, &pool, |_, _end| pool.interrupt());
        assert!(matches!(ended, Err(TaskError::Interrupted)), "{ended:?}");
    }
}

#[test]
fn a_closed_pool_is_joined_when_apply_is_over() {
    let _watchdog = watchdog("a_closed_pool_is_joined_when_apply_is_over");
    for way in WAYS {
        let pool = Pool::new(2).unwrap();
        during_apply(way, &pool, |_, end| {
            pool.close();
            assert!(pool.apply(double, 1).is_err());
            drop(end);
            pool.join().unwrap();
        })
        .unwrap();
        assert_eq!(pool.stats().done, 2);
    }
}

#[test]
fn many_threads_apply_and_submit_at_once() {
    let _watchdog = watchdog("many_threads_apply_and_submit_at_once");
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for first in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                for n in (first..4000).step_by(4) {
                    let task = pool.submit(double, n).unwrap();
                    assert_eq!(pool.apply(double, n).unwrap(), 2 * n);
                    assert_eq!(task.get().unwrap(), 2 * n);
                }
            });
        }
    });
    assert_eq!(pool.stats().done, 8000);
}

#[test]
fn a_long_argument_goes_the_long_way() {
    let _watchdog = watchdog("a_long_argument_goes_the_long_way");
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(double, 1).unwrap(), 2);
    let long = "x".repeat(10 << 20);
    assert_eq!(pool.apply(length, long).unwrap(), 10 << 20);
}

#[test]
fn a_callback_may_use_another_pool() {
    let _watchdog = watchdog("a_callback_may_use_another_pool");
    let (pool, other) = (Pool::new(1).unwrap(), Pool::new(1).unwrap());
    assert_eq!(other.apply(double, 1).unwrap(), 2);
    let (tell, told) = std::sync::mpsc::channel();
    let task = pool.submit(double, 5).unwrap();
    task.on_done(move |result| {
        let once_more = other.apply(double, *result.as_ref().unwrap());
        tell.send(once_more.unwrap()).unwrap();
    });
    assert_eq!(told.recv().unwrap(), 20);
    assert_eq!(task.get().unwrap(), 10);
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Owner {
    #[serde(skip)]
    _pool: Option<Arc<Pool>>,
}

fn own(_: Owner) {}

/// Who has borrowed a worker lets go of the arguments, and so ends the pool: it does not wait for
/// the thread of that worker, which waits for it.
#[test]
fn an_argument_may_have_the_last_of_its_pool() {
    let _watchdog = watchdog("an_argument_may_have_the_last_of_its_pool");
    for _ in 0..20 {
        let pool = Arc::new(Pool::new(1).unwrap());
        assert_eq!(pool.apply(double, 1).unwrap(), 2);
        let task = pool.submit(own, Owner { _pool: Some(Arc::clone(&pool)) }).unwrap();
        drop(pool);
        task.get().unwrap();
    }
}
