//! Histories of shared objects, recorded from real processes, are compared with sequential ones: is
//! there an order of the calls, each between its beginning and its end, in which one process alone
//! could have had the same answers?
//!
//! Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects" (1990).

#[path = "../common/mod.rs"]
mod common;

mod dicts;
mod history;
mod locks;
mod log;
mod pipes;
mod queues;
