//! How arrays are made, and where their elements are.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::kind::Kind;
use crate::raw::ranges::Ranges;
use crate::segment::Site;
use crate::sync::Data;
use crate::sync::object::{Extent, Machine, Object};

use super::Array;

// SAFETY: atomics alone; `Kind::Array` says so of its blocks.
unsafe impl Machine for Ranges {
    const KIND: Kind = Kind::Array;
}

impl<T> Array<T> {
    /// What every array of `T` must be like. Evaluated where one is made or arrives.
    const IS_SOUND: () = {
        assert!(size_of::<T>() != 0, "an array of nothing has no length");
        assert!(align_of::<T>() <= Ranges::LINE as usize, "aligned to 128 at the most");
    };

    /// The array in an object.
    pub(super) fn on(object: Object<Ranges>) -> Result<Self> {
        let () = Self::IS_SOUND;
        let (size, bytes) = (size_of::<T>() as u64, object.data().1);
        if !bytes.is_multiple_of(size) {
            return Err(Error::new(ErrorKind::Corrupt, "an array with half an element"));
        }
        // The bytes are mapped, so their number is one of `usize`.
        let length = (bytes / size) as usize;
        Ok(Self { object, length, _elements: PhantomData })
    }

    /// Makes an array of `length` elements of zeros, the first of which have memory of their own if
    /// that is not all, and lets `init` have where they are.
    fn make(
        site: &Site<'_>,
        length: usize,
        furnished: u64,
        init: impl Fn(NonNull<T>),
    ) -> Result<Self> {
        let bytes = (length as u64).checked_mul(size_of::<T>() as u64).ok_or_else(|| {
            let what = format!("an array of {length} elements of {} bytes", size_of::<T>());
            Error::new(ErrorKind::Limit, what)
        })?;
        let (fingerprint, extent) = (Self::fingerprint(), Extent { length: bytes, furnished });
        Self::on(Object::make_with(site, fingerprint, extent, |_, data| init(data.cast()))?)
    }

    /// Makes an array of these, whatever type it is to be of.
    pub(super) fn make_from<B: Data>(site: &Site<'_>, values: &[B]) -> Result<Self> {
        const { assert!(size_of::<B>() == size_of::<T>() && align_of::<B>() == align_of::<T>()) };
        Self::make(site, values.len(), u64::MAX, |first| {
            // SAFETY: `make` gives room for as many, aligned to 128, that nobody else sees yet.
            unsafe { first.cast::<B>().as_ptr().copy_from(values.as_ptr(), values.len()) };
        })
    }

    /// Makes an array of `length` times the same, whatever type it is to be of.
    pub(super) fn make_of<B: Data>(site: &Site<'_>, length: usize, fill: B) -> Result<Self> {
        const { assert!(size_of::<B>() == size_of::<T>() && align_of::<B>() == align_of::<T>()) };
        let is_zero = bytemuck::bytes_of(&fill).iter().all(|byte| *byte == 0);
        Self::make(site, length, u64::MAX, |first| {
            // What is to be zeros is zeros already.
            for index in 0..if is_zero { 0 } else { length } {
                // SAFETY: as in `make_from`.
                unsafe { first.cast::<B>().add(index).write(fill) };
            }
        })
    }

    /// Where the first element is: aligned, and in memory that is the array's as long as the
    /// handle. `length` of them are there, one behind the other.
    #[inline]
    pub(super) fn first(&self) -> NonNull<T> {
        self.object.data().0.cast()
    }
}

impl<T: Data> Array<T> {
    /// Makes an array of `length` elements that are all `fill`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(1000, 0.5f64)?;
    /// assert_eq!(array.lock()?.iter().sum::<f64>(), 500.0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Kind [`Memory`](ErrorKind::Memory) if there is not enough of it at this moment,
    /// [`Limit`](ErrorKind::Limit) if there can never be, or if there is no file descriptor left.
    pub fn new(length: usize, fill: T) -> Result<Self> {
        Self::make_of(&Site::Anywhere, length, fill)
    }

    /// Makes an array of copies of these elements.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let grid = Array::from_slice(&[[0u8, 1], [1, 0]])?;
    /// assert_eq!(grid.get(1)?, [1, 0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        Self::make_from(&Site::Anywhere, elements)
    }

    /// Makes an array of `length` zeros.
    pub(crate) fn zeros(length: usize) -> Result<Self> {
        Self::make(&Site::Anywhere, length, u64::MAX, |_| ())
    }

    /// Makes an array of `length` zeros that takes address space, but no memory before it is used:
    /// a page at a time, when an element in it is first read or written, and never back before the
    /// array goes.
    ///
    /// That there is memory then is not certain. If there is none left, the process that touches
    /// the array is ended by the kernel (`SIGBUS`, or the choice of the out-of-memory killer).
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Array;
    /// // Eight GiB, of which a few pages are used.
    /// let table = Array::<u64>::sparse(1 << 30)?;
    /// table.set(table.len() - 1, 7)?;
    /// assert_eq!(table.get(12345)?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Kind [`Memory`](ErrorKind::Memory) or [`Limit`](ErrorKind::Limit) if there is no room in the
    /// address space, no memory for the tables, or no file descriptor left.
    pub fn sparse(length: usize) -> Result<Self> {
        Self::make(&Site::Anywhere, length, 0, |_| ())
    }
}
