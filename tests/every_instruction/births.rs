//! Births: the process that asks for a child, the fork server that makes it, and the child itself
//! until its function begins, and from the end of that on.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it asks the kernel for much")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use multiproc::{Error, ErrorKind, Pipe, Process, Result, Value};

use crate::common::{assert_killed, children, server, until};
use crate::stepping::{Fate, Gate, Operation, alone, begin, breakpoint, end, try_points};
use crate::tracing::{Tracee, is_asleep, thread_named};

type Count = Value<AtomicU64>;

/// What a child is made for: it has been there.
fn count(count: Count) -> u64 {
    count.fetch_add(1, Ordering::Relaxed) + 1
}

/// Has a child made, in a thread that sleeps when this returns, and waits for it to be born.
fn spawn(f: fn(Count) -> u64, argument: &Count) -> JoinHandle<Result<Process<u64>>> {
    let argument = argument.clone();
    let caller = thread::Builder::new().name("caller".to_owned());
    let caller = caller.spawn(move || Process::spawn(f, argument)).unwrap();
    let pid = std::process::id();
    let sleeps = || thread_named(pid, "caller").is_some_and(|thread| is_asleep(pid, thread));
    until(|| caller.is_finished() || sleeps());
    caller
}

/// Starts the fork server, if there is none.
fn fork_server() -> u32 {
    Process::spawn(drop, ()).unwrap().join().unwrap();
    server().unwrap()
}

/// Children are made, and none is there that nobody knows of.
fn is_well() {
    let server = fork_server();
    assert!(multiproc::active_children().is_empty());
    until(|| children().iter().all(|(pid, ..)| *pid == server));
}

/// The child of the caller is made once, whatever becomes of the one who makes it.
#[test]
fn a_child_that_the_fork_server_makes() {
    alone("a_child_that_the_fork_server_makes", |()| {
        try_points("fork server: makes a child", true, |point, at| {
            let (server, there) = (fork_server(), Value::atomic(0_u64).unwrap());
            let mut caller = None;
            let tracee = Tracee::seize(server)?;
            let fate = tracee.step_from_sleep(point, || {
                caller = Some(spawn(count, &there));
                true
            });
            at.is(fate);
            let child = caller.unwrap_or_else(|| spawn(count, &there)).join().unwrap();
            let mut child = child.unwrap();
            assert_eq!(child.join_timeout(Duration::MAX).unwrap(), Some(1));
            assert!(child.exit_status().unwrap().success());
            assert_eq!(there.load(Ordering::Relaxed), 1);
            is_well();
            assert_ne!(fork_server(), server);
            Some(fate)
        });
    });
}

/// What it has made ends with it: its fork server, and the child, wherever that is on its way.
#[test]
fn a_process_that_spawns() {
    fn stays(there: Count) -> u64 {
        count(there);
        loop {
            thread::park();
        }
    }
    fn victim((there, gate): (Count, Gate)) {
        // Those would be looked at one by one, and few points tried of anything else.
        for (name, _) in std::env::vars_os() {
            unsafe { std::env::remove_var(name) };
        }
        fork_server();
        begin(gate);
        let _child = Process::spawn(stays, there).unwrap();
        end();
    }
    fn make() -> (Count, Count) {
        let there = Value::atomic(0_u64).unwrap();
        (there.clone(), there)
    }
    fn check(there: Count, _: Fate) {
        let mine = server().unwrap();
        // They are this process's own now, and it is the one who can reap them.
        until(|| {
            let mut orphans = children();
            orphans.retain(|(pid, ..)| *pid != mine);
            let ended = orphans.iter().filter(|(_, state, _)| *state == 'Z');
            ended.for_each(|(pid, ..)| reap(*pid));
            orphans.is_empty()
        });
        assert!(there.load(Ordering::Relaxed) <= 1);
    }
    fn reap(pid: u32) {
        unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), libc::__WALL) };
    }
    alone("a_process_that_spawns", |()| {
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
        Operation::new("process: spawns another one", make, victim, check).try_all();
    });
}

/// It takes its job, makes its surroundings, and unpacks its arguments.
#[test]
fn a_child_until_its_function_begins() {
    fn begins(there: Count) -> u64 {
        breakpoint();
        count(there)
    }
    fn is_clear(error: &Error) -> bool {
        error.kind() == ErrorKind::Spawn
    }
    alone("a_child_until_its_function_begins", |()| {
        try_points("process: from its birth to its function", false, |point, at| {
            let (server, there) = (fork_server(), Value::atomic(0_u64).unwrap());
            let mut caller = None;
            let tracee = Tracee::seize_newborn(server, || caller = Some(spawn(begins, &there)))?;
            let fate = tracee.step_from_birth(point);
            at.is(fate);
            match caller.unwrap().join().unwrap() {
                Ok(child) if fate.is_done() => assert_eq!(child.join().unwrap(), 1),
                Ok(child) => assert_killed(child.join()),
                Err(error) => assert!(is_clear(&error) && !fate.is_done(), "{error}"),
            }
            assert_eq!(there.load(Ordering::Relaxed), u64::from(fate.is_done()));
            is_well();
            assert_eq!(fork_server(), server);
            Some(fate)
        });
    });
}

/// It sends its result, and exits.
#[test]
fn a_child_from_the_end_of_its_function() {
    extern "C" fn exits() {
        breakpoint();
    }
    fn ends((gate, there): (Gate, Count)) -> (u64, Count) {
        assert_eq!(unsafe { libc::atexit(exits) }, 0);
        begin(gate);
        (5, there)
    }
    alone("a_child_from_the_end_of_its_function", |()| {
        try_points("process: from its function to its exit", false, |point, at| {
            let there = Value::atomic(0_u64).unwrap();
            let (mut open, gate) = Pipe::simplex::<()>().unwrap();
            let child = Process::spawn(ends, (gate, there.clone())).unwrap();
            let tracee = Tracee::seize(child.pid())?;
            open.send(()).unwrap();
            let fate = tracee.step(point, || false);
            at.is(fate);
            match child.join() {
                Ok((five, same)) => {
                    same.fetch_add(five, Ordering::Relaxed);
                    assert_eq!(there.load(Ordering::Relaxed), 5);
                }
                error => {
                    assert!(!fate.is_done());
                    assert_killed(error);
                }
            }
            is_well();
            Some(fate)
        });
    });
}
