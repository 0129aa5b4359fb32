//! How a handle changes hands: with a courier to another process, or over a fork to a copy of this
//! one.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::Corrupt;
use crate::raw::queue::Store;
use crate::raw::swap::handle::{self, Ends, HandleTable, State};
use crate::raw::wait::Fence;
use crate::segment::Shared;
use crate::shim::AtomicU32;
use crate::shim::Ordering::*;
use crate::sys::fork;
use crate::transfer::cargo::{Arrival, Moving};

use super::core::{Core, NO_RECEIVERS, NO_SENDERS, chain_of, forked, written_over};
use super::track::Track;

impl Core {
    /// A handle that has arrived in the hands of a courier.
    pub(super) fn take_from(arrival: Arrival, number: u32, how: Fence) -> Result<Self> {
        let Arrival { shared, courier } = arrival;
        let me = shared.segment().me();
        let chain = chain_of(shared)?;
        let at = chain.memory().at;
        let is_ours = number < at.handles() && handle::hand_over(&at, number, courier, me);
        // Behind that, it is nobody else's to change.
        match handle::state(&at, number) {
            State::Live { ends, .. } if is_ours => Ok(Self::new(chain, number, ends, how)),
            _ => Err(Error::new(ErrorKind::Corrupt, "a queue came without its handle")),
        }
    }

    /// Whether another handle may be made of this one, which may be a copy that was not used yet.
    pub(super) fn check_source(&self) -> Result<()> {
        let may = self.is_valid() || self.shared().segment().is_ours() && !self.is_over();
        if may { Ok(()) } else { Err(forked()) }
    }

    /// After a fork, in the child: goes on with the handle if the parent has left it to us, and
    /// takes another one if the parent uses it on. That one's track, if so.
    #[cold]
    pub(super) fn follow_fork(&mut self) -> Result<Option<Track>> {
        if self.inherit() {
            return Ok(None);
        }
        self.check_source()?;
        let me = self.shared().segment().me();
        let taken = attach_for(self.store(), me, self.ends)?;
        let track = Track::new(self, taken).map_err(|Corrupt| written_over());
        let track = track.and_then(|track| if self.is_over() { Err(forked()) } else { Ok(track) });
        match track {
            Ok(track) => {
                self.own(taken, me);
                Ok(Some(track))
            }
            Err(error) => {
                handle::detach(&self.at, taken, me);
                Err(error)
            }
        }
    }

    /// After a fork, in the child: takes over what the parent has left to us. False if it has not:
    /// it had done so before this process could look.
    pub(super) fn inherit(&mut self) -> bool {
        let segment = self.shared().segment();
        let me = segment.me();
        let is_ours = segment.is_ours() && handle::inherit(&self.at, self.handle, me);
        if is_ours {
            self.own(self.handle, me);
        }
        is_ours
    }

    /// Notes that this handle, from now on, is number `handle`, and this process's.
    fn own(&mut self, handle: u32, me: u32) {
        (self.handle, self.owner) = (handle, me);
        self.chain.become_participant(me);
        self.valid_in = fork::generation();
        self.at.waiters()[self.waiter()].enter(me + 1);
    }

    /// Whether an end that we have was the last of its kind, and is gone.
    fn is_over(&self) -> bool {
        let gone = |end, flag| if self.ends.has(end) { flag } else { 0 };
        let flags = gone(Ends::SENDER, NO_SENDERS) | gone(Ends::RECEIVER, NO_RECEIVERS);
        self.flags() & flags != 0
    }
}

/// Takes a free handle for `participant`.
pub(super) fn attach_for(store: &Store<Shared>, participant: u32, ends: Ends) -> Result<u32> {
    let attach = || handle::attach(&store.at, participant, ends);
    let attach_for_a_dead_one = || {
        store.pages.segment().recover();
        attach()
    };
    attach().or_else(attach_for_a_dead_one).ok_or_else(|| {
        let most = store.at.handles();
        let what = format!("more than {most} handles of one queue: see QueueBuilder::handles");
        Error::new(ErrorKind::Limit, what)
    })
}

/// A handle on its way: it belongs to the courier until somebody takes it from him.
#[derive(Debug)]
pub(super) struct Passage {
    store: Store<Shared>,
    ends: Ends,
    /// The handle + 1, or 0.
    handle: AtomicU32,
}

impl Passage {
    pub(super) fn new(core: &Core) -> Self {
        let store = Store::new(core.at, core.shared().clone());
        Self { store, ends: core.ends, handle: AtomicU32::new(0) }
    }

    /// The number of the handle that travels.
    pub(super) fn number(&self) -> Option<u32> {
        // Relaxed: process-private.
        self.handle.load(Relaxed).checked_sub(1)
    }
}

impl Moving for Passage {
    fn depart(&self, courier: u32) -> Result<()> {
        if !self.store.pages.segment().is_ours() {
            return Err(forked());
        }
        let handle = attach_for(&self.store, courier, self.ends)?;
        // Relaxed: process-private.
        self.handle.store(handle + 1, Relaxed);
        Ok(())
    }

    fn come_back(&self, courier: u32) {
        if let Some(handle) = self.number() {
            handle::detach(&self.store.at, handle, courier);
        }
    }
}
