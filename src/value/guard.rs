//! Values with a lock: the lock for as long as its guard lives.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::time::Duration;

use crate::error::LockError;
use crate::raw::twin::Which;
use crate::sync::Data;
use crate::sync::guard::{Guard, sealed::Sealed};
use crate::sync::owned::{self, Claim, Patience};
use crate::sys::clock::Deadline;

use super::Value;

/// The value of a [`Value`], for as long as nobody else has it. Dropped, it frees the lock.
///
/// It stays with the thread that took the lock. In a child that was forked meanwhile its drop does
/// nothing: the lock is the parent's.
///
/// # Examples
/// ```
/// use multiproc::Value;
///
/// let corners = Value::new([0.0f64; 4])?;
/// {
///     let mut corners = corners.lock()?;
///     corners[1] = 1.5;
///     corners.reverse();
/// }
/// assert_eq!(corners.get()?, [0.0, 0.0, 1.5, 0.0]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
pub struct ValueGuard<'a, T: Data> {
    value: &'a Value<T>,
    /// Marked if the second copy is the one that counts. It stays so as long as the lock is held.
    claim: Claim,
    _stays: PhantomData<*const T>,
}

impl<T: Data> Value<T> {
    /// Takes the lock, waiting for it as long as it takes, to change the value in place.
    ///
    /// Whoever dies or panics with the guard may leave the value half changed, and the next ones
    /// are told. Where that must not be, [`update`](Self::update) it.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Value;
    /// let table = Value::new([0u32; 64])?;
    /// let mut guard = table.lock()?;
    /// guard[7] = guard[6] + 1;
    /// drop(guard);
    /// assert_eq!(table.get()?[7], 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// an owner left the value poisoned; [`WouldDeadlock`](LockError::WouldDeadlock) if this thread
    /// has it already; [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[doc(alias = "get_lock")]
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.lock_until(Some(Deadline::NEVER))
    }

    /// Takes the lock if it is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, Value};
    ///
    /// fn is_free(total: Value<u64>) -> bool {
    ///     total.try_lock().is_ok()
    /// }
    ///
    /// let total = Value::new(7u64)?;
    /// let guard = total.lock()?;
    /// assert!(!Process::spawn(is_free, total.clone())?.join().unwrap());
    /// drop(guard);
    /// assert!(Process::spawn(is_free, total.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.lock_until(None)
    }

    /// Takes the lock, waiting for it for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let _guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = total.lock_timeout(Duration::from_millis(1)).unwrap_err();
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
    ) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        self.lock_until(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn lock_until(
        &self,
        patience: Patience,
    ) -> Result<ValueGuard<'_, T>, LockError<ValueGuard<'_, T>>> {
        let me = self.me()?;
        let legacy = self.take(me, patience)?;
        let is_second = self.object.machine().twin.active() == Which::Second;
        let claim = Claim::new(me).marked(is_second);
        let guard = ValueGuard { value: self, claim, _stays: PhantomData };
        if legacy.is_none() {
            Ok(guard)
        } else {
            Err(owned::poisoned(&self.object.machine().mutex, legacy, guard))
        }
    }
}

impl<T: Data> ValueGuard<'_, T> {
    #[inline]
    fn at(&self) -> NonNull<T> {
        self.value.copy(if self.claim.is_marked() { Which::Second } else { Which::First })
    }
}

impl<T: Data> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: in range and aligned (`copy`), any bytes are a `T`, and whoever has the lock is
        // alone with it.
        unsafe { self.at().as_ref() }
    }
}

impl<T: Data> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.at().as_mut() }
    }
}

impl<T: Data> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.value.object;
        let owner = self.claim.owner();
        if object.is_still(owner) {
            object.machine().mutex.unlock(owner, self.claim.leaving());
        }
    }
}

impl<T: Data> Guard for ValueGuard<'_, T> {
    type Data = T;
}

impl<'a, T: Data> Sealed<T> for ValueGuard<'a, T> {
    type Rest = &'a Value<T>;

    fn give_up(self) -> Self::Rest {
        self.value
    }

    fn take_again(value: Self::Rest) -> Result<Self, LockError<Self>> {
        value.lock()
    }

    fn ask(&mut self, question: impl FnOnce(&mut T) -> bool) -> bool {
        question(self)
    }
}

impl<T: Data + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValueGuard").field(&**self).finish()
    }
}
