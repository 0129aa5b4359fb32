//! Letters: bytes of any length with any number of fds, over a socket that has limits on both.
//!
//! A letter is one packet where it can be. Bytes beyond [`INLINE_MAX`] travel in a sealed memfd,
//! and fds beyond what a packet carries in further packets behind the first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::clock::Deadline;
use super::memfd;
use super::socket::{self, FDS_PER_PACKET_MAX};

/// More bytes than this travel in a memfd. Small enough to fit twice in a default socket buffer.
pub(crate) const INLINE_MAX: usize = 60 << 10;

/// More fds than this no letter carries: the limit on open files is lower on most machines.
pub(crate) const FDS_MAX: usize = 1 << 16;

const INLINE: u32 = 0x4d50_4c31;
const IN_MEMFD: u32 = 0x4d50_4c32;
const MORE_FDS: u32 = 0x4d50_4c33;

/// Tag and number of fds, little endian; then the bytes.
const HEADER: usize = 8;

/// What a letter brought.
#[derive(Debug, Default)]
pub(crate) struct Letter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Sends a letter. On error it may have been sent in part; the next one makes the reader forget it.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> io::Result<()> {
    send_joined(socket, [bytes, &[]], fds, deadline)
}

/// Sends a letter whose bytes lie in two places, a head and a body; they arrive as one.
pub(crate) fn send_joined(
    socket: BorrowedFd<'_>,
    bytes: [&[u8]; 2],
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> io::Result<()> {
    if fds.len() > FDS_MAX {
        return Err(io::Error::from_raw_os_error(libc::ETOOMANYREFS));
    }
    let is_long = bytes[0].len().saturating_add(bytes[1].len()) > INLINE_MAX;
    let spilled = if is_long { Some(memfd::holding_all(&bytes)?) } else { None };
    let mut all: Vec<BorrowedFd<'_>> = Vec::with_capacity(fds.len() + 1);
    all.extend(spilled.iter().map(AsFd::as_fd));
    all.extend_from_slice(fds);
    let (tag, [head, body]) =
        if spilled.is_some() { (IN_MEMFD, [&[][..]; 2]) } else { (INLINE, bytes) };
    let split = all.len().min(FDS_PER_PACKET_MAX);
    socket::send(socket, &[&header(tag, all.len()), head, body], &all[..split], deadline)?;
    for fds in all[split..].chunks(FDS_PER_PACKET_MAX) {
        socket::send(socket, &[&header(MORE_FDS, fds.len())], fds, deadline)?;
    }
    Ok(())
}

/// Receives a letter; `None` means that the peer is gone and nothing is left.
///
/// A letter that its sender gave up half way is passed over, and so is the rest of one whose
/// beginning was lost, as this process could open no more files.
pub(crate) fn receive(socket: BorrowedFd<'_>, deadline: Deadline) -> io::Result<Option<Letter>> {
    let mut next = next_sheet(socket, deadline)?;
    // Bounded by what was sent: every turn takes a packet.
    while let Some(first) = next {
        if first.tag == MORE_FDS && !first.fds.is_empty() {
            next = next_sheet(socket, deadline)?;
            continue;
        }
        match read(socket, first, deadline)? {
            Read::Whole(letter) => return Ok(Some(letter)),
            Read::GivenUp(by) => next = Some(by),
        }
    }
    Ok(None)
}

/// One packet of a letter.
struct Sheet {
    tag: u32,
    /// Of the first, how many fds the letter has; of the others, how many they bring.
    count: usize,
    /// What is behind the header.
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

enum Read {
    Whole(Letter),
    /// It ends with the first sheet of another letter.
    GivenUp(Sheet),
}

fn next_sheet(socket: BorrowedFd<'_>, deadline: Deadline) -> io::Result<Option<Sheet>> {
    // As large as the packet: a fresh process pays for every page that is touched.
    let length = socket::next_length(socket, deadline)?;
    if length > HEADER + INLINE_MAX {
        return Err(malformed());
    }
    let mut bytes = vec![0; length.max(HEADER)];
    let packet = socket::receive(socket, &mut bytes, deadline)?;
    if packet.length == 0 && packet.fds.is_empty() {
        return Ok(None);
    }
    let (tag, count) = parse(bytes.get(..packet.length).ok_or_else(malformed)?)?;
    bytes.truncate(packet.length);
    bytes.drain(..HEADER);
    Ok(Some(Sheet { tag, count, bytes, fds: packet.fds }))
}

/// Reads on until all fds of the letter are there.
fn read(socket: BorrowedFd<'_>, first: Sheet, deadline: Deadline) -> io::Result<Read> {
    let Sheet { tag, count, bytes, mut fds } = first;
    while fds.len() < count {
        let next = next_sheet(socket, deadline)?.ok_or_else(malformed)?;
        if next.tag != MORE_FDS {
            return Ok(Read::GivenUp(next));
        }
        if next.count != next.fds.len() || next.count == 0 {
            return Err(malformed());
        }
        fds.extend(next.fds);
    }
    if fds.len() != count {
        return Err(malformed());
    }
    let bytes = match tag {
        INLINE => bytes,
        IN_MEMFD if count > 0 => memfd::contents(fds.remove(0).as_fd())?,
        _ => return Err(malformed()),
    };
    Ok(Read::Whole(Letter { bytes, fds }))
}

fn header(tag: u32, fds: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&tag.to_le_bytes());
    // No letter has more than FDS_MAX + 1 of them.
    header[4..].copy_from_slice(&(fds as u32).to_le_bytes());
    header
}

fn parse(packet: &[u8]) -> io::Result<(u32, usize)> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(packet.get(at..at + 4)?.try_into().ok()?))
    };
    let (Some(tag), Some(count)) = (word(0), word(4)) else { return Err(malformed()) };
    let count = count as usize;
    if count <= FDS_MAX + 1 { Ok((tag, count)) } else { Err(malformed()) }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the packet is not one of multiproc's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[test]
    fn letters_of_every_size_arrive_whole() {
        let (here, there) = socket::pair().unwrap();
        for size in [0, 1, INLINE_MAX, INLINE_MAX + 1, 5 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
            send(here.as_fd(), &bytes, &[], soon()).unwrap();
            let letter = receive(there.as_fd(), soon()).unwrap().unwrap();
            assert!(letter.bytes == bytes, "{size} bytes came back changed");
            assert!(letter.fds.is_empty());
        }
    }

    #[test]
    fn more_fds_than_a_packet_carries_arrive_in_order() {
        let (here, there) = socket::pair().unwrap();
        for count in [1, 252, 253, 254, 700] {
            let sent: Vec<OwnedFd> =
                (0..count as u32).map(|i| memfd::holding(&i.to_le_bytes()).unwrap()).collect();
            let borrowed: Vec<BorrowedFd<'_>> = sent.iter().map(AsFd::as_fd).collect();
            for bytes in [&b"few"[..], &[1; INLINE_MAX + 9]] {
                send(here.as_fd(), bytes, &borrowed, soon()).unwrap();
                let letter = receive(there.as_fd(), soon()).unwrap().unwrap();
                assert_eq!(letter.bytes, bytes);
                assert_eq!(letter.fds.len(), count);
                for (i, fd) in letter.fds.iter().enumerate() {
                    let held = memfd::contents(fd.as_fd()).unwrap();
                    assert_eq!(held, (i as u32).to_le_bytes());
                }
            }
        }
    }

    #[test]
    fn a_letter_in_part_does_not_harm_the_next() {
        let (here, there) = socket::pair().unwrap();
        let fd = memfd::holding(b"fd").unwrap();
        // Given up by its sender half way, and the rest of one whose beginning was lost.
        for part in [header(INLINE, 700), header(MORE_FDS, 1)] {
            socket::send(here.as_fd(), &[&part], &[fd.as_fd()], soon()).unwrap();
            send(here.as_fd(), b"next", &[fd.as_fd(); 2], soon()).unwrap();
            let letter = receive(there.as_fd(), soon()).unwrap().unwrap();
            assert_eq!((letter.bytes.as_slice(), letter.fds.len()), (&b"next"[..], 2));
        }
    }

    #[test]
    fn a_gone_peer_is_none_and_silence_is_a_timeout() {
        let (here, there) = socket::pair().unwrap();
        let timeout = receive(there.as_fd(), Deadline::after(Duration::ZERO)).unwrap_err();
        assert_eq!(timeout.raw_os_error(), Some(libc::ETIMEDOUT));
        drop(here);
        assert!(receive(there.as_fd(), soon()).unwrap().is_none());
    }

    #[test]
    fn a_foreign_packet_is_refused() {
        let (here, there) = socket::pair().unwrap();
        for packet in [&b"x"[..], b"not a letter of ours", &header(MORE_FDS, 0), &header(INLINE, 9)]
        {
            socket::send(here.as_fd(), &[packet], &[], soon()).unwrap();
        }
        for _ in 0..3 {
            assert!(receive(there.as_fd(), soon()).is_err());
        }
        drop(here);
        assert!(receive(there.as_fd(), soon()).is_err());
    }
}
