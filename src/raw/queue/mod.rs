//! A queue's memory: which word is where, and the rings that are made of it.
//!
//! ```text
//! head      the plan, written once | flags | turns of the chain | orphans | four benches
//! handles   128 bytes each
//! waiters   64 bytes each
//! ring 0    hints | notes, 64 bytes a handle | slots, 8 bytes | blocks of the plan's stride
//! rings     a table of all of them, 32 bytes each
//! stock     a word a unit
//! units     16 KiB each, from a page boundary on: address space, until they get their pages
//! ```
//!
//! Everything is found by the plan, which is copied and checked once.
//!
//! The tables of rings and units are sparse, and are not furnished ahead: a memfd has no quota, so
//! that a page of theirs which cannot be had is no `SIGBUS`, and they are a thousandth of what they
//! are about.

mod at;
mod plan;
mod ring_at;
mod spans;
mod store;

pub(crate) use at::{Awaited, QueueAt};
pub(crate) use plan::{BLOCK_HEAD, FIRST_WAITER, MARKS, Plan, PlanFlags, STRIDE_MAX};
pub(crate) use ring_at::RingAt;
pub(crate) use store::{Pages, Refused, Store};

/// How many bytes every queue has at least.
pub(crate) const HEAD_BYTES: u64 = size_of::<plan::Head>() as u64;
