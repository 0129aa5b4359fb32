//! Arrays without a lock: of integers that are changed atomically.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::ptr::NonNull;

use crate::error::Result;
use crate::segment::Site;
use crate::sync::{Atomic, Integer};

use super::Array;

impl<T: Integer> Array<T> {
    /// Makes an array of `length` integers without a lock, which are used as the atomics of
    /// [`std::sync::atomic`] that they are.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use multiproc::{Array, Process};
    ///
    /// fn count(votes: Array<AtomicU32>) {
    ///     votes[2].fetch_add(1, Ordering::Relaxed);
    /// }
    ///
    /// let votes = Array::atomics(3, 0u32)?;
    /// Process::spawn(count, votes.clone())?.join().unwrap();
    /// let counted = votes.iter().map(|votes| votes.load(Ordering::Relaxed));
    /// assert_eq!(counted.collect::<Vec<_>>(), [0, 0, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[doc(alias = "RawArray")]
    pub fn atomics(length: usize, fill: T) -> Result<Array<T::Atomic>> {
        Array::make_of(&Site::Anywhere, length, fill)
    }

    /// As [`atomics`](Self::atomics), with the values of these integers.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// use multiproc::Array;
    ///
    /// let stock = Array::atomics_from_slice(&[5i32, 0, 2])?;
    /// assert_eq!(stock[2].fetch_sub(1, Ordering::Relaxed), 2);
    /// assert_eq!(stock[2].load(Ordering::Relaxed), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[doc(alias = "RawArray")]
    pub fn atomics_from_slice(values: &[T]) -> Result<Array<T::Atomic>> {
        Array::make_from(&Site::Anywhere, values)
    }
}

impl<A: Atomic> Deref for Array<A> {
    type Target = [A];

    #[inline]
    fn deref(&self) -> &[A] {
        // SAFETY: `length` elements from `first` on are mapped and aligned, any bytes are an `A`,
        // and all that ever refers to them is an `A` too: only `atomics` makes such an array, and
        // `deserialize` none of another type.
        unsafe { NonNull::slice_from_raw_parts(self.first(), self.length).as_ref() }
    }
}
