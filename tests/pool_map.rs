//! Maps over plain data in shared memory, and tasks that are done again when their worker dies.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::process;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::thread;
use std::time::Duration;

use common::tasks::odd_is_wrong;
use common::watched;
use multiproc::{Array, ErrorKind, Event, Pool, TaskError, Value, worker_state};

fn mix(n: u64) -> u64 {
    n.wrapping_mul(3) + 1
}

fn widen(n: u8) -> [u64; 3] {
    [u64::from(n), u64::from(n) * 2, u64::from(process::id())]
}

fn sum(row: [u32; 1000]) -> u8 {
    row.iter().fold(0, |sum, n| sum.wrapping_add(*n as u8))
}

fn half(n: i16) -> f64 {
    f64::from(n) / 2.0
}

fn die_at_7777(n: u32) -> u32 {
    if n == 7777 { common::die() } else { n }
}

fn leave_at_7777(n: u32) -> u32 {
    if n == 7777 { process::exit(9) } else { n }
}

fn wait_at_0(n: u32) -> u32 {
    if n == 0 {
        worker_state(|begun: &mut Event| begun.set()).unwrap().unwrap();
        loop {
            thread::park();
        }
    }
    n
}

fn keep<T>(state: T) -> T {
    state
}

#[test]
fn every_length_is_mapped_whole() {
    watched("every_length_is_mapped_whole", || {
        let pool = Pool::new(3).unwrap();
        for length in [0, 1, 2, 3, 4, 7, 100, 4095, 8191, 65_537, 1_000_003] {
            let inputs: Vec<u64> = (0..length).map(|n| n ^ 0x5555).collect();
            let wanted: Vec<u64> = inputs.iter().map(|n| mix(*n)).collect();
            assert!(pool.map_slice(mix, &inputs).unwrap() == wanted, "{length} of a slice");
            let array = Array::from_slice(&inputs).unwrap();
            let results = pool.map_array(mix, &array).unwrap();
            assert!(results.to_vec().unwrap() == wanted, "{length} of an array");
            assert!(array.to_vec().unwrap() == inputs, "{length}: the arguments stay");
        }
    });
}

#[test]
fn elements_are_of_any_size() {
    watched("elements_are_of_any_size", || {
        let pool = Pool::new(2).unwrap();
        let bytes: Vec<u8> = (0..500_000).map(|n| n as u8).collect();
        let me = process::id();
        let wide = pool.map_slice(widen, &bytes).unwrap();
        assert_eq!(wide.len(), bytes.len());
        for (byte, [once, twice, pid]) in bytes.iter().zip(wide) {
            assert_eq!([once, twice], [u64::from(*byte), u64::from(*byte) * 2]);
            assert_ne!(pid, u64::from(me));
        }
        let rows: Vec<[u32; 1000]> = (0..3000).map(|n| [n; 1000]).collect();
        let wanted: Vec<u8> = rows.iter().map(|row| sum(*row)).collect();
        assert_eq!(pool.map_slice(sum, &rows).unwrap(), wanted);
        let rows = Array::from_slice(&rows[..777]).unwrap();
        assert_eq!(pool.map_array(sum, &rows).unwrap().to_vec().unwrap(), wanted[..777]);
        let halves = pool.map_slice(half, &[-1, 0, 1, i16::MAX]).unwrap();
        assert_eq!(halves, [-0.5, 0.0, 0.5, 16383.5]);
    });
}

#[test]
fn an_array_is_mapped_again_and_again() {
    watched("an_array_is_mapped_again_and_again", || {
        let inputs = Array::from_slice(&[1_u64, 2, 3]).unwrap();
        let pool = Pool::new(2).unwrap();
        let tasks: Vec<_> = (0..20).map(|_| pool.map_array_async(mix, &inputs).unwrap()).collect();
        for task in tasks {
            let once = task.get().unwrap();
            let twice = pool.map_array(mix, &once).unwrap();
            assert_eq!(once.to_vec().unwrap(), [4, 7, 10]);
            assert_eq!(twice.to_vec().unwrap(), [13, 22, 31]);
        }
        // Made after the workers, and larger than a segment that they know.
        let large = Array::new(3 << 20, 5_u64).unwrap();
        let results = pool.map_array(mix, &large).unwrap();
        assert!(results.to_vec().unwrap().iter().all(|n| *n == 16));
    });
}

#[test]
fn more_workers_than_elements_and_the_other_way_round() {
    watched("more_workers_than_elements_and_the_other_way_round", || {
        for workers in [1, 8] {
            let pool = Pool::builder().workers(workers).queue_bound(1).build().unwrap();
            assert_eq!(pool.map_slice(mix, &[7]).unwrap(), [22]);
            assert_eq!(pool.map_slice(mix, &[0; 50]).unwrap(), [1; 50]);
            pool.close();
            pool.join().unwrap();
            let stats = pool.stats();
            assert_eq!((stats.failed, stats.done), (0, if workers == 1 { 2 } else { 9 }));
        }
    });
}

#[test]
fn a_map_of_a_busy_pool_is_over_before_its_last_order() {
    watched("a_map_of_a_busy_pool_is_over_before_its_last_order", || {
        let begun = Event::new().unwrap();
        let pool = Pool::builder().workers(2).initializer(keep::<Event>, begun.clone());
        let pool = pool.build().unwrap();
        let busy = pool.submit(wait_at_0, 0).unwrap();
        begun.wait().unwrap();
        // One worker does it all.
        let numbers: Vec<u64> = (0..100_000).collect();
        assert_eq!(pool.map_slice(mix, &numbers).unwrap()[99_999], 299_998);
        assert!(!busy.is_ready() && busy.cancel());
    });
}

#[test]
fn a_panic_is_the_error_of_the_map() {
    watched("a_panic_is_the_error_of_the_map", || {
        let pool = Pool::new(2).unwrap();
        let mut numbers = vec![4_u64; 100_000];
        numbers[54_321] = 13;
        let error = pool.map_slice(odd_is_wrong, &numbers).unwrap_err();
        let panic = error.panic().unwrap();
        assert_eq!(panic.message(), "13 is odd");
        assert!(panic.to_string().contains("tasks.rs"), "{panic}");
        let array = Array::from_slice(&numbers).unwrap();
        assert!(pool.map_array(odd_is_wrong, &array).unwrap_err().is_panic());
        // Nobody died, and nothing is left over.
        array.set(54_321, 14).unwrap();
        let halves = pool.map_array(odd_is_wrong, &array).unwrap();
        assert_eq!(halves.get(54_321).unwrap(), 7);
        assert_eq!(pool.stats().restarted, 0);
    });
}

#[test]
fn a_worker_that_dies_fails_the_map_and_nothing_else() {
    watched("a_worker_that_dies_fails_the_map_and_nothing_else", || {
        let pool = Pool::builder().workers(2).retries(5).build().unwrap();
        let numbers: Vec<u32> = (0..200_000).collect();
        let array = Array::from_slice(&numbers).unwrap();
        for leave in [die_at_7777, leave_at_7777] {
            assert!(pool.map_slice(leave, &numbers).unwrap_err().is_worker_dead());
            assert!(pool.map_array(leave, &array).unwrap_err().is_worker_dead());
            // The dead have left no lock and no poison behind.
            assert!(!array.is_locked() && !array.is_poisoned());
            array.set(7777, 0).unwrap();
            assert_eq!(pool.map_array(leave, &array).unwrap().len(), numbers.len());
            array.set(7777, 7777).unwrap();
        }
        // Nobody else has died; the last death may not be counted yet.
        assert!(pool.stats().restarted <= 4);
    });
}

/// Wherever the worker is as it dies: in the function, in a copy, or with the lock of an array.
#[test]
fn maps_whose_workers_are_killed_end() {
    watched("maps_whose_workers_are_killed_end", || {
        let pool = Pool::builder().workers(2).restarts(1000, Duration::from_secs(1));
        let pool = pool.build().unwrap();
        let array = Array::new(200_000, 1_u64).unwrap();
        let mut died = 0;
        for round in 0..100 {
            let map = pool.map_array_async(mix, &array).unwrap();
            if let Some(pid) = pool.pids().get(round % 2) {
                // Where it is by then is the kernel's choice, and the round's.
                (0..round * 5).for_each(|_| thread::yield_now());
                unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
            }
            match map.get() {
                Ok(results) => assert!(results.to_vec().unwrap().iter().all(|n| *n == 4)),
                Err(error) => {
                    assert!(error.is_worker_dead(), "{error}");
                    died += 1;
                }
            }
        }
        assert!(died > 0, "nobody was killed at work");
        assert!(array.to_vec().unwrap().iter().all(|n| *n == 1));
    });
}

#[test]
fn a_map_of_an_array_is_cancelled() {
    watched("a_map_of_an_array_is_cancelled", || {
        let begun = Event::new().unwrap();
        let pool = Pool::builder().workers(2).initializer(keep::<Event>, begun.clone());
        let pool = pool.build().unwrap();
        let array = Array::from_slice(&[0_u32, 1, 2]).unwrap();
        let task = pool.map_array_async(wait_at_0, &array).unwrap();
        begun.wait().unwrap();
        assert!(task.cancel());
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        array.set(0, 1).unwrap();
        assert_eq!(pool.map_array(wait_at_0, &array).unwrap().to_vec().unwrap(), [1, 1, 2]);
    });
}

#[test]
fn a_map_ends_with_its_pool() {
    watched("a_map_ends_with_its_pool", || {
        let begun = Event::new().unwrap();
        let pool = Pool::builder().workers(2).initializer(keep::<Event>, begun.clone());
        let pool = pool.build().unwrap();
        let array = Array::from_slice(&[0_u32, 1, 2]).unwrap();
        let task = pool.map_array_async(wait_at_0, &array).unwrap();
        begun.wait().unwrap();
        drop(pool);
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    });
}

#[test]
fn a_map_takes_its_time_as_any_task() {
    watched("a_map_takes_its_time_as_any_task", || {
        let begun = Event::new().unwrap();
        let pool = Pool::builder().workers(2).initializer(keep::<Event>, begun);
        let pool = pool.task_timeout(Duration::from_millis(50)).build().unwrap();
        let error = pool.map_slice(wait_at_0, &[1, 0, 1]).unwrap_err();
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
    });
}

#[test]
fn misuse_is_an_error() {
    watched("misuse_is_an_error", || {
        let pool = Pool::new(2).unwrap();
        let array = Array::new(100, 1_u64).unwrap();
        let kind = |error| match error {
            TaskError::Error(error) => error.kind(),
            other => panic!("{other}"),
        };
        let part = array.lock_range(40..50).unwrap();
        assert_eq!(kind(pool.map_array(mix, &array).unwrap_err()), ErrorKind::Deadlock);
        drop(part);
        let whole = array.lock().unwrap();
        assert_eq!(kind(pool.map_array(mix, &array).unwrap_err()), ErrorKind::Deadlock);
        drop(whole);
        // Others' guards are waited for.
        thread::scope(|scope| {
            let part = array.lock_range(40..50).unwrap();
            let map = scope.spawn(|| pool.map_array(mix, &array).unwrap());
            drop(part);
            assert_eq!(map.join().unwrap().get(45).unwrap(), 4);
            let panicked = scope.spawn(|| {
                let _part = array.lock_range(40..50).unwrap();
                panic!("with a part");
            });
            panicked.join().unwrap_err();
        });
        assert_eq!(kind(pool.map_array(mix, &array).unwrap_err()), ErrorKind::Poisoned);
        array.clear_poison();
        pool.map_array(mix, &array).unwrap();
        pool.close();
        assert_eq!(kind(pool.map_array(mix, &array).unwrap_err()), ErrorKind::Misuse);
        assert_eq!(kind(pool.map_slice(mix, &[1]).unwrap_err()), ErrorKind::Misuse);
    });
}

#[test]
fn threads_map_as_processes_do() {
    watched("threads_map_as_processes_do", || {
        let pool = Pool::builder().workers(2).in_process(true).build().unwrap();
        let numbers: Vec<u64> = (0..300_000).collect();
        assert_eq!(pool.map_slice(mix, &numbers).unwrap()[123_456], 370_369);
    });
}

/// What a task counts, and when it lives.
type Visits = (Value<AtomicU32>, u32);

/// Dies until it was called so often, and says how often it was.
fn die_until((visits, enough): Visits) -> u32 {
    let visit = visits.fetch_add(1, Relaxed) + 1;
    match visit {
        _ if visit >= enough => visit,
        _ if visit.is_multiple_of(2) => process::exit(0),
        _ => common::die(),
    }
}

fn panic_in((visits, _): Visits) -> u32 {
    visits.fetch_add(1, Relaxed);
    panic!("as ever")
}

fn stay_in((visits, _): Visits) -> u32 {
    visits.fetch_add(1, Relaxed);
    worker_state(|begun: &mut Event| begun.set()).unwrap().unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_task_is_done_again_when_its_worker_dies() {
    watched("a_task_is_done_again_when_its_worker_dies", || {
        for (retries, enough) in [(0, 1), (1, 2), (3, 4)] {
            let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
            let visits = Value::atomic(0_u32).unwrap();
            let task = pool.submit(die_until, (visits.clone(), enough)).unwrap();
            // It is done also when nothing new is taken in.
            pool.close();
            assert_eq!(task.get().unwrap(), enough);
            pool.join().unwrap();
            let stats = pool.stats();
            assert_eq!((stats.done, stats.failed), (1, 0));
        }
    });
}

#[test]
fn it_is_not_done_again_more_often() {
    watched("it_is_not_done_again_more_often", || {
        for retries in 0..4 {
            let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
            let visits = Value::atomic(0_u32).unwrap();
            let error = pool.apply(die_until, (visits.clone(), retries + 2)).unwrap_err();
            assert!(error.is_worker_dead(), "{error}");
            assert_eq!(visits.load(Relaxed), retries + 1);
        }
    });
}

#[test]
fn what_is_not_a_death_is_not_done_again() {
    watched("what_is_not_a_death_is_not_done_again", || {
        let begun = Event::new().unwrap();
        let builder = || {
            let pool = Pool::builder().workers(2).retries(3);
            pool.initializer(keep::<Event>, begun.clone())
        };
        let visits = Value::atomic(0_u32).unwrap();
        let pool = builder().build().unwrap();
        assert!(pool.apply(panic_in, (visits.clone(), 0)).unwrap_err().is_panic());
        let task = pool.submit(stay_in, (visits.clone(), 0)).unwrap();
        begun.wait().unwrap();
        assert!(task.cancel());
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        pool.close();
        pool.join().unwrap();
        assert_eq!(visits.load(Relaxed), 2);

        let pool = builder().task_timeout(Duration::from_millis(50)).build().unwrap();
        let error = pool.apply(stay_in, (visits.clone(), 0)).unwrap_err();
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
        pool.close();
        pool.join().unwrap();
        assert_eq!(visits.load(Relaxed), 3);
    });
}

/// The first of all kills its worker.
fn die_first((visits, n): Visits) -> u32 {
    if visits.fetch_add(1, Relaxed) == 0 { common::die() } else { n }
}

#[test]
fn chunks_are_done_again() {
    watched("chunks_are_done_again", || {
        let pool = Pool::builder().workers(2).retries(1).build().unwrap();
        let visits = Value::atomic(0_u32).unwrap();
        let inputs = || (0..1000).map(|n| (visits.clone(), n));
        assert!(pool.map(die_first, inputs()).unwrap().into_iter().eq(0..1000));
        assert_eq!(visits.load(Relaxed), 1001, "who died was the first of its chunk");
        visits.store(0, Relaxed);
        let results: Result<Vec<u32>, _> = pool.imap(die_first, inputs()).collect();
        assert!(results.unwrap().into_iter().eq(0..1000));
        visits.store(0, Relaxed);
        let results = pool.imap_unordered(die_first, inputs());
        let mut results: Vec<u32> = results.map(|(_, result)| result.unwrap()).collect();
        results.sort_unstable();
        assert!(results.into_iter().eq(0..1000));
        assert!(pool.stats().restarted <= 3);
    });
}

#[test]
fn a_pool_whose_workers_die_too_fast_gives_up_all_the_same() {
    watched("a_pool_whose_workers_die_too_fast_gives_up_all_the_same", || {
        let pool = Pool::builder().workers(1).retries(u32::MAX);
        let pool = pool.restarts(5, Duration::from_secs(60)).build().unwrap();
        let visits = Value::atomic(0_u32).unwrap();
        let error = pool.apply(die_until, (visits.clone(), u32::MAX)).unwrap_err();
        assert!(matches!(&error, TaskError::Error(error) if error.kind() == ErrorKind::Worker));
        assert_eq!(visits.load(Relaxed), 6);
    });
}
