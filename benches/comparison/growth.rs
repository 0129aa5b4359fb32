//! What becomes of the cost where there is more of something: processes, room, objects.

use std::time::Instant;

use multiproc::{Dict, Lock, Manager, Plain, Queue, Value};

use super::points;
use super::report::Section;
use crate::channels::ends::OurPipe;
use crate::channels::kernel::Kernel;
use crate::channels::processes::Shaq;
use crate::channels::python::python;
use crate::channels::threads::{ArrayQueue, Crossbeam, Kanal, Rtrb};
use crate::channels::{CAPACITY, Shape, stream};
use crate::exclusion::rivals::{Exclusion, ParkingLot, Pthread, RawSync, Std};
use crate::exclusion::{Labour, contended};
use crate::managers::ours;
use crate::support::peer::{all_cpus, watchdog};
use crate::support::{Contender, Table};

/// Senders, and as many receivers.
const PAIRS: [usize; 4] = [1, 2, 4, 8];

/// Workers that want one lock, or clients of one server.
const WORKERS: [usize; 5] = [1, 2, 4, 8, 16];
const SOME_WORKERS: [usize; 2] = [2, 8];

const CAPACITIES: [usize; 7] = [1, 4, 16, 64, 1024, 16 << 10, 256 << 10];
const SOME_CAPACITIES: [usize; 3] = [1, 64, 1024];

const OBJECTS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
const SOME_OBJECTS: [usize; 3] = [1, 100, 1000];

/// Longer than it takes to make all these objects. Seconds.
const WATCHDOG: u32 = 900;

const ONE: Shape = Shape { senders: 1, receivers: 1 };

fn queue(capacity: usize) -> Queue<u64, Plain> {
    Queue::builder().codec().bounded(capacity).expect("a queue")
}

/// Streams through one queue.
pub(crate) fn processes(rounds: usize) -> Section {
    let measure = |pairs: usize| {
        let shape = Shape { senders: pairs, receivers: pairs };
        Table::new(&format!("u64, {pairs} senders and {pairs} receivers, each message"))
            .row(stream("multiproc Queue", shape, queue(CAPACITY)))
            .row(shaq(shape))
            .row(stream("pipe(2)", shape, Kernel::<u64>::pipe()))
            .row(python("Python Queue", shape, "1234567"))
            .row(stream("crossbeam-channel, threads", shape, Crossbeam::<u64>::new()))
            .row(stream("kanal, threads", shape, Kanal::<u64>::new()))
            .row(stream("ArrayQueue, threads, spins", shape, ArrayQueue::<u64>::of(CAPACITY)))
            .measure(rounds)
    };
    let points = points(&PAIRS, &PAIRS[..2]).into_iter();
    Section::growth(
        "processes",
        "A stream of u64 from so many senders to as many receivers, each message",
        "All send and receive as fast as they can through one queue of 1024. There are two CPUs, \
         so from two and two on processes share them. shaq's senders wait for one another, and \
         are left out where they would share a CPU.",
        "senders, and as many receivers",
        points.map(|pairs| (pairs.to_string(), measure(pairs))).collect(),
    )
}

/// Its senders spin until those before them are done, which takes slices of the scheduler's where
/// they share a CPU: no sample would end.
fn shaq(shape: Shape) -> Option<Contender> {
    let workers = shape.senders + shape.receivers;
    (workers <= 2 * all_cpus().len()).then(|| stream("shaq", shape, Shaq::<u64>::new()))
}

/// A stream through less or more room.
pub(crate) fn capacities(rounds: usize) -> Section {
    let measure = |capacity: usize| {
        Table::new(&format!("u64, capacity {capacity}, each message"))
            .row(stream("multiproc Pipe", ONE, OurPipe::<u64, _>::plain(capacity)))
            .row(stream("multiproc Queue", ONE, queue(capacity)))
            .row(stream("crossbeam-channel, threads", ONE, Crossbeam::<u64>::of(capacity)))
            .row(stream("kanal, threads", ONE, Kanal::<u64>::of(capacity)))
            .row(stream("rtrb, threads, spins", ONE, Rtrb::<u64>::of(capacity)))
            .row(stream("ArrayQueue, threads, spins", ONE, ArrayQueue::<u64>::of(capacity)))
            .measure(rounds)
    };
    let points = points(&CAPACITIES, &SOME_CAPACITIES).into_iter();
    Section::growth(
        "capacity",
        "A stream of u64 through room for so many, each message",
        "One sender and one receiver, each on a CPU of its own.",
        "messages that fit",
        points.map(|capacity| (capacity.to_string(), measure(capacity))).collect(),
    )
}

/// More and more that want one lock.
pub(crate) fn crowds(labour: Labour, rounds: usize) -> Section {
    fn row<E: Exclusion>(name: &str, workers: usize, labour: Labour) -> Contender {
        contended::<E>(name, workers, labour).0
    }
    let measure = |workers: usize| {
        Table::new(&format!("{workers} workers, some work with the lock and without"))
            .row(row::<Lock>("multiproc Lock", workers, labour))
            .row(row::<Pthread<true>>("pthread mutex, robust", workers, labour))
            .row(row::<RawSync>("raw_sync", workers, labour))
            .row(row::<ParkingLot>("parking_lot, threads", workers, labour))
            .row(row::<Std>("std::sync::Mutex, threads", workers, labour))
            .measure(rounds)
    };
    let points = points(&WORKERS, &SOME_WORKERS).into_iter();
    Section::growth(
        "crowds",
        "One lock that so many want, each turn",
        "All take it again and again, and work for a moment with it, and as long without it: the \
         same loop for all, of some tens of nanoseconds. There are two CPUs.",
        "workers",
        points.map(|workers| (workers.to_string(), measure(workers))).collect(),
    )
}

/// More and more clients of one dictionary in a server.
pub(crate) fn clients(rounds: usize) -> Section {
    let measure = |clients: usize| {
        Table::new(&format!("One dictionary, {clients} clients, each insert"))
            .row(ours::crowd("multiproc Manager", clients, ours::dict, ours::insert))
            .row(pythons(clients))
            .measure(rounds)
    };
    let points = points(&WORKERS, &SOME_WORKERS).into_iter();
    Section::growth(
        "clients",
        "One dictionary in a server, so many clients, each insert",
        "Processes that set values of one dictionary of a manager, all as fast as they can.",
        "clients",
        points.map(|clients| (clients.to_string(), measure(clients))).collect(),
    )
}

fn pythons(clients: usize) -> Option<Contender> {
    let arguments = ["insert".to_owned(), clients.to_string()];
    crate::support::python::python("Python Manager", crate::managers::PYTHON, &arguments)
}

/// More and more objects that live at the same time.
pub(crate) fn objects(rounds: usize) -> Section {
    let manager = ours::manager();
    let points = points(&OBJECTS, &SOME_OBJECTS).into_iter();
    let measure = |count| {
        watchdog(WATCHDOG);
        Table::new(&format!("{count} objects at the same time, one after the other"))
            .row(each("multiproc Lock, lock and unlock", of(count, Lock::new), |lock| {
                lock.with(|| ())
            }))
            .row(each("multiproc Value, update", of(count, || Value::new(0_u64)), |value| {
                value.update(|value| *value += 1).expect("a value");
            }))
            .row(each("pthread mutex, robust, lock and unlock", pthreads(count), |lock| {
                lock.with(|| ());
            }))
            .row(each("multiproc Dict in a server, insert", dicts(&manager, count), |dict| {
                dict.insert(1, 1).expect("a server");
            }))
            .row(making("multiproc Lock, made and dropped beside these", of(count, Lock::new)))
            .measure(rounds)
    };
    Section::growth(
        "objects",
        "So many objects alive, an operation of each in turn",
        "Objects of one process, used one after the other, so that with many of them each use \
         finds its object outside of the caches.",
        "objects alive",
        points.map(|count| (count.to_string(), measure(count))).collect(),
    )
}

fn of<T>(count: usize, make: impl Fn() -> multiproc::Result<T>) -> Vec<T> {
    (0..count).map(|_| make()).collect::<Result<_, _>>().expect("so many objects")
}

fn pthreads(count: usize) -> Vec<Pthread<true>> {
    Pthread::many(count)
}

fn dicts(manager: &Manager, count: usize) -> Vec<Dict<u64, u64>> {
    of(count, || manager.dict())
}

/// Row: the same with each of them in turn.
fn each<T: 'static>(name: &str, objects: Vec<T>, with: impl Fn(&T) + 'static) -> Contender {
    let mut next = 0;
    Contender::repeat(name, move |_| {
        with(&objects[next]);
        next = (next + 1) % objects.len();
    })
}

/// Row: one more, and it is dropped again.
fn making(name: &str, others: Vec<Lock>) -> Contender {
    Contender::new(name, move |iterations| {
        let _others = &others;
        let start = Instant::now();
        (0..iterations).for_each(|_| drop(Lock::new().expect("one more")));
        start.elapsed()
    })
}
