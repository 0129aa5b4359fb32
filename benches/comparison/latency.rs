//! How long single messages are on their way: not the mean of many, but each of them.

use std::cell::{Cell, RefCell};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use multiproc::{Plain, Queue};

use super::report::{Picture, Row, Section, Unit};
use super::{PYTHON, iceoryx2};
use crate::channels::ends::OurPipe;
use crate::channels::kernel::Kernel;
use crate::channels::mailbox::Mailbox;
use crate::channels::processes::{IpcChannel, Shaq};
use crate::channels::threads::{ArrayQueue, Crossbeam, Kanal, Rtrb};
use crate::channels::{CAPACITY, Channel, Poll, look, watched_exchange};
use crate::support::flags;
use crate::support::peer::{cpus, watchdog};
use crate::support::program::Program;
use crate::support::python::interpreter;

/// How long one turn of a contender takes.
const TURN: Duration = Duration::from_millis(4);

/// Round trips at the beginning of a turn that do not count: the other side was asleep.
const COLD: u32 = 16;

/// What is longer counts as this. Nanoseconds.
const LONGEST: u64 = 10_000_000_000;

/// Longer than it all takes. Seconds.
const WATCHDOG: u32 = 240;

const COLUMNS: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

const TEXT: &str = "Half of a round trip between two pinned processes (or threads), which take the \
    time of each: one look at the clock in a round trip is in all of these, and in the floor. \
    *Spins* means that both sides look for the message and never sleep; the others do what their \
    users get: they wait in the kernel, or spin for a moment first. A virtual machine moves its \
    CPUs about, so × floor is the median of the ratios in the same round, a few milliseconds \
    apart.";

/// Somebody who sends messages, and gets each of them back.
struct Contender {
    name: &'static str,
    /// Does so many round trips, and tells the nanoseconds of each.
    run: Box<dyn FnMut(u64) -> Vec<u64>>,
    turn: u64,
    halves: Histogram<u64>,
    /// The median of each turn.
    medians: Vec<f64>,
}

pub(crate) fn section(rounds: usize) -> Section {
    watchdog(WATCHDOG);
    let mut contenders = contenders();
    contenders.iter_mut().for_each(Contender::calibrate);
    for round in 0..rounds {
        let mut order: Vec<&mut Contender> = contenders.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        order.into_iter().for_each(Contender::measure);
    }
    let floor = contenders[0].medians.clone();
    let rows = contenders.iter().map(|contender| {
        let values = COLUMNS.map(|(_, share)| Some(contender.at(share)));
        let mut row = Row::new(contender.name, values.to_vec());
        row.floors = Some(contender.beside(&floor));
        row
    });
    Section {
        name: "latency",
        title: "One message of 8 bytes, one way",
        text: TEXT,
        unit: Unit::Nanoseconds,
        picture: Picture::Bars(3),
        columns: COLUMNS.map(|(name, _)| name.to_owned()).to_vec(),
        last_unit: None,
        rows: rows.collect(),
    }
}

fn contenders() -> Vec<Contender> {
    let queue = || Queue::builder().codec::<Plain>().bounded::<u64>(CAPACITY).expect("a queue");
    let pipe = || OurPipe::<u64, _>::plain(CAPACITY);
    let spinning = "multiproc Pipe, spins in try_recv";
    let mut all = vec![
        floor("two flags, spins (floor)"),
        spins(spinning, &pipe(), &pipe()),
        sleeps("multiproc Pipe", &pipe(), &pipe()),
        spins("multiproc Queue, spins in try_recv", &queue(), &queue()),
        sleeps("multiproc Queue", &queue(), &queue()),
        sleeps("multiproc Pipe, serde", &OurPipe::<u64, _>::serde(), &OurPipe::serde()),
        spins("shaq, spins", &Shaq::<u64>::new(), &Shaq::new()),
        sleeps("shaq", &Shaq::<u64>::new(), &Shaq::new()),
    ];
    all.extend(program("iceoryx2 publish-subscribe, spins", iceoryx2::command(&["latency-poll"])));
    all.extend(program("iceoryx2, and its events", iceoryx2::command(&["latency-event"])));
    all.extend([
        sleeps("pipe(2)", &Kernel::<u64>::pipe(), &Kernel::pipe()),
        sleeps("Unix socket", &Kernel::<u64>::socket(), &Kernel::socket()),
        sleeps("shared_memory and raw_sync", &Mailbox::<u64>::new(), &Mailbox::new()),
        sleeps("ipc-channel", &IpcChannel::<u64>::new(), &IpcChannel::new()),
    ]);
    all.extend(python("Python Pipe", "pipe"));
    all.extend(python("Python Queue", "queue"));
    all.extend([
        spins("rtrb, threads, spins", &Rtrb::<u64>::of(CAPACITY), &Rtrb::of(CAPACITY)),
        spins("ArrayQueue, threads, spins", &array_queue(), &array_queue()),
        sleeps("crossbeam-channel, threads", &Crossbeam::<u64>::new(), &Crossbeam::new()),
        sleeps("kanal, threads", &Kanal::<u64>::new(), &Kanal::new()),
    ]);
    all
}

fn array_queue() -> ArrayQueue<u64> {
    ArrayQueue::of(CAPACITY)
}

/// Takes the time from each answer to the next.
#[derive(Clone, Default)]
struct Clock(Rc<Times>);

#[derive(Default)]
struct Times {
    before: Cell<Option<Instant>>,
    taken: RefCell<Vec<u64>>,
}

impl Clock {
    fn tell(&self) {
        let now = Instant::now();
        if let Some(before) = self.0.before.replace(Some(now)) {
            self.0.taken.borrow_mut().push((now - before).as_nanos() as u64);
        }
    }

    fn take(&self) -> Vec<u64> {
        self.0.before.take();
        self.0.taken.take()
    }
}

fn floor(name: &'static str) -> Contender {
    let clock = Clock::default();
    let told = clock.clone();
    Contender::new(name, flags(move || told.tell()), clock)
}

/// Waits for messages as users do.
fn sleeps<C: Channel<u64>>(name: &'static str, there: &C, back: &C) -> Contender {
    let clock = Clock::default();
    let told = clock.clone();
    let run = watched_exchange::<u64, C>(there, back, C::receive, move || told.tell());
    Contender::new(name, run, clock)
}

/// Looks for messages, and never sleeps.
fn spins<C: Poll<u64>>(name: &'static str, there: &C, back: &C) -> Contender {
    let clock = Clock::default();
    let told = clock.clone();
    let run = watched_exchange::<u64, C>(there, back, look::<u64, C>, move || told.tell());
    Contender::new(name, run, clock)
}

/// Another program, if there is one, that tells the time of each round trip.
fn program(name: &'static str, command: Option<Command>) -> Option<Contender> {
    Some(Contender::outside(name, Program::start(&mut command?)?))
}

fn python(name: &'static str, how: &str) -> Option<Contender> {
    let (here, there) = cpus().expect("two CPUs");
    let arguments = ["latency", how, &here.to_string(), &there.to_string()].map(str::to_owned);
    Some(Contender::outside(name, interpreter(name, PYTHON, &arguments)?))
}

impl Contender {
    fn new(
        name: &'static str,
        mut run: impl FnMut(u64) -> Duration + 'static,
        clock: Clock,
    ) -> Self {
        let run = move |iterations| {
            run(iterations);
            clock.take()
        };
        Self::of(name, Box::new(run))
    }

    fn outside(name: &'static str, mut program: Program) -> Self {
        let run = move |iterations| program.ask(iterations).expect("an answer of another program");
        Self::of(name, Box::new(run))
    }

    fn of(name: &'static str, run: Box<dyn FnMut(u64) -> Vec<u64>>) -> Self {
        let halves = Histogram::new_with_bounds(1, LONGEST, 3).expect("three digits");
        Self { name, run, turn: 2 * u64::from(COLD), halves, medians: Vec::new() }
    }

    /// Finds out how many round trips take a turn.
    fn calibrate(&mut self) {
        while (self.run)(self.turn).iter().sum::<u64>() < TURN.as_nanos() as u64 {
            self.turn *= 2;
        }
    }

    fn measure(&mut self) {
        let mut times = (self.run)(self.turn).split_off(COLD as usize);
        for time in &times {
            self.halves.saturating_record(time.div_ceil(2));
        }
        let middle = times.len() / 2;
        self.medians.push(*times.select_nth_unstable(middle).1 as f64 / 2.0);
    }

    /// How many times as long as the floor this took: the median of the rounds.
    fn beside(&self, floor: &[f64]) -> f64 {
        let mut ratios: Vec<f64> =
            self.medians.iter().zip(floor).map(|(mine, floor)| mine / floor).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    fn at(&self, share: f64) -> f64 {
        self.halves.value_at_quantile(share) as f64
    }
}
