//! What every proxy is, of whatever type: who hosts the object, which one it is, and a hold on it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::process::entry::Entry;
use crate::segment::Shared;
use crate::sys::clock::Deadline;
use crate::transfer::cargo;
use crate::transfer::identity::fingerprint;

use super::address::Found;
use super::hosted::Hosted;
use super::link::{Link, gone};
use super::server;

/// A handle of an object of a manager.
pub(super) struct Reference {
    link: Arc<Link>,
    key: u64,
    /// Held until the end, and let go before the server hears of it.
    life: Option<Shared>,
    /// How long a call may take.
    timeout: Option<Duration>,
}

impl Reference {
    /// The first handle of an object, in its server.
    pub(super) fn first(link: &Arc<Link>, hosted: &Hosted) -> Self {
        let life = Some(hosted.life.clone());
        Self { link: Arc::clone(link), key: hosted.key(), life, timeout: None }
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        let mut limited = self.clone();
        limited.timeout = Some(timeout);
        limited
    }

    /// The object itself, where this process is its server.
    pub(super) fn hosted_here(&self) -> Option<Result<Arc<Hosted>>> {
        server::behind(&self.link).map(|server| server.object(self.key))
    }

    /// Has the server do what `entry` names with the object.
    pub(super) fn ask<A, R>(&self, entry: Entry, args: &A) -> Result<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        if self.life.as_ref().is_some_and(|life| !life.segment().is_ours()) {
            let what = "a proxy that was inherited by fork belongs to the parent";
            return Err(Error::new(ErrorKind::Forked, what));
        }
        let until = self.timeout.map_or(Deadline::NEVER, Deadline::after);
        self.link.ask(self.key, entry, args, until)
    }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        Self { link: Arc::clone(&self.link), life: self.life.clone(), ..*self }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let left = self.life.take().map_or(0, Shared::let_go);
        // Its server has one for itself.
        if left <= u32::from(server::behind(&self.link).is_some()) {
            self.link.tell_of_litter();
        }
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && Arc::ptr_eq(&self.link, &other.link)
    }
}

impl Hash for Reference {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.link.address().server, self.key).hash(state);
    }
}

/// What is written in the place of a reference, behind its address.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Proxy")]
struct Ticket {
    block: u32,
    key: u64,
    timeout: Option<Duration>,
    /// Of the object's type.
    fingerprint: u64,
}

impl Reference {
    /// Puts a handle of an object of type `T` into the parcel that is being packed.
    pub(super) fn pack<T, S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let life = self.life.as_ref().ok_or_else(|| failed(gone()))?;
        let block = cargo::put_block(life, None).map_err(failed)?;
        let fingerprint = fingerprint::<T, Self>();
        let ticket = Ticket { block, key: self.key, timeout: self.timeout, fingerprint };
        (self.link.address(), ticket).serialize(serializer)
    }

    /// Takes a handle of an object of type `T` out of the parcel that is being unpacked.
    pub(super) fn unpack<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        let (Found(link), ticket) = <(Found, Ticket)>::deserialize(deserializer)?;
        if ticket.fingerprint != fingerprint::<T, Self>() {
            let what = "a proxy was sent as one of an object of another type";
            return Err(failed(Error::new(ErrorKind::Codec, what)));
        }
        let life = cargo::take_block(ticket.block).map_err(failed)?.shared;
        Ok(Self { link, key: ticket.key, life: Some(life), timeout: ticket.timeout })
    }
}
