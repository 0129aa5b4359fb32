//! A pool does what it is told, and what it cannot do it says.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use multiproc::{ErrorKind, Pool, TaskError, as_completed, wait_all, wait_any_of};

use common::tasks::{for_ever, odd_is_wrong, pid_after, square};

#[test]
fn o1_async_tasks_share_the_workers() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(3).unwrap();
    let tasks: Vec<_> =
        (0..10).map(|n| pool.submit(pid_after, Duration::from_millis(n % 3)).unwrap()).collect();
    pool.close();
    pool.join().unwrap();
    let pids: BTreeSet<u32> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
    assert!((1..=3).contains(&pids.len()) && !pids.contains(&std::process::id()), "{pids:?}");
}

#[test]
fn o2_apply_goes_one_after_another() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    for n in 0..10 {
        assert_eq!(pool.apply(square, n).unwrap(), n * n);
    }
    assert_eq!(pool.stats().done, 10);
}

fn name_of(n: u64) -> String {
    n.to_string()
}

fn sleepy(n: u64) -> String {
    if n % 2 == 1 {
        // The sleep is the work.
        thread::sleep(Duration::from_millis(5));
    }
    n.to_string()
}

#[test]
fn o3_map_keeps_the_order() {
    let _watchdog = common::watchdog("pool");
    let wanted: Vec<String> = (0..10).map(|n: u64| n.to_string()).collect();
    let pool = Pool::new(3).unwrap();
    assert_eq!(pool.map(name_of, 0..10).unwrap(), wanted);
    let task = pool.map_async(sleepy, 0..10).unwrap();
    pool.close();
    pool.join().unwrap();
    assert!(task.is_ready() && task.is_ok());
    assert_eq!(task.get().unwrap(), wanted);
}

#[test]
fn o4_results_are_collected_afterwards() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..50).map(|n| pool.submit(square, n).unwrap()).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get().unwrap(), n * n);
    }
}

fn power((base, exponent): (u64, u32)) -> u64 {
    base.pow(exponent)
}

#[test]
fn o5_several_arguments_are_a_tuple() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(power, (2, 10)).unwrap(), 1024);
    let exponent = 3;
    assert_eq!(pool.map(power, (1..4).map(|base| (base, exponent))).unwrap(), [1, 8, 27]);
}

#[test]
fn o6_an_interrupted_pool_says_so() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..5).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    let start = Instant::now();
    pool.interrupt();
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Interrupted)));
    }
    pool.join().unwrap();
    assert!(pool.pids().is_empty());
    println!("interrupted in {:?}", start.elapsed());
}

#[test]
fn o7_misuse_is_an_error() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(1).unwrap();
    let error = pool.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    pool.close();
    let error = pool.submit(square, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    pool.join().unwrap();
    assert_eq!(Pool::new(0).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn imap_takes_inputs_as_results_are_asked_for() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    let taken = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&taken);
    let inputs = (0..1000_u64).inspect(move |_| {
        counted.fetch_add(1, Relaxed);
    });
    let mut results = pool.imap(square, inputs).window(4);
    for n in 0..10 {
        assert_eq!(results.next().unwrap().unwrap(), n * n);
        assert!(u64::from(taken.load(Relaxed)) <= n + 4);
    }
    drop(results);
    let mut all: Vec<_> =
        pool.imap_unordered(square, 0..100).map(|(n, result)| (n, result.unwrap())).collect();
    all.sort_unstable();
    assert!(all.iter().zip(0..).all(|((n, square), i)| *n == i && *square == (i * i) as u64));
    assert_eq!(pool.imap(square, 0..7_u64).size_hint(), (7, Some(7)));
}

#[test]
fn tasks_are_waited_for_together() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..6).map(|n| pool.submit(square, n).unwrap()).collect();
    assert!(wait_all(&tasks, Duration::from_secs(60)));
    let sum: u64 = as_completed(tasks).map(|(_, result)| result.unwrap()).sum();
    assert_eq!(sum, 55);
    let mut tasks = [pool.submit(for_ever, ()).unwrap(), pool.submit(|_: ()| (), ()).unwrap()];
    assert_eq!(wait_any_of(&mut tasks, Duration::from_secs(60)).unwrap(), [1]);
    assert!(!wait_all(&tasks, Duration::ZERO));
}

#[test]
fn callbacks_run_without_a_lock() {
    let _watchdog = common::watchdog("pool");
    let pool = Arc::new(Pool::new(1).unwrap());
    let (sender, results) = mpsc::channel();
    let again = Arc::clone(&pool);
    pool.submit(square, 5).unwrap().on_done(move |result| {
        let first = *result.as_ref().unwrap();
        let inner = sender.clone();
        again.submit(square, first).unwrap().on_done(move |result| {
            inner.send(*result.as_ref().unwrap()).unwrap();
        });
    });
    assert_eq!(results.recv_timeout(Duration::from_secs(60)).unwrap(), 625);
}

#[test]
fn a_pool_in_process_has_the_same_face() {
    let _watchdog = common::watchdog("pool");
    let pool = Pool::builder().workers(2).in_process(true).build().unwrap();
    assert_eq!(pool.apply(pid_after, Duration::ZERO).unwrap(), std::process::id());
    assert_eq!(pool.map(square, 0..20).unwrap().len(), 20);
    assert!(pool.apply(odd_is_wrong, 1).unwrap_err().is_panic());
}
