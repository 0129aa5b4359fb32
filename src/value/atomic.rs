//! Values without a lock: integers that are changed atomically.
#![allow(unsafe_code)]

use std::ops::Deref;

use crate::error::Result;
use crate::raw::twin::Which;
use crate::segment::Site;
use crate::sync::{Atomic, Integer};

use super::Value;

impl<T: Integer> Value<T> {
    /// Makes an integer without a lock, which is used as the atomic of [`std::sync::atomic`] that
    /// it is.
    ///
    /// There is nothing that a death could leave half done, nobody to wait for, and no error.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use multiproc::{Process, Value};
    ///
    /// fn add(total: Value<AtomicU64>) {
    ///     total.fetch_add(2, Ordering::Relaxed);
    /// }
    ///
    /// let total = Value::atomic(5u64)?;
    /// Process::spawn(add, total.clone())?.join().unwrap();
    /// assert_eq!(total.load(Ordering::Relaxed), 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// It has no lock, and a value with a lock is no atomic:
    ///
    /// ```compile_fail,E0599
    /// # use multiproc::Value;
    /// let total = Value::atomic(5u64)?;
    /// let guard = total.lock()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// ```compile_fail,E0599
    /// # use multiproc::Value;
    /// let total = Value::new(5u64)?;
    /// total.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no shared memory left, or no file descriptor for it.
    #[doc(alias = "RawValue")]
    pub fn atomic(value: T) -> Result<Value<T::Atomic>> {
        Value::make(&Site::Anywhere, value)
    }
}

impl<A: Atomic> Deref for Value<A> {
    type Target = A;

    #[inline]
    fn deref(&self) -> &A {
        // SAFETY: in range and aligned (`copy`), any bytes are an `A`, and all that ever refers to
        // them is an `A` too: only `atomic` makes such a value, and `deserialize` none of another
        // type.
        unsafe { self.copy(Which::First).as_ref() }
    }
}
