//! Pairs of `SOCK_SEQPACKET` sockets and packets that carry fds (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType,
    recv, recvmsg, sendmsg, shutdown, socketpair,
};

use super::clock::Deadline;

/// Linux carries no more fds in one packet (`SCM_MAX_FD`).
pub(crate) const FDS_PER_PACKET_MAX: usize = 253;

/// Two connected sockets that keep packet boundaries; both close on exec and never block.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// One packet and the fds that came with it. `length` 0 without fds means that the peer is gone.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) length: usize,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Sends one packet, waiting until `deadline` for room. At most [`FDS_PER_PACKET_MAX`] fds.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[&[u8]],
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[_] = if raw.is_empty() { &[] } else { &rights };
    let parts: Vec<IoSlice<'_>> = bytes.iter().map(|part| IoSlice::new(part)).collect();
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &parts, control, flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait(socket, PollFlags::POLLOUT, deadline)?,
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Receives one packet into `bytes`, waiting for it until `deadline`.
///
/// A packet that lost bytes or fds on the way is an error: nothing half-received is passed on.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    deadline: Deadline,
) -> io::Result<Packet> {
    loop {
        match try_receive(socket, bytes) {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, PollFlags::POLLIN, deadline)?;
            }
            done => return done,
        }
    }
}

/// Ends the conversation in both directions, for every holder of this end.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    // It fails if the peer has gone already.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// The length of the next packet, which stays where it is; 0 if the peer is gone.
pub(crate) fn next_length(socket: BorrowedFd<'_>, deadline: Deadline) -> io::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
    loop {
        match recv(socket.as_raw_fd(), &mut [], flags) {
            Err(Errno::EAGAIN) => wait(socket, PollFlags::POLLIN, deadline)?,
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            length => return Ok(length?),
        }
    }
}

fn try_receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Packet> {
    let mut control = nix::cmsg_space!([RawFd; FDS_PER_PACKET_MAX]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    loop {
        let mut parts = [IoSliceMut::new(bytes)];
        let got = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            // A reset is told once, before what the peer had sent; then come its packets, or end.
            Err(Errno::EINTR | Errno::ECONNRESET) => continue,
            got => got?,
        };
        let length = got.bytes;
        let cut = got.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        let mut fds = Vec::new();
        if let Ok(messages) = got.cmsgs() {
            for message in messages {
                if let ControlMessageOwned::ScmRights(raw) = message {
                    fds.extend(raw.into_iter().map(own));
                }
            }
        }
        if cut {
            // The kernel drops fds that it cannot install: the process is at its limit.
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        return Ok(Packet { length, fds });
    }
}

#[allow(unsafe_code)]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed `raw` for us with SCM_RIGHTS; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Waits until `socket` is ready for `what`, or its peer is gone, or `deadline` passes.
fn wait(socket: BorrowedFd<'_>, what: PollFlags, deadline: Deadline) -> io::Result<()> {
    match ready(&[(socket, what)], deadline)? {
        Some(_) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}

/// Waits for the first of several fds to be ready; `None` if the deadline came first.
pub(crate) fn ready(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Deadline,
) -> io::Result<Option<usize>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|(fd, what)| PollFd::new(*fd, *what)).collect();
    loop {
        let timeout = match deadline.left() {
            None => PollTimeout::NONE,
            // Rounded up, so that a wait never ends before its deadline.
            Some(left) => {
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut polled, timeout) {
            Ok(0) if deadline.is_past() => return Ok(None),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                let first = polled.iter().position(|fd| fd.any().unwrap_or(true));
                return Ok(first);
            }
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Whether `fd` is readable now, at its end, or broken.
pub(crate) fn is_readable(fd: impl AsFd) -> io::Result<bool> {
    let now = Deadline::after(std::time::Duration::ZERO);
    Ok(ready(&[(fd.as_fd(), PollFlags::POLLIN)], now)?.is_some())
}
