//! P1 at every instruction: one operation runs in a child, step by step, and is killed with -9
//! after each number of steps; then the survivors finish their own, and find nothing torn, twice or
//! lost but what the dead one had in its hands.
//!
//! `cargo test` tries a sample of the points. All of them, of the longest operations many:
//!
//! ```text
//! export MULTIPROC_STEPS=all
//! cargo test --release --test every_instruction -- --nocapture --test-threads=2
//! ```
//!
//! `MULTIPROC_STORMS` tries so many times as many, `MULTIPROC_SEED` the same ones once more.

#[path = "../common/mod.rs"]
mod common;

mod births;
mod conditions;
mod janitors;
mod locks;
mod managers;
mod names;
mod objects;
mod pipes;
mod pools;
mod queues;
mod semaphores;
mod servers;
mod sleepers;
mod stepping;
mod tracing;
mod values;
