//! Namespaces: named values of different types, in the server.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

use super::function::Changing;
use super::{Carried, ManagerClient, Proxy};

/// Named values in the server of a manager, each of a type of its own.
///
/// Made by [`ManagerClient::namespace`]. Every verb is one call, and nobody sees it half done; what
/// takes several calls, others may be between. [`call`](Proxy::call) does more at once, with a
/// function of the program that is given the [`Fields`].
///
/// Fields may be handles: of locks, queues, values, other collections. Those live as long as they
/// are in here.
///
/// All verbs have the errors of [`Proxy::call`]. Those that say of which type a field is have
/// [`Codec`](ErrorKind::Codec), with the names of both types, if it is of another one.
///
/// # Examples
/// ```
/// use multiproc::{Lock, Manager, Namespace, Process};
///
/// fn work(shared: Namespace) -> multiproc::Result<()> {
///     let printer: Lock = shared.get("printer")?.expect("set by the parent");
///     let _mine = printer.lock()?;
///     shared.update("pages", |pages: &mut u32, more| *pages += more, 3)?;
///     shared.set("last", "a child".to_owned())
/// }
///
/// let manager = Manager::start()?;
/// let shared = manager.namespace()?;
/// shared.set("printer", manager.lock()?)?;
/// shared.set("pages", 39_u32)?;
/// Process::spawn(work, shared.clone())?.join().unwrap()?;
/// assert_eq!(shared.get("pages")?, Some(42_u32));
/// assert_eq!(shared.names()?, ["last", "pages", "printer"]);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "NamespaceProxy")]
pub type Namespace = Proxy<Fields>;

/// What a [`Namespace`] is in the server, for functions that [`Proxy::call`] calls there.
///
/// # Examples
/// ```
/// use multiproc::{Fields, Manager};
///
/// /// Pays in full or not at all.
/// fn pay(fields: &mut Fields, amount: u32) -> multiproc::Result<bool> {
///     let purse = fields.get_mut::<u32>("purse")?.expect("everybody has one");
///     let Some(left) = purse.checked_sub(amount) else { return Ok(false) };
///     *purse = left;
///     fields.set("spent", fields.get("spent")?.unwrap_or(&0) + amount);
///     Ok(true)
/// }
///
/// let manager = Manager::start()?;
/// let shared = manager.namespace()?;
/// shared.set("purse", 10_u32)?;
/// assert!(shared.call(pay, 7)??);
/// assert!(!shared.call(pay, 7)??);
/// assert_eq!(shared.get("spent")?, Some(7_u32));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Default)]
pub struct Fields {
    all: BTreeMap<String, Field>,
}

/// A value, and the name of its type.
struct Field {
    value: Box<dyn Any + Send + Sync>,
    type_name: &'static str,
}

impl ManagerClient {
    /// Makes an empty namespace.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// assert_eq!(shared.get::<u32>("limit")?, Some(10));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`host`](Self::host).
    pub fn namespace(&self) -> Result<Namespace> {
        self.host_with(|()| Fields::default(), ())
    }
}

impl Proxy<Fields> {
    /// Sets a field, of whatever type it was before.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// shared.set("limit", "none".to_owned())?; // of another type
    /// assert_eq!(shared.get::<String>("limit")?.as_deref(), Some("none"));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__setattr__")]
    pub fn set<T: Carried + Sync>(&self, name: &str, value: T) -> Result<()> {
        let set = |fields: &mut Fields, (name, value): (String, T)| fields.set(name, value);
        self.call_by(set, &(name, value))
    }

    /// A copy of a field, if there is one of this name.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// assert_eq!(shared.get::<u32>("limit")?, Some(10));
    /// assert_eq!(shared.get::<u32>("other")?, None);
    /// assert!(shared.get::<String>("limit").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__getattr__")]
    pub fn get<T: Carried + Sync + Clone>(&self, name: &str) -> Result<Option<T>> {
        self.read_by(|fields, name: String| Ok(fields.get(&name)?.cloned()), name)?
    }

    /// Changes a field in place, by calling `f` with it and with `args`. What that returned; `None`
    /// if there is no field of this name.
    ///
    /// If `f` panics, that is the error, and the field stays as it is then.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("pages", 39_u32)?;
    /// let pages = shared.update("pages", |pages: &mut u32, more| { *pages += more; *pages }, 3)?;
    /// assert_eq!(pages, Some(42));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn update<T, A, R>(&self, name: &str, f: fn(&mut T, A) -> R, args: A) -> Result<Option<R>>
    where
        T: Carried + Sync,
        A: Carried,
        R: Carried,
    {
        let change = |fields: &mut Fields, (name, f, args): (String, Changing<T, A, R>, A)| {
            Ok(fields.get_mut(&name)?.map(|value| f.pointer()(value, args)))
        };
        self.call_by(change, &(name, Changing::changing(f), args))?
    }

    /// Takes a field out, if there is one of this name.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// assert_eq!(shared.take::<u32>("limit")?, Some(10));
    /// assert!(!shared.contains("limit")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn take<T: Carried + Sync>(&self, name: &str) -> Result<Option<T>> {
        self.call_by(|fields, name: String| fields.take(&name), name)?
    }

    /// Drops a field, of whatever type it is. Whether there was one.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// assert!(shared.remove("limit")? && !shared.remove("limit")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "__delattr__")]
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.call_by(|fields, name: String| fields.remove(&name), name)
    }

    /// Whether there is a field of this name.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// assert!(shared.contains("limit")? && !shared.contains("other")?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "hasattr")]
    pub fn contains(&self, name: &str) -> Result<bool> {
        self.read_by(|fields, name: String| fields.contains(&name), name)
    }

    /// The names of all fields, in their order.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let shared = manager.namespace()?;
    /// shared.set("limit", 10_u32)?;
    /// shared.set("dog", "barks".to_owned())?;
    /// assert_eq!(shared.names()?, ["dog", "limit"]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "dir")]
    pub fn names(&self) -> Result<Vec<String>> {
        self.read(|fields, ()| fields.names().map(str::to_owned).collect(), ())
    }
}

impl Fields {
    /// Sets a field, of whatever type it was before.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// assert!(fields.contains("limit"));
    /// ```
    pub fn set<T: Send + Sync + 'static>(&mut self, name: impl Into<String>, value: T) {
        let field = Field { value: Box::new(value), type_name: type_name::<T>() };
        self.all.insert(name.into(), field);
    }

    /// A field, if there is one of this name.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// assert_eq!(fields.get::<u32>("limit")?, Some(&10));
    /// assert!(fields.get::<String>("limit").is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec) if it is of another type.
    pub fn get<T: 'static>(&self, name: &str) -> Result<Option<&T>> {
        let field = self.all.get(name).map(|field| (field, field.value.downcast_ref()));
        field.map(|(field, value)| value.ok_or_else(|| field.is_no::<T>(name))).transpose()
    }

    /// As [`get`](Self::get), to change it.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// *fields.get_mut::<u32>("limit")?.unwrap() += 1;
    /// assert_eq!(fields.get::<u32>("limit")?, Some(&11));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_mut<T: 'static>(&mut self, name: &str) -> Result<Option<&mut T>> {
        let Some(field) = self.all.get_mut(name) else { return Ok(None) };
        if !field.value.is::<T>() {
            return Err(field.is_no::<T>(name));
        }
        Ok(field.value.downcast_mut())
    }

    /// Takes a field out, if there is one of this name.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("dog", "barks".to_owned());
    /// assert_eq!(fields.take::<String>("dog")?.as_deref(), Some("barks"));
    /// assert_eq!(fields.take::<String>("dog")?, None);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); it stays there then.
    pub fn take<T: 'static>(&mut self, name: &str) -> Result<Option<T>> {
        if self.get::<T>(name)?.is_none() {
            return Ok(None);
        }
        let value = self.all.remove(name).and_then(|field| field.value.downcast().ok());
        Ok(value.map(|value| *value))
    }

    /// Drops a field, of whatever type it is. Whether there was one.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// assert!(fields.remove("limit") && !fields.remove("limit"));
    /// ```
    pub fn remove(&mut self, name: &str) -> bool {
        self.all.remove(name).is_some()
    }

    /// Whether there is a field of this name.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// assert!(fields.contains("limit") && !fields.contains("other"));
    /// ```
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// The names of all fields, in their order.
    ///
    /// # Examples
    /// ```
    /// let mut fields = multiproc::Fields::default();
    /// fields.set("limit", 10_u32);
    /// fields.set("dog", "barks");
    /// assert!(fields.names().eq(["dog", "limit"]));
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }
}

impl Field {
    #[cold]
    fn is_no<T>(&self, name: &str) -> Error {
        let what =
            format!("field {name} of a namespace is a {}, no {}", self.type_name, type_name::<T>());
        Error::new(ErrorKind::Codec, what)
    }
}

impl fmt::Debug for Fields {
    /// The names, and the types.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.all.iter().map(|(name, field)| (name, field.type_name));
        f.debug_map().entries(types).finish()
    }
}
