//! Which orders a worker has begun: a word that it shares with its minder.
//!
//! The word is the lowest number of an order that may still be begun. It only grows: the worker
//! raises it past an order as it begins it, the minder past all orders that it takes back. So each
//! order is either begun or taken back, and both know which.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::shim::{AtomicU64, Ordering};
use crate::value::Value;

/// A handle of the word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    next: Value<AtomicU64>,
}

impl Claim {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { next: Value::atomic(0_u64)? })
    }

    /// In the worker: whether it may begin this order, which it has then.
    pub(super) fn begin(&self, number: u64) -> bool {
        // Relaxed: who wins is all there is to know; what belongs to an order goes over the pipe.
        self.next.fetch_max(number + 1, Ordering::Relaxed) <= number
    }

    /// In the pool: takes back all orders below `next` that were not begun. The lowest of them.
    pub(super) fn take_back(&self, next: u64) -> u64 {
        // Relaxed: as above.
        self.next.fetch_max(next, Ordering::Relaxed)
    }
}
