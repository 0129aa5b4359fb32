//! What memory is called by programs that do not know each other.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::shm;

/// What the files of all names begin with.
pub(crate) const PREFIX: &str = "multiproc.";

/// The name of an object, and how it is found or made.
///
/// Programs that were started apart, and may have been built apart, share a queue, a value or a
/// lock by its name: one calls `create`, the others `open`, or all of them `open_or_create`. A
/// `&str` is a name as well; this type is for what else can be said.
///
/// **Life.** A named object stays, with what is in it, until [`unlink`](Self::unlink) takes its
/// name away; until then it can be opened, also when nobody has it any more, and also when all who
/// had it were killed. Processes that have it when the name goes keep it. The name is a file,
/// `/dev/shm/multiproc.NAME`, of this user alone; `rm` of it does what `unlink` does.
///
/// **Death.** The maker works on a file without a name, and names it last. So nobody finds an
/// object that is half made, whenever its maker dies, and of two makers one wins.
///
/// # Examples
/// ```
/// use multiproc::{Name, Value};
///
/// let name = Name::new(&format!("example-{}", std::process::id()))?;
/// let visits = Value::<u64>::open_or_create(&name, 0)?;
/// visits.update(|visits| *visits += 1)?;
/// // In another program, as `Value::<u64>::open("example-...")`:
/// assert_eq!(Value::<u64>::open(&name)?.get()?, 1);
/// name.unlink()?;
/// assert!(Value::<u64>::open(&name).is_err());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Name {
    text: String,
    identity: Option<String>,
    replaces: bool,
}

impl Name {
    /// The longest name, in bytes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Name;
    ///
    /// assert!(Name::new(&"x".repeat(Name::LENGTH_MAX)).is_ok());
    /// assert!(Name::new(&"x".repeat(Name::LENGTH_MAX + 1)).is_err());
    /// ```
    pub const LENGTH_MAX: usize = 200;

    /// A name: 1 to 200 bytes of UTF-8, of which none is a `/` or a control character. Spaces, dots
    /// and letters of any script are as good as others.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name};
    ///
    /// assert!(Name::new("com.example.jobs 2").is_ok());
    /// for bad in ["", "a/b", "two\nlines"] {
    ///     assert_eq!(Name::new(bad).unwrap_err().kind(), ErrorKind::Misuse);
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is none.
    pub fn new(name: &str) -> Result<Self> {
        let is_fit = |letter: char| letter != '/' && !letter.is_control();
        if name.is_empty() || name.len() > Self::LENGTH_MAX || !name.chars().all(is_fit) {
            let what = format!(
                "the name {name:?}: it must have 1 to {} bytes, and no slash or control character",
                Self::LENGTH_MAX
            );
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        Ok(Self { text: name.to_owned(), identity: None, replaces: false })
    }

    /// Says what the messages or the data of the object are, in the place of what is derived from
    /// their type: all programs that share it must say the same. For types that differ in name and
    /// are the same in their bytes, or the other way round: `"com.example.job 2"`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Value};
    ///
    /// let plain = Name::new(&format!("identity-{}", std::process::id()))?;
    /// let name = plain.clone().identity("com.example.temperature 1");
    /// let _temperature = Value::create(&name, 293.15_f64)?;
    /// assert!(Value::<f64>::open(&name).is_ok());
    /// // Whoever means something else does not get it, though the type is the same.
    /// assert_eq!(Value::<f64>::open(&plain).unwrap_err().kind(), ErrorKind::Mismatch);
    /// plain.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn identity(mut self, identity: &str) -> Self {
        self.identity = Some(identity.to_owned());
        self
    }

    /// Has `create` and `open_or_create` replace an object that no living process has. Without
    /// this, `open_or_create` goes on with what is in it, and `create` fails.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Value};
    ///
    /// let name = Name::new(&format!("stale-{}", std::process::id()))?;
    /// let left = Value::create(&name, 7u64)?;
    /// drop(left);
    /// assert_eq!(Value::create(&name, 0u64).unwrap_err().kind(), ErrorKind::Exists);
    /// let fresh = Value::create(name.clone().replace_stale(), 0u64)?;
    /// assert_eq!(fresh.get()?, 0);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn replace_stale(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// The name as it was given.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Name;
    ///
    /// assert_eq!(Name::new("jobs")?.as_str(), "jobs");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What other programs than those of this crate call the memory, as shm_open(3) does:
    /// `/multiproc.NAME`.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Segment};
    ///
    /// let name = Name::new(&format!("os-id-{}", std::process::id()))?;
    /// let _bytes = Segment::create(&name, 1000)?;
    /// let path = format!("/dev/shm{}", name.os_id());
    /// assert!(std::fs::exists(path).unwrap());
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn os_id(&self) -> String {
        format!("/{PREFIX}{}", self.text)
    }

    /// Takes the name away from what has it. Processes that have the object keep it; the kernel
    /// frees its memory with the last of them. True if something had the name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Value};
    ///
    /// let name = Name::new(&format!("unlink-{}", std::process::id()))?;
    /// let total = Value::create(&name, 7u64)?;
    /// assert!(name.unlink()?);
    /// assert!(!name.unlink()?);
    /// // Nobody finds it any more, but who has it keeps it.
    /// assert!(Value::<u64>::open(&name).is_err());
    /// assert_eq!(total.get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the system does not let this process do it.
    pub fn unlink(&self) -> Result<bool> {
        shm::remove(&self.path()).context(|| format!("take the name {:?} away", self.text))
    }

    /// The file of the name.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(shm::FOLDER).join(format!("{PREFIX}{}", self.text))
    }

    /// The name behind the file of one.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        Self::new(path.file_name()?.to_str()?.strip_prefix(PREFIX)?).ok()
    }

    pub(super) fn replaces(&self) -> bool {
        self.replaces
    }

    /// What an object of this name says of itself: what it is, and of what.
    pub(crate) fn label(&self, what: &str, derived: impl FnOnce() -> String) -> String {
        match &self.identity {
            Some(identity) => format!("{what} of {identity:?}"),
            None => format!("{what} of {}", derived()),
        }
    }
}

impl PartialEq for Name {
    /// Whether both are the same name. What else they say is how an object of it is made.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// FNV-1a.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What can be used as a [`Name`]: a name, or a text.
///
/// # Examples
/// ```
/// use multiproc::{Name, Queue, ToName};
///
/// fn jobs(name: impl ToName) -> multiproc::Result<Queue<String>> {
///     Queue::open_or_create(name, 100)
/// }
///
/// let name = Name::new(&format!("to-name-{}", std::process::id()))?;
/// let (mut one, mut other) = (jobs(&name)?, jobs(name.as_str())?);
/// one.send("sweep".to_owned()).unwrap();
/// assert_eq!(other.recv().unwrap(), "sweep");
/// name.unlink()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
pub trait ToName {
    /// The name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, ToName};
    ///
    /// assert_eq!("jobs".to_name()?, Name::new("jobs")?);
    /// assert!("not/a/name".to_name().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the text is no name, see [`Name::new`].
    fn to_name(&self) -> Result<Name>;
}

impl ToName for Name {
    fn to_name(&self) -> Result<Name> {
        Ok(self.clone())
    }
}

impl ToName for str {
    fn to_name(&self) -> Result<Name> {
        Name::new(self)
    }
}

impl ToName for String {
    fn to_name(&self) -> Result<Name> {
        Name::new(self)
    }
}

impl<T: ToName + ?Sized> ToName for &T {
    fn to_name(&self) -> Result<Name> {
        (**self).to_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for bad in ["", "a/b", "../x", "/x", "a\0b", "line\n", &"x".repeat(201)] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), ErrorKind::Misuse, "{bad:?}");
        }
        for good in ["jobs", "..", "grüße 2", &"x".repeat(200)] {
            let name = Name::new(good).unwrap();
            assert_eq!(Name::of_path(&name.path()), Some(name.clone()));
            assert_eq!(name.path().parent(), Some(Path::new(shm::FOLDER)));
        }
    }

    #[test]
    fn names_are_the_same_whatever_is_said_of_their_objects() {
        let name = Name::new("jobs").unwrap();
        let names = HashSet::from([name.clone()]);
        assert!(names.contains(&name.clone().replace_stale().identity("job 2")));
        assert!(!names.contains(&Name::new("job").unwrap()));
    }
}
