//! Values of the user's that do more than values should: as they are read, looked at, or dropped.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills and forks processes")]

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::tasks::{kill_myself, odd_is_wrong, square, wait_for};
use common::watched;
use multiproc::{Event, Pool, Task, TaskError, Value};

/// Panics when it is dropped where it was made.
#[derive(serde::Serialize, serde::Deserialize)]
struct Brittle {
    pid: u32,
}

impl Brittle {
    fn here() -> Self {
        Self { pid: std::process::id() }
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(std::process::id() != self.pid, "dropped");
    }
}

#[test]
fn a_panic_where_a_value_is_dropped_costs_nobody_anything() {
    watched("a_panic_where_a_value_is_dropped_costs_nobody_anything", || {
        let pool = Pool::new(1).unwrap();
        for n in 0..3 {
            drop(pool.apply(|_: ()| Brittle::here(), ()).unwrap());
            pool.submit(|_: Brittle| (), Brittle::here()).unwrap().get().unwrap();
            assert_eq!(pool.apply(square, n).unwrap(), n * n);
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.restarted), (9, 0, 0));
    });
}

/// Who reads it cancels the task that it is the result of.
#[derive(Debug, serde::Serialize)]
struct Contrary;

static CONTRARY: Mutex<Option<Task<Contrary>>> = Mutex::new(None);

impl<'de> serde::Deserialize<'de> for Contrary {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        assert!(CONTRARY.lock().unwrap().as_ref().unwrap().cancel());
        Ok(Self)
    }
}

fn contrary(event: Event) -> Contrary {
    event.wait().unwrap();
    Contrary
}

#[test]
fn a_task_that_is_cancelled_as_its_result_arrives_has_failed() {
    watched("a_task_that_is_cancelled_as_its_result_arrives_has_failed", || {
        let pool = Pool::new(1).unwrap();
        let pids = pool.pids();
        let event = Event::new().unwrap();
        *CONTRARY.lock().unwrap() = Some(pool.submit(contrary, event.clone()).unwrap());
        event.set().unwrap();
        common::until(|| pool.stats().done + pool.stats().failed == 1);
        let task = CONTRARY.lock().unwrap().take().unwrap();
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.restarted), (0, 1, 1));
        // Nobody had to ask for it.
        common::until(|| pool.pids().len() == 1);
        assert_ne!(pool.pids(), pids);
    });
}

/// Is not dropped before it has heard something.
struct Patient(Mutex<mpsc::Receiver<()>>);

impl Wake for Patient {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.0.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn a_waker_that_waits_for_the_task_does_not_hold_it_up() {
    watched("a_waker_that_waits_for_the_task_does_not_hold_it_up", || {
        let pool = Pool::new(1).unwrap();
        let event = Event::new().unwrap();
        let task = pool.submit(wait_for, event.clone()).unwrap();
        let (say, said) = mpsc::channel();
        task.on_done(move |_| say.send(()).unwrap());
        let mut future = pin!(task.into_future());
        let waker = Waker::from(Arc::new(Patient(Mutex::new(said))));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        event.set().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let _ = future.as_mut().poll(&mut context);
        while future.as_mut().poll(&mut context).is_pending() {
            thread::yield_now();
        }
    });
}

#[test]
fn a_chunk_with_a_panic_has_failed() {
    watched("a_chunk_with_a_panic_has_failed", || {
        let pool = Pool::new(1).unwrap();
        assert!(pool.map_chunked(odd_is_wrong, [2, 3, 4], 3).unwrap_err().is_panic());
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed), (0, 1));
    });
}

/// A process that nobody knows of has all that the worker had.
fn leave_a_copy((pids, event): (Value<AtomicU32>, Event)) {
    let copy = unsafe { libc::fork() };
    if copy == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    pids.store(copy as u32, Relaxed);
    event.set().unwrap();
    common::die();
}

#[test]
fn a_copy_that_outlives_its_worker_does_not_stand_for_it() {
    watched("a_copy_that_outlives_its_worker_does_not_stand_for_it", || {
        let pool = Pool::new(1).unwrap();
        let (copy, event) = (Value::atomic(0_u32).unwrap(), Event::new().unwrap());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        let died = pool.apply(leave_a_copy, (copy.clone(), event.clone()));
        assert!(died.unwrap_err().is_worker_dead());
        let died = pool.submit(leave_a_copy, (copy.clone(), event)).unwrap();
        let first = copy.load(Relaxed) as i32;
        assert!(died.get().unwrap_err().is_worker_dead());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        for pid in [first, copy.load(Relaxed) as i32] {
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        }
    });
}

fn many_kills(_: ()) {
    let pool = Pool::builder().workers(2).restarts(usize::MAX, Duration::from_secs(1));
    let pool = pool.build().unwrap();
    let kill = || {
        assert!(pool.apply(kill_myself, ()).unwrap_err().is_worker_dead());
    };
    let settled = || common::until(|| pool.pids().len() == 2);
    (0..20).for_each(|_| kill());
    settled();
    let fds = common::open_fds();
    (0..250).for_each(|_| kill());
    settled();
    assert_eq!(pool.stats().restarted, 270);
    assert!(common::open_fds() <= fds + 4, "{fds} {}", common::open_fds());
}

#[test]
fn deaths_leave_no_descriptor() {
    common::alone("deaths_leave_no_descriptor", many_kills);
}
