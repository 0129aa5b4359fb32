//! Who comes for a range, and how it waits.

use std::cell::Cell;

use super::super::bell::Bell;
use super::super::mutex::{Legacy, Me, Mutex, Owner, Refusal};
use super::super::participants::PARTICIPANTS_MAX;
use super::super::wait::{Terms, Waited};
use super::owner_of;

/// A thread that wants a part or the whole.
pub(crate) struct Caller<T, S> {
    pub(crate) me: Me,
    /// On which terms it waits; `None` if it does not.
    pub(crate) terms: Option<T>,
    /// Is told who is in the way when a sleep ended without a wake; recovers the dead.
    pub(crate) suspect: S,
}

/// An entry in the way, and what its word said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    pub(super) entry: usize,
    pub(super) word: u64,
}

impl<'a, T: Fn() -> Terms<'a>, S: Fn(u32) -> Owner> Caller<T, S> {
    /// Takes the mutex, calmly.
    #[inline]
    pub(super) fn take(&self, mutex: &Mutex) -> Result<Legacy, Refusal> {
        match &self.terms {
            None => mutex.try_lock(self.me.calmly()),
            Some(terms) => mutex.lock(self.me.calmly(), terms, &self.suspect),
        }
    }

    /// Waits at the bell while somebody is in the way.
    pub(super) fn wait(
        &self,
        bell: &Bell,
        blocker: impl Fn() -> Option<Blocker>,
    ) -> Result<(), Refusal> {
        if blocker().is_none() {
            return Ok(());
        }
        let Some(terms) = &self.terms else { return Err(Refusal::Held) };
        let is_corrupt = Cell::new(false);
        let unknown = Cell::new(None);
        let ready = || blocker().is_none() || is_corrupt.get();
        let suspect = || {
            if let Some(blocker) = blocker() {
                self.suspect(blocker, &unknown, &is_corrupt);
            }
        };
        match bell.wait(terms(), ready, suspect) {
            Waited::TimedOut => Err(Refusal::TimedOut),
            Waited::Ready if is_corrupt.get() => Err(Refusal::Corrupt),
            Waited::Ready => Ok(()),
        }
    }

    /// Asks about an owner. Twice unknown without a change in between, it is none.
    fn suspect(&self, blocker: Blocker, unknown: &Cell<Option<Blocker>>, is_corrupt: &Cell<bool>) {
        let owner = owner_of(blocker.word).filter(|owner| *owner < PARTICIPANTS_MAX);
        if owner.is_some_and(|owner| (self.suspect)(owner) == Owner::Known) {
            unknown.set(None);
        } else if unknown.replace(Some(blocker)) == Some(blocker) {
            is_corrupt.set(true);
        }
    }
}
