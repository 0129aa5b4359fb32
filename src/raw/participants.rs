//! Who is attached: one entry a participant, which is a process, or a parcel on its way to one.
//!
//! An entry says *that* somebody is there; whether he still lives is asked of the kernel (the lease
//! on the byte of the entry's number), never of a pid, a clock or a heartbeat.
//!
//! ```text
//! word:  63        32 31           8 7      0
//!       [ generation | reaper + 1   | state  ]
//!
//! FREE(g)      -> LIVE(g)        by whoever holds the lease of this entry
//! LIVE(g)      -> FREE(g + 1)    by the participant itself, having given everything back
//! LIVE(g)      -> REAPING(g, r)  by r, who saw that the lease is free
//! REAPING(g,r) -> REAPING(g, s)  by s, who saw that the lease of r is free
//! REAPING(g,r) -> FREE(g + 1)    by r, as the last thing it does
//!
//! RESERVED(g)  -> LIVE(g)        by whoever holds the lease of this entry, and was meant to come
//! RESERVED(g)  -> REAPING(g, r)  by r, who saw that the name is gone
//! ```
//!
//! A **reserved** entry stands for nobody yet, in a segment that strangers find by its name: it
//! holds what is meant for those who come, as long as they can come.
//!
//! Reaping may stop after any step: whoever comes next starts again, for every step is idempotent.
//! Whoever reaps a reaper takes over its corpses before he frees its entry: the next participant
//! there would be alive, and nobody could tell any more that their reaper is dead.

use crate::shim::{AtomicU32, AtomicU64, Ordering::*, at, mutant};

/// How many participants one segment can have at once, parcels on their way included.
#[cfg(not(multiproc_loom))]
pub(crate) const PARTICIPANTS_MAX: u32 = 1024;
#[cfg(multiproc_loom)]
pub(crate) const PARTICIPANTS_MAX: u32 = 128;

const FREE: u64 = 0;
const LIVE: u64 = 1;
const REAPING: u64 = 2;
const RESERVED: u64 = 3;

const STATE: u64 = 0xff;
const REAPER: u64 = 0xff_ffff << 8;
const GENERATION: u64 = 1 << 32;

/// One entry of the table. Zeroed memory is a free entry.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Participant {
    word: AtomicU64,
    /// For people who look; nothing is decided by it.
    pid: AtomicU32,
}

/// The right to give back what a dead participant held, and the duty to say when it is done.
#[derive(Debug)]
#[must_use = "an entry that is not finished stays occupied until its reaper dies"]
pub(crate) struct Reap {
    word: u64,
    of_reserved: bool,
}

impl Reap {
    /// Whether nobody has ever come to this entry, and nobody can any more.
    pub(crate) fn is_of_reserved(&self) -> bool {
        self.of_reserved
    }
}

/// Where an entry stands, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Free,
    Live,
    /// What it held is being given back, by this participant.
    Reaped {
        by: u32,
    },
    Reserved,
    /// The word is none of an entry.
    Corrupt,
}

impl Participant {
    /// Where the entry stands, as of now.
    pub(crate) fn standing(&self) -> Standing {
        // Relaxed: a remark.
        let seen = self.word.load(Relaxed);
        match seen & STATE {
            FREE => Standing::Free,
            LIVE => Standing::Live,
            RESERVED => Standing::Reserved,
            REAPING => match (((seen & REAPER) >> 8) as u32).checked_sub(1) {
                Some(by) => Standing::Reaped { by },
                None => Standing::Corrupt,
            },
            _ => Standing::Corrupt,
        }
    }

    /// Enters, for a caller that holds the lease of this entry. False if the entry is not free.
    pub(crate) fn join(&self, pid: u32) -> bool {
        // Relaxed: the exchange below decides.
        let seen = self.word.load(Relaxed);
        if seen & STATE != FREE {
            return false;
        }
        self.enter(seen, pid)
    }

    /// Makes the entry, seen free or reserved, that of a participant.
    fn enter(&self, seen: u64, pid: u32) -> bool {
        let live = (seen & !(STATE | REAPER)) | LIVE;
        // Acquire `entry-changed`: what the last participant of this entry held has been given
        // back. Release `entry-changed`: whoever reads LIVE asks for the lease after it was
        // taken.
        let entered =
            self.word.compare_exchange(seen, live, at(AcqRel, "entry-changed"), Relaxed).is_ok();
        if entered {
            // Relaxed: a remark.
            self.pid.store(pid, Relaxed);
        }
        entered
    }

    /// Sets a free entry aside, for the maker of a segment that nobody else can see yet.
    pub(crate) fn reserve(&self) {
        // Relaxed: the segment is published later.
        self.word.store(RESERVED, Relaxed);
    }

    /// Whether the entry is set aside, and nobody has come yet.
    pub(crate) fn is_reserved(&self) -> bool {
        // Relaxed: a hint about whom to ask the kernel for.
        self.word.load(Relaxed) & STATE == RESERVED
    }

    /// Enters under a number that was set aside, for a caller that holds its lease. False if
    /// somebody else has come, or nobody can come any more.
    pub(crate) fn join_reserved(&self, pid: u32) -> bool {
        // Relaxed: the exchange below decides.
        let seen = self.word.load(Relaxed);
        if seen & STATE != RESERVED {
            return false;
        }
        if mutant("participants-guest-blind") {
            self.word.store((seen & !(STATE | REAPER)) | LIVE, at(Release, "entry-changed"));
            return true;
        }
        self.enter(seen, pid)
    }

    /// Takes over an entry that somebody else joined on this process's behalf.
    pub(crate) fn adopt(&self, pid: u32) {
        // Relaxed: a remark.
        self.pid.store(pid, Relaxed);
    }

    /// Leaves. The caller holds nothing any more, and gives the lease up afterwards.
    pub(crate) fn leave(&self) {
        // Relaxed: nobody but its participant changes a live entry whose lease is held.
        let seen = self.word.load(Relaxed);
        if seen & STATE == LIVE {
            let free = (seen & !(STATE | REAPER)).wrapping_add(GENERATION);
            // Release `entry-changed`: pairs with Acquire `entry-changed` in `join`.
            // A refusal means that the entry was scribbled over; then it is not ours to free.
            let _ = self.word.compare_exchange(seen, free, at(Release, "entry-changed"), Relaxed);
        }
    }

    /// The process in this entry, by its own account.
    pub(crate) fn pid(&self) -> u32 {
        // Relaxed: a remark.
        self.pid.load(Relaxed)
    }

    /// Whether anybody is in this entry, dead or alive.
    pub(crate) fn is_occupied(&self) -> bool {
        // Relaxed: a hint about whom to ask the kernel for.
        self.word.load(Relaxed) & STATE != FREE
    }

    /// Whether this is a corpse that participant `reaper` claimed, and has not finished.
    pub(crate) fn is_reaped_by(&self, reaper: u32) -> bool {
        // Relaxed: a hint about whom to claim.
        let seen = self.word.load(Relaxed);
        seen & STATE == REAPING && (seen & REAPER) >> 8 == u64::from(reaper) + 1
    }

    /// Claims the corpse in this entry, number `id`, for `me`; `None` if there is none to claim.
    ///
    /// `is_dead` asks the kernel for the lease of a participant. The order is what makes it safe:
    /// read the word, *then* ask, *then* exchange exactly that word. Asked first, the answer could
    /// belong to an earlier participant of the same entry.
    pub(crate) fn claim(
        &self,
        id: u32,
        me: u32,
        mut is_dead: impl FnMut(u32) -> bool,
    ) -> Option<Reap> {
        let asked_too_early = mutant("participants-ask-first") && is_dead(id);
        // Acquire `entry-changed`: pairs with the AcqRel in `join`; the question comes after it.
        let seen = self.word.load(at(Acquire, "entry-changed"));
        let subject = match seen & STATE {
            LIVE | RESERVED => id,
            REAPING => (((seen & REAPER) >> 8) as u32).checked_sub(1)?,
            _ => return None,
        };
        // Our own claim is alive as long as we are: another thread of this process is at it.
        if subject == me || !(asked_too_early || is_dead(subject)) {
            return None;
        }
        let claimed = (seen & !(STATE | REAPER)) | REAPING | ((u64::from(me) + 1) << 8);
        // AcqRel `entry-changed`: a kill may land anywhere, and nothing of the sweep may have moved
        // before the claim. What the dead have done is ordered by the lease.
        self.word
            .compare_exchange(seen, claimed, at(AcqRel, "entry-changed"), Relaxed)
            .ok()
            .map(|_| Reap { word: claimed, of_reserved: seen & STATE == RESERVED })
    }

    /// Frees the entry of a corpse whose every hold has been given back.
    pub(crate) fn finish(&self, reap: &Reap) {
        let free = (reap.word & !(STATE | REAPER)).wrapping_add(GENERATION);
        // Release `entry-changed`: pairs with Acquire `entry-changed` in `join`.
        // A refusal means that a later reaper took us for dead, which the kernel rules out.
        let _ = self.word.compare_exchange(reap.word, free, at(Release, "entry-changed"), Relaxed);
    }
}

#[cfg(multiproc_loom)]
impl Participant {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), pid: AtomicU32::new(0) }
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Participant>() == 64);
