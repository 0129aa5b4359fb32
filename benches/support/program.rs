//! A program that times itself: it reads a number from a line, does something so often, and
//! writes a line with the nanoseconds that it took, or with those of each single time.
#![allow(unsafe_code, reason = "a copy of this process lets go of what it is not to have")]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The ends of pipes that programs read until nobody has them any more.
static ORDERS: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Such a program, as long as it runs.
pub(crate) struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<std::process::ChildStdout>,
}

impl Program {
    /// Starts it, and has it do its thing once. `None` where it cannot.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take()?);
        all_orders().extend(orders.as_ref().map(AsRawFd::as_raw_fd));
        let mut program = Self { child, orders, answers: BufReader::new(answers) };
        program.ask(1).map(|_| program)
    }

    /// How long so many times took.
    pub(crate) fn run(&mut self, iterations: u64) -> Duration {
        let times = self.ask(iterations).expect("an answer of another program");
        Duration::from_nanos(times.iter().sum())
    }

    /// What the program said of so many times: nanoseconds of all, or of each.
    pub(crate) fn ask(&mut self, iterations: u64) -> Option<Vec<u64>> {
        writeln!(self.orders.as_mut()?, "{iterations}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let times: Option<Vec<u64>> = answer.split_whitespace().map(|n| n.parse().ok()).collect();
        times.filter(|times| !times.is_empty())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input, and its workers with it.
        if let Some(orders) = self.orders.take() {
            all_orders().retain(|fd| *fd != orders.as_raw_fd());
        }
        let _ = self.child.wait();
    }
}

fn all_orders() -> std::sync::MutexGuard<'static, Vec<RawFd>> {
    ORDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a copy of this process let go of the programs of its original, which would not end else.
pub(super) fn forget_all() {
    for fd in all_orders().drain(..) {
        // SAFETY: it belongs to a `Program` of the original, of which nothing runs in this copy.
        unsafe { libc::close(fd) };
    }
}
