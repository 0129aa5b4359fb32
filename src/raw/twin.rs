//! Two copies of a value, and the word that says which of them counts.
//!
//! The owner of a lock changes the copy that does not count, and then lets it count. So whoever is
//! killed in the middle leaves the old value, never a torn one.
//!
//! | word | meaning                   | changed by                                |
//! |------|---------------------------|-------------------------------------------|
//! | 0    | the first copy counts     |                                           |
//! | 1    | the second copy counts    | the owner of the lock, when it is written |
//!
//! Of a word that something else wrote over, one bit counts as ever.

use crate::shim::{AtomicU32, Ordering, at, kill_point};

/// Which of two copies counts. Zeroed memory is the first.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Twin(AtomicU32);

/// One of two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First = 0,
    Second = 1,
}

impl Which {
    /// The other one.
    #[inline]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Twin {
    /// The copy that counts, for the owner of the lock.
    #[inline]
    pub(crate) fn active(&self) -> Which {
        // Acquire `twin`: whoever sees the copy count sees what is in it.
        let word = self.0.load(at(Ordering::Acquire, "twin"));
        if word & 1 == 0 { Which::First } else { Which::Second }
    }

    /// Lets the copy count that the owner of the lock has written.
    #[inline]
    pub(crate) fn let_count(&self, copy: Which) {
        kill_point("twin-written");
        // Release `twin`: the copy is whole before it counts, also for one who comes after this
        // owner was killed on either side of this line. To one who comes after it freed the lock,
        // the lock says so too.
        self.0.store(copy as u32, at(Ordering::Release, "twin"));
        kill_point("twin-flipped");
    }

    /// A twin outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn any_word_is_one_of_two() {
        let twin = Twin::new();
        for word in [0, 1, 2, 3, u32::MAX - 1, u32::MAX] {
            twin.0.store(word, Ordering::Relaxed);
            let active = twin.active();
            assert_eq!(active as u32, word & 1);
            twin.let_count(active.other());
            assert_eq!(twin.active(), active.other());
        }
    }
}
