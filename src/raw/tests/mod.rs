//! The harness of the models: counts the executions, prints them, and breaks one step at a time.
//!
//! A model proves nothing until its execution count says so: loom's reduction keeps only the last
//! access to an atomic per thread, so "load, then CAS" hides races of that CAS. Call [`race`]
//! before such an access where the counts stay suspiciously low.

mod chain_sim;
mod death;
mod estate;
mod loom_barrier;
mod loom_bell;
mod loom_blocks;
mod loom_chain;
mod loom_channel;
mod loom_claim;
mod loom_condition;
mod loom_event;
mod loom_frame;
mod loom_lane;
mod loom_line;
mod loom_mutex;
mod loom_ranges;
mod loom_rwlock;
mod loom_semaphore;
mod loom_spsc;
mod loom_stock;
mod loom_swap;
mod loom_swap_recover;
mod loom_twin;
mod loom_wait;
mod loom_wait_many;
mod loom_wide;
mod swap_memory;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering as Std};

use loom::sync::atomic::AtomicUsize as LoomUsize;

/// Explores `body` with at most `preemptions` preemptions an execution and prints the count.
///
/// `MULTIPROC_PREEMPTIONS` overrides the bound, for a deeper look by hand.
pub(crate) fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let bound = std::env::var("MULTIPROC_PREEMPTIONS").ok().and_then(|bound| bound.parse().ok());
    let bound = bound.unwrap_or(preemptions);
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 50_000;
    let start = std::time::Instant::now();
    builder.check(move || {
        counter.fetch_add(1, Std::Relaxed);
        body();
    });
    let executions = executions.load(Std::Relaxed);
    println!("model {name}: {executions} executions, bound {bound}, {:.1?}", start.elapsed());
    assert!(executions > 1, "{name}: one execution proves nothing");
}

/// A common word that makes two threads' next accesses a race in loom's eyes. Synchronises nothing.
pub(crate) fn race(word: &LoomUsize) {
    word.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Runs each `(mutant, test)` in a process of its own and demands that the test fails.
///
/// A mutant is `label/Ordering`, `label/fence`, `label/light`, `label/heavy` or the name given to
/// `shim::mutant`. `test` is the full path of a test of this crate.
pub(crate) fn expect_caught(mutants: &[(&str, &str)]) {
    let survivors: Vec<&str> = mutants
        .iter()
        .filter(|(mutant, test)| survives(mutant, test))
        .map(|(name, _)| *name)
        .collect();
    assert!(survivors.is_empty(), "mutants that no model caught: {survivors:?}");
}

/// Whether the test passes with the mutant.
fn survives(mutant: &str, test: &str) -> bool {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env("MULTIPROC_MUTANT", mutant)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(run.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_result = |line: &String| line.starts_with("test result:");
    let result = said.inspect(|line| assert_ne!(line, "running 0 tests", "no test is {test}"));
    let result = result.into_iter().find(is_result);
    // A model that fails may leave a thread of its own behind that holds a lock of the harness,
    // which then waits for it for ever.
    let _ = run.kill();
    run.wait().unwrap();
    let survives = result.is_some_and(|line| line.starts_with("test result: ok"));
    println!("mutant {mutant}: {}", if survives { "SURVIVED" } else { "caught" });
    survives
}
