//! What a server has, for those who look.

use serde::{Deserialize, Serialize};

use super::hosted::Hosted;
use super::server::Server;

/// What the server of a manager has, as it was a moment ago.
///
/// # Examples
/// ```
/// # let manager = multiproc::Manager::start()?;
/// let _list = manager.list_from([1, 2])?;
/// let info = manager.debug_info()?;
/// assert_eq!(info.pid, manager.pid());
/// assert!(info.clients.contains(&std::process::id()));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManagerInfo {
    /// The server's process.
    pub pid: u32,
    /// The objects that it hosts, in the order in which they were made.
    pub objects: Vec<ObjectInfo>,
    /// The processes that have called it, once for each pipe that they have to it.
    pub clients: Vec<u32>,
}

/// A hosted object, as it was a moment ago.
///
/// # Examples
/// ```
/// # let manager = multiproc::Manager::start()?;
/// let list = manager.list_from([1, 2])?;
/// list.push(3)?;
/// let objects = manager.debug_info()?.objects;
/// let info = objects.iter().find(|info| info.id == list.id()).unwrap();
/// assert_eq!((info.holders, info.calls), (1, 1));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its number, see [`Proxy::id`](crate::Proxy::id).
    pub id: u64,
    /// The name of its type.
    pub type_name: String,
    /// How many processes, or parcels on their way, have handles of it, but for the server.
    pub holders: usize,
    /// How often it was called.
    pub calls: u64,
}

impl ManagerInfo {
    pub(super) fn of(server: &Server) -> Self {
        Self { pid: std::process::id(), objects: server.describe(), clients: server.clients() }
    }
}

impl ObjectInfo {
    pub(super) fn of(hosted: &Hosted) -> Self {
        Self {
            id: hosted.key(),
            type_name: hosted.type_name().to_owned(),
            holders: hosted.life.others(),
            calls: hosted.calls(),
        }
    }
}
