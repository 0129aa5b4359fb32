//! What is done with locks: taken alone, or against others.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod rivals;
pub(crate) mod signals;

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::Contender;
use crate::support::crew::{Crew, Work};
use crate::support::memory::{Line, lines};
use rivals::Exclusion;

/// Counts up a `Value` of Python's, so often as a line says.
pub(crate) const COUNTER: &str = include_str!("counter.py");

/// So often a worker takes the lock before it looks whether it is enough: seldom enough not to be
/// seen in the time of one.
const TURNS: u64 = 256;

/// More workers than any row has.
const WORKERS_MAX: usize = 16;

/// Row: something done again and again, with nobody else there.
pub(crate) fn alone(name: &str, mut once: impl FnMut() + 'static) -> Contender {
    Contender::repeat(name, move |_| once())
}

/// Row: a lock taken and freed, with nobody else there.
pub(crate) fn uncontended<E: Exclusion>(name: &str) -> Contender {
    let lock = E::new();
    alone(name, move || lock.with(|| ()))
}

/// What is done with the lock in hand, and again without it.
#[derive(Clone, Copy)]
pub(crate) struct Labour(u64);

impl Labour {
    /// Nothing but to count.
    pub(crate) const NONE: Self = Self(0);

    /// As much as takes so long.
    pub(crate) fn of(time: Duration) -> Self {
        static PER_MICROSECOND: OnceLock<u64> = OnceLock::new();
        let steps = *PER_MICROSECOND.get_or_init(|| {
            const STEPS: u64 = 1 << 20;
            let best = (0..5).map(|_| {
                let start = Instant::now();
                Self(STEPS).perform();
                start.elapsed()
            });
            STEPS * 1000 / best.min().expect("five").as_nanos() as u64
        });
        Self(steps * time.as_nanos() as u64 / 1000)
    }

    /// Never inlined, so that it takes as long here as where it was timed.
    #[inline(never)]
    pub(crate) fn perform(self) {
        // Each step needs the one before it, and none of them needs memory, which a CPU may be
        // quick or slow to rename.
        let step = |sum: u64, step: u64| (sum ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        black_box((0..black_box(self.0)).fold(1_u64, step));
    }
}

/// How often each worker of a row got the lock.
#[derive(Clone, Copy)]
pub(crate) struct Shares(&'static [Line; WORKERS_MAX], usize);

impl Shares {
    /// What the least lucky worker got, of what would have been fair.
    pub(crate) fn least(self) -> f64 {
        let turns = || self.0[..self.1].iter().map(Line::get);
        let fair = turns().sum::<u64>() as f64 / self.1 as f64;
        turns().min().expect("workers") as f64 / fair
    }
}

/// Row: so many workers take the lock in turn, and do as much without it as with it. Each goes on
/// until all of them together have done it often enough.
pub(crate) fn contended<E: Exclusion>(
    name: &str,
    workers: usize,
    labour: Labour,
) -> (Contender, Shares) {
    let lock = E::new();
    let counts = lines::<WORKERS_MAX>();
    let [claimed, guarded] = lines();
    let works = counts[..workers].iter().map(|count| {
        let lock = lock.clone();
        let mut goal = 0;
        let work: Work = Box::new(move |turns| {
            goal += turns.next_multiple_of(TURNS);
            while claimed.add(TURNS) < goal {
                for _ in 0..TURNS {
                    lock.with(|| {
                        // Not in one instruction, as only one is here.
                        guarded.set(guarded.get() + 1);
                        labour.perform();
                    });
                    labour.perform();
                }
                count.add(TURNS);
            }
            // Each of them claimed once more than it did.
            goal += workers as u64 * TURNS;
            0
        });
        work
    });
    let works = works.collect();
    let crew = if E::CROSSES {
        Crew::processes(Vec::new(), works)
    } else {
        Crew::threads(Vec::new(), works)
    };
    (Contender::crew(name, crew.race()), Shares(counts, workers))
}
