//! Copies of elements in a row, for those who share out the work on an array.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::error::LockError;
use crate::raw::mutex::{Leaving, Legacy, Me};
use crate::raw::ranges::Span;
use crate::sync::Data;
use crate::sync::owned::{self, Patience};
use crate::sys::clock::Deadline;

use super::Array;

/// The mutex of an array, while nobody has some of its elements; free again when this is dropped.
///
/// It is calm: whoever dies with it poisons nothing.
struct Stay<'a, T: Data> {
    array: &'a Array<T>,
    me: Me,
}

impl<T: Data> Drop for Stay<'_, T> {
    fn drop(&mut self) {
        let object = &self.array.object;
        if object.is_still(self.me.participant) {
            object.machine().unlock(self.me.participant, Leaving::Done);
        }
    }
}

impl<T: Data> Array<T> {
    /// Waits until nobody has any of these elements, and keeps others away from the array.
    fn stay(&self, span: Span, patience: Patience) -> Result<(Stay<'_, T>, Legacy), LockError<()>> {
        let caller = self.caller(patience).map_err(LockError::Failed)?;
        let entered = self.object.machine().enter(&caller, span, self.length as u64);
        let legacy = entered.map_err(owned::refused)?;
        Ok((Stay { array: self, me: caller.me }, legacy))
    }

    /// Where `count` elements from `start` on are, and a stay that keeps others away from them.
    fn block(
        &self,
        start: usize,
        count: usize,
    ) -> Result<(Stay<'_, T>, NonNull<T>), LockError<()>> {
        let range = start..start.saturating_add(count);
        let span = self.span(&range).map_err(LockError::Failed)?;
        let (stay, legacy) = self.stay(span, Some(Deadline::NEVER))?;
        if !legacy.is_none() {
            return Err(owned::poisoned(self.object.machine().mutex(), legacy, ()));
        }
        // SAFETY: `start` is within the array or at its end (`span`).
        Ok((stay, unsafe { self.first().add(start) }))
    }

    /// Whether this thread itself has the array or a part of it, so that it would wait for ever for
    /// somebody who waits for that. `false` if others have it, too.
    pub(crate) fn is_own(&self) -> bool {
        let all = Span { start: 0, end: self.length as u64 };
        matches!(self.stay(all, None), Err(LockError::WouldDeadlock))
    }

    /// Copies the elements from `start` on to `copies`, as they are when nobody has any.
    pub(crate) fn copy_to(&self, start: usize, copies: &mut [T]) -> Result<(), LockError<()>> {
        let (_stay, first) = self.block(start, copies.len())?;
        // SAFETY: as many elements are there (`block`), nobody writes them meanwhile, and any bytes
        // are a `T`; `copies` are private.
        unsafe { copies.as_mut_ptr().copy_from_nonoverlapping(first.as_ptr(), copies.len()) };
        Ok(())
    }

    /// Writes elements from `start` on. Nobody is told when whoever does so dies, and leaves some
    /// of them half written: for arrays that nobody has before they are whole.
    pub(crate) fn copy_from(&self, start: usize, elements: &[T]) -> Result<(), LockError<()>> {
        let (_stay, first) = self.block(start, elements.len())?;
        // SAFETY: as many elements are there (`block`), and nobody else reads or writes them
        // meanwhile; `elements` are private.
        unsafe { first.as_ptr().copy_from_nonoverlapping(elements.as_ptr(), elements.len()) };
        Ok(())
    }
}
