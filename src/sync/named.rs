//! Objects that programs find by a name: the verbs that all of them have.

use crate::error::Result;
use crate::segment::{self, Name, Shared, Site, ToName};

/// What can have a name.
pub(crate) trait Nameable: Sized {
    /// What is needed to make one.
    type Seed;

    /// What it is, in words that programs built apart compare.
    fn label(name: &Name) -> String;

    /// Makes one at this place.
    fn make_at(site: &Site<'_>, seed: &Self::Seed) -> Result<Self>;

    /// The one in a block that was found under its name, and its label right.
    fn found_in(shared: Shared) -> Result<Self>;

    /// Whether one that was found is as the seed would have it.
    ///
    /// # Errors
    /// If it is not.
    fn check(&self, _name: &Name, _seed: &Self::Seed) -> Result<()> {
        Ok(())
    }
}

pub(crate) fn create<T: Nameable>(name: impl ToName, seed: &T::Seed) -> Result<T> {
    create_as(&name.to_name()?, seed)
}

pub(crate) fn open<T: Nameable>(name: impl ToName) -> Result<T> {
    open_as(&name.to_name()?)
}

pub(crate) fn open_or_create<T: Nameable>(name: impl ToName, seed: &T::Seed) -> Result<T> {
    let name = name.to_name()?;
    let found = || {
        let found: T = open_as(&name)?;
        found.check(&name, seed)?;
        Ok(found)
    };
    segment::open_or_make(&name, found, || create_as(&name, seed))
}

fn create_as<T: Nameable>(name: &Name, seed: &T::Seed) -> Result<T> {
    T::make_at(&Site::Named { name, label: &T::label(name) }, seed)
}

fn open_as<T: Nameable>(name: &Name) -> Result<T> {
    T::found_in(segment::open(name, &T::label(name))?)
}

/// The three verbs of a type that is made of nothing.
macro_rules! named_verbs {
    ($type:ty, $what:literal) => {
        impl $type {
            #[doc = concat!("Makes ", $what, " that other programs find by its name. See")]
            /// [`Name`](crate::Name) for how long it stays.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use multiproc::{ErrorKind, Name, ", stringify!($type), "};")]
            ///
            /// let name = Name::new(&format!("made-{}", std::process::id()))?;
            #[doc = concat!("let _made = ", stringify!($type), "::create(&name)?;")]
            #[doc = concat!("let error = ", stringify!($type), "::create(&name).unwrap_err();")]
            /// assert_eq!(error.kind(), ErrorKind::Exists);
            /// name.unlink()?;
            /// # Ok::<(), multiproc::Error>(())
            /// ```
            ///
            /// # Errors
            /// [`Exists`](crate::ErrorKind::Exists) if something has the name; and as
            /// [`new`](Self::new).
            pub fn create(name: impl $crate::segment::ToName) -> $crate::error::Result<Self> {
                $crate::sync::named::create(name, &())
            }

            #[doc = concat!("Opens ", $what, " that some program has made under this name.")]
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use multiproc::{ErrorKind, Name, ", stringify!($type), "};")]
            ///
            /// let name = Name::new(&format!("opened-{}", std::process::id()))?;
            #[doc = concat!("let error = ", stringify!($type), "::open(&name).unwrap_err();")]
            /// assert_eq!(error.kind(), ErrorKind::NotFound);
            #[doc = concat!("let _made = ", stringify!($type), "::create(&name)?;")]
            /// // In another program:
            #[doc = concat!("let _same = ", stringify!($type), "::open(&name)?;")]
            /// name.unlink()?;
            /// # Ok::<(), multiproc::Error>(())
            /// ```
            ///
            /// # Errors
            /// [`NotFound`](crate::ErrorKind::NotFound) if nothing has the name,
            /// [`Mismatch`](crate::ErrorKind::Mismatch) if something else has it,
            /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged.
            pub fn open(name: impl $crate::segment::ToName) -> $crate::error::Result<Self> {
                $crate::sync::named::open(name)
            }

            #[doc = concat!("Opens ", $what, " of this name, or makes it if nothing has the name:")]
            /// of several programs that do so at once, all have the same one.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("use multiproc::{Name, ", stringify!($type), "};")]
            ///
            /// let name = Name::new(&format!("either-{}", std::process::id()))?;
            #[doc = concat!("let one = ", stringify!($type), "::open_or_create(&name)?;")]
            /// // In another program, which may as well be the first:
            #[doc = concat!("let other = ", stringify!($type), "::open_or_create(&name)?;")]
            /// assert!(one == other);
            /// name.unlink()?;
            /// # Ok::<(), multiproc::Error>(())
            /// ```
            ///
            /// # Errors
            /// As [`open`](Self::open) and [`new`](Self::new).
            pub fn open_or_create(
                name: impl $crate::segment::ToName,
            ) -> $crate::error::Result<Self> {
                $crate::sync::named::open_or_create(name, &())
            }
        }

        impl $crate::sync::named::Nameable for $type {
            type Seed = ();

            fn label(_name: &$crate::segment::Name) -> String {
                stringify!($type).to_owned()
            }

            fn make_at(
                site: &$crate::segment::Site<'_>,
                _seed: &(),
            ) -> $crate::error::Result<Self> {
                Self::make_at(site)
            }

            fn found_in(shared: $crate::segment::Shared) -> $crate::error::Result<Self> {
                Ok(Self { object: $crate::sync::object::Object::on(shared, Self::fingerprint())? })
            }
        }
    };
}

pub(super) use named_verbs;
