//! Integers that processes change together without a lock.
#![allow(unsafe_code)]

use crate::shim::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};

use super::Data;

mod sealed {
    pub trait Sealed {}
}

/// The atomic integers of [`std::sync::atomic`], which processes share as threads do.
///
/// `AtomicBool` is not among them: another process may write any byte there, and most are no
/// `bool`. Take an `AtomicU8`.
///
/// # Examples
/// A function for the atomics of all sizes:
/// ```
/// use std::sync::atomic::AtomicU32;
///
/// use multiproc::{Atomic, Segment};
///
/// fn fits<A: Atomic>(bytes: &Segment, at: usize) -> bool {
///     bytes.atomic::<A>(at).is_ok()
/// }
///
/// let bytes = Segment::new(64)?;
/// assert!(fits::<AtomicU32>(&bytes, 60) && !fits::<AtomicU32>(&bytes, 61));
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// # Safety
/// Any bytes are valid, it has no padding, and it has the size, the alignment and the bytes of its
/// integer.
pub unsafe trait Atomic: sealed::Sealed + Send + Sync + 'static {
    /// The integer in it.
    type Integer: Integer<Atomic = Self>;
}

/// An integer that can be changed atomically.
///
/// # Examples
/// A function for the integers of all sizes:
/// ```
/// use std::sync::atomic::{AtomicI16, Ordering};
///
/// use multiproc::{Array, Integer};
///
/// fn counters<T: Integer>(names: &[&str], start: T) -> multiproc::Result<Array<T::Atomic>> {
///     Array::atomics(names.len(), start)
/// }
///
/// let counters: Array<AtomicI16> = counters(&["sent", "received"], 0i16)?;
/// assert_eq!(counters[1].fetch_add(1, Ordering::Relaxed), 0);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no integer that can be changed atomically",
    label = "not an integer of 8 to 64 bits",
    note = "for `bool` take `u8`: another process may write any byte there",
    note = "for other data take `Value::new` and its lock"
)]
pub trait Integer: Data + sealed::Sealed {
    /// Its atomic.
    type Atomic: Atomic<Integer = Self>;
}

macro_rules! atomics {
    ($($integer:ty: $atomic:ty),* $(,)?) => {$(
        const _: () = assert!(size_of::<$integer>() == size_of::<$atomic>());
        const _: () = assert!(align_of::<$integer>() == align_of::<$atomic>());

        impl sealed::Sealed for $integer {}
        impl sealed::Sealed for $atomic {}

        impl Integer for $integer {
            type Atomic = $atomic;
        }

        // SAFETY: std documents "the same size, alignment, and bit validity as the underlying
        // integer type", and the alignment is checked above.
        unsafe impl Atomic for $atomic {
            type Integer = $integer;
        }
    )*};
}

atomics! {
    u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64, usize: AtomicUsize,
    i8: AtomicI8, i16: AtomicI16, i32: AtomicI32, i64: AtomicI64, isize: AtomicIsize,
}
