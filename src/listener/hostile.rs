//! P2 for the handshake: whatever a stranger says to a listener, or a listener to one who connects,
//! is an error, or what it says. Nobody is through who has not proved the key there is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::guest::{Guest, Step};
use super::key::AuthKey;
use super::knock::{Knock, Manner};
use super::terms::{PeerCred, Terms, Users};
use super::wire::{self, Challenge, Ends, Hello, Kind, PACKET_MAX, Talk};
use crate::channel::{Connection, Pipe};
use crate::error::ErrorKind;
use crate::raw::tape::Tape;
use crate::sys::clock::Deadline;
use crate::sys::socket;
use crate::transfer::codec::Serde;
use crate::transfer::{self, Parcel};

/// Nobody has more to say.
const PACKETS_MAX: usize = 6;

/// The bits of the first number: which side plays its own part, and who has which key.
const CONNECTS: u8 = 1;
const WE_HAVE_A_KEY: u8 = 2;
const THEY_HAVE_A_KEY: u8 = 4;
const THEIRS_IS_ANOTHER: u8 = 8;

/// The bits of a number that says what is said next, beside what it is.
const DAMAGED: u8 = 0x80;
const WITH_FDS: u8 = 0x40;
const TOO_LONG: u8 = 0x20;
const WHAT: u8 = 0x1f;

fn ours(what: u8) -> Option<AuthKey> {
    (what & WE_HAVE_A_KEY != 0).then(|| AuthKey::new("key").unwrap())
}

fn theirs(what: u8) -> AuthKey {
    AuthKey::new(if what & THEIRS_IS_ANOTHER == 0 { "key" } else { "another" }).unwrap()
}

/// The end of a pipe that a listener gives away, and the one that it keeps.
fn gift() -> (Parcel, Connection<u64, String>) {
    let (here, there) = Pipe::duplex::<u64, String>().unwrap();
    (transfer::pack(&there).unwrap(), here)
}

/// The next packet of a script, `whole` unless it says otherwise.
fn packet(tape: &mut Tape<'_>, how: u8, mut whole: Vec<u8>) -> Vec<u8> {
    if how & TOO_LONG != 0 {
        whole.resize(PACKET_MAX + 1, 0);
    }
    if how & DAMAGED != 0 {
        tape.damage(&mut whole);
    }
    whole
}

fn say(socket: &OwnedFd, packet: &[u8], fds: &[BorrowedFd<'_>]) {
    // Who has gone hears nothing.
    let _ = socket::send(socket.as_fd(), &[packet], fds, Deadline::NEVER);
}

fn hear(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = [0; PACKET_MAX];
    let packet = socket::try_receive(socket.as_fd(), &mut bytes).ok()?;
    Some(bytes[..packet.length].to_vec())
}

/// A stranger comes, and says what the script says. Whether he gets through.
fn come(tape: &mut Tape<'_>, what: u8) -> bool {
    let (inside, outside) = socket::pair().unwrap();
    let (key, ends) = (ours(what), Ends { connecting: 5, listening: 6 });
    let peer = PeerCred { pid: 1, uid: ends.connecting, gid: 1 };
    let mut guest = Guest::new(inside, peer, Deadline::NEVER);
    let terms = Terms::of::<u64, String, Serde>();
    let hello = |terms: &Terms| {
        let has_key = what & THEY_HAVE_A_KEY != 0;
        wire::packet(Kind::Hello, &Hello { terms: terms.clone(), has_key, nonce: [7; 32] })
    };
    let mut talk = None;
    for _ in 0..PACKETS_MAX {
        let how = tape.byte();
        let proof = |key: &AuthKey| {
            let proof = talk.as_ref().map_or([0; 32], |talk: &Talk| talk.proof_of_guest(key));
            wire::packet(Kind::Proof, &proof)
        };
        let whole = match (how & WHAT) % 5 {
            0 => hello(&Terms::of::<String, u64, Serde>()),
            1 => proof(&theirs(what)),
            // As if it had the same to do as the listener.
            2 => hello(&terms),
            3 => wire::refusal("no"),
            _ => tape.rest().to_vec(),
        };
        let said = packet(tape, how, whole);
        let fds = if how & WITH_FDS == 0 { vec![] } else { vec![outside.as_fd()] };
        say(&outside, &said, &fds);
        match guest.advance(&terms, key.as_ref(), ends.listening) {
            Step::Waits => {
                let Some(challenge) = hear(&outside) else { continue };
                talk = Some(Talk { ends, hello: said, challenge });
            }
            Step::Gone => return false,
            Step::Refused(error) => {
                assert_eq!(error.kind(), ErrorKind::Refused);
                let answer = hear(&outside).expect("it is told why");
                assert!(matches!(wire::read(&answer), Ok((Kind::Refusal, _))));
                return false;
            }
            Step::Through(proved) => {
                let is_proved = key.as_ref().is_none_or(|key| said == proof(key));
                assert!(is_proved && proved.is_some() == key.is_some() && fds.is_empty());
                let (parcel, _kept) = gift();
                guest.welcome(proved.as_ref(), key.as_ref(), &parcel).unwrap();
                return true;
            }
        }
    }
    false
}

/// We connect to a stranger, who answers what the script says. Whether that is a connection.
fn connect(tape: &mut Tape<'_>, what: u8) -> bool {
    let (inside, outside) = socket::pair().unwrap();
    let key = ours(what);
    let terms = Terms::of::<String, u64, Serde>();
    let until = Deadline::after(Duration::from_secs(60));
    let manner = Manner { key: key.as_ref(), users: &Users::default(), until };
    let knock = Knock { path: Path::new("door"), socket: inside, until };
    let (ends, hello) = knock.greet(&terms, &manner).unwrap();
    assert_eq!(hear(&outside).as_ref(), Some(&hello));
    let challenge = wire::packet(Kind::Challenge, &Challenge { nonce: [9; 32] });
    let talk = Talk { ends, hello, challenge };
    let (parcel, _kept) = gift();
    let welcome = |proof: &[u8]| [&wire::header(Kind::Welcome), proof, parcel.bytes()].concat();
    let proved = |key: &AuthKey| welcome(&talk.proof_of_host(key, parcel.bytes()));
    let honest = key.as_ref().map(|key| [talk.challenge.clone(), proved(key)]);
    let mut said = Vec::new();
    for _ in 0..PACKETS_MAX {
        let how = tape.byte();
        let whole = match (how & WHAT) % 5 {
            0 => talk.challenge.clone(),
            1 => proved(&theirs(what)),
            2 => welcome(&[]),
            3 => wire::refusal("no"),
            _ => tape.rest().to_vec(),
        };
        said.push(packet(tape, how, whole));
        let fds = if how & WITH_FDS == 0 { vec![] } else { parcel.fds() };
        say(&outside, said.last().unwrap(), &fds);
        if tape.is_over() {
            break;
        }
    }
    parcel.commit();
    drop(outside);
    match knock.bring(ends, talk.hello, key.as_ref()) {
        Ok((bytes, fds)) => {
            assert!(honest.is_none_or(|honest| said.starts_with(&honest)));
            let unpacked = transfer::unpack::<Connection<String, u64>>(&bytes, fds);
            unpacked.is_ok_and(|mut connection| connection.try_recv().unwrap_err().is_empty())
        }
        Err(error) => format!("{error} {error:?}").is_empty(),
    }
}

/// Plays a script: packets as they should be, damaged, in any order, or of any bytes. Whether the
/// two got together.
pub(crate) fn play(script: &[u8]) -> bool {
    let mut tape = Tape::new(script);
    let what = tape.byte();
    if what & CONNECTS == 0 { come(&mut tape, what) } else { connect(&mut tape, what) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_says_what_is_right_gets_through_and_nobody_else() {
        let (we, they) = (WE_HAVE_A_KEY, THEY_HAVE_A_KEY);
        let both = we | they;
        for (script, is_through) in [
            (&[0, 0][..], true),
            (&[both, 0, 1], true),
            (&[both, 0, 0], false),
            (&[both | THEIRS_IS_ANOTHER, 0, 1], false),
            (&[we, 0, 1], false),
            (&[they, 0, 1], false),
            (&[0, 2], false),
            (&[0, WITH_FDS], false),
            (&[0, TOO_LONG], false),
            (&[CONNECTS, WITH_FDS | 2], true),
            (&[CONNECTS, 2], false),
            (&[CONNECTS, WITH_FDS | 1], false),
            (&[CONNECTS | both, 0, WITH_FDS | 1], true),
            (&[CONNECTS | both, WITH_FDS | 2], false),
            (&[CONNECTS | both, 0, WITH_FDS | 2], false),
            (&[CONNECTS | both | THEIRS_IS_ANOTHER, 0, WITH_FDS | 1], false),
        ] {
            assert_eq!(play(script), is_through, "{script:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn handshakes_of_any_bytes_end_well(script in prop::collection::vec(any::<u8>(), 0..200)) {
            play(&script);
        }

        #[test]
        fn handshakes_in_any_order_end_well(script in prop::collection::vec(0..8_u8, 0..8)) {
            play(&script);
        }
    }
}
