//! What is done with all of a list, or a stretch of it, at once.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::{Bound, Range, RangeBounds};

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

use super::super::function::{Comparing, Looking};
use super::super::{Carried, Proxy};

/// The list as a whole.
impl<T: Carried + Sync> Proxy<Vec<T>> {
    /// How many elements there are.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert_eq!(list.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        self.read(|list, ()| list.len(), ())
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1])?;
    /// assert!(!list.is_empty()?);
    /// list.pop()?;
    /// assert!(list.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        self.read(|list, ()| list.is_empty(), ())
    }

    /// Whether there is an element that is equal to this one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// assert!(list.contains(&2)? && !list.contains(&3)?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q> + PartialEq,
        Q: Serialize + ?Sized,
    {
        self.read_by(|list, element: T| list.contains(&element), element)
    }

    /// The index of the first element that is equal to this one, if there is one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 2])?;
    /// assert_eq!((list.position(&2)?, list.position(&3)?), (Some(1), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "index")]
    pub fn position<Q>(&self, element: &Q) -> Result<Option<usize>>
    where
        T: Borrow<Q> + PartialEq,
        Q: Serialize + ?Sized,
    {
        self.read_by(|list, element: T| list.iter().position(|other| *other == element), element)
    }

    /// How many elements are equal to this one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 2])?;
    /// assert_eq!(list.count(&2)?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn count<Q>(&self, element: &Q) -> Result<usize>
    where
        T: Borrow<Q> + PartialEq,
        Q: Serialize + ?Sized,
    {
        let count =
            |list: &Vec<T>, element: T| list.iter().filter(|other| **other == element).count();
        self.read_by(count, element)
    }

    /// Puts the elements in order. Those that are equal stay in the order that they have.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([3, 1, 2])?;
    /// list.sort()?;
    /// assert_eq!(list.snapshot()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sort(&self) -> Result<()>
    where
        T: Ord,
    {
        self.call(|list, ()| list.sort(), ())
    }

    /// As [`sort`](Self::sort), in the order that `compare` says.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([2.5_f64, -1.0, 7.0])?;
    /// list.sort_by(|one, other| other.total_cmp(one))?;
    /// assert_eq!(list.snapshot()?, [7.0, 2.5, -1.0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn sort_by(&self, compare: fn(&T, &T) -> Ordering) -> Result<()> {
        let sort = |list: &mut Vec<T>, compare: Comparing<T>| list.sort_by(compare.pointer());
        self.call(sort, Comparing::comparing(compare))
    }

    /// As [`sort`](Self::sort), in the order of what `key` makes of the elements.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([-3, 1, 2])?;
    /// list.sort_by_key(|number| number * number)?;
    /// assert_eq!(list.snapshot()?, [1, 2, -3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "key")]
    pub fn sort_by_key<K: Ord + 'static>(&self, key: fn(&T) -> K) -> Result<()> {
        let sort = |list: &mut Vec<T>, key: Looking<T, K>| list.sort_by_key(key.pointer());
        self.call(sort, Looking::looking(key))
    }

    /// Turns the order round.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// list.reverse()?;
    /// assert_eq!(list.snapshot()?, [3, 2, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn reverse(&self) -> Result<()> {
        self.call(|list, ()| list.reverse(), ())
    }

    /// Puts many elements at the end, in one call.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1])?;
    /// list.extend([2, 3])?;
    /// assert_eq!(list.snapshot()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "append")]
    #[doc(alias = "__iadd__")]
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let elements: Vec<T> = elements.into_iter().collect();
        self.call(|list, elements: Vec<T>| list.extend(elements), elements)
    }

    /// Takes out all but the first `length` elements; none if there are fewer.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// list.truncate(1)?;
    /// assert_eq!(list.snapshot()?, [1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn truncate(&self, length: usize) -> Result<()> {
        self.call(|list, length| list.truncate(length), length)
    }

    /// Takes all elements out.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// list.clear()?;
    /// assert!(list.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.call(|list, ()| list.clear(), ())
    }

    /// Takes out every element for which `keep` does not return true.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// list.retain(|number| number % 2 == 1)?;
    /// assert_eq!(list.snapshot()?, [1, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn retain(&self, keep: fn(&T) -> bool) -> Result<()> {
        let sift = |list: &mut Vec<T>, keep: Looking<T, bool>| list.retain(keep.pointer());
        self.call(sift, Looking::looking(keep))
    }

    /// A copy of the elements of a range, all of which must be there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2, 3])?;
    /// assert_eq!(list.slice(1..)?, [2, 3]);
    /// assert!(list.slice(..4).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>>
    where
        T: Clone,
    {
        let slice = |list: &Vec<T>, range| Ok(list[span(list, range)?].to_vec());
        self.read(slice, bounds(&range))?
    }

    /// Takes out the elements of a range, all of which must be there.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let jobs = manager.list_from(0..10)?;
    /// assert_eq!(jobs.drain(..3)?, [0, 1, 2]);
    /// assert_eq!(jobs.drain(5..)?, [8, 9]);
    /// assert_eq!(jobs.drain(..)?, [3, 4, 5, 6, 7]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn drain(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>> {
        let drain = |list: &mut Vec<T>, range| {
            let span = span(list, range)?;
            Ok(list.drain(span).collect())
        };
        self.call(drain, bounds(&range))?
    }

    /// A copy of the whole list, as it is at one moment.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let list = manager.list_from([1, 2])?;
    /// let copy = list.snapshot()?;
    /// list.push(3)?;
    /// assert_eq!(copy, [1, 2]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "copy")]
    #[doc(alias = "_getvalue")]
    pub fn snapshot(&self) -> Result<Vec<T>>
    where
        T: Clone,
    {
        self.read(|list, ()| list.clone(), ())
    }
}

/// The two ends of a range.
type Bounds = (Bound<usize>, Bound<usize>);

fn bounds(range: &impl RangeBounds<usize>) -> Bounds {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

/// The elements of a range, if all of them are there.
fn span<T>(list: &[T], (start, end): Bounds) -> Result<Range<usize>> {
    let start = match start {
        Bound::Included(start) => Some(start),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match end {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(end),
        Bound::Unbounded => Some(list.len()),
    };
    // What cannot be counted is behind all that is there.
    let (start, end) = (start.unwrap_or(usize::MAX), end.unwrap_or(usize::MAX));
    if start <= end && end <= list.len() {
        return Ok(start..end);
    }
    let what = format!("elements {start} to {end} of a list of {}", list.len());
    Err(Error::new(ErrorKind::Bounds, what))
}
