//! A pool ends when it is told to, by whomever, and leaves nobody behind.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use multiproc::{ErrorKind, Event, Manager, Pool, Process, Task, TaskError};

use common::tasks::{for_ever, pid_after, square, wait_for};

/// In a process of its own, as `SIGINT` is a process's.
fn interrupted(_: ()) -> (usize, bool) {
    let pool = Pool::builder().workers(2).ctrl_c(true).build().unwrap();
    let tasks: Vec<_> = (0..5).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    for pid in pool.pids().into_iter().chain([std::process::id()]) {
        // A terminal would tell all of them.
        unsafe { libc::kill(pid as i32, libc::SIGINT) };
    }
    let ends = tasks.into_iter().map(|task| task.get().unwrap_err());
    let count = ends.filter(|end| matches!(end, TaskError::Interrupted)).count();
    pool.join().unwrap();
    (count, pool.pids().is_empty())
}

#[test]
fn o6_ctrl_c_interrupts_a_pool_that_asks_for_it() {
    let _watchdog = common::watchdog("pool_ends");
    let mut process = Process::spawn(interrupted, ()).unwrap();
    let result = process.join_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(result, Some((5, true)));
}

#[test]
fn workers_take_no_notice_of_ctrl_c() {
    let _watchdog = common::watchdog("pool_ends");
    let pool = Pool::new(2).unwrap();
    for pid in pool.pids() {
        unsafe { libc::kill(pid as i32, libc::SIGINT) };
    }
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
    assert_eq!(pool.stats().restarted, 0);
}

/// What a program does that neither handles nor ignores the signal.
fn program_that_hears_ctrl_c(_: ()) -> Option<i32> {
    let script = ["-c", "kill -INT $$; echo it goes on"];
    std::process::Command::new("sh").args(script).status().unwrap().signal()
}

/// Workers and servers ignored it, and so did whatever they executed: Ctrl-C ended the program, and
/// its programs went on.
#[test]
fn programs_of_workers_and_servers_hear_of_ctrl_c() {
    let _watchdog = common::watchdog("pool_ends");
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(program_that_hears_ctrl_c, ()).unwrap(), Some(libc::SIGINT));
    let manager = Manager::start().unwrap();
    unsafe { libc::kill(manager.pid() as i32, libc::SIGINT) };
    let heard = manager.run(program_that_hears_ctrl_c, ()).unwrap();
    assert_eq!(heard, Some(libc::SIGINT));
}

#[test]
fn a_dropped_pool_leaves_nobody() {
    let _watchdog = common::watchdog("pool_ends");
    let pool = Pool::new(3).unwrap();
    let pids = pool.pids();
    let tasks: Vec<_> = (0..9).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    drop(pool);
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    }
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}/stat")).exists(), "{pid} is alive");
    }
}

static SLOW: std::sync::Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> =
    std::sync::Mutex::new(None);

#[derive(serde::Deserialize)]
struct SlowAndBad;

impl serde::Serialize for SlowAndBad {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        if let Some((begun, go)) = SLOW.lock().unwrap().take() {
            begun.send(()).unwrap();
            go.recv().unwrap();
        }
        Err(serde::ser::Error::custom("no"))
    }
}

fn take_slow(_: SlowAndBad) {}

#[test]
fn an_order_put_back_after_the_end_is_ended() {
    common::watched("pool_ends", || {
        let pool = Pool::builder().workers(1).in_process(true).build().unwrap();
        for n in 0..200 {
            pool.apply(square, n).unwrap();
        }
        let (begun, has_begun) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        *SLOW.lock().unwrap() = Some((begun, goes));
        let (free, freed) = mpsc::channel::<()>();
        let first = pool.submit(square, 1).unwrap();
        first.on_done(move |_| freed.recv().unwrap());
        let before = pool.submit(pid_after, Duration::from_millis(50)).unwrap();
        let task = pool.submit(take_slow, SlowAndBad).unwrap();
        free.send(()).unwrap();
        has_begun.recv_timeout(Duration::from_secs(5)).unwrap();
        pool.terminate();
        go.send(()).unwrap();
        before.wait();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
    });
}

#[test]
fn all_who_join_wait_for_the_end() {
    common::watched("pool_ends", || {
        let pool = Pool::new(1).unwrap();
        let (free, freed) = mpsc::channel::<()>();
        let task = pool.submit(pid_after, Duration::from_millis(50)).unwrap();
        task.on_done(move |_| _ = freed.recv());
        pool.close();
        let (joined, joins) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    pool.join().unwrap();
                    joined.send(task.is_ready()).unwrap();
                });
            }
            let early = joins.recv_timeout(Duration::from_millis(500));
            free.send(()).unwrap();
            assert!(early.is_err(), "joined before the end");
        });
    });
}

fn interrupted_twice(_: ()) -> bool {
    let first = Pool::builder().workers(1).ctrl_c(true).build().unwrap();
    let task = first.submit(for_ever, ()).unwrap();
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    task.get().unwrap_err();
    let second = Pool::builder().workers(1).ctrl_c(true).build().unwrap();
    let task = second.submit(for_ever, ()).unwrap();
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    matches!(task.get(), Err(TaskError::Interrupted))
}

#[test]
fn a_pool_made_after_an_interrupt_hears_the_next() {
    common::watched("pool_ends", || {
        assert!(Process::spawn(interrupted_twice, ()).unwrap().join().unwrap());
    });
}

#[test]
fn a_pool_in_process_is_dropped_whatever_runs() {
    common::watched("pool_ends", || {
        let pool = Pool::builder().workers(1).in_process(true).build().unwrap();
        let task = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        pool.terminate();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        pool.join().unwrap();
    });
}

#[test]
fn a_forked_copy_of_a_pool_is_dropped_without_harm() {
    fn body(_: ()) {
        let pool = Pool::new(1).unwrap();
        let pids = pool.pids();
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(pool);
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        assert_eq!(pool.pids(), pids);
    }
    common::alone("pool_ends", body);
}

/// The workers of a pool, to be looked at when it is gone.
fn watch(pool: &Pool) -> Vec<OwnedFd> {
    pool.pids().into_iter().map(common::pidfd).collect()
}

fn assert_gone(workers: &[OwnedFd]) {
    assert!(!workers.is_empty() && !workers.iter().any(common::is_running));
}

#[test]
fn a_pool_dropped_by_a_panic_leaves_nobody() {
    common::watched("pool_ends", || {
        let (sender, receiver) = mpsc::channel();
        let life = thread::spawn(move || {
            let pool = Pool::new(2).unwrap();
            let tasks = [(); 5].map(|()| pool.submit(for_ever, ()).unwrap());
            common::until(|| pool.stats().running == 2);
            sender.send((watch(&pool), tasks)).unwrap();
            panic!("as it is busy");
        });
        assert!(life.join().is_err());
        let (workers, tasks) = receiver.recv().unwrap();
        assert_gone(&workers);
        for task in tasks {
            assert!(matches!(task.get(), Err(TaskError::Terminated)));
        }
    });
}

#[test]
fn a_pool_of_stopped_workers_can_be_dropped() {
    common::watched("pool_ends", || {
        let pool = Pool::new(2).unwrap();
        let workers = watch(&pool);
        for pid in pool.pids() {
            unsafe { libc::kill(pid as i32, libc::SIGSTOP) };
        }
        // More than fits into a pipe, so that the pool is stuck as it gives it.
        let task = pool.submit(|text: String| text.len(), "x".repeat(16 << 20)).unwrap();
        common::until(|| pool.stats().running == 1);
        drop(pool);
        assert_gone(&workers);
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    });
}

#[test]
fn a_closed_pool_does_what_it_has() {
    common::watched("pool_ends", || {
        let pool = Pool::new(2).unwrap();
        let workers = watch(&pool);
        let event = Event::new().unwrap();
        let gate = pool.submit(wait_for, event.clone()).unwrap();
        let tasks: Vec<_> = (0..100).map(|n| pool.submit(square, n).unwrap()).collect();
        pool.close();
        assert_eq!(pool.submit(square, 1).unwrap_err().kind(), ErrorKind::Misuse);
        assert!(pool.map(square, [1]).is_err() && pool.imap(square, [1]).next().unwrap().is_err());
        event.set().unwrap();
        pool.join().unwrap();
        pool.join().unwrap();
        assert_gone(&workers);
        assert!(gate.is_ready() && tasks.iter().all(Task::is_ok));
    });
}

#[test]
fn a_terminated_pool_takes_nothing_more() {
    common::watched("pool_ends", || {
        let pool = Pool::new(1).unwrap();
        let workers = watch(&pool);
        let tasks = [(); 3].map(|()| pool.submit(for_ever, ()).unwrap());
        pool.terminate();
        pool.terminate();
        assert_eq!(pool.submit(square, 1).unwrap_err().kind(), ErrorKind::Disconnected);
        pool.close();
        pool.join().unwrap();
        assert_gone(&workers);
        assert!(tasks.into_iter().all(|task| matches!(task.get(), Err(TaskError::Terminated))));
    });
}

#[test]
fn who_waits_for_room_hears_of_the_end() {
    common::watched("pool_ends", || {
        let pool = Pool::builder().workers(1).queue_bound(1).build().unwrap();
        let running = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        let waiting = pool.submit(square, 1).unwrap();
        thread::scope(|scope| {
            let third = scope.spawn(|| pool.submit(square, 2).map(drop));
            pool.interrupt();
            assert_eq!(third.join().unwrap().unwrap_err().kind(), ErrorKind::Disconnected);
        });
        for error in [running.get().unwrap_err(), waiting.get().unwrap_err()] {
            assert!(matches!(error, TaskError::Interrupted), "{error}");
        }
    });
}

#[test]
fn a_callback_may_have_the_last_of_a_pool() {
    common::watched("pool_ends", || {
        let pool = Arc::new(Pool::new(2).unwrap());
        let workers = watch(&pool);
        let event = Event::new().unwrap();
        let task = pool.submit(wait_for, event.clone()).unwrap();
        let (sender, dropped) = mpsc::channel();
        task.on_done(move |_| {
            drop(pool);
            sender.send(()).unwrap();
        });
        event.set().unwrap();
        dropped.recv().unwrap();
        task.get().unwrap();
        let soon = Duration::from_secs(30);
        assert!(workers.iter().all(|worker| common::ends_within(worker.as_fd(), soon)));
    });
}

/// Whether the only worker of the pool is gone while a callback of `watched` runs.
fn is_stopped_before_callbacks(act: impl FnOnce(&Pool, &Task<()>)) -> bool {
    let pool = Pool::new(1).unwrap();
    let [running, waiting] = [(); 2].map(|()| pool.submit(for_ever, ()).unwrap());
    common::until(|| pool.stats().running == 1);
    let (tell, told) = mpsc::channel();
    for task in [&running, &waiting] {
        let (worker, tell) = (common::pidfd(pool.pids()[0]), tell.clone());
        task.on_done(move |_| {
            let is_gone = common::ends_within(worker.as_fd(), Duration::from_secs(5));
            tell.send(is_gone).unwrap();
        });
    }
    act(&pool, &running);
    told.recv().unwrap()
}

/// A callback that took its time kept alive what was cancelled, or ended.
#[test]
fn what_is_cancelled_or_ended_is_stopped_before_callbacks() {
    common::watched("pool_ends", || {
        assert!(is_stopped_before_callbacks(|_, task| assert!(task.cancel())));
        assert!(is_stopped_before_callbacks(|pool, _| pool.terminate()));
        assert!(is_stopped_before_callbacks(|pool, _| pool.interrupt()));
    });
}
