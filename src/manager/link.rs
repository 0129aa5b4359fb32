//! The way to a manager's server: a door, where clients knock with the end of a pipe, and the pipes
//! that a process has already.
//!
//! Each call has a pipe for itself while it lasts, so a process has as many as it has had calls at
//! the same time; and each pipe has a thread in the server, so no call waits for another one.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::{Connection, Pipe};
use crate::error::{Cause, Context, Error, ErrorKind, Result};
use crate::process::Panic;
use crate::process::entry::Entry;
use crate::process::remote::Verdict;
use crate::process::seal::{self, Sealed};
use crate::shim::lock;
use crate::sync::Event;
use crate::sys::clock::Deadline;
use crate::sys::{fork, letter, socket};
use crate::transfer;
use crate::transfer::cargo;
use crate::transfer::codec::{CodecError, Serde};

/// How long a server may take to look after its door.
const KNOCKING: Duration = Duration::from_secs(10);

/// How long it may take to say why it did not take what was brought there.
const EXPLAINING: Duration = Duration::from_secs(1);

/// No such note has more bytes.
pub(super) const NOTE_MAX: usize = 1 << 10;

/// So many pipes are kept for the next calls; more were of use to many calls at once.
const IDLE_MAX: usize = 16;

/// The bytes of a request are not a value of any one type; this stands for all.
#[derive(Serialize, Deserialize)]
pub(super) struct Request(());

/// As [`Request`], for what comes back.
#[derive(Serialize, Deserialize)]
pub(super) struct Reply(());

/// A client's end of its pipe.
type Line = Connection<Request, Reply>;

/// What a client brings to the door.
#[derive(Serialize, Deserialize)]
pub(super) struct Knock {
    /// The client's process.
    pub(super) pid: u32,
    pub(super) line: Connection<Reply, Request>,
}

/// The way from this process to one server.
pub(super) struct Link {
    address: Address,
    idle: Mutex<Idle>,
}

/// What leads to a server. Travels with each handle.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) server: u128,
    pub(super) door: Arc<OwnedFd>,
    /// Set when a handle was dropped, so that the server looks who is left.
    pub(super) litter: Event,
    pub(super) family: Family,
}

/// Of which family of processes a server is: what it believes is sealed with that one's secret.
#[derive(Clone, Copy)]
pub(super) enum Family {
    Ours,
    /// Another run of this program, which this one has connected to.
    Other {
        name: u64,
        secret: u64,
    },
}

impl Family {
    fn secret(self) -> Option<u64> {
        match self {
            Self::Ours => None,
            Self::Other { secret, .. } => Some(secret),
        }
    }
}

/// Pipes that no call uses at the moment.
struct Idle {
    lines: Vec<Line>,
    /// A copy in a forked process has none: they are its parent's.
    generation: u32,
}

/// The ways that this process has, in the order in which they were found.
static LINKS: Mutex<Vec<Weak<Link>>> = Mutex::new(Vec::new());

impl Link {
    /// The way to this server: the one that there is, or a new one.
    pub(super) fn to(server: u128, find: impl FnOnce() -> Result<Address>) -> Result<Arc<Self>> {
        let mut links = lock(&LINKS);
        links.retain(|link| link.strong_count() > 0);
        let known = links.iter().filter_map(Weak::upgrade);
        if let Some(link) = known.into_iter().find(|link| link.address.server == server) {
            return Ok(link);
        }
        let idle = Idle { lines: Vec::new(), generation: fork::generation() };
        let link = Arc::new(Self { address: find()?, idle: Mutex::new(idle) });
        links.push(Arc::downgrade(&link));
        Ok(link)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Tells the server that a handle is gone.
    pub(super) fn tell_of_litter(&self) {
        // In a forked copy the handle was never its own.
        let _ = self.address.litter.set();
    }

    /// Shuts the door, for all who have this way: the server ends.
    pub(super) fn close(&self) {
        socket::shut_down(self.address.door.as_fd());
    }

    /// Has the server do what `entry` names, with these arguments, to the object of this number.
    pub(super) fn ask<A, R>(&self, key: u64, entry: Entry, args: &A, until: Deadline) -> Result<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let (mut line, is_new) = self.line(until)?;
        let sent = line.send_as::<&A>(until, |bytes| {
            seal::for_reader(self.address.family.secret(), || {
                Serde::serialize(&(key, Sealed::for_reader(entry, seal::Role::Call)?), bytes)?;
                Serde::serialize(&args, bytes)
            })
        });
        let answer = match sent {
            Ok(()) => match line.recv_as(until, decode::<R>) {
                Err(Cause::Disconnected { .. }) if is_new => return Err(self.turned_away(until)),
                answer => answer.map_err(not_answered)?,
            },
            Err(Cause::Disconnected { .. }) => {
                // It may have said why it does not serve this pipe.
                let now = Deadline::after(Duration::ZERO);
                return match line.recv_as(now, decode::<R>) {
                    Err(_) if is_new => Err(self.turned_away(until)),
                    answer => answer.unwrap_or_else(|_| Err(gone())),
                };
            }
            Err(cause) => return Err(not_answered(cause)),
        };
        // Whatever went wrong before this, the pipe is closed, so that no answer comes too late.
        if !answer.as_ref().is_err_and(may_be_refusal) {
            self.keep(line);
        }
        answer
    }

    /// A pipe for one call, and whether the server has to take its other end first.
    fn line(&self, until: Deadline) -> Result<(Line, bool)> {
        let mut idle = lock(&self.idle);
        idle.leave_to_parent();
        let line = idle.lines.pop();
        drop(idle);
        line.map_or_else(|| Ok((self.knock(until)?, true)), |line| Ok((line, false)))
    }

    /// Why the server has closed a new pipe: it could not take it, or it is gone.
    #[cold]
    fn turned_away(&self, until: Deadline) -> Error {
        let mut note = [0; NOTE_MAX];
        let until = Deadline::after(until.left_at_most(EXPLAINING));
        // A server that is gone says nothing, at once.
        let packet = socket::receive(self.address.door.as_fd(), &mut note, until).ok();
        let note = packet.and_then(|packet| Serde::deserialize(note.get(..packet.length)?).ok());
        note.unwrap_or_else(gone)
    }

    fn keep(&self, line: Line) {
        let mut idle = lock(&self.idle);
        if idle.lines.len() < IDLE_MAX {
            idle.lines.push(line);
        }
    }

    /// Makes a pipe, and gives the server its other end.
    fn knock(&self, until: Deadline) -> Result<Line> {
        let pipe = Pipe::builder();
        let pipe = match self.address.family {
            Family::Ours => pipe,
            // Who is not of the family sees nothing else of this process's.
            Family::Other { .. } => pipe.apart(),
        };
        let (ours, theirs) = pipe.duplex()?;
        let parcel = transfer::pack(&Knock { pid: std::process::id(), line: theirs })?;
        let fds = parcel.fds();
        let until = Deadline::after(until.left_at_most(KNOCKING));
        let sent = letter::send(self.address.door.as_fd(), parcel.bytes(), &fds, until);
        drop(fds);
        match sent {
            Ok(()) => parcel.commit(),
            Err(cause) if socket::is_gone(&cause) => return Err(gone()),
            Err(cause) => return Err(cause).context(|| "connect to a manager".to_owned()),
        }
        Ok(ours)
    }
}

impl Idle {
    /// In a forked copy: forgets the pipes. Closing one would take it away from the parent.
    fn leave_to_parent(&mut self) {
        if self.generation != fork::generation() {
            std::mem::take(&mut self.lines).into_iter().for_each(std::mem::forget);
            self.generation = fork::generation();
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.leave_to_parent();
    }
}

/// What a client makes of the bytes of a reply.
pub(super) fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<Result<R>, CodecError> {
    let (verdict, value) = postcard::take_from_bytes::<Verdict>(bytes)?;
    Ok(match verdict {
        Verdict::Returned => Ok(Serde::deserialize(value)?),
        Verdict::Panicked(panic) => Err(panicked(panic)),
        Verdict::Failed(error) => Err(error),
    })
}

/// Whether this may be what a server says of a pipe that it does not serve, and closes.
#[cold]
fn may_be_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::Limit
}

#[cold]
fn not_answered(cause: Cause) -> Error {
    match cause {
        Cause::Disconnected { .. } => gone(),
        Cause::TimedOut | Cause::WouldBlock => {
            let what = "call an object of a manager: no answer in time; it may be done still";
            Error::new(ErrorKind::Timeout, what)
        }
        Cause::Failed(error) => error,
    }
}

#[cold]
pub(super) fn panicked(panic: Panic) -> Error {
    let what = "a call panicked in the server of a manager";
    Error::new(ErrorKind::Worker, what).because(panic.to_string())
}

#[cold]
pub(super) fn gone() -> Error {
    Error::new(
        ErrorKind::Disconnected,
        "call an object of a manager: its server is gone, as it ends with its `Manager`",
    )
}

/// A socket that goes to a process as an argument.
pub(super) struct Socket(pub(super) OwnedFd);

impl Serialize for Socket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        cargo::put_fd(self.0.as_fd()).map_err(failed)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Socket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        cargo::take_fd(u32::deserialize(deserializer)?).map(Self).map_err(failed)
    }
}
