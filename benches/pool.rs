//! Tasks for worker processes, beside what other pools of processes do, and beside threads of one
//! process, which have it easier: nothing is encoded for them, and they cannot die alone.
//!
//! For one task at a time the caller is on one CPU, and whoever serves it on another. For all else
//! nobody is pinned: the caller, the threads of the pool and its workers are more than two.

mod support;
mod tasks;

use multiproc::Pool;
use support::peer::{all_cpus, pin};
use support::python::python;
use support::{Contender, Goal, Table, away, is_wanted, start};
use tasks::{PYTHON, WORKERS, ours, parked, ready, rivals};

fn main() {
    rivals::init();
    // As long as nobody is pinned.
    all_cpus();
    let rounds = start("pool", 60);
    // First, as long as there is nothing else in this process.
    if is_wanted(parked::TITLE) {
        parked::table();
    }
    round_trips(rounds);
    streams(rounds);
    iterators(rounds);
    maps(rounds);
    starts(rounds);
}

/// Row: a pool of Python's, by the name of its method.
fn pythons(name: &str, method: &str, workers: usize) -> Option<Contender> {
    python(name, PYTHON, &[method.to_owned(), workers.to_string()])
}

/// One task at a time, to one worker that waits for it, on the other CPU.
fn round_trips(rounds: usize) {
    let goal = Goal::Nanoseconds(1500.0);
    let pool = || away(|| ours::pool(1));
    let in_process = away(|| Pool::builder().workers(1).in_process(true).build().expect("a pool"));
    pin(all_cpus());
    let python = pythons("Python, Pool.apply", "apply", 1);
    Table::new("One task to a hot worker, and its result")
        .row(rivals::procspawn_join("procspawn, spawn and join"))
        .row(ours::apply("multiproc, apply", pool()).aiming_at(goal).aiming_at(Goal::Speed(40.0)))
        .row(ours::get("multiproc, submit and get", pool()).aiming_at(goal))
        .row(ours::apply("multiproc, apply, a thread as worker", in_process))
        .row(python)
        .row(rivals::channels_ask("crossbeam-channel, a thread"))
        .row(rivals::rayon_install("rayon, ThreadPool::install, threads"))
        .run(rounds);
    pin(all_cpus());
}

/// Many tasks on their way at once.
fn streams(rounds: usize) {
    let goal = Goal::Nanoseconds(1000.0);
    Table::new("Small tasks, all submitted and then all asked for, each task")
        .row(rivals::procspawn_stream("procspawn, 1000 at once"))
        .row(ours::stream("multiproc, submit", WORKERS).aiming_at(goal))
        .row(ours::stream("multiproc, submit, 1 worker", 1))
        .row(pythons("Python, Pool.apply_async", "apply_async", WORKERS))
        .row(rivals::channels_stream("crossbeam-channel, threads"))
        .row(rivals::rayon_stream("rayon, spawn and channels, threads"))
        .run(rounds);
}

/// Results one by one, while the inputs are made.
fn iterators(rounds: usize) {
    Table::new("imap, each result")
        .row(ours::imap("multiproc, imap"))
        .row(ours::imap_unordered("multiproc, imap_unordered"))
        .row(pythons("Python, imap", "imap", WORKERS))
        .row(pythons("Python, imap_unordered", "imap_unordered", WORKERS))
        .run(rounds);
}

/// One function for many numbers.
fn maps(rounds: usize) {
    let goal = Goal::Nanoseconds(10.0);
    Table::new("map over u64, each number")
        .row(rivals::rayon_map("rayon, par_iter().map().collect(), 10 M, threads"))
        .row(ours::map_array("multiproc, map_array, 10 M").aiming_at(goal))
        .row(ours::map_slice("multiproc, map_slice, 10 M").aiming_at(goal))
        .row(ours::map("multiproc, map, 1 M"))
        .row(pythons("Python, Pool.map, 100 k", "map", WORKERS))
        .run(rounds.div_ceil(2));
}

/// From nothing to workers that have run a function.
fn starts(rounds: usize) {
    Table::new("A pool of 2, until both workers have run a function")
        .row(ready::one_process("multiproc, one Process::spawn, until its function speaks"))
        .row(ready::pool_of_two("multiproc, Pool with an initializer").aiming_at(Goal::Time(3.0)))
        .row(ready::procspawn("procspawn, Pool::new and two answers"))
        .row(pythons("Python, Pool with an initializer", "start", WORKERS))
        .run(rounds);
}
