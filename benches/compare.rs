//! This crate beside others, in one run: pipes, queues, locks, processes, pools, servers.
//!
//! ```sh
//! cargo bench --bench compare                # eight minutes; less for a section that is named
//! cargo bench --bench compare -- --quick     # less of everything, in less than two minutes
//! cargo bench --bench compare -- --save      # into benches/results, where README has it from
//! ```
//!
//! What is found is printed, and written with pictures into `target/compare`.

mod births;
mod channels;
mod comparison;
mod exclusion;
mod managers;
mod support;
mod tasks;

use comparison::report::Report;
use comparison::{calls, growth, latency, sizes, tables, weight};
use support::{is_asked_for, is_wanted, pin, root, start};

/// How often each contender is measured.
const ROUNDS: usize = 50;

/// Where processes are made, or there are more of them than CPUs, which takes longer.
const FEW: usize = 25;

fn main() {
    births::init();
    // As long as nobody is pinned.
    support::peer::all_cpus();
    comparison::iceoryx2::program();
    let rounds = start("compare", ROUNDS);
    let few = rounds.min(FEW);
    // First, as long as there is little else in this process.
    let mut report = Report::new(&command());
    let wanted = |name: &str| is_wanted(name);
    let spawn = wanted("spawn").then(|| tables::spawns(few));
    let (mut memory, mut children) = (None, None);
    if wanted("memory") {
        memory = Some(weight::objects());
        children = Some(weight::children());
    }
    pin();
    if wanted("latency") {
        report.add(latency::section(rounds * 2));
    }
    if wanted("throughput") {
        report.add(tables::throughput(few));
    }
    if wanted("calls") {
        report.add(calls::section());
    }
    if wanted("sizes") {
        report.add(sizes::section(few));
    }
    if wanted("processes") {
        report.add(growth::processes(few));
    }
    if wanted("capacity") {
        report.add(growth::capacities(few));
    }
    if wanted("locks") {
        report.add(tables::alone_with_locks(rounds));
        report.add(tables::two_with_locks(few));
        report.add(tables::hand_overs(rounds));
        report.add(growth::crowds(tables::labour(), few));
    }
    report.add(spawn);
    if wanted("pool") {
        tables::tasks(few).into_iter().for_each(|section| report.add(section));
        tables::maps(few).into_iter().for_each(|section| report.add(section));
    }
    if wanted("manager") {
        report.add(tables::calls(rounds));
        report.add(growth::clients(few));
    }
    if wanted("objects") {
        report.add(growth::objects(few));
    }
    report.add(memory);
    report.add(children);
    finish(&report);
}

/// As it is typed.
fn command() -> String {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let arguments: Vec<String> = arguments.collect();
    match arguments.is_empty() {
        true => "cargo bench --bench compare".to_owned(),
        false => format!("cargo bench --bench compare -- {}", arguments.join(" ")),
    }
}

fn finish(report: &Report) {
    let place = if is_asked_for("--save") { "benches/results" } else { "target/compare" };
    let folder = root().join(place);
    report.save(&folder).expect("a folder to write into");
    println!("\nWritten, with pictures: {}", folder.join("compare.md").display());
}
