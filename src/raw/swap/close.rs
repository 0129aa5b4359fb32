//! Closing a ring and opening it again. When, is for the [chain](super::chain) to say.
//!
//! A mark on the slot of the tail closes the ring: no exchange of a push can succeed there, and
//! none can succeed elsewhere. The mark stays where it is while the receivers empty the ring.
//!
//! **No word comes twice**, so the exchange of somebody who was stopped before it always fails. A
//! slot's word changes by versions; within one version it is open, then closed, then open in the
//! other era, and then a message moves the version on, because the chain closes a ring only when it
//! was found full since it was opened.

use crate::raw::Corrupt;
use crate::shim::{Ordering::*, at, mutant};

use super::SwapMemory;
use super::ring::{Found, Ring};

impl<M: SwapMemory> Ring<M> {
    /// Closes the ring, unless it is closed, or `is_due` says no after the tail was looked at.
    pub(in crate::raw) fn close(&self, is_due: impl Fn() -> bool) -> Result<(), Corrupt> {
        let closed = self.memory().shape().closed();
        let is_due = || is_due() || mutant("close-unasked");
        self.turn(is_due, |word| (word & closed == 0).then_some(word | closed))
    }

    /// Opens a closed ring, unless it is open, or `is_due` says no after the tail was looked at.
    pub(super) fn open(&self, is_due: impl Fn() -> bool) -> Result<(), Corrupt> {
        let (closed, era) = (self.memory().shape().closed(), self.memory().shape().era());
        let is_due = || is_due() || mutant("open-unasked");
        let era = if mutant("open-same-era") { 0 } else { era };
        self.turn(is_due, |word| (word & closed != 0).then_some(word ^ closed ^ era))
    }

    /// Exchanges the word of the tail's slot for the one that `change` wants there, if any.
    fn turn(
        &self,
        is_due: impl Fn() -> bool,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Result<(), Corrupt> {
        let (memory, shape) = (self.memory(), self.memory().shape());
        // Acquire `hint`: as in `hand`.
        let mut cursor = memory.hints().tail.position.load(at(Acquire, "hint"));
        if !shape.is_like(cursor, 0) {
            return Err(Corrupt);
        }
        // Not bounded, but a lost exchange was another one's push, pop, or mark.
        loop {
            let (Found::Ready(word) | Found::NotYet(word)) = self.find(&mut cursor)?;
            let Some(changed) = change(word).filter(|_| is_due()) else { return Ok(()) };
            let slot = memory.slot(shape.slot(cursor));
            // Release `slot`: who finds the ring closed, or open, finds what led to it.
            if slot.compare_exchange(word, changed, at(Release, "slot"), Relaxed).is_ok() {
                return Ok(());
            }
        }
    }
}
