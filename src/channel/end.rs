//! An end: the ownership of one side of a lane, in this process.
//!
//! It closes the side when it is dropped, hands it over when it travels, and takes it along when
//! the process forks.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::lane::{Lane, Role, Side};
use crate::raw::wait::{Fence, Terms};
use crate::segment::{Segment, Shared};
use crate::shim::{AtomicU32, Ordering::*};
use crate::sys::clock::Deadline;
use crate::transfer::cargo::Moving;

/// No participant: the side is no longer this end's.
const GONE: u32 = u32::MAX;

/// One side of a lane, owned by this process.
#[derive(Debug)]
pub(super) struct End {
    shared: Shared,
    role: Role,
    /// As which participant we own it. Process-private; shared with the parcel it may leave in.
    owner: AtomicU32,
}

impl End {
    /// The end whose side belongs to participant `owner`, which is this process.
    pub(super) fn new(shared: Shared, role: Role, owner: u32) -> Arc<Self> {
        Arc::new(Self { shared, role, owner: AtomicU32::new(owner) })
    }

    /// Takes a side that has arrived in the hands of a courier.
    pub(super) fn take_from(shared: Shared, role: Role, courier: u32) -> Result<Arc<Self>> {
        let me = shared.segment().me();
        let end = Self { shared, role, owner: AtomicU32::new(GONE) };
        if !end.lane().hand_over(role, courier, me) {
            let what = format!("the {role:?} of a pipe came without its ownership");
            return Err(Error::new(ErrorKind::Corrupt, what));
        }
        end.owner.store(me, Relaxed);
        Ok(Arc::new(end))
    }

    #[inline]
    pub(super) fn lane(&self) -> &Lane {
        // SAFETY: a lane is atomics, and lies at the beginning of every block of its kind, which
        // `pipe` makes and `travel` checks.
        unsafe { self.shared.get::<Lane>() }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The side where we wait.
    #[inline]
    pub(super) fn our_side(&self) -> &Side {
        self.lane().side(self.role)
    }

    /// The side where the peer waits, and which says whether he is still there.
    #[inline]
    pub(super) fn their_side(&self) -> &Side {
        self.lane().other_side(self.role)
    }

    /// How this process waits in this segment.
    pub(super) fn terms(&self, how: Fence, deadline: Deadline) -> Terms<'_> {
        Terms { epoch: self.shared.segment().death_epoch(), how, deadline }
    }

    /// Whether the side is still this end's.
    #[inline]
    pub(super) fn is_owned(&self) -> bool {
        // Relaxed: process-private.
        self.owner.load(Relaxed) != GONE
    }

    /// Asks the kernel whether the owner of the other side is dead, and cleans up after him if so.
    pub(super) fn suspect_peer(&self) {
        match self.their_side().owner() {
            Some(owner) => {
                self.shared.segment().recover_one(owner);
            }
            None => self.their_side().close_unowned(),
        }
    }

    /// After a fork: takes the side for the child, if the fork was one that handles come through.
    pub(super) fn follow_fork(&self) -> Result<()> {
        let forked = || {
            let what = "a connection that was inherited by fork belongs to the parent";
            Error::new(ErrorKind::Forked, what)
        };
        let segment = self.shared.segment();
        // Relaxed: process-private.
        let owner = self.owner.load(Relaxed);
        if !segment.is_ours() || owner == GONE {
            return Err(forked());
        }
        let me = segment.me();
        // The parent may have handed it over already, when it dropped its copy.
        let taken = owner == me
            || self.our_side().owner() == Some(me)
            || self.lane().hand_over(self.role, owner, me);
        if !taken {
            return Err(forked());
        }
        self.owner.store(me, Relaxed);
        Ok(())
    }
}

impl Moving for End {
    fn depart(&self, courier: u32) -> bool {
        // Relaxed: process-private; an end moves in the thread that has it.
        let owner = self.owner.load(Relaxed);
        let departs = owner != GONE && self.lane().hand_over(self.role, owner, courier);
        if departs {
            self.owner.store(GONE, Relaxed);
        }
        departs
    }

    fn come_back(&self, courier: u32) {
        let me = self.shared.segment().me();
        if self.lane().hand_over(self.role, courier, me) {
            self.owner.store(me, Relaxed);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Relaxed: process-private.
        let owner = self.owner.load(Relaxed);
        if owner == GONE || !self.shared.segment().is_ours() {
            return;
        }
        if let Some(child) = child_in(self.shared.segment()) {
            self.lane().hand_over(self.role, owner, child);
        } else {
            self.lane().close(self.role, owner, false);
        }
    }
}

thread_local! {
    /// While the parent drops what a forked child has got: the child's number in each segment.
    static HEIR: RefCell<Vec<(Arc<Segment>, u32)>> = const { RefCell::new(Vec::new()) };
}

fn child_in(segment: &Arc<Segment>) -> Option<u32> {
    HEIR.with_borrow(|heir| {
        heir.iter().find(|(own, _)| Arc::ptr_eq(own, segment)).map(|(_, child)| *child)
    })
}

/// Drops `inherited`, handing the ends in it to a forked child instead of closing them.
pub(crate) fn bequeath<T>(inherited: T, child: Vec<(Arc<Segment>, u32)>) {
    let before = HEIR.replace(child);
    drop(inherited);
    HEIR.set(before);
}
