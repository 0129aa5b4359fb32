//! How a handle waits, wakes others, and finds out who is gone.

use crate::error::{Cause, Result};
use crate::raw::bench::Bench;
use crate::raw::queue::MARKS;
use crate::raw::swap::handle::{self, Ends, HandleTable, State};
use crate::raw::wait::{SUSPECT_EVERY, Terms, Waited};
use crate::sys::clock::Deadline;

use super::core::{Core, NO_RECEIVERS, NO_SENDERS};

/// Which of the benches a thread waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Messages,
    Room,
    /// Room in the stock, which those who send long messages wait for apart from the others: what
    /// is freed may be enough for several of them, or for none.
    Memory,
    Others,
}

impl For {
    pub(super) const EACH: [Self; 4] = [Self::Messages, Self::Room, Self::Memory, Self::Others];
}

impl Core {
    pub(super) fn bench(&self, what: For) -> &Bench<MARKS> {
        let head = self.at.head();
        match what {
            For::Messages => &head.not_empty.0,
            For::Room => &head.not_full.0,
            For::Memory => &head.not_used_up.0,
            For::Others => &head.all_done.0,
        }
    }

    /// Wakes a receiver, if one sleeps. Call it after a push.
    #[inline]
    pub(super) fn notify_receiver(&self) {
        self.bench(For::Messages).notify_one(self.at.waiters(), self.how);
    }

    /// Wakes a sender, if one sleeps. Call it after a pop.
    #[inline]
    pub(super) fn notify_sender(&self) {
        self.bench(For::Room).notify_one(self.at.waiters(), self.how);
    }

    /// Wakes all who wait for something.
    pub(super) fn notify_all(&self, what: For) {
        self.bench(what).notify_all(self.at.waiters());
    }

    /// Whether somebody waits for it. Call it after what may end the wait.
    pub(super) fn is_awaited(&self, what: For) -> bool {
        self.bench(what).is_awaited(self.how)
    }

    /// Waits until `attempt` gets somewhere or the deadline passes. Without a deadline it is tried
    /// once.
    #[inline]
    pub(super) fn wait<R>(
        &mut self,
        what: For,
        deadline: Option<Deadline>,
        mut attempt: impl FnMut(&Self) -> Option<Result<R, Cause>>,
    ) -> Result<R, Cause> {
        let Some(deadline) = deadline else { return self.look(attempt) };
        let this = &*self;
        let mut outcome = None;
        let terms = Terms { epoch: this.shared().segment().death_epoch(), how: this.how, deadline };
        let ready = || {
            // Written only once: most looks are in vain.
            let Some(found) = attempt(this) else { return false };
            outcome = Some(found);
            true
        };
        let suspect = || this.suspect();
        let bench = this.bench(what);
        let waited = bench.wait(this.at.waiters(), this.waiter(), terms, ready, suspect);
        match (waited, outcome) {
            (Waited::Ready, Some(outcome)) => outcome,
            _ => Err(Cause::TimedOut),
        }
    }

    /// Tries once. Who only ever looks hears of deaths as well, now and then.
    fn look<R>(
        &mut self,
        mut attempt: impl FnMut(&Self) -> Option<Result<R, Cause>>,
    ) -> Result<R, Cause> {
        if let Some(outcome) = attempt(self) {
            return outcome;
        }
        self.vain_looks = self.vain_looks.wrapping_add(1);
        if self.vain_looks.is_multiple_of(SUSPECT_EVERY) {
            self.suspect();
            if let Some(outcome) = attempt(self) {
                return outcome;
            }
        }
        Err(Cause::WouldBlock)
    }

    /// Asks the kernel about everybody who has a handle, cleans up after the dead, and notes which
    /// end nobody has any more.
    #[cold]
    pub(super) fn suspect(&self) {
        // What this handle had announced, and others took, may have looked like a message in its
        // hands.
        self.renounce();
        let mut asked = None;
        for other in 0..self.at.handles() {
            if let State::Live { participant, .. } = handle::state(&self.at, other)
                && participant != self.owner
                && asked != Some(participant)
            {
                asked = Some(participant);
                self.shared().segment().recover_one(participant);
            }
        }
        self.note_missing_ends();
    }

    pub(super) fn note_missing_ends(&self) {
        for (end, flag) in [(Ends::SENDER, NO_SENDERS), (Ends::RECEIVER, NO_RECEIVERS)] {
            if self.flags() & flag == 0 && handle::has_none(&self.at, end) {
                self.raise(flag);
            }
        }
    }
}
