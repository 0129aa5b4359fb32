//! A lane: one direction of a pipe, from its writer to its reader.
//!
//! ```text
//!   0  Head      what kind of ring, how large, of what type; written before anybody else looks
//! 128  writer    its seat and its owner
//! 256  reader    its seat and its owner
//! 384  the ring: slots (`spsc`) or frames (`frame`)
//! ```
//!
//! Each side belongs to one participant at a time, or to nobody once it is closed:
//!
//! ```text
//! owner:  p + 1 -> q + 1   by p, handing the side to q (a courier), or by q taking it from him
//!         p + 1 -> 0       by p closing it, or by the reaper of p; `CLOSED` is raised first
//! ```

use crate::shim::{AtomicU32, AtomicU64, Ordering::*, at, kill_point, mutant};

use super::seat::Seat;
use super::wait::Fence;

/// The side is given up: nobody will ever write, or read, here again.
pub(crate) const CLOSED: u32 = Seat::flag(0);
/// ... because its owner died.
pub(crate) const DIED: u32 = Seat::flag(1);

/// Where the ring begins.
pub(crate) const RING_AT: usize = 384;

/// Which side of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// What a lane is made for. Checked by whoever attaches, and then kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The size of a slot in bytes; `None` for frames.
    pub(crate) slot: Option<u32>,
    /// The number of slots, or of bytes for frames.
    pub(crate) capacity: u64,
    /// A hash of the type and the codec of the messages.
    pub(crate) fingerprint: u64,
}

/// The part of a lane before its ring. All atomics, so any bytes are a valid one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lane {
    head: Head,
    writer: Side,
    reader: Side,
}

#[derive(Debug)]
#[repr(C, align(128))]
struct Head {
    /// Slot size + 1, or 0 for frames.
    slot: AtomicU64,
    capacity: AtomicU64,
    fingerprint: AtomicU64,
}

/// One side: where its owner waits, and who that is.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Side {
    /// Publishers of the other side read this word for every message, so it changes rarely.
    pub(crate) seat: Seat,
    owner: AtomicU32,
}

impl Lane {
    /// Completes a new lane whose sides both belong to `me`, before anybody else can see it.
    pub(crate) fn prepare(&self, geometry: Geometry, me: u32) {
        // Relaxed, all: published with the block.
        let slot = geometry.slot.map_or(0, |size| u64::from(size) + 1);
        self.head.slot.store(slot, Relaxed);
        self.head.capacity.store(geometry.capacity, Relaxed);
        self.head.fingerprint.store(geometry.fingerprint, Relaxed);
        self.writer.owner.store(naming(me), Relaxed);
        self.reader.owner.store(naming(me), Relaxed);
    }

    /// What the maker wrote down. Read once; check it before it is used.
    pub(crate) fn geometry(&self) -> Geometry {
        // Relaxed, all: written before the block was opened.
        let slot = self.head.slot.load(Relaxed).checked_sub(1);
        Geometry {
            slot: slot.map(|size| u32::try_from(size).unwrap_or(u32::MAX)),
            capacity: self.head.capacity.load(Relaxed),
            fingerprint: self.head.fingerprint.load(Relaxed),
        }
    }

    pub(crate) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Writer => &self.writer,
            Role::Reader => &self.reader,
        }
    }

    pub(crate) fn other_side(&self, role: Role) -> &Side {
        match role {
            Role::Writer => &self.reader,
            Role::Reader => &self.writer,
        }
    }

    /// Hands a side over. False if it was not `from`'s.
    pub(crate) fn hand_over(&self, role: Role, from: u32, to: u32) -> bool {
        // AcqRel `side-handed`, paired with itself: what the last owner did to the ring happens
        // before what the next one does.
        let owner = &self.side(role).owner;
        owner.compare_exchange(naming(from), naming(to), at(AcqRel, "side-handed"), Relaxed).is_ok()
    }

    /// Closes a side that belongs to `owner`, and wakes the other. Idempotent; false if it is not
    /// his.
    pub(crate) fn close(&self, role: Role, owner: u32, died: bool) -> bool {
        let side = self.side(role);
        // Relaxed: only he, or the one reaper of him, changes the word while it names him.
        if side.owner.load(Relaxed) != naming(owner) {
            return false;
        }
        // Flags before owner: a side without an owner is closed, whenever this stops.
        side.seat.raise(if died { CLOSED | DIED } else { CLOSED });
        kill_point("lane-flagged");
        // Relaxed: nobody takes a side that nobody has, so nothing is ordered by it.
        let _ = side.owner.compare_exchange(naming(owner), 0, Relaxed, Relaxed);
        kill_point("lane-closed");
        // The other side sleeps on its own seat; it looks at our flags when it wakes.
        if !mutant("lane-wake") {
            self.other_side(role).seat.raise(0);
        }
        true
    }

    /// Closes whatever side belonged to a participant that is gone.
    pub(crate) fn sweep(&self, gone: u32, died: bool) {
        for role in [Role::Writer, Role::Reader] {
            self.close(role, gone, died);
        }
        // A peer may wait for a wake that the dead took upon himself and did not make.
        if !mutant("lane-rescue") {
            self.writer.seat.raise(0);
            self.reader.seat.raise(0);
        }
    }
}

impl Side {
    /// Whose side it is, if anybody's.
    pub(crate) fn owner(&self) -> Option<u32> {
        // Relaxed: asked by somebody who will ask the kernel about the answer.
        self.owner.load(Relaxed).checked_sub(1)
    }

    /// Whether its owner sleeps until the other side does something, or is about to.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.seat.is_parked()
    }

    /// Closes a side that has no owner and is not closed, as only foreign bytes can leave it, such
    /// as zeros. Nobody else ever would.
    #[cold]
    pub(crate) fn close_unowned(&self) {
        if self.owner().is_none() && !self.is_closed() {
            self.seat.raise(CLOSED);
        }
    }

    /// Whether nobody will ever act on this side again. Look at the ring once more after a yes.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.seat.flags() & CLOSED != 0
    }

    /// Whether it is closed because its owner died.
    pub(crate) fn has_died(&self) -> bool {
        self.seat.flags() & DIED != 0
    }

    /// Wakes whoever waits on this side. Call it after the Release store that he waits for.
    #[inline]
    pub(crate) fn notify(&self, how: Fence) {
        self.seat.notify(how);
    }
}

/// The owner word of a participant. No participant has the number that would wrap around to nobody,
/// but a parcel may claim so.
fn naming(participant: u32) -> u32 {
    participant.saturating_add(1)
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Lane>() == RING_AT);

#[cfg(multiproc_loom)]
impl Lane {
    pub(crate) fn new() -> Self {
        let side = || Side { seat: Seat::new(), owner: AtomicU32::new(0) };
        let head = Head {
            slot: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            fingerprint: AtomicU64::new(0),
        };
        Self { head, writer: side(), reader: side() }
    }
}
