//! Who is in the current generation of a barrier, or about to be.

use crate::shim::AtomicU64;

/// How many participants can be marked: all of them.
#[cfg(not(multiproc_loom))]
pub(super) const PLACES: usize = crate::raw::participants::PARTICIPANTS_MAX as usize;
/// A model has three, and makes the table anew for each execution.
#[cfg(multiproc_loom)]
pub(super) const PLACES: usize = 8;

/// How many marks share a cache line.
const MARKS_A_LINE: usize = 8;

/// The mark of a participant that never came.
pub(super) const NOBODY: u64 = 0;

/// For each participant the latest generation at which one of its threads was about to arrive, and
/// one more. Written by these threads only. What is there is never a later generation than the
/// word's.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Marks([AtomicU64; PLACES]);

impl Marks {
    /// The mark of a participant. Neighbours have theirs in lines apart, as low numbers are used
    /// the most.
    pub(super) fn of(&self, participant: u32) -> &AtomicU64 {
        const LINES: usize = PLACES / MARKS_A_LINE;
        let participant = participant as usize % PLACES;
        &self.0[participant % LINES * MARKS_A_LINE + participant / LINES]
    }

    /// Marks outside of any segment.
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(NOBODY)))
    }
}

const _: () = assert!(PLACES.is_multiple_of(MARKS_A_LINE));

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_participant_has_a_place_and_neighbours_are_apart() {
        let marks = Marks::new();
        let at = |participant| std::ptr::from_ref(marks.of(participant)) as usize;
        let places: HashSet<_> = (0..PLACES as u32).map(at).collect();
        assert_eq!(places.len(), PLACES);
        let lines: HashSet<_> = (0..128).map(|participant| at(participant) / 64).collect();
        assert_eq!(lines.len(), 128);
        // A number that nobody has is in the table, as well.
        assert!(places.contains(&at(u32::MAX)));
    }
}
