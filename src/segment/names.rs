//! What has a name, for those who look, and the end of what nobody has.

use std::os::fd::AsFd;

use crate::error::{Context, Result};
use crate::raw::participants::PARTICIPANTS_MAX;
use crate::sys::{lease, shm};

use super::name::PREFIX;
use super::named::make_way;
use super::{Name, Segment};

/// What has a name, as it was a moment ago.
///
/// # Examples
/// ```
/// use multiproc::{Name, Segment, Value};
///
/// let name = Name::new(&format!("info-{}", std::process::id()))?;
/// let total = Value::create(&name, 7u64)?;
/// let found = || Segment::list().map(|all| all.into_iter().find(|info| info.name == name));
/// let info = found()?.unwrap();
/// assert!(info.what.unwrap().starts_with("Value of u64"));
/// assert!(info.is_in_use);
/// drop(total);
/// assert!(!found()?.unwrap().is_in_use);
/// name.unlink()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NameInfo {
    /// The name.
    pub name: Name,
    /// Whether a living process has it. What nobody has is stale: it waits for whoever comes, or
    /// for [`Segment::clean`](crate::Segment::clean).
    pub is_in_use: bool,
    /// What it is, and of what, as it says itself; `None` if it is damaged, or of another version.
    pub what: Option<String>,
    /// Its size in bytes, of which it may use a part only.
    pub size: u64,
    /// How much memory it takes.
    pub memory: u64,
}

/// Everything of this user that has a name.
pub(crate) fn list() -> Result<Vec<NameInfo>> {
    let paths = shm::names(PREFIX).context(|| format!("read {}", shm::FOLDER))?;
    let named = paths.iter().filter_map(|path| Name::of_path(path));
    Ok(named.filter_map(info_of).collect())
}

/// What has this name, if it is this user's.
fn info_of(name: Name) -> Option<NameInfo> {
    let memory = shm::open(&name.path()).ok()??;
    let facts = shm::check_private(memory.as_fd()).ok()?;
    let is_in_use = lease::is_any_held_elsewhere(memory.as_fd(), PARTICIPANTS_MAX).ok()?;
    let segment = Segment::visit(memory, facts.size).ok().flatten();
    let what = segment.and_then(|segment| segment.label().read());
    Some(NameInfo { name, is_in_use, what, size: facts.size, memory: facts.memory })
}

/// Takes the names away from what nobody has.
pub(crate) fn clean() -> Result<Vec<Name>> {
    let stale = list()?.into_iter().filter(|info| !info.is_in_use).map(|info| info.name);
    Ok(stale.filter(|name| make_way(name).is_ok()).collect())
}
