//! What a pool costs that has nothing to do.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::{WORKERS, increment, ours};
use crate::support::peer::watchdog;

pub(crate) const TITLE: &str = "CPU time of a pool that has nothing to do";

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// For those who have just done something to lie down.
const SETTLED: Duration = Duration::from_millis(200);

/// Longer than it is watched. Seconds.
const WATCHDOG: u32 = 60;

/// Prints the CPU time of this process and of all that it started.
pub(crate) fn table() {
    watchdog(WATCHDOG);
    println!("\n### {TITLE}\n");
    let pool = ours::pool(WORKERS);
    let done = pool.map_chunked(increment, 0..1000, 1).expect("two workers");
    assert_eq!(done.len(), 1000);
    sleep(SETTLED);
    let family = family();
    let before = used(&family);
    sleep(WATCHED);
    let after = used(&family);
    let (ticks, time) = (after.0 - before.0, after.1 - before.1);
    let processes = family.len();
    println!("{ticks} ticks of utime and stime, {time:.2?} by the scheduler's own clock, in");
    println!("{WATCHED:?}: {WORKERS} workers, {processes} processes with the bench itself.");
    let verdict = if ticks == 0 { "met" } else { "MISSED" };
    println!("\nTarget: no tick: {verdict}.");
}

/// This process, and all that descend from it.
fn family() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> =
        pids.filter_map(|pid| Some((pid, fields(pid)?.get(1)?.parse().ok()?))).collect();
    let mut family = vec![std::process::id()];
    let mut at = 0;
    while at < family.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == family[at]);
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        at += 1;
    }
    family
}

/// What is behind the name in `/proc/PID/stat`: the state, the parent, and so on.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Ticks of user and system time of these processes, and the time that their threads ran.
fn used(family: &[u32]) -> (u64, Duration) {
    let ticks = family.iter().flat_map(|pid| {
        let fields = fields(*pid).expect("a process that lives");
        [11, 12].map(|at| fields[at].parse::<u64>().expect("a number"))
    });
    let threads = family.iter().flat_map(|pid| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process that lives");
        threads.map(|thread| thread.expect("a thread").path().join("schedstat"))
    });
    let nanoseconds = threads.map(|path| {
        let text = fs::read_to_string(path).expect("a thread that lives");
        text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).expect("a number")
    });
    (ticks.sum(), Duration::from_nanos(nanoseconds.sum()))
}
