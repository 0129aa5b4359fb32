//! The sections of which each is one table.

use std::time::Duration;

use multiproc::{Event, Lock, Plain, Queue, ReentrantLock, RwLock, Semaphore, Value};

use super::iceoryx2;
use super::report::Section;
use crate::births::{self, processes};
use crate::channels::ends::OurPipe;
use crate::channels::kernel::Kernel;
use crate::channels::mailbox::Mailbox;
use crate::channels::processes::{IpcChannel, Shaq};
use crate::channels::python::python as python_stream;
use crate::channels::threads::{ArrayQueue, Crossbeam, Kanal, Rtrb};
use crate::channels::{CAPACITY, Shape, stream};
use crate::exclusion::rivals::{ParkingLot, Pthread, RawSync, Std};
use crate::exclusion::signals::{self, Signal, hand_over};
use crate::exclusion::{COUNTER, Labour, alone, contended, uncontended};
use crate::managers::{PYTHON as PYTHON_MANAGER, ours as server, yardsticks};
use crate::support::peer::{all_cpus, cpus, pin};
use crate::support::program::Program;
use crate::support::python::{python, python_file};
use crate::support::{Contender, Table, away, floor};
use crate::tasks::{PYTHON as PYTHON_POOL, WORKERS, ours as pool, ready, rivals};

const ONE: Shape = Shape { senders: 1, receivers: 1 };

pub(crate) fn throughput(rounds: usize) -> Section {
    let queue = Queue::builder().codec::<Plain>().bounded::<u64>(CAPACITY).expect("a queue");
    let text = "One sender and one receiver, each on a CPU of its own, room for 1024, one `send` \
        and one `recv` a message.";
    let measured = Table::new("A stream of u64, each message")
        .over(floor())
        .row(stream("multiproc Pipe", ONE, OurPipe::<u64, _>::plain(CAPACITY)))
        .row(stream("multiproc Queue", ONE, queue))
        .row(stream("multiproc Pipe, serde", ONE, OurPipe::<u64, _>::serde()))
        .row(stream("shaq", ONE, Shaq::<u64>::new()))
        .row(rival_stream("iceoryx2 publish-subscribe, spins"))
        .row(stream("pipe(2)", ONE, Kernel::<u64>::pipe()))
        .row(stream("Unix socket", ONE, Kernel::<u64>::socket()))
        .row(stream("shared_memory and raw_sync", ONE, Mailbox::<u64>::new()))
        .row(stream("ipc-channel", ONE, IpcChannel::<u64>::new()))
        .row(python_stream("Python Queue", ONE, "1234567"))
        .row(stream("rtrb, threads, spins", ONE, Rtrb::<u64>::of(CAPACITY)))
        .row(stream("ArrayQueue, threads, spins", ONE, ArrayQueue::<u64>::of(CAPACITY)))
        .row(stream("crossbeam-channel, threads", ONE, Crossbeam::<u64>::new()))
        .row(stream("kanal, threads", ONE, Kanal::<u64>::new()))
        .measure(rounds);
    Section::table("throughput", "A stream of u64, each message", text, measured)
}

fn rival_stream(name: &str) -> Option<Contender> {
    let mut program = Program::start(&mut iceoryx2::command(&["stream-poll"])?)?;
    Some(Contender::new(name, move |iterations| program.run(iterations)).long())
}

/// What is done with nobody there to wait for.
pub(crate) fn alone_with_locks(rounds: usize) -> Section {
    let [readers, writers] = [(); 2].map(|()| RwLock::new().expect("a lock"));
    let permits = Semaphore::new(1).expect("a semaphore");
    let event = Event::new().expect("an event");
    let value = Value::new(0_u64).expect("a value");
    let posix = signals::Posix::new();
    let std_lock = std::sync::RwLock::new(());
    let measured = Table::new("Taken and given back, nobody else")
        .row(uncontended::<Lock>("multiproc Lock"))
        .row(uncontended::<Pthread<true>>("pthread mutex, robust"))
        .row(uncontended::<Pthread<false>>("pthread mutex, not robust"))
        .row(uncontended::<RawSync>("raw_sync, not robust"))
        .row(uncontended::<Std>("std::sync::Mutex, threads"))
        .row(uncontended::<ParkingLot>("parking_lot, threads"))
        .row(uncontended::<ReentrantLock>("multiproc ReentrantLock"))
        .row(alone("multiproc RwLock, read", move || drop(readers.read().expect("a lock"))))
        .row(alone("std::sync::RwLock, threads, read", move || {
            drop(std_lock.read().expect("a lock"));
        }))
        .row(alone("multiproc RwLock, write", move || drop(writers.write().expect("a lock"))))
        .row(alone("multiproc Semaphore", move || drop(permits.acquire().expect("a permit"))))
        .row(alone("sem_t", move || {
            posix.give();
            posix.take();
        }))
        .row(alone("multiproc Event, set and clear", move || {
            event.set().expect("an event");
            event.clear().expect("an event");
        }))
        .row(alone("multiproc Value<u64>, update", move || {
            value.update(|value| *value += 1).expect("a value");
        }))
        .row(python("Python Value, += 1 under its lock", COUNTER, &[]))
        .measure(rounds);
    let text = "One process. The locks of this crate and the robust mutex survive their owner's \
        death, and a `Semaphore` gives back what a dead process had; `sem_t` does not.";
    Section::table(
        "locks",
        "Locks and their kin, taken and given back, nobody else",
        text,
        measured,
    )
}

/// Two that want it all the time.
pub(crate) fn two_with_locks(rounds: usize) -> Section {
    let none = Labour::NONE;
    let measured = Table::new("2 workers, a few ns with the lock and without")
        .row(contended::<Lock>("multiproc Lock", 2, none).0)
        .row(contended::<Pthread<true>>("pthread mutex, robust", 2, none).0)
        .row(contended::<RawSync>("raw_sync, not robust", 2, none).0)
        .row(contended::<ParkingLot>("parking_lot, threads", 2, none).0)
        .row(contended::<Std>("std::sync::Mutex, threads", 2, none).0)
        .measure(rounds);
    let text =
        "Two workers on two CPUs that do nothing but take the lock, count, and give it back.";
    Section::table("contended", "A lock that two want all the time, each turn", text, measured)
}

pub(crate) fn hand_overs(rounds: usize) -> Section {
    let measured = Table::new("One signal, one way, as a user gives and takes it")
        .over(floor())
        .row(hand_over::<Semaphore>("multiproc Semaphore"))
        .row(hand_over::<Event>("multiproc Event"))
        .row(hand_over::<signals::Flagged>("multiproc Condition"))
        .row(hand_over::<signals::Posix>("sem_t"))
        .row(hand_over::<signals::RawSync>("raw_sync Event"))
        .row(hand_over::<signals::ParkingLot>("parking_lot Condvar, threads"))
        .row(hand_over::<signals::Std>("std::sync::Condvar, threads"))
        .measure(rounds);
    let text = "To a process (or thread) that waits for it on the other CPU, and one back; each.";
    Section::table("signals", "One signal, one way", text, measured)
}

pub(crate) fn spawns(rounds: usize) -> Section {
    pin(all_cpus());
    let python = |name, method: &str| python_file(name, births::PYTHON, &[method.to_owned()]);
    let measured = Table::new("One process, start to reaped")
        .row(processes("fork and _exit, nothing run (floor)", births::fork))
        .row(processes("multiproc, fork server", births::multiproc_fork_server))
        .row(processes("multiproc, exec", births::multiproc_spawn))
        .row(processes("procspawn", births::procspawn_join))
        .row(processes("posix_spawn, nothing passed", births::posix_spawn))
        .row(python("Python, fork", "fork"))
        .row(python("Python, forkserver", "forkserver"))
        .measure(rounds);
    pin_here();
    let text = "A function is called in a new process with an argument, and its result is there \
        (Python: it has ended). The fork server is the default.";
    Section::table("spawn", "A process, from the request until it is joined", text, measured)
}

/// One task at a time, to one worker that waits for it, on the other CPU; then many.
pub(crate) fn tasks(rounds: usize) -> [Section; 2] {
    let one = || away(|| pool::pool(1));
    pin(all_cpus());
    let pythons = |name, method: &str, workers: usize| {
        python(name, PYTHON_POOL, &[method.to_owned(), workers.to_string()])
    };
    let python_apply = pythons("Python, apply", "apply", 1);
    let table = Table::new("One task to a hot worker, and its result")
        .row(pool::apply("multiproc, apply", one()))
        .row(pool::get("multiproc, submit and get", one()))
        .row(rivals::procspawn_join("procspawn"))
        .row(python_apply)
        .row(rivals::channels_ask("crossbeam-channel, threads"))
        .row(rivals::rayon_install("rayon install, threads"));
    let single = table.measure(rounds);
    pin(all_cpus());
    let many = Table::new("Small tasks, all submitted and then all asked for, each task")
        .row(pool::stream("multiproc, submit", WORKERS))
        .row(pool::imap("multiproc, imap"))
        .row(rivals::procspawn_stream("procspawn, 1000 at once"))
        .row(pythons("Python, apply_async", "apply_async", WORKERS))
        .row(pythons("Python, imap", "imap", WORKERS))
        .row(rivals::channels_stream("crossbeam-channel, threads"))
        .row(rivals::rayon_stream("rayon spawn, threads"))
        .measure(rounds);
    pin_here();
    [
        Section::table(
            "task",
            "One small task for a pool, and its result",
            "The caller is on one CPU, a pool of one worker on the other.",
            single,
        ),
        Section::table(
            "tasks",
            "Many small tasks for a pool of two, each",
            "All are submitted, then all results are asked for. Nobody is pinned.",
            many,
        ),
    ]
}

/// Numbers by the million, and a pool of two until it is there.
pub(crate) fn maps(rounds: usize) -> [Section; 2] {
    pin(all_cpus());
    let pythons =
        |name, method: &str| python(name, PYTHON_POOL, &[method.to_owned(), WORKERS.to_string()]);
    let maps = Table::new("A map over many u64, each of them")
        .row(pool::map_array("multiproc, map_array"))
        .row(pool::map_slice("multiproc, map_slice"))
        .row(pool::map("multiproc, map, by serde"))
        .row(pythons("Python, map", "map"))
        .row(rivals::rayon_map("rayon par_iter, threads"))
        .measure(rounds.div_ceil(3));
    let starts = Table::new("A pool of 2, until both workers have run a function")
        .row(ready::pool_of_two("multiproc"))
        .row(ready::procspawn("procspawn, two answers of either"))
        .row(pythons("Python", "start"))
        .measure(rounds);
    pin_here();
    [
        Section::table(
            "map",
            "A map over many u64 by a pool of two, each of them",
            "10 million (1 million by serde, 100 000 by Python), of which each is multiplied. \
             `map_array` has them in shared memory, `map_slice` copies them in and out.",
            maps,
        ),
        Section::table(
            "pool",
            "A pool of two, until both workers have run a function",
            "From nothing; its end is not timed.",
            starts,
        ),
    ]
}

/// One call at a time, of a server on the other CPU.
pub(crate) fn calls(rounds: usize) -> Section {
    // Before Python, which ends with its input, of which a copy of this process has a copy.
    let floor = floor();
    let echo = yardsticks::socket_echo("Unix socket, 32 bytes to a process and back");
    pin(all_cpus());
    let pythons =
        |name, method: &str| python(name, PYTHON_MANAGER, &[method.to_owned(), "1".to_owned()]);
    let (set, call) = (pythons("Python, d[k] = v", "insert"), pythons("Python, a method", "call"));
    pin_here();
    let measured = Table::new("One call, and its answer")
        .over(floor)
        .row(server::asking("multiproc, Dict::insert", server::dict, server::insert))
        .row(server::asking("multiproc, Dict::update", server::dict, server::update))
        .row(server::asking("multiproc, Proxy::call", server::thing, server::call))
        .row(server::asking("multiproc, Proxy::read", server::thing, server::read))
        .row(set)
        .row(call)
        .row(echo)
        .row(yardsticks::thread_insert("HashMap behind crossbeam-channel, threads"))
        .measure(rounds);
    Section::table(
        "manager",
        "A call of an object in a server, and its answer",
        "One client, a server on the other CPU. The socket's echo does nothing with what it gets.",
        measured,
    )
}

/// 100 ns of work.
pub(crate) fn labour() -> Labour {
    Labour::of(Duration::from_nanos(100))
}

fn pin_here() {
    pin(&[cpus().expect("two CPUs").0]);
}
