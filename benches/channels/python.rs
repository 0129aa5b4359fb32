//! Python's own: a `multiprocessing.Queue` between processes of Python.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{CAPACITY, Shape};
use crate::support::Contender;
use crate::support::peer::all_cpus;

/// Reads a number of messages from a line, sends them through a queue, and writes the nanoseconds.
const SCRIPT: &str = include_str!("queue.py");

/// An interpreter that waits for the number of messages of the next sample.
struct Python {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// `message` is an expression of Python's. `None`, with a remark, where there is no Python.
pub(crate) fn python(name: &str, shape: Shape, message: &str) -> Option<Contender> {
    let Some(mut python) = Python::start(shape, message) else {
        println!("\nThere is no python3 that could run {name}: left out.");
        return None;
    };
    Some(Contender::new(name, move |messages| python.run(messages)).long())
}

impl Python {
    fn start(shape: Shape, message: &str) -> Option<Self> {
        let cpus: Vec<String> = all_cpus().iter().map(ToString::to_string).collect();
        let numbers = [shape.senders, shape.receivers, CAPACITY].map(|number| number.to_string());
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .args(numbers)
            .args([message, &cpus.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take()?);
        let mut python = Self { child, orders, answers: BufReader::new(answers) };
        python.ask(1).map(|_| python)
    }

    fn run(&mut self, messages: u64) -> Duration {
        self.ask(messages).expect("an answer of Python's")
    }

    fn ask(&mut self, messages: u64) -> Option<Duration> {
        writeln!(self.orders.as_mut()?, "{messages}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        answer.trim().parse().ok().map(Duration::from_nanos)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It ends with its input, and its workers with it.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
