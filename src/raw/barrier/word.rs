//! The word of a barrier, and how a generation ended.
//!
//! **How a generation ended.** A waiter may look when its generation is long over. The word counts
//! the rounds that passed and the resets, so where only one of them has moved there is no doubt.
//! The last [`ENDINGS`] endings are kept in their order, which settles it for waiters that are no
//! later than that. A waiter that is later, with both kinds of endings since, is told that the
//! barrier was broken, as one that was broken must not hear that it passed. Both counts come round:
//! a waiter that was stopped for exactly a multiple of 4096 resets without a round among them, or
//! of 2^32 rounds without a reset, takes its generation for the current one and waits on.

use crate::shim::mutant;

use super::{Failure, PARTIES_MAX};

const BROKEN: u64 = 1 << 0;
const ACTING: u64 = 1 << 1;
const ARRIVED_AT: u32 = 2;
/// How many endings are kept in their order.
const ENDINGS: u32 = 4;
/// Where in the word the generation begins.
const GENERATION_AT: u32 = 16;
const RESETS_AT: u32 = ENDINGS;
const RESETS: u64 = 0xfff;
const ROUNDS_AT: u32 = 16;

/// How a generation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Reset,
}

/// `[ rounds 32 | resets 12 | endings 4 ]`. The latest ending is the lowest bit, 1 for a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The word of a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// As it is when somebody has broken it.
    pub(super) fn broken(self) -> Self {
        Self(self.0 | BROKEN)
    }

    pub(super) fn generation(self) -> Generation {
        Generation(self.0 >> GENERATION_AT)
    }

    pub(super) fn arrived(self) -> u32 {
        (self.0 >> ARRIVED_AT) as u32 & PARTIES_MAX
    }

    pub(super) fn is_broken(self) -> bool {
        self.0 & BROKEN != 0
    }

    pub(super) fn is_acting(self) -> bool {
        self.0 & ACTING != 0
    }

    /// Whether a party can arrive.
    pub(super) fn is_open(self) -> bool {
        self.0 & (BROKEN | ACTING) == 0
    }

    /// Whether it is open, and nobody is there.
    pub(super) fn is_at_rest(self) -> bool {
        self.is_open() && self.arrived() == 0
    }

    /// Whether a mark names the current generation.
    pub(super) fn was_marked_by(self, mark: u64) -> bool {
        mark == self.generation().as_mark()
    }

    /// Whether whoever left this mark is in the current generation, or passed with the one before,
    /// so that the others expect it.
    pub(super) fn expects(self, mark: u64) -> bool {
        let passed = mark.checked_sub(1).map(|before| Generation(before).next(Ending::Passed));
        self.was_marked_by(mark)
            || passed == Some(self.generation()) && !mutant("barrier-sweep-between")
    }

    /// As it is after one more has come, of fewer than `PARTIES_MAX`.
    pub(super) fn with_one_more(self) -> Self {
        Self(self.0 + (1 << ARRIVED_AT))
    }

    pub(super) fn acting(self) -> Self {
        Self(self.0 | ACTING)
    }

    /// As it is when the generation has ended.
    pub(super) fn next(self, ending: Ending) -> Self {
        Self(self.generation().next(ending).0 << GENERATION_AT)
    }

    /// What has become of a generation, if it is not waiting still.
    pub(super) fn fate_of(self, generation: Generation) -> Option<Result<(), Failure>> {
        match generation.ending(self.generation()) {
            Some(Ending::Passed) => Some(Ok(())),
            Some(Ending::Reset) => Some(Err(Failure::Broken)),
            None => self.is_broken().then_some(Err(Failure::Broken)),
        }
    }
}

impl Generation {
    fn rounds(self) -> u32 {
        (self.0 >> ROUNDS_AT) as u32
    }

    fn resets(self) -> u64 {
        self.0 >> RESETS_AT & RESETS
    }

    fn next(self, ending: Ending) -> Self {
        let (rounds, resets) = match ending {
            Ending::Passed => (self.rounds().wrapping_add(1), self.resets()),
            Ending::Reset => (self.rounds(), (self.resets() + 1) & RESETS),
        };
        let endings = (self.0 << 1 | u64::from(ending == Ending::Reset)) & ((1 << ENDINGS) - 1);
        Self(u64::from(rounds) << ROUNDS_AT | resets << RESETS_AT | endings)
    }

    /// How this generation ended, if it is not the one of `now`. See the head of this file.
    fn ending(self, now: Self) -> Option<Ending> {
        let passed = u64::from(now.rounds().wrapping_sub(self.rounds()));
        let resets = now.resets().wrapping_sub(self.resets()) & RESETS;
        let since = passed + resets;
        let is_kept = since <= u64::from(ENDINGS) && !mutant("barrier-endings");
        match (passed, resets) {
            (0, 0) => None,
            (_, 0) => Some(Ending::Passed),
            (1.., _) if is_kept && now.0 >> (since - 1) & 1 == 0 => Some(Ending::Passed),
            _ => Some(Ending::Reset),
        }
    }

    /// What a participant writes down that is about to arrive in it. Never zero.
    pub(super) fn as_mark(self) -> u64 {
        self.0 + 1
    }
}

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_known_as_long_as_it_can_be() {
        use Ending::{Passed, Reset};
        let begin = Generation(u64::MAX >> GENERATION_AT);
        let after = |endings: &[Ending]| endings.iter().fold(begin, |now, end| now.next(*end));
        assert_eq!(begin.ending(begin), None);
        assert_eq!(after(&[Passed]).rounds(), 0, "rounds come round");
        assert_eq!(after(&[Reset]).resets(), 0, "resets come round");
        // All sequences of up to four, whose first is the ending.
        for length in 1..=4 {
            for bits in 0..1_u32 << length {
                let kind = |at: u32| if bits >> at & 1 == 0 { Passed } else { Reset };
                let endings: Vec<_> = (0..length).map(kind).collect();
                assert_eq!(begin.ending(after(&endings)), Some(endings[0]), "{endings:?}");
            }
        }
        assert_eq!(begin.ending(after(&[Passed; 100])), Some(Passed));
        assert_eq!(begin.ending(after(&[Reset; 100])), Some(Reset));
        // Beyond that it is broken, as far as can be known.
        let late = [Passed, Passed, Passed, Passed, Reset];
        assert_eq!(begin.ending(after(&late)), Some(Reset));
    }

    #[test]
    fn the_most_parties_fit_into_the_word() {
        let word = (0..PARTIES_MAX).fold(Word(0), |word, _| word.with_one_more());
        assert_eq!(word.arrived(), PARTIES_MAX);
        assert!(word.is_open() && word.generation() == Generation(0));
    }
}
