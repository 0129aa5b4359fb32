//! What a server pays for objects and clients that are only there, and how often it sleeps.

use std::fs;
use std::thread;

use multiproc::{Barrier, Manager};

use super::ours;
use crate::support::away;
use crate::support::peer::{all_cpus, pin, watchdog};

pub(crate) const TITLE: &str = "What objects and clients cost a server";

/// So many objects, for the cost of one.
const OBJECTS: usize = 10_000;

/// So many calls at once, each with a pipe of its own.
const CALLS: usize = 100;

/// Calls whose sleeps are counted.
const STEADY: u64 = 1_000_000;

/// Longer than it all takes. Seconds.
const WATCHDOG: u32 = 120;

/// Prints the memory of objects and of pipes, and the sleeps of a client and its server.
pub(crate) fn table() {
    watchdog(WATCHDOG);
    println!("\n### {TITLE}\n");
    println!("| what | server and client, bytes |");
    println!("|---|---:|");
    println!("| a hosted `u64` and its proxy | {} |", of_an_object());
    println!("| a call at the same time as others: a pipe and a thread | {} |", of_a_call());
    println!("\n{}", sleeps());
}

fn of_an_object() -> u64 {
    let manager = ours::manager();
    let warm: Vec<_> = (0..1000_u64).map(|number| manager.host(number)).collect();
    let before = memory(&manager);
    let objects: Vec<_> = (0..OBJECTS as u64).map(|number| manager.host(number)).collect();
    assert!(objects.iter().chain(&warm).all(Result::is_ok));
    (memory(&manager) - before) / OBJECTS as u64
}

fn of_a_call() -> u64 {
    let manager = ours::manager();
    let barrier = manager.barrier(CALLS).expect("a barrier");
    let meet = |barrier: Barrier| drop(barrier.wait());
    manager.run(drop::<u64>, 0).expect("a server");
    let before = memory(&manager);
    thread::scope(|scope| {
        for _ in 0..CALLS {
            scope.spawn(|| manager.run(meet, barrier.clone()).expect("a server"));
        }
    });
    (memory(&manager) - before) / CALLS as u64
}

/// The memory of this process and of a manager's server, shared pages divided by those who map
/// them.
fn memory(manager: &Manager) -> u64 {
    let kib = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a sum");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    (kib(std::process::id()) + kib(manager.pid())) << 10
}

/// How often client and server sleep while calls follow one another.
fn sleeps() -> String {
    let manager = away(ours::manager);
    let dict = ours::dict(&manager);
    let before = (slept(std::process::id()), slept(manager.pid()));
    for number in 0..STEADY {
        ours::insert(&dict, number).expect("a server");
    }
    let (here, there) = (slept(std::process::id()), slept(manager.pid()));
    pin(all_cpus());
    let (here, there) = (here - before.0, there - before.1);
    format!("Sleeps in {STEADY} calls in a row: the client's {here}, the server's {there}.")
}

/// How often the threads of a process went to sleep so far.
fn slept(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process that lives");
    let sleeps = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("status");
        let text = fs::read_to_string(path).expect("a thread that lives");
        let sleeps = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps.and_then(|sleeps| sleeps.trim().parse::<u64>().ok()).expect("a number")
    });
    sleeps.sum()
}
