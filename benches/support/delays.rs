//! Delays that are too rare for samples: each of them is caused and timed on its own.

use std::time::Duration;

use super::peer::watchdog;

/// Fewer delays say nothing.
const COUNT_MIN: usize = 30;

/// Longer than all delays of a table take. Seconds.
const WATCHDOG: u32 = 240;

/// A table of delays, printed row by row.
pub(crate) struct Delays {
    rounds: usize,
}

impl Delays {
    /// Prints the head of a table, whose delays they are, of which there are so many each.
    pub(crate) fn new(title: &str, whose: &str, rounds: usize) -> Self {
        watchdog(WATCHDOG);
        println!("\n### {title}\n");
        println!("| {whose} | p50 | p99 | longest | of |");
        println!("|---|---:|---:|---:|---:|");
        Self { rounds: rounds.max(COUNT_MIN) }
    }

    /// Causes a delay again and again, and prints what it was.
    pub(crate) fn row(self, name: &str, delay: impl Fn() -> Duration) -> Self {
        let mut times: Vec<Duration> = (0..self.rounds).map(|_| delay()).collect();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let [middle, most, longest] = [0.5, 0.99, 1.0].map(at);
        println!("| {name} | {middle:.2?} | {most:.2?} | {longest:.2?} | {} |", times.len());
        self
    }
}
