//! Semaphores between processes: what they count, who may release, and what becomes of permits when
//! somebody is killed.
//!
//! The first part is after CPython's `Lib/test/_test_multiprocessing.py` (`_TestSemaphore`) and
//! `Lib/test/lock_tests.py` (`BaseSemaphoreTests`), PSF licence: the cases, not the code.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory to keep accounts in")]

mod common;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::ledger::{Address, Ledger, open};
use common::{
    alone, assert_killed, die, next, seed, storms, until, wait_until_asleep, watchdog, watched,
};
use multiproc::{Connection, ErrorKind, Nothing, Permit, Pipe, Process, Semaphore};
use serde::{Deserialize, Serialize};

/// Takes a permit for the process; whether there was one.
fn try_keep(semaphore: &Semaphore) -> bool {
    semaphore.try_acquire().unwrap().map(Permit::forget).is_some()
}

fn keep(semaphore: &Semaphore) {
    semaphore.acquire().unwrap().forget();
}

/// How many permits each process has.
fn held(semaphore: &Semaphore) -> Vec<(u32, u32)> {
    semaphore.who_holds().iter().map(|holder| (holder.pid, holder.count)).collect()
}

#[test]
fn values_go_down_and_up() {
    let manners = [Semaphore::new(2), Semaphore::bounded(2), Semaphore::unowned(2)];
    for semaphore in manners.map(Result::unwrap) {
        assert_eq!(semaphore.available(), 2);
        keep(&semaphore);
        assert_eq!(semaphore.available(), 1);
        keep(&semaphore);
        assert_eq!(semaphore.available(), 0);
        assert!(!try_keep(&semaphore));
        assert_eq!(semaphore.available(), 0);
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 1);
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 2);
    }
}

#[test]
fn a_release_without_a_permit_adds_one() {
    for semaphore in [Semaphore::new(1).unwrap(), Semaphore::unowned(1).unwrap()] {
        semaphore.release().unwrap();
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 3);
        assert!((0..4).map(|_| try_keep(&semaphore)).eq([true, true, true, false]));
    }
}

#[test]
fn a_bounded_semaphore_refuses_a_release_too_many() {
    let semaphore = Semaphore::bounded(2).unwrap();
    let refusal = semaphore.release().unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Misuse);
    assert!(refusal.to_string().contains("unowned"), "{refusal}");
    keep(&semaphore);
    semaphore.release().unwrap();
    assert_eq!(semaphore.release().unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn there_is_a_largest_semaphore() {
    const MOST: u32 = (1 << 23) - 1;
    assert_eq!(Semaphore::new(MOST + 1).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(Semaphore::bounded(u32::MAX).unwrap_err().kind(), ErrorKind::Limit);
    for semaphore in [Semaphore::new(MOST).unwrap(), Semaphore::unowned(MOST).unwrap()] {
        assert_eq!(semaphore.release().unwrap_err().kind(), ErrorKind::Limit);
        keep(&semaphore);
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), MOST);
    }
}

#[test]
fn a_permit_is_given_back_where_it_is_dropped() {
    let semaphore = Semaphore::new(2).unwrap();
    let one = semaphore.acquire().unwrap();
    let other = semaphore.try_acquire().unwrap().unwrap();
    assert_eq!(semaphore.available(), 0);
    drop(one);
    assert_eq!(semaphore.available(), 1);
    drop(other);
    assert_eq!(semaphore.available(), 2);
    let panicked = thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _permit = semaphore.acquire().unwrap();
            panic!("with a permit");
        });
        panics.join().is_err()
    });
    assert!(panicked);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_wait_ends_in_time_and_not_before() {
    watched("a_wait_ends_in_time_and_not_before", || {
        let semaphore = Semaphore::new(0).unwrap();
        assert!(semaphore.try_acquire().unwrap().is_none());
        assert!(semaphore.acquire_timeout(Duration::ZERO).unwrap().is_none());
        for millis in [1, 15, 150] {
            let (start, time) = (Instant::now(), Duration::from_millis(millis));
            assert!(semaphore.acquire_timeout(time).unwrap().is_none());
            assert!(start.elapsed() >= time);
        }
        semaphore.release().unwrap();
        assert!(semaphore.acquire_timeout(Duration::MAX).unwrap().is_some());
        assert_eq!(semaphore.available(), 1);
    });
}

/// Ten threads want two permits each, and get as many as there are.
#[test]
fn threads_contend() {
    watched("threads_contend", || {
        let semaphore = Semaphore::new(7).unwrap();
        keep(&semaphore);
        let got = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    keep(&semaphore);
                    got.fetch_add(1, Relaxed);
                });
            }
            let mut released = 6;
            for more in [0, 7, 6, 1] {
                (0..more).for_each(|_| semaphore.release().unwrap());
                released += more;
                until(|| got.load(Relaxed) == released);
                assert_eq!(semaphore.available(), 0);
            }
        });
        // What one thread acquired, another one of the process may release.
        assert_eq!(held(&semaphore), [(std::process::id(), 7)]);
        (0..7).for_each(|_| semaphore.release().unwrap());
        assert_eq!((semaphore.available(), held(&semaphore)), (7, vec![]));
    });
}

#[test]
fn threads_try() {
    let semaphore = Semaphore::new(4).unwrap();
    keep(&semaphore);
    let tries = || [try_keep(&semaphore), try_keep(&semaphore)];
    let got: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(tries)).collect();
        let got = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        got.filter(|got| *got).count()
    });
    assert_eq!((got, semaphore.available()), (3, 0));
}

/// Processes, not threads: each wants two, there are four, and what is released goes on to others.
#[test]
fn processes_contend() {
    fn two_at_once((semaphore, mut told): (Semaphore, Connection<Nothing, ()>)) -> u32 {
        let (_one, _other) = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        let mine = held(&semaphore).iter().find(|(pid, _)| *pid == std::process::id()).unwrap().1;
        told.recv().unwrap();
        mine
    }
    watched("processes_contend", || {
        let semaphore = Semaphore::bounded(4).unwrap();
        // One after the other may begin, so that no two wait for the second permit of each other.
        let mut workers = Vec::new();
        for worker in 0..4 {
            let (tell, told) = Pipe::simplex::<()>().unwrap();
            let process = Process::spawn(two_at_once, (semaphore.clone(), told)).unwrap();
            if worker < 2 {
                until(|| semaphore.available() == 2 * (1 - worker));
            }
            workers.push((process, tell));
        }
        assert_eq!(semaphore.who_holds().iter().map(|holder| holder.count).sum::<u32>(), 4);
        assert!(!try_keep(&semaphore));
        for (process, mut tell) in workers {
            tell.send(()).unwrap();
            assert_eq!(process.join().unwrap(), 2);
        }
        assert_eq!((semaphore.available(), held(&semaphore)), (4, vec![]));
    });
}

#[test]
fn who_holds_is_shown() {
    let semaphore = Semaphore::bounded(3).unwrap();
    let _one = semaphore.acquire().unwrap();
    let _other = semaphore.acquire().unwrap();
    let said = format!("{semaphore:?}");
    let me = format!("({}, 2)", std::process::id());
    assert!(said.contains("available: 1") && said.contains(&me), "{said}");
    assert!(semaphore == semaphore.clone() && semaphore != Semaphore::bounded(3).unwrap());
}

/// Takes two permits, of which one is dropped by nobody, says so, and dies when it is told to.
fn dies_with_two((semaphore, mut both): (Semaphore, Connection<(), ()>)) {
    keep(&semaphore);
    let _permit = semaphore.acquire().unwrap();
    both.send(()).unwrap();
    both.recv().unwrap();
    die()
}

#[test]
fn permits_of_the_dead_come_back() {
    for make in [Semaphore::new, Semaphore::bounded] {
        watched("permits_of_the_dead_come_back", || {
            let semaphore = make(3).unwrap();
            let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
            let process = Process::spawn(dies_with_two, (semaphore.clone(), there)).unwrap();
            here.recv().unwrap();
            assert_eq!(held(&semaphore), [(process.pid(), 2)]);
            keep(&semaphore);
            assert!(!try_keep(&semaphore));
            process.kill().unwrap();
            let _all = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
            assert_killed(process.join());
            assert_eq!(held(&semaphore), [(std::process::id(), 3)]);
        });
    }
}

#[test]
fn who_waits_goes_on_when_the_holder_dies() {
    fn waits((semaphore, mut report): (Semaphore, Connection<(), Nothing>)) {
        report.send(()).unwrap();
        let _permit = semaphore.acquire().unwrap();
        report.send(()).unwrap();
    }
    watched("who_waits_goes_on_when_the_holder_dies", || {
        let semaphore = Semaphore::bounded(2).unwrap();
        let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
        let dying = Process::spawn(dies_with_two, (semaphore.clone(), there)).unwrap();
        here.recv().unwrap();
        let (report, mut heard) = Pipe::simplex::<()>().unwrap();
        let waiter = Process::spawn(waits, (semaphore.clone(), report)).unwrap();
        heard.recv().unwrap();
        wait_until_asleep(waiter.pid());
        here.send(()).unwrap();
        heard.recv().unwrap();
        waiter.join().unwrap();
        assert_killed(dying.join());
        until(|| semaphore.available() == 2);
    });
}

/// The parent has the permit and is the only supervisor; the orphan finds out by itself.
#[test]
fn who_waits_without_a_supervisor_goes_on_as_well() {
    type Report = Connection<u32, Nothing>;
    fn orphan((semaphore, mut report): (Semaphore, Report)) {
        report.send(std::process::id()).unwrap();
        let permit = semaphore.acquire().unwrap();
        report.send(semaphore.available()).unwrap();
        drop(permit);
    }
    fn parent((report, mut told): (Report, Connection<Nothing, ()>)) {
        let semaphore = Semaphore::bounded(2).unwrap();
        keep(&semaphore);
        keep(&semaphore);
        let args = (semaphore.clone(), report);
        let orphaned = Process::builder().daemon(false).spawn(orphan, args);
        told.recv().unwrap();
        drop(orphaned);
        die()
    }
    watched("who_waits_without_a_supervisor_goes_on_as_well", || {
        let (report, mut heard) = Pipe::simplex::<u32>().unwrap();
        let (mut tell, told) = Pipe::simplex::<()>().unwrap();
        let process = Process::spawn(parent, (report, told)).unwrap();
        wait_until_asleep(heard.recv().unwrap());
        tell.send(()).unwrap();
        assert_killed(process.join());
        assert_eq!(heard.recv().unwrap(), 1);
    });
}

/// One release, two waiters, of which one is killed at that moment: the other gets the permit,
/// whichever was woken.
#[test]
fn a_waiter_that_dies_does_not_eat_the_permit() {
    fn waits((semaphore, mut report): (Semaphore, Connection<(), Nothing>)) {
        report.send(()).unwrap();
        let _permit = semaphore.acquire().unwrap();
    }
    watched("a_waiter_that_dies_does_not_eat_the_permit", || {
        for round in 0..30 {
            let semaphore = Semaphore::bounded(1).unwrap();
            let permit = semaphore.acquire().unwrap();
            let waiters = [0, 1].map(|_| {
                let (report, mut heard) = Pipe::simplex::<()>().unwrap();
                let process = Process::spawn(waits, (semaphore.clone(), report)).unwrap();
                heard.recv().unwrap();
                wait_until_asleep(process.pid());
                process
            });
            let [victim, survivor] = waiters;
            drop(permit);
            // Some are killed before they run, some as they wake.
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(round * 5) {}
            victim.kill().unwrap();
            survivor.join().unwrap();
            let _ = victim.join();
            until(|| semaphore.available() == 1);
            assert_eq!(held(&semaphore), []);
        }
    });
}

#[test]
fn a_stopped_holder_is_not_dead() {
    watched("a_stopped_holder_is_not_dead", || {
        let semaphore = Semaphore::bounded(2).unwrap();
        let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
        let process = Process::spawn(dies_with_two, (semaphore.clone(), there)).unwrap();
        here.recv().unwrap();
        process.signal(libc::SIGSTOP).unwrap();
        // Several backstops long, each of which suspects the holder.
        assert!(semaphore.acquire_timeout(Duration::from_millis(350)).unwrap().is_none());
        assert_eq!(held(&semaphore), [(process.pid(), 2)]);
        process.signal(libc::SIGCONT).unwrap();
        here.send(()).unwrap();
        let _permit = semaphore.acquire().unwrap();
        assert_killed(process.join());
    });
}

#[test]
fn what_is_unowned_is_handed_over() {
    fn releases(semaphore: Semaphore) {
        (0..100).for_each(|_| semaphore.release().unwrap());
    }
    fn dies_with_one(semaphore: Semaphore) {
        keep(&semaphore);
        die()
    }
    watched("what_is_unowned_is_handed_over", || {
        let semaphore = Semaphore::unowned(0).unwrap();
        let process = Process::spawn(releases, semaphore.clone()).unwrap();
        (0..98).for_each(|_| keep(&semaphore));
        process.join().unwrap();
        assert_eq!((semaphore.available(), held(&semaphore)), (2, vec![]));
        assert_killed(Process::spawn(dies_with_one, semaphore.clone()).unwrap().join());
        // The next one is after the recovery of the first.
        assert_killed(Process::spawn(dies_with_one, semaphore.clone()).unwrap().join());
        assert_eq!(semaphore.available(), 0);
        semaphore.release().unwrap();
        keep(&semaphore);
    });
}

#[test]
fn what_another_process_has_is_not_ours_to_release() {
    watched("what_another_process_has_is_not_ours_to_release", || {
        let semaphore = Semaphore::bounded(2).unwrap();
        let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
        let process = Process::spawn(dies_with_two, (semaphore.clone(), there)).unwrap();
        here.recv().unwrap();
        assert_eq!(semaphore.release().unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(semaphore.available(), 0);
        here.send(()).unwrap();
        assert_killed(process.join());
    });
}

#[test]
fn the_last_handle_of_a_process_gives_back_what_it_forgot() {
    fn forgets((semaphore, mut both): (Semaphore, Connection<(), ()>)) {
        keep(&semaphore);
        keep(&semaphore);
        both.send(()).unwrap();
        both.recv().unwrap();
        drop(semaphore);
        both.recv().unwrap();
    }
    watched("the_last_handle_of_a_process_gives_back_what_it_forgot", || {
        let semaphore = Semaphore::bounded(2).unwrap();
        let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
        let process = Process::spawn(forgets, (semaphore.clone(), there)).unwrap();
        here.recv().unwrap();
        assert_eq!(held(&semaphore), [(process.pid(), 2)]);
        here.send(()).unwrap();
        let _both = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        assert_eq!(held(&semaphore), [(std::process::id(), 2)]);
        here.send(()).unwrap();
        process.join().unwrap();
    });
}

/// A second drop of the same permit, as in a copy of the process.
fn drop_a_copy(permit: &Permit<'_>) {
    drop(unsafe { std::ptr::read(permit) });
}

#[test]
fn a_forked_child_does_not_give_back_what_its_parent_has() {
    alone("a_forked_child_does_not_give_back_what_its_parent_has", |()| {
        let semaphore = Semaphore::new(3).unwrap();
        let permit = semaphore.acquire().unwrap();
        let parent = std::process::id();
        let in_child = || {
            drop_a_copy(&permit);
            assert_eq!((semaphore.available(), held(&semaphore)), (2, vec![(parent, 1)]));
            keep(&semaphore);
            held(&semaphore).len()
        };
        assert_eq!(unsafe { Process::fork(in_child) }.unwrap().join().unwrap(), 2);
        until(|| semaphore.available() == 2);
        drop(permit);
        assert_eq!((semaphore.available(), held(&semaphore)), (3, vec![]));
    });
}

#[test]
fn a_copy_behind_our_back_gets_an_error() {
    alone("a_copy_behind_our_back_gets_an_error", |()| {
        let semaphore = Semaphore::new(3).unwrap();
        let permit = semaphore.acquire().unwrap();
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop_a_copy(&permit);
            let acquired = semaphore.acquire().map(Permit::forget);
            let ends = [acquired, semaphore.release()];
            let refused = ends
                .iter()
                .all(|end| end.as_ref().is_err_and(|error| error.kind() == ErrorKind::Forked));
            unsafe { libc::_exit(i32::from(!(refused && semaphore.available() == 2))) };
        }
        let mut status = -1;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((status, semaphore.available()), (0, 2));
        drop(permit);
        assert_eq!(semaphore.available(), 3);
    });
}

/// So many may be inside at once, and so many processes want to.
const PERMITS: usize = 3;
const WORKERS: usize = 5;

/// So many can be killed in one storm.
const VICTIMS: usize = 1 << 14;

/// What everybody writes down, in memory that outlives them all.
#[repr(C)]
struct Board {
    is_over: AtomicU32,
    /// How often somebody was inside.
    visits: AtomicU64,
    /// How often there was somebody inside too many.
    crowds: AtomicU64,
    /// The processes that are inside.
    inside: [AtomicU32; PERMITS],
    /// The processes that were killed, the last one being about to be.
    victims: [AtomicU32; VICTIMS],
}

impl Board {
    /// Goes inside: to a place that is empty, or that a dead process has left behind.
    fn enter(&self, me: u32) -> Option<&AtomicU32> {
        let take = |from: fn(&Self, u32) -> bool| {
            self.inside.iter().find(|place| {
                let there = place.load(SeqCst);
                from(self, there) && place.compare_exchange(there, me, SeqCst, SeqCst).is_ok()
            })
        };
        let empty = take(|_, there| there == 0);
        empty.or_else(|| take(Self::is_victim))
    }

    fn is_victim(&self, pid: u32) -> bool {
        let victims = self.victims.iter().map(|victim| victim.load(SeqCst));
        victims.take_while(|victim| *victim != 0).any(|victim| victim == pid)
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Duty {
    address: Address,
    seed: u64,
}

fn visit((semaphore, duty): (Semaphore, Duty)) {
    let (board, me) = (open::<Board>(duty.address), std::process::id());
    let mut random = duty.seed;
    while board.is_over.load(Relaxed) == 0 {
        let wanted = match next(&mut random) % 4 {
            0 => semaphore.try_acquire().unwrap(),
            1 => semaphore.acquire_timeout(Duration::from_micros(100)).unwrap(),
            _ => Some(semaphore.acquire().unwrap()),
        };
        let Some(permit) = wanted else { continue };
        match board.enter(me) {
            None => drop(board.crowds.fetch_add(1, SeqCst)),
            Some(place) => {
                let stay = Duration::from_nanos(next(&mut random) % 4000);
                let start = Instant::now();
                while start.elapsed() < stay {}
                place.compare_exchange(me, 0, SeqCst, SeqCst).unwrap();
            }
        }
        board.visits.fetch_add(1, Relaxed);
        if next(&mut random).is_multiple_of(8) {
            permit.forget();
            semaphore.release().unwrap();
        }
    }
}

/// Processes come and go, and are stopped and killed at any moment; never are too many inside, and
/// in the end all permits are there.
#[test]
fn a_storm_conserves_the_permits() {
    let _watchdog = watchdog("a_storm_conserves_the_permits");
    let mut random = seed();
    let ledger = Ledger::<Board>::new();
    let (board, address) = (ledger.board, ledger.address());
    let semaphore = Semaphore::bounded(PERMITS as u32).unwrap();
    let spawn = |seed| Process::spawn(visit, (semaphore.clone(), Duty { address, seed })).unwrap();
    let mut workers: Vec<_> = (0..WORKERS).map(|_| spawn(next(&mut random))).collect();
    for round in 0..(400 * storms()).min(VICTIMS) {
        // Somebody is stopped, with a permit or without one; somebody, perhaps the same, dies.
        let stopped = next(&mut random) as usize % WORKERS;
        workers[stopped].signal(libc::SIGSTOP).unwrap();
        let start = Instant::now();
        let pause = Duration::from_nanos(next(&mut random) % 200_000);
        while start.elapsed() < pause {}
        let victim = next(&mut random) as usize % WORKERS;
        board.victims[round].store(workers[victim].pid(), SeqCst);
        workers[victim].kill().unwrap();
        let fresh = spawn(next(&mut random));
        assert_killed(std::mem::replace(&mut workers[victim], fresh).join());
        workers[stopped].signal(libc::SIGCONT).unwrap();
        let before = board.visits.load(Relaxed);
        until(|| board.visits.load(Relaxed) > before + 20);
    }
    board.is_over.store(1, Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(board.crowds.load(SeqCst), 0, "too many were inside");
    until(|| held(&semaphore).is_empty());
    assert_eq!(semaphore.available(), PERMITS as u32);
    println!("{} visits", board.visits.load(Relaxed));
}
