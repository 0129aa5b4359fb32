//! An end: the ownership of one side of a lane, in this process.
//!
//! It closes the side when it is dropped, hands it over when it travels, and takes it along when
//! the process forks.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::kind::Kind;
use crate::raw::lane::{Lane, Role, Side};
use crate::raw::wait::{Fence, SUSPECT_EVERY, Terms};
use crate::segment::{self, Shared};
use crate::shim::{AtomicU32, Ordering::*};
use crate::sys::clock::Deadline;
use crate::sys::fork;
use crate::transfer::cargo::Moving;

/// No participant: the side is no longer this end's.
const GONE: u32 = u32::MAX;

/// No generation, not even that of a fork which has not asked for its own.
const NEVER: u32 = u32::MAX;

/// One side of a lane, owned by this process.
#[derive(Debug)]
pub(super) struct End {
    shared: Shared,
    role: Role,
    /// Our side of the lane and the other one, so that every message finds them at one look.
    ours: NonNull<Side>,
    theirs: NonNull<Side>,
    /// As which participant we own it. Process-private; shared with the parcel it may leave in.
    owner: AtomicU32,
    /// In which generation of forks it is ours: the one word that every use looks at.
    valid_in: AtomicU32,
    watch: fork::Watch,
    /// How often a look that does not wait found nothing.
    vain_looks: AtomicU32,
}

// SAFETY: the pointers lead into shared memory that `shared`, which is Send and Sync, keeps mapped;
// a side is atomics.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

impl End {
    /// The end whose side belongs to participant `owner`, which is this process.
    pub(super) fn new(shared: Shared, role: Role, owner: u32) -> Arc<Self> {
        // SAFETY: as in `lane`.
        let lane = unsafe { shared.get::<Lane>() };
        let (ours, theirs) = (lane.side(role).into(), lane.other_side(role).into());
        let watch = fork::Watch::new();
        let valid_in = AtomicU32::new(watch.now());
        let owner = AtomicU32::new(owner);
        let vain_looks = AtomicU32::new(0);
        Arc::new(Self { shared, role, ours, theirs, owner, valid_in, watch, vain_looks })
    }

    /// Takes a side that has arrived in the hands of a courier.
    pub(super) fn take_from(shared: Shared, role: Role, courier: u32) -> Result<Arc<Self>> {
        let me = shared.segment().me();
        let end = Self::new(shared, role, GONE);
        if !end.lane().hand_over(role, courier, me) {
            let what = format!("the {role:?} of a pipe came without its ownership");
            return Err(Error::new(ErrorKind::Corrupt, what));
        }
        end.own(me);
        Ok(end)
    }

    /// The side of a lane that was found, and must be ours.
    pub(super) fn found(shared: Shared, role: Role) -> Result<Arc<Self>> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a pipe that is none");
        if !shared.is(Kind::Lane) {
            return Err(corrupt());
        }
        let me = shared.segment().me();
        let end = Self::new(shared, role, me);
        if end.our_side().owner() == Some(me) { Ok(end) } else { Err(corrupt()) }
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
        // SAFETY: a reference into the lane when it was made; `shared` keeps the lane mapped.
        unsafe { self.ours.as_ref() }
    }

    /// The side where the peer waits, and which says whether he is still there.
    #[inline]
    pub(super) fn their_side(&self) -> &Side {
        // SAFETY: as above.
        unsafe { self.theirs.as_ref() }
    }

    /// How this process waits in this segment.
    pub(super) fn terms(&self, how: Fence, deadline: Deadline) -> Terms<'_> {
        Terms { epoch: self.shared.segment().death_epoch(), how, deadline }
    }

    /// Whether the side is this end's, and this process is the one it was made in.
    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        // Relaxed: process-private.
        self.valid_in.load(Relaxed) == self.watch.now()
    }

    /// Notes as whom, and in which process, this end has its side.
    fn own(&self, participant: u32) {
        // Relaxed, both: process-private.
        self.owner.store(participant, Relaxed);
        let is_gone = participant == GONE;
        self.valid_in.store(if is_gone { NEVER } else { fork::generation() }, Relaxed);
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

    /// Gives the side up: to a forked child if it is bequeathed, else for good. True if it is
    /// closed by this.
    pub(super) fn close(&self) -> bool {
        if self.follow_fork().is_err() {
            return false;
        }
        // Relaxed: process-private.
        let owner = self.owner.load(Relaxed);
        self.own(GONE);
        if let Some(child) = segment::heir_in(self.shared.segment()) {
            self.lane().hand_over(self.role, owner, child);
            return false;
        }
        self.lane().close(self.role, owner, false)
    }

    /// Suspects the peer now and then, for a caller that looks again and again and never waits.
    pub(super) fn looked_in_vain(&self) {
        // Relaxed: process-private, and only about how often.
        let looks = self.vain_looks.load(Relaxed).wrapping_add(1);
        self.vain_looks.store(looks, Relaxed);
        if looks.is_multiple_of(SUSPECT_EVERY) {
            self.suspect_peer();
        }
    }

    /// After a fork: takes the side for the child, if the fork was one that handles come through.
    #[cold]
    pub(super) fn follow_fork(&self) -> Result<()> {
        let forked = || {
            let what = "a connection that was inherited by fork belongs to the parent";
            Error::new(ErrorKind::Forked, what)
        };
        let segment = self.shared.segment();
        if !segment.is_ours() {
            return Err(forked());
        }
        // Relaxed: process-private.
        let owner = self.owner.load(Relaxed);
        if owner == GONE {
            return Err(moved());
        }
        let me = segment.me();
        // The parent may have handed it over already, when it dropped its copy.
        let taken = owner == me
            || self.our_side().owner() == Some(me)
            || self.lane().hand_over(self.role, owner, me);
        if !taken {
            return Err(forked());
        }
        self.own(me);
        Ok(())
    }
}

fn moved() -> Error {
    Error::new(ErrorKind::Misuse, "a connection that has moved elsewhere")
}

impl Moving for End {
    fn depart(&self, courier: u32) -> Result<()> {
        self.follow_fork()?;
        // Relaxed: process-private; an end moves in the thread that has it.
        let owner = self.owner.load(Relaxed);
        if owner == GONE || !self.lane().hand_over(self.role, owner, courier) {
            return Err(moved());
        }
        self.own(GONE);
        Ok(())
    }

    fn come_back(&self, courier: u32) {
        let me = self.shared.segment().me();
        if self.lane().hand_over(self.role, courier, me) {
            self.own(me);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}
