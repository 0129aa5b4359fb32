//! What one process tells another that it may go on with, of all kinds, in the same two words.
#![allow(unsafe_code, reason = "the yardsticks stand below the crate")]

use std::sync::Arc;
use std::time::Duration;

use multiproc::{Condition, Event, Lock, Semaphore};
use raw_sync::Timeout;
use raw_sync::events::{Event as RawSyncEvent, EventImpl, EventInit, EventState};

use crate::support::Contender;
use crate::support::memory::{Line, SharedBytes, lines};
use crate::support::peer::{with_process, with_thread};

/// Something that one side gives, and the other one takes when it is there.
pub(crate) trait Signal: Clone + Send + 'static {
    /// Whether it works between processes.
    const CROSSES: bool;

    fn new() -> Self;

    fn give(&self);

    /// Waits until it is there.
    fn take(&self);
}

impl Signal for Event {
    const CROSSES: bool = true;

    fn new() -> Self {
        Self::new().expect("an event")
    }

    #[inline]
    fn give(&self) {
        self.set().expect("an event");
    }

    #[inline]
    fn take(&self) {
        self.wait().expect("an event");
        self.clear().expect("an event");
    }
}

impl Signal for Semaphore {
    const CROSSES: bool = true;

    fn new() -> Self {
        Self::unowned(0).expect("a semaphore")
    }

    #[inline]
    fn give(&self) {
        self.release().expect("a semaphore");
    }

    #[inline]
    fn take(&self) {
        self.acquire().expect("a semaphore").forget();
    }
}

/// A flag that a lock guards, and a condition to wait for it.
#[derive(Clone)]
pub(crate) struct Flagged {
    lock: Lock,
    condition: Condition,
    flag: &'static Line,
}

impl Signal for Flagged {
    const CROSSES: bool = true;

    fn new() -> Self {
        let [flag] = lines();
        let condition = Condition::new().expect("a condition");
        Self { lock: Lock::new().expect("a lock"), condition, flag }
    }

    fn give(&self) {
        let guard = self.lock.lock().expect("a lock");
        self.flag.set(1);
        self.condition.notify_one().expect("a condition");
        drop(guard);
    }

    fn take(&self) {
        let guard = self.lock.lock().expect("a lock");
        let guard = self.condition.wait_while(guard, |()| self.flag.get() == 0);
        self.flag.set(0);
        drop(guard.expect("a lock"));
    }
}

/// A flag and a condition between threads.
type Flag<M, C> = Arc<(M, C)>;

impl Signal for Flag<std::sync::Mutex<bool>, std::sync::Condvar> {
    const CROSSES: bool = false;

    fn new() -> Self {
        Self::default()
    }

    fn give(&self) {
        *self.0.lock().expect("a lock") = true;
        self.1.notify_one();
    }

    fn take(&self) {
        let flag = self.0.lock().expect("a lock");
        *self.1.wait_while(flag, |flag| !*flag).expect("a lock") = false;
    }
}

impl Signal for Flag<parking_lot::Mutex<bool>, parking_lot::Condvar> {
    const CROSSES: bool = false;

    fn new() -> Self {
        Self::default()
    }

    fn give(&self) {
        *self.0.lock() = true;
        self.1.notify_one();
    }

    fn take(&self) {
        let mut flag = self.0.lock();
        self.1.wait_while(&mut flag, |flag| !*flag);
        *flag = false;
    }
}

pub(crate) type Std = Flag<std::sync::Mutex<bool>, std::sync::Condvar>;
pub(crate) type ParkingLot = Flag<parking_lot::Mutex<bool>, parking_lot::Condvar>;

/// `sem_t` in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Posix(*mut libc::sem_t);

// SAFETY: a semaphore may be used by any thread, and its memory stays for ever.
unsafe impl Send for Posix {}

impl Signal for Posix {
    const CROSSES: bool = true;

    fn new() -> Self {
        let semaphore = SharedBytes::new(size_of::<libc::sem_t>()).address().cast();
        // SAFETY: memory of its own of the right size and alignment, which nobody uses yet.
        assert_eq!(unsafe { libc::sem_init(semaphore, 1, 0) }, 0);
        Self(semaphore)
    }

    #[inline]
    fn give(&self) {
        // SAFETY: initialised by `new`, and never unmapped.
        assert_eq!(unsafe { libc::sem_post(self.0) }, 0);
    }

    #[inline]
    fn take(&self) {
        // SAFETY: as above.
        while unsafe { libc::sem_wait(self.0) } != 0 {}
    }
}

/// The auto-reset event of the crate raw_sync.
#[derive(Clone, Copy)]
pub(crate) struct RawSync(&'static dyn EventImpl);

// SAFETY: it is made of a mutex and a condition variable of pthreads, which any thread may use.
unsafe impl Send for RawSync {}

impl Signal for RawSync {
    const CROSSES: bool = true;

    fn new() -> Self {
        let memory = SharedBytes::new(RawSyncEvent::size_of(None)).address();
        // SAFETY: memory of its own, large enough and never unmapped.
        let made = unsafe { RawSyncEvent::new(memory, true) };
        Self(Box::leak(made.expect("an event").0))
    }

    #[inline]
    fn give(&self) {
        self.0.set(EventState::Signaled).expect("an event");
    }

    #[inline]
    fn take(&self) {
        self.0.wait(Timeout::Infinite).expect("an event");
    }
}

/// Row: one signal there, another one back.
pub(crate) fn hand_over<S: Signal>(name: &str) -> Contender {
    let (there, back) = (S::new(), S::new());
    let (mine, theirs) = ((there.clone(), back.clone()), (there, back));
    let echo = move |iterations| {
        for _ in 0..iterations {
            theirs.0.take();
            theirs.1.give();
        }
    };
    let ask = move |iterations| {
        for _ in 0..iterations {
            mine.0.give();
            mine.1.take();
        }
    };
    let run: Box<dyn FnMut(u64) -> Duration> = if S::CROSSES {
        Box::new(with_process(echo, ask))
    } else {
        Box::new(with_thread(echo, ask))
    };
    Contender::round_trip(name, run)
}
