//! Pools, and what they are given to do.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod ours;
pub(crate) mod parked;
pub(crate) mod ready;
pub(crate) mod rivals;

/// Gives a pool of Python's so many tasks as a line says.
pub(crate) const PYTHON: &str = include_str!("pool.py");

/// How many workers a pool has, unless its name says something else.
pub(crate) const WORKERS: usize = 2;

/// What is mapped in one call, where nothing has to be encoded.
pub(crate) const NUMBERS: usize = 10_000_000;

/// A small task.
pub(crate) fn increment(number: u64) -> u64 {
    number + 1
}

/// What a map does with each number.
pub(crate) fn scramble(number: u64) -> u64 {
    (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(crate) fn numbers(count: usize) -> Vec<u64> {
    (0..count as u64).collect()
}
