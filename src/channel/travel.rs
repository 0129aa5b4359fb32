//! How a connection crosses: its lanes change hands, its socket goes along.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::kind::Kind;
use crate::raw::lane::Role;
use crate::raw::wait::Fence;
use crate::transfer::cargo::{self, Moving};

use super::connection::Connection;
use super::end::End;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::transfer::identity::fingerprint;

/// What is written in the place of a connection. All numbers count handles of the parcel.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Connection")]
struct Ticket {
    outlet: Option<Half>,
    inlet: Option<Half>,
    socket: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Half {
    block: u32,
    /// Of the messages: the receiver must expect the same type.
    fingerprint: u64,
    /// How many letters were sent beside this lane so far.
    letters: u64,
}

impl<Out, In, C> Connection<Out, In, C> {
    fn pack(&self) -> Result<Ticket> {
        let between = self.inlet.as_ref().is_none_or(Inlet::is_between_messages);
        if !between {
            let what = "a connection cannot move that has received a part of a long message, or \
                        has yet to tell of a message that it could not decode";
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        let outlet = self.outlet.as_ref();
        let inlet = self.inlet.as_ref();
        let socket = outlet
            .and_then(|outlet| outlet.socket.as_ref())
            .or_else(|| inlet.and_then(|inlet| inlet.socket.as_ref()));
        Ok(Ticket {
            outlet: outlet.map(|outlet| put::<Out, C>(outlet.end(), outlet.letters)).transpose()?,
            inlet: inlet.map(|inlet| put::<In, C>(inlet.end(), 0)).transpose()?,
            socket: socket.map(|socket| cargo::put_fd(socket.as_fd())).transpose()?,
        })
    }
}

fn put<T, C>(end: &Arc<End>, letters: u64) -> Result<Half> {
    let moving = Arc::clone(end) as Arc<dyn Moving>;
    Ok(Half {
        block: cargo::put_block(end.shared(), Some(moving))?,
        fingerprint: fingerprint::<T, C>(),
        letters,
    })
}

/// Takes one side of a lane out of the parcel.
fn take<T, C>(half: &Half, role: Role) -> Result<Arc<End>> {
    let arrival = cargo::take_block(half.block)?;
    let corrupt = || Error::new(ErrorKind::Corrupt, "a connection that came without its pipe");
    if !arrival.shared.is(Kind::Lane) {
        return Err(corrupt());
    }
    let end = End::take_from(arrival.shared, role, arrival.courier)?;
    if half.fingerprint != fingerprint::<T, C>() {
        let name = std::any::type_name::<T>();
        let what = format!("a connection of {name} was sent as one of another type or codec");
        return Err(Error::new(ErrorKind::Codec, what));
    }
    Ok(end)
}

impl<Out, In, C> Serialize for Connection<Out, In, C> {
    /// Moves the connection into the parcel that is being packed.
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

impl<Out, In, C> Connection<Out, In, C> {
    fn unpack(ticket: &Ticket) -> Result<Self> {
        let socket = ticket.socket.map(cargo::take_fd).transpose()?.map(Arc::<OwnedFd>::new);
        let how = Fence::best();
        let outlet = match &ticket.outlet {
            Some(half) => {
                let end = take::<Out, C>(half, Role::Writer)?;
                Some(Outlet::attach(end, socket.clone(), half.letters, how)?)
            }
            None => None,
        };
        let inlet = match &ticket.inlet {
            Some(half) => Some(Inlet::attach(take::<In, C>(half, Role::Reader)?, socket, how)?),
            None => None,
        };
        Ok(Self::new(outlet, inlet))
    }
}

impl<'de, Out, In, C> Deserialize<'de> for Connection<Out, In, C> {
    /// Takes the connection out of the parcel that is being unpacked.
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
