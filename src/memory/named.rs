//! Bytes with a name.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::{self, Name, NameInfo, Shared, Site, ToName};
use crate::sync::named::{self, Nameable};
use crate::sync::object::{Extent, Object};

use super::Segment;

impl Segment {
    /// Makes `length` bytes, which are zeros, that other programs find by their name. See [`Name`]
    /// for how long they stay.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Segment};
    ///
    /// let name = Name::new(&format!("segment-create-{}", std::process::id()))?;
    /// let bytes = Segment::create(&name, 1000)?;
    /// assert_eq!(Segment::create(&name, 1000).unwrap_err().kind(), ErrorKind::Exists);
    /// name.unlink()?;
    /// // Whoever has the bytes keeps them.
    /// bytes.write(0, b"hello")?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    #[doc(alias = "SharedMemory(create=True)")]
    pub fn create(name: impl ToName, length: usize) -> Result<Self> {
        named::create(name, &length)
    }

    /// Opens the bytes that some program has made under this name, as many as there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Segment};
    ///
    /// let name = Name::new(&format!("segment-open-{}", std::process::id()))?;
    /// Segment::create(&name, 1000)?.write(0, b"hello")?;
    /// // In another program:
    /// let bytes = Segment::open(&name)?;
    /// assert_eq!(bytes.len(), 1000);
    /// assert!(bytes.to_vec().starts_with(b"hello"));
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing has the name, [`Mismatch`](ErrorKind::Mismatch)
    /// if something else has it, [`Corrupt`](ErrorKind::Corrupt) if it is damaged.
    pub fn open(name: impl ToName) -> Result<Self> {
        named::open(name)
    }

    /// Opens the bytes of this name, or makes them if nothing has the name: of several programs
    /// that do so at once, all have the same ones.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Segment};
    ///
    /// let name = Name::new(&format!("segment-either-{}", std::process::id()))?;
    /// let one = Segment::open_or_create(&name, 1000)?;
    /// // In another program, which may as well be the first:
    /// let other = Segment::open_or_create(&name, 1000)?;
    /// one.write(0, b"hello")?;
    /// assert!(other.to_vec().starts_with(b"hello"));
    /// // Both must mean the same.
    /// assert_eq!(Segment::open_or_create(&name, 2000).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Mismatch` also if there are more or fewer; and as [`open`](Self::open) and
    /// [`new`](Self::new).
    pub fn open_or_create(name: impl ToName, length: usize) -> Result<Self> {
        named::open_or_create(name, &length)
    }

    /// Everything of this user that has a name, of whatever type: see [`NameInfo`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Name, Segment};
    ///
    /// let name = Name::new(&format!("segment-list-{}", std::process::id()))?;
    /// let _event = Event::create(&name)?;
    /// assert!(Segment::list()?.iter().any(|info| info.name == name && info.is_in_use));
    /// name.unlink()?;
    /// assert!(Segment::list()?.iter().all(|info| info.name != name));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the folder of the names cannot be read.
    pub fn list() -> Result<Vec<NameInfo>> {
        segment::list()
    }

    /// Takes the names away from all that no living process has, and tells which they were.
    ///
    /// What is in them is lost: also messages that were to wait for programs that come later. What
    /// a living process has, stays, in whatever PID namespace that process is.
    ///
    /// # Examples
    /// At the start of a service, for what earlier runs of it have left:
    /// ```no_run
    /// use multiproc::Segment;
    ///
    /// for name in Segment::clean()? {
    ///     eprintln!("nobody has {name} any more");
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the folder of the names cannot be read.
    pub fn clean() -> Result<Vec<Name>> {
        segment::clean()
    }
}

impl Nameable for Segment {
    type Seed = usize;

    fn label(_name: &Name) -> String {
        "Segment".to_owned()
    }

    fn make_at(site: &Site<'_>, length: &usize) -> Result<Self> {
        let extent = Extent::of(*length as u64);
        let object = Object::make_with(site, Self::fingerprint(), extent, |_, _| ())?;
        Ok(Self { object })
    }

    fn found_in(shared: Shared) -> Result<Self> {
        Ok(Self { object: Object::on(shared, Self::fingerprint())? })
    }

    fn check(&self, name: &Name, length: &usize) -> Result<()> {
        if self.len() == *length {
            return Ok(());
        }
        let (has, name) = (self.len(), name.as_str());
        let what = format!("the segment {name:?} has {has} bytes, and not {length}");
        Err(Error::new(ErrorKind::Mismatch, what))
    }
}
