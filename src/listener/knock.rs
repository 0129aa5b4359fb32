//! The handshake as the connecting side has it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::sys::{address, random, socket, task};
use crate::transfer::mac::Proof;

use super::key::AuthKey;
use super::terms::{PeerCred, Terms, Users};
use super::wire::{self, Challenge, Ends, Hello, Kind, PACKET_MAX, Talk, Unreadable};

/// What is brought back: the bytes and the fds of a parcel.
pub(super) type Brought = (Vec<u8>, Vec<OwnedFd>);

/// With whom one means to speak.
pub(super) struct Manner<'a> {
    pub(super) key: Option<&'a AuthKey>,
    pub(super) users: &'a Users,
    pub(super) until: Deadline,
}

/// A conversation with whoever listens.
pub(super) struct Knock<'a> {
    pub(super) path: &'a Path,
    pub(super) socket: OwnedFd,
    pub(super) until: Deadline,
}

/// Goes to the door at `path` and comes back with a parcel.
pub(super) fn knock(path: &Path, terms: &Terms, manner: &Manner<'_>) -> Result<Brought> {
    let until = manner.until;
    let socket = address::connect(path, until).map_err(|cause| not_connected(path, cause))?;
    let knock = Knock { path, socket, until };
    let (ends, hello) = knock.greet(terms, manner)?;
    knock.bring(ends, hello, manner.key)
}

impl Knock<'_> {
    /// Says what is to be exchanged, if one means to speak with whoever listens. Who the two are,
    /// and the packet, as what is proved is about both.
    pub(super) fn greet(&self, terms: &Terms, manner: &Manner<'_>) -> Result<(Ends, Vec<u8>)> {
        let peer = address::peer(self.socket.as_fd()).context(|| self.what())?;
        if !manner.users.admit(peer.uid) {
            let peer = PeerCred::from(peer);
            let why = format!("{peer} listens there, which is not to be spoken to");
            return Err(self.refused(&why));
        }
        let [_, own, ..] = task::credentials();
        let ends = Ends { connecting: own, listening: peer.uid };
        let nonce = random::bytes().context(|| self.what())?;
        let hello = Hello { terms: terms.clone(), has_key: manner.key.is_some(), nonce };
        let hello = wire::packet(Kind::Hello, &hello);
        self.say(&hello)?;
        Ok((ends, hello))
    }

    /// Hears the answer, and brings what it brings. With a key, both sides prove it first.
    pub(super) fn bring(
        &self,
        ends: Ends,
        hello: Vec<u8>,
        key: Option<&AuthKey>,
    ) -> Result<Brought> {
        let Some(key) = key else { return self.hear(Kind::Welcome) };
        let challenge = self.hear_challenge()?;
        let talk = Talk { ends, hello, challenge };
        self.say(&wire::packet(Kind::Proof, &talk.proof_of_guest(key)))?;
        let (body, fds) = self.hear(Kind::Welcome)?;
        let proved = body.split_first_chunk::<{ size_of::<Proof>() }>();
        match proved.filter(|(proof, parcel)| talk.is_proof_of_host(key, proof, parcel)) {
            Some((_, parcel)) => Ok((parcel.to_vec(), fds)),
            None => Err(self.refused("whoever listens there does not know the key")),
        }
    }

    fn what(&self) -> String {
        format!("connect to {}", self.path.display())
    }

    #[cold]
    fn refused(&self, why: &str) -> Error {
        Error::new(ErrorKind::Refused, format!("{}: {why}", self.what()))
    }

    fn say(&self, packet: &[u8]) -> Result<()> {
        match socket::send(self.socket.as_fd(), &[packet], &[], self.until) {
            // There may be a reason to read.
            Err(cause) if socket::is_gone(&cause) => Ok(()),
            said => said.context(|| self.what()),
        }
    }

    /// Hears what the other side proves its key by. The whole packet: the proofs are about it.
    fn hear_challenge(&self) -> Result<Vec<u8>> {
        let (body, _) = self.hear(Kind::Challenge)?;
        wire::value::<Challenge>(&body).map_err(|unreadable| self.unreadable(&unreadable))?;
        Ok([&wire::header(Kind::Challenge)[..], &body].concat())
    }

    /// Waits for a packet of this kind.
    fn hear(&self, wanted: Kind) -> Result<Brought> {
        let mut bytes = [0; PACKET_MAX];
        let packet = match socket::receive(self.socket.as_fd(), &mut bytes, self.until) {
            Err(cause) if socket::is_gone(&cause) => return Err(self.left()),
            packet => packet.context(|| self.what())?,
        };
        if packet.length == 0 && packet.fds.is_empty() {
            return Err(self.left());
        }
        match wire::read(&bytes[..packet.length]) {
            Ok((Kind::Refusal, body)) => Err(self.refused(&wire::why(body))),
            Ok((kind, body)) if kind == wanted => Ok((body.to_vec(), packet.fds)),
            Ok((Kind::Welcome, _)) => {
                Err(self.refused("whoever listens there did not ask for the key"))
            }
            Ok(_) => Err(self.unreadable(&Unreadable::Garbage)),
            Err(unreadable) => Err(self.unreadable(&unreadable)),
        }
    }

    #[cold]
    fn unreadable(&self, unreadable: &Unreadable) -> Error {
        self.refused(&format!("of whoever listens there: {unreadable}"))
    }

    #[cold]
    fn left(&self) -> Error {
        let what = format!("{}: the other side left in the middle of the handshake", self.what());
        Error::new(ErrorKind::Disconnected, what)
    }
}

#[cold]
fn not_connected(path: &Path, cause: io::Error) -> Error {
    let what = format!("connect to {}", path.display());
    match cause.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            let what = format!("{what}: nobody listens there any more");
            Error::new(ErrorKind::Disconnected, what)
        }
        Some(libc::ENOTSOCK) => {
            Error::new(ErrorKind::Misuse, format!("{what}: there is something else than a socket"))
        }
        Some(libc::EPROTOTYPE) => {
            let what = format!("{what}: the socket there is of another kind than multiproc's");
            Error::new(ErrorKind::Misuse, what)
        }
        _ => Err::<(), _>(cause).context(|| what).unwrap_err(),
    }
}
