//! Room 6: arrays in shared memory, with a lock for each part of them, or of atomics without one.

mod atomic;
mod block;
mod element;
mod guard;
#[cfg(test)]
mod hostile;
mod make;
mod named;
mod range;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::raw::mutex::Owner;
use crate::raw::ranges::{Caller, Ranges, Span};
use crate::raw::wait::Terms;
use crate::sync::object::Object;
use crate::sync::owned::{self, Patience};
use crate::sync::{Data, Holder};
use crate::transfer::{cargo, identity::fingerprint};

pub use guard::ArrayGuard;
pub use range::RangeGuard;

/// An array in shared memory, which processes and their threads read and change.
///
/// Which way is said by its type:
///
/// - `Array<T>` for plain data `T` ([`Data`](crate::Data)) is taken before it is used: the whole of
///   it by [`lock`](Self::lock), a part by [`lock_range`](Self::lock_range). The guards are slices.
///   Parts that have no element in common are held side by side.
/// - `Array<AtomicU64>` and the like, made by [`Array::atomics`], have no lock: they *are* slices
///   of the atomics of [`std::sync::atomic`].
///
/// Its length never changes. It has as many elements as memory allows, and there can be memory for
/// all of them from the beginning, or for those that are used ([`sparse`](Self::sparse)).
///
/// A handle is `Clone`, `Send` and `Sync`; all handles, here and in processes that one was sent to,
/// are of the same array.
///
/// **When a process dies with a guard**, by `kill -9` or otherwise, its elements may be half
/// written. They are free again, and everybody who takes the array or any part of it is told by
/// [`LockError`](crate::LockError), with the guard inside, until
/// [`clear_poison`](Self::clear_poison). A panic with a guard is told in the same way.
///
/// # Examples
/// ```
/// use multiproc::{Array, Process};
///
/// fn square(numbers: Array<i64>) -> multiproc::Result<()> {
///     let mut guard = numbers.lock()?;
///     guard.iter_mut().for_each(|number| *number *= *number);
///     Ok(())
/// }
///
/// let numbers = Array::from_slice(&[0i64, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
/// Process::spawn(square, numbers.clone())?.join().unwrap()?;
/// assert_eq!(numbers.to_vec()?, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "RawArray")]
pub struct Array<T> {
    object: Object<Ranges>,
    length: usize,
    _elements: PhantomData<T>,
}

impl<T> Array<T> {
    /// What tells arrays of this type from others.
    fn fingerprint() -> u64 {
        // Of the element: all arrays are as large as a handle.
        fingerprint::<T, Self>()
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// assert_eq!(Array::new(1000, 0u8)?.len(), 1000);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// assert!(Array::<u8>::from_slice(&[])?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T: Data> Array<T> {
    /// This thread, as one that wants something of the array.
    #[inline]
    fn caller<'a>(
        &'a self,
        patience: Patience,
    ) -> Result<Caller<impl Fn() -> Terms<'a>, impl Fn(u32) -> Owner>, Error> {
        let segment = self.object.segment();
        Ok(Caller {
            me: self.object.me()?,
            terms: patience.map(|deadline| move || segment.terms(deadline)),
            suspect: |participant| segment.suspect(participant),
        })
    }

    /// Who only ever tries must find out as well that others are dead: whether it is time to try
    /// once more.
    #[cold]
    fn has_suspected(&self) -> bool {
        let (ranges, segment) = (self.object.machine(), self.object.segment());
        let is_time = owned::is_time_to_suspect();
        if is_time {
            let owners = ranges.holders().map(|(owner, _)| owner).chain(ranges.mutex().owner());
            owners.for_each(|owner| {
                segment.suspect(owner);
            });
        }
        is_time
    }

    /// Who has the array or parts of it, and which.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(100, 0u8)?;
    /// let _part = array.lock_range(10..20)?;
    /// let (range, holder) = array.who_holds().remove(0);
    /// assert_eq!((range, holder.pid), (10..20, std::process::id()));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn who_holds(&self) -> Vec<(Range<usize>, Holder)> {
        let (ranges, segment) = (self.object.machine(), self.object.segment());
        let whole = ranges.holder_of_all();
        let whole = whole.map(|owner| (owner, Span { start: 0, end: self.length as u64 }));
        let held = whole.into_iter().chain(ranges.holders());
        let named = held.map(|(owner, span)| {
            (span.start as usize..span.end as usize, Holder::new(segment, owner, 1))
        });
        named.collect()
    }

    /// Whether somebody has the array, or a part of it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Array;
    ///
    /// let array = Array::new(100, 0u8)?;
    /// assert!(!array.is_locked());
    /// let _part = array.lock_range(10..20)?;
    /// assert!(array.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let ranges = self.object.machine();
        ranges.holder_of_all().is_some() || ranges.holders().next().is_some()
    }

    /// Whether an owner of the array or of a part died or panicked, and nobody has called
    /// [`clear_poison`](Self::clear_poison) since.
    ///
    /// # Examples
    /// A part that was left half written makes the whole suspect:
    /// ```
    /// use multiproc::{Array, Process};
    ///
    /// fn crash(array: Array<u8>) {
    ///     let _part = array.lock_range(10..20).unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let array = Array::new(100, 0u8)?;
    /// Process::spawn(crash, array.clone())?.join().unwrap_err();
    /// assert!(array.lock_range(50..60).unwrap_err().is_owner_dead());
    /// assert!(array.is_poisoned());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.object.machine().mutex().legacy().is_none()
    }

    /// Tells everybody that all is well again. For whoever has the array and has looked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, LockError, Process};
    ///
    /// fn crash(array: Array<u8>) {
    ///     array.lock_range(10..20).unwrap().fill(7);
    ///     let _part = array.lock_range(10..20).unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let array = Array::new(100, 0u8)?;
    /// Process::spawn(crash, array.clone())?.join().unwrap_err();
    /// let mut all = array.lock().or_else(LockError::recover)?;
    /// all.fill(0);
    /// array.clear_poison();
    /// drop(all);
    /// assert_eq!(array.get(10)?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.object.machine().mutex().clear();
    }
}

impl<T> Clone for Array<T> {
    /// Makes another handle of the same array.
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), ..*self }
    }
}

impl<T> PartialEq for Array<T> {
    /// Whether both are handles of one array.
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T> Eq for Array<T> {}

impl<T> fmt::Debug for Array<T> {
    /// What its lock looks like at this moment, without taking it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.object.machine();
        let mut debug = f.debug_struct("Array");
        debug.field("of", &format_args!("{}", std::any::type_name::<T>()));
        debug.field("len", &self.length);
        owned::describe(&mut debug, ranges.mutex(), self.object.segment());
        debug.field("parts_held", &ranges.holders().count());
        debug.finish()
    }
}

impl<T> Serialize for Array<T> {
    /// Puts a handle of the array into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Array<T> {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::unpack(deserializer, Self::fingerprint())?;
        Self::on(object).map_err(|error| cargo::not_unpacked(error, serde::de::Error::custom))
    }
}
