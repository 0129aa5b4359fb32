//! The arena: blocks of shared memory, and who holds each of them.
//!
//! A block is claimed in one exchange that also says how large it is and who claims it, so a
//! process that dies at any instruction leaves nothing that cannot be attributed. Once claimed, the
//! size of a block never changes; where block `n` begins is the sum of the sizes before it.
//!
//! ```text
//! word:  63        40 39      16 15     4 3     0
//!       [ generation | granules | owner  | state ]
//!
//! VIRGIN (the word 0) -> CLAIMED(p)   sizes it, for ever
//! FREE                -> CLAIMED(p)   generation + 1
//! CLAIMED(p)          -> LIVE         by p: set up, held by p
//! LIVE                -> CLAIMED(p)   by p, who found that nobody holds it
//! CLAIMED(p)          -> FREE         by p: torn down
//! CLAIMED(dead)       -> CLAIMED(r)   by the reaper r
//! ```
//!
//! Holders are bits, one a participant, never a count: a count that a dead process leaves wrong
//! cannot be mended, a bit can. Nobody but a holder can make another holder, so a block without
//! holders stays without.

use crate::shim::{AtomicU32, AtomicU64, Ordering::*, at, fence, mutant};

use super::participants::PARTICIPANTS_MAX;

/// How many blocks one segment can have.
pub(crate) const BLOCKS_MAX: u32 = 1024;

/// Sizes are counted in granules of this many bytes, or of more in a segment that says so. This is
/// also the alignment of every block.
pub(crate) const GRANULE: u64 = 128;

/// The largest block, in granules.
pub(crate) const GRANULES_MAX: u64 = (1 << 24) - 1;

const VIRGIN: u64 = 0;
const CLAIMED: u64 = 1;
const LIVE: u64 = 2;
const FREE: u64 = 3;

const STATE: u64 = 0xf;
const OWNER: u64 = 0xfff << 4;
const GENERATION: u64 = 1 << 40;

const WORDS: usize = (PARTICIPANTS_MAX / 64) as usize;

/// What the arena knows of one block. Zeroed memory is a block that never was.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Block {
    word: AtomicU64,
    /// How many holds were ever taken: tells a scan of the holders that they moved.
    holds: AtomicU64,
    /// What is inside, for the sweep after a death; set while the block is claimed.
    kind: AtomicU32,
    holders: [AtomicU64; WORDS],
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Virgin,
    Claimed { owner: u32 },
    Live,
    Free,
}

impl Block {
    /// The state of the block, as of now.
    pub(crate) fn state(&self) -> State {
        // Acquire `block-live`: what the maker wrote into the block is visible.
        let word = self.word.load(at(Acquire, "block-live"));
        match word & STATE {
            VIRGIN => State::Virgin,
            CLAIMED => State::Claimed { owner: owner(word) },
            LIVE => State::Live,
            _ => State::Free,
        }
    }

    /// The word as it is: whose block it is, of what size, and how often it was another one's.
    pub(crate) fn word(&self) -> u64 {
        // Relaxed: a remark.
        self.word.load(Relaxed)
    }

    /// How often the block was given back and taken again, which comes round.
    pub(crate) fn generation(&self) -> u32 {
        (self.word() / GENERATION) as u32
    }

    /// The size in granules; 0 of a block that never was.
    pub(crate) fn granules(&self) -> u64 {
        // Relaxed: a size never changes once it is set.
        granules(self.word.load(Relaxed))
    }

    /// What is inside a live block.
    pub(crate) fn kind(&self) -> u32 {
        // Relaxed: ordered by the state, which the caller looked at first.
        self.kind.load(Relaxed)
    }

    /// Claims a block that never was, and sizes it.
    pub(crate) fn claim_virgin(&self, me: u32, granules: u64) -> bool {
        let claimed = CLAIMED | owner_bits(me) | (granules << 16);
        // Relaxed: nothing was written to this block before.
        self.word.compare_exchange(VIRGIN, claimed, Relaxed, Relaxed).is_ok()
    }

    /// Claims a free block of exactly this size.
    pub(crate) fn claim_free(&self, me: u32, wanted: u64) -> bool {
        // Relaxed: the exchange decides.
        let seen = self.word.load(Relaxed);
        if seen & STATE != FREE || granules(seen) != wanted {
            return false;
        }
        let claimed = (seen & !(STATE | OWNER)).wrapping_add(GENERATION) | CLAIMED | owner_bits(me);
        // Acquire `block-freed`: the last user is done with the memory.
        self.word.compare_exchange(seen, claimed, at(Acquire, "block-freed"), Relaxed).is_ok()
    }

    /// Opens a claimed block, set up by now, with its claimer as the only holder.
    pub(crate) fn open(&self, me: u32, kind: u32) {
        // Relaxed, all three: published by the state below, and nobody else looks before.
        self.kind.store(kind, Relaxed);
        for (index, holders) in self.holders.iter().enumerate() {
            holders.store(if index == word_of(me) { bit_of(me) } else { 0 }, Relaxed);
        }
        let seen = self.word.load(Relaxed);
        // Release `block-live`: pairs with Acquire `block-live` in `state`.
        self.word.store((seen & !(STATE | OWNER)) | LIVE, at(Release, "block-live"));
    }

    /// Adds a holder. Only a holder, or whoever acts for one, may do so.
    pub(crate) fn hold(&self, holder: u32) {
        let Some(holders) = self.holders.get(word_of(holder)) else { return };
        // Relaxed: the count below publishes it.
        holders.fetch_or(bit_of(holder), Relaxed);
        if !mutant("blocks-hold-uncounted") {
            // Release `hold-counted`: who sees the count sees the hold (Acquire in `is_unheld`).
            self.holds.fetch_add(1, at(Release, "hold-counted"));
        }
    }

    /// Whether this participant is among the holders.
    pub(crate) fn is_held_by(&self, holder: u32) -> bool {
        // Relaxed: a participant knows its own holds; for others it is a snapshot.
        self.holders
            .get(word_of(holder))
            .is_some_and(|word| word.load(Relaxed) & bit_of(holder) != 0)
    }

    /// Takes a holder away. True if `me` must now tear the block down, then call
    /// [`free`](Self::free).
    ///
    /// Also right when `holder` never held it: a process that dies between its release and the look
    /// below leaves a block that nobody holds, and its reaper finds that out here.
    pub(crate) fn release(&self, holder: u32, me: u32) -> bool {
        // Relaxed: exchanged as it is now, or not at all.
        let seen = self.word.load(Relaxed);
        if seen & STATE != LIVE {
            return false;
        }
        let Some(holders) = self.holders.get(word_of(holder)) else { return false };
        // AcqRel `hold-left`: what the leaving holder wrote is visible to whoever tears it down.
        holders.fetch_and(!bit_of(holder), at(AcqRel, "hold-left"));
        // Fence `last-looks`, met by itself: of two that leave at once, one sees both gone.
        fence("last-looks");
        if !self.is_unheld() {
            return false;
        }
        let claimed = (seen & !(STATE | OWNER)) | CLAIMED | owner_bits(me);
        // Relaxed: `is_unheld` acquired the work of every holder; the exchange only picks one of
        // us.
        self.word.compare_exchange(seen, claimed, Relaxed, Relaxed).is_ok()
    }

    /// Whether nobody holds the block, now and for ever.
    ///
    /// The bits are several words, so a hold could move from one not yet read to one read already.
    /// Every such move is counted between its two halves. If the count moved, the mover was a
    /// holder after our release, so it is he who looks last.
    fn is_unheld(&self) -> bool {
        self.is_held_by_none_but(None)
    }

    /// Whether `me`, who holds it, is the only holder, or nobody holds it. What is missed here, a
    /// hold that moves meanwhile, is somebody else's hold then and now.
    pub(crate) fn is_held_by_none_but(&self, me: Option<u32>) -> bool {
        // Acquire `hold-counted`: a hold counted before this is seen below.
        let before = self.holds.load(at(Acquire, "hold-counted"));
        for (word, holders) in self.holders.iter().enumerate() {
            let own = me.filter(|me| word_of(*me) == word).map_or(0, bit_of);
            // Acquire `hold-left`: who left, left its count and its work behind.
            if holders.load(at(Acquire, "hold-left")) & !own != 0 {
                return false;
            }
        }
        // Relaxed: coherence and the edges above make a move during the scan visible.
        self.holds.load(Relaxed) == before
    }

    /// Takes over the claim of a dead participant. True if `me` must tear the block down.
    pub(crate) fn inherit(&self, dead: u32, me: u32) -> bool {
        // Acquire `block-live`: any state may be found here; nothing was published by a claim.
        let seen = self.word.load(at(Acquire, "block-live"));
        if seen & STATE != CLAIMED || owner(seen) != dead {
            return false;
        }
        let claimed = (seen & !OWNER) | owner_bits(me);
        // Relaxed: the lease of the dead ordered its stores; the exchange only picks one reaper.
        self.word.compare_exchange(seen, claimed, Relaxed, Relaxed).is_ok()
    }

    /// Frees a block that `me` claimed and has torn down.
    pub(crate) fn free(&self, me: u32) {
        // Relaxed: only its claimer changes a claimed block.
        let seen = self.word.load(Relaxed);
        if seen & STATE == CLAIMED && owner(seen) == me {
            // Release `block-freed`: pairs with Acquire `block-freed` in `claim_free`.
            self.word.store((seen & !(STATE | OWNER)) | FREE, at(Release, "block-freed"));
        }
    }
}

#[cfg(multiproc_loom)]
impl Block {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            kind: AtomicU32::new(0),
            holders: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// Rounds a size up to a class, so that what was freed fits again: eighths of a power of two. In
/// granules of `GRANULE` bytes.
pub(crate) fn granules_for(bytes: u64) -> Option<u64> {
    let exact = bytes.max(1).div_ceil(GRANULE);
    let step = (exact.next_power_of_two() / 8).max(1);
    let rounded = exact.next_multiple_of(step);
    (rounded <= GRANULES_MAX).then_some(rounded)
}

fn granules(word: u64) -> u64 {
    (word >> 16) & GRANULES_MAX
}

fn owner(word: u64) -> u32 {
    ((word & OWNER) >> 4) as u32
}

fn owner_bits(participant: u32) -> u64 {
    (u64::from(participant) << 4) & OWNER
}

fn word_of(participant: u32) -> usize {
    (participant / 64) as usize
}

fn bit_of(participant: u32) -> u64 {
    1 << (participant % 64)
}

const _: () = assert!((PARTICIPANTS_MAX as u64) <= OWNER >> 4);
#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Block>() == 192);

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter_and_fit_again() {
        for bytes in (0..100_000_u64).step_by(37).chain([1 << 20, (1 << 20) + 1, 1 << 30]) {
            let granules = granules_for(bytes).unwrap();
            assert!(granules * GRANULE >= bytes);
            assert!(granules * GRANULE <= bytes + bytes / 4 + GRANULE);
            assert_eq!(granules_for(granules * GRANULE), Some(granules));
        }
        assert_eq!(granules_for(GRANULES_MAX * GRANULE + 1), None);
        assert_eq!(granules_for(u64::MAX), None);
    }
}
