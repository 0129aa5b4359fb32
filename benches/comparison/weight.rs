//! What things weigh that are only there.

use std::fs;

use multiproc::{Barrier, Condition, Event, Lock, Manager, Pipe, Plain, Process, Queue};
use multiproc::{Semaphore, StartMethod, Value};
use raw_sync::locks::{LockInit, Mutex as RawSyncMutex};
use shared_memory::ShmemConf;

use super::report::{Picture, Row, Section, Unit};
use crate::births::PYTHON_CHILD;
use crate::managers::ours;
use crate::support::program::Program;

/// So many, for the cost of one.
const COUNT: usize = 500;

pub(crate) fn objects() -> Section {
    let queue = |capacity| move || Queue::builder().codec::<Plain>().bounded::<u64>(capacity);
    let manager = ours::manager();
    let server = manager.pid();
    let rows = vec![
        row("multiproc Lock", || Lock::new().expect("a lock")),
        row("multiproc Semaphore", || Semaphore::new(1).expect("a semaphore")),
        row("multiproc Event", || Event::new().expect("an event")),
        row("multiproc Condition", || Condition::new().expect("a condition")),
        row("multiproc Barrier", || Barrier::new(2).expect("a barrier")),
        row("multiproc Value<u64>", || Value::new(0_u64).expect("a value")),
        row("multiproc Pipe of u64, both ends", || {
            Pipe::builder().plain().duplex::<u64, u64>().expect("a pipe")
        }),
        row("multiproc Pipe, serde, both ends", || Pipe::duplex::<u64, u64>().expect("a pipe")),
        row("multiproc Queue of 16 u64", move || queue(16)().expect("a queue")),
        row("multiproc Queue of 1024 u64", move || queue(1024)().expect("a queue")),
        row("multiproc Queue of 16, serde", || Queue::<u64>::bounded(16).expect("a queue")),
        hosted("multiproc, a hosted u64 and its proxy", &manager, server),
        row("pipe(2)", || std::io::pipe().expect("a pipe")),
        row("ipc-channel", || ipc_channel::ipc::channel::<u64>().expect("an ipc-channel")),
        row("shared_memory with a mutex of raw_sync", || {
            let size = RawSyncMutex::size_of(None);
            let memory = ShmemConf::new().size(size).create().expect("a segment");
            touch(&memory);
            memory
        }),
    ];
    Section {
        name: "objects-memory",
        title: "Memory and file descriptors of an object",
        text: "Of 500 of them, in the process that made them and has them (and in the server): \
            what memory it has more of (its part of shared pages), and how many descriptors. What \
            the kernel has for a pipe of its own is not in it.",
        unit: Unit::Bytes,
        picture: Picture::Nothing,
        columns: vec!["memory".to_owned(), "descriptors".to_owned()],
        last_unit: Some(Unit::Count),
        rows,
    }
}

#[allow(unsafe_code, reason = "its pages are there when they are written")]
fn touch(memory: &shared_memory::Shmem) {
    // SAFETY: a byte of memory just made, which nobody else knows.
    unsafe { memory.as_ptr().write_volatile(1) };
}

fn row<T>(name: &str, make: impl Fn() -> T) -> Row {
    let warm = make();
    let (memory, files) = (pss(std::process::id()), descriptors());
    let objects: Vec<T> = (0..COUNT).map(|_| make()).collect();
    let memory = (pss(std::process::id()) - memory) / COUNT as f64;
    let files = (descriptors() - files) as f64 / COUNT as f64;
    drop((objects, warm));
    Row::new(name, vec![Some(memory.max(0.0)), Some(files)])
}

fn hosted(name: &str, manager: &Manager, server: u32) -> Row {
    let warm: Vec<_> = (0..COUNT as u64).map(|number| manager.host(number)).collect();
    let both = || pss(std::process::id()) + pss(server);
    let (memory, files) = (both(), descriptors());
    let objects: Vec<_> = (0..COUNT as u64).map(|number| manager.host(number)).collect();
    assert!(objects.iter().chain(&warm).all(Result::is_ok));
    let memory = (both() - memory) / COUNT as f64;
    let files = (descriptors() - files) as f64 / COUNT as f64;
    Row::new(name, vec![Some(memory.max(0.0)), Some(files)])
}

/// Children that do nothing but wait.
pub(crate) fn children() -> Section {
    let wait = |child: &Process<()>| pss(child.pid());
    let child = |method| {
        let (end, other) = Pipe::duplex::<u64, u64>().expect("a pipe");
        let builder = Process::builder().start_method(method);
        let child = builder.spawn(linger, other).expect("a process");
        let mut end = end;
        end.recv().expect("a word of the child's");
        (child, end)
    };
    let mut rows = Vec::new();
    for (name, method) in [
        ("multiproc, fork server", StartMethod::ForkServer),
        ("multiproc, exec", StartMethod::Spawn),
    ] {
        let (child, end) = child(method);
        rows.push(Row::new(name, vec![Some(wait(&child))]));
        drop(end);
        child.join().expect("an end in peace");
    }
    rows.push(procspawn());
    for method in ["fork", "forkserver", "spawn"] {
        rows.extend(python(method));
    }
    Section {
        name: "children-memory",
        title: "Memory of a child that waits",
        text: "What a process takes that has been called and does nothing: all that is its own, \
            and its part of what it shares.",
        unit: Unit::Bytes,
        picture: Picture::Bars(1),
        columns: vec!["memory".to_owned()],
        last_unit: None,
        rows,
    }
}

fn linger(mut end: multiproc::Connection<u64, u64>) {
    end.send(1).expect("somebody who listens");
    let _ = end.recv();
}

fn procspawn() -> Row {
    let folder = tempfile::tempdir().expect("a folder");
    let sign = folder.path().join("here");
    let mut child = procspawn::spawn(sign.clone(), |sign| {
        std::fs::write(sign, "").expect("a place to write");
        wait_for_the_end();
    });
    while !sign.exists() {
        std::thread::yield_now();
    }
    let weight = pss(child.pid().expect("a process"));
    child.kill().expect("a process");
    Row::new("procspawn", vec![Some(weight)])
}

fn wait_for_the_end() {
    loop {
        std::thread::park();
    }
}

/// The script says the number of its child for a number of nanoseconds.
fn python(method: &str) -> Option<Row> {
    let mut command = std::process::Command::new("python3");
    let mut script = Program::start(command.args([PYTHON_CHILD, method]))?;
    let child = script.ask(1)?[0];
    Some(Row::new(&format!("Python, {method}"), vec![Some(pss(child as u32))]))
}

/// The memory of a process, shared pages divided by those who map them. Bytes.
fn pss(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a sum");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
    kib.expect("a number") * 1024.0
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc").count()
}
