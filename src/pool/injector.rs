//! What waits to be done: one line for the whole pool, from which each minder takes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::shim::{AtomicU64, Ordering};
use crate::sys::clock::Deadline;

use super::error::TaskError;
use super::shared::lock;
use super::work::{End, Work, finish};

/// How often who waits for room looks for what was cancelled.
const GLANCE: Duration = Duration::from_millis(20);

/// What becomes of a pool's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No more is taken in; what there is is done.
    Closed,
    /// What is not done will not be.
    Terminated,
    /// As `Terminated`, because of a signal.
    Interrupted,
    /// As `Terminated`, because workers die as fast as they are started.
    Broken,
}

impl Phase {
    /// Whether what waits is still to be done.
    pub(super) fn works(self) -> bool {
        matches!(self, Self::Open | Self::Closed)
    }
}

struct Line {
    waiting: VecDeque<Arc<dyn Work>>,
    phase: Phase,
    /// How many orders were taken out and are not over.
    running: usize,
}

pub(super) struct Injector {
    line: Mutex<Line>,
    /// Something waits, or the phase changed.
    filled: Condvar,
    /// There is room, or the phase changed.
    emptied: Condvar,
    bound: usize,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) restarted: AtomicU64,
}

impl Line {
    /// Takes out what was cancelled.
    fn take_unwanted(&mut self) -> Vec<Arc<dyn Work>> {
        let (unwanted, waiting): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|work| work.is_cancelled());
        self.waiting = waiting;
        unwanted.into()
    }
}

impl Injector {
    /// Ends what was cancelled while it waited.
    fn discard(&self, orders: Vec<Arc<dyn Work>>) {
        for work in orders {
            // Relaxed: a number to look at.
            self.failed.fetch_add(1, Ordering::Relaxed);
            finish(work, End::Failed(TaskError::Cancelled));
        }
    }

    /// A line in which `bound` orders may wait.
    pub(super) fn new(bound: usize) -> Self {
        let line = Line { waiting: VecDeque::new(), phase: Phase::Open, running: 0 };
        Self {
            line: Mutex::new(line),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bound,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing of the user's runs under this lock.
        lock(&self.line)
    }

    pub(super) fn phase(&self) -> Phase {
        self.line().phase
    }

    /// Puts an order at the end of the line, waiting for room until the deadline. False if there
    /// was none; the phase, if it is not taken at all.
    pub(super) fn push(&self, work: &Arc<dyn Work>, deadline: Deadline) -> Result<bool, Phase> {
        let mut line = self.line();
        while line.phase == Phase::Open && line.waiting.len() >= self.bound {
            let unwanted = line.take_unwanted();
            if !unwanted.is_empty() {
                drop(line);
                self.discard(unwanted);
                line = self.line();
                continue;
            }
            if deadline.is_past() {
                return Ok(false);
            }
            // Who cancels tells nobody, so it is looked for.
            let waited = self.emptied.wait_timeout(line, deadline.left_at_most(GLANCE));
            line = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if line.phase != Phase::Open {
            return Err(line.phase);
        }
        self.append(line, work);
        Ok(true)
    }

    /// As [`push`](Self::push), for who must not wait: there is room for it.
    pub(super) fn push_beyond(&self, work: &Arc<dyn Work>) -> Result<(), Phase> {
        let line = self.line();
        if line.phase != Phase::Open {
            return Err(line.phase);
        }
        self.append(line, work);
        Ok(())
    }

    fn append(&self, mut line: MutexGuard<'_, Line>, work: &Arc<dyn Work>) {
        line.waiting.push_back(Arc::clone(work));
        drop(line);
        self.filled.notify_one();
    }

    /// Puts orders back to the front, in this order: they were taken and not begun. Gives them back
    /// if they are not to be done any more.
    #[must_use]
    pub(super) fn put_back(&self, orders: Vec<Arc<dyn Work>>) -> Vec<Arc<dyn Work>> {
        let mut line = self.line();
        line.running -= orders.len();
        if !line.phase.works() {
            drop(line);
            self.emptied.notify_all();
            return orders;
        }
        orders.into_iter().rev().for_each(|work| line.waiting.push_front(work));
        drop(line);
        self.filled.notify_all();
        Vec::new()
    }

    /// Takes the next order, waiting for one. `None` when there will be none.
    pub(super) fn pop(&self) -> Option<Arc<dyn Work>> {
        let mut line = self.line();
        loop {
            if !line.phase.works() {
                return None;
            }
            if let Some(work) = line.waiting.pop_front() {
                line.running += 1;
                drop(line);
                self.emptied.notify_one();
                return Some(work);
            }
            // What others run may be put back.
            if line.phase == Phase::Closed && line.running == 0 {
                return None;
            }
            line = self.filled.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes one order more, if so many wait that nobody is idle without it.
    pub(super) fn pop_spare(&self, workers: usize) -> Option<Arc<dyn Work>> {
        let mut line = self.line();
        if !line.phase.works() || line.waiting.len() < workers {
            return None;
        }
        let work = line.waiting.pop_front()?;
        line.running += 1;
        drop(line);
        self.emptied.notify_one();
        Some(work)
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
        let mut line = self.line();
        line.running -= 1;
        let is_last = line.phase != Phase::Open && line.running == 0;
        drop(line);
        if is_last {
            self.filled.notify_all();
            self.emptied.notify_all();
        }
    }

    /// Goes on to a later phase. What waited, if it is not to be done any more.
    pub(super) fn enter(&self, phase: Phase) -> Vec<Arc<dyn Work>> {
        let mut line = self.line();
        if line.phase.works() && line.phase != phase {
            line.phase = phase;
        }
        let dropped =
            if line.phase.works() { VecDeque::new() } else { std::mem::take(&mut line.waiting) };
        drop(line);
        self.filled.notify_all();
        self.emptied.notify_all();
        dropped.into()
    }

    /// Waits until nothing waits or runs, or the deadline.
    pub(super) fn drain(&self, deadline: Deadline) -> bool {
        let mut line = self.line();
        while line.running > 0 || line.phase.works() && !line.waiting.is_empty() {
            line = match deadline.left() {
                None => self.emptied.wait(line).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    let waited = self.emptied.wait_timeout(line, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// How many orders wait, and how many run.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let line = self.line();
        (line.waiting.len(), line.running)
    }
}
