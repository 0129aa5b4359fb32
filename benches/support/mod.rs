//! What the benches share: contenders that take turns, a floor beside every sample, tables.
//!
//! On a machine that others use, the same binary is two times faster or slower from one minute to
//! the next. So contenders take turns within each round, forwards and then backwards, and where
//! the cost is core-to-core traffic, a bare flag ping-pong is timed right before and right after
//! each sample. The ratio to that floor is what can be compared between runs and machines.
#![allow(dead_code, unused_imports, reason = "each bench uses a part")]

pub(crate) mod crew;
pub(crate) mod delays;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod peer;
pub(crate) mod program;
pub(crate) mod python;
mod table;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use machine::Machine;
use memory::lines;
use peer::{cpus, with_process};
pub(crate) use table::{Contender, Goal, Measured, Table};

/// `--quick` measures this part of it all.
const QUICK: usize = 5;

/// A flag on one line there, a flag on another line back: no queue can be faster.
pub(crate) fn floor() -> Contender {
    Contender::round_trip("two flags (floor)", flags(|| ()))
}

/// Round trips of two flags, each of which is told.
pub(crate) fn flags(mut told: impl FnMut()) -> impl FnMut(u64) -> Duration {
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
            told();
        }
    };
    with_process(echo, ask)
}

/// `copies` copies of `size` bytes, each into memory of its own.
pub(crate) fn copies(name: &str, size: usize, copies: usize) -> Contender {
    let mut buffers = vec![vec![1_u8; size]; copies + 1];
    Contender::new(name, move |iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            for copy in 0..copies {
                let (from, to) = buffers.split_at_mut(copy + 1);
                to[0].copy_from_slice(black_box(&from[copy]));
            }
            black_box(&mut buffers);
        }
        start.elapsed()
    })
}

/// Says what machine this is, and how many rounds to measure.
///
/// `--quick` measures a fifth. An argument without dashes names the tables that are wanted, by a
/// part of their titles. cargo adds `--bench`, which says nothing here.
pub(crate) fn start(name: &str, rounds: usize) -> usize {
    println!("## {name}\n\n{}.", Machine::this());
    if is_quick() { rounds.div_ceil(QUICK) } else { rounds }
}

/// The folder of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in it")
}

/// Whether to measure a part of it all.
pub(crate) fn is_quick() -> bool {
    is_asked_for("--quick")
}

/// Whether the bench was started with this argument.
pub(crate) fn is_asked_for(argument: &str) -> bool {
    std::env::args().any(|given| given == argument)
}

/// Whether a table of this title was asked for: by its name, or as all of them.
pub(crate) fn is_wanted(title: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|given| !given.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|name| title.contains(&name))
}

/// Keeps this process on one CPU and the peers it will have on another. Ends it if there is none.
pub(crate) fn pin() {
    let (here, there) = two_cpus();
    peer::pin(&[here]);
    println!("Pinned: one side on CPU {here}, the other on CPU {there}.");
}

/// Makes something whose threads and processes are on another CPU than this thread is from then on.
pub(crate) fn away<T>(make: impl FnOnce() -> T) -> T {
    let (here, there) = two_cpus();
    peer::pin(&[there]);
    let made = make();
    peer::pin(&[here]);
    made
}

fn two_cpus() -> (usize, usize) {
    cpus().unwrap_or_else(|| {
        println!("Two CPUs are needed, and this process may use only one.");
        std::process::exit(0);
    })
}
