//! What a pool does where too much is asked of it: too soon, at the wrong place, of the stopped.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "stops and signals processes")]

mod common;

use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use multiproc::{
    Array, ErrorKind, Event, Pool, Process, Task, TaskError, Value, as_completed, wait_all,
    wait_any_of,
};

use common::tasks::{count_up, for_ever, length, square, wait_for};

fn well_if_set(event: Event) {
    assert!(event.is_set());
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A pool of one worker, which is busy, and whose line is full.
fn full() -> (Pool, [Task<()>; 2]) {
    let pool = Pool::builder().workers(1).queue_bound(1).build().unwrap();
    let running = pool.submit(for_ever, ()).unwrap();
    common::until(|| pool.stats().running == 1);
    let queued = pool.submit(for_ever, ()).unwrap();
    (pool, [running, queued])
}

#[test]
fn imap_waits_for_room_only_as_long_as_it_may() {
    common::watched("imap_waits_for_room_only_as_long_as_it_may", || {
        let (pool, others) = full();
        let mut results = pool.imap(square, 0..5_u64);
        for _ in 0..2 {
            let late = results.next_timeout(Duration::from_millis(20)).unwrap();
            assert!(matches!(late, Err(TaskError::TimedOut { .. })), "{late:?}");
            assert_eq!(results.size_hint(), (5, Some(5)));
        }
        others.iter().for_each(|task| assert!(task.cancel()));
        assert_eq!(results.next_timeout(PATIENCE).unwrap().unwrap(), 0);
        let rest: Vec<u64> = results.map(Result::unwrap).collect();
        assert_eq!(rest, [1, 4, 9, 16]);
    });
}

#[test]
fn results_in_any_order_are_waited_for_only_as_long_as_they_may() {
    common::watched("results_in_any_order_are_waited_for_only_as_long_as_they_may", || {
        let (pool, others) = full();
        let soon = Duration::from_millis(20);
        let is_late = |error| matches!(error, TaskError::TimedOut { limit } if limit == soon);
        let mut results = pool.imap_unordered(square, 0..5_u64);
        for _ in 0..2 {
            assert!(is_late(results.next_timeout(soon).unwrap_err()));
            assert_eq!(results.size_hint(), (5, Some(5)));
        }
        others.iter().for_each(|task| assert!(task.cancel()));
        let mut numbers = Vec::new();
        while let Some((number, result)) = results.next_timeout(PATIENCE).unwrap() {
            assert_eq!(result.unwrap(), (number * number) as u64);
            numbers.push(number);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);

        let mut ended = as_completed([pool.submit(for_ever, ()).unwrap()]);
        for _ in 0..2 {
            assert!(is_late(ended.next_timeout(soon).unwrap_err()));
            assert_eq!(ended.len(), 1);
        }
        pool.terminate();
        let (number, result) = ended.next_timeout(PATIENCE).unwrap().unwrap();
        assert!(number == 0 && matches!(result, Err(TaskError::Terminated)), "{result:?}");
        assert!(ended.next_timeout(PATIENCE).unwrap().is_none());
    });
}

#[test]
fn who_waits_for_room_hears_why_the_pool_ended() {
    common::watched("who_waits_for_room_hears_why_the_pool_ended", || {
        for is_interrupted in [true, false] {
            let (pool, _others) = full();
            let (map, apply, submit) = thread::scope(|scope| {
                let map = scope.spawn(|| pool.map(square, 0..9).unwrap_err());
                let apply = scope.spawn(|| pool.apply(square, 1).unwrap_err());
                let submit = scope.spawn(|| pool.submit(square, 1).unwrap_err());
                // Time for them to get stuck; earlier must do as well.
                thread::sleep(Duration::from_millis(50));
                if is_interrupted {
                    pool.interrupt()
                } else {
                    pool.terminate()
                }
                (map.join().unwrap(), apply.join().unwrap(), submit.join().unwrap())
            });
            for error in [map, apply] {
                match error {
                    TaskError::Interrupted => assert!(is_interrupted),
                    TaskError::Terminated => assert!(!is_interrupted),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(submit.kind(), ErrorKind::Disconnected);
        }
    });
}

/// Calls `act` in a callback of a pool, and gives what it says.
fn in_a_callback<T: Send + 'static>(
    pool: &Arc<Pool>,
    act: impl FnOnce(Arc<Pool>) -> T + Send + 'static,
) -> T {
    let (say, said) = mpsc::channel();
    let there = Arc::clone(pool);
    let event = Event::new().unwrap();
    let task = pool.submit(wait_for, event.clone()).unwrap();
    task.on_done(move |_| say.send(act(there)).unwrap());
    event.set().unwrap();
    said.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_callback_does_not_wait_for_its_own_pool() {
    common::watched("a_callback_does_not_wait_for_its_own_pool", || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let error = in_a_callback(&pool, |pool| pool.apply(square, 3).unwrap_err());
        assert!(matches!(&error, TaskError::Error(cause) if cause.kind() == ErrorKind::Misuse));
        let has_panicked = in_a_callback(&pool, |pool| {
            let task = pool.submit(square, 3).unwrap();
            let waited = std::panic::AssertUnwindSafe(|| task.wait());
            std::panic::catch_unwind(waited).is_err()
        });
        assert!(has_panicked);
        // Whoever is idle meanwhile: nothing is begun.
        let pair = Arc::new(Pool::new(2).unwrap());
        assert_eq!(pair.apply(square, 3).unwrap(), 9);
        let errors = in_a_callback(&pair, |pool| {
            let array = Array::from_slice(&[1_u64]).unwrap();
            [
                pool.apply(square, 3).unwrap_err(),
                pool.map(square, [3]).unwrap_err(),
                pool.map_chunked(square, [3], 1).unwrap_err(),
                pool.map_slice(square, &[3]).unwrap_err(),
                pool.map_array(square, &array).unwrap_err(),
            ]
        });
        for error in errors {
            assert!(matches!(&error, TaskError::Error(cause) if cause.kind() == ErrorKind::Misuse));
        }
        pair.close();
        pair.join().unwrap();
        assert_eq!(pair.stats().done, 2);
        // For another one it may.
        let other = Pool::new(1).unwrap();
        assert_eq!(in_a_callback(&pool, move |_| other.apply(square, 4).unwrap()), 16);
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

fn is_misuse(error: &TaskError) -> bool {
    matches!(error, TaskError::Error(cause) if cause.kind() == ErrorKind::Misuse)
}

#[test]
fn a_callback_waits_for_many_no_more_than_for_one() {
    common::watched("a_callback_waits_for_many_no_more_than_for_one", || {
        let pool = Arc::new(Pool::new(1).unwrap());
        in_a_callback(&pool, |pool| {
            let tasks = || (0..3).map(|n| pool.submit(square, n).unwrap()).collect::<Vec<_>>();
            let ended: Vec<_> = as_completed(tasks()).collect();
            assert_eq!(ended.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2]);
            assert!(ended.iter().all(|(_, end)| is_misuse(end.as_ref().unwrap_err())));
            // To get them would not wait either, but say so.
            assert_eq!(wait_any_of(&mut tasks(), Duration::MAX).unwrap(), [0, 1, 2]);
            assert!(!wait_all(&tasks(), Duration::MAX));
            assert!(!tasks()[0].wait_timeout(Duration::MAX));
        });
        let (ordered, unordered) = in_a_callback(&pool, |pool| {
            let ordered: Vec<_> = pool.imap(square, 0..30).collect();
            let unordered: Vec<_> =
                pool.imap_unordered(square, 0..30).map(|(_, end)| end).collect();
            assert_eq!(pool.stats().queued, 0, "nothing is begun");
            (ordered, unordered)
        });
        assert_eq!((ordered.len(), unordered.len()), (30, 30));
        assert!(ordered.into_iter().chain(unordered).all(|end| is_misuse(&end.unwrap_err())));
    });
}

/// Whoever is at the end of several tasks ends them one after the other.
#[test]
fn a_callback_of_the_end_of_a_pool_waits_for_no_other() {
    common::watched("a_callback_of_the_end_of_a_pool_waits_for_no_other", || {
        let pool = Pool::new(1).unwrap();
        let _running = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        let first = pool.submit(square, 1).unwrap();
        let second = pool.submit(square, 2).unwrap();
        let (say, said) = mpsc::channel();
        first.on_done(move |_| say.send(second.get().unwrap_err()).unwrap());
        pool.terminate();
        assert!(is_misuse(&said.recv_timeout(PATIENCE).unwrap()));
    });
}

/// Its own value waits for it, while it has the only worker.
#[derive(serde::Deserialize)]
struct Calls;

static CALLED: OnceLock<Arc<Pool>> = OnceLock::new();

impl serde::Serialize for Calls {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pool = CALLED.get().unwrap();
        assert!(is_misuse(&pool.apply(square, 2).unwrap_err()));
        serializer.serialize_unit()
    }
}

#[test]
fn an_argument_that_waits_for_its_own_pool_is_refused() {
    common::watched("an_argument_that_waits_for_its_own_pool_is_refused", || {
        let pool = Arc::new(Pool::new(1).unwrap());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        assert!(CALLED.set(Arc::clone(&pool)).is_ok());
        pool.apply(|_: Calls| (), Calls).unwrap();
        pool.submit(|_: Calls| (), Calls).unwrap().get().unwrap();
    });
}

#[test]
fn a_callback_does_not_wait_for_room() {
    common::watched("a_callback_does_not_wait_for_room", || {
        let pool = Arc::new(Pool::builder().workers(1).queue_bound(1).build().unwrap());
        let tasks = in_a_callback(&pool, |pool| {
            (0..5).map(|n| pool.submit(square, n).unwrap()).collect::<Vec<_>>()
        });
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.get().unwrap(), n * n);
        }
    });
}

#[test]
fn a_callback_does_not_join_what_it_has_to_do() {
    common::watched("a_callback_does_not_join_what_it_has_to_do", || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let (error, task) = in_a_callback(&pool, |pool| {
            let task = pool.submit(square, 5).unwrap();
            pool.close();
            (pool.join().unwrap_err(), task)
        });
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert_eq!(task.get().unwrap(), 25);
        pool.join().unwrap();
    });
}

#[test]
fn a_worker_that_does_not_read_is_replaced() {
    common::watched("a_worker_that_does_not_read_is_replaced", || {
        let pool = Pool::builder().workers(1).task_timeout(Duration::from_secs(1));
        let pool = pool.build().unwrap();
        let pids = pool.pids();
        unsafe { libc::kill(pids[0] as i32, libc::SIGSTOP) };
        // More than the pipe takes.
        assert_eq!(pool.apply(length, "x".repeat(1 << 20)).unwrap(), 1 << 20);
        assert_ne!(pool.pids(), pids);
    });
}

#[test]
fn a_worker_that_does_not_read_in_time_counts_as_slow() {
    common::watched("a_worker_that_does_not_read_in_time_counts_as_slow", || {
        let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(500));
        let pool = pool.restarts(0, Duration::MAX).build().unwrap();
        for round in 1..=3 {
            unsafe { libc::kill(pool.pids()[0] as i32, libc::SIGSTOP) };
            assert_eq!(pool.apply(length, "x".repeat(1 << 20)).unwrap(), 1 << 20);
            assert_eq!(pool.stats().restarted, round);
        }
    });
}

fn is_forked(error: impl Into<multiproc::Error>) -> bool {
    error.into().kind() == ErrorKind::Forked
}

fn pool_in_a_copy(_: ()) {
    let pool = Pool::new(1).unwrap();
    let gate = Event::new().unwrap();
    let over = pool.submit(square, 3).unwrap();
    over.wait();
    let running = pool.submit(wait_for, gate.clone()).unwrap();
    common::until(|| pool.stats().running == 1);
    let parts = std::cell::Cell::new(Some((over, running)));
    let copy = unsafe {
        Process::fork(|| {
            let (over, mut running) = parts.take().unwrap();
            assert_eq!(over.get().unwrap(), 9);
            assert!(!running.wait_timeout(Duration::MAX));
            assert_eq!(wait_any_of(&mut [&mut running], Duration::MAX).unwrap(), [0]);
            assert!(is_forked(running.get().unwrap_err()));
            assert!(is_forked(pool.apply(square, 3).unwrap_err()));
            assert!(is_forked(pool.submit(square, 3).unwrap_err()));
            assert!(is_forked(pool.map(square, [3]).unwrap_err()));
            assert!(is_forked(pool.map_async(square, [3]).unwrap_err()));
            assert!(is_forked(pool.map_slice(square, &[3]).unwrap_err()));
            assert!(is_forked(pool.imap(square, [3]).next().unwrap().unwrap_err()));
            assert!(is_forked(pool.imap_unordered(square, [3]).next().unwrap().1.unwrap_err()));
            pool.close();
            pool.terminate();
            assert!(is_forked(pool.join().unwrap_err()));
        })
    };
    copy.unwrap().join().unwrap();
    gate.set().unwrap();
    let (_, running) = parts.take().unwrap();
    running.get().unwrap();
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

#[test]
fn a_pool_in_a_copy_of_its_process_is_of_no_use() {
    common::alone("a_pool_in_a_copy_of_its_process_is_of_no_use", pool_in_a_copy);
}

#[test]
fn an_initializer_that_takes_too_long_is_an_error() {
    common::watched("an_initializer_that_takes_too_long_is_an_error", || {
        for in_process in [false, true] {
            let pool = Pool::builder().workers(2).in_process(in_process);
            let pool =
                pool.initializer_timeout(Duration::from_millis(50)).initializer(for_ever, ());
            assert_eq!(pool.build().unwrap_err().kind(), ErrorKind::Timeout);
        }
        let pool = Pool::builder().workers(1).initializer_timeout(PATIENCE);
        let pool = pool.initializer(square, 3).build().unwrap();
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn a_lazy_pool_replaces_no_worker_before_it_is_needed() {
    common::watched("a_lazy_pool_replaces_no_worker_before_it_is_needed", || {
        let pool = Pool::builder().workers(1).lazy(true).tasks_per_worker(1).build().unwrap();
        for n in 0..3 {
            assert_eq!(pool.apply(square, n).unwrap(), n * n);
            common::until(|| pool.pids().is_empty());
        }
        assert_eq!(pool.stats().restarted, 0);
    });
}

#[test]
fn a_closed_pool_starts_no_worker_for_nothing() {
    common::watched("a_closed_pool_starts_no_worker_for_nothing", || {
        let (calls, event) = (Value::atomic(0_u64).unwrap(), Event::new().unwrap());
        let pool = Pool::builder().workers(1).tasks_per_worker(1);
        let pool = pool.initializer(count_up, calls.clone()).build().unwrap();
        let task = pool.submit(wait_for, event.clone()).unwrap();
        pool.close();
        event.set().unwrap();
        pool.join().unwrap();
        task.get().unwrap();
        assert_eq!(calls.load(Relaxed), 1);
    });
}

#[test]
fn a_replacement_that_fails_is_counted() {
    common::watched("a_replacement_that_fails_is_counted", || {
        let event = Event::new().unwrap();
        event.set().unwrap();
        let pool = Pool::builder().workers(1).tasks_per_worker(1).restarts(0, PATIENCE);
        let pool = pool.initializer(well_if_set, event.clone()).build().unwrap();
        event.clear().unwrap();
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        common::until(|| pool.stats().restarted == 1);
        common::until(|| pool.submit(square, 1).is_err());
    });
}

fn handler() -> usize {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    assert_eq!(unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut action) }, 0);
    action.sa_sigaction
}

extern "C" fn first(_: libc::c_int) {}

extern "C" fn second(_: libc::c_int) {}

fn handlers_are_left(_: ()) {
    let pool = || Pool::builder().workers(1).ctrl_c(true).build().unwrap();
    let (one, two) = (first as extern "C" fn(_), second as extern "C" fn(_));
    let (one, two) = (one as libc::sighandler_t, two as libc::sighandler_t);
    unsafe { libc::signal(libc::SIGINT, one) };
    drop(pool());
    assert_eq!(handler(), one);
    // Interrupted, and put back all the same.
    let listening = pool();
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    common::until(|| listening.submit(square, 1).is_err());
    drop(listening);
    assert_eq!(handler(), one);
    // Set meanwhile.
    let listening = pool();
    unsafe { libc::signal(libc::SIGINT, two) };
    drop(listening);
    assert_eq!(handler(), two);
    // Set between two pools.
    let listening = pool();
    unsafe { libc::signal(libc::SIGINT, one) };
    let another = pool();
    drop((listening, another));
    assert_eq!(handler(), one);
}

#[test]
fn a_handler_of_the_program_is_left_alone() {
    common::alone("a_handler_of_the_program_is_left_alone", handlers_are_left);
}

#[test]
fn a_command_of_a_callback_can_be_interrupted() {
    common::watched("a_command_of_a_callback_can_be_interrupted", || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let said = in_a_callback(&pool, |_| {
            Command::new("grep").args(["SigBlk", "/proc/self/status"]).output().unwrap()
        });
        let said = String::from_utf8(said.stdout).unwrap();
        let blocked = said.split_whitespace().nth(1).unwrap();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        assert_eq!(blocked >> (libc::SIGINT - 1) & 1, 0, "{said}");
    });
}
