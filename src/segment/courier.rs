//! Couriers: participants that are not processes but parcels on their way.
//!
//! A handle in a pipe or a socket has left its sender and has not reached anybody. Meanwhile a
//! courier holds its objects: an entry of its own whose lease belongs to an open file description
//! that travels inside the message. If the message is lost, the kernel closes the description, the
//! lease is free, and whoever looks next recovers the courier like any other dead participant.
//!
//! The receiver takes over from him, handle by handle, and dismisses him when the parcel is
//! unpacked: what is still his then was wanted by nobody, and is closed. A process that is not yet
//! in the segment enters it first; meanwhile the courier keeps everything, so it is there for a
//! child before its first instruction.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::participants::PARTICIPANTS_MAX;
use crate::sys::holder::Holder;
use crate::sys::memfd;

use super::{Segment, registry};

/// A participant of `segment` whose lease is `lease`, made by this process or received by it.
#[derive(Debug)]
pub(crate) struct Courier {
    segment: Arc<Segment>,
    id: u32,
    lease: Holder,
    /// Whether somebody else answers for him now.
    is_gone: bool,
}

impl Courier {
    /// Sends for a courier.
    pub(crate) fn new(segment: &Arc<Segment>) -> Result<Self> {
        if !segment.is_ours() {
            let what = "a handle that was inherited by fork belongs to the parent";
            return Err(Error::new(ErrorKind::Forked, what));
        }
        let what = || "open a segment once more, to pass it on".to_owned();
        // Before he has the lease: a child that is forked meanwhile lets go of it.
        let lease = Holder::new(memfd::reopen(segment.memory.as_fd()).context(what)?);
        // He is nobody's process.
        let mut id = segment.join(lease.as_fd(), 0)?;
        if id.is_none() {
            // Full of corpses, perhaps.
            segment.recover();
            id = segment.join(lease.as_fd(), 0)?;
        }
        let id = id.ok_or_else(too_many)?;
        Ok(Self { segment: Arc::clone(segment), id, lease, is_gone: false })
    }

    /// The courier of a parcel that has arrived.
    pub(super) fn arrived(segment: &Arc<Segment>, id: u32, lease: OwnedFd) -> Self {
        let lease = Holder::new(lease);
        Self { segment: Arc::clone(segment), id, lease, is_gone: false }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What must travel.
    pub(crate) fn lease(&self) -> BorrowedFd<'_> {
        self.lease.as_fd()
    }

    /// Lets him hold a block that this process holds.
    pub(crate) fn hold(&self, block: u32) {
        if let Some(block) = self.segment.blocks().get(block as usize) {
            block.hold(self.id);
        }
    }

    /// His parcel is on its way, with a copy of his lease: from now on it is the receiver's
    /// business.
    pub(crate) fn send_off(mut self) {
        self.let_go();
    }

    /// Somebody else answers for him from now on; only his lease is ours, until he is dropped.
    pub(super) fn let_go(&mut self) {
        self.is_gone = true;
    }

    /// Goes over a fork, to be the child.
    pub(super) fn leave_to_child(mut self) -> Self {
        self.lease.leave_to_child();
        self
    }

    /// Gives the description away to a process that becomes him.
    pub(super) fn into_lease(mut self) -> (u32, BorrowedLease) {
        self.is_gone = true;
        (self.id, BorrowedLease(self))
    }
}

/// Keeps the description open while it is being copied.
pub(super) struct BorrowedLease(Courier);

impl AsFd for BorrowedLease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.lease.as_fd()
    }
}

pub(super) fn too_many() -> Error {
    let what = format!("more than {PARTICIPANTS_MAX} processes and parcels in one segment");
    Error::new(ErrorKind::Limit, what)
}

impl Drop for Courier {
    fn drop(&mut self) {
        if self.is_gone || !self.segment.is_ours() {
            return;
        }
        let _gate = registry::gate();
        // Whatever nobody took from him is closed and given back, as if he had died.
        self.segment.sweep(self.id, false);
        self.segment.entries()[self.id as usize].leave();
    }
}
