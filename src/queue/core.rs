//! One handle of one queue, whatever its messages are: where it is, whose it is, when it is over.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::raw::Corrupt;
use crate::raw::kind::Kind;
use crate::raw::queue::{FIRST_WAITER, Plan, QueueAt, RingAt, Store};
use crate::raw::swap::chain::{Chain, Place};
use crate::raw::swap::handle::{self, Ends, HandleTable, State};
use crate::raw::swap::recover::{self, Rings};
use crate::raw::wait::Fence;
use crate::segment::{self, NAME, Shared, Site, Spec};
use crate::shim::Ordering::*;
use crate::sys::fork;

use super::handing::attach_for;
use super::waiting::For;

/// Nothing more is sent: somebody closed the queue.
pub(crate) const CLOSED: u32 = 1 << 0;
/// Nobody has a sending end any more.
pub(super) const NO_SENDERS: u32 = 1 << 1;
/// Nobody has a receiving end any more.
pub(super) const NO_RECEIVERS: u32 = 1 << 2;

impl From<Corrupt> for Cause {
    fn from(_: Corrupt) -> Self {
        written_over().into()
    }
}

/// One handle of one queue, in one process.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) chain: Chain<Store<Shared>>,
    pub(super) at: QueueAt,
    pub(super) handle: u32,
    pub(super) ends: Ends,
    pub(super) how: Fence,
    /// As which participant we have the handle, and in which generation of forks.
    pub(super) owner: u32,
    pub(super) valid_in: u32,
    watch: fork::Watch,
    pub(super) vain_looks: u32,
}

/// The queue in a block that holds one.
pub(super) fn queue_in(shared: &Shared) -> Result<QueueAt> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a queue that is none");
    if !shared.is(Kind::Queue) {
        return Err(corrupt());
    }
    // SAFETY: the block is mapped as long as `shared`, which is kept beside the queue; blocks are
    // aligned to a line, and this one is used for a queue alone, as its kind says.
    unsafe { QueueAt::new(shared.base(), shared.len()) }.map_err(|Corrupt| corrupt())
}

/// The queue in a block, as this process sees it.
pub(super) fn chain_of(shared: Shared) -> Result<Chain<Store<Shared>>> {
    let (at, me) = (queue_in(&shared)?, shared.segment().me());
    Ok(Store::new(at, shared).into_chain(me))
}

impl Core {
    /// Makes a queue, and its first handle.
    pub(super) fn make(site: &Site<'_>, plan: Plan, ends: Ends, how: Fence) -> Result<Self> {
        let too_large = || Error::new(ErrorKind::Limit, "a queue larger than the address space");
        let layout = plan.layout().ok_or_else(too_large)?;
        let init = |base: NonNull<u8>, _me| {
            // SAFETY: the block is zeroed, aligned, furnished as the layout says, and nobody
            // else's.
            unsafe { QueueAt::plan_at(base, plan) }
        };
        let (furnished, bytes) = (layout.furnished as u64, layout.total as u64);
        let handle = Cell::new(0);
        let spec = Spec { kind: Kind::Queue, bytes, furnished, init: &init };
        let shared = site.make(&spec, |shared| {
            // The handle for whoever is to see the queue first is made behind this.
            let chain = chain_of(shared.clone())?;
            chain.prepare();
            if site.has_name() {
                attach_for(chain.memory(), NAME, Ends::BOTH)?;
            }
            // Before others can come, who might take the last one.
            handle.set(attach_for(chain.memory(), shared.segment().me(), ends)?);
            Ok(())
        })?;
        Ok(Self::new(chain_of(shared)?, handle.get(), ends, how))
    }

    /// A new handle of a queue that this process holds.
    pub(super) fn attach(shared: Shared, ends: Ends, how: Fence) -> Result<Self> {
        let me = shared.segment().me();
        let chain = chain_of(shared)?;
        let handle = attach_for(chain.memory(), me, ends)?;
        Ok(Self::new(chain, handle, ends, how))
    }

    pub(super) fn new(chain: Chain<Store<Shared>>, handle: u32, ends: Ends, how: Fence) -> Self {
        let watch = fork::Watch::new();
        let Store { at, pages } = chain.memory();
        let (at, owner) = (*at, pages.segment().me());
        let core = Self {
            chain,
            at,
            handle,
            ends,
            how,
            owner,
            valid_in: watch.now(),
            watch,
            vain_looks: 0,
        };
        core.at.waiters()[core.waiter()].enter(owner + 1);
        if how == Fence::Full {
            For::EACH.iter().for_each(|&what| {
                core.bench(what).demand_fences();
            });
        }
        core
    }

    /// Another handle of the same queue, for this process.
    pub(super) fn another(&self, ends: Ends) -> Result<Self> {
        self.check_source()?;
        Self::attach(self.shared().clone(), ends, self.how)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.store().pages
    }

    pub(super) fn store(&self) -> &Store<Shared> {
        self.chain.memory()
    }

    pub(super) fn waiter(&self) -> usize {
        (FIRST_WAITER + self.handle) as usize
    }

    #[inline]
    pub(super) fn flags(&self) -> u32 {
        // Acquire: what was sent before the queue was closed is seen behind this.
        self.at.head().state.flags.load(Acquire)
    }

    /// Whether this handle is this process's.
    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        self.valid_in == self.watch.now()
    }

    /// Whether anybody can receive.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), Cause> {
        let closed = self.flags() & (CLOSED | NO_RECEIVERS);
        if closed == 0 { Ok(()) } else { Err(self.disconnected(Ends::RECEIVER)) }
    }

    /// Raises flags, and wakes everybody if they are news.
    pub(super) fn raise(&self, flags: u32) {
        // AcqRel: what was seen and done before this is seen by who sees the flags.
        let before = self.at.head().state.flags.fetch_or(flags, AcqRel);
        if before & flags != flags {
            For::EACH.iter().for_each(|&what| self.notify_all(what));
        }
    }

    /// Takes over the handle of a dead receiver, with a message in it: the handle, and where the
    /// message is.
    pub(super) fn adopt(&self) -> Option<(u32, RingAt, Place)> {
        let store = self.store();
        // Bounded: whatever is adopted is an orphan no more.
        while let Some(orphan) = recover::adopt(store, self.owner) {
            if let Some((ring, block)) = recover::legacy(store, orphan)
                && let Some(memory) = store.ring(ring)
            {
                return Some((orphan, *memory.memory(), Place { ring, block }));
            }
            handle::detach(&self.at, orphan, self.owner);
        }
        None
    }

    /// Whether another process has a message in its hands that would be ours if it died.
    pub(super) fn may_inherit(&self) -> bool {
        self.at.plan.flags.redelivers
            && (0..self.at.handles()).any(|other| {
                let may_be_left = match handle::state(&self.at, other) {
                    State::Free => false,
                    // Who is of this process dies with it.
                    State::Live { participant, .. } => participant != self.owner,
                    State::Orphan => true,
                };
                may_be_left && self.store().is_popping(other)
            })
    }

    /// After a message was let go of, or not got: who only waited to see whether he inherits it, or
    /// until it is done with, goes on.
    pub(super) fn renounce(&self) {
        let flags = self.at.plan.flags;
        let is_over = || self.flags() & (CLOSED | NO_SENDERS) != 0;
        if flags.redelivers && is_over() && self.is_awaited(For::Messages) {
            self.notify_all(For::Messages);
        }
        if flags.counts_tasks && self.is_awaited(For::Others) {
            self.notify_all(For::Others);
        }
    }

    /// Gives back what a block of this handle has in the stock.
    #[inline]
    pub(super) fn free_spill(&self, ring: &RingAt, block: u32) {
        // A stock that is damaged is left alone: who sends next hears of it.
        if let Ok(true) = self.store().free(ring, block) {
            self.notify_of_memory();
        }
    }

    /// Wakes all who wait for room in the stock. Call it after some of it was freed.
    #[inline]
    pub(super) fn notify_of_memory(&self) {
        if self.is_awaited(For::Memory) {
            self.notify_all(For::Memory);
        }
    }

    /// The message of an adopted handle is received.
    pub(super) fn deliver(&self, orphan: u32, ring: u32) {
        recover::deliver(self.store(), orphan, ring, self.owner);
        // What it had in the stock is freed.
        self.notify_of_memory();
    }

    /// The other end is gone, or the queue is closed.
    #[cold]
    pub(super) fn disconnected(&self, end: Ends) -> Cause {
        Cause::Disconnected { died: self.at.has_died(end) && self.flags() & CLOSED == 0 }
    }
}

#[cold]
pub(super) fn written_over() -> Error {
    Error::new(ErrorKind::Corrupt, "a queue was written over by something else")
}

#[cold]
pub(super) fn forked() -> Error {
    let what = "a queue that was inherited by fork belongs to the parent";
    Error::new(ErrorKind::Forked, what)
}

impl Drop for Core {
    fn drop(&mut self) {
        if !self.is_valid() && !self.inherit() {
            return;
        }
        if let Some(child) = segment::heir_in(self.shared().segment()) {
            handle::bequeath(&self.at, self.handle, self.owner, child);
            return;
        }
        self.at.waiters()[self.waiter()].release();
        // Release: who sees this sees all that was done with the messages.
        self.at.entry(self.handle).outstanding.store(0, Release);
        self.store().vacate(self.handle);
        handle::detach(&self.at, self.handle, self.owner);
        self.note_missing_ends();
        // Whoever waits for what this handle had, or had not done, need not wait any longer.
        self.notify_of_memory();
        self.renounce();
    }
}
