//! The packets of the handshake.
//!
//! ```text
//! connecting side             listening side
//! Hello                  ->                      what goes to and fro, and a random number
//!                        <-   Challenge          where there is a key: another random number
//! Proof                  ->                      that it knows the key
//!                        <-   Welcome            that it does too, and the end of a pipe
//!                        <-   Refusal            in the place of any of the above: why
//! ```
//!
//! A packet begins with a magic word, its kind, and two versions, of these packets and of what is
//! in shared memory, so that programs with different versions of this crate can say so. Everything
//! comes from strangers: it is read within bounds, and what cannot be read is a refusal. What is
//! proved is about all packets before, and about who the kernel says is at either end.

use serde::{Deserialize, Serialize};

use crate::segment;
use crate::transfer::mac::Proof;

use super::key::AuthKey;
use super::terms::{Terms, shown};

/// No packet is longer.
pub(super) const PACKET_MAX: usize = 16 << 10;

/// A reason for a refusal is not longer; it has both sides' words in it.
const WHY_MAX: usize = PACKET_MAX - HEADER;

const MAGIC: [u8; 4] = *b"mpli";

/// Changes whenever the packets do, or what is written of a handle in a parcel.
const PROTOCOL: u32 = 1;

/// Magic, kind, and two versions in little endian.
pub(super) const HEADER: usize = 13;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Challenge = 2,
    Proof = 3,
    Welcome = 4,
    Refusal = 5,
}

/// A number that was never used before and will not be again.
pub(super) type Nonce = [u8; 32];

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) terms: Terms,
    /// Whether the connecting side has a key, and asks for proof.
    pub(super) has_key: bool,
    pub(super) nonce: Nonce,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Challenge {
    pub(super) nonce: Nonce,
}

/// Why a packet is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is something else.
    Garbage,
    /// It is of another version of this crate.
    Version { protocol: u32, abi: u32 },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Garbage => f.write_str("it does not speak as multiproc does"),
            Self::Version { protocol, abi } => write!(
                f,
                "its version of multiproc speaks protocol {protocol} and has layout {abi} of \
                 shared memory, this one {PROTOCOL} and {}",
                segment::ABI
            ),
        }
    }
}

/// What every packet of a kind begins with.
pub(super) fn header(kind: Kind) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = kind as u8;
    header[5..9].copy_from_slice(&PROTOCOL.to_le_bytes());
    header[9..].copy_from_slice(&segment::ABI.to_le_bytes());
    header
}

/// A whole packet with a value in it.
pub(super) fn packet<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    // Into memory nothing fails but a type that serde cannot carry, and there is none here.
    postcard::to_extend(value, header(kind).to_vec()).expect("words of our own")
}

/// The kind of a packet and what is behind its header.
pub(super) fn read(packet: &[u8]) -> Result<(Kind, &[u8]), Unreadable> {
    let (header, body) = packet.split_first_chunk::<HEADER>().ok_or(Unreadable::Garbage)?;
    let [m0, m1, m2, m3, kind, p0, p1, p2, p3, a0, a1, a2, a3] = *header;
    let kinds = [Kind::Hello, Kind::Challenge, Kind::Proof, Kind::Welcome, Kind::Refusal];
    let kind = kinds.into_iter().find(|known| *known as u8 == kind);
    let Some(kind) = kind.filter(|_| [m0, m1, m2, m3] == MAGIC) else {
        return Err(Unreadable::Garbage);
    };
    let protocol = u32::from_le_bytes([p0, p1, p2, p3]);
    let abi = u32::from_le_bytes([a0, a1, a2, a3]);
    // A refusal is words in every version.
    if kind != Kind::Refusal && (protocol, abi) != (PROTOCOL, segment::ABI) {
        return Err(Unreadable::Version { protocol, abi });
    }
    Ok((kind, body))
}

/// The value behind the header of a packet of this kind; nothing else may be there.
pub(super) fn value<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(Unreadable::Garbage),
    }
}

/// The words of a refusal.
pub(super) fn refusal(why: &str) -> Vec<u8> {
    let mut packet = header(Kind::Refusal).to_vec();
    packet.extend_from_slice(&why.as_bytes()[..why.floor_char_boundary(WHY_MAX)]);
    packet
}

/// What a refusal says.
pub(super) fn why(body: &[u8]) -> String {
    shown(&String::from_utf8_lossy(body))
}

/// The users at the two ends: either side has the one from the kernel, and is the other itself.
///
/// What is proved is about them too. So whoever only passes on what the two say has to be one of
/// them: the kernel shows another to both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) connecting: u32,
    pub(super) listening: u32,
}

impl Ends {
    fn bytes(self) -> [u8; 8] {
        (u64::from(self.connecting) << 32 | u64::from(self.listening)).to_le_bytes()
    }
}

/// What was said before a proof was asked for, which is what the proof is about.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) ends: Ends,
    pub(super) hello: Vec<u8>,
    pub(super) challenge: Vec<u8>,
}

/// Stand before what is proved, so that neither side's proof is one for the other.
const CONNECTING: &[u8] = b"multiproc: the connecting side knows the key";
const LISTENING: &[u8] = b"multiproc: the listening side knows the key";

impl Talk {
    /// That the connecting side knows the key.
    pub(super) fn proof_of_guest(&self, key: &AuthKey) -> Proof {
        key.prove(&[CONNECTING, &self.ends.bytes(), &self.hello, &self.challenge])
    }

    pub(super) fn is_proof_of_guest(&self, key: &AuthKey, proof: &Proof) -> bool {
        key.is_proof(proof, &[CONNECTING, &self.ends.bytes(), &self.hello, &self.challenge])
    }

    /// That the listening side does, and that the parcel is from it.
    pub(super) fn proof_of_host(&self, key: &AuthKey, parcel: &[u8]) -> Proof {
        key.prove(&[LISTENING, &self.ends.bytes(), &self.hello, &self.challenge, parcel])
    }

    pub(super) fn is_proof_of_host(&self, key: &AuthKey, proof: &Proof, parcel: &[u8]) -> bool {
        key.is_proof(proof, &[LISTENING, &self.ends.bytes(), &self.hello, &self.challenge, parcel])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::codec::Serde;

    fn hello() -> Vec<u8> {
        let terms = Terms::of::<u64, String, Serde>();
        packet(Kind::Hello, &Hello { terms, has_key: true, nonce: [7; 32] })
    }

    #[test]
    fn a_packet_comes_back() {
        let packet = hello();
        let (kind, body) = read(&packet).unwrap();
        let Hello { has_key, nonce, .. } = value(body).unwrap();
        assert_eq!((kind, has_key, nonce), (Kind::Hello, true, [7; 32]));
    }

    #[test]
    fn what_is_cut_or_too_long_is_garbage() {
        let packet = hello();
        for length in 0..packet.len() {
            let cut = read(&packet[..length]).and_then(|(_, body)| value::<Hello>(body));
            assert_eq!(cut.map(|_| ()).unwrap_err(), Unreadable::Garbage);
        }
        let longer = [&packet[..], &[0]].concat();
        assert!(read(&longer).and_then(|(_, body)| value::<Hello>(body)).is_err());
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        let mut packet = hello();
        packet[5] += 1;
        let (protocol, abi) = (PROTOCOL + 1, segment::ABI);
        assert_eq!(read(&packet).unwrap_err(), Unreadable::Version { protocol, abi });
        packet[0] += 1;
        assert_eq!(read(&packet).unwrap_err(), Unreadable::Garbage);
    }

    #[test]
    fn a_refusal_can_be_read_in_every_version_and_is_never_too_long() {
        let mut packet = refusal(&"é".repeat(PACKET_MAX));
        assert!(packet.len() <= PACKET_MAX);
        packet[5] += 1;
        let (kind, body) = read(&packet).unwrap();
        assert!(kind == Kind::Refusal && why(body).ends_with('é'));
    }

    fn talk(nonce: u8, [connecting, listening]: [u32; 2]) -> Talk {
        let ends = Ends { connecting, listening };
        Talk { ends, hello: hello(), challenge: vec![nonce; 45] }
    }

    #[test]
    fn neither_side_s_proof_is_one_for_the_other_nor_for_another_talk() {
        let key = AuthKey::new("secret").unwrap();
        let proof = talk(1, [0, 0]).proof_of_guest(&key);
        assert!(talk(1, [0, 0]).is_proof_of_guest(&key, &proof));
        assert!(!talk(2, [0, 0]).is_proof_of_guest(&key, &proof));
        assert!(!talk(1, [0, 0]).is_proof_of_host(&key, &proof, &[]));
        let another = AuthKey::new("secres").unwrap();
        assert!(!talk(1, [0, 0]).is_proof_of_guest(&another, &proof));
    }

    #[test]
    fn a_proof_is_about_the_users_at_both_ends() {
        let key = AuthKey::new("secret").unwrap();
        let guest = talk(1, [5, 6]).proof_of_guest(&key);
        let host = talk(1, [5, 6]).proof_of_host(&key, &[]);
        for ends in [[5, 7], [7, 6], [6, 5]] {
            assert!(!talk(1, ends).is_proof_of_guest(&key, &guest));
            assert!(!talk(1, ends).is_proof_of_host(&key, &host, &[]));
        }
        assert!(talk(1, [5, 6]).is_proof_of_host(&key, &host, &[]));
    }
}
