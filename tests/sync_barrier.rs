//! Barriers between processes: what CPython demands of its own, and what becomes of the others when
//! a party dies.
//!
//! After CPython's `BarrierTests` (Lib/test/lock_tests.py) and `_TestBarrier`
//! (Lib/test/_test_multiprocessing.py), PSF licence: the cases, not the code.
#![cfg(not(multiproc_loom))]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "forks, and tests that look")]

mod common;

use std::collections::HashSet;
use std::panic::catch_unwind;
use std::thread;
use std::time::{Duration, Instant};

use common::{alone, assert_killed, next, seed, storms, until, watched};
use multiproc::{
    Barrier, BarrierError, BarrierWait, Connection, ErrorKind, Event, Nothing, Pipe, Process,
    Queue, Result,
};

/// As many as CPython has.
const N: usize = 5;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

/// Runs the same function in as many processes as the barrier has parties, this one among them.
fn run<A, R>(f: fn(A) -> R, argument: &A) -> Vec<R>
where
    A: Clone + serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    R: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let spawn = |_| Process::spawn(f, argument.clone()).unwrap();
    let others: Vec<_> = (1..N).map(spawn).collect();
    let mine = f(argument.clone());
    others.into_iter().map(|other| other.join().unwrap()).chain([mine]).collect()
}

/// What becomes of a wait, in a form that travels.
fn outcome(waited: std::result::Result<BarrierWait, BarrierError>) -> Result<usize> {
    Ok(waited?.index())
}

fn is_broken(waited: &Result<usize>) -> bool {
    matches!(waited, Err(error) if error.kind() == ErrorKind::Broken)
}

/// Passes the barrier many times. Each party says that it comes and takes one saying after it, so
/// that one too few shows if somebody passed before all had come.
fn multipass((barrier, mut said, rounds): (Barrier, Queue<u32>, u32)) -> Result<()> {
    for round in 0..rounds {
        said.send(round).unwrap();
        barrier.wait()?;
        assert_eq!(said.try_recv().unwrap(), round);
        barrier.wait()?;
    }
    Ok(())
}

fn pass(rounds: u32) {
    let barrier = Barrier::new(N).unwrap();
    let said = Queue::bounded(2 * N).unwrap();
    for result in run(multipass, &(barrier.clone(), said, rounds)) {
        result.unwrap();
    }
    assert_eq!(barrier.waiting(), 0);
    assert!(!barrier.is_broken());
}

/// `test_barrier`.
#[test]
fn nobody_passes_before_all_are_there() {
    watched("nobody_passes_before_all_are_there", || pass(1));
}

/// `test_barrier_10`, and `test_thousand` of the processes.
#[test]
fn a_barrier_can_be_passed_again_and_again() {
    watched("a_barrier_can_be_passed_again_and_again", || pass(1000));
}

/// Waits many times, and says how many were there before.
fn indexes((barrier, rounds): (Barrier, u32)) -> Result<Vec<usize>> {
    (0..rounds).map(|_| outcome(barrier.wait())).collect()
}

/// `test_wait_return`: each party has another index, and one of them is the leader.
#[test]
fn every_party_has_an_index_of_its_own() {
    watched("every_party_has_an_index_of_its_own", || {
        let barrier = Barrier::new(N).unwrap();
        let all: Vec<_> = run(indexes, &(barrier.clone(), 100));
        let all: Vec<_> = all.into_iter().map(|indexes| indexes.unwrap()).collect();
        for round in 0..100 {
            let indexes: HashSet<_> = all.iter().map(|indexes| indexes[round]).collect();
            assert_eq!(indexes, (0..N).collect());
        }
    });
}

/// All bring an action; how many ran is seen by all.
fn acts((barrier, mut done): (Barrier, Queue<u32>)) -> Result<()> {
    for round in 0..10 {
        let waited = barrier.wait_with(|| done.send(round).unwrap())?;
        assert_eq!(done.len(), round as usize + 1);
        assert_eq!(waited.is_leader(), waited.index() == N - 1);
        barrier.wait()?;
    }
    Ok(())
}

/// `test_action`.
#[test]
fn the_last_one_acts_before_anybody_goes_on() {
    watched("the_last_one_acts", || {
        let (barrier, done) = (Barrier::new(N).unwrap(), Queue::bounded(16).unwrap());
        for result in run(acts, &(barrier, done)) {
            result.unwrap();
        }
    });
}

/// `test_abort`: one of them cannot come any more, and says so.
#[test]
fn an_abort_ends_the_waits_of_all() {
    fn aborts(barrier: Barrier) -> Result<usize> {
        let index = barrier.wait()?.index();
        if index == N / 2 {
            barrier.abort()?;
            return Ok(index);
        }
        outcome(barrier.wait())
    }
    watched("an_abort_ends_the_waits_of_all", || {
        let barrier = Barrier::new(N).unwrap();
        let results = run(aborts, &barrier);
        assert_eq!(results.iter().filter(|result| is_broken(result)).count(), N - 1);
        assert!(results.iter().any(|result| matches!(result, Ok(index) if *index == N / 2)));
        assert!(barrier.is_broken());
        assert_eq!(barrier.waiting(), 0);
    });
}

/// `test_reset`: one of them resets it while the others wait; after that they meet again.
#[test]
fn a_reset_ends_the_waits_and_the_barrier_works_again() {
    fn resets(barrier: Barrier) -> Result<bool> {
        let was_broken = if barrier.wait()?.index() == N / 2 {
            until(|| barrier.waiting() == N - 1);
            barrier.reset()?;
            false
        } else {
            is_broken(&outcome(barrier.wait()))
        };
        barrier.wait()?;
        Ok(was_broken)
    }
    watched("a_reset_ends_the_waits", || {
        let barrier = Barrier::new(N).unwrap();
        let results = run(resets, &barrier);
        let broken = results.into_iter().map(|result| result.unwrap());
        assert_eq!(broken.filter(|was_broken| *was_broken).count(), N - 1);
        assert!(!barrier.is_broken());
    });
}

/// `test_abort_and_reset`: another barrier keeps the parties together while one resets the first.
#[test]
fn a_barrier_works_again_after_abort_and_reset() {
    fn aborts_and_resets((barrier, second): (Barrier, Barrier)) -> Result<bool> {
        let was_broken = if barrier.wait()?.index() == N / 2 {
            barrier.abort()?;
            false
        } else {
            is_broken(&outcome(barrier.wait()))
        };
        // All have left it when it is reset, and nobody enters it before.
        if second.wait()?.index() == N / 2 {
            barrier.reset()?;
        }
        second.wait()?;
        barrier.wait()?;
        Ok(was_broken)
    }
    watched("a_barrier_works_again", || {
        let barriers = (Barrier::new(N).unwrap(), Barrier::new(N).unwrap());
        let results = run(aborts_and_resets, &barriers);
        let broken = results.into_iter().map(|result| result.unwrap());
        assert_eq!(broken.filter(|was_broken| *was_broken).count(), N - 1);
        assert!(!barriers.0.is_broken());
    });
}

/// `test_timeout`: one comes too late for the others.
#[test]
fn a_time_out_breaks_it_for_all() {
    const TIME: Duration = Duration::from_millis(20);
    fn is_late((barrier, mut left): (Barrier, Queue<u32>)) -> Result<usize> {
        if barrier.wait()?.index() == N / 2 {
            (1..N).for_each(|_| assert_eq!(left.recv().unwrap(), 0));
            return outcome(barrier.wait());
        }
        let start = Instant::now();
        let waited = outcome(barrier.wait_timeout(TIME));
        assert!(is_broken(&waited) || TIME <= start.elapsed());
        left.send(0).unwrap();
        waited
    }
    watched("a_time_out_breaks_it_for_all", || {
        let (barrier, left) = (Barrier::new(N).unwrap(), Queue::bounded(N).unwrap());
        let results = run(is_late, &(barrier.clone(), left));
        assert_eq!(results.iter().filter(|result| is_broken(result)).count(), N - 1);
        let kinds = results.iter().map(|result| result.as_ref().unwrap_err().kind());
        assert_eq!(kinds.filter(|kind| *kind == ErrorKind::Timeout).count(), 1);
        assert!(barrier.is_broken());
    });
}

/// `test_single_thread`.
#[test]
fn a_barrier_of_one_never_waits() {
    let barrier = Barrier::new(1).unwrap();
    for _ in 0..2 {
        let waited = barrier.wait().unwrap();
        assert!(waited.is_leader() && waited.index() == 0);
        barrier.wait_timeout(Duration::ZERO).unwrap();
    }
}

/// `test_constructor`.
#[test]
fn there_are_1_to_16383_parties() {
    for parties in [0, 16384, usize::MAX] {
        assert_eq!(Barrier::new(parties).unwrap_err().kind(), ErrorKind::Limit);
    }
    assert_eq!(Barrier::new(16383).unwrap().parties(), 16383);
}

/// `test_repr`.
#[test]
fn a_barrier_says_what_it_looks_like() {
    let barrier = Barrier::new(3).unwrap();
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 3, waiting: 0, is_broken: false }");
    barrier.abort().unwrap();
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 3, waiting: 0, is_broken: true }");
    let said = barrier.wait().unwrap_err().to_string();
    assert!(said.contains("broken") && said.contains("`reset`"), "{said}");
}

#[test]
fn a_panic_in_the_action_breaks_it() {
    fn panics(barrier: Barrier) -> Option<bool> {
        let wait = || is_broken(&outcome(barrier.wait_with(|| panic!("as it must"))));
        catch_unwind(std::panic::AssertUnwindSafe(wait)).ok()
    }
    watched("a_panic_in_the_action_breaks_it", || {
        let barrier = Barrier::new(N).unwrap();
        let results = run(panics, &barrier);
        assert_eq!(results.iter().filter(|result| **result == Some(true)).count(), N - 1);
        assert_eq!(results.iter().filter(|result| result.is_none()).count(), 1);
        assert!(barrier.is_broken());
    });
}

fn waits(barrier: Barrier) -> Result<usize> {
    outcome(barrier.wait())
}

#[test]
fn threads_and_processes_are_parties_alike() {
    watched("threads_and_processes", || {
        let barrier = Barrier::new(4).unwrap();
        let spawn = |_| Process::spawn(waits, barrier.clone()).unwrap();
        let processes: Vec<_> = (0..2).map(spawn).collect();
        let thread = thread::spawn({
            let barrier = barrier.clone();
            move || waits(barrier).unwrap()
        });
        let mut indexes = HashSet::from([waits(barrier).unwrap(), thread.join().unwrap()]);
        indexes.extend(processes.into_iter().map(|process| process.join().unwrap().unwrap()));
        assert_eq!(indexes, HashSet::from([0, 1, 2, 3]));
    });
}

#[test]
fn a_party_that_is_killed_while_it_waits_breaks_it() {
    watched("a_party_that_is_killed", || {
        let barrier = Barrier::new(3).unwrap();
        let spawn = |_| Process::spawn(waits, barrier.clone()).unwrap();
        let [doomed, survivor] = [0, 1].map(spawn);
        until(|| barrier.waiting() == 2);
        let killed = Instant::now();
        doomed.kill().unwrap();
        assert!(is_broken(&survivor.join().unwrap()));
        println!("a survivor heard, and its parent of it, after {:?}", killed.elapsed());
        assert_killed(doomed.join());
        assert!(barrier.is_broken());
        assert!(barrier.wait().unwrap_err().is_broken());
        // Three others can use it.
        barrier.reset().unwrap();
        let others = [0, 1].map(spawn);
        assert!(barrier.wait().is_ok());
        assert!(others.into_iter().all(|other| other.join().unwrap().is_ok()));
    });
}

#[test]
fn a_party_that_dies_in_its_action_breaks_it() {
    fn dies(barrier: Barrier) {
        let _ = barrier.wait_with(|| {
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
    }
    watched("a_party_that_dies_in_its_action", || {
        let barrier = Barrier::new(2).unwrap();
        let waiter = thread::spawn({
            let barrier = barrier.clone();
            move || barrier.wait().unwrap_err().is_broken()
        });
        until(|| barrier.waiting() == 1);
        assert_killed(Process::spawn(dies, barrier).unwrap().join());
        assert!(waiter.join().unwrap());
    });
}

/// A process may end while one of its threads waits, though nobody killed it.
#[test]
fn a_party_whose_process_ends_breaks_it() {
    fn leaves(barrier: Barrier) {
        let waiter = barrier.clone();
        thread::spawn(move || waiter.wait());
        until(|| barrier.waiting() == 2);
    }
    watched("a_party_whose_process_ends", || {
        let barrier = Barrier::new(3).unwrap();
        let process = Process::spawn(leaves, barrier.clone()).unwrap();
        assert!(barrier.wait().unwrap_err().is_broken());
        process.join().unwrap();
    });
}

/// Nobody supervises: the parent, which is the other party, is killed.
#[test]
fn an_orphan_hears_that_its_parent_died_at_the_barrier() {
    type Report = Connection<bool, Nothing>;
    fn orphan((barrier, mut report): (Barrier, Report)) {
        let broken = barrier.wait().unwrap_err().is_broken();
        report.send(broken).unwrap();
    }
    fn parent(report: Report) {
        let barrier = Barrier::new(3).unwrap();
        let builder = Process::builder().daemon(false);
        let _child = builder.spawn(orphan, (barrier.clone(), report)).unwrap();
        let waiter = barrier.clone();
        thread::spawn(move || waiter.wait());
        until(|| barrier.waiting() == 2);
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    watched("an_orphan_hears", || {
        let (report, mut heard) = Pipe::simplex::<bool>().unwrap();
        let process = Process::spawn(parent, report).unwrap();
        assert_killed(process.join());
        let died = Instant::now();
        assert!(heard.recv().unwrap());
        println!("unsupervised death noticed after {:?}", died.elapsed());
    });
}

#[test]
fn a_party_that_is_stopped_does_not_break_it() {
    fn twice(barrier: Barrier) -> Result<usize> {
        barrier.wait()?;
        outcome(barrier.wait())
    }
    watched("a_party_that_is_stopped", || {
        let (barrier, never) = (Barrier::new(3).unwrap(), Event::new().unwrap());
        let spawn = |_| Process::spawn(twice, barrier.clone()).unwrap();
        let [stopped, other] = [0, 1].map(spawn);
        until(|| barrier.waiting() == 2);
        stopped.signal(libc::SIGSTOP).unwrap();
        // It is there, so the others pass, and the next time they wait for it.
        barrier.wait().unwrap();
        until(|| barrier.waiting() == 1);
        // Several backstops long, each of which suspects somebody.
        assert!(!never.wait_timeout(Duration::from_millis(450)).unwrap());
        assert!(!barrier.is_broken());
        assert_eq!(barrier.waiting(), 1);
        stopped.signal(libc::SIGCONT).unwrap();
        barrier.wait_timeout(LONG).unwrap();
        assert!(stopped.join().unwrap().is_ok());
        assert!(other.join().unwrap().is_ok());
    });
}

/// Passes as often as it can, and says how often.
fn passes((barrier, acts): (Barrier, bool)) -> u32 {
    let mut action_ran = 0;
    let mut wait = || match acts {
        false => barrier.wait(),
        true => barrier.wait_with(|| action_ran += 1),
    };
    (0..).find(|_| wait().is_err()).unwrap()
}

/// Whenever one of them is killed, all others have passed equally often.
#[test]
fn survivors_agree_about_every_round() {
    watched("survivors_agree_about_every_round", || {
        let (mut dice, mut broken) = (seed(), 0);
        for round in 0..24 * storms() {
            let barrier = Barrier::new(4).unwrap();
            let argument = (barrier.clone(), round % 2 == 0);
            let spawn = |_| Process::spawn(passes, argument.clone()).unwrap();
            let doomed = spawn(0);
            let survivors: Vec<_> = (0..3).map(spawn).collect();
            until(|| barrier.waiting() > 0);
            (0..next(&mut dice) % 3000).for_each(|_| thread::yield_now());
            doomed.kill().unwrap();
            assert_killed(doomed.join());
            // Who dies between two rounds is not missed by the barrier: the others wait for it.
            until(|| barrier.is_broken() || barrier.waiting() == 3);
            broken += u32::from(barrier.is_broken());
            barrier.abort().unwrap();
            let passed: HashSet<_> = survivors.into_iter().map(|one| one.join().unwrap()).collect();
            assert_eq!(passed.len(), 1, "{passed:?}");
        }
        println!("{broken} barriers were broken by a death");
    });
}

#[test]
fn a_barrier_travels_in_messages() {
    fn passes_on((mut inn, mut out): (Connection<Nothing, Barrier>, Connection<Barrier, Nothing>)) {
        let barrier = inn.recv().unwrap();
        assert_eq!(barrier.parties(), 2);
        out.send(barrier.clone()).unwrap();
        barrier.wait().unwrap();
    }
    watched("a_barrier_travels", || {
        let (mut there, inn) = Pipe::simplex::<Barrier>().unwrap();
        let (out, mut back) = Pipe::simplex::<Barrier>().unwrap();
        let process = Process::spawn(passes_on, (inn, out)).unwrap();
        let barrier = Barrier::new(2).unwrap();
        there.send(barrier.clone()).unwrap();
        let returned = back.recv().unwrap();
        assert!(returned == barrier && Barrier::new(2).unwrap() != barrier);
        returned.wait().unwrap();
        process.join().unwrap();
        assert!(serde_json::to_string(&barrier).is_err(), "not outside of a parcel");
    });
}

#[test]
fn a_forked_child_is_a_party_of_its_own() {
    alone("a forked child", |()| {
        let barrier = Barrier::new(2).unwrap();
        let meets = || barrier.wait().unwrap().index();
        let child = unsafe { Process::fork(meets) }.unwrap();
        let mine = barrier.wait().unwrap().index();
        assert_eq!(mine + child.join().unwrap(), 1);
    });
}

#[test]
fn an_inherited_barrier_says_forked() {
    alone("inherited", |()| {
        let barrier = Barrier::new(1).unwrap();
        let child = unsafe { libc::fork() };
        if child == 0 {
            let kind = |result: Result<()>| result.unwrap_err().kind();
            let waited = barrier.wait().unwrap_err();
            let is_so = waited.error().is_some_and(|error| error.kind() == ErrorKind::Forked)
                && kind(barrier.abort()) == ErrorKind::Forked
                && kind(barrier.reset()) == ErrorKind::Forked
                && !barrier.is_broken();
            unsafe { libc::_exit(i32::from(!is_so)) };
        }
        let mut status = 0;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        barrier.wait().unwrap();
    });
}
