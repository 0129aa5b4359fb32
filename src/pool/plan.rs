//! What a pool is like, and the first order of each of its workers.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::process::StartMethod;
use crate::process::entry::Entry;
use crate::transfer::codec::{CodecError, Serde};

use super::error::TaskError;
use super::shared::lock;
use super::work::{End, Kill, Work};

/// What a pool is like. Does not change.
pub(super) struct Plan {
    pub(super) workers: usize,
    pub(super) initializer: Option<Arc<dyn Initializer>>,
    pub(super) tasks_per_worker: Option<NonZeroU64>,
    pub(super) memory_per_worker: Option<u64>,
    pub(super) method: StartMethod,
    pub(super) is_pinned: bool,
    pub(super) name: String,
    /// So many deaths of workers in so long a time, and the pool gives up.
    pub(super) intensity: (usize, Duration),
    pub(super) is_lazy: bool,
    pub(super) limit: Option<Duration>,
    pub(super) initializer_limit: Option<Duration>,
    pub(super) retries: usize,
    pub(super) queue_bound: usize,
    pub(super) in_process: bool,
    pub(super) ctrl_c: bool,
}

/// The first order of a worker, and what came of it, to be asked when it is over.
pub(super) type Initial = (Arc<dyn Work>, Box<dyn FnOnce() -> Result<(), TaskError>>);

/// Makes the first order of each worker.
pub(super) trait Initializer: Send + Sync {
    fn work(&self) -> Initial;
}

pub(super) struct Init<A> {
    pub(super) entry: Entry,
    pub(super) arguments: Arc<A>,
}

struct InitWork<A> {
    entry: Entry,
    arguments: Arc<A>,
    outcome: Mutex<Option<End>>,
}

impl<A: Serialize + Send + Sync + 'static> Initializer for Init<A> {
    fn work(&self) -> Initial {
        let work = Arc::new(InitWork {
            entry: self.entry,
            arguments: Arc::clone(&self.arguments),
            outcome: Mutex::new(None),
        });
        let ended = Arc::clone(&work);
        let outcome = move || {
            let end = lock(&ended.outcome).take();
            match end {
                Some(End::Returned) => Ok(()),
                Some(End::Failed(error)) => Err(error),
                None => Err(super::lost().into()),
            }
        };
        (work, Box::new(outcome))
    }
}

impl<A: Serialize + Send + Sync> Work for InitWork<A> {
    fn entry(&self) -> Entry {
        self.entry
    }

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Serde::serialize(&*self.arguments, bytes)
    }

    fn accept(&self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&self, end: End) {
        *lock(&self.outcome) = Some(end);
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn is_with(&self, _killer: Option<Arc<dyn Kill>>) {}

    fn is_spared(&self) -> bool {
        false
    }

    fn is_retried(&self, _most: usize) -> bool {
        false
    }
}
