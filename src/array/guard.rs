//! The whole of an array, for as long as its guard lives.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Duration;

use crate::error::LockError;
use crate::raw::mutex::Refusal;
use crate::sync::Data;
use crate::sync::guard::{Guard, sealed::Sealed};
use crate::sync::owned::{self, Claim, Patience};
use crate::sys::clock::Deadline;

use super::Array;

/// All elements of an [`Array`], for as long as nobody else has any. Dropped, it frees them.
///
/// It is a slice. It stays with the thread that took the lock. In a child that was forked meanwhile
/// its drop does nothing: the lock is the parent's.
///
/// # Examples
/// ```
/// use multiproc::Array;
///
/// let array = Array::from_slice(&[3, 1, 2])?;
/// {
///     let mut all = array.lock()?;
///     all.sort();
///     all[0] = 7;
/// }
/// assert_eq!(array.to_vec()?, [7, 2, 3]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the array is free again as soon as its guard is dropped"]
pub struct ArrayGuard<'a, T: Data> {
    array: &'a Array<T>,
    claim: Claim,
    _stays: PhantomData<*const T>,
}

impl<T: Data> Array<T> {
    /// Takes the whole array, waiting for it as long as it takes: until nobody has it, nor any part
    /// of it. Meanwhile nobody gets a new part.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Array;
    /// let array = Array::new(1000, 1.5f64)?;
    /// let mut all = array.lock()?;
    /// all[..10].fill(0.0);
    /// assert_eq!(all.iter().sum::<f64>(), 990.0 * 1.5);
    /// # drop(all);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// an owner of the array or of a part left it poisoned;
    /// [`WouldDeadlock`](LockError::WouldDeadlock) if this thread has it or a part of it already;
    /// [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[doc(alias = "get_lock")]
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_until(Some(Deadline::NEVER))
    }

    /// Takes the whole array if nobody has it, nor any part of it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(10, 0u8)?;
    /// let part = array.lock_range(..5)?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert!(array.try_lock().unwrap_err().is_held()));
    /// });
    /// drop(part);
    /// assert!(array.try_lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if somebody has, and as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_until(None)
    }

    /// Takes the whole array, waiting for it for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Array;
    ///
    /// let array = Array::new(10, 0u8)?;
    /// let _part = array.lock_range(..5)?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = array.lock_timeout(Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.lock_until(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn lock_until(
        &self,
        patience: Patience,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        let caller = match self.caller(patience) {
            Ok(caller) => caller,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let ranges = self.object.machine();
        let locked = match ranges.lock(&caller) {
            Err(Refusal::Held) if self.has_suspected() => ranges.lock(&caller),
            locked => locked,
        };
        let legacy = match locked {
            Ok(legacy) => legacy,
            Err(refusal) => return Err(owned::refused(refusal)),
        };
        let guard = ArrayGuard { array: self, claim: Claim::new(caller.me), _stays: PhantomData };
        if legacy.is_none() {
            Ok(guard)
        } else {
            Err(owned::poisoned(ranges.mutex(), legacy, guard))
        }
    }
}

impl<T: Data> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` elements from `first` on are mapped and aligned, any bytes are a `T`,
        // and whoever has the whole is alone with it.
        unsafe { NonNull::slice_from_raw_parts(self.array.first(), self.array.length).as_ref() }
    }
}

impl<T: Data> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { NonNull::slice_from_raw_parts(self.array.first(), self.array.length).as_mut() }
    }
}

impl<T: Data> Drop for ArrayGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.array.object;
        let owner = self.claim.owner();
        if object.is_still(owner) {
            object.machine().unlock(owner, self.claim.leaving());
        }
    }
}

impl<T: Data> Guard for ArrayGuard<'_, T> {
    type Data = [T];
}

impl<'a, T: Data> Sealed<[T]> for ArrayGuard<'a, T> {
    type Rest = &'a Array<T>;

    fn give_up(self) -> Self::Rest {
        self.array
    }

    fn take_again(array: Self::Rest) -> Result<Self, LockError<Self>> {
        array.lock()
    }

    fn ask(&mut self, question: impl FnOnce(&mut [T]) -> bool) -> bool {
        question(self)
    }
}

impl<T: Data + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
