//! Parts of an array, which are held side by side.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, DerefMut, Range, RangeBounds};
use std::ptr::NonNull;
use std::time::Duration;

use crate::error::{Error, ErrorKind, LockError};
use crate::raw::mutex::Refusal;
use crate::raw::ranges::{Span, Ticket};
use crate::sync::Data;
use crate::sync::guard::{Guard, sealed::Sealed};
use crate::sync::owned::{self, Claim, Patience};
use crate::sys::clock::Deadline;

use super::Array;

/// Some elements of an [`Array`], for as long as nobody else has any of them. Dropped, it frees
/// them.
///
/// It is a slice, whose first element is the first of the part. It stays with the thread that took
/// it. In a child that was forked meanwhile its drop does nothing: the part is the parent's.
///
/// # Examples
/// ```
/// use multiproc::Array;
///
/// let array = Array::new(10, 0u8)?;
/// let (mut front, mut back) = (array.lock_range(..5)?, array.lock_range(5..)?);
/// // Both are held, side by side; their first elements are 0 and 5 of the array.
/// front[0] = 1;
/// back[0] = 2;
/// drop((front, back));
/// assert_eq!(array.to_vec()?, [1, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the elements are free again as soon as their guard is dropped"]
pub struct RangeGuard<'a, T: Data> {
    array: &'a Array<T>,
    ticket: Ticket,
    start: usize,
    length: usize,
    claim: Claim,
    _stays: PhantomData<*const T>,
}

impl<T> Array<T> {
    /// The elements of a range, if all of them are there.
    pub(super) fn span(&self, range: &impl RangeBounds<usize>) -> Result<Span, Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => Some(*start),
            Bound::Excluded(before) => before.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => Some(self.length),
        };
        // What cannot be counted is behind all that is there.
        let (start, end) = (start.unwrap_or(usize::MAX), end.unwrap_or(usize::MAX));
        if start <= end && end <= self.length {
            return Ok(Span { start: start as u64, end: end as u64 });
        }
        let what = format!("elements {start} to {end} of an array of {}", self.length);
        Err(Error::new(ErrorKind::Bounds, what))
    }
}

impl<T: Data> Array<T> {
    /// Takes a part of the array, waiting until nobody has any of it.
    ///
    /// Parts that have no element in common are held side by side, by threads of this process and
    /// of others; up to 64 of them at once, and whoever wants one more waits. A thread can have
    /// several; take them in one order everywhere, as with any locks.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Process};
    ///
    /// fn fill((array, worker): (Array<u8>, usize)) -> multiproc::Result<()> {
    ///     let mut part = array.lock_range(worker * 100..(worker + 1) * 100)?;
    ///     part.fill(worker as u8);
    ///     Ok(())
    /// }
    ///
    /// let array = Array::new(400, 0u8)?;
    /// let workers = [0, 1, 2, 3].map(|worker| Process::spawn(fill, (array.clone(), worker)));
    /// for worker in workers {
    ///     worker?.join().unwrap()?;
    /// }
    /// assert_eq!(array.get(399)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// an owner of the array or of any part left it poisoned;
    /// [`WouldDeadlock`](LockError::WouldDeadlock) if this thread has the array or some of these
    /// elements already; [`Failed`](LockError::Failed) of kind [`Bounds`](ErrorKind::Bounds) if the
    /// array has no such elements, and as [`lock`](Self::lock).
    #[inline]
    pub fn lock_range(
        &self,
        range: impl RangeBounds<usize>,
    ) -> Result<RangeGuard<'_, T>, LockError<RangeGuard<'_, T>>> {
        self.lock_range_until(&range, Some(Deadline::NEVER))
    }

    /// Takes a part of the array if nobody has any of it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(100, 0u8)?;
    /// let _part = array.lock_range(10..20)?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         assert!(array.try_lock_range(19..30).unwrap_err().is_held());
    ///         assert!(array.try_lock_range(20..30).is_ok());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if somebody has, wants the whole, has one of 64 other
    /// parts, or is taking one at this very moment; and as [`lock_range`](Self::lock_range).
    #[inline]
    pub fn try_lock_range(
        &self,
        range: impl RangeBounds<usize>,
    ) -> Result<RangeGuard<'_, T>, LockError<RangeGuard<'_, T>>> {
        self.lock_range_until(&range, None)
    }

    /// Takes a part of the array, waiting for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Array;
    ///
    /// let array = Array::new(100, 0u8)?;
    /// let _part = array.lock_range(10..20)?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = array.lock_range_timeout(..15, Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as
    /// [`lock_range`](Self::lock_range).
    pub fn lock_range_timeout(
        &self,
        range: impl RangeBounds<usize>,
        timeout: Duration,
    ) -> Result<RangeGuard<'_, T>, LockError<RangeGuard<'_, T>>> {
        self.lock_range_until(&range, Some(Deadline::after(timeout)))
    }

    fn lock_range_until(
        &self,
        range: &impl RangeBounds<usize>,
        patience: Patience,
    ) -> Result<RangeGuard<'_, T>, LockError<RangeGuard<'_, T>>> {
        let span = self.span(range).map_err(LockError::Failed)?;
        let caller = self.caller(patience).map_err(LockError::Failed)?;
        let ranges = self.object.machine();
        let take = || ranges.take(&caller, span, self.length as u64);
        let taken = match take() {
            Err(Refusal::Held) if self.has_suspected() => take(),
            taken => taken,
        };
        let (ticket, legacy) = taken.map_err(owned::refused)?;
        let guard = RangeGuard {
            array: self,
            ticket,
            start: span.start as usize,
            length: (span.end - span.start) as usize,
            claim: Claim::new(caller.me),
            _stays: PhantomData,
        };
        if legacy.is_none() {
            Ok(guard)
        } else {
            Err(owned::poisoned(ranges.mutex(), legacy, guard))
        }
    }
}

impl<T: Data> RangeGuard<'_, T> {
    /// Which elements of the array they are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(100, 0u8)?;
    /// assert_eq!(array.lock_range(90..)?.range(), 90..100);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.length
    }

    #[inline]
    fn elements(&self) -> NonNull<[T]> {
        // SAFETY: the range is within the array, see `Array::span`.
        let first = unsafe { self.array.first().add(self.start) };
        NonNull::slice_from_raw_parts(first, self.length)
    }
}

impl<T: Data> Deref for RangeGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: elements of the array, mapped as long as it and aligned; any bytes are a `T`, and
        // whoever has the range is alone in it.
        unsafe { self.elements().as_ref() }
    }
}

impl<T: Data> DerefMut for RangeGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { self.elements().as_mut() }
    }
}

impl<T: Data> Drop for RangeGuard<'_, T> {
    fn drop(&mut self) {
        let object = &self.array.object;
        if object.is_still(self.claim.owner()) {
            object.machine().release(self.ticket, self.claim.leaving());
        }
    }
}

impl<T: Data> Guard for RangeGuard<'_, T> {
    type Data = [T];
}

impl<'a, T: Data> Sealed<[T]> for RangeGuard<'a, T> {
    type Rest = (&'a Array<T>, Range<usize>);

    fn give_up(self) -> Self::Rest {
        (self.array, self.range())
    }

    fn take_again((array, range): Self::Rest) -> Result<Self, LockError<Self>> {
        array.lock_range(range)
    }

    fn ask(&mut self, question: impl FnOnce(&mut [T]) -> bool) -> bool {
        question(self)
    }
}

impl<T: Data + fmt::Debug> fmt::Debug for RangeGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
