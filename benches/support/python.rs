//! An interpreter of Python that times itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::Contender;

/// Row: a script that reads a number from a line, does something so often, and writes the
/// nanoseconds that it took. `None`, with a remark, where there is no Python.
pub(crate) fn python(name: &str, script: &str, arguments: &[String]) -> Option<Contender> {
    let Some(mut python) = Python::start(script, arguments) else {
        println!("\nThere is no python3 that could run {name}: left out.");
        return None;
    };
    Some(Contender::new(name, move |iterations| python.run(iterations)).long())
}

/// An interpreter that waits for the number of the next sample.
struct Python {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start(script: &str, arguments: &[String]) -> Option<Self> {
        let mut child = Command::new("python3")
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take()?);
        let mut python = Self { child, orders, answers: BufReader::new(answers) };
        python.ask(1).map(|_| python)
    }

    fn run(&mut self, iterations: u64) -> Duration {
        self.ask(iterations).expect("an answer of Python's")
    }

    fn ask(&mut self, iterations: u64) -> Option<Duration> {
        writeln!(self.orders.as_mut()?, "{iterations}").ok()?;
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
