//! Python's own: a `multiprocessing.Queue` between processes of Python.

use super::{CAPACITY, Shape};
use crate::support::peer::all_cpus;
use crate::support::{Contender, python as interpreter};

/// Reads a number of messages from a line, sends them through a queue, and writes the nanoseconds.
const SCRIPT: &str = include_str!("queue.py");

/// `message` is an expression of Python's. `None`, with a remark, where there is no Python.
pub(crate) fn python(name: &str, shape: Shape, message: &str) -> Option<Contender> {
    let cpus: Vec<String> = all_cpus().iter().map(ToString::to_string).collect();
    let numbers = [shape.senders, shape.receivers, CAPACITY].map(|number| number.to_string());
    let arguments = [&numbers[..], &[message.to_owned(), cpus.join(",")]].concat();
    interpreter::python(name, SCRIPT, &arguments)
}
