//! Measures iceoryx2 between two pinned processes, on order.
//!
//! ```text
//! iceoryx2-rival latency-poll  CPU_HERE CPU_THERE
//! iceoryx2-rival latency-event CPU_HERE CPU_THERE
//! iceoryx2-rival stream-poll   CPU_HERE CPU_THERE
//! iceoryx2-rival size-poll     SIZE CPU_HERE CPU_THERE
//! ```
//!
//! Every line of the input is a number of iterations, and every line of the output is the answer
//! to one, in nanoseconds: each round trip of a latency, the whole of a stream or of exchanges.
//! The end of the input ends the program and its peer.

mod modes;
mod peer;
mod ports;

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use iceoryx2::prelude::{LogLevel, set_log_level};
use modes::{Mode, Side};
use peer::Peer;
use ports::Services;

/// What can fail does so before or between measurements, and ends the program.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How the program is called.
const USAGE: &str = "usage: iceoryx2-rival latency-poll|latency-event|stream-poll|size-poll SIZE \
                     CPU_HERE CPU_THERE";

/// Comes before the other arguments where the program is the peer, and before the one to serve.
const PEER_OF: &str = "--peer-of";

fn main() -> Outcome<()> {
    set_log_level(LogLevel::Error);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [PEER_OF, parent, ref task @ ..] => serve(parent.parse()?, Task::parse(task)?),
        ref task => {
            let outcome = measure(Task::parse(task)?, &arguments);
            ports::tidy();
            outcome
        }
    }
}

/// What to measure, and where.
struct Task {
    mode: Mode,
    here: usize,
    there: usize,
}

impl Task {
    fn parse(arguments: &[&str]) -> Outcome<Self> {
        let (mode, here, there) = match *arguments {
            ["latency-poll", here, there] => (Mode::LatencyPoll, here, there),
            ["latency-event", here, there] => (Mode::LatencyEvent, here, there),
            ["stream-poll", here, there] => (Mode::StreamPoll, here, there),
            ["size-poll", size, here, there] => (Mode::SizePoll(size.parse()?), here, there),
            _ => return Err(USAGE.into()),
        };
        Ok(Self { mode, here: here.parse()?, there: there.parse()? })
    }
}

/// Carries out the orders of the input, together with a peer.
fn measure(task: Task, arguments: &[String]) -> Outcome<()> {
    peer::pin(task.here)?;
    let services = Services::new(std::process::id())?;
    let mut side = task.mode.here(&services)?;
    let mut peer = Peer::start(arguments)?;
    let mut round = |side: &mut Side, iterations| {
        peer.order(iterations)?;
        side(iterations)
    };
    // Connections are made by the first message, and pages by the first touch.
    round(&mut side, task.mode.warm_up())?;
    for line in stdin().lines() {
        let times = round(&mut side, line?.trim().parse()?)?;
        answer(&times)?;
    }
    // The peer goes first, so that what is left of the services goes with the ports of this side.
    peer.end()
}

/// Writes one line.
fn answer(times: &[u64]) -> Outcome<()> {
    let words: Vec<String> = times.iter().map(u64::to_string).collect();
    let mut out = stdout().lock();
    writeln!(out, "{}", words.join(" "))?;
    Ok(out.flush()?)
}

/// Is the peer of the process `parent`: says that it is ready for an order, and carries it out.
fn serve(parent: u32, task: Task) -> Outcome<()> {
    peer::die_with(parent)?;
    peer::pin(task.there)?;
    let services = Services::new(parent)?;
    let mut side = task.mode.there(&services)?;
    for line in stdin().lock().lines() {
        let iterations = line?.parse()?;
        answer(&[])?;
        side(iterations)?;
    }
    Ok(())
}
