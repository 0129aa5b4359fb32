//! The claim: which of its orders a worker has begun, and which were taken back from it.
//!
//! A worker may be given orders ahead of time. It does them in the order of their numbers, and
//! answers each one. The giver can take back what was not begun, so every order is either begun or
//! taken back, and both sides know which: a worker that gets to an order that was taken back
//! answers that it refuses.
//!
//! The word is in shared memory, and may say anything. Then an order may be done twice, which no
//! check can see; but none is lost. A worker that passes an order over says so, and a giver who is
//! refused what he did not take back, or reads what nobody can have written, ends that worker.

use crate::shim::{AtomicU64, Ordering, mutant};

use super::Corrupt;

/// Claims an order, in the worker: whether it may begin.
///
/// | the word | meaning                                  | raised by                              |
/// |----------|------------------------------------------|----------------------------------------|
/// | `n`      | orders below `n` are begun or taken back | the worker to `n + 1` as it begins `n` |
/// |          | from `n` on neither                      | the giver to his next, taking back     |
///
/// It never falls. Zeroed memory is the word of a worker that has begun nothing.
pub(crate) fn begin(claim: &AtomicU64, number: u64) -> bool {
    let Some(next) = number.checked_add(1) else { return false };
    // Relaxed: who comes first is all there is to know; what belongs to an order is in its message.
    claim.fetch_max(next, Ordering::Relaxed) <= number || mutant("claim-begin")
}

/// What the giver knows of the orders of one worker, in memory of his own.
#[derive(Debug)]
pub(crate) struct Given {
    /// The number of the next order. Order 0 is the giver's own affair.
    next: u64,
    /// All below this were answered or taken back.
    answered: u64,
}

impl Given {
    /// Nothing was given yet.
    pub(crate) fn new() -> Self {
        Self { next: 1, answered: 0 }
    }

    /// The number of one order more.
    pub(crate) fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The worker has said of this order that it has begun it.
    pub(crate) fn answered(&mut self, number: u64) {
        self.answered = self.answered.max(number.saturating_add(1).min(self.next));
    }

    /// Takes back all orders that were not begun: gives the lowest of them.
    pub(crate) fn take_back(&self, claim: &AtomicU64) -> Result<u64, Corrupt> {
        // Relaxed: as in `begin`.
        let lowest = if mutant("claim-take-back") {
            claim.load(Ordering::Relaxed)
        } else {
            claim.fetch_max(self.next, Ordering::Relaxed)
        };
        // The worker has raised it above what it answered, and nobody above what was given.
        let is_sound = (self.answered..=self.next).contains(&lowest) || mutant("claim-sound");
        if is_sound { Ok(lowest) } else { Err(Corrupt) }
    }

    /// The lowest order that a worker who is no more had not begun. If its word is not to be
    /// believed, it may have begun all of them.
    pub(crate) fn left_by_the_dead(&self, claim: &AtomicU64) -> u64 {
        self.take_back(claim).unwrap_or(self.next)
    }
}

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_begun_is_taken_back() {
        let (claim, mut given) = (AtomicU64::new(0), Given::new());
        let numbers: Vec<u64> = (0..3).map(|_| given.number()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(begin(&claim, 0) && begin(&claim, 1) && !begin(&claim, 1));
        assert_eq!(given.take_back(&claim), Ok(2));
        assert!(!begin(&claim, 2) && !begin(&claim, 3));
        let next = given.number();
        assert_eq!(given.left_by_the_dead(&claim), next);
        assert!(!begin(&claim, next));
    }

    #[test]
    fn a_word_that_nobody_wrote_is_not_believed() {
        let (claim, mut given) = (AtomicU64::new(0), Given::new());
        let number = given.number();
        assert!(begin(&claim, number));
        given.answered(number);
        given.number();
        for word in [0, 1, 4, u64::MAX] {
            claim.store(word, Ordering::Relaxed);
            assert_eq!(given.take_back(&claim), Err(Corrupt), "{word}");
            assert_eq!(given.left_by_the_dead(&claim), 3);
        }
        assert!(!begin(&claim, 2) && !begin(&claim, u64::MAX));
        given.answered(u64::MAX);
        claim.store(2, Ordering::Relaxed);
        assert_eq!(given.take_back(&claim), Err(Corrupt));
    }
}
