//! L1, P3: locks between processes: what they promise while everybody lives, panics or forks. Their
//! owners die in `sync_lock_deaths`.
//!
//! After CPython's `LockTests`, `RLockTests` and `_TestLock` (Lib/test/lock_tests.py,
//! Lib/test/_test_multiprocessing.py; PSF licence: the cases, not the code). What cannot be said
//! here needs no test: a lock is freed by its guard alone, so it is not freed by one that has not
//! taken it, nor by another thread, nor twice.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "fork is a subject")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{alone, until, watched};
use multiproc::{
    Condition, Connection, ErrorKind, Lock, LockError, Nothing, Pipe, Process, Queue, ReentrantLock,
};
use serde_json::json;

/// Long enough to be measured, and shorter than the backstop of those who sleep.
const SHORT: Duration = Duration::from_millis(5);

/// The backstop: whoever forgets the time-out wakes up then.
const BACKSTOP: Duration = Duration::from_millis(100);

type Tell<T> = Connection<T, Nothing>;
type Hear<T> = Connection<Nothing, T>;

/// The verbs of both kinds of lock.
macro_rules! both_kinds {
    ($($name:ident => $body:ident;)*) => { $(
        #[test]
        fn $name() {
            watched(stringify!($name), || {
                $body!(Lock);
                $body!(ReentrantLock);
            });
        }
    )* };
}

macro_rules! taken_and_freed {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        assert!(!lock.is_locked() && lock.who_holds().is_none() && !lock.is_poisoned());
        for _ in 0..3 {
            let guard = lock.lock().unwrap();
            assert!(lock.is_locked());
            let holder = lock.who_holds().unwrap();
            assert_eq!((holder.pid, holder.count), (std::process::id(), 1));
            drop(guard);
            assert!(!lock.is_locked() && lock.who_holds().is_none());
        }
        drop(lock.try_lock().unwrap());
        drop(lock.lock_timeout(SHORT).unwrap());
        assert!(!lock.is_locked());
    };
}

macro_rules! refused_while_held {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        let guard = lock.lock().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(lock.try_lock().unwrap_err().is_held());
                let zero = lock.lock_timeout(Duration::ZERO).unwrap_err();
                assert!(zero.is_timeout() && !zero.is_poisoned() && zero.error().is_none());
                // Again, as a time-out leaves no trace.
                assert!(lock.lock_timeout(SHORT).unwrap_err().is_timeout());
            });
        });
        drop(guard);
        drop(lock.try_lock().unwrap());
    };
}

macro_rules! timeouts_are_exact {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        let _guard = lock.lock().unwrap();
        let once = || {
            let start = Instant::now();
            assert!(lock.lock_timeout(SHORT).unwrap_err().is_timeout());
            let took = start.elapsed();
            assert!(SHORT <= took, "{took:?} is early");
            took
        };
        let times = || (0..20).map(|_| once()).min().unwrap();
        let best = thread::scope(|scope| scope.spawn(times).join().unwrap());
        // The best of many, as the machine may be busy.
        assert!(best < BACKSTOP, "{best:?} is late");
    };
}

macro_rules! seen_without_locking {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        assert!(format!("{lock:?}").contains("held_by: nobody"));
        let guard = lock.lock().unwrap();
        let shown = format!("{lock:?}");
        let mine = format!("{} {{ held_by: {}", stringify!($kind), std::process::id());
        assert!(shown.starts_with(&mine) && shown.contains("is_poisoned: false"), "{shown}");
        assert!(!format!("{guard:?}").is_empty());
        thread::scope(|scope| {
            scope.spawn(|| drop(lock.lock().unwrap()));
            until(|| format!("{lock:?}").contains("is_awaited: true"));
            drop(guard);
        });
        assert!(format!("{lock:?}").contains("held_by: nobody"));
    };
}

macro_rules! one_at_a_time {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        let (inside, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let _guard = lock.lock().unwrap();
                        assert_eq!(inside.fetch_add(1, Relaxed), 0);
                        // Not in one instruction, as nobody else is here.
                        turns.store(turns.load(Relaxed) + 1, Relaxed);
                        inside.fetch_sub(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 1500);
    };
}

macro_rules! poisoned_by_a_panic {
    ($kind:ident) => {
        let lock = $kind::new().unwrap();
        let panics = || {
            let _guard = lock.lock().unwrap();
            panic!("with the lock in its hands");
        };
        assert!(thread::scope(|scope| scope.spawn(panics).join()).is_err());
        assert!(lock.is_poisoned() && !lock.is_locked());
        let poisoned = lock.lock().unwrap_err();
        assert!(matches!(poisoned, LockError::Panicked { .. }) && poisoned.is_poisoned());
        assert!(!poisoned.is_owner_dead());
        assert!(lock.is_locked());
        drop(poisoned);
        // It stays poisoned until somebody says otherwise.
        let guard = lock.try_lock().unwrap_err().into_inner().unwrap();
        lock.clear_poison();
        drop(guard);
        assert!(!lock.is_poisoned());
        drop(lock.lock().unwrap());
    };
}

both_kinds! {
    a_lock_is_taken_and_freed => taken_and_freed;
    a_lock_that_somebody_has_is_not_given_away => refused_while_held;
    a_timeout_is_never_early_and_does_not_wait_for_the_backstop => timeouts_are_exact;
    a_lock_is_looked_at_without_taking_it => seen_without_locking;
    threads_are_inside_one_at_a_time => one_at_a_time;
    a_panic_poisons => poisoned_by_a_panic;
}

#[test]
fn a_lock_knows_that_its_own_thread_has_it() {
    watched("a_lock_knows_that_its_own_thread_has_it", || {
        let lock = Lock::new().unwrap();
        let guard = lock.lock().unwrap();
        assert!(matches!(lock.lock(), Err(LockError::WouldDeadlock)));
        assert!(matches!(lock.try_lock(), Err(LockError::WouldDeadlock)));
        assert!(matches!(lock.lock_timeout(SHORT), Err(LockError::WouldDeadlock)));
        let error = multiproc::Error::from(lock.clone().lock().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        drop(guard);
        drop(lock.lock().unwrap());
    });
}

#[test]
fn a_reentrant_lock_is_free_when_every_guard_is_gone() {
    watched("a_reentrant_lock_is_free_when_every_guard_is_gone", || {
        let lock = ReentrantLock::new().unwrap();
        let refused =
            || thread::scope(|scope| scope.spawn(|| lock.try_lock().is_err()).join().unwrap());
        let first = lock.lock().unwrap();
        let second = lock.try_lock().unwrap();
        let third = lock.lock_timeout(SHORT).unwrap();
        assert_eq!(third.depth(), 3);
        assert_eq!(lock.who_holds().unwrap().count, 3);
        // In whatever order.
        drop(first);
        assert!(refused());
        drop(third);
        assert!(refused());
        assert_eq!(second.depth(), 1);
        drop(second);
        assert!(!refused() && lock.who_holds().is_none());
    });
}

#[test]
fn a_guard_taken_during_a_panic_poisons_nothing() {
    struct Tidy(Lock);
    impl Drop for Tidy {
        fn drop(&mut self) {
            let _guard = self.0.lock().unwrap();
        }
    }
    watched("a_guard_taken_during_a_panic_poisons_nothing", || {
        let lock = Lock::new().unwrap();
        let tidy = Tidy(lock.clone());
        let panics = move || {
            let _tidy = tidy;
            panic!("and tidies up");
        };
        assert!(thread::spawn(panics).join().is_err());
        assert!(!lock.is_poisoned());
        drop(lock.lock().unwrap());
    });
}

#[test]
fn a_panic_in_a_process_is_told_as_one_and_not_as_a_death() {
    fn panics(lock: Lock) {
        let _guard = lock.lock().unwrap();
        panic!("in another process");
    }
    watched("a_panic_in_a_process_is_told_as_one", || {
        let lock = Lock::new().unwrap();
        assert!(Process::spawn(panics, lock.clone()).unwrap().join().unwrap_err().is_panic());
        assert!(matches!(lock.lock(), Err(LockError::Panicked { .. })));
        let error = multiproc::Error::from(lock.lock().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Poisoned);
    });
}

/// Takes the lock, says so, and frees it when told to.
fn hold((lock, mut say, mut told): (Lock, Tell<()>, Hear<()>)) {
    let guard = lock.lock().unwrap();
    say.send(()).unwrap();
    told.recv().unwrap();
    drop(guard);
}

#[test]
fn a_handle_travels_as_an_argument() {
    watched("a_handle_travels_as_an_argument", || {
        let lock = Lock::new().unwrap();
        let ((say, mut hear), (mut tell, told)) =
            (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
        let process = Process::spawn(hold, (lock.clone(), say, told)).unwrap();
        hear.recv().unwrap();
        assert_eq!(lock.who_holds().unwrap().pid, process.pid());
        assert!(lock.try_lock().unwrap_err().is_held());
        assert!(lock.lock_timeout(SHORT).unwrap_err().is_timeout());
        tell.send(()).unwrap();
        drop(lock.lock().unwrap());
        process.join().unwrap();
    });
}

#[test]
fn a_handle_travels_through_pipes_and_as_a_result() {
    fn back(mut both: Connection<(ReentrantLock, u32), (u32, ReentrantLock)>) -> Lock {
        let (number, lock) = both.recv().unwrap();
        let _guard = lock.lock().unwrap();
        both.send((lock.clone(), number + 1)).unwrap();
        // Until the other side has looked.
        assert!(both.recv().unwrap_err().is_disconnected());
        Lock::new().unwrap()
    }
    watched("a_handle_travels_through_pipes_and_as_a_result", || {
        let (mut here, there) = Pipe::duplex().unwrap();
        let process = Process::spawn(back, there).unwrap();
        let lock = ReentrantLock::new().unwrap();
        here.send((1, lock.clone())).unwrap();
        let (same, number) = here.recv().unwrap();
        assert!(number == 2 && same == lock && lock != ReentrantLock::new().unwrap());
        assert_eq!(same.who_holds().unwrap().pid, process.pid());
        drop(here);
        drop(same.lock().unwrap());
        let new = process.join().unwrap();
        drop(new.lock().unwrap());
    });
}

#[test]
fn a_queue_refuses_locks() {
    watched("a_queue_refuses_locks", || {
        let mut queue = Queue::<Lock>::bounded(2).unwrap();
        let lock = Lock::new().unwrap();
        let unsent = queue.send(lock.clone()).unwrap_err();
        assert_eq!(unsent.error().unwrap().kind(), ErrorKind::Misuse, "{unsent}");
        assert!(unsent.into_inner() == lock);
        assert!(serde_json::to_string(&lock).is_err());
    });
}

#[test]
fn an_inherited_guard_does_not_unlock() {
    alone("an inherited guard does not unlock", |()| {
        let lock = Lock::new().unwrap();
        let guard = lock.lock().unwrap();
        let me = std::process::id();
        let child = || {
            // The copy of the guard is dropped here, and again by nobody.
            drop(unsafe { std::ptr::read(&raw const guard) });
            assert_eq!(lock.who_holds().unwrap().pid, me);
            // The child is somebody else.
            assert!(lock.try_lock().unwrap_err().is_held());
            assert!(lock.lock_timeout(SHORT).unwrap_err().is_timeout());
        };
        unsafe { Process::fork(child) }.unwrap().join().unwrap();
        assert!(matches!(lock.try_lock(), Err(LockError::WouldDeadlock)));
        drop(guard);
        unsafe { Process::fork(|| drop(lock.lock().unwrap())) }.unwrap().join().unwrap();
        drop(lock.lock().unwrap());
    });
}

#[test]
fn a_panic_at_an_inner_level_poisons_though_it_is_caught() {
    watched("a_panic_at_an_inner_level_poisons", || {
        let lock = ReentrantLock::new().unwrap();
        let outer = lock.lock().unwrap();
        let caught = std::panic::catch_unwind(|| {
            let _inner = lock.lock().unwrap();
            panic!("with two levels in its hands");
        });
        assert!(caught.is_err() && lock.is_poisoned());
        assert_eq!(outer.depth(), 1);
        drop(outer);
        assert!(matches!(lock.lock(), Err(LockError::Panicked { .. })));
    });
}

#[test]
fn an_inherited_guard_that_waits_comes_back_once() {
    alone("an inherited guard that waits comes back once", |()| {
        let (lock, condition) = (ReentrantLock::new().unwrap(), Condition::new().unwrap());
        let guards = [(); 3].map(|()| lock.lock().unwrap());
        let child = || {
            let copy = unsafe { std::ptr::read(&raw const guards[0]) };
            let (guard, _) = condition.wait_timeout(copy, Duration::ZERO).unwrap();
            // How often the parent had it is the parent's.
            assert_eq!(guard.depth(), 1);
            drop(guard);
            assert!(!lock.is_locked());
        };
        let child = unsafe { Process::fork(child) }.unwrap();
        until(|| format!("{lock:?}").contains("is_awaited: true"));
        drop(guards);
        child.join().unwrap();
    });
}

#[test]
fn a_copy_that_was_forked_otherwise_has_no_locks() {
    alone("a copy that was forked otherwise has no locks", |()| {
        let lock = Lock::new().unwrap();
        let guard = lock.lock().unwrap();
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let refused = lock.try_lock().unwrap_err();
            let is_told = refused.error().is_some_and(|error| error.kind() == ErrorKind::Forked);
            drop(guard);
            unsafe { libc::_exit(if is_told { 7 } else { 1 }) };
        }
        let mut status = 0;
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(lock.who_holds().unwrap().pid, std::process::id());
        drop(guard);
    });
}

#[test]
fn a_forgotten_guard_goes_with_the_last_handle() {
    fn forgets((lock, mut say, mut told): (Lock, Tell<()>, Hear<()>)) {
        let copy = lock.clone();
        std::mem::forget(lock.lock().unwrap());
        drop(lock);
        say.send(()).unwrap();
        told.recv().unwrap();
        drop(copy);
        say.send(()).unwrap();
        // Alive, so that no death frees anything.
        let _ = told.recv();
    }
    watched("a_forgotten_guard_goes_with_the_last_handle", || {
        let lock = Lock::new().unwrap();
        let ((say, mut hear), (mut tell, told)) =
            (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
        let process = Process::spawn(forgets, (lock.clone(), say, told)).unwrap();
        hear.recv().unwrap();
        assert!(lock.try_lock().unwrap_err().is_held());
        tell.send(()).unwrap();
        hear.recv().unwrap();
        drop(lock.lock().unwrap());
        assert!(!lock.is_poisoned() && process.is_alive());
        drop(tell);
        process.join().unwrap();
    });
}

#[test]
fn processes_are_inside_one_at_a_time() {
    const TURNS: u64 = 2000;
    /// A counter that is read, and then written.
    fn count((lock, file): (Lock, PathBuf)) {
        for _ in 0..TURNS {
            let _guard = lock.lock().unwrap();
            let number: u64 = fs::read_to_string(&file).unwrap().parse().unwrap();
            fs::write(&file, (number + 1).to_string()).unwrap();
        }
    }
    watched("processes_are_inside_one_at_a_time", || {
        let lock = Lock::new().unwrap();
        let file = Scrap::new("counter", "0");
        let order = (lock, file.0.clone());
        let processes = [(); 3].map(|()| Process::spawn(count, order.clone()).unwrap());
        count(order);
        processes.into_iter().for_each(|process| process.join().unwrap());
        assert_eq!(fs::read_to_string(&file.0).unwrap(), (4 * TURNS).to_string());
    });
}

/// A file that goes with the test.
struct Scrap(PathBuf);

impl Scrap {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("multiproc-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Buys a ticket if there is one left, thinking about it between reading and writing.
fn buy((office, lock): (PathBuf, Option<Lock>)) -> bool {
    let _guard = lock.as_ref().map(|lock| lock.lock().unwrap());
    let left = tickets(&office);
    if left > 0 {
        // The sleep is the work.
        thread::sleep(Duration::from_millis(100));
        fs::write(office, json!({ "left": left - 1 }).to_string()).unwrap();
    }
    left > 0
}

/// An office that is being written to is read again.
fn tickets(office: &Path) -> u64 {
    let read = || serde_json::from_str(&fs::read_to_string(office).unwrap());
    let left = |page: serde_json::Value| page["left"].as_u64().unwrap();
    std::iter::repeat_with(read).find_map(Result::ok).map(left).unwrap()
}

#[test]
fn l1_twenty_buyers_want_one_ticket() {
    const BUYERS: usize = 20;
    let sold = |lock: Option<Lock>| {
        let office = Scrap::new("office", &json!({ "left": 1 }).to_string());
        let order = (office.0.clone(), lock);
        let buyers = [(); BUYERS].map(|()| Process::spawn(buy, order.clone()).unwrap());
        buyers.into_iter().map(|buyer| u32::from(buyer.join().unwrap())).sum::<u32>()
    };
    watched("l1_twenty_buyers_want_one_ticket", || {
        println!("without a lock {} of {BUYERS} got the one ticket", sold(None));
        assert_eq!(sold(Some(Lock::new().unwrap())), 1);
    });
}
