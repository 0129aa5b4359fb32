//! Arbitrary packets, with fds or without, where a letter is expected.
#![no_main]
#![allow(unsafe_code)]

use std::fs::File;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libfuzzer_sys::fuzz_target;
use multiproc::fuzzing::receive_letter;

const TAGS: [u32; 3] = [0x4d50_4c31, 0x4d50_4c32, 0x4d50_4c33];

fn pair() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: room for two numbers.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }, 0);
    // SAFETY: new, and nobody else's.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}

/// A memfd of so many bytes, with or without seals and pages.
fn memory(size: u64, how: u8) -> OwnedFd {
    // SAFETY: a name that ends with a zero.
    let fd = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_ALLOW_SEALING) };
    assert!(fd >= 0);
    // SAFETY: new, and nobody else's.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(size).unwrap();
    if how & 1 != 0 && size < 1 << 20 {
        // SAFETY: the file is open.
        unsafe { libc::fallocate(fd, 0, 0, size as i64) };
    }
    if how & 2 != 0 {
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) };
    }
    file.into()
}

fn send(socket: &OwnedFd, bytes: &[u8], fds: &[i32]) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    let mut control = [0_u64; 160];
    // SAFETY: zeros are a message without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let size = size_of_val(fds) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as usize;
        // SAFETY: `control` has room for 253 fds and a header.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            libc::CMSG_DATA(header).cast::<i32>().copy_from_nonoverlapping(fds.as_ptr(), fds.len());
        }
    }
    // SAFETY: all parts of the message live until the call returns.
    unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
}

type PacketOf = (u8, u8, u8, Vec<u8>);

fuzz_target!(|input: (u64, u8, Vec<PacketOf>)| {
    let (size, how, packets) = input;
    let (here, there) = pair();
    let memory = memory(size % (1 << (how % 44)).max(1), how / 64);
    let count = packets.len().min(12);
    for (tag, claimed, fds, mut bytes) in packets.into_iter().take(count) {
        let fds = usize::from(fds % 24);
        if let Some(tag) = TAGS.get(usize::from(tag % 4)) {
            let claimed = if claimed & 1 == 0 { fds as u32 } else { u32::from(claimed) };
            let header = [tag.to_le_bytes(), claimed.to_le_bytes()].concat();
            bytes.splice(0..0, header);
        }
        send(&here, &bytes, &vec![memory.as_raw_fd(); fds]);
    }
    if how & 1 != 0 {
        drop(here);
    }
    for _ in 0..count + 1 {
        if let Ok(Some((bytes, fds))) = receive_letter(there.as_fd()) {
            std::hint::black_box((bytes.len(), fds));
        }
    }
});
