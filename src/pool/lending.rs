//! A caller that waits for its task anyway does the part of an idle minder meanwhile: so the order
//! and the reply cross from one process to the other and back, and no other thread is woken. One
//! that has put its order into the line takes it back, if it comes before the minder.
//!
//! Only what goes well is done so. If the worker dies, the minder gets back what the caller has
//! begun, and does what is to be done.

use std::sync::{Arc, Weak};
use std::{mem, ptr};

use super::line::Taker;
use super::minder::{Heard, Minder, died};
use super::shared::Shared;
use super::wire;
use super::work::Work;

impl Taker for Box<Minder> {
    fn index(&self) -> usize {
        self.index
    }

    /// Nothing but an order and a reply is its part then.
    fn can_be_lent(&self) -> bool {
        let plan = &self.shared.plan;
        let is_watched = plan.limit.is_some() || plan.in_process;
        let is_renewed = plan.tasks_per_worker.is_some() || plan.memory_per_worker.is_some();
        self.worker.is_some() && !self.is_bereft() && !is_watched && !is_renewed
    }

    fn is_bereft(&self) -> bool {
        !self.bereft.is_empty()
    }
}

/// A pool, as those who wait for its tasks see it. How many they are is counted apart from what
/// minders look at all the time.
pub(super) type Beacon = Arc<Weak<Shared>>;

/// Has an order done in this thread, if it is the next one, and nobody has come for it yet.
pub(super) fn reclaim(pool: &Beacon, order: *const ()) {
    let Some(shared) = pool.upgrade() else { return };
    let is_it = |work: &Arc<dyn Work>| ptr::addr_eq(Arc::as_ptr(work), order);
    if let Some((minder, work)) = shared.injector.reclaim(is_it) {
        minder.lend(work);
    }
}

impl Minder {
    /// Does one order in this thread, which borrowed the minder, and gives the minder back.
    pub(super) fn lend(mut self: Box<Self>, work: Arc<dyn Work>) {
        // What is the user's, a value that encodes itself, must not wait for this very minder.
        let _serving = self.shared.identity.borrow();
        // This thread may mind a worker of its own, and be in a callback.
        let own = wire::exchange(Vec::new());
        self.begin(&work);
        if self.give_unless_full(work) {
            self.await_answer();
        } else {
            self.stand_still();
        }
        self.bereft = wire::exchange(own);
        let shared = Arc::clone(&self.shared);
        shared.injector.give_back(self);
    }

    /// Takes replies until that to the only order: there may be some to what was taken back. Or
    /// until there is something for the minder to do.
    fn await_answer(&mut self) {
        while wire::minded().0 > 0 {
            let Heard::Reply(number, verdict) = self.receive(None) else { return };
            if !self.take_reply(number, verdict) {
                return;
            }
        }
    }

    /// Does what the borrower did not.
    pub(super) fn recover(&mut self) {
        wire::exchange(mem::take(&mut self.bereft));
        self.lose(died);
    }
}
