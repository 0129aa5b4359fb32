//! Arrays that programs find by a name.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::{self, Name, Site, ToName};
use crate::sync::object::Object;
use crate::sync::{Data, Integer};
use crate::transfer::identity::{data_name, with_layout};

use super::Array;

/// What arrays are called by programs that were built apart, see `value::named`. Whatever those say
/// of their types, all count the same elements: ranges are locked by numbers of elements.
const LOCKED: &str = "Array";
const ATOMIC: &str = "Array without locks";

impl<T: Data> Array<T> {
    /// Makes an array of `length` elements that other programs find by its name. See [`Name`] for
    /// how long it stays.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("array-create-{}", std::process::id()))?;
    /// let array = Array::create(&name, 100, 0u8)?;
    /// array.set(99, 7)?;
    /// assert_eq!(Array::create(&name, 100, 0u8).unwrap_err().kind(), ErrorKind::Exists);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    #[doc(alias = "ShareableList")]
    pub fn create(name: impl ToName, length: usize, fill: T) -> Result<Self> {
        Self::create_as(&name.to_name()?, LOCKED, length, fill)
    }

    /// Makes an array of these elements that other programs find by its name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Name};
    ///
    /// let name = Name::new(&format!("array-slice-{}", std::process::id()))?;
    /// let _primes = Array::create_from_slice(&name, &[2, 3, 5, 7])?;
    /// // In another program:
    /// assert_eq!(Array::<i32>::open(&name)?.to_vec()?, [2, 3, 5, 7]);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_from_slice(name: impl ToName, elements: &[T]) -> Result<Self> {
        let name = name.to_name()?;
        let label = name.label(&with_layout::<T>(LOCKED), data_name::<T>);
        Self::make_from(&Site::Named { name: &name, label: &label }, elements)
    }

    /// Opens an array that some program has made under this name, with whatever length it has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("array-open-{}", std::process::id()))?;
    /// assert_eq!(Array::<u8>::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// let array = Array::create(&name, 100, 0u8)?;
    /// // In another program:
    /// let same = Array::<u8>::open(&name)?;
    /// assert_eq!(same.len(), 100);
    /// same.set(99, 7)?;
    /// assert_eq!(array.get(99)?, 7);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing has the name, [`Mismatch`](ErrorKind::Mismatch)
    /// if something else has it, [`Corrupt`](ErrorKind::Corrupt) if it is damaged.
    pub fn open(name: impl ToName) -> Result<Self> {
        Self::open_as(&name.to_name()?, LOCKED)
    }

    /// Opens an array of this name, or makes it if nothing has the name: of several programs that
    /// do so at once, all have the same one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("array-either-{}", std::process::id()))?;
    /// let one = Array::open_or_create(&name, 100, 0u8)?;
    /// one.set(99, 7)?;
    /// // In another program, which may as well be the first:
    /// let other = Array::open_or_create(&name, 100, 0u8)?;
    /// assert_eq!(other.get(99)?, 7);
    /// // Both must mean the same.
    /// assert_eq!(Array::open_or_create(&name, 50, 0u8).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Mismatch` also if it has another length; and as [`open`](Self::open) and
    /// [`new`](Self::new).
    pub fn open_or_create(name: impl ToName, length: usize, fill: T) -> Result<Self> {
        Self::open_or_create_as(&name.to_name()?, LOCKED, length, fill)
    }
}

impl<T: Integer> Array<T> {
    /// Makes an array without locks, as [`atomics`](Self::atomics) does, that other programs find
    /// by its name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use multiproc::{Array, Name};
    ///
    /// let name = Name::new(&format!("atomics-create-{}", std::process::id()))?;
    /// let votes: Array<AtomicU32> = Array::create_atomics(&name, 3, 0u32)?;
    /// votes[2].fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(votes[2].load(Ordering::Relaxed), 1);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_atomics(name: impl ToName, length: usize, fill: T) -> Result<Array<T::Atomic>> {
        Array::create_as(&name.to_name()?, ATOMIC, length, fill)
    }

    /// Opens an array without locks that some program has made under this name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// use multiproc::{Array, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("atomics-open-{}", std::process::id()))?;
    /// let votes = Array::create_atomics(&name, 3, 0u32)?;
    /// // In another program:
    /// Array::<u32>::open_atomics(&name)?[2].fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(votes[2].load(Ordering::Relaxed), 1);
    /// // There are no locks that could be taken.
    /// assert_eq!(Array::<u32>::open(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_atomics(name: impl ToName) -> Result<Array<T::Atomic>> {
        Array::open_as(&name.to_name()?, ATOMIC)
    }

    /// Opens an array without locks, or makes it if nothing has the name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// use multiproc::{Array, Name};
    ///
    /// let name = Name::new(&format!("atomics-either-{}", std::process::id()))?;
    /// let one = Array::open_or_create_atomics(&name, 3, 0u32)?;
    /// // In another program, which may as well be the first:
    /// let other = Array::open_or_create_atomics(&name, 3, 0u32)?;
    /// one[2].fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(other[2].fetch_add(1, Ordering::Relaxed), 1);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_or_create`](Self::open_or_create).
    pub fn open_or_create_atomics(
        name: impl ToName,
        length: usize,
        fill: T,
    ) -> Result<Array<T::Atomic>> {
        Array::open_or_create_as(&name.to_name()?, ATOMIC, length, fill)
    }
}

impl<T> Array<T> {
    fn create_as<B: Data>(name: &Name, what: &str, length: usize, fill: B) -> Result<Self> {
        let label = name.label(&with_layout::<T>(what), data_name::<T>);
        Self::make_of(&Site::Named { name, label: &label }, length, fill)
    }

    fn open_as(name: &Name, what: &str) -> Result<Self> {
        let shared = segment::open(name, &name.label(&with_layout::<T>(what), data_name::<T>))?;
        Self::on(Object::on(shared, Self::fingerprint())?)
    }

    fn open_or_create_as<B: Data>(name: &Name, what: &str, length: usize, fill: B) -> Result<Self> {
        let open = || {
            let found = Self::open_as(name, what)?;
            if found.len() == length {
                return Ok(found);
            }
            let (has, name) = (found.len(), name.as_str());
            let what = format!("the array {name:?} has {has} elements, and not {length}");
            Err(Error::new(ErrorKind::Mismatch, what))
        };
        segment::open_or_make(name, open, || Self::create_as(name, what, length, fill))
    }
}
