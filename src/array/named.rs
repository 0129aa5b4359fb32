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
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    #[doc(alias = "ShareableList")]
    pub fn create(name: impl ToName, length: usize, fill: T) -> Result<Self> {
        Self::create_as(&name.to_name()?, LOCKED, length, fill)
    }

    /// Makes an array of these elements that other programs find by its name.
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
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing has the name, [`Mismatch`](ErrorKind::Mismatch)
    /// if something else has it, [`Corrupt`](ErrorKind::Corrupt) if it is damaged.
    pub fn open(name: impl ToName) -> Result<Self> {
        Self::open_as(&name.to_name()?, LOCKED)
    }

    /// Opens an array of this name, or makes it if nothing has the name: of several programs that
    /// do so at once, all have the same one.
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
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_atomics(name: impl ToName, length: usize, fill: T) -> Result<Array<T::Atomic>> {
        Array::create_as(&name.to_name()?, ATOMIC, length, fill)
    }

    /// Opens an array without locks that some program has made under this name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_atomics(name: impl ToName) -> Result<Array<T::Atomic>> {
        Array::open_as(&name.to_name()?, ATOMIC)
    }

    /// Opens an array without locks, or makes it if nothing has the name.
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
