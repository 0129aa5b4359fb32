//! What a semaphore begins with.

use crate::error::{Error, ErrorKind, Result};
use crate::raw::semaphore::{self as raw, Manner, PERMITS_MAX, Plan};
use crate::segment::{Name, Shared, Site};

use super::named::Nameable;
use super::object::Object;
use super::semaphore::{Semaphore, too_many};

/// How many permits a semaphore is made with, and whose they are: see
/// [`Semaphore`](super::Semaphore).
///
/// # Examples
/// ```
/// use multiproc::{ErrorKind, Name, Permits, Semaphore};
///
/// let name = Name::new(&format!("permits-{}", std::process::id()))?;
/// let desks = Semaphore::create(&name, Permits::Bounded(2))?;
/// assert_eq!(desks.available(), 2);
/// // A number means `Permits::Owned`, which is another manner.
/// assert_eq!(Semaphore::open_or_create(&name, 2).unwrap_err().kind(), ErrorKind::Mismatch);
/// name.unlink()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permits {
    /// As of [`Semaphore::new`](super::Semaphore::new).
    Owned(u32),
    /// As of [`Semaphore::bounded`](super::Semaphore::bounded).
    Bounded(u32),
    /// As of [`Semaphore::unowned`](super::Semaphore::unowned).
    Unowned(u32),
}

impl From<u32> for Permits {
    fn from(permits: u32) -> Self {
        Self::Owned(permits)
    }
}

impl Permits {
    pub(super) fn plan(self) -> Plan {
        let (manner, permits) = match self {
            Self::Owned(permits) => (Manner::Owned, permits),
            Self::Bounded(permits) => (Manner::Bounded, permits),
            Self::Unowned(permits) => (Manner::Unowned, permits),
        };
        Plan { manner, permits }
    }
}

impl Nameable for Semaphore {
    type Seed = Permits;

    fn label(_name: &Name) -> String {
        "Semaphore".to_owned()
    }

    fn make_at(site: &Site<'_>, permits: &Permits) -> Result<Self> {
        let plan = permits.plan();
        if plan.permits > PERMITS_MAX {
            return Err(too_many());
        }
        let prepare = |it: &raw::Semaphore| it.prepare(plan);
        Ok(Self { object: Object::make(site, Self::fingerprint(), prepare)?, plan })
    }

    fn found_in(shared: Shared) -> Result<Self> {
        Self::on(Object::on(shared, Self::fingerprint())?)
    }

    fn check(&self, name: &Name, permits: &Permits) -> Result<()> {
        let (found, wanted) = (self.plan, permits.plan());
        if found == wanted {
            return Ok(());
        }
        let name = name.as_str();
        let what = format!("the semaphore {name:?} was made as {found:?}, and not as {wanted:?}");
        Err(Error::new(ErrorKind::Mismatch, what))
    }
}
