//! What is done with all of a dictionary at once.

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::Result;

use super::super::function::ChangingAt;
use super::super::{Carried, Proxy};

impl<K, V> Proxy<HashMap<K, V>>
where
    K: Carried + Sync + Eq + Hash,
    V: Carried + Sync,
{
    /// Sets the values of many keys in one call.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 1)])?;
    /// counts.extend([("cat".to_owned(), 2), ("dog".to_owned(), 1)])?;
    /// assert_eq!((counts.get("cat")?, counts.len()?), (Some(2), 2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "update")]
    pub fn extend(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        let items: Vec<(K, V)> = items.into_iter().collect();
        self.call(|map, items: Vec<(K, V)>| map.extend(items), items)
    }

    /// Takes out every key for which `keep` does not return true. It may change the values.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let tries = manager.dict_from([(1, 3), (2, 1)])?;
    /// tries.retain(|_, left| {
    ///     *left -= 1;
    ///     *left > 0
    /// })?;
    /// assert_eq!(tries.items()?, [(1, 2)]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn retain(&self, keep: fn(&K, &mut V) -> bool) -> Result<()> {
        let sift = |map: &mut HashMap<K, V>, keep: ChangingAt<K, V, bool>| {
            map.retain(keep.pointer());
        };
        self.call(sift, ChangingAt::changing_at(keep))
    }

    /// Takes everything out, at one moment. What was in it.
    ///
    /// # Examples
    /// ```
    /// # use std::collections::HashMap;
    /// # let manager = multiproc::Manager::start()?;
    /// let hits = manager.dict_from([("/".to_owned(), 17)])?;
    /// assert_eq!(hits.drain()?, HashMap::from([("/".to_owned(), 17)]));
    /// assert!(hits.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn drain(&self) -> Result<HashMap<K, V>> {
        self.call(|map, ()| std::mem::take(map), ())
    }

    /// Takes all keys out.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// counts.clear()?;
    /// assert!(counts.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.call(|map, ()| map.clear(), ())
    }

    /// How many keys there are.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2), ("dog".to_owned(), 1)])?;
    /// assert_eq!(counts.len()?, 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        self.read(|map, ()| map.len(), ())
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([])?;
    /// assert!(counts.is_empty()?);
    /// counts.insert("cat".to_owned(), 1)?;
    /// assert!(!counts.is_empty()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        self.read(|map, ()| map.is_empty(), ())
    }

    /// All keys, in no order.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2), ("dog".to_owned(), 1)])?;
    /// let mut keys = counts.keys()?;
    /// keys.sort();
    /// assert_eq!(keys, ["cat", "dog"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__iter__")]
    pub fn keys(&self) -> Result<Vec<K>>
    where
        K: Clone,
    {
        self.read(|map, ()| map.keys().cloned().collect(), ())
    }

    /// All values, in no order.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2), ("dog".to_owned(), 1)])?;
    /// assert_eq!(counts.values()?.iter().sum::<i32>(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn values(&self) -> Result<Vec<V>>
    where
        V: Clone,
    {
        self.read(|map, ()| map.values().cloned().collect(), ())
    }

    /// All keys with their values, in no order.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// for (word, count) in counts.items()? {
    ///     assert_eq!((word.as_str(), count), ("cat", 2));
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "iter")]
    pub fn items(&self) -> Result<Vec<(K, V)>>
    where
        K: Clone,
        V: Clone,
    {
        self.read(
            |map, ()| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            (),
        )
    }

    /// A copy of the whole dictionary, as it is at one moment.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// let copy = counts.snapshot()?;
    /// counts.clear()?;
    /// assert_eq!(copy["cat"], 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "copy")]
    #[doc(alias = "_getvalue")]
    pub fn snapshot(&self) -> Result<HashMap<K, V>>
    where
        K: Clone,
        V: Clone,
    {
        self.read(|map, ()| map.clone(), ())
    }
}
