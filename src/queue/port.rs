//! A handle and the ring that it stands at: the state behind every public type of this room.

use std::marker::PhantomData;

use crate::error::{Cause, Error, Result};
use crate::raw::Corrupt;
use crate::raw::queue::RingAt;
use crate::raw::swap::chain::Place;
use crate::shim::Ordering::*;

use super::body::{Body, Room};
use super::core::{CLOSED, Core, written_over};
use super::spill::Spill;
use super::track::Track;

/// A handle keeps at most so many bytes for its next message.
const SCRATCH_MAX: usize = 256 << 10;

/// One handle of one queue, with what its messages need.
pub(super) struct Port<T, C> {
    pub(super) core: Core,
    pub(super) track: Track,
    pub(super) room: Room,
    /// The length of every message, where all have the same and lie in their blocks.
    fixed: Option<usize>,
    /// The message that is held in the place of somebody who died with it.
    pub(super) legacy: Option<Legacy>,
    /// Whether a guard has a message that is delivered again if we die with it. Still so when
    /// there is no guard: it was forgotten.
    pub(super) is_guarded: bool,
    /// What went wrong behind the last message of a batch; the next call tells.
    pub(super) owed: Option<Error>,
    /// How many messages were received and not yet said to be done with.
    pub(super) outstanding: u64,
    pub(super) bytes: Vec<u8>,
    codec: PhantomData<fn(T, C) -> T>,
}

/// A message in the hands of a dead receiver, whose handle was adopted to deliver it.
#[derive(Debug)]
pub(super) struct Legacy {
    handle: u32,
    ring: RingAt,
    place: Place,
}

impl<T, C> Port<T, C> {
    pub(super) fn new(core: Core) -> Result<Self> {
        let plan = core.at.plan;
        let track = Track::new(&core, core.handle).map_err(|Corrupt| written_over())?;
        let room = Room::new(plan.payload_at, plan.room());
        let is_fixed = plan.flags.is_fixed && size_of::<T>() <= room.bytes();
        let fixed = is_fixed.then_some(size_of::<T>());
        Ok(Self {
            core,
            track,
            room,
            fixed,
            legacy: None,
            is_guarded: false,
            owed: None,
            outstanding: 0,
            bytes: Vec::new(),
            codec: PhantomData,
        })
    }

    /// Whether the handle is this process's. In a forked child, it may become another one.
    #[inline]
    pub(super) fn check(&mut self) -> Result<()> {
        if self.core.is_valid() { Ok(()) } else { self.follow_fork() }
    }

    /// Whether this handle may send: it is ours, and somebody may receive.
    #[inline]
    pub(super) fn check_open(&mut self) -> Result<(), Cause> {
        self.check()?;
        // What is written next would be delivered in its place.
        self.drop_forgotten();
        self.core.check_open()
    }

    #[cold]
    fn follow_fork(&mut self) -> Result<()> {
        if let Some(track) = self.core.follow_fork()? {
            self.track = track;
            (self.legacy, self.owed, self.outstanding) = (None, None, 0);
            self.is_guarded = false;
        }
        Ok(())
    }

    /// A buffer for the next message: what a long one took is given back.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) {
        self.bytes = if bytes.capacity() > SCRATCH_MAX { Vec::new() } else { bytes };
    }

    /// How many messages wait. 0 of a queue that is damaged.
    pub(super) fn len(&self) -> usize {
        self.track.len(&self.core).unwrap_or(0) as usize
    }

    /// Closes the queue for everybody.
    pub(super) fn close(&self) {
        // Of a queue that is damaged, everybody will hear.
        let _ = self.track.close(&self.core);
        self.core.raise(CLOSED);
    }

    /// The message that is held.
    #[inline]
    pub(super) fn body(&mut self) -> Result<Body, Cause> {
        let (ring, block) = match (&mut self.track, &self.legacy) {
            (Track::Wide(wide), _) => return Ok(wide.body(self.fixed.unwrap_or(0))),
            (Track::Swap(_), Some(legacy)) => (legacy.ring, legacy.place.block),
            (Track::Swap(hand), None) => (*hand.head_memory(), hand.incoming().block),
        };
        if let Some(length) = self.fixed {
            return Ok(self.room.body(&ring, block, length));
        }
        // Relaxed: the message came with the block.
        let length = ring.length(block).load(Relaxed) as usize;
        if length <= self.room.bytes() {
            return Ok(self.room.body(&ring, block, length));
        }
        Spill { core: &self.core, ring: &ring, block }.find(length)
    }

    /// Lets go of the message that is held: it is received.
    #[inline]
    pub(super) fn release(&mut self) {
        let Track::Swap(hand) = &self.track else { return };
        let flags = self.core.at.plan.flags;
        if flags.counts_tasks {
            self.outstanding += 1;
            // Release: before the message is let go of, so that it is always in one of both.
            let entry = self.core.at.entry(self.core.handle);
            entry.outstanding.store(self.outstanding, Release);
        }
        match self.legacy.take() {
            None => {
                // First: what is delivered again, if we die in between, must be whole.
                self.core.chain.acknowledge(hand);
                if self.core.at.plan.units > 0 {
                    self.core.free_spill(hand.head_memory(), hand.incoming().block);
                }
            }
            Some(legacy) => self.core.deliver(legacy.handle, legacy.place.ring),
        }
        if flags.redelivers {
            self.core.renounce();
        }
    }
}

impl<T, C> Port<T, C> {
    /// Lets go of what a forgotten guard held.
    #[inline]
    pub(super) fn drop_forgotten(&mut self) {
        if self.is_guarded {
            self.drop_guarded();
        }
    }

    #[cold]
    fn drop_guarded(&mut self) {
        self.is_guarded = false;
        match (self.legacy.take(), &self.track) {
            (Some(legacy), _) => self.core.deliver(legacy.handle, legacy.place.ring),
            (None, Track::Swap(hand)) => self.core.chain.acknowledge(hand),
            (None, Track::Wide(_)) => {}
        }
        self.core.renounce();
    }
}

impl<T, C> Drop for Port<T, C> {
    fn drop(&mut self) {
        // The copy in a forked child holds nothing: the message is in the parent's hands.
        if self.core.is_valid() {
            self.drop_forgotten();
        }
    }
}

impl Legacy {
    /// Takes over what a dead receiver had in its hands, if there is something.
    pub(super) fn find(core: &Core) -> Option<Self> {
        let (handle, ring, place) = core.adopt()?;
        Some(Self { handle, ring, place })
    }
}
