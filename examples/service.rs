//! Serves requests with two kinds of worker processes.
//!
//! ```text
//! echo "factor 91" | cargo run --release --example service
//! cargo run --release --example service -- [--requests N] [--kill-one]
//! ```
//!
//! A request is a line: `factor NUMBER` or `count WORDS`. The main process reads them from its
//! input, or makes up N of them, and sends each to those who can do it: calculators, which are
//! processes of one thread, or readers, which share one process of several threads. The answers
//! come back through one queue.
//!
//! A child that dies is replaced, and the requests that it was at go to another one, so that every
//! request is answered. With `--kill-one` a child is killed with -9 to show it.

use std::io;
use std::thread;
use std::time::Instant;

use multiproc::{Process, Queue, Receiver, Sender};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CALCULATORS: usize = 2;
const THREADS_OF_A_READER: usize = 4;

/// How many requests, or answers, wait in a queue at most.
const WAITING: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The number of a request, and what it says, or what is said to it.
type Line = (usize, String);

/// What a child needs: where requests come from, and where answers go.
type Ends = (Receiver<Line>, Sender<Line>);

/// A child with one thread: it factors numbers.
fn calculator(ends: Ends) {
    serve(ends, factor);
}

/// A child with several threads: they count words.
fn reader((requests, answers): Ends) {
    thread::scope(|scope| {
        for _ in 0..THREADS_OF_A_READER {
            if let (Ok(requests), Ok(answers)) = (requests.try_clone(), answers.try_clone()) {
                scope.spawn(|| serve((requests, answers), count));
            }
        }
        // The ends that the threads were made from would be one reader too many.
        drop((requests, answers));
    });
}

/// Answers requests until there are no more.
fn serve((mut requests, mut answers): Ends, answer: fn(&str) -> String) {
    // While the guard lives, the request is in our hands: should we die, somebody else gets it.
    while let Ok(request) = requests.recv_guard() {
        let Ok((number, line)) = request.get() else { continue };
        if answers.send((number, answer(&line))).is_err() {
            return;
        }
    }
}

fn factor(text: &str) -> String {
    let Ok(mut rest) = text.parse::<u64>() else { return "not a number".to_owned() };
    let mut factors = Vec::new();
    let mut divisor = 2;
    while divisor <= rest / divisor {
        if rest.is_multiple_of(divisor) {
            factors.push(divisor.to_string());
            rest /= divisor;
        } else {
            divisor += 1;
        }
    }
    factors.push(rest.to_string());
    factors.join(" x ")
}

fn count(text: &str) -> String {
    format!("{} words", text.split_whitespace().count())
}

/// Sees to it that there is a child of this kind until the requests are done. How often it had to
/// be replaced.
fn keep(name: &str, kind: fn(Ends), (requests, answers): &Ends) -> Result<usize, Failure> {
    let mut replaced = 0;
    loop {
        let ends = (requests.try_clone()?, answers.try_clone()?);
        let child = Process::builder().name(name).spawn(kind, ends)?;
        let pid = child.pid();
        match child.join() {
            Ok(()) => return Ok(replaced),
            Err(end) => println!("{name}, process {pid}, is replaced: {end}"),
        }
        replaced += 1;
    }
}

/// Gives each request to those who can answer it. When this is over, so are the requests.
fn hand_out(
    requests: &[String],
    mut numbers: Sender<Line>,
    mut texts: Sender<Line>,
    mut answers: Sender<Line>,
) {
    for (number, request) in requests.iter().enumerate() {
        let sent = match request.split_once(' ') {
            Some(("factor", rest)) => numbers.send((number, rest.to_owned())),
            Some(("count", rest)) => texts.send((number, rest.to_owned())),
            _ => answers.send((number, "nobody can do this".to_owned())),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Kills a child with a request in its hands, if there is one at this moment.
fn kill_a_busy_child(requests: &Receiver<Line>) -> Result<bool, Failure> {
    let info = requests.info();
    let Some(busy) = info.handles.iter().find(|handle| handle.holds_message) else {
        return Ok(false);
    };
    kill(Pid::from_raw(busy.pid.try_into()?), Signal::SIGKILL)?;
    Ok(true)
}

/// The answer to each request, and how many children were replaced.
pub(crate) fn run(requests: &[String], kills_one: bool) -> Result<(Vec<String>, usize), Failure> {
    let (numbers, to_factor) = Queue::builder().redeliver(true).channel(WAITING)?;
    let (texts, to_count) = Queue::builder().redeliver(true).channel(WAITING)?;
    let (answers, mut answered) = Queue::channel(WAITING)?;
    let calculators = (to_factor, answers.try_clone()?);
    let readers = (to_count, answers.try_clone()?);
    thread::scope(|scope| {
        let mut keepers = vec![scope.spawn(|| keep("reader", reader, &readers))];
        for _ in 0..CALCULATORS {
            keepers.push(scope.spawn(|| keep("calculator", calculator, &calculators)));
        }
        scope.spawn(move || hand_out(requests, numbers, texts, answers));

        let mut found = vec![None; requests.len()];
        let mut left = requests.len();
        let mut is_to_kill = kills_one;
        while left > 0 {
            let (number, answer) = answered.recv()?;
            // Who dies between the answer and the end of its guard has answered, and the next one
            // does so again.
            if found[number].replace(answer).is_none() {
                left -= 1;
            }
            is_to_kill = is_to_kill && !kill_a_busy_child(&calculators.0)?;
        }
        let mut replaced = 0;
        for keeper in keepers {
            replaced += keeper.join().map_err(|_| "a keeper panicked")??;
        }
        Ok((found.into_iter().flatten().collect(), replaced))
    })
}

/// Requests of both kinds, in turn.
pub(crate) fn some_requests(count: u64) -> Vec<String> {
    let request = |number| match number % 2 {
        0 => format!("factor {}", 1_000_003 * (999_983 + number)),
        _ => format!("count {}", "word ".repeat(number as usize % 100)),
    };
    (0..count).map(request).collect()
}

/// The requests on the input, and what is said to them.
fn answer_input() -> Result<(), Failure> {
    let requests: Vec<String> = io::stdin().lines().collect::<io::Result<_>>()?;
    let (answers, _) = run(&requests, false)?;
    for (request, answer) in requests.iter().zip(answers) {
        println!("{request}: {answer}");
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut count = None;
    let mut kills_one = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--kill-one" => kills_one = true,
            "--requests" => count = Some(arguments.next().ok_or("--requests takes a number")?),
            other => {
                return Err(format!("unknown option {other}: [--requests N] [--kill-one]").into());
            }
        }
    }
    let Some(count) = count else { return answer_input() };
    let requests = some_requests(count.parse()?);
    let start = Instant::now();
    let (answers, replaced) = run(&requests, kills_one)?;
    println!("answered: {} of {} in {:.1?}", answers.len(), requests.len(), start.elapsed());
    println!("replaced: {replaced}");
    Ok(())
}
