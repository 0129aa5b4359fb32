//! Dictionaries: the verbs of [`HashMap`], in the server.

mod whole;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use crate::error::Result;

use super::function::Changing;
use super::{Carried, ManagerClient, Proxy};

/// A dictionary in the server of a manager: a [`Proxy`] with the verbs of [`HashMap`].
///
/// Made by [`ManagerClient::dict`], or by hosting a [`HashMap`]. Every verb is one call, and nobody
/// sees it half done; what takes several calls, others may be between. What there is no verb for,
/// [`call`](Proxy::call) does with a function of the program.
///
/// Keys and values may be handles, also of other collections: those live as long as they are in
/// here. Verbs that look a key up borrow it, as those of [`HashMap`] do: a `Q` must have the bytes
/// of a `K` when it is serialized, as a `str` has those of a `String`, and a slice those of a
/// [`Vec`], but not those of an array.
///
/// All verbs have the errors of [`Proxy::call`].
///
/// # Examples
/// ```
/// use multiproc::{Dict, Manager, Process};
///
/// fn fill(dict: Dict<u32, String>) -> multiproc::Result<()> {
///     dict.insert(1, "one".to_owned())?;
///     dict.insert(2, "two".to_owned())?;
///     Ok(())
/// }
///
/// let manager = Manager::start()?;
/// let dict = manager.dict()?;
/// Process::spawn(fill, dict.clone())?.join().unwrap()?;
/// assert_eq!(dict.get(&1)?.as_deref(), Some("one"));
/// assert_eq!(dict.len()?, 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "DictProxy")]
pub type Dict<K, V> = Proxy<HashMap<K, V>>;

impl ManagerClient {
    /// Makes an empty dictionary.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict()?;
    /// counts.insert("cat".to_owned(), 2)?;
    /// assert_eq!(counts.get("cat")?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn dict<K, V>(&self) -> Result<Dict<K, V>>
    where
        K: Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        self.host_with(|()| HashMap::new(), ())
    }

    /// Makes a dictionary of these keys and values; of those of one key, the last.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 1), ("cat".to_owned(), 2)])?;
    /// assert_eq!(counts.items()?, [("cat".to_owned(), 2)]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn dict_from<K, V>(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<Dict<K, V>>
    where
        K: Carried + Sync + Eq + Hash,
        V: Carried + Sync,
    {
        let make = |items: Vec<(K, V)>| items.into_iter().collect::<HashMap<K, V>>();
        self.host_with(make, items.into_iter().collect())
    }
}

impl<K, V> Proxy<HashMap<K, V>>
where
    K: Carried + Sync + Eq + Hash,
    V: Carried + Sync,
{
    /// Sets the value of a key. The value that it had.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([])?;
    /// assert_eq!(counts.insert("cat".to_owned(), 2)?, None);
    /// assert_eq!(counts.insert("cat".to_owned(), 3)?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        self.call(|map, (key, value)| map.insert(key, value), (key, value))
    }

    /// The value of a key, if it has one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// assert_eq!((counts.get("cat")?, counts.get("dog")?), (Some(2), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        V: Clone,
    {
        self.read_by(|map, key: K| map.get::<K>(&key).cloned(), key)
    }

    /// The value of a key, which gets this one if it has none.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let owners = manager.dict()?;
    /// assert_eq!(owners.get_or_insert("port 80".to_owned(), 17)?, 17);
    /// assert_eq!(owners.get_or_insert("port 80".to_owned(), 18)?, 17);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert(&self, key: K, value: V) -> Result<V>
    where
        V: Clone,
    {
        self.call(|map, (key, value)| map.entry(key).or_insert(value).clone(), (key, value))
    }

    /// Whether a key has a value.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// assert!(counts.contains_key("cat")? && !counts.contains_key("dog")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__contains__")]
    #[doc(alias = "has_key")]
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.read_by(|map, key: K| map.contains_key::<K>(&key), key)
    }

    /// Takes a key out. The value that it had.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// assert_eq!((counts.remove("cat")?, counts.remove("cat")?), (Some(2), None));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.call_by(|map, key: K| map.remove::<K>(&key), key)
    }

    /// Takes some key out, and its value; `None` if there is none. Which one nobody can know.
    ///
    /// It looks for one from the beginning each time; for all of them there is
    /// [`drain`](Self::drain).
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([("cat".to_owned(), 2)])?;
    /// assert_eq!(counts.pop_any()?, Some(("cat".to_owned(), 2)));
    /// assert_eq!(counts.pop_any()?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "popitem")]
    pub fn pop_any(&self) -> Result<Option<(K, V)>> {
        self.call(|map, ()| map.extract_if(|_, _| true).next(), ())
    }

    /// Changes the value of a key in place, by calling `f` with it and with `args`. What that
    /// returned; `None` if the key has no value.
    ///
    /// If `f` panics, that is the error, and the value stays as it is then.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let stock = manager.dict_from([("apples".to_owned(), 3)])?;
    /// assert_eq!(stock.update("apples", |count, more| *count += more, 2)?, Some(()));
    /// assert_eq!(stock.update("pears", |count, more| *count += more, 2)?, None);
    /// assert_eq!(stock.get("apples")?, Some(5));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<Q, A, R>(&self, key: &Q, f: fn(&mut V, A) -> R, args: A) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        A: Carried,
        R: Carried,
    {
        let change = |map: &mut HashMap<K, V>, (key, f, args): (K, Changing<V, A, R>, A)| {
            map.get_mut::<K>(&key).map(|value| f.pointer()(value, args))
        };
        self.call_by(change, &(key, Changing::changing(f), args))
    }

    /// As [`update`](Self::update), of a key that gets the value `first` before, if it has none.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let counts = manager.dict_from([])?;
    /// for word in ["cat", "dog", "cat"] {
    ///     counts.update_or_insert(word.to_owned(), 0, |count, more| *count += more, 1)?;
    /// }
    /// assert_eq!(counts.get("cat")?, Some(2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "defaultdict")]
    pub fn update_or_insert<A, R>(
        &self,
        key: K,
        first: V,
        f: fn(&mut V, A) -> R,
        args: A,
    ) -> Result<R>
    where
        A: Carried,
        R: Carried,
    {
        type Args<K, V, A, R> = (K, V, Changing<V, A, R>, A);
        let change = |map: &mut HashMap<K, V>, (key, first, f, args): Args<K, V, A, R>| {
            f.pointer()(map.entry(key).or_insert(first), args)
        };
        self.call(change, (key, first, Changing::changing(f), args))
    }
}
