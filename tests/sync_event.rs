//! Events between processes: what CPython demands of its own, and what becomes of those who die.
//!
//! After CPython's `EventTests` (Lib/test/lock_tests.py) and `_TestEvent`
//! (Lib/test/_test_multiprocessing.py), PSF licence: the cases, not the code.
#![cfg(not(multiproc_loom))]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "forks, and tests that look")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{alone, until, watched};
use multiproc::{Connection, ErrorKind, Event, Nothing, Pipe, Process, Queue, Result, Sender};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

#[test]
fn an_event_is_set_until_it_is_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.is_set());
    for _ in 0..2 {
        event.set().unwrap();
        assert!(event.is_set());
    }
    for _ in 0..2 {
        event.clear().unwrap();
        assert!(!event.is_set());
    }
}

#[test]
fn a_set_event_is_not_waited_for() {
    let event = Event::new().unwrap();
    event.set().unwrap();
    event.wait().unwrap();
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
    assert!(event.wait_timeout(Duration::MAX).unwrap());
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let event = Event::new().unwrap();
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    let (start, time) = (Instant::now(), Duration::from_millis(150));
    assert!(!event.wait_timeout(time).unwrap());
    assert!(time <= start.elapsed());
    event.set().unwrap();
    assert!(event.wait_timeout(time).unwrap());
}

/// `_TestEvent.test_event`: a child sets what the parent waits for.
#[test]
fn a_child_sets_what_its_parent_waits_for() {
    fn sets(event: Event) -> Result<()> {
        event.set()
    }
    watched("a_child_sets", || {
        let event = Event::new().unwrap();
        let process = Process::spawn(sets, event.clone()).unwrap();
        event.wait().unwrap();
        assert!(event.is_set());
        process.join().unwrap().unwrap();
    });
}

/// Says when it is about to wait, and when it has waited.
fn waits((event, mut said): (Event, Sender<u32>)) -> Result<()> {
    said.send(1).unwrap();
    event.wait()?;
    said.send(2).unwrap();
    assert!(event.wait_timeout(LONG)?);
    Ok(())
}

/// `_check_notify`: one set ends the waits of all, in processes and threads.
#[test]
fn one_set_ends_all_waits() {
    watched("one_set_ends_all_waits", || {
        let event = Event::new().unwrap();
        let (said, mut heard) = Queue::<u32>::channel(16).unwrap();
        let spawn = |_| Process::spawn(waits, (event.clone(), said.clone())).unwrap();
        let processes: Vec<_> = (0..3).map(spawn).collect();
        thread::scope(|scope| {
            for _ in 0..2 {
                let told = (event.clone(), said.clone());
                scope.spawn(move || waits(told).unwrap());
            }
            (0..5).for_each(|_| assert_eq!(heard.recv().unwrap(), 1));
            // Whoever waits, and all do soon, waits for the set.
            assert!(heard.try_recv().unwrap_err().is_empty());
            event.set().unwrap();
            (0..5).for_each(|_| assert_eq!(heard.recv().unwrap(), 2));
        });
        for process in processes {
            process.join().unwrap().unwrap();
        }
    });
}

/// Says that it is about to wait, waits, and is told to go on: so many times.
fn follows((event, mut parent, rounds): (Event, Connection<u32, ()>, u32)) -> Result<()> {
    for round in 0..rounds {
        parent.send(round).unwrap();
        event.wait()?;
        parent.recv().unwrap();
    }
    Ok(())
}

/// Looks until the process sleeps in the kernel.
fn until_asleep(pid: u32) {
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    });
}

/// `test_set_and_clear` (CPython issue 13502): a wait ends though the event is cleared before its
/// process gets to run.
#[test]
fn a_set_that_is_cleared_at_once_ends_the_waits_before_it() {
    const ROUNDS: u32 = 200;
    watched("a_set_that_is_cleared_at_once", || {
        let event = Event::new().unwrap();
        let (mut child, parent) = Pipe::duplex::<(), u32>().unwrap();
        let process = Process::spawn(follows, (event.clone(), parent, ROUNDS)).unwrap();
        for round in 0..ROUNDS {
            assert_eq!(child.recv().unwrap(), round);
            until_asleep(process.pid());
            event.set().unwrap();
            event.clear().unwrap();
            child.send(()).unwrap();
        }
        process.join().unwrap().unwrap();
    });
}

#[test]
fn a_waiter_that_is_stopped_hears_of_a_set_and_clear() {
    watched("a_waiter_that_is_stopped", || {
        let event = Event::new().unwrap();
        let (mut child, parent) = Pipe::duplex::<(), u32>().unwrap();
        let process = Process::spawn(follows, (event.clone(), parent, 1)).unwrap();
        assert_eq!(child.recv().unwrap(), 0);
        until_asleep(process.pid());
        process.signal(libc::SIGSTOP).unwrap();
        event.set().unwrap();
        event.clear().unwrap();
        process.signal(libc::SIGCONT).unwrap();
        child.send(()).unwrap();
        process.join().unwrap().unwrap();
    });
}

/// Whoever sets it is killed at any instruction of it, many times over.
#[test]
fn a_setter_that_is_killed_leaves_an_event_that_works() {
    fn pulses((event, mut said): (Event, Connection<(), Nothing>)) -> Result<()> {
        said.send(()).unwrap();
        loop {
            event.set()?;
            event.clear()?;
        }
    }
    watched("a_setter_that_is_killed", || {
        for round in 0..20 * common::storms() as u32 {
            let event = Event::new().unwrap();
            let (said, mut heard) = Pipe::simplex::<()>().unwrap();
            let setter = Process::spawn(pulses, (event.clone(), said)).unwrap();
            heard.recv().unwrap();
            // Waits of other threads are where the setter has somebody to wake.
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    let event = event.clone();
                    thread::spawn(move || event.wait().unwrap())
                })
                .collect();
            (0..round % 8).for_each(|_| event.wait().unwrap());
            setter.kill().unwrap();
            assert_eq!(setter.join().unwrap_err().signal(), Some(libc::SIGKILL));
            event.set().unwrap();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            event.clear().unwrap();
            assert!(!event.wait_timeout(Duration::ZERO).unwrap());
            // The next one, and the one after a wait that sleeps.
            thread::scope(|scope| {
                let waiter = scope.spawn(|| event.wait_timeout(LONG).unwrap());
                thread::yield_now();
                event.set().unwrap();
                assert!(waiter.join().unwrap());
            });
        }
    });
}

#[test]
fn a_waiter_that_is_killed_is_in_nobodys_way() {
    watched("a_waiter_that_is_killed", || {
        let event = Event::new().unwrap();
        let (said, mut heard) = Queue::<u32>::channel(16).unwrap();
        let doomed = Process::spawn(waits, (event.clone(), said.clone())).unwrap();
        let spared = Process::spawn(waits, (event.clone(), said)).unwrap();
        (0..2).for_each(|_| assert_eq!(heard.recv().unwrap(), 1));
        until_asleep(doomed.pid());
        doomed.kill().unwrap();
        assert_eq!(doomed.join().unwrap_err().signal(), Some(libc::SIGKILL));
        event.set().unwrap();
        assert_eq!(heard.recv().unwrap(), 2);
        spared.join().unwrap().unwrap();
    });
}

#[test]
fn an_event_travels_in_messages() {
    fn passes_on((mut inn, mut out): (Connection<Nothing, Event>, Connection<Event, Nothing>)) {
        let event = inn.recv().unwrap();
        assert!(event.is_set());
        event.clear().unwrap();
        out.send(event).unwrap();
    }
    watched("an_event_travels", || {
        let (mut there, inn) = Pipe::simplex::<Event>().unwrap();
        let (out, mut back) = Pipe::simplex::<Event>().unwrap();
        let process = Process::spawn(passes_on, (inn, out)).unwrap();
        let event = Event::new().unwrap();
        event.set().unwrap();
        there.send(event.clone()).unwrap();
        let returned = back.recv().unwrap();
        assert!(returned == event && !event.is_set());
        assert!(Event::new().unwrap() != event);
        process.join().unwrap();
        assert!(serde_json::to_string(&event).is_err(), "not outside of a parcel");
    });
}

#[test]
fn a_forked_child_shares_the_event() {
    alone("a forked child", |()| {
        let (asked, answered) = (Event::new().unwrap(), Event::new().unwrap());
        let answers = || {
            asked.wait().unwrap();
            answered.set().unwrap();
        };
        let child = unsafe { Process::fork(answers) }.unwrap();
        asked.set().unwrap();
        answered.wait().unwrap();
        child.join().unwrap();
    });
}

#[test]
fn an_inherited_event_says_forked() {
    alone("inherited", |()| {
        let event = Event::new().unwrap();
        let child = unsafe { libc::fork() };
        if child == 0 {
            let kind = |result: Result<()>| result.unwrap_err().kind();
            let is_so = kind(event.set()) == ErrorKind::Forked
                && kind(event.clear()) == ErrorKind::Forked
                && kind(event.wait()) == ErrorKind::Forked
                && !event.is_set();
            unsafe { libc::_exit(i32::from(!is_so)) };
        }
        let mut status = 0;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        event.set().unwrap();
    });
}

#[test]
fn an_event_says_what_it_looks_like() {
    let event = Event::new().unwrap();
    assert_eq!(format!("{event:?}"), "Event { is_set: false }");
    event.set().unwrap();
    assert_eq!(format!("{event:?}"), "Event { is_set: true }");
}
