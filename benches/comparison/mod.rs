//! This crate beside others, in one run: what is measured, and what is written of it.

pub(crate) mod calls;
mod charts;
pub(crate) mod growth;
pub(crate) mod iceoryx2;
pub(crate) mod latency;
pub(crate) mod report;
pub(crate) mod sizes;
pub(crate) mod tables;
pub(crate) mod weight;

/// Passes messages of Python's, as often as a line says.
pub(crate) const PYTHON: &str = include_str!("messages.py");

/// Some of the numbers of something, where all of them would take too long.
pub(crate) fn points<T: Copy>(all: &[T], some: &[T]) -> Vec<T> {
    if crate::support::is_quick() { some.to_vec() } else { all.to_vec() }
}
