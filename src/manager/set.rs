//! Sets: the verbs of [`HashSet`], in the server.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;

use serde::Serialize;

use crate::error::Result;

use super::function::Looking;
use super::{Carried, ManagerClient, Proxy};

/// A set in the server of a manager: a [`Proxy`] with the verbs of [`HashSet`].
///
/// Made by [`ManagerClient::set`], or by hosting a [`HashSet`]. Every verb is one call, and nobody
/// sees it half done; what takes several calls, others may be between. What there is no verb for,
/// [`call`](Proxy::call) does with a function of the program.
///
/// Verbs that look an element up borrow it, as those of [`HashSet`] do: a `Q` must have the bytes
/// of a `T` when it is serialized, as a `str` has those of a `String`. A second set is a
/// [`HashSet`], or a reference of one; that of another [`Set`] comes out of
/// [`snapshot`](Proxy::snapshot).
///
/// All verbs have the errors of [`Proxy::call`].
///
/// # Examples
/// ```
/// use multiproc::{Manager, Process, Set};
///
/// /// Whoever inserts it first has it.
/// fn claim(seats: Set<u32>) -> multiproc::Result<u32> {
///     for seat in 1.. {
///         if seats.insert(seat)? {
///             return Ok(seat);
///         }
///     }
///     unreachable!()
/// }
///
/// let manager = Manager::start()?;
/// let seats = manager.set()?;
/// let one = Process::spawn(claim, seats.clone())?;
/// let other = Process::spawn(claim, seats.clone())?;
/// assert_eq!(one.join().unwrap()? + other.join().unwrap()?, 1 + 2);
/// assert_eq!(seats.len()?, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
pub type Set<T> = Proxy<HashSet<T>>;

impl ManagerClient {
    /// Makes an empty set.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set()?;
    /// set.insert(7)?;
    /// assert!(set.contains(&7)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn set<T: Send + Sync + 'static>(&self) -> Result<Set<T>> {
        self.host_with(|()| HashSet::new(), ())
    }

    /// Makes a set of these elements.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2, 2])?;
    /// assert_eq!(set.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn set_from<T>(&self, elements: impl IntoIterator<Item = T>) -> Result<Set<T>>
    where
        T: Carried + Sync + Eq + Hash,
    {
        let make = |elements: Vec<T>| elements.into_iter().collect::<HashSet<T>>();
        self.host_with(make, elements.into_iter().collect())
    }
}

impl<T: Carried + Sync + Eq + Hash> Proxy<HashSet<T>> {
    /// Puts an element in. Whether it was not there before.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// assert!(set.insert(2)? && !set.insert(2)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "add")]
    pub fn insert(&self, element: T) -> Result<bool> {
        self.call(|set, element| set.insert(element), element)
    }

    /// Takes an element out. Whether it was there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// assert!(set.remove(&1)? && !set.remove(&1)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "discard")]
    pub fn remove<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.call_by(|set, element: T| set.remove::<T>(&element), element)
    }

    /// Whether an element is there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// assert!(set.contains(&1)? && !set.contains(&2)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.read_by(|set, element: T| set.contains::<T>(&element), element)
    }

    /// Takes some element out; `None` if there is none. Which one nobody can know.
    ///
    /// It looks for one from the beginning each time; for all of them there is
    /// [`drain`](Self::drain).
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// assert_eq!((set.pop_any()?, set.pop_any()?), (Some(1), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "pop")]
    pub fn pop_any(&self) -> Result<Option<T>> {
        self.call(|set, ()| set.extract_if(|_| true).next(), ())
    }

    /// Puts many elements in, in one call.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// set.extend([1, 2, 3])?;
    /// assert_eq!(set.len()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "update")]
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let elements: Vec<T> = elements.into_iter().collect();
        self.call(|set, elements: Vec<T>| set.extend(elements), elements)
    }

    /// Takes out every element for which `keep` does not return true.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2, 3])?;
    /// set.retain(|number| number % 2 == 1)?;
    /// assert!(!set.contains(&2)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn retain(&self, keep: fn(&T) -> bool) -> Result<()> {
        let sift = |set: &mut HashSet<T>, keep: Looking<T, bool>| set.retain(keep.pointer());
        self.call(sift, Looking::looking(keep))
    }

    /// Takes everything out, at one moment. What was in it.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert_eq!(set.drain()?.len(), 2);
    /// assert!(set.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn drain(&self) -> Result<HashSet<T>> {
        self.call(|set, ()| std::mem::take(set), ())
    }

    /// Takes all elements out.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// set.clear()?;
    /// assert!(set.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.call(|set, ()| set.clear(), ())
    }

    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert_eq!(set.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        self.read(|set, ()| set.len(), ())
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// assert!(!set.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        self.read(|set, ()| set.is_empty(), ())
    }

    /// A copy of the whole set, as it is at one moment.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1])?;
    /// let copy = set.snapshot()?;
    /// set.clear()?;
    /// assert!(copy.contains(&1));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "copy")]
    #[doc(alias = "_getvalue")]
    pub fn snapshot(&self) -> Result<HashSet<T>>
    where
        T: Clone,
    {
        self.read(|set, ()| set.clone(), ())
    }

    /// What is in this set, or in the other one.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let (set, other) = (manager.set_from([1, 2, 3])?, HashSet::from([3, 4]));
    /// assert_eq!(set.union(&other)?, HashSet::from([1, 2, 3, 4]));
    /// assert_eq!(set.intersection(&other)?, HashSet::from([3]));
    /// assert_eq!(set.difference(&other)?, HashSet::from([1, 2]));
    /// assert_eq!(set.symmetric_difference(other)?, HashSet::from([1, 2, 4]));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__or__")]
    pub fn union(&self, other: impl Borrow<HashSet<T>>) -> Result<HashSet<T>>
    where
        T: Clone,
    {
        let join = |set: &HashSet<T>, other: HashSet<T>| set.union(&other).cloned().collect();
        self.read_by(join, other.borrow())
    }

    /// What is in this set, and in the other one.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert_eq!(set.intersection(HashSet::from([2, 3]))?, HashSet::from([2]));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__and__")]
    pub fn intersection(&self, other: impl Borrow<HashSet<T>>) -> Result<HashSet<T>>
    where
        T: Clone,
    {
        let meet = |set: &HashSet<T>, other| set.intersection(&other).cloned().collect();
        self.read_by(meet, other.borrow())
    }

    /// What is in this set, and not in the other one.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert_eq!(set.difference(HashSet::from([2, 3]))?, HashSet::from([1]));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__sub__")]
    pub fn difference(&self, other: impl Borrow<HashSet<T>>) -> Result<HashSet<T>>
    where
        T: Clone,
    {
        let left = |set: &HashSet<T>, other| set.difference(&other).cloned().collect();
        self.read_by(left, other.borrow())
    }

    /// What is in one of the two sets, but not in both.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert_eq!(set.symmetric_difference(HashSet::from([2, 3]))?, HashSet::from([1, 3]));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__xor__")]
    pub fn symmetric_difference(&self, other: impl Borrow<HashSet<T>>) -> Result<HashSet<T>>
    where
        T: Clone,
    {
        let odd = |set: &HashSet<T>, other| set.symmetric_difference(&other).cloned().collect();
        self.read_by(odd, other.borrow())
    }

    /// Whether all that is in this set is in the other one.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert!(set.is_subset(HashSet::from([1, 2, 3]))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "issubset")]
    pub fn is_subset(&self, other: impl Borrow<HashSet<T>>) -> Result<bool> {
        self.read_by(|set, other: HashSet<T>| set.is_subset(&other), other.borrow())
    }

    /// Whether all that is in the other set is in this one.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert!(set.is_superset(HashSet::from([1]))?);
    /// assert!(!set.is_superset(HashSet::from([3]))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "issuperset")]
    pub fn is_superset(&self, other: impl Borrow<HashSet<T>>) -> Result<bool> {
        self.read_by(|set, other: HashSet<T>| set.is_superset(&other), other.borrow())
    }

    /// Whether the sets have nothing in common.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashSet;
    /// # let manager = multiproc::Manager::start()?;
    /// let set = manager.set_from([1, 2])?;
    /// assert!(set.is_disjoint(HashSet::from([3]))?);
    /// assert!(!set.is_disjoint(HashSet::from([2, 3]))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "isdisjoint")]
    pub fn is_disjoint(&self, other: impl Borrow<HashSet<T>>) -> Result<bool> {
        self.read_by(|set, other: HashSet<T>| set.is_disjoint(&other), other.borrow())
    }
}
