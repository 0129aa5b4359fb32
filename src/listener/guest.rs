//! The handshake as the listening side has it: one who has come, and is not through with it.
//!
//! Nothing here waits: whoever is slow, silent or hostile is in nobody's way but its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::sys::clock::Deadline;
use crate::sys::{random, socket};
use crate::transfer::Parcel;
use crate::transfer::mac::Proof;

use super::key::AuthKey;
use super::terms::{PeerCred, Terms};
use super::wire::{self, Challenge, Ends, Hello, Kind, PACKET_MAX, Talk};

/// One who has connected.
#[derive(Debug)]
pub(super) struct Guest {
    socket: OwnedFd,
    peer: PeerCred,
    /// When it has to be through.
    pub(super) until: Deadline,
    /// What it was asked to prove, and what it had said before.
    asked: Option<(Talk, Terms)>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Step {
    /// It has said nothing since.
    Waits,
    /// It is gone, and nobody need hear of it.
    Gone,
    /// It is through: what is it to be answered? If it has proved anything, so has the answer.
    Through(Option<Talk>),
    /// It is not let in, and knows why.
    Refused(Error),
}

/// What was understood of a packet: a step, or why there is none to be made.
type Heard = Result<Step, String>;

impl Guest {
    pub(super) fn new(socket: OwnedFd, peer: PeerCred, until: Deadline) -> Self {
        Self { socket, peer, until, asked: None }
    }

    pub(super) fn peer(&self) -> PeerCred {
        self.peer
    }

    /// Goes as far as what it has said allows. `owner` is the user that listens.
    pub(super) fn advance(&mut self, terms: &Terms, key: Option<&AuthKey>, owner: u32) -> Step {
        // Bounded: it has two things to say.
        loop {
            let mut bytes = [0; PACKET_MAX];
            let packet = match socket::try_receive_bytes(self.socket.as_fd(), &mut bytes) {
                Ok(packet) if packet.had_fds => {
                    return self.turn_away("it sent file descriptors, which nobody asked for");
                }
                Ok(packet) if packet.is_cut => {
                    return self.turn_away(&wire::Unreadable::Garbage.to_string());
                }
                Ok(packet) if packet.length == 0 => return Step::Gone,
                Ok(packet) => &bytes[..packet.length],
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Step::Waits,
                Err(_) => return Step::Gone,
            };
            let heard = match self.asked.take() {
                None => self.hear_hello(packet, terms, key, owner),
                Some((talk, theirs)) => hear_proof(packet, talk, &theirs, terms, key),
            };
            match heard {
                Ok(Step::Waits) => {}
                Ok(step) => return step,
                Err(why) => return self.turn_away(&why),
            }
        }
    }

    fn hear_hello(
        &mut self,
        packet: &[u8],
        terms: &Terms,
        key: Option<&AuthKey>,
        owner: u32,
    ) -> Heard {
        let Hello { terms: theirs, has_key, .. } = read(packet, Kind::Hello)?;
        match (key, has_key) {
            (None, false) => terms.agree(&theirs).map(|()| Step::Through(None)),
            (None, true) => {
                Err("the connecting side has a key, the listening side has none".into())
            }
            (Some(_), false) => {
                Err("the listening side asks for a key, the connecting side has none".into())
            }
            (Some(_), true) => {
                let nonce =
                    random::bytes().map_err(|cause| format!("no random number: {cause}"))?;
                let challenge = wire::packet(Kind::Challenge, &Challenge { nonce });
                if self.send(&[&challenge], &[]).is_err() {
                    return Ok(Step::Gone);
                }
                let ends = Ends { connecting: self.peer.uid, listening: owner };
                self.asked = Some((Talk { ends, hello: packet.to_vec(), challenge }, theirs));
                Ok(Step::Waits)
            }
        }
    }

    /// Gives it what it came for.
    pub(super) fn welcome(
        &self,
        talk: Option<&Talk>,
        key: Option<&AuthKey>,
        parcel: &Parcel,
    ) -> io::Result<()> {
        let proof = talk.zip(key).map(|(talk, key)| talk.proof_of_host(key, parcel.bytes()));
        let proof = proof.as_ref().map_or(&[][..], Proof::as_slice);
        self.send(&[&wire::header(Kind::Welcome), proof, parcel.bytes()], &parcel.fds())
    }

    fn turn_away(&self, why: &str) -> Step {
        Step::Refused(self.refuse(why))
    }

    /// Says why it is not let in, to it and to the listening side.
    pub(super) fn refuse(&self, why: &str) -> Error {
        // Whether it hears it is its business.
        let _ = self.send(&[&wire::refusal(why)], &[]);
        let what = format!("accept a connection of {}: {why}", self.peer);
        Error::new(ErrorKind::Refused, what)
    }

    /// As [`refuse`](Self::refuse), of one that was too slow.
    pub(super) fn refuse_as_late(&self, patience: Duration) -> Error {
        self.refuse(&format!("it was not through with the handshake after {patience:?}"))
    }

    fn send(&self, bytes: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Who does not read has room for all that there is to say, or does not want to hear it.
        socket::send(self.socket.as_fd(), bytes, fds, Deadline::after(Duration::ZERO))
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn hear_proof(
    packet: &[u8],
    talk: Talk,
    theirs: &Terms,
    terms: &Terms,
    key: Option<&AuthKey>,
) -> Heard {
    let proof: Proof = read(packet, Kind::Proof)?;
    if !key.is_some_and(|key| talk.is_proof_of_guest(key, &proof)) {
        return Err(
            "the two sides have different keys, or do not see who the other is: somebody is \
                    between them, or the edge of a user namespace"
                .into(),
        );
    }
    // Only now is it told what is exchanged here.
    terms.agree(theirs).map(|()| Step::Through(Some(talk)))
}

fn read<T: for<'a> serde::Deserialize<'a>>(packet: &[u8], wanted: Kind) -> Result<T, String> {
    let value = wire::read(packet).and_then(|(kind, body)| {
        if kind == wanted { wire::value(body) } else { Err(wire::Unreadable::Garbage) }
    });
    value.map_err(|unreadable| unreadable.to_string())
}
