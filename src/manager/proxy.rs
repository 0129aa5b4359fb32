//! Proxies: handles of hosted objects, through which their functions are called.

use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::transfer;

use super::reference::Reference;
use super::{Carried, entry};

/// A handle of an object that the server of a [`Manager`](crate::Manager) hosts, of any type.
///
/// What is done with the object is said by functions of the program, which run in the server.
/// [`call`](Self::call) has the object for itself, [`read`](Self::read) runs beside other reads.
/// Calls of different objects do not wait for one another.
///
/// A handle is `Clone`, `Send` and `Sync`, and travels like every other one: in arguments and
/// results of processes and tasks, in messages, and also into other hosted objects. The object
/// lives as long as there is a handle anywhere, also on its way; it is dropped soon after the last
/// one is, or after the process that had it died. Objects that have handles of one another keep one
/// another alive.
///
/// A call from within the server, as by a hosted object that has a proxy, is done in place. If it
/// would wait for itself, in however many steps, it ends with
/// [`Deadlock`](crate::ErrorKind::Deadlock). Steps through other threads and processes, as a second
/// manager or a task that a call waits for, are not seen; for these there is
/// [`with_timeout`](Self::with_timeout).
///
/// Objects are dropped one after the other, in the server: what waits in a destructor keeps others.
///
/// **When a client dies** in the middle of a call, the call is done to its end, and nobody hears of
/// it. **When the server dies**, every call ends with
/// [`Disconnected`](crate::ErrorKind::Disconnected).
///
/// # Examples
/// ```
/// use multiproc::{Manager, Process, Proxy};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// impl Account {
///     fn deposit(&mut self, amount: i64) -> i64 {
///         self.balance += amount;
///         self.balance
///     }
///
///     fn balance(&self, _: ()) -> i64 {
///         self.balance
///     }
/// }
///
/// fn pay_in(account: Proxy<Account>) -> multiproc::Result<i64> {
///     account.call(Account::deposit, 30)
/// }
///
/// let manager = Manager::start()?;
/// let account = manager.host(Account { balance: 12 })?;
/// assert_eq!(Process::spawn(pay_in, account.clone())?.join().unwrap()?, 42);
/// assert_eq!(account.read(Account::balance, ())?, 42);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "BaseProxy")]
pub struct Proxy<T> {
    reference: Reference,
    _object: PhantomData<fn() -> T>,
}

impl<T> Proxy<T> {
    pub(super) fn new(reference: Reference) -> Self {
        Self { reference, _object: PhantomData }
    }

    /// A handle whose calls take `timeout` at the most. Clones of it are like it.
    ///
    /// A call that takes longer ends with [`Timeout`](crate::ErrorKind::Timeout); the server may
    /// still do it. Calls from within the server, which are done in place, are not bounded.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let number = manager.host(7)?.with_timeout(std::time::Duration::from_millis(50));
    /// let error = number.read(|_, ()| std::thread::park(), ()).unwrap_err();
    /// assert_eq!(error.kind(), multiproc::ErrorKind::Timeout);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use = "it is the new proxy that gives up"]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self::new(self.reference.with_timeout(timeout))
    }

    /// The number of the object, which no other object of this manager ever has.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let (one, other) = (manager.host(7)?, manager.host(7)?);
    /// assert_ne!(one.id(), other.id());
    /// assert_eq!(one.id(), one.clone().id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u64 {
        self.reference.key()
    }
}

impl<T: Send + Sync + 'static> Proxy<T> {
    /// Calls `f` with the object, which nobody else sees meanwhile, and with `args`.
    ///
    /// If `f` panics, the object stays as it is then.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let total = manager.host(1)?;
    /// let before = total.call(|total, more| std::mem::replace(total, *total + more), 2)?;
    /// assert_eq!((before, total.read(|total, ()| *total, ())?), (1, 3));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Worker`](crate::ErrorKind::Worker): `f` panicked; the message says where.
    /// - [`Disconnected`](crate::ErrorKind::Disconnected): the server is gone.
    /// - [`Deadlock`](crate::ErrorKind::Deadlock): the call would wait for itself.
    /// - [`Timeout`](crate::ErrorKind::Timeout): see [`with_timeout`](Self::with_timeout).
    /// - [`Codec`](crate::ErrorKind::Codec): arguments or result cannot be carried.
    /// - [`Image`](crate::ErrorKind::Image): the function is not part of the program itself.
    /// - [`Limit`](crate::ErrorKind::Limit): too many calls at once, or no more file
    ///   descriptors, here or in the server.
    #[doc(alias = "_callmethod")]
    pub fn call<A, R>(&self, f: fn(&mut T, A) -> R, args: A) -> Result<R>
    where
        A: Carried,
        R: Carried,
    {
        match self.reference.hosted_here() {
            Some(hosted) => hosted?.write(|value| f(value, args)),
            None => self.reference.ask(entry::write(f)?, &args),
        }
    }

    /// Calls `f` with the object, beside other reads, and with `args`.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let words = manager.host(vec!["a".to_owned(), "bird".to_owned()])?;
    /// let longest = words.read(|words, ()| words.iter().map(String::len).max(), ())?;
    /// assert_eq!(longest, Some(4));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn read<A, R>(&self, f: fn(&T, A) -> R, args: A) -> Result<R>
    where
        A: Carried,
        R: Carried,
    {
        match self.reference.hosted_here() {
            Some(hosted) => hosted?.read(|value| f(value, args)),
            None => self.reference.ask(entry::read(f)?, &args),
        }
    }

    /// As [`read`](Self::read), with arguments that are not given away: the bytes of a `Q` are
    /// those of an `A`.
    pub(super) fn read_by<Q, A, R>(&self, f: fn(&T, A) -> R, args: &Q) -> Result<R>
    where
        Q: Serialize + ?Sized,
        A: Carried,
        R: Carried,
    {
        match self.reference.hosted_here() {
            Some(hosted) => {
                let args = transfer::copied(args)?;
                hosted?.read(|value| f(value, args))
            }
            None => self.reference.ask(entry::read(f)?, args),
        }
    }

    /// As [`call`](Self::call), with arguments that are not given away.
    pub(super) fn call_by<Q, A, R>(&self, f: fn(&mut T, A) -> R, args: &Q) -> Result<R>
    where
        Q: Serialize + ?Sized,
        A: Carried,
        R: Carried,
    {
        match self.reference.hosted_here() {
            Some(hosted) => {
                let args = transfer::copied(args)?;
                hosted?.write(|value| f(value, args))
            }
            None => self.reference.ask(entry::write(f)?, args),
        }
    }
}

impl<T> Clone for Proxy<T> {
    /// Makes another handle of the same object.
    fn clone(&self) -> Self {
        Self::new(self.reference.clone())
    }
}

impl<T> PartialEq for Proxy<T> {
    /// Whether both are handles of one object.
    fn eq(&self, other: &Self) -> bool {
        self.reference == other.reference
    }
}

impl<T> Eq for Proxy<T> {}

impl<T> Hash for Proxy<T> {
    /// By the object, so that a handle can be the key of a dictionary.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.reference.hash(state);
    }
}

impl<T> fmt::Debug for Proxy<T> {
    /// Which object it is of, without a call.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Proxy");
        debug.field("of", &format_args!("{}", type_name::<T>())).field("id", &self.id()).finish()
    }
}

impl<T> Serialize for Proxy<T> {
    /// Puts a handle of the object into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reference.pack::<T, S>(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Proxy<T> {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reference::unpack::<T, D>(deserializer).map(Self::new)
    }
}
