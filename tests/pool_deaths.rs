//! The end of a worker is nobody else's.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use multiproc::{Event, Pool, TaskError};

use common::tasks::{for_ever, kill_myself, length, pid_after, square, stop};

#[test]
fn a_death_is_the_tasks_alone() {
    let _watchdog = common::watchdog("pool_deaths");
    let pool = Pool::new(2).unwrap();
    let others: Vec<_> = (0..20).map(|n| pool.submit(square, n).unwrap()).collect();
    match pool.apply(kill_myself, ()) {
        Err(TaskError::WorkerDied { pid, status }) => {
            assert_eq!(status.signal(), Some(9));
            assert_ne!(pid, std::process::id());
        }
        other => panic!("{other:?}"),
    }
    match pool.apply(stop, 3) {
        Err(TaskError::WorkerDied { status, .. }) => assert_eq!(status.code(), Some(3)),
        other => panic!("{other:?}"),
    }
    for (n, task) in (0..).zip(others) {
        assert_eq!(task.get().unwrap(), n * n);
    }
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    assert_eq!(pool.stats().restarted, 2);
}

#[test]
fn a_pool_whose_workers_all_die_gives_up() {
    let _watchdog = common::watchdog("pool_deaths");
    let pool = Pool::builder().workers(1).restarts(3, Duration::from_secs(60)).build().unwrap();
    let tasks: Vec<_> = (0..10).map(|_| pool.submit(kill_myself, ()).unwrap()).collect();
    let errors: Vec<_> = tasks.into_iter().map(|task| task.get().unwrap_err()).collect();
    assert_eq!(errors.iter().filter(|error| error.is_worker_dead()).count(), 4, "{errors:?}");
    assert!(pool.submit(square, 1).is_err());
}

/// Workers die at random, while all kinds of tasks are on their way; every task ends, those that
/// were not at a worker that died with their result.
#[test]
fn deaths_at_random_fail_only_what_they_hit() {
    let _watchdog = common::watchdog("pool_deaths");
    let pool = Pool::builder().workers(3).restarts(1000, Duration::from_secs(1)).build().unwrap();
    let mut dead = 0;
    for round in 0..40_u64 {
        let tasks: Vec<_> = (0..20).map(|n| pool.submit(square, n).unwrap()).collect();
        if let Some(pid) = pool.pids().get(round as usize % 3) {
            unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
        }
        for (n, task) in (0..).zip(tasks) {
            match task.get() {
                Ok(square) => assert_eq!(square, n * n),
                Err(error) => {
                    assert!(error.is_worker_dead(), "{error}");
                    dead += 1;
                }
            }
        }
    }
    let stats = pool.stats();
    assert!(dead <= stats.restarted, "{dead} {stats:?}");
    assert_eq!((stats.queued, stats.running), (0, 0));
    assert_eq!(stats.done + stats.failed, 800);
}

#[test]
fn an_idle_death_costs_no_task() {
    common::watched("pool_deaths", || {
        let pool =
            Pool::builder().workers(1).restarts(1000, Duration::from_secs(1)).build().unwrap();
        for n in 0..20 {
            let pid = pool.pids()[0];
            let fd = common::pidfd(pid);
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            assert!(common::ends_within(fd.as_fd(), Duration::from_secs(5)));
            assert_eq!(pool.apply(square, n).unwrap(), n * n, "{n}");
        }
    });
}

fn die_at(event: Event) -> u32 {
    thread::spawn(move || {
        event.wait().unwrap();
        common::die();
    });
    std::process::id()
}

#[test]
fn a_worker_that_dies_after_its_task_has_done_it() {
    common::watched("pool_deaths", || {
        let pool = Pool::new(1).unwrap();
        for round in 1..=5 {
            let event = Event::new().unwrap();
            let pid = pool.apply(die_at, event.clone()).unwrap();
            let worker = common::pidfd(pid);
            event.set().unwrap();
            assert!(common::ends_within(worker.as_fd(), Duration::from_secs(30)));
            assert_ne!(pool.apply(pid_after, Duration::ZERO).unwrap(), pid);
            assert_eq!(pool.stats().restarted, round);
        }
    });
}

/// What the worker does when its result is on its way.
#[derive(serde::Serialize, serde::Deserialize)]
struct Last {
    pid: u32,
}

impl Drop for Last {
    fn drop(&mut self) {
        if std::process::id() == self.pid {
            common::die();
        }
    }
}

fn last_words(_: ()) -> Last {
    Last { pid: std::process::id() }
}

#[test]
fn a_worker_that_dies_as_it_replies_has_replied_or_not() {
    common::watched("pool_deaths", || {
        let pool = pool_of_mortals(1);
        for n in 0..30 {
            if let Err(error) = pool.apply(last_words, ()) {
                assert!(error.is_worker_dead(), "{error}");
            }
            assert_eq!(pool.apply(square, n).unwrap(), n * n);
        }
        assert_eq!(pool.stats().restarted, 30);
    });
}

/// A pool that puts up with everything.
fn pool_of_mortals(workers: usize) -> Pool {
    Pool::builder().workers(workers).restarts(usize::MAX, Duration::from_secs(1)).build().unwrap()
}

const LONG: usize = 32 << 20;

fn long_result_from_one_who_dies(time: Duration) -> String {
    thread::spawn(move || {
        // The sleep is the work: death comes in the middle of the reply, or thereabouts.
        thread::sleep(time);
        common::die();
    });
    "x".repeat(LONG)
}

#[test]
fn a_long_result_arrives_whole_or_not_at_all() {
    common::watched("pool_deaths", || {
        let pool = pool_of_mortals(1);
        let mut whole = 0;
        for round in 0..30 {
            let time = Duration::from_millis(2) * round;
            match pool.apply(long_result_from_one_who_dies, time) {
                Ok(result) => {
                    assert_eq!(result.len(), LONG);
                    whole += 1;
                }
                Err(error) => assert!(error.is_worker_dead(), "{error}"),
            }
        }
        println!("{whole} of 30 arrived");
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

/// State and name of the threads of this process.
fn has_sleeping_thread(name: &str) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats.any(|stat| stat.contains(&format!("({name}) S")))
}

fn long_argument_for_one_who_dies(_: ()) {
    let pool = Pool::new(1).unwrap();
    let worker = pool.pids()[0];
    unsafe { libc::kill(worker as i32, libc::SIGSTOP) };
    let task = pool.submit(length, "x".repeat(LONG)).unwrap();
    common::until(|| pool.stats().running == 1);
    // It sleeps half way, as nobody takes what it sends.
    common::until(|| has_sleeping_thread("pool-1"));
    unsafe { libc::kill(worker as i32, libc::SIGKILL) };
    // The task had not begun, so somebody else does it.
    assert_eq!(task.get().unwrap(), LONG);
    assert_eq!(pool.stats().restarted, 1);
}

#[test]
fn a_worker_that_dies_before_its_task_has_begun_fails_nothing() {
    common::alone("pool_deaths", long_argument_for_one_who_dies);
}

/// Whoever reads it dies.
#[derive(serde::Serialize)]
struct Medusa;

impl<'de> serde::Deserialize<'de> for Medusa {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        common::die()
    }
}

#[test]
fn an_argument_that_kills_its_readers_is_not_read_for_ever() {
    common::watched("pool_deaths", || {
        let pool = Pool::new(1).unwrap();
        let medusa = pool.submit(|_: Medusa| (), Medusa).unwrap();
        let other = pool.submit(square, 3).unwrap();
        assert!(medusa.get().unwrap_err().is_worker_dead());
        assert_eq!(other.get().unwrap(), 9);
        assert_eq!(pool.stats().restarted, 2);
    });
}

/// From now on this process has no memory for anything long.
fn be_poor(_: ()) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let most = pages * 4096 + (16 << 20);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

#[test]
fn an_argument_that_is_too_long_for_its_readers_fails_alone() {
    common::watched("pool_deaths", || {
        let pool = Pool::builder().workers(1).initializer(be_poor, ()).build().unwrap();
        let long = pool.submit(length, "x".repeat(128 << 20)).unwrap();
        let other = pool.submit(square, 3).unwrap();
        assert!(long.get().unwrap_err().is_worker_dead());
        assert_eq!(other.get().unwrap(), 9);
        assert_eq!(pool.stats().restarted, 2);
    });
}

#[test]
fn the_death_says_who_and_how() {
    common::watched("pool_deaths", || {
        let pool = Pool::new(1).unwrap();
        let worker = pool.pids()[0];
        let error = pool.apply(kill_myself, ()).unwrap_err();
        match &error {
            TaskError::WorkerDied { pid, status } => {
                assert_eq!((*pid, status.signal(), status.code()), (worker, Some(9), None));
            }
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains(&worker.to_string()), "{error}");
    });
}

#[test]
fn a_map_hears_of_a_death_and_the_pool_goes_on() {
    common::watched("pool_deaths", || {
        let pool = Pool::new(2).unwrap();
        let fatal = |n: u64| if n == 7 { common::die() } else { n };
        assert!(pool.map(fatal, 0..20).unwrap_err().is_worker_dead());
        let results: Vec<_> = pool.imap(fatal, 0..20).collect();
        assert!(results.iter().zip(0..).all(|(result, n)| result.is_ok() == (n != 7)));
        assert_eq!(pool.map(fatal, 0..7).unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

fn begin_for_ever(begun: Event) {
    begun.set().unwrap();
    for_ever(());
}

#[test]
fn a_stopped_worker_is_too_slow_for_its_task() {
    common::watched("pool_deaths", || {
        let limit = Duration::from_millis(300);
        let pool = Pool::builder().workers(1).task_timeout(limit).build().unwrap();
        let event = Event::new().unwrap();
        let stopped = pool.submit(begin_for_ever, event.clone()).unwrap();
        event.wait().unwrap();
        unsafe { libc::kill(pool.pids()[0] as i32, libc::SIGSTOP) };
        assert!(matches!(stopped.get(), Err(TaskError::TimedOut { .. })));
        // One that is stopped before its task fails nothing.
        let next = pool.apply(pid_after, Duration::ZERO).unwrap();
        unsafe { libc::kill(next as i32, libc::SIGSTOP) };
        assert_ne!(pool.apply(pid_after, Duration::ZERO).unwrap(), next);
        assert_eq!(pool.stats().restarted, 2);
    });
}

#[test]
fn as_many_deaths_as_allowed_are_allowed() {
    common::watched("pool_deaths", || {
        let pool = Pool::builder().workers(1).restarts(3, Duration::MAX).build().unwrap();
        for _ in 0..3 {
            assert!(pool.apply(kill_myself, ()).unwrap_err().is_worker_dead());
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
        }
        assert!(pool.apply(kill_myself, ()).unwrap_err().is_worker_dead());
        let error = pool.apply(square, 3).unwrap_err();
        assert!(error.to_string().contains("die as fast as they are started"), "{error}");
        pool.join().unwrap();
        assert!(pool.pids().is_empty());
    });
}
