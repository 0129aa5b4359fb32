//! Which orders a worker has begun: a handle of the word that it shares with its minder.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::raw::claim;
use crate::shim::AtomicU64;
use crate::value::Value;

/// A handle of the word, see [`claim`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    word: Value<AtomicU64>,
}

impl Claim {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { word: Value::atomic(0_u64)? })
    }

    /// In the worker: whether it may begin this order, which it has then.
    pub(super) fn begin(&self, number: u64) -> bool {
        claim::begin(&self.word, number)
    }

    pub(super) fn word(&self) -> &AtomicU64 {
        &self.word
    }
}
