//! How many system calls a message takes, counted by ptrace(2) in the process that sends one and
//! receives one, again and again, while the other side is on another CPU.
#![allow(unsafe_code, reason = "ptrace")]

use multiproc::{Dict, Lock, Manager, Plain, Queue, Semaphore, Value};

use super::report::{Picture, Row, Section, Unit};
use crate::channels::ends::OurPipe;
use crate::channels::kernel::Kernel;
use crate::channels::mailbox::Mailbox;
use crate::channels::processes::{IpcChannel, Shaq};
use crate::channels::{CAPACITY, Channel, watched_exchange};
use crate::exclusion::rivals::{Exclusion, Pthread, RawSync};
use crate::managers::ours;
use crate::support::away;
use crate::support::memory::{Line, lines};
use crate::support::peer::{Worker, watchdog};

/// What is counted; and as many once more, as the two are subtracted.
const MESSAGES: u64 = 20_000;

/// Longer than it all takes. Seconds.
const WATCHDOG: u32 = 240;

/// Does something so often.
type Work = Box<dyn FnMut(u64)>;

/// Makes that, in the process that is traced.
type Make = fn() -> Work;

const TEXT: &str = "Of the threads of one process, for one operation: a message sent and another \
    one received (8 bytes), or what is named. Counted over 20 000 by ptrace(2), the other side on \
    another CPU. A process that is interrupted meanwhile may have to sleep once or twice.";

pub(crate) fn section() -> Section {
    let rows: [(&str, Make); 12] = [
        ("multiproc Pipe", || {
            exchange(&OurPipe::<u64, _>::plain(CAPACITY), &OurPipe::plain(CAPACITY))
        }),
        ("multiproc Pipe, serde", || exchange(&OurPipe::<u64, _>::serde(), &OurPipe::serde())),
        ("multiproc Queue", || exchange(&queue(), &queue())),
        ("multiproc Lock, Semaphore and Value, in turn", locks),
        ("multiproc Dict in a server, insert", inserts),
        ("shaq", || exchange(&Shaq::<u64>::new(), &Shaq::new())),
        ("pipe(2)", || exchange(&Kernel::<u64>::pipe(), &Kernel::pipe())),
        ("Unix socket", || exchange(&Kernel::<u64>::socket(), &Kernel::socket())),
        ("shared_memory and raw_sync", || exchange(&Mailbox::<u64>::new(), &Mailbox::new())),
        ("ipc-channel", || exchange(&IpcChannel::<u64>::new(), &IpcChannel::new())),
        ("pthread mutex, robust", uncontended::<Pthread<true>>),
        ("raw_sync mutex", uncontended::<RawSync>),
    ];
    watchdog(WATCHDOG);
    let rows = rows.map(|(name, make)| Row::new(name, vec![Some(count(make))]));
    Section {
        name: "calls",
        title: "System calls",
        text: TEXT,
        unit: Unit::Count,
        picture: Picture::Nothing,
        columns: vec!["an operation".to_owned()],
        last_unit: None,
        rows: rows.into(),
    }
}

fn queue() -> Queue<u64, Plain> {
    Queue::builder().codec().bounded(CAPACITY).expect("a queue")
}

/// Each has one process more, which answers every message.
fn exchange<C: Channel<u64>>(there: &C, back: &C) -> Work {
    let mut run = watched_exchange::<u64, C>(there, back, C::receive, || ());
    Box::new(move |messages| {
        run(messages);
    })
}

fn locks() -> Work {
    let lock = Lock::new().expect("a lock");
    let semaphore = Semaphore::new(1).expect("a semaphore");
    let value = Value::new(0_u64).expect("a value");
    Box::new(move |times| {
        for _ in 0..times {
            lock.with(|| ());
            drop(semaphore.acquire().expect("a permit"));
            value.update(|value| *value += 1).expect("a value");
        }
    })
}

fn inserts() -> Work {
    let manager: Manager = away(ours::manager);
    let dict: Dict<u64, u64> = ours::dict(&manager);
    Box::new(move |times| {
        let _manager = &manager;
        (0..times).for_each(|number| ours::insert(&dict, number).expect("a server"));
    })
}

fn uncontended<E: Exclusion>() -> Work {
    let lock = E::new();
    Box::new(move |times| (0..times).for_each(|_| lock.with(|| ())))
}

/// System calls an operation, counted by a process that traces another one.
fn count(make: Make) -> f64 {
    let [stage, calls, twice] = lines();
    let mut tracer = Worker::process(move || {
        let tracee = Worker::process(move || work(make, stage));
        trace(tracee.pid(), stage, [calls, twice]);
    });
    tracer.join();
    // The set-up of a turn is in both.
    (twice.get() as f64 - calls.get() as f64) / MESSAGES as f64
}

/// What is traced: stages 1 and 2 are counted, 3 is the end.
fn work(make: Make, stage: &Line) {
    let mut work = make();
    work(MESSAGES);
    stage.add(1);
    while stage.get() < 2 {
        std::thread::yield_now();
    }
    work(MESSAGES);
    stage.set(3);
    work(2 * MESSAGES);
    stage.set(4);
}

/// Counts the calls of all threads of a process, by the stage that it is in.
fn trace(pid: libc::pid_t, stage: &Line, counts: [&Line; 2]) {
    while stage.get() < 1 {
        std::thread::yield_now();
    }
    seize(pid);
    let mut stops = [0_u64; 2];
    stage.set(2);
    while stage.get() < 4 {
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        let stopped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if stopped < 0 {
            break;
        }
        if !libc::WIFSTOPPED(status) {
            continue;
        }
        // A call stops twice, where it begins and where it ends.
        let is_call = libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80;
        let at = stage.get();
        if is_call && (2..4).contains(&at) {
            stops[at as usize - 2] += 1;
        }
        go_on(stopped, status);
    }
    counts.iter().zip(stops).for_each(|(count, stops)| count.set(stops / 2));
}

/// Stops at each call of this process from now on, and kills it when its tracer ends.
fn seize(pid: libc::pid_t) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process that lives");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACECLONE;
    for thread in threads {
        let name = thread.expect("a thread").file_name();
        let thread: libc::pid_t = name.to_string_lossy().parse().expect("a number");
        // SAFETY: requests that write nothing into this process.
        let done = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, thread, 0, options)
                | libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0)
        };
        assert_eq!(done, 0, "ptrace: {}", std::io::Error::last_os_error());
    }
}

fn go_on(thread: libc::pid_t, status: libc::c_int) {
    let signal = libc::WSTOPSIG(status);
    let is_own = status >> 16 != 0 || signal & 0x7f == libc::SIGTRAP;
    let signal = if is_own { 0 } else { signal };
    // SAFETY: a request that writes nothing into this process. It fails if the thread is dead.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, thread, 0, signal) };
}
