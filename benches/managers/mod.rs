//! Servers of objects, and what is asked of them.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod cost;
pub(crate) mod ours;
pub(crate) mod yardsticks;

/// Asks a manager of Python's so often as a line says.
pub(crate) const PYTHON: &str = include_str!("manager.py");

/// How many keys a dictionary has.
pub(crate) const KEYS: u64 = 1000;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
