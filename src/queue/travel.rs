//! How a handle crosses: another one is made for the receiver, and travels with the courier.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::wait::Fence;
use crate::transfer::cargo::{self, Moving};
use crate::transfer::identity::fingerprint;

use super::core::Core;
use super::ends::{End, ends_of};
use super::handing::Passage;
use super::port::Port;
use super::queue::Queue;

/// What is written in the place of a handle.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Queue")]
struct Ticket {
    /// The block, as a number of the parcel, and the handle, as one of the queue.
    block: u32,
    handle: u32,
    fingerprint: u64,
}

impl<T, C, E: End> Queue<T, C, E> {
    fn pack(&self) -> Result<Ticket> {
        let core = &self.seen()?.core;
        core.check_source()?;
        let passage = Arc::new(Passage::new(core));
        let moving = Arc::clone(&passage) as Arc<dyn Moving>;
        let block = cargo::put_block(core.shared(), Some(moving))?;
        let handle = passage.number().ok_or_else(lost)?;
        Ok(Ticket { block, handle, fingerprint: fingerprint::<T, C>() })
    }

    fn unpack(ticket: &Ticket) -> Result<Self> {
        let arrival = cargo::take_block(ticket.block)?;
        let core = Core::take_from(arrival, ticket.handle, Fence::best())?;
        if ticket.fingerprint != fingerprint::<T, C>() {
            let name = std::any::type_name::<T>();
            let what = format!("a queue of {name} was sent as one of another type or codec");
            return Err(Error::new(ErrorKind::Codec, what));
        }
        if core.ends != ends_of::<E>() {
            let what = "a queue was sent as one with other ends";
            return Err(Error::new(ErrorKind::Codec, what));
        }
        Ok(Self::new(Port::new(core)?))
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Misuse, "a queue that did not get into its parcel")
}

impl<T, C, E: End> Serialize for Queue<T, C, E> {
    /// Puts another handle of the queue into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let ticket = self.pack().map_err(failed)?;
        ticket.serialize(serializer)
    }
}

impl<'de, T, C, E: End> Deserialize<'de> for Queue<T, C, E> {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes, of tasks and of calls of managers, and the
    /// messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        Self::unpack(&ticket).map_err(failed)
    }
}
