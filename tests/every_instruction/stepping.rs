//! Runs an operation in a child, one instruction at a time, and kills it after so many.
//!
//! The child says where its operation begins and ends by a breakpoint instruction. This thread
//! traces it (ptrace(2)), on the same CPU, so that a step costs two switches and no more.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use multiproc::{Connection, Nothing, Pipe, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{next, seed, storms, watchdog};

/// A child that has not come to its next stop for so long is asleep.
const ASLEEP: Duration = Duration::from_millis(20);

/// So many points of each operation are tried, evenly over its length, if not all.
const POINTS: usize = 60;

/// What the child waits for before it begins.
pub(crate) type Gate = Connection<Nothing, ()>;

/// Where the child's operation begins: from here on it may be killed.
#[inline(never)]
pub(crate) fn begin(mut gate: Gate) {
    gate.recv().unwrap();
    // Neither the gate's death nor its memory is what is tried.
    std::mem::forget(gate);
    breakpoint();
}

/// Where the child's operation ends.
#[inline(always)]
pub(crate) fn end() {
    breakpoint();
    // What comes behind it is not tried.
    unsafe { libc::_exit(0) };
}

#[inline(always)]
fn breakpoint() {
    unsafe { std::arch::asm!("int3") };
}

/// An operation, and those who survive it.
pub(crate) struct Operation<V, S> {
    pub(crate) name: &'static str,
    /// Makes what the victim gets, and what the survivors keep.
    pub(crate) make: fn() -> (V, S),
    /// In the child: calls [`begin`], does it, calls [`end`].
    pub(crate) victim: fn((V, Gate)),
    /// Looks whether all is well. Whether the victim came to the end.
    pub(crate) check: fn(S, Fate),
}

/// What became of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Killed after so many instructions.
    Killed(usize),
    /// Killed in a system call where it slept, after so many instructions.
    Asleep(usize),
    /// It had done all of them.
    Done(usize),
}

impl Fate {
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }

    fn steps(self) -> usize {
        match self {
            Self::Killed(steps) | Self::Asleep(steps) | Self::Done(steps) => steps,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(steps) => write!(f, "killed after {steps} instructions"),
            Self::Asleep(steps) => write!(f, "killed asleep after {steps} instructions"),
            Self::Done(steps) => write!(f, "not killed, after {steps} instructions"),
        }
    }
}

/// Says on a panic at which point of which operation it happened.
struct Where {
    name: &'static str,
    fate: Cell<Option<Fate>>,
}

impl Drop for Where {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(fate) = self.fate.get()
        {
            eprintln!("{}: the victim was {fate}", self.name);
        }
    }
}

impl<V, S> Operation<V, S>
where
    V: Serialize + DeserializeOwned + 'static,
{
    /// Tries the operation at as many points as time allows, or at all: `MULTIPROC_STEPS=all`.
    pub(crate) fn try_all(&self) {
        let _watchdog = watchdog(self.name);
        let began = Instant::now();
        stay_on_one_cpu(0);
        let at = Where { name: self.name, fate: Cell::new(None) };
        let length = self.try_at(usize::MAX, &at).steps();
        let mut tried = 1;
        for point in points(length) {
            // The way is not of the same length each time.
            self.try_at(point, &at);
            tried += 1;
        }
        let name = self.name;
        println!("{name}: {tried} points of {length} instructions, {:.1?}", began.elapsed());
    }

    fn try_at(&self, point: usize, at: &Where) -> Fate {
        at.fate.set(None);
        let (theirs, ours) = (self.make)();
        let (mut open, gate) = Pipe::simplex::<()>().unwrap();
        let process = Process::spawn(self.victim, (theirs, gate)).unwrap();
        let tracee = Tracee::seize(process.pid());
        open.send(()).unwrap();
        let fate = tracee.step(point);
        at.fate.set(Some(fate));
        let _ = process.join();
        (self.check)(ours, fate);
        fate
    }
}

/// After how many instructions to kill.
fn points(length: usize) -> Vec<usize> {
    if std::env::var("MULTIPROC_STEPS").is_ok_and(|steps| steps == "all") {
        return (0..length).collect();
    }
    let count = (POINTS * storms()).min(length);
    let mut random = seed();
    let mut within = |part: usize| {
        let (from, to) = (part * length / count, (part + 1) * length / count);
        from + next(&mut random) as usize % (to - from)
    };
    (0..count).map(&mut within).collect()
}

/// A process that this thread traces.
struct Tracee {
    pid: i32,
}

enum Stop {
    Breakpoint,
    Step,
    Asleep,
    Gone,
}

impl Tracee {
    fn seize(pid: u32) -> Self {
        let tracee = Self { pid: pid as i32 };
        stay_on_one_cpu(tracee.pid);
        tracee.ask(libc::PTRACE_SEIZE).unwrap();
        tracee
    }

    /// Goes to the beginning, and then so many steps; kills it there.
    fn step(self, point: usize) -> Fate {
        assert!(matches!(self.wait(Duration::from_secs(30)), Stop::Breakpoint), "no beginning");
        for steps in 0..point {
            self.ask(libc::PTRACE_SINGLESTEP).unwrap();
            match self.wait(ASLEEP) {
                Stop::Step => {}
                Stop::Breakpoint => {
                    self.ask(libc::PTRACE_DETACH).unwrap();
                    return Fate::Done(steps);
                }
                Stop::Asleep => {
                    self.kill();
                    return Fate::Asleep(steps);
                }
                Stop::Gone => panic!("the victim ended by itself after {steps} instructions"),
            }
        }
        self.kill();
        Fate::Killed(point)
    }

    fn ask(&self, request: libc::c_uint) -> io::Result<()> {
        let done = unsafe { libc::ptrace(request, self.pid, 0, 0) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn kill(&self) {
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
    }

    /// Waits for the next stop.
    fn wait(&self, patience: Duration) -> Stop {
        let mut began = None;
        loop {
            let mut status = 0;
            let flags = libc::__WALL | libc::WNOHANG;
            let waited = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
            if waited == self.pid {
                return self.stop_of(status);
            }
            assert_eq!(waited, 0, "{}", io::Error::last_os_error());
            std::thread::yield_now();
            let began = began.get_or_insert_with(Instant::now);
            if began.elapsed() > patience {
                return Stop::Asleep;
            }
        }
    }

    fn stop_of(&self, status: i32) -> Stop {
        if !libc::WIFSTOPPED(status) {
            return Stop::Gone;
        }
        if libc::WSTOPSIG(status) != libc::SIGTRAP {
            panic!("the victim had signal {}", libc::WSTOPSIG(status));
        }
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let at = info.as_mut_ptr();
        let done = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid, 0, at) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        let is_breakpoint = unsafe { info.assume_init() }.si_code == libc::SI_KERNEL;
        if is_breakpoint { Stop::Breakpoint } else { Stop::Step }
    }
}

/// Keeps a thread, or this one (0), on the CPU on which this one is.
fn stay_on_one_cpu(thread: i32) {
    let cpu = unsafe { libc::sched_getcpu() };
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    unsafe {
        libc::CPU_SET(cpu as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(thread, size_of_val(&set), &raw const set), 0);
    }
}
