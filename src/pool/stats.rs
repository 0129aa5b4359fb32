//! What a pool is doing, and has done.

use std::time::Duration;

use crate::shim::Ordering::Relaxed;

use super::shared::{Busy, Shared};

/// What a [`Pool`](crate::Pool) is doing and has done, as it was a moment ago.
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(1)?;
/// fn fail(_: ()) {
///     panic!("out of cheese");
/// }
/// assert!(pool.apply(fail, ()).is_err());
/// let stats = pool.stats();
/// assert_eq!((stats.queued, stats.done, stats.failed, stats.restarted), (0, 0, 1, 0));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Tasks, or chunks of a `map`, that wait for a worker.
    pub queued: usize,
    /// Those that are with a worker.
    pub running: usize,
    /// Those that ended with a result.
    pub done: u64,
    /// Those that ended without: a panic, a death, a time-out, cancelled. Also those that the pool
    /// did not get to before its end, and chunks that were not begun, as another one had failed.
    pub failed: u64,
    /// How often a worker was to be replaced as it had died, or did not start.
    pub restarted: u64,
    /// Of each worker: how long it was at work.
    pub busy: Vec<Duration>,
}

impl PoolStats {
    pub(super) fn of(shared: &Shared) -> Self {
        let (queued, running) = shared.injector.lengths();
        let busy = |busy: Busy| busy.total + busy.since.map_or(Duration::ZERO, |at| at.elapsed());
        Self {
            queued,
            running,
            // Relaxed, all: numbers to look at.
            done: shared.injector.done.load(Relaxed),
            failed: shared.injector.failed.load(Relaxed),
            restarted: shared.injector.restarted.load(Relaxed),
            busy: shared.busy().into_iter().map(busy).collect(),
        }
    }
}
