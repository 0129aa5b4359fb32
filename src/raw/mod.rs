//! Room 2: state machines in place. `repr(C)`, address-free, no fd, no allocation, no sleep but in
//! `wait`. Whatever maps them into memory, a segment or a model, the code is the same.

pub(crate) mod frame;
pub(crate) mod memory;
pub(crate) mod spsc;

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/heap.rs"]
mod heap;
#[cfg(all(test, multiproc_loom))]
mod tests;

/// The bytes of a peer cannot be the work of this crate: they were written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;
