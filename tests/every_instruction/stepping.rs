//! Runs an operation in a child, one instruction at a time, and kills it after so many.
//!
//! The child says where its operation begins and ends by a breakpoint instruction.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "a breakpoint is an instruction"
)]

use std::cell::Cell;
use std::fmt;
use std::time::Instant;

use multiproc::{Connection, Nothing, Pipe, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{next, open_fds, seed, storms, wait_until_asleep, watchdog};
use crate::tracing::{Tracee, stay_on_one_cpu};

/// So many points of each operation are tried, evenly over its length, if not all.
const POINTS: usize = 10;

/// So many instructions are stepped through for one operation, if not all: fewer points of a long
/// one.
const STEPS: usize = 20_000;

/// Of an operation that is longer than this, only so much is tried, if not all.
const LENGTH: usize = 30_000;

/// As many where all points are wanted: some thousand points of the longest ones.
const MANY_STEPS: usize = 2_000_000;

/// So much more there may be at the end than after the first points: the newest arena is kept.
const KEPT: usize = 2;

/// What the child waits for before it begins.
pub(crate) type Gate = Connection<Nothing, ()>;

/// By which another survivor says that it begins.
pub(crate) type Say = Connection<(), Nothing>;

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
pub(crate) fn breakpoint() {
    unsafe { std::arch::asm!("int3") };
}

/// Runs the trial of an operation in a process of its own, whose fds and mappings are counted.
pub(crate) fn alone(test: &'static str, body: fn(())) {
    if let Err(error) = Process::builder().name(test).spawn(body, ()).unwrap().join() {
        panic!("{test}: {error}");
    }
}

/// Another survivor: a process that has said that it begins, and sleeps.
pub(crate) fn sibling<A, R>(f: fn((A, Say)) -> R, argument: A) -> Process<R>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let (say, mut hear) = Pipe::simplex::<()>().unwrap();
    let process = Process::spawn(f, (argument, say)).unwrap();
    hear.recv().unwrap();
    wait_until_asleep(process.pid());
    process
}

/// What another survivor waits for, who is to come while the victim has something.
#[derive(Serialize, serde::Deserialize)]
pub(crate) struct Cue(Connection<Nothing, ()>, Say);

/// Has the other survivor come.
#[derive(Serialize, serde::Deserialize)]
pub(crate) struct Call(Connection<(), Nothing>, Connection<Nothing, ()>, u32);

impl Cue {
    /// Waits until it is time to go to sleep.
    pub(crate) fn wait(mut self) {
        self.0.recv().unwrap();
        self.1.send(()).unwrap();
    }
}

impl Call {
    /// Returns when the other one sleeps, and waits for what it came for.
    pub(crate) fn make(self) {
        let pid = self.2;
        self.tell();
        wait_until_asleep(pid);
    }

    /// Returns when the other one comes, which may have no reason to wait.
    pub(crate) fn tell(mut self) {
        self.0.send(()).unwrap();
        self.1.recv().unwrap();
    }
}

/// Another survivor, and what makes it come.
pub(crate) fn latecomer<A, R>(f: fn((A, Cue)) -> R, argument: A) -> (Call, Process<R>)
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let ((tell, told), (say, hear)) = (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
    let process = Process::spawn(f, (argument, Cue(told, say))).unwrap();
    (Call(tell, hear, process.pid()), process)
}

/// An operation, and those who survive it.
pub(crate) struct Operation<V, S> {
    name: &'static str,
    make: fn() -> (V, S),
    victim: fn((V, Gate)),
    check: fn(S, Fate),
    wake: Option<fn(&mut S)>,
}

/// When to kill.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// After so many instructions.
    After(usize),
    /// When it sleeps.
    Asleep,
    /// When it was woken, before it knows.
    Woken,
}

/// What became of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Killed after so many instructions.
    Killed(usize),
    /// Killed in a system call where it slept, after so many instructions.
    Asleep(usize),
    /// Killed there when it had been woken, and did not know yet.
    Woken(usize),
    /// It had done all of them.
    Done(usize),
}

impl Fate {
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }

    fn steps(self) -> usize {
        match self {
            Self::Killed(steps) | Self::Asleep(steps) | Self::Woken(steps) | Self::Done(steps) => {
                steps
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(steps) => write!(f, "killed after {steps} instructions"),
            Self::Asleep(steps) => write!(f, "killed asleep after {steps} instructions"),
            Self::Woken(steps) => write!(f, "killed as it woke after {steps} instructions"),
            Self::Done(steps) => write!(f, "not killed, after {steps} instructions"),
        }
    }
}

/// Says on a panic at which point of which operation it happened.
pub(crate) struct Where {
    name: &'static str,
    fate: Cell<Option<Fate>>,
}

impl Where {
    pub(crate) fn is(&self, fate: Fate) {
        self.fate.set(Some(fate));
    }
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
    /// `make` makes what the victim gets, and what the survivors keep. `victim`, in the child,
    /// calls [`begin`], does it, and calls [`end`]. `check` looks whether all is well.
    pub(crate) fn new(
        name: &'static str,
        make: fn() -> (V, S),
        victim: fn((V, Gate)),
        check: fn(S, Fate),
    ) -> Self {
        Self { name, make, victim, check, wake: None }
    }

    /// What the survivors do when the victim sleeps, so that it goes on. Without that its sleep is
    /// the last point.
    pub(crate) fn woken_by(self, wake: fn(&mut S)) -> Self {
        Self { wake: Some(wake), ..self }
    }

    /// Tries the operation at as many points as time allows, or at all: `MULTIPROC_STEPS=all`.
    pub(crate) fn try_all(&self) {
        try_points(self.name, self.wake.is_some(), |point, at| {
            let (theirs, mut ours) = (self.make)();
            let (mut open, gate) = Pipe::simplex::<()>().unwrap();
            let process = Process::spawn(self.victim, (theirs, gate)).unwrap();
            let tracee = Tracee::seize(process.pid())?;
            open.send(()).unwrap();
            let fate = tracee.step(point, || self.wake.map(|wake| wake(&mut ours)).is_some());
            at.is(fate);
            let _ = process.join();
            (self.check)(ours, fate);
            Some(fate)
        });
    }
}

/// Tries one operation at its points: `attempt` runs it up to one of them, and looks whether all is
/// well. It gives nothing where it may not trace.
pub(crate) fn try_points(
    name: &'static str,
    is_woken: bool,
    mut attempt: impl FnMut(Point, &Where) -> Option<Fate>,
) {
    let began = Instant::now();
    stay_on_one_cpu(0);
    let at = Where { name, fate: Cell::new(None) };
    let mut attempt = |point| {
        let _watchdog = watchdog(name);
        at.fate.set(None);
        attempt(point, &at)
    };
    let Some(whole) = attempt(Point::After(if is_all() { usize::MAX } else { LENGTH })) else {
        println!("{name}: skipped, as this process may not trace");
        return;
    };
    let length = whole.steps();
    let asleep = if is_woken { &[Point::Asleep, Point::Woken][..] } else { &[Point::Asleep] };
    let sleeps = is_woken || matches!(whole, Fate::Asleep(_));
    let asleep = if sleeps && length < LENGTH { asleep } else { &[] };
    let mut before = None;
    let mut tried = 1;
    for point in asleep.iter().copied().chain(points(length)) {
        // The way is not of the same length each time.
        attempt(point).unwrap();
        tried += 1;
        if tried == 4 {
            before = Some((open_fds(), memories()));
        }
    }
    let (fds, memories) = (open_fds(), memories());
    if let Some((fds_before, memories_before)) = before {
        assert!(fds <= fds_before + KEPT, "{name}: {fds} fds, {fds_before} before");
        let is_flat = memories <= memories_before + KEPT;
        assert!(is_flat, "{name}: {memories} segments mapped, {memories_before} before");
    }
    let end = match whole {
        Fate::Done(_) => "",
        Fate::Asleep(_) => " until it sleeps",
        Fate::Killed(_) | Fate::Woken(_) => " and more",
    };
    let time = began.elapsed();
    println!("{name}: {tried} points of {length} instructions{end}, {time:.1?}");
}

/// How many segments are mapped.
fn memories() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

fn is_all() -> bool {
    std::env::var("MULTIPROC_STEPS").is_ok_and(|steps| steps == "all")
}

/// After how many instructions to kill.
fn points(length: usize) -> impl Iterator<Item = Point> {
    let (most, steps) = if is_all() { (usize::MAX, MANY_STEPS) } else { (POINTS, STEPS) };
    let affordable = (2 * steps / length.max(1)).max(3);
    let count = most.min(affordable).saturating_mul(storms()).min(length);
    let mut random = seed();
    (0..count).map(move |part| {
        let (from, to) = (part * length / count, (part + 1) * length / count);
        Point::After(from + next(&mut random) as usize % (to - from))
    })
}
