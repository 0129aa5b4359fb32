//! What the benches share: contenders that take turns, a floor beside every sample, tables.
//!
//! On a machine that others use, the same binary is two times faster or slower from one minute to
//! the next. So contenders take turns within each round, forwards and then backwards, and where
//! the cost is core-to-core traffic, a bare flag ping-pong is timed right before and right after
//! each sample. The ratio to that floor is what can be compared between runs and machines.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod memory;
pub(crate) mod peer;

use std::time::{Duration, Instant};

use memory::lines;
use peer::{cpus, with_process};

/// What a sample takes: thousands of round trips between cores, dozens through the kernel.
const SAMPLE: Duration = Duration::from_millis(2);

/// On a crowded machine a table stops after this time, once it has [`ROUNDS_MIN`] rounds.
const BUDGET: Duration = Duration::from_secs(30);

/// Fewer rounds say nothing.
const ROUNDS_MIN: usize = 10;

/// A bench that takes longer than this hangs, and is ended with its peers. Seconds.
const WATCHDOG: u32 = 240;

/// Two looks at the floor that differ by more were not taken in the same weather.
const DRIFT_MAX: f64 = 0.15;

/// Upper ends of the regimes of one hop between two cores, in nanoseconds, and their names.
const REGIMES: [(f64, &str); 3] =
    [(35.0, "two threads of one core"), (120.0, "cores that share a cache"), (f64::MAX, "farther")];

/// Something to be timed: a name, and how long so many iterations of it take.
pub(crate) struct Contender {
    name: String,
    /// How often one iteration does what the table counts.
    operations: f64,
    run: Box<dyn FnMut(u64) -> Duration>,
}

impl Contender {
    /// One operation an iteration.
    pub(crate) fn new(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name: name.to_owned(), operations: 1.0, run: Box::new(run) }
    }

    /// Two operations an iteration, one in each direction.
    pub(crate) fn round_trip(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { operations: 2.0, ..Self::new(name, run) }
    }

    /// Nanoseconds an operation takes, over `iterations`.
    fn sample(&mut self, iterations: u64) -> f64 {
        let time = (self.run)(iterations).as_secs_f64() * 1e9;
        time / (iterations as f64 * self.operations)
    }

    /// How many iterations make a sample.
    fn calibrate(&mut self) -> u64 {
        let mut iterations = 1;
        // The best of three: one interruption must not make all samples too short.
        while (0..3).any(|_| (self.run)(iterations) < SAMPLE) && iterations < 1 << 40 {
            iterations *= 2;
        }
        iterations
    }
}

/// A row of a table on its way: the contender, and what was measured.
struct Row {
    contender: Contender,
    iterations: u64,
    kept: Vec<f64>,
    ratios: Vec<f64>,
}

/// Contenders that are measured together, and the floor under them if they have one.
pub(crate) struct Table {
    title: String,
    floor: Option<Row>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), floor: None, rows: Vec::new() }
    }

    /// Times `floor` before and after each sample of every other row.
    pub(crate) fn over(mut self, floor: Contender) -> Self {
        self.floor = Some(Row::new(floor));
        self
    }

    /// Adds a contender, if there is one.
    pub(crate) fn row(mut self, contender: impl Into<Option<Contender>>) -> Self {
        self.rows.extend(contender.into().map(Row::new));
        self
    }

    /// Measures every row `rounds` times in turn, and prints the table.
    pub(crate) fn run(mut self, rounds: usize) {
        for row in self.floor.iter_mut().chain(&mut self.rows) {
            row.iterations = row.contender.calibrate();
        }
        let start = Instant::now();
        let mut done = 0;
        while done < rounds && (done < ROUNDS_MIN || start.elapsed() < BUDGET) {
            let mut order: Vec<&mut Row> = self.rows.iter_mut().collect();
            if done % 2 == 1 {
                order.reverse();
            }
            for row in order {
                row.measure(self.floor.as_mut());
            }
            if let Some(floor) = self.floor.as_mut().filter(|_| self.rows.is_empty()) {
                floor.measure(None);
            }
            done += 1;
        }
        self.print(done);
    }

    fn print(&self, rounds: usize) {
        println!("\n### {}\n", self.title);
        println!("| contender | median | p90 | MAD | per second | × floor | × first | kept |");
        println!("|---|---:|---:|---:|---:|---:|---:|---:|");
        let first = self.rows.first().and_then(Row::median);
        for row in self.floor.iter().chain(&self.rows) {
            row.print(rounds, first);
        }
        if let Some(floor) = &self.floor {
            let mut from = 0.0;
            println!("\nWhere the floor lay, samples by regime:");
            for (to, name) in REGIMES {
                let count = floor.kept.iter().filter(|time| (from..to).contains(*time)).count();
                println!("- {name}: {count}");
                from = to;
            }
        }
    }
}

impl Row {
    fn new(contender: Contender) -> Self {
        Self { contender, iterations: 1, kept: Vec::new(), ratios: Vec::new() }
    }

    fn time(&mut self) -> f64 {
        self.contender.sample(self.iterations)
    }

    fn measure(&mut self, floor: Option<&mut Row>) {
        let Some(floor) = floor else {
            let time = self.time();
            return self.kept.push(time);
        };
        let before = floor.time();
        let time = self.time();
        let after = floor.time();
        let mean = f64::midpoint(before, after);
        floor.kept.extend([before, after]);
        if (before - after).abs() <= DRIFT_MAX * before.min(after) {
            self.kept.push(time);
            self.ratios.push(time / mean);
        }
    }

    fn median(&self) -> Option<f64> {
        (!self.kept.is_empty()).then(|| quantile(&self.kept, 0.5))
    }

    /// `first` is the median of the first contender: what the others are held against.
    fn print(&self, rounds: usize, first: Option<f64>) {
        let name = &self.contender.name;
        let Some(median) = self.median() else {
            println!("| {name} | the floor never held still | | | | | | 0/{rounds} |");
            return;
        };
        let deviations: Vec<f64> = self.kept.iter().map(|time| (time - median).abs()).collect();
        let ratio = match self.ratios.as_slice() {
            [] => String::new(),
            ratios => format!("{:.2}", quantile(ratios, 0.5)),
        };
        println!(
            "| {name} | {} | {} | {} | {} | {ratio} | {} | {}/{} |",
            human(median),
            human(quantile(&self.kept, 0.9)),
            human(quantile(&deviations, 0.5)),
            rate(1e9 / median),
            first.map_or(String::new(), |first| format!("{:.2}", median / first)),
            self.kept.len(),
            rounds.max(self.kept.len()),
        );
    }
}

/// What share `q` of the values does not exceed.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

fn human(nanoseconds: f64) -> String {
    match nanoseconds {
        t if t < 1e3 => format!("{t:.2} ns"),
        t if t < 1e6 => format!("{:.2} µs", t / 1e3),
        t => format!("{:.2} ms", t / 1e6),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 1e3 => format!("{r:.0}"),
        r if r < 1e6 => format!("{:.1} k", r / 1e3),
        r => format!("{:.1} M", r / 1e6),
    }
}

/// A flag on one line there, a flag on another line back: no queue can be faster.
pub(crate) fn floor() -> Contender {
    let [there, back] = lines();
    let (mut sent, mut seen) = (0, 0);
    let echo = move |iterations| {
        for _ in 0..iterations {
            seen += 1;
            there.wait_for(seen);
            back.set(seen);
        }
    };
    let ask = move |iterations| {
        for _ in 0..iterations {
            sent += 1;
            there.set(sent);
            back.wait_for(sent);
        }
    };
    Contender::round_trip("two flags (floor)", with_process(echo, ask))
}

/// Arms the watchdog, says what machine this is, and how many rounds to measure.
///
/// `--quick` measures a fifth. cargo adds `--bench`, which says nothing here.
pub(crate) fn start(name: &str, rounds: usize) -> usize {
    peer::watchdog(WATCHDOG);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cpu = cpu.trim_start_matches([' ', '\t', ':']);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("## {name}\n\n{cpu}, Linux {}; samples of {SAMPLE:?}.", kernel.trim());
    let quick = std::env::args().any(|argument| argument == "--quick");
    if quick { rounds.div_ceil(5) } else { rounds }
}

/// Keeps this process on one CPU and the peers it will have on another. Ends it if there is none.
pub(crate) fn pin() {
    let Some((here, there)) = cpus() else {
        println!("Two CPUs are needed, and this process may use only one.");
        std::process::exit(0);
    };
    peer::pin(here);
    println!("Pinned: one side on CPU {here}, the other on CPU {there}.");
}
