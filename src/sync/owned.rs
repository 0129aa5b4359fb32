//! What all handles with a mutex in them do alike: wait for it, say why not, and free it.

use std::cell::Cell;
use std::thread;

use crate::error::{Error, ErrorKind, LockError};
use crate::raw::mutex::{Leaving, Legacy, Me, Mutex, Refusal};
use crate::raw::wait::SUSPECT_EVERY;
use crate::segment::Segment;
use crate::sys::clock::Deadline;

use super::Holder;

/// How long a thread waits for a lock: not at all, or until a deadline.
pub(crate) type Patience = Option<Deadline>;

/// Takes a mutex of this segment.
#[inline(always)]
pub(crate) fn take(
    mutex: &Mutex,
    segment: &Segment,
    me: Me,
    patience: Patience,
) -> Result<Legacy, Refusal> {
    match patience {
        None => try_twice(segment, || mutex.try_lock(me)),
        Some(deadline) => {
            mutex.lock(me, || segment.terms(deadline), |owner| segment.suspect(owner))
        }
    }
}

thread_local! {
    static VAIN_LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// Whether it is time to ask about those for whom this thread does not wait.
pub(crate) fn is_time_to_suspect() -> bool {
    let looks = VAIN_LOOKS.get().wrapping_add(1);
    VAIN_LOOKS.set(looks);
    looks.is_multiple_of(SUSPECT_EVERY)
}

/// Tries to take a lock. Who only ever tries finds out as well that others are dead, in the end.
#[inline]
pub(crate) fn try_twice(
    segment: &Segment,
    attempt: impl Fn() -> Result<Legacy, Refusal>,
) -> Result<Legacy, Refusal> {
    let first = attempt();
    if first == Err(Refusal::Held) && is_time_to_suspect() {
        segment.recover();
        return attempt();
    }
    first
}

// The next two are inlined and call only what returns a pointer, so that the result of a lock stays
// in registers: through memory it would cost a third of the lock.

/// The error of a lock that was not taken.
#[inline(always)]
pub(crate) fn refused<G>(refusal: Refusal) -> LockError<G> {
    match refusal {
        Refusal::Held => LockError::WouldBlock,
        Refusal::TimedOut => LockError::TimedOut,
        Refusal::Own => LockError::WouldDeadlock,
        Refusal::TooMany => LockError::Failed(too_many()),
        Refusal::Corrupt => LockError::Failed(written_over()),
    }
}

#[cold]
fn too_many() -> Error {
    let what = "more readers in one process than can be counted: are guards forgotten?";
    Error::new(ErrorKind::Limit, what)
}

#[cold]
fn written_over() -> Error {
    let what = "a lock whose owner does not exist: it was written over by something else";
    Error::new(ErrorKind::Corrupt, what)
}

/// The error of a lock that was taken, and has a legacy.
#[inline(always)]
pub(crate) fn poisoned<G>(mutex: &Mutex, legacy: Legacy, guard: G) -> LockError<G> {
    if legacy.died() {
        let (participant, pid) = mutex.victim();
        LockError::OwnerDied { guard, participant, pid }
    } else {
        LockError::Panicked { guard }
    }
}

/// Which participant has the mutex.
pub(crate) fn holder_of(mutex: &Mutex, segment: &Segment) -> Option<Holder> {
    mutex.owner().map(|owner| Holder::new(segment, owner, mutex.depth().max(1)))
}

/// Whose a guard is, and whether its thread panicked already when it got it.
///
/// One word, as a guard that is written in parts and moved as a whole costs a third of a lock.
#[derive(Clone, Copy)]
pub(crate) struct Claim(u64);

impl Claim {
    const PANICKING: u64 = 1 << 32;
    const MARKED: u64 = 1 << 33;

    #[inline]
    pub(crate) fn new(me: Me) -> Self {
        let panicking = if thread::panicking() { Self::PANICKING } else { 0 };
        Self(u64::from(me.participant) | panicking)
    }

    /// With a mark that means what the guard likes.
    #[inline]
    pub(crate) fn marked(self, is_marked: bool) -> Self {
        if is_marked { Self(self.0 | Self::MARKED) } else { self }
    }

    #[inline]
    pub(crate) fn is_marked(self) -> bool {
        self.0 & Self::MARKED != 0
    }

    /// The participant that took the lock.
    #[inline]
    pub(crate) fn owner(self) -> u32 {
        self.0 as u32
    }

    /// How the owner leaves.
    #[inline]
    pub(crate) fn leaving(self) -> Leaving {
        let began = self.0 & Self::PANICKING == 0 && thread::panicking();
        if began { Leaving::Panicked } else { Leaving::Done }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({})", self.owner())
    }
}

/// Writes what a mutex looks like, for `Debug`.
pub(crate) fn describe(
    debug: &mut std::fmt::DebugStruct<'_, '_>,
    mutex: &Mutex,
    segment: &Segment,
) {
    match holder_of(mutex, segment) {
        Some(holder) => debug.field("held_by", &holder.pid),
        None => debug.field("held_by", &format_args!("nobody")),
    };
    debug.field("is_awaited", &mutex.is_awaited());
    debug.field("is_poisoned", &!mutex.legacy().is_none());
}
