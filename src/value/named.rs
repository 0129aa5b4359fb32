//! Values that programs find by a name.

use crate::error::Result;
use crate::segment::{self, Name, Site, ToName};
use crate::sync::object::Object;
use crate::sync::{Data, Integer};
use crate::transfer::identity::data_name;

use super::Value;
use super::locked::wrong_size;

/// What values are called by programs that were built apart. Whatever those say of their types, no
/// value has a lock for one of them and none for the other.
const LOCKED: &str = "Value";
const ATOMIC: &str = "Value without a lock";

impl<T: Data> Value<T> {
    /// Makes a value that other programs find by its name. See [`Name`] for how long it stays.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Value};
    ///
    /// let name = Name::new(&format!("value-create-{}", std::process::id()))?;
    /// drop(Value::create(&name, 7u64)?);
    /// // It stays, though nobody has it.
    /// assert_eq!(Value::create(&name, 8u64).unwrap_err().kind(), ErrorKind::Exists);
    /// assert_eq!(Value::<u64>::open(&name)?.get()?, 7);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    pub fn create(name: impl ToName, value: T) -> Result<Self> {
        Self::create_as(&name.to_name()?, LOCKED, value)
    }

    /// Opens a value that some program has made under this name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Value};
    ///
    /// let name = Name::new(&format!("value-open-{}", std::process::id()))?;
    /// assert_eq!(Value::<u64>::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// let total = Value::create(&name, 7u64)?;
    /// // In another program:
    /// Value::<u64>::open(&name)?.update(|total| *total += 1)?;
    /// assert_eq!(total.get()?, 8);
    /// // It is no `f64`.
    /// assert_eq!(Value::<f64>::open(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if nothing has the name,
    /// [`Mismatch`](crate::ErrorKind::Mismatch) if something else has it,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged.
    pub fn open(name: impl ToName) -> Result<Self> {
        Self::open_as(&name.to_name()?, LOCKED)
    }

    /// Opens a value of this name, or makes it if nothing has the name: of several programs that do
    /// so at once, all have the same one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Value};
    ///
    /// let name = Name::new(&format!("value-either-{}", std::process::id()))?;
    /// let one = Value::open_or_create(&name, 7u64)?;
    /// one.update(|total| *total += 1)?;
    /// // In another program: the value is there already, so this 7 is not used.
    /// assert_eq!(Value::open_or_create(&name, 7u64)?.get()?, 8);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`new`](Self::new).
    pub fn open_or_create(name: impl ToName, value: T) -> Result<Self> {
        Self::open_or_create_as(&name.to_name()?, LOCKED, value)
    }
}

impl<T: Integer> Value<T> {
    /// Makes a value without a lock, as [`atomic`](Self::atomic) does, that other programs find by
    /// its name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use multiproc::{Name, Value};
    ///
    /// let name = Name::new(&format!("atomic-create-{}", std::process::id()))?;
    /// let total: Value<AtomicU64> = Value::create_atomic(&name, 7u64)?;
    /// assert_eq!(total.fetch_add(1, Ordering::Relaxed), 7);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_atomic(name: impl ToName, value: T) -> Result<Value<T::Atomic>> {
        Value::create_as(&name.to_name()?, ATOMIC, value)
    }

    /// Opens a value without a lock that some program has made under this name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// use multiproc::{ErrorKind, Name, Value};
    ///
    /// let name = Name::new(&format!("atomic-open-{}", std::process::id()))?;
    /// let total = Value::create_atomic(&name, 7u64)?;
    /// // In another program:
    /// Value::<u64>::open_atomic(&name)?.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(total.load(Ordering::Relaxed), 8);
    /// // It has no lock that could be taken.
    /// assert_eq!(Value::<u64>::open(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_atomic(name: impl ToName) -> Result<Value<T::Atomic>> {
        Value::open_as(&name.to_name()?, ATOMIC)
    }

    /// Opens a value without a lock, or makes it if nothing has the name.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// use multiproc::{Name, Value};
    ///
    /// let name = Name::new(&format!("atomic-either-{}", std::process::id()))?;
    /// let one = Value::open_or_create_atomic(&name, 0u64)?;
    /// // In another program, which may as well be the first:
    /// let other = Value::open_or_create_atomic(&name, 0u64)?;
    /// one.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(other.fetch_add(1, Ordering::Relaxed), 1);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_or_create`](Self::open_or_create).
    pub fn open_or_create_atomic(name: impl ToName, value: T) -> Result<Value<T::Atomic>> {
        Value::open_or_create_as(&name.to_name()?, ATOMIC, value)
    }
}

impl<T> Value<T> {
    fn create_as<B: Data>(name: &Name, what: &str, value: B) -> Result<Self> {
        let label = name.label(what, data_name::<T>);
        Self::make(&Site::Named { name, label: &label }, value)
    }

    fn open_as(name: &Name, what: &str) -> Result<Self> {
        let shared = segment::open(name, &name.label(what, data_name::<T>))?;
        let object = Object::on(shared, Self::fingerprint())?;
        if object.data().1 == Self::BYTES { Ok(Self::on(object)) } else { Err(wrong_size()) }
    }

    fn open_or_create_as<B: Data>(name: &Name, what: &str, value: B) -> Result<Self> {
        let open = || Self::open_as(name, what);
        segment::open_or_make(name, open, || Self::create_as(name, what, value))
    }
}
