//! Pairs of `SOCK_SEQPACKET` sockets and packets that carry fds (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::PollFd;
pub(crate) use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, sendmsg, shutdown,
    socketpair,
};

use super::clock::Deadline;
use super::number::above_standard;
use super::poll;

/// Linux carries no more fds in one packet (`SCM_MAX_FD`).
pub(crate) const FDS_PER_PACKET_MAX: usize = 253;

/// Two connected sockets that keep packet boundaries; both close on exec and never block.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((above_standard(one)?, above_standard(other)?))
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

/// Receives one packet into `bytes`, if there is one: `EAGAIN` says that there is none.
pub(crate) fn try_receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Packet> {
    loop {
        match receive_message(socket, bytes) {
            Err(cause) if is_passing(&cause) => {}
            received => return received,
        }
    }
}

/// One packet of somebody who is not to send fds.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// 0 if the peer is gone, unless one of the others is set.
    pub(crate) length: usize,
    /// It was longer than there was room for.
    pub(crate) is_cut: bool,
    pub(crate) had_fds: bool,
}

/// As [`try_receive`], where no fd is wanted: the kernel installs none.
///
/// It would have to be closed, and what a stranger has sent can make that wait for him: a file of
/// a file system of his own. A file is still let go here if its sender has closed it: a file
/// system is told, and not waited for, but a connection that lingers (`SO_LINGER`, socket(7)) is.
pub(crate) fn try_receive_bytes(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Bytes> {
    loop {
        match receive_into(socket, bytes, &mut []) {
            Err(cause) if is_passing(&cause) => {}
            Err(cause) => return Err(cause),
            Ok((length, message)) => {
                let has = |flag| message.msg_flags & flag != 0;
                let [is_cut, had_fds] = [libc::MSG_TRUNC, libc::MSG_CTRUNC].map(has);
                return Ok(Bytes { length, is_cut, had_fds });
            }
        }
    }
}

/// A reset is told once, before what the peer had sent; then come its packets, or its end.
fn is_passing(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EINTR | libc::ECONNRESET))
}

/// One packet. nix keeps the fds of one that was cut to itself, and so would leak them.
#[allow(unsafe_code)]
fn receive_message(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Packet> {
    const CONTROL: usize =
        // SAFETY: computes a number.
        unsafe { libc::CMSG_SPACE((FDS_PER_PACKET_MAX * size_of::<RawFd>()) as u32) } as usize;
    // Words, for the alignment of a `cmsghdr`.
    let mut control = [0_u64; CONTROL.div_ceil(8)];
    let (length, message) = receive_into(socket, bytes, &mut control)?;
    let fds = rights(&message);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        // The kernel drops fds that it cannot install: the process is at its limit.
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    let fds = fds.into_iter().map(above_standard).collect::<io::Result<_>>()?;
    Ok(Packet { length, fds })
}

/// One recvmsg(2), with what the kernel says of it, which points into `control`. Without room
/// there it installs no fds.
#[allow(unsafe_code)]
fn receive_into(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    control: &mut [u64],
) -> io::Result<(usize, libc::msghdr)> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a `msghdr` is integers and pointers that may be null.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(control);
    }
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: `message` describes `bytes` and `control`, which are borrowed for the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    message.msg_iov = std::ptr::null_mut();
    Ok((length, message))
}

/// The fds that the kernel has just installed for the receiver of `message`.
#[allow(unsafe_code)]
fn rights(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel filled in `message`, whose control buffer the caller has still.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // Not bounded, but the kernel wrote the row, and it ends with the buffer.
    // SAFETY: null, or a header within the control buffer, which is aligned for one.
    while let Some(header) = unsafe { next.as_ref() } {
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: the data of a header begins where CMSG_DATA says.
            let first = unsafe { libc::CMSG_DATA(next) };
            let size = header.cmsg_len - (first as usize - next as usize);
            for index in 0..size / size_of::<RawFd>() {
                // SAFETY: `cmsg_len` says that there are so many of them.
                let raw = unsafe { first.cast::<RawFd>().add(index).read_unaligned() };
                // SAFETY: installed for us with SCM_RIGHTS; nobody else owns it.
                fds.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
        // SAFETY: as for the first.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    fds
}

/// Reads no more: what lies in the socket is closed, and its peer cannot send any more.
pub(crate) fn refuse(socket: BorrowedFd<'_>) {
    if shutdown(socket.as_raw_fd(), Shutdown::Read).is_err() {
        return;
    }
    // Bounded: nothing comes after what is there.
    loop {
        match receive_message(socket, &mut [0; 64]) {
            Ok(packet) if packet.length > 0 || !packet.fds.is_empty() => {}
            // The packet was cut, or there is something to be told before the next one.
            Err(cause) if cause.raw_os_error() == Some(libc::EMFILE) || is_passing(&cause) => {}
            _ => return,
        }
    }
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
    if !poll::until(&mut polled, deadline)? {
        return Ok(None);
    }
    Ok(polled.iter().position(|fd| fd.any().unwrap_or(true)))
}

/// Whether an error of a socket says that the other end is gone.
pub(crate) fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN))
}

/// Whether `fd` is readable now, at its end, or broken.
pub(crate) fn is_readable(fd: impl AsFd) -> io::Result<bool> {
    let now = Deadline::after(std::time::Duration::ZERO);
    Ok(ready(&[(fd.as_fd(), PollFlags::POLLIN)], now)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behind an fd without a byte, everything stayed.
    #[test]
    fn what_was_sent_to_one_who_refuses_is_closed() {
        let (here, there) = pair().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        for bytes in [&b"!"[..], b"", b"!"] {
            send(here.as_fd(), &[bytes], &[writer.as_fd()], Deadline::NEVER).unwrap();
        }
        drop(writer);
        assert!(!is_readable(&reader).unwrap());
        refuse(there.as_fd());
        assert!(is_readable(&reader).unwrap(), "somebody has the other end of the pipe");
    }
}
