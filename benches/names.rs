//! What a name costs: per message nothing, and when it is made, opened and left.

mod support;

use std::time::Instant;

use multiproc::{Connection, Lock, Name, Pipe, Plain, Process, Queue, Segment, Value};
use shared_memory::ShmemConf;
use support::peer::with_process;
use support::{Contender, Table, copies, floor, pin, start};

fn main() {
    let rounds = start("names", 200);
    pin();
    Table::new("One message, one way, of what was inherited or found by its name")
        .over(floor())
        .row(inherited_pipe())
        .row(found_pipe())
        .row(inherited_queue())
        .row(found_queue())
        .run(rounds);
    Table::new("To open an object that others have, and to leave it")
        .row(one("shared_memory, open and drop", open_shared_memory()))
        .row(one("multiproc, Lock", open_lock()))
        .row(one("multiproc, Value<u64>", open_value()))
        .row(one("multiproc, Queue<u64>", open_queue()))
        .row(one("multiproc, Segment of 1 MiB", open_segment()))
        .run(rounds);
    Table::new("To make an object with a name, and to unlink it")
        .row(one("shared_memory, create and drop, no pages", make_shared_memory()))
        .row(one("multiproc, Value<u64>", make_value()))
        .row(one("multiproc, Queue<u64> of 100", make_queue()))
        .run(rounds);
    Table::new("64 KiB copied out of shared memory")
        .row(copies("one copy within a process", SIZE, 1))
        .row(one("multiproc, Segment::read", read_segment()))
        .run(rounds);
}

const SIZE: usize = 64 << 10;

fn own(what: &str) -> Name {
    let name = Name::new(&format!("bench-{what}-{}", std::process::id())).expect("a name");
    name.unlink().expect("no such name");
    name
}

/// One after the other.
fn one(name: &str, mut once: impl FnMut() + 'static) -> Contender {
    Contender::new(name, move |iterations| {
        let start = Instant::now();
        (0..iterations).for_each(|_| once());
        start.elapsed()
    })
}

type End = Connection<u64, u64, Plain>;

fn inherited_pipe() -> Contender {
    let (here, there) = Pipe::builder().plain().duplex::<u64, u64>().expect("a pipe");
    let mut there = Some(there);
    pipe("pipe of u64, inherited", here, move || there.take().expect("one peer"))
}

fn found_pipe() -> Contender {
    let name = own("pipe");
    let here = Pipe::builder().plain().create(&name).expect("a pipe");
    let open = move || {
        let there = Pipe::builder().plain().open(&name).expect("the other end");
        name.unlink().expect("a name to take away");
        there
    };
    pipe("pipe of u64, by name", here, open)
}

fn pipe(name: &str, mut here: End, mut open: impl FnMut() -> End + 'static) -> Contender {
    let mut there = None;
    let echo = move |iterations| {
        let there = there.get_or_insert_with(&mut open);
        for _ in 0..iterations {
            let message = there.recv().expect("a request");
            there.send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        for message in 0..iterations {
            here.send(message).expect("a request on its way");
            assert_eq!(here.recv().expect("an answer"), message);
        }
    };
    Contender::round_trip(name, with_process(echo, ask))
}

type Numbers = Queue<u64, Plain>;

fn inherited_queue() -> Contender {
    let make = || Queue::builder().codec::<Plain>().bounded(100).expect("a queue");
    let (there, back) = (make(), make());
    let mut peers = Some((there.clone(), back.clone()));
    queue("queue of u64, inherited", (there, back), move || peers.take().expect("one peer"))
}

fn found_queue() -> Contender {
    let names = (own("there"), own("back"));
    let make = |name| Queue::builder().codec::<Plain>().create(name, 100).expect("a queue");
    let ours = (make(&names.0), make(&names.1));
    let open = move || {
        let open = |name: &Name| Numbers::open(name).expect("the queue");
        let found = (open(&names.0), open(&names.1));
        names.0.unlink().and(names.1.unlink()).expect("names to take away");
        found
    };
    queue("queue of u64, by name", ours, open)
}

fn queue(
    name: &str,
    (mut there, mut back): (Numbers, Numbers),
    mut open: impl FnMut() -> (Numbers, Numbers) + 'static,
) -> Contender {
    let mut found = None;
    let echo = move |iterations| {
        let (requests, answers) = found.get_or_insert_with(&mut open);
        for _ in 0..iterations {
            let message = requests.recv().expect("a request");
            answers.send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        for message in 0..iterations {
            there.send(message).expect("a request on its way");
            assert_eq!(back.recv().expect("an answer"), message);
        }
    };
    Contender::round_trip(name, with_process(echo, ask))
}

/// A process that has what is to be opened, so that this one is a stranger to it each time.
struct Keeper {
    process: Process<()>,
    name: Name,
}

impl Keeper {
    fn of(make: fn(String), name: Name) -> Self {
        let process = Process::spawn(make, name.to_string()).expect("a process");
        while !Segment::list().expect("a list").iter().any(|info| info.name == name) {
            std::thread::yield_now();
        }
        Self { process, name }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = (self.name.unlink(), self.process.kill());
    }
}

fn keep<T>(kept: multiproc::Result<T>) {
    let _kept = kept.expect("a new name");
    loop {
        std::thread::park();
    }
}

fn open_lock() -> impl FnMut() {
    let keeper = Keeper::of(|name| keep(Lock::create(name)), own("lock"));
    move || drop(Lock::open(&keeper.name).expect("a lock"))
}

fn open_value() -> impl FnMut() {
    let keeper = Keeper::of(|name| keep(Value::create(name, 1_u64)), own("value"));
    move || drop(Value::<u64>::open(&keeper.name).expect("a value"))
}

fn open_queue() -> impl FnMut() {
    let keeper = Keeper::of(|name| keep(Queue::<u64>::create(name, 100)), own("queue"));
    move || drop(Queue::<u64>::open(&keeper.name).expect("a queue"))
}

fn open_segment() -> impl FnMut() {
    let keeper = Keeper::of(|name| keep(Segment::create(name, 1 << 20)), own("segment"));
    move || drop(Segment::open(&keeper.name).expect("a segment"))
}

fn open_shared_memory() -> impl FnMut() {
    let name = own("foreign");
    let kept = ShmemConf::new().os_id(name.os_id()).size(4096).create().expect("a segment");
    move || {
        let _ = &kept;
        drop(ShmemConf::new().os_id(name.os_id()).open().expect("the segment"));
    }
}

fn make_shared_memory() -> impl FnMut() {
    let name = own("foreign-made");
    move || drop(ShmemConf::new().os_id(name.os_id()).size(4096).create().expect("a segment"))
}

fn make_value() -> impl FnMut() {
    let name = own("value-made");
    move || {
        let value = Value::create(&name, 1_u64).expect("a value");
        name.unlink().expect("a name");
        drop(value);
    }
}

fn make_queue() -> impl FnMut() {
    let name = own("queue-made");
    move || {
        let queue = Queue::<u64>::create(&name, 100).expect("a queue");
        name.unlink().expect("a name");
        drop(queue);
    }
}

fn read_segment() -> impl FnMut() {
    let segment = Segment::new(SIZE).expect("a segment");
    let mut copy = vec![0; SIZE];
    move || segment.read(0, &mut copy).expect("all bytes")
}
