//! Locks for many readers or one writer, between processes: who is in beside whom, who goes first,
//! and what becomes of it when somebody is killed.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory that a lock guards")]

mod common;

use std::mem::forget;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::ledger::{Address, Ledger, open};
use common::{
    alone, assert_killed, die, next, seed, storms, until, wait_until_asleep, watchdog, watched,
};
use multiproc::{
    Connection, ErrorKind, LockError, Nothing, Pipe, Process, ReadGuard, RwHolders, RwLock,
    WriteGuard,
};
use serde::{Deserialize, Serialize};

/// Some backstops long, each of which suspects whoever is waited for.
const A_WHILE: Duration = Duration::from_millis(350);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Read,
    Write,
}
use Way::{Read, Write};

/// What a process found when it got the lock.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Found {
    Whole,
    /// The pid of who left it so.
    Torn(u32),
    Panicked,
}

fn found<G>(got: Result<G, LockError<G>>) -> (Found, G) {
    match got {
        Ok(guard) => (Found::Whole, guard),
        Err(LockError::OwnerDied { guard, pid, .. }) => (Found::Torn(pid), guard),
        Err(LockError::Panicked { guard }) => (Found::Panicked, guard),
        Err(error) => panic!("{error}"),
    }
}

/// Another process that takes the lock, and keeps it until it is told to go.
struct Other {
    process: Process<()>,
    pipe: Connection<(), Option<Found>>,
}

impl Other {
    /// A process that is about to take the lock.
    fn asks(lock: &RwLock, way: Way) -> Self {
        fn take((lock, way, mut pipe): (RwLock, Way, Connection<Option<Found>, ()>)) {
            pipe.send(None).unwrap();
            let (found, guards) = match way {
                Read => {
                    let (found, guard) = found(lock.read());
                    (found, (Some(guard), None))
                }
                Write => {
                    let (found, guard) = found(lock.write());
                    (found, (None, Some(guard)))
                }
            };
            pipe.send(Some(found)).unwrap();
            pipe.recv().unwrap();
            drop::<(Option<ReadGuard<'_>>, Option<WriteGuard<'_>>)>(guards);
        }
        let (mut pipe, there) = Pipe::duplex::<(), Option<Found>>().unwrap();
        let process = Process::spawn(take, (lock.clone(), way, there)).unwrap();
        assert_eq!(pipe.recv().unwrap(), None);
        Self { process, pipe }
    }

    /// A process that sleeps until it gets the lock.
    fn waits(lock: &RwLock, way: Way) -> Self {
        let other = Self::asks(lock, way);
        wait_until_asleep(other.process.pid());
        other
    }

    /// A process that has the lock.
    fn has(lock: &RwLock, way: Way) -> Self {
        let mut other = Self::asks(lock, way);
        assert_eq!(other.gets(), Found::Whole);
        other
    }

    fn gets(&mut self) -> Found {
        self.pipe.recv().unwrap().unwrap()
    }

    fn goes(mut self) {
        self.pipe.send(()).unwrap();
        self.process.join().unwrap();
    }

    fn ends_by_a_kill(self) {
        self.process.kill().unwrap();
        assert_killed(self.process.join());
    }
}

/// The processes that read, and how often each.
fn readers(lock: &RwLock) -> Vec<(u32, u32)> {
    match lock.who_holds() {
        RwHolders::Readers(readers) => readers.iter().map(|it| (it.pid, it.count)).collect(),
        RwHolders::Nobody => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn is_free(lock: &RwLock) -> bool {
    lock.who_holds() == RwHolders::Nobody
}

#[test]
fn readers_are_side_by_side() {
    watched("readers_are_side_by_side", || {
        let lock = RwLock::new().unwrap();
        let one = Other::has(&lock, Read);
        let other = Other::has(&lock, Read);
        let mine = (lock.read().unwrap(), lock.try_read().unwrap());
        let mut pids = [(one.process.pid(), 1), (other.process.pid(), 1), (std::process::id(), 2)];
        let mut there = readers(&lock);
        pids.sort_unstable();
        there.sort_unstable();
        assert_eq!(there, pids);
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
        one.goes();
        other.goes();
        assert_eq!(readers(&lock), [(std::process::id(), 2)]);
        drop(mine);
        assert!(is_free(&lock) && lock.try_write().is_ok());
    });
}

#[test]
fn a_writer_is_alone() {
    watched("a_writer_is_alone", || {
        let lock = RwLock::new().unwrap();
        let writer = Other::has(&lock, Write);
        let RwHolders::Writer(holder) = lock.who_holds() else { panic!("{lock:?}") };
        assert_eq!((holder.pid, holder.count), (writer.process.pid(), 1));
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
        for millis in [0, 1, 20] {
            let (start, time) = (Instant::now(), Duration::from_millis(millis));
            assert!(matches!(lock.read_timeout(time), Err(LockError::TimedOut)));
            assert!(matches!(lock.write_timeout(time), Err(LockError::TimedOut)));
            assert!(start.elapsed() >= 2 * time);
        }
        let mut readers = [Other::waits(&lock, Read), Other::waits(&lock, Read)];
        writer.goes();
        // Both are woken, and are in at once.
        assert!(readers.iter_mut().all(|reader| reader.gets() == Found::Whole));
        readers.into_iter().for_each(Other::goes);
        assert!(is_free(&lock));
    });
}

/// A reader is in, a writer waits for it: who comes to read waits behind the writer.
#[test]
fn a_writer_that_waits_goes_before_new_readers() {
    watched("a_writer_that_waits_goes_before_new_readers", || {
        let lock = RwLock::new().unwrap();
        let first = Other::has(&lock, Read);
        let mut writer = Other::waits(&lock, Write);
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
        let mut second = Other::waits(&lock, Read);
        // It reads still, and nobody writes yet.
        assert_eq!(readers(&lock), [(first.process.pid(), 1)]);
        let said = format!("{lock:?}");
        assert!(said.contains("is_wanted_to_write: true"), "{said}");
        first.goes();
        assert_eq!(writer.gets(), Found::Whole);
        assert!(matches!(lock.who_holds(), RwHolders::Writer(_)));
        writer.goes();
        assert_eq!(second.gets(), Found::Whole);
        second.goes();
    });
}

/// Readers that come again and again, some always inside, do not keep a writer out.
#[test]
fn a_stream_of_readers_does_not_keep_writers_out() {
    fn read_on((lock, mut told): (RwLock, Connection<Nothing, ()>)) -> u64 {
        let mut reads = 0;
        while told.try_recv().is_err_and(|error| error.is_empty()) {
            let _guard = lock.read().unwrap();
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(50) {}
            reads += 1;
        }
        reads
    }
    watched("a_stream_of_readers_does_not_keep_writers_out", || {
        let lock = RwLock::new().unwrap();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (tell, told) = Pipe::simplex::<()>().unwrap();
                (Process::spawn(read_on, (lock.clone(), told)).unwrap(), tell)
            })
            .collect();
        for _ in 0..50 {
            until(|| !readers(&lock).is_empty());
            drop(lock.write().unwrap());
        }
        for (process, mut tell) in workers {
            tell.send(()).unwrap();
            assert!(process.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_writer_that_gives_up_lets_readers_in() {
    watched("a_writer_that_gives_up_lets_readers_in", || {
        let lock = RwLock::new().unwrap();
        let first = Other::has(&lock, Read);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                assert!(matches!(lock.write_timeout(A_WHILE), Err(LockError::TimedOut)));
            });
            until(|| matches!(lock.try_read(), Err(LockError::WouldBlock)));
            let mut second = Other::asks(&lock, Read);
            assert_eq!(second.gets(), Found::Whole);
            second.goes();
            writer.join().unwrap();
        });
        first.goes();
    });
}

#[test]
fn a_writer_does_not_wait_for_itself() {
    let lock = RwLock::new().unwrap();
    let guard = lock.write().unwrap();
    assert!(matches!(lock.read(), Err(LockError::WouldDeadlock)));
    assert!(matches!(lock.try_read(), Err(LockError::WouldDeadlock)));
    assert!(matches!(lock.write(), Err(LockError::WouldDeadlock)));
    assert!(matches!(lock.try_write(), Err(LockError::WouldDeadlock)));
    // Another thread waits as it should.
    let other = thread::scope(|scope| {
        let other = scope.spawn(|| matches!(lock.try_read(), Err(LockError::WouldBlock)));
        other.join().unwrap()
    });
    assert!(other);
    drop(guard);
    assert!(lock.read().is_ok() && is_free(&lock));
}

#[test]
fn what_it_looks_like_is_shown() {
    let lock = RwLock::new().unwrap();
    assert!(format!("{lock:?}").contains("held_by: nobody"), "{lock:?}");
    let reader = lock.read().unwrap();
    let me = format!("read_by: [({}, 1)]", std::process::id());
    assert!(format!("{lock:?}").contains(&me), "{lock:?}");
    drop(reader);
    let writer = lock.write().unwrap();
    let me = format!("written_by: {}", std::process::id());
    assert!(format!("{lock:?}").contains(&me), "{lock:?}");
    drop(writer);
    assert!(lock == lock.clone() && lock != RwLock::new().unwrap());
}

#[test]
fn a_dead_reader_keeps_nobody_out() {
    watched("a_dead_reader_keeps_nobody_out", || {
        let lock = RwLock::new().unwrap();
        let (doomed, other) = (Other::has(&lock, Read), Other::has(&lock, Read));
        let mut writer = Other::waits(&lock, Write);
        doomed.ends_by_a_kill();
        // What another process has is still there.
        until(|| readers(&lock) == [(other.process.pid(), 1)]);
        other.goes();
        assert_eq!(writer.gets(), Found::Whole);
        writer.goes();
        assert!(!lock.is_poisoned() && is_free(&lock));
    });
}

#[test]
fn a_dead_writer_is_heard_of() {
    watched("a_dead_writer_is_heard_of", || {
        let lock = RwLock::new().unwrap();
        let doomed = Other::has(&lock, Write);
        let mut heirs = [Other::waits(&lock, Read), Other::waits(&lock, Write)];
        let pid = doomed.process.pid();
        doomed.ends_by_a_kill();
        // Whichever is first.
        thread::scope(|scope| {
            for heir in &mut heirs {
                scope.spawn(move || {
                    assert_eq!(heir.gets(), Found::Torn(pid));
                    heir.pipe.send(()).unwrap();
                });
            }
        });
        heirs.into_iter().for_each(|heir| heir.process.join().unwrap());
        let (torn, reader) = found(lock.read());
        assert_eq!(torn, Found::Torn(pid));
        drop(reader);
        let error = lock.write().unwrap_err();
        assert!(error.is_owner_dead() && lock.is_poisoned(), "{error}");
        let writer = error.into_inner().unwrap();
        lock.clear_poison();
        drop(writer);
        assert!(lock.read().is_ok() && lock.write().is_ok());
    });
}

/// It had not written yet: there is nothing to hear of.
#[test]
fn a_writer_that_dies_waiting_poisons_nothing() {
    watched("a_writer_that_dies_waiting_poisons_nothing", || {
        let lock = RwLock::new().unwrap();
        let reader = Other::has(&lock, Read);
        let doomed = Other::waits(&lock, Write);
        let mut late = Other::waits(&lock, Read);
        doomed.ends_by_a_kill();
        assert_eq!(late.gets(), Found::Whole);
        late.goes();
        reader.goes();
        assert!(lock.write().is_ok() && !lock.is_poisoned());
    });
}

/// The parent has the lock and is the only supervisor; the orphan finds out by itself, whether it
/// waits or tries again and again.
#[test]
fn who_has_no_supervisor_goes_on_as_well() {
    type Report = Connection<(u32, Option<Found>), Nothing>;
    type Errand = (Way, bool);
    fn orphan((lock, (way, waits), mut report): (RwLock, Errand, Report)) {
        fn insist<G>(mut once: impl FnMut() -> Result<G, LockError<G>>) -> Found {
            let mut got = once();
            while got.as_ref().is_err_and(LockError::is_held) {
                got = once();
            }
            found(got).0
        }
        let me = std::process::id();
        report.send((me, None)).unwrap();
        let got = match (way, waits) {
            (Read, true) => found(lock.read()).0,
            (Read, false) => insist(|| lock.try_read()),
            (Write, true) => found(lock.write()).0,
            (Write, false) => insist(|| lock.try_write()),
        };
        report.send((me, Some(got))).unwrap();
    }
    fn parent((errand, report, mut told): (Errand, Report, Connection<Nothing, ()>)) {
        let lock = RwLock::new().unwrap();
        // It has what keeps the orphan out.
        let _guards = match errand.0 {
            Read => (None, Some(lock.write().unwrap())),
            Write => (Some(lock.read().unwrap()), None),
        };
        let args = (lock.clone(), errand, report);
        let orphaned = Process::builder().daemon(false).spawn(orphan, args);
        told.recv().unwrap();
        drop(orphaned);
        die()
    }
    for errand in [(Read, true), (Read, false), (Write, true), (Write, false)] {
        watched("who_has_no_supervisor_goes_on_as_well", || {
            let (report, mut heard) = Pipe::simplex().unwrap();
            let (mut tell, told) = Pipe::simplex::<()>().unwrap();
            let process = Process::spawn(parent, (errand, report, told)).unwrap();
            let waiter = heard.recv().unwrap().0;
            if errand.1 {
                wait_until_asleep(waiter);
            }
            tell.send(()).unwrap();
            let pid = process.pid();
            assert_killed(process.join());
            let wanted = if errand.0 == Read { Found::Torn(pid) } else { Found::Whole };
            assert_eq!(heard.recv().unwrap().1, Some(wanted));
        });
    }
}

#[test]
fn a_writer_that_panics_poisons_and_a_reader_does_not() {
    let lock = RwLock::new().unwrap();
    let panics = |way| {
        let body = || {
            let _guards = match way {
                Read => (Some(lock.read().unwrap()), None),
                Write => (None, Some(lock.write().unwrap())),
            };
            panic!("with a guard");
        };
        assert!(thread::scope(|scope| scope.spawn(body).join().is_err()));
    };
    panics(Read);
    assert!(!lock.is_poisoned() && is_free(&lock));
    panics(Write);
    assert!(lock.is_poisoned());
    assert_eq!(found(lock.read()).0, Found::Panicked);
    assert_eq!(found(lock.write()).0, Found::Panicked);
    let error = multiproc::Error::from(lock.read().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    lock.clear_poison();
    assert!(lock.read().is_ok() && lock.write().is_ok());
}

#[test]
fn a_panic_elsewhere_reaches_the_others() {
    fn panics(lock: RwLock) {
        let _guard = lock.write().unwrap();
        panic!("with a guard");
    }
    watched("a_panic_elsewhere_reaches_the_others", || {
        let lock = RwLock::new().unwrap();
        assert!(Process::spawn(panics, lock.clone()).unwrap().join().is_err());
        assert_eq!(found(lock.read()).0, Found::Panicked);
    });
}

#[test]
fn a_stopped_reader_is_not_dead() {
    watched("a_stopped_reader_is_not_dead", || {
        let lock = RwLock::new().unwrap();
        let reader = Other::has(&lock, Read);
        reader.process.signal(libc::SIGSTOP).unwrap();
        assert!(matches!(lock.write_timeout(A_WHILE), Err(LockError::TimedOut)));
        assert_eq!(readers(&lock), [(reader.process.pid(), 1)]);
        // Others may read meanwhile.
        assert!(lock.read().is_ok());
        reader.process.signal(libc::SIGCONT).unwrap();
        reader.goes();
        assert!(lock.write().is_ok());
    });
}

#[test]
fn a_stopped_writer_is_not_dead() {
    watched("a_stopped_writer_is_not_dead", || {
        let lock = RwLock::new().unwrap();
        let writer = Other::has(&lock, Write);
        writer.process.signal(libc::SIGSTOP).unwrap();
        assert!(matches!(lock.read_timeout(A_WHILE), Err(LockError::TimedOut)));
        assert!(matches!(lock.who_holds(), RwHolders::Writer(_)));
        writer.process.signal(libc::SIGCONT).unwrap();
        writer.goes();
        assert!(lock.read().is_ok() && !lock.is_poisoned());
    });
}

#[test]
fn the_last_handle_of_a_process_gives_back_what_it_forgot() {
    fn forgets((lock, way, mut both): (RwLock, Way, Connection<(), ()>)) {
        match way {
            Read => forget((lock.read().unwrap(), lock.read().unwrap())),
            Write => forget(lock.write().unwrap()),
        }
        both.send(()).unwrap();
        both.recv().unwrap();
        drop(lock);
        both.recv().unwrap();
    }
    for way in [Read, Write] {
        watched("the_last_handle_of_a_process_gives_back_what_it_forgot", || {
            let lock = RwLock::new().unwrap();
            let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
            let process = Process::spawn(forgets, (lock.clone(), way, there)).unwrap();
            here.recv().unwrap();
            assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
            here.send(()).unwrap();
            drop(lock.write().unwrap());
            here.send(()).unwrap();
            process.join().unwrap();
        });
    }
}

/// A second drop of the same guard, as in a copy of the process.
fn drop_a_copy<G>(guard: &G) {
    drop(unsafe { std::ptr::read(guard) });
}

#[test]
fn a_forked_child_does_not_give_back_what_its_parent_has() {
    alone("a_forked_child_does_not_give_back_what_its_parent_has", |()| {
        let (read, written) = (RwLock::new().unwrap(), RwLock::new().unwrap());
        let (reader, writer) = (read.read().unwrap(), written.write().unwrap());
        let parent = std::process::id();
        let in_child = || {
            drop_a_copy(&reader);
            drop_a_copy(&writer);
            assert_eq!(readers(&read), [(parent, 1)]);
            // It is a process of its own: it waits, and what it has goes with it.
            assert!(matches!(written.try_read(), Err(LockError::WouldBlock)));
            forget(read.read().unwrap());
            readers(&read).len()
        };
        assert_eq!(unsafe { Process::fork(in_child) }.unwrap().join().unwrap(), 2);
        until(|| readers(&read) == [(parent, 1)]);
        assert!(matches!(written.who_holds(), RwHolders::Writer(holder) if holder.pid == parent));
        drop((reader, writer));
        assert!(is_free(&read) && is_free(&written) && !written.is_poisoned());
    });
}

#[test]
fn a_copy_behind_our_back_gets_an_error() {
    fn is_forked<G>(got: Result<G, LockError<G>>) -> bool {
        got.is_err_and(|error| error.error().is_some_and(|it| it.kind() == ErrorKind::Forked))
    }
    alone("a_copy_behind_our_back_gets_an_error", |()| {
        let (read, written) = (RwLock::new().unwrap(), RwLock::new().unwrap());
        let (reader, writer) = (read.read().unwrap(), written.write().unwrap());
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop_a_copy(&reader);
            drop_a_copy(&writer);
            let refused = is_forked(read.read()) && is_forked(written.try_write());
            let is_as_before = readers(&read).len() == 1 && !is_free(&written);
            unsafe { libc::_exit(i32::from(!(refused && is_as_before))) };
        }
        let mut status = -1;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((status, readers(&read).len()), (0, 1));
        drop((reader, writer));
        assert!(is_free(&read) && is_free(&written));
    });
}

/// So many processes use the board at once.
const WORKERS: usize = 5;

/// What the lock of the storm guards, and what everybody writes down beside it.
#[repr(C)]
struct Board {
    is_over: AtomicU32,
    /// How often somebody was inside, to read and to write.
    reads: AtomicU64,
    writes: AtomicU64,
    /// How often it was torn, and the lock said so.
    recoveries: AtomicU64,
    /// How often it was torn, and the lock did not.
    surprises: AtomicU64,
    /// The data: both are the same, unless somebody is writing.
    halves: [AtomicU64; 2],
}

fn dawdle(random: &mut u64) {
    let (start, stay) = (Instant::now(), Duration::from_nanos(next(random) % 3000));
    while start.elapsed() < stay {}
}

impl Board {
    /// Looks at both halves, some time apart. Relaxed, as the lock orders it.
    fn is_whole(&self, random: &mut u64) -> bool {
        let first = self.halves[0].load(Relaxed);
        dawdle(random);
        first == self.halves[1].load(Relaxed)
    }

    fn expect_whole(&self, random: &mut u64) {
        if !self.is_whole(random) {
            self.surprises.fetch_add(1, Relaxed);
        }
    }

    /// Writes both halves, some time apart.
    fn write(&self, random: &mut u64) {
        let new = next(random);
        self.halves[0].store(new, Relaxed);
        dawdle(random);
        self.halves[1].store(new, Relaxed);
    }

    fn visit_to_read(
        &self,
        got: Result<ReadGuard<'_>, LockError<ReadGuard<'_>>>,
        random: &mut u64,
    ) {
        match got {
            Ok(_guard) => self.expect_whole(random),
            Err(error) if error.is_owner_dead() => {}
            Err(error) => return assert!(error.is_timeout() || error.is_held(), "{error}"),
        }
        self.reads.fetch_add(1, Relaxed);
    }

    fn visit_to_write(
        &self,
        lock: &RwLock,
        got: Result<WriteGuard<'_>, LockError<WriteGuard<'_>>>,
        random: &mut u64,
    ) {
        let _guard = match got {
            Ok(guard) => {
                self.expect_whole(random);
                guard
            }
            Err(error) if error.is_owner_dead() => {
                self.recoveries.fetch_add(1, Relaxed);
                // Who is killed between the two leaves it torn and poisoned.
                self.write(random);
                lock.clear_poison();
                error.into_inner().unwrap()
            }
            Err(error) => return assert!(error.is_timeout() || error.is_held(), "{error}"),
        };
        self.write(random);
        self.writes.fetch_add(1, Relaxed);
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Duty {
    address: Address,
    seed: u64,
}

fn visit((lock, duty): (RwLock, Duty)) {
    const SHORT: Duration = Duration::from_micros(100);
    let board = open::<Board>(duty.address);
    let mut random = duty.seed;
    while board.is_over.load(Relaxed) == 0 {
        match next(&mut random) % 10 {
            0 => board.visit_to_read(lock.try_read(), &mut random),
            1 => board.visit_to_read(lock.read_timeout(SHORT), &mut random),
            2..6 => board.visit_to_read(lock.read(), &mut random),
            6 => board.visit_to_write(&lock, lock.try_write(), &mut random),
            7 => board.visit_to_write(&lock, lock.write_timeout(SHORT), &mut random),
            _ => board.visit_to_write(&lock, lock.write(), &mut random),
        }
    }
}

/// Processes come and go, and are stopped and killed at any moment: nobody ever sees half of a
/// write without being told, and in the end the lock is free.
#[test]
fn a_storm_shows_nobody_half_of_a_write() {
    let _watchdog = watchdog("a_storm_shows_nobody_half_of_a_write");
    let mut random = seed();
    let ledger = Ledger::<Board>::new();
    let (board, address) = (ledger.board, ledger.address());
    let lock = RwLock::new().unwrap();
    let spawn = |seed| Process::spawn(visit, (lock.clone(), Duty { address, seed })).unwrap();
    let mut workers: Vec<_> = (0..WORKERS).map(|_| spawn(next(&mut random))).collect();
    for _ in 0..400 * storms() {
        // Somebody is stopped, with the lock or without it; somebody, perhaps the same, dies.
        let stopped = next(&mut random) as usize % WORKERS;
        workers[stopped].signal(libc::SIGSTOP).unwrap();
        let (start, pause) = (Instant::now(), Duration::from_nanos(next(&mut random) % 200_000));
        while start.elapsed() < pause {}
        let victim = next(&mut random) as usize % WORKERS;
        workers[victim].kill().unwrap();
        let fresh = spawn(next(&mut random));
        assert_killed(std::mem::replace(&mut workers[victim], fresh).join());
        workers[stopped].signal(libc::SIGCONT).unwrap();
        let before = [&board.reads, &board.writes].map(|count| count.load(Relaxed));
        until(|| board.reads.load(Relaxed) > before[0] + 5);
        until(|| board.writes.load(Relaxed) > before[1] + 5);
    }
    board.is_over.store(1, Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    until(|| is_free(&lock));
    assert_eq!(board.surprises.load(Relaxed), 0, "half of a write was seen");
    let counts = [&board.reads, &board.writes, &board.recoveries].map(|count| count.load(Relaxed));
    println!("reads, writes, recoveries: {counts:?}");
    assert!(counts[2] > 0, "no writer was killed inside");
}
