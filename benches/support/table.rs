//! Contenders, and the tables of those that are measured in turn.

use std::time::{Duration, Instant};

use super::crew::{self, Crew};
use super::{QUICK, is_quick, is_wanted, peer};

/// What a sample takes: thousands of round trips between cores, dozens through the kernel.
pub(super) const SAMPLE: Duration = Duration::from_millis(2);

/// On a crowded machine a table stops after this time, once it has [`ROUNDS_MIN`] rounds.
const BUDGET: Duration = Duration::from_secs(30);

/// Fewer rounds say nothing.
const ROUNDS_MIN: usize = 10;

/// A table that takes longer than this hangs, and the bench is ended with its peers. Seconds.
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
    /// How long a sample takes at the least.
    sample: Duration,
    goals: Vec<Goal>,
    run: Run,
}

/// What a contender is to be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At least so many times as fast as the first one of its table.
    Speed(f64),
    /// At most so many times as slow as the first one of its table.
    Time(f64),
    /// At most so many nanoseconds an operation.
    Nanoseconds(f64),
}

/// What was found out about a contender.
#[derive(Clone)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Nanoseconds an operation: the quartiles.
    pub(crate) times: [f64; 3],
    /// The median of the ratios to the floor, if there was one.
    pub(crate) floors: Option<f64>,
}

enum Run {
    Call(Box<dyn FnMut(u64) -> Duration>),
    Crew(Crew),
}

impl Contender {
    /// One operation an iteration.
    pub(crate) fn new(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self::of(name, SAMPLE, Run::Call(Box::new(run)))
    }

    /// One call an iteration, with the number of the call.
    pub(crate) fn repeat(name: &str, mut one: impl FnMut(u64) + 'static) -> Self {
        Self::new(name, move |iterations| {
            let start = Instant::now();
            (0..iterations).for_each(&mut one);
            start.elapsed()
        })
    }

    /// Two operations an iteration, one in each direction.
    pub(crate) fn round_trip(name: &str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self::new(name, run).of_many(2)
    }

    /// So many operations an iteration.
    pub(crate) fn of_many(self, operations: usize) -> Self {
        Self { operations: operations as f64, ..self }
    }

    /// One message an iteration, through the hands of a crew.
    pub(crate) fn crew(name: &str, crew: Crew) -> Self {
        Self::of(name, crew::SAMPLE, Run::Crew(crew))
    }

    fn of(name: &str, sample: Duration, run: Run) -> Self {
        Self { name: name.to_owned(), operations: 1.0, sample, goals: Vec::new(), run }
    }

    /// States what is hoped for.
    pub(crate) fn aiming_at(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    /// Samples that take at least as long as those of a crew.
    pub(crate) fn long(self) -> Self {
        Self { sample: crew::SAMPLE, ..self }
    }

    fn run(&mut self, iterations: u64) -> Duration {
        match &mut self.run {
            Run::Call(call) => call(iterations),
            Run::Crew(crew) => crew.run(iterations),
        }
    }

    /// Nanoseconds an operation takes, over `iterations`.
    fn sample(&mut self, iterations: u64) -> f64 {
        let time = self.run(iterations).as_secs_f64() * 1e9;
        time / (iterations as f64 * self.operations)
    }

    /// How many iterations make a sample.
    fn calibrate(&mut self) -> u64 {
        let mut iterations = 1;
        // The best of three: one interruption must not make all samples too short.
        while (0..3).any(|_| self.run(iterations) < self.sample) && iterations < 1 << 40 {
            iterations *= 2;
        }
        if let Run::Crew(crew) = &mut self.run {
            crew.forget_sleeps();
        }
        iterations
    }
}

/// A row of a table on its way: the contender, and what was measured.
struct Row {
    contender: Contender,
    iterations: u64,
    /// One sample a round, whatever the weather.
    times: Vec<f64>,
    /// Those of them during which the floor held still.
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

    /// Measures every row `rounds` times in turn, and prints the table if it is wanted.
    pub(crate) fn run(self, rounds: usize) {
        if is_wanted(&self.title) {
            self.measure(rounds);
        }
    }

    /// Measures every row `rounds` times in turn, prints the table, and gives what is in it.
    pub(crate) fn measure(mut self, rounds: usize) -> Vec<Measured> {
        peer::watchdog(WATCHDOG);
        let part = if is_quick() { QUICK } else { 1 };
        let (budget, rounds_min) = (BUDGET / part as u32, ROUNDS_MIN / part);
        for row in self.floor.iter_mut().chain(&mut self.rows) {
            row.iterations = row.contender.calibrate();
        }
        let start = Instant::now();
        let mut done = 0;
        while done < rounds && (done < rounds_min || start.elapsed() < budget) {
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
        let rows = self.floor.iter().chain(&self.rows);
        rows.filter_map(Row::measured).collect()
    }

    fn print(&self, rounds: usize) {
        println!("\n### {}\n", self.title);
        println!("| contender | median | q1 | q3 | per second | × floor | × first | kept |");
        println!("|---|---:|---:|---:|---:|---:|---:|---:|");
        for row in self.floor.iter().chain(&self.rows) {
            row.print(rounds, self.rows.first());
        }
        self.print_goals();
        self.print_sleeps();
        self.print_regimes();
    }

    /// What was hoped for, and what was found in the same rounds.
    fn print_goals(&self) {
        let Some(first) = self.rows.first() else { return };
        for row in &self.rows {
            row.contender.goals.iter().for_each(|goal| row.print_goal(*goal, first));
        }
    }

    /// How often the workers of crews went to sleep: each time cost two or three system calls.
    fn print_sleeps(&self) {
        let crews = self.rows.iter().filter_map(|row| match &row.contender.run {
            Run::Crew(crew) => Some((&row.contender.name, crew.sleeps_per_message())),
            Run::Call(_) => None,
        });
        let words: Vec<String> =
            crews.map(|(name, sleeps)| format!("{name} {:.2}", sleeps * 1e3)).collect();
        if !words.is_empty() {
            println!("\nSleeps in 1000 messages: {}.", words.join("; "));
        }
    }

    fn print_regimes(&self) {
        let Some(floor) = &self.floor else { return };
        let mut from = 0.0;
        println!("\nWhere the floor lay, samples by regime:");
        for (to, name) in REGIMES {
            let count = floor.kept.iter().filter(|time| (from..to).contains(*time)).count();
            println!("- {name}: {count}");
            from = to;
        }
    }
}

impl Row {
    fn new(contender: Contender) -> Self {
        let (times, kept, ratios) = (Vec::new(), Vec::new(), Vec::new());
        Self { contender, iterations: 1, times, kept, ratios }
    }

    fn time(&mut self) -> f64 {
        self.contender.sample(self.iterations)
    }

    fn measure(&mut self, floor: Option<&mut Row>) {
        let Some(floor) = floor else {
            let time = self.time();
            self.times.push(time);
            return self.kept.push(time);
        };
        let before = floor.time();
        let time = self.time();
        let after = floor.time();
        let mean = f64::midpoint(before, after);
        floor.kept.extend([before, after]);
        self.times.push(time);
        if (before - after).abs() <= DRIFT_MAX * before.min(after) {
            self.kept.push(time);
            self.ratios.push(time / mean);
        }
    }

    /// Where the floor never held still, all samples have to do. `None` where there are none.
    fn measured(&self) -> Option<Measured> {
        let name = self.contender.name.clone();
        let times = if self.kept.is_empty() { &self.times } else { &self.kept };
        let times = (!times.is_empty()).then(|| quartiles(times))?;
        let floors = (!self.ratios.is_empty()).then(|| quantile(&self.ratios, 0.5));
        Some(Measured { name, times, floors })
    }

    /// How many times as long as `other` this took, round by round.
    fn beside(&self, other: &Row) -> Vec<f64> {
        self.times.iter().zip(&other.times).map(|(mine, theirs)| mine / theirs).collect()
    }

    fn print_goal(&self, goal: Goal, first: &Row) {
        let times = || self.beside(first);
        let speeds = || times().iter().map(|time| 1.0 / time).collect();
        let name = &first.contender.name;
        let (values, bound, unit) = match goal {
            Goal::Speed(bound) => (speeds(), bound, format!("× the speed of {name}")),
            Goal::Time(bound) => (times(), bound, format!("× the time of {name}")),
            Goal::Nanoseconds(bound) => (self.kept.clone(), bound, "ns".to_owned()),
        };
        let [q1, median, q3] = quartiles(&values);
        let (is_met, sign) = match goal {
            Goal::Speed(_) => (bound <= median, "≥"),
            Goal::Time(_) | Goal::Nanoseconds(_) => (median <= bound, "≤"),
        };
        let name = &self.contender.name;
        let verdict = if is_met { "met" } else { "MISSED" };
        print!("\n{name}: {median:.2} {unit} ({q1:.2} to {q3:.2}); ");
        println!("target {sign} {bound:.2}: {verdict}.");
    }

    /// `first` is the first contender: what the others are held against.
    fn print(&self, rounds: usize, first: Option<&Row>) {
        let name = &self.contender.name;
        if self.kept.is_empty() {
            println!("| {name} | the floor never held still | | | | | | 0/{rounds} |");
            return;
        }
        let middle = |ratios: &[f64]| match ratios {
            [] => String::new(),
            ratios => format!("{:.2}", quantile(ratios, 0.5)),
        };
        let [q1, median, q3] = quartiles(&self.kept);
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {}/{} |",
            human(median),
            human(q1),
            human(q3),
            rate(1e9 / median),
            middle(&self.ratios),
            middle(&first.map_or(Vec::new(), |first| self.beside(first))),
            self.kept.len(),
            rounds.max(self.kept.len()),
        );
    }
}

fn quartiles(values: &[f64]) -> [f64; 3] {
    [0.25, 0.5, 0.75].map(|q| quantile(values, q))
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
