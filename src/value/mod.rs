//! Room 6: one value in shared memory, with its lock, or an atomic without one.

mod atomic;
mod guard;
#[cfg(test)]
mod hostile;
mod locked;
mod named;

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sync::owned;
use crate::transfer::{cargo, identity::fingerprint};

pub(crate) use locked::Body;

pub use guard::ValueGuard;

use crate::sync::object::Object;

/// A value in shared memory, which processes and their threads read and change.
///
/// Which way is said by its type:
///
/// - `Value<T>` for plain data `T` ([`Data`](crate::Data)) has a lock in it. [`get`](Self::get),
///   [`set`](Self::set), [`replace`](Self::replace) and [`update`](Self::update) take it for a
///   moment; [`lock`](Self::lock) gives it away for as long as the guard lives.
/// - `Value<AtomicU64>` and the like, made by [`Value::atomic`], have no lock: they *are* the
///   atomic of [`std::sync::atomic`], and are changed as one.
///
/// There is nothing in between: who changed a locked value without its lock would tear it.
///
/// A handle is `Clone`, `Send` and `Sync`; all handles, here and in processes that one was sent to,
/// are of the same value.
///
/// **When a process dies in the middle**, by `kill -9` or otherwise, of a `set`, `replace` or
/// `update`, the value is the old one or the new one, whole, and the lock is free: there are two
/// copies, and the change is made in the one that does not count. Through a guard the value is
/// changed in place. Whoever dies or panics with a guard may have left it half changed, so
/// everybody is told by [`LockError`](crate::LockError) until
/// [`clear_poison`](Self::clear_poison).
///
/// # Examples
/// ```
/// use multiproc::{Process, Value};
///
/// fn count(total: Value<u64>) -> multiproc::Result<()> {
///     for _ in 0..1000 {
///         total.update(|total| *total += 1)?;
///     }
///     Ok(())
/// }
///
/// let total = Value::new(0u64)?;
/// let children = [(); 4].map(|()| Process::spawn(count, total.clone()));
/// for child in children {
///     child?.join().unwrap()?;
/// }
/// assert_eq!(total.get()?, 4000);
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// Reading and writing in two steps is the mistake it is with threads: what others do in between is
/// lost.
///
/// ```no_run
/// # let total = multiproc::Value::new(0u64)?;
/// total.set(total.get()? + 1)?; // Wrong. `update` does it in one step.
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "RawValue")]
pub struct Value<T> {
    object: Object<Body>,
    _value: PhantomData<T>,
}

impl<T> Value<T> {
    /// What tells values of this type from others.
    fn fingerprint() -> u64 {
        // Of the data: all values are as large as a handle.
        fingerprint::<T, Self>()
    }

    fn on(object: Object<Body>) -> Self {
        Self { object, _value: PhantomData }
    }
}

impl<T> Clone for Value<T> {
    /// Makes another handle of the same value.
    fn clone(&self) -> Self {
        Self::on(self.object.clone())
    }
}

impl<T> PartialEq for Value<T> {
    /// Whether both are handles of one value.
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T> Eq for Value<T> {}

impl<T> fmt::Debug for Value<T> {
    /// What its lock looks like at this moment, without taking it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Value");
        debug.field("of", &format_args!("{}", std::any::type_name::<T>()));
        owned::describe(&mut debug, &self.object.machine().mutex, self.object.segment());
        debug.finish()
    }
}

impl<T> Serialize for Value<T> {
    /// Puts a handle of the value into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Value<T> {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::unpack(deserializer, Self::fingerprint())?;
        if object.data().1 != Self::BYTES {
            return Err(cargo::not_unpacked(locked::wrong_size(), serde::de::Error::custom));
        }
        Ok(Self::on(object))
    }
}
