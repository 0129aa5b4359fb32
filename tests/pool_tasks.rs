//! What can go wrong with a task goes wrong with this task alone.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use multiproc::{Event, Pool, Task, TaskError, Value, wait_all};

use common::tasks::{count_up, for_ever, odd_is_wrong, open, pid_after, square, wait_for};

#[test]
fn a_panic_is_the_tasks_alone() {
    let _watchdog = common::watchdog("pool_tasks");
    let pool = Pool::new(2).unwrap();
    let error = pool.apply(odd_is_wrong, 3).unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "3 is odd");
    assert!(panic.location().unwrap().contains("tests/common/tasks.rs"));
    assert_eq!(pool.apply(odd_is_wrong, 4).unwrap(), 2);
    assert!(pool.map(odd_is_wrong, [2, 4, 5, 6]).unwrap_err().is_panic());
    assert_eq!(pool.stats().restarted, 0);
}

#[test]
fn a_task_that_takes_too_long_is_ended() {
    let _watchdog = common::watchdog("pool_tasks");
    let pool = Pool::builder().workers(2).task_timeout(Duration::from_millis(50)).build().unwrap();
    let error = pool.apply(for_ever, ()).unwrap_err();
    assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

#[test]
fn a_task_can_be_cancelled() {
    let _watchdog = common::watchdog("pool_tasks");
    let pool = Pool::new(1).unwrap();
    let running = pool.submit(for_ever, ()).unwrap();
    let queued = pool.submit(square, 3).unwrap();
    let last = pool.submit(square, 4).unwrap();
    assert!(queued.cancel() && !queued.cancel());
    assert!(matches!(queued.get(), Err(TaskError::Cancelled)));
    assert!(running.cancel());
    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert_eq!(last.get().unwrap(), 16);
}

#[derive(serde::Deserialize)]
struct PanicsInSerialize;

impl serde::Serialize for PanicsInSerialize {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("no bytes")
    }
}

fn take_it(_: PanicsInSerialize) {}

#[test]
fn a_panic_while_arguments_are_encoded_is_the_tasks_alone() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(take_it, PanicsInSerialize).unwrap();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[derive(serde::Serialize, Debug)]
struct PanicsInDeserialize;

impl<'de> serde::Deserialize<'de> for PanicsInDeserialize {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no value")
    }
}

fn give_it(_: ()) -> PanicsInDeserialize {
    PanicsInDeserialize
}

fn take_odd(_: PanicsInDeserialize) {}

#[test]
fn a_panic_while_a_result_is_decoded_is_the_tasks_alone() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(give_it, ()).unwrap();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        println!("{:?}", task.get());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn a_panic_while_arguments_are_decoded_is_the_tasks_panic() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        let error = pool.apply(take_odd, PanicsInDeserialize).unwrap_err();
        assert!(error.is_panic() || matches!(error, TaskError::Error(_)), "{error:?}");
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn cancelling_many_does_not_break_the_pool() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(4).unwrap();
        for _ in 0..5 {
            let tasks: Vec<_> = (0..4).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
            common::until(|| pool.stats().running == 4);
            for task in &tasks {
                assert!(task.cancel());
            }
            common::until(|| pool.stats().running == 0);
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn timeouts_do_not_break_the_pool() {
    common::watched("pool_tasks", || {
        let pool = Pool::builder().workers(12).task_timeout(Duration::from_millis(200));
        let pool = pool.build().unwrap();
        let tasks: Vec<_> = (0..12).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
        for task in tasks {
            let error = task.get().unwrap_err();
            assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[test]
fn a_task_cancelled_while_it_is_sent_harms_nobody() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        for pid in pool.pids() {
            unsafe { libc::kill(pid as i32, libc::SIGSTOP) };
        }
        let task = pool.submit(length, vec![7; 64 << 20]).unwrap();
        common::until(|| pool.stats().running == 1);
        // Time for it to get stuck half way into the pipe; earlier must do as well.
        thread::sleep(Duration::from_millis(500));
        assert!(task.cancel());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        println!("{:?}", pool.stats());
    });
}

#[test]
fn a_worker_is_not_at_work_after_a_task_that_was_not_sent() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        pool.apply(take_it, PanicsInSerialize).unwrap_err();
        let (before, then) = (pool.stats().busy[0], Instant::now());
        // Who were at work would have been so for longer now.
        common::until(|| Instant::now() > then);
        assert_eq!(pool.stats().busy[0], before);
    });
}

#[test]
fn a_running_task_with_others_behind_it_can_be_cancelled() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        for n in 0..200 {
            pool.apply(square, n).unwrap();
        }
        let stuck = pool.submit(for_ever, ()).unwrap();
        let rest: Vec<_> = (0..5).map(|n| pool.submit(square, n).unwrap()).collect();
        // Time for orders to be given ahead, and to be taken back; earlier must do as well.
        thread::sleep(Duration::from_millis(200));
        println!("{:?}", pool.stats());
        assert!(stuck.cancel());
        for (n, task) in rest.iter().enumerate() {
            assert!(task.wait_timeout(Duration::from_secs(5)), "{n} {:?}", pool.stats());
        }
    });
}

#[test]
fn a_task_is_not_stuck_behind_one_that_waits_for_it() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(2).unwrap();
        for n in 0..400 {
            pool.apply(square, n).unwrap();
        }
        let gate = Event::new().unwrap();
        let held = || {
            let (free, freed) = mpsc::channel::<()>();
            let (hold, held) = mpsc::channel::<()>();
            let task = pool.submit(pid_after, Duration::from_millis(20)).unwrap();
            task.on_done(move |_| {
                hold.send(()).unwrap();
                let _ = freed.recv();
            });
            (free, held)
        };
        let (one, two) = (held(), held());
        one.1.recv().unwrap();
        two.1.recv().unwrap();
        let mut first = Vec::new();
        first.extend((0..100).map(|n| pool.submit(square, n).unwrap()));
        let waits = pool.submit(wait_for, gate.clone()).unwrap();
        let opens = pool.submit(open, gate).unwrap();
        let rest: Vec<_> = (0..10).map(|n| pool.submit(square, n).unwrap()).collect();
        drop(one);
        first.iter().for_each(Task::wait);
        drop(two);
        assert!(wait_all(&rest, Duration::from_secs(5)), "{:?}", pool.stats());
        assert!(opens.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        waits.get().unwrap();
    });
}

#[test]
fn what_was_cancelled_takes_no_room() {
    common::watched("pool_tasks", || {
        let pool = Pool::builder().workers(1).queue_bound(2).build().unwrap();
        let running = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        for _ in 0..10 {
            assert!(pool.submit(square, 3).unwrap().cancel());
        }
        assert!(running.cancel());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

/// Behind a long task wait orders that its worker has got already. They are taken back, and it must
/// not do them as well.
#[test]
fn what_is_taken_back_is_done_once() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        for _ in 0..5 {
            let (event, calls) = (Event::new().unwrap(), Value::atomic(0_u64).unwrap());
            // So many that the worker is fast, and the line is long, when the long one comes.
            let fast: Vec<_> = (0..2000).map(|n| pool.submit(square, n).unwrap()).collect();
            let long = pool.submit(wait_for, event.clone()).unwrap();
            let counted: Vec<_> =
                (0..50).map(|_| pool.submit(count_up, calls.clone()).unwrap()).collect();
            fast.into_iter().for_each(|task| _ = task.get().unwrap());
            // Time for orders to be given ahead, and to be taken back; earlier must do as well.
            thread::sleep(Duration::from_millis(20));
            event.set().unwrap();
            long.get().unwrap();
            counted.into_iter().for_each(|task| task.get().unwrap());
            // Behind whatever the worker had got before.
            pool.apply(square, 1).unwrap();
            assert_eq!(calls.load(Relaxed), 50);
        }
    });
}

#[derive(serde::Deserialize, Debug)]
struct Unsayable;

impl serde::Serialize for Unsayable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be said"))
    }
}

#[derive(serde::Deserialize, Debug)]
struct PanicsWhenSaid;

impl serde::Serialize for PanicsWhenSaid {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it chokes")
    }
}

#[test]
fn a_result_that_cannot_be_encoded_fails_alone() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        let error = pool.apply(|_: ()| Unsayable, ()).unwrap_err().to_string();
        assert!(error.contains("encode a pool_tasks::Unsayable, the result of a call"), "{error}");
        let error = pool.apply(drop, Unsayable).unwrap_err().to_string();
        assert!(
            error.contains("encode a pool_tasks::Unsayable, the argument of a call"),
            "{error}"
        );
        let error = pool.apply(|_: ()| PanicsWhenSaid, ()).unwrap_err().to_string();
        assert!(error.contains("it chokes") && error.contains("tests/pool_tasks.rs"), "{error}");
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        assert_eq!((pool.stats().restarted, pool.stats().failed), (0, 3));
    });
}

#[test]
fn each_task_has_the_whole_time() {
    common::watched("pool_tasks", || {
        let limit = Duration::from_secs(1);
        let pool = Pool::builder().workers(1).task_timeout(limit).build().unwrap();
        // Together they take longer than one may.
        let tasks: Vec<_> =
            (0..6).map(|_| pool.submit(pid_after, Duration::from_millis(200)).unwrap()).collect();
        for task in tasks {
            task.get().unwrap();
        }
        let tasks = [(); 2].map(|()| pool.submit(for_ever, ()).unwrap());
        for task in tasks {
            assert!(
                matches!(task.get(), Err(TaskError::TimedOut { limit: said }) if said == limit)
            );
        }
        assert_eq!(pool.stats().restarted, 2);
    });
}

#[test]
fn cancelling_kills_only_the_worker_at_it() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(2).unwrap();
        let event = Event::new().unwrap();
        let other = pool.submit(wait_for, event.clone()).unwrap();
        common::until(|| pool.stats().running == 1);
        let task = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 2);
        let before = pool.pids();
        assert!(task.cancel() && !task.cancel());
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        let after = pool.pids();
        assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 1);
        event.set().unwrap();
        other.get().unwrap();
        assert_eq!(pool.stats().restarted, 1);
    });
}

fn odd_is_wrong_even_waits((n, event): (u64, Event)) {
    assert!(n.is_multiple_of(2), "{n} is odd");
    event.wait().unwrap();
}

/// Those that wait would do so for ever.
#[test]
fn a_map_fails_without_waiting_for_the_rest() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(2).unwrap();
        let event = Event::new().unwrap();
        let inputs = [0, 1, 2, 4].map(|n| (n, event.clone()));
        let error = pool.map_chunked(odd_is_wrong_even_waits, inputs, 1).unwrap_err();
        assert_eq!(error.panic().unwrap().message(), "1 is odd");
        event.set().unwrap();
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    });
}

#[test]
fn a_map_can_be_cancelled() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(2).unwrap();
        let task = pool.map_async(for_ever, [(); 100]).unwrap();
        common::until(|| pool.stats().running == 2);
        assert!(task.cancel());
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    });
}

#[test]
fn a_worker_is_not_at_work_after_all_was_taken_back() {
    common::watched("pool_tasks", || {
        let pool = Pool::new(1).unwrap();
        for _ in 0..10 {
            // A quick worker gets tasks ahead of time.
            let quick: Vec<_> = (0..500).map(|n| pool.submit(square, n).unwrap()).collect();
            quick.into_iter().for_each(|task| _ = task.get().unwrap());
            let tasks: Vec<_> = (0..500).map(|n| pool.submit(square, n).unwrap()).collect();
            let pid = pool.pids()[0] as i32;
            assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
            // Time for the work to be given, and taken back; earlier must do as well.
            thread::sleep(Duration::from_millis(10));
            tasks.iter().for_each(|task| _ = task.cancel());
            common::until(|| pool.stats().queued + pool.stats().running == 0);
            let before = pool.stats().busy[0];
            // Time for who is taken to be at work to be seen as that; earlier must do as well.
            thread::sleep(Duration::from_millis(10));
            assert_eq!(pool.stats().busy[0], before);
            unsafe { libc::kill(pid, libc::SIGCONT) };
        }
    });
}
