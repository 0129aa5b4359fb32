//! What waits to be done: one line for the whole pool, from which each minder takes.

use std::ops::Deref;
use std::sync::Arc;

use crate::shim::{AtomicU64, Ordering};
use crate::sys::clock::Deadline;

use super::error::TaskError;
use super::line::Line;
pub(super) use super::line::{Phase, Turn};
use super::minder::Minder;
use super::work::{End, Work, finish};

/// The line of a pool.
type Orders = Line<Arc<dyn Work>, Box<Minder>>;

/// The line, and what became of those that are in it no more.
pub(super) struct Injector {
    line: Orders,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) restarted: AtomicU64,
}

impl Injector {
    /// A line in which `bound` orders may wait, for so many minders.
    pub(super) fn new(minders: usize, bound: usize) -> Self {
        Self {
            line: Line::new(minders, bound),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
        }
    }

    /// Puts an order at the end of the line, waiting for room until the deadline. False if there
    /// was none; the phase, if it is not taken at all.
    pub(super) fn push(&self, work: &Arc<dyn Work>, deadline: Deadline) -> Result<bool, Phase> {
        let is_unwanted = |work: &Arc<dyn Work>| work.is_cancelled();
        self.line.push(Arc::clone(work), deadline, is_unwanted, |orders| {
            orders.into_iter().for_each(|work| self.discard(work, TaskError::Cancelled));
        })
    }

    /// Ends an order that is in the line no more, and with nobody.
    pub(super) fn discard(&self, work: Arc<dyn Work>, error: TaskError) {
        // Relaxed: a number to look at.
        self.failed.fetch_add(1, Ordering::Relaxed);
        finish(work, End::Failed(error));
    }

    /// Counts a worker that has died.
    pub(super) fn count_restart(&self) {
        // Relaxed: a number to look at.
        self.restarted.fetch_add(1, Ordering::Relaxed);
    }

    /// An order that was taken is about to be over.
    pub(super) fn over(&self, succeeded: bool) {
        let count = if succeeded { &self.done } else { &self.failed };
        // Relaxed: a number to look at.
        count.fetch_add(1, Ordering::Relaxed);
        self.line.over();
    }
}

impl Deref for Injector {
    type Target = Orders;

    fn deref(&self) -> &Self::Target {
        &self.line
    }
}
