//! Dictionaries: the verbs of [`HashMap`], in the server.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use crate::error::Result;

use super::function::Changing;
use super::{Carried, Proxy};

/// A dictionary in the server of a manager: a [`Proxy`] with the verbs of [`HashMap`].
///
/// Made by [`ManagerClient::dict`](crate::ManagerClient::dict), or by hosting a [`HashMap`]. Every
/// verb is one call, and nobody sees it half done; what takes several calls, others may be between.
/// [`update`](Proxy::update) changes a value in place.
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

impl<K, V> Proxy<HashMap<K, V>>
where
    K: Carried + Sync + Eq + Hash,
    V: Carried + Sync,
{
    /// Sets the value of a key; the value that it had.
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        self.call(|map, (key, value)| map.insert(key, value), (key, value))
    }

    /// The value of a key, if it has one. The bytes of a `Q` are those of a `K`, as those of a
    /// `str` are those of a `String`.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        V: Clone,
    {
        self.read_by(|map, key: K| map.get::<K>(&key).cloned(), key)
    }

    /// Changes the value of a key in place, by calling `f` with it and with `args`. What that
    /// returned; `None` if the key has no value.
    pub fn update<A, R>(&self, key: K, f: fn(&mut V, A) -> R, args: A) -> Result<Option<R>>
    where
        A: Carried,
        R: Carried,
    {
        let change = |map: &mut HashMap<K, V>, (key, f, args): (K, Changing<V, A, R>, A)| {
            map.get_mut(&key).map(|value| f.pointer()(value, args))
        };
        self.call(change, (key, Changing::changing(f), args))
    }

    /// As [`update`](Self::update), of a key that gets the value `first` before, if it has none.
    #[doc(alias = "setdefault")]
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

    /// How many keys there are.
    pub fn len(&self) -> Result<usize> {
        self.read(|map, ()| map.len(), ())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool> {
        self.read(|map, ()| map.is_empty(), ())
    }
}
