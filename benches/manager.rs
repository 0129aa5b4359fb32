//! Calls of objects in a manager's server, beside Python's manager, beside a thread of the same
//! process, which has it easier: nothing is encoded for it, and beside a bare echo of the kernel's.
//!
//! For one call at a time the caller is on one CPU, and the server on another. For many clients the
//! server is where the kernel puts it, and the clients are spread over the CPUs.

mod managers;
mod support;

use managers::{KIB, MIB, PYTHON, cost, ours, yardsticks};
use support::peer::{all_cpus, pin};
use support::python::python;
use support::{Contender, Goal, Table, copies, floor, is_wanted, start};

fn main() {
    // As long as nobody is pinned.
    all_cpus();
    let rounds = start("manager", 60);
    if is_wanted(cost::TITLE) {
        cost::table();
    }
    round_trips(rounds);
    large(rounds);
    crowds(rounds);
    lives(rounds);
    starts(rounds);
}

/// Row: a manager of Python's, by the name of what is asked of it, on all CPUs.
fn pythons(name: &str, method: &str, clients: usize) -> Option<Contender> {
    pin(all_cpus());
    python(name, PYTHON, &[method.to_owned(), clients.to_string()])
}

/// One call at a time, of a server that waits for it, on the other CPU.
fn round_trips(rounds: usize) {
    // Before Python, which ends with its input, of which a copy of this process has a copy.
    let floor = floor();
    let echo = yardsticks::socket_echo("Unix socket, 32 bytes to a process and back");
    let python = pythons("Python, d[k] = v", "insert", 1);
    let mut insert = ours::asking("multiproc, Dict::insert", ours::dict, ours::insert)
        .aiming_at(Goal::Nanoseconds(3000.0));
    if python.is_some() {
        insert = insert.aiming_at(Goal::Speed(15.0));
    }
    Table::new("One call, and its answer")
        .over(floor)
        .row(python)
        .row(insert)
        .row(ours::asking("multiproc, Dict::get", ours::dict, ours::get))
        .row(ours::asking("multiproc, Dict::update", ours::dict, ours::update))
        .row(ours::asking("multiproc, Proxy::call", ours::thing, ours::call))
        .row(ours::asking("multiproc, Proxy::read", ours::thing, ours::read))
        .row(pythons("Python, d[k]", "get", 1))
        .row(pythons("Python, a method of one's own", "call", 1))
        .row(yardsticks::thread_insert("a thread with a HashMap, crossbeam-channel"))
        .row(echo)
        .run(rounds);
    pin(all_cpus());
}

/// The caller gives its argument away, so each call begins with a copy of it.
fn large(rounds: usize) {
    let kib = pythons("Python, str of 1 KiB", "call_kib", 1);
    let mib = pythons("Python, str of 1 MiB", "call_mib", 1);
    Table::new("One call with a long argument")
        .row(copies("memcpy, 1 MiB, four copies", MIB, 4))
        .row(ours::asking("multiproc, String of 1 KiB", ours::thing, ours::text(KIB)))
        .row(ours::asking("multiproc, String of 1 MiB", ours::thing, ours::text(MIB)))
        .row(ours::asking("multiproc, Vec<u8> of 1 KiB", ours::thing, ours::bytes(KIB)))
        .row(ours::asking("multiproc, Vec<u8> of 1 MiB", ours::thing, ours::bytes(MIB)))
        .row(kib)
        .row(mib)
        .run(rounds);
    pin(all_cpus());
}

/// More and more processes that call as fast as they can.
fn crowds(rounds: usize) {
    let inserts = |name: &str, clients| ours::crowd(name, clients, ours::dict, ours::insert);
    let goal = Goal::Nanoseconds(2000.0);
    Table::new("One dictionary, many processes, each insert")
        .row(inserts("multiproc, 1 client", 1))
        .row(inserts("multiproc, 2 clients", 2))
        .row(inserts("multiproc, 4 clients", 4).aiming_at(goal))
        .row(inserts("multiproc, 8 clients", 8))
        .row(inserts("multiproc, 16 clients", 16))
        .row(pythons("Python, 1 client", "insert", 1))
        .row(pythons("Python, 4 clients", "insert", 4))
        .run(rounds);
}

/// Objects that come and go.
fn lives(rounds: usize) {
    Table::new("An object hosted, and its only proxy dropped")
        .row(pythons("Python", "host", 1))
        .row(ours::host_and_drop("multiproc"))
        .row(ours::host_beside("multiproc, beside 10 000 others", 10_000))
        .run(rounds);
    pin(all_cpus());
}

/// From nothing to a server that answers.
fn starts(rounds: usize) {
    Table::new("A manager, until it has answered")
        .row(ours::one_process("multiproc, one Process::spawn, until its function speaks"))
        .row(ours::start("multiproc, Manager::start"))
        .row(pythons("Python, Manager.start and a dict", "start", 1))
        .run(rounds);
}
