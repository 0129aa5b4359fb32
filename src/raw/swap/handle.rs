//! Handles: who uses a queue, and as what.
//!
//! ```text
//! word:  [ participant 32 | 0 | bequeathed 1 | ends 2 | state 2 ]
//!
//! FREE          -> LIVE(p, ends)   by p, or for p by somebody who has a handle of the same ends
//! LIVE(p, ends) -> LIVE(q, ends)   by p or q: the handle travels; bequeathed, if q is p's copy
//!                                  and was made with it; until q uses it
//! LIVE(p, ends) -> FREE            by p, or by who recovers p
//! LIVE(p, _)    -> ORPHAN          by who recovers p: its message is to be delivered again
//! ORPHAN        -> LIVE(q, none)   by q, to deliver it
//! ```
//!
//! Only somebody who has an end makes another one, so a queue without senders stays without them.

use crate::shim::{AtomicU64, Ordering::*, at, mutant};

const FREE: u64 = 0;
const LIVE: u64 = 1;
const ORPHAN: u64 = 2;
const STATE: u64 = 3;

const ENDS_AT: u32 = 2;
const BEQUEATHED: u64 = 1 << 4;
const PARTICIPANT_AT: u32 = 32;

/// Which ends of a queue a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends(u64);

impl Ends {
    /// Neither: it only delivers what a dead one had in its hands.
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const SENDER: Self = Self(1);
    pub(crate) const RECEIVER: Self = Self(2);
    pub(crate) const BOTH: Self = Self(3);

    /// Whether all of these are among them.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn from_number(number: u64) -> Self {
        Self(number & 3)
    }
}

/// One entry of the table of handles. Zeroed memory is a free entry.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Handle {
    pub(crate) word: AtomicU64,
    /// How many messages this handle has received and not said to be done with. Its last word.
    pub(crate) outstanding: AtomicU64,
}

/// The words of the handles of one queue, on the same terms as [`SwapMemory`](super::SwapMemory).
pub(crate) trait HandleTable {
    /// How many handles there can be.
    fn handles(&self) -> u32;

    /// Who has handle `handle`.
    fn word(&self, handle: u32) -> &AtomicU64;

    /// How many handles were ever taken: tells a scan of them that they moved.
    fn taken_ever(&self) -> &AtomicU64;
}

/// Where a handle stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Live { participant: u32, ends: Ends },
    Orphan,
}

impl State {
    fn of(word: u64) -> Self {
        match word & STATE {
            FREE => Self::Free,
            ORPHAN => Self::Orphan,
            _ => Self::Live {
                participant: (word >> PARTICIPANT_AT) as u32,
                ends: Ends::from_number(word >> ENDS_AT),
            },
        }
    }
}

fn live(participant: u32, ends: Ends) -> u64 {
    (u64::from(participant) << PARTICIPANT_AT) | (ends.0 << ENDS_AT) | LIVE
}

/// The state of a handle, as of now.
pub(crate) fn state(table: &impl HandleTable, handle: u32) -> State {
    // Acquire `handle`: what was done before it got there is visible.
    State::of(table.word(handle).load(at(Acquire, "handle")))
}

/// Takes a free handle for `participant`. `None` if all are taken.
///
/// The caller has a handle with these ends, or makes the queue.
pub(crate) fn attach(table: &impl HandleTable, participant: u32, ends: Ends) -> Option<u32> {
    let taken = (0..table.handles()).find(|&handle| {
        let word = table.word(handle);
        // Acquire `handle`: the last one to have it is done with its block.
        word.load(Relaxed) == FREE
            && word
                .compare_exchange(FREE, live(participant, ends), at(Acquire, "handle"), Relaxed)
                .is_ok()
    })?;
    if !mutant("handle-uncounted") {
        // Release `handle-counted`: who sees the count sees the handle (Acquire in `has_none`).
        table.taken_ever().fetch_add(1, at(Release, "handle-counted"));
    }
    Some(taken)
}

/// Gives a handle from one participant to another. False if the first one does not have it.
pub(crate) fn hand_over(table: &impl HandleTable, handle: u32, from: u32, to: u32) -> bool {
    pass(table, handle, from, |ends| live(to, ends))
}

/// Leaves a handle to a forked copy of `from`, which has a copy of all that `from` knows of it.
pub(crate) fn bequeath(table: &impl HandleTable, handle: u32, from: u32, heir: u32) -> bool {
    pass(table, handle, from, |ends| live(heir, ends) | BEQUEATHED)
}

/// Accepts what was bequeathed to `heir`. False if this handle was not, or is used already: then it
/// is somebody else's, and be it another one of the same process.
pub(crate) fn inherit(table: &impl HandleTable, handle: u32, heir: u32) -> bool {
    let is_bequeathed = table.word(handle).load(Relaxed) & BEQUEATHED != 0;
    is_bequeathed && pass(table, handle, heir, |ends| live(heir, ends))
}

fn pass(
    table: &impl HandleTable,
    handle: u32,
    from: u32,
    passed: impl FnOnce(Ends) -> u64,
) -> bool {
    let word = table.word(handle);
    let seen = word.load(Relaxed);
    let State::Live { participant, ends } = State::of(seen) else { return false };
    // AcqRel `handle`: what the first one did with it is visible to the second.
    participant == from
        && word.compare_exchange(seen, passed(ends), at(AcqRel, "handle"), Relaxed).is_ok()
}

/// Frees a handle of `participant`. False if it does not have it.
pub(crate) fn detach(table: &impl HandleTable, handle: u32, participant: u32) -> bool {
    let word = table.word(handle);
    let seen = word.load(Relaxed);
    let State::Live { participant: owner, .. } = State::of(seen) else { return false };
    // Release `handle`: its block is left alone from here on.
    owner == participant
        && word.compare_exchange(seen, FREE, at(Release, "handle"), Relaxed).is_ok()
}

/// Makes an orphan of a handle of the dead `participant`.
pub(super) fn abandon(table: &impl HandleTable, handle: u32, participant: u32) {
    let word = table.word(handle);
    let seen = word.load(Relaxed);
    if matches!(State::of(seen), State::Live { participant: owner, .. } if owner == participant) {
        // Release `handle`: its block and scratch word are right from here on. A refusal means that
        // the word was scribbled over.
        let _ = word.compare_exchange(seen, ORPHAN, at(Release, "handle"), Relaxed);
    }
}

/// Takes over an orphan, to deliver its message.
pub(crate) fn adopt(table: &impl HandleTable, handle: u32, participant: u32) -> bool {
    let (word, adopted) = (table.word(handle), live(participant, Ends::NONE));
    if mutant("adopter-skips-claim") {
        return word.load(at(Acquire, "handle")) == ORPHAN;
    }
    // Acquire `handle`: its block and scratch word are right.
    word.compare_exchange(ORPHAN, adopted, at(Acquire, "handle"), Relaxed).is_ok()
}

/// Whether no handle has this end, now and for ever.
///
/// A handle could be taken where the scan has been, by one that the scan then finds gone. Every
/// handle is counted when it is taken, before its maker can go.
pub(crate) fn has_none(table: &impl HandleTable, end: Ends) -> bool {
    let has = |handle| matches!(state(table, handle), State::Live { ends, .. } if ends.has(end));
    // Acquire `handle-counted`: a handle counted before this is seen below.
    let mut before = table.taken_ever().load(at(Acquire, "handle-counted"));
    // Not bounded, but a count that moved is a handle that somebody took, of whatever end.
    loop {
        if (0..table.handles()).any(has) {
            return false;
        }
        // Acquire `handle-counted`: for the next scan. This load is behind those of the last one,
        // which are Acquire.
        let after = table.taken_ever().load(at(Acquire, "handle-counted"));
        if after == before {
            return true;
        }
        before = after;
    }
}
