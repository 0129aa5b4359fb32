//! Killing a participant before any one of its accesses to shared memory.
//!
//! The shipped code has no hooks: the memory of the test counts the accesses and unwinds at the
//! chosen one. Unwinding frees private memory and nothing else, as `kill -9` does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many more accesses a participant makes.
#[derive(Clone, Debug)]
pub(super) struct Life(Cell<u32>);

/// What the unwinding carries, to tell it from a failed assertion.
struct Killed;

impl Life {
    pub(super) const ENDLESS: u32 = u32::MAX;

    pub(super) fn new(steps: u32) -> Self {
        Self(Cell::new(steps))
    }

    /// Grants this many accesses from here on.
    pub(super) fn renew(&self, steps: u32) {
        self.0.set(steps);
    }

    /// Comes before every access.
    pub(super) fn step(&self) {
        match self.0.get() {
            Self::ENDLESS => {}
            0 => resume_unwind(Box::new(Killed)),
            left => self.0.set(left - 1),
        }
    }
}

/// Runs a participant until it is done or killed; whether it was killed.
pub(super) fn live(body: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => false,
        Err(payload) if payload.is::<Killed>() => true,
        Err(payload) => resume_unwind(payload),
    }
}
