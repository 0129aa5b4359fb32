//! Lists: the verbs of [`Vec`], in the server.

mod whole;

use std::borrow::Borrow;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

use super::function::Changing;
use super::{Carried, ManagerClient, Proxy};

/// A list in the server of a manager: a [`Proxy`] with the verbs of [`Vec`].
///
/// Made by [`ManagerClient::list`], or by hosting a [`Vec`]. Every verb is one call, and nobody
/// sees it half done; what takes several calls, others may be between, and an index may be that of
/// another element by then. What there is no verb for, [`call`](Proxy::call) does with a function
/// of the program.
///
/// Elements may be handles, also of other collections: those live as long as they are in here.
/// Verbs that look for an element borrow it: a `Q` must have the bytes of a `T` when it is
/// serialized, as a `str` has those of a `String`.
///
/// All verbs have the errors of [`Proxy::call`]. Those that need an element of a certain index
/// have [`Bounds`](crate::ErrorKind::Bounds) if there is none, and change nothing then.
///
/// # Examples
/// ```
/// use multiproc::{List, Manager, Process};
///
/// fn change(list: List<u32>) -> multiproc::Result<()> {
///     list.push(10)?;
///     list.reverse()
/// }
///
/// let manager = Manager::start()?;
/// let list = manager.list_from(7..10)?;
/// Process::spawn(change, list.clone())?.join().unwrap()?;
/// assert_eq!(list.snapshot()?, [10, 9, 8, 7]);
/// assert_eq!(list.slice(1..3)?, [9, 8]);
/// let error = list.set(4, 6).unwrap_err();
/// assert_eq!(error.to_string(), "element 4 of a list of 4");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "ListProxy")]
pub type List<T> = Proxy<Vec<T>>;

impl ManagerClient {
    /// Makes an empty list.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list()?;
    /// list.push(7)?;
    /// assert_eq!(list.snapshot()?, [7]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn list<T: Send + Sync + 'static>(&self) -> Result<List<T>> {
        self.host_with(|()| Vec::new(), ())
    }

    /// Makes a list of these elements.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from(1..=3)?;
    /// assert_eq!(list.snapshot()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn list_from<T>(&self, elements: impl IntoIterator<Item = T>) -> Result<List<T>>
    where
        T: Carried + Sync,
    {
        self.host(elements.into_iter().collect())
    }
}

/// Single elements.
impl<T: Carried + Sync> Proxy<Vec<T>> {
    /// Puts an element at the end.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1])?;
    /// list.push(2)?;
    /// assert_eq!(list.last()?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "append")]
    pub fn push(&self, element: T) -> Result<()> {
        self.call(|list, element| list.push(element), element)
    }

    /// Takes the last element out, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!(list.pop()?, Some(2));
    /// assert_eq!(list.snapshot()?, [1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pop(&self) -> Result<Option<T>> {
        self.call(|list, ()| list.pop(), ())
    }

    /// Puts an element in before the one of this index, or at the end, if it is the list's length.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 3])?;
    /// list.insert(1, 2)?;
    /// assert_eq!(list.snapshot()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn insert(&self, index: usize, element: T) -> Result<()> {
        let insert = |list: &mut Vec<T>, (index, element)| {
            if index <= list.len() {
                list.insert(index, element);
                return Ok(());
            }
            let what = format!("insert element {index} into a list of {}", list.len());
            Err(Error::new(ErrorKind::Bounds, what))
        };
        self.call(insert, (index, element))?
    }

    /// Takes an element out, and moves up those behind it.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// assert_eq!(list.remove(0)?, 1);
    /// assert_eq!(list.snapshot()?, [2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__delitem__")]
    #[doc(alias = "pop")]
    pub fn remove(&self, index: usize) -> Result<T> {
        let remove = |list: &mut Vec<T>, index| {
            within(list, index)?;
            Ok(list.remove(index))
        };
        self.call(remove, index)?
    }

    /// Takes out the first element that is equal to this one, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let names = manager.list_from(["Ada", "Bob", "Eve", "Bob"].map(str::to_owned))?;
    /// assert_eq!(names.remove_item("Bob")?.as_deref(), Some("Bob"));
    /// assert_eq!(names.remove_item("Zoe")?, None);
    /// assert_eq!(names.snapshot()?, ["Ada", "Eve", "Bob"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "remove")]
    pub fn remove_item<Q>(&self, element: &Q) -> Result<Option<T>>
    where
        T: Borrow<Q> + PartialEq,
        Q: Serialize + ?Sized,
    {
        let remove = |list: &mut Vec<T>, element: T| {
            let index = list.iter().position(|other| *other == element)?;
            Some(list.remove(index))
        };
        self.call_by(remove, element)
    }

    /// The element of this index, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!((list.get(1)?, list.get(2)?), (Some(2), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<Option<T>>
    where
        T: Clone,
    {
        self.read(|list, index: usize| list.get(index).cloned(), index)
    }

    /// The first element, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!(list.first()?, Some(1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn first(&self) -> Result<Option<T>>
    where
        T: Clone,
    {
        self.read(|list, ()| list.first().cloned(), ())
    }

    /// The last element, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!(list.last()?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn last(&self) -> Result<Option<T>>
    where
        T: Clone,
    {
        self.read(|list, ()| list.last().cloned(), ())
    }

    /// Puts an element in the place of another one. The one that was there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!(list.set(0, 7)?, 1);
    /// assert_eq!(list.snapshot()?, [7, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "replace")]
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: usize, element: T) -> Result<T> {
        let set = |list: &mut Vec<T>, (index, element)| {
            within(list, index)?;
            Ok(std::mem::replace(&mut list[index], element))
        };
        self.call(set, (index, element))?
    }

    /// Changes an element in place, by calling `f` with it and with `args`. What that returned.
    ///
    /// If `f` panics, that is the error, and the element stays as it is then.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let totals = manager.list_from([0, 0, 7])?;
    /// let total = totals.update(2, |total, more| {
    ///     *total += more;
    ///     *total
    /// }, 3)?;
    /// assert_eq!(total, 10);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<A, R>(&self, index: usize, f: fn(&mut T, A) -> R, args: A) -> Result<R>
    where
        A: Carried,
        R: Carried,
    {
        let change = |list: &mut Vec<T>, (index, f, args): (usize, Changing<T, A, R>, A)| {
            within(list, index)?;
            Ok(f.pointer()(&mut list[index], args))
        };
        self.call(change, (index, Changing::changing(f), args))?
    }

    /// Exchanges two elements.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// list.swap(0, 2)?;
    /// assert_eq!(list.snapshot()?, [3, 2, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn swap(&self, one: usize, other: usize) -> Result<()> {
        let swap = |list: &mut Vec<T>, (one, other)| {
            within(list, one)?;
            within(list, other)?;
            list.swap(one, other);
            Ok(())
        };
        self.call(swap, (one, other))?
    }
}

fn within<T>(list: &[T], index: usize) -> Result<()> {
    if index < list.len() {
        return Ok(());
    }
    let what = format!("element {index} of a list of {}", list.len());
    Err(Error::new(ErrorKind::Bounds, what))
}
