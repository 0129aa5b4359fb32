//! Room 2: state machines in place. `repr(C)`, address-free, no fd, no allocation, no sleep but in
//! `wait`. Whatever maps them into memory, a segment or a model, the code is the same.

pub(crate) mod barrier;
pub(crate) mod bell;
pub(crate) mod bench;
pub(crate) mod blocks;
pub(crate) mod claim;
pub(crate) mod condition;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod kind;
pub(crate) mod lane;
pub(crate) mod memory;
pub(crate) mod mutex;
pub(crate) mod participants;
#[cfg(not(multiproc_loom))]
pub(crate) mod queue;
pub(crate) mod ranges;
pub(crate) mod rwlock;
pub(crate) mod seat;
pub(crate) mod semaphore;
pub(crate) mod spsc;
pub(crate) mod stock;
pub(crate) mod swap;
#[cfg(all(any(test, fuzzing), not(multiproc_loom)))]
pub(crate) mod tape;
pub(crate) mod twin;
pub(crate) mod units;
pub(crate) mod wait;
pub(crate) mod wait_many;
pub(crate) mod wide;

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/chance.rs"]
pub(crate) mod chance;
#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/death.rs"]
mod death;
#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/heap.rs"]
mod heap;
#[cfg(all(test, multiproc_loom))]
mod tests;

/// The bytes of a peer cannot be the work of this crate: they were written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;
