//! Liveness from the kernel: a lock on one byte that lives exactly as long as the process.
//!
//! The lock is an open-file-description lock (`F_OFD_SETLK`, fcntl(2)), far beyond the end of the
//! memory that it speaks for. It is held while the process is stopped, swapped or debugged,
//! crosses PID namespaces, travels with its fd, and is gone before the death can be observed.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, fcntl};

/// Where the lease bytes begin: no memory is that large.
const BASE: i64 = 1 << 60;

/// Takes the lease on byte `index` for the open file description behind `memory`.
///
/// True if it is ours now; false if another description holds it.
pub(crate) fn hold(memory: BorrowedFd<'_>, index: u32) -> io::Result<bool> {
    lock(memory, &range(index, 1, libc::F_WRLCK))
}

/// Takes the leases on the first `count` bytes at once, if nobody else holds any of them.
pub(crate) fn hold_all(memory: BorrowedFd<'_>, count: u32) -> io::Result<bool> {
    lock(memory, &range(0, count, libc::F_WRLCK))
}

/// Whether a description *other* than the one behind `memory` holds any of the first `count`
/// leases.
pub(crate) fn is_any_held_elsewhere(memory: BorrowedFd<'_>, count: u32) -> io::Result<bool> {
    is_locked_elsewhere(memory, range(0, count, libc::F_WRLCK))
}

/// Gives the lease on byte `index` back.
pub(crate) fn release(memory: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    fcntl(memory, FcntlArg::F_OFD_SETLK(&range(index, 1, libc::F_UNLCK)))?;
    Ok(())
}

/// Whether a description *other* than the one behind `memory` holds the lease on byte `index`.
pub(crate) fn is_held_elsewhere(memory: BorrowedFd<'_>, index: u32) -> io::Result<bool> {
    is_locked_elsewhere(memory, range(index, 1, libc::F_WRLCK))
}

fn lock(memory: BorrowedFd<'_>, bytes: &libc::flock) -> io::Result<bool> {
    match fcntl(memory, FcntlArg::F_OFD_SETLK(bytes)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

fn is_locked_elsewhere(memory: BorrowedFd<'_>, mut probe: libc::flock) -> io::Result<bool> {
    // SAFETY: F_OFD_GETLK reads and writes one `struct flock`, which `probe` is.
    let done = unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_OFD_GETLK, &raw mut probe) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(probe.l_type) != libc::F_UNLCK)
}

fn range(index: u32, count: u32, kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: BASE + i64::from(index),
        l_len: i64::from(count),
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use std::os::fd::AsFd;

    #[test]
    fn a_lease_is_seen_by_others_and_ends_with_its_description() {
        let mine = memfd::create(c"lease", 4096).unwrap();
        let theirs = memfd::reopen(mine.as_fd()).unwrap();
        assert!(hold(theirs.as_fd(), 3).unwrap());
        assert!(hold(theirs.as_fd(), 3).unwrap());
        assert!(!hold(mine.as_fd(), 3).unwrap());
        assert!(is_held_elsewhere(mine.as_fd(), 3).unwrap());
        assert!(!is_held_elsewhere(theirs.as_fd(), 3).unwrap());
        assert!(!is_held_elsewhere(mine.as_fd(), 4).unwrap());
        let copy = theirs.try_clone().unwrap();
        drop(theirs);
        assert!(is_held_elsewhere(mine.as_fd(), 3).unwrap());
        drop(copy);
        assert!(!is_held_elsewhere(mine.as_fd(), 3).unwrap());
    }

    #[test]
    fn all_leases_are_taken_at_once_or_none() {
        let mine = memfd::create(c"lease", 4096).unwrap();
        let theirs = memfd::reopen(mine.as_fd()).unwrap();
        assert!(hold(theirs.as_fd(), 7).unwrap());
        assert!(!hold_all(mine.as_fd(), 8).unwrap());
        assert!(is_any_held_elsewhere(mine.as_fd(), 8).unwrap());
        assert!(!is_any_held_elsewhere(mine.as_fd(), 7).unwrap());
        release(theirs.as_fd(), 7).unwrap();
        assert!(hold_all(mine.as_fd(), 8).unwrap());
        assert!(!hold(theirs.as_fd(), 0).unwrap() && !hold(theirs.as_fd(), 7).unwrap());
    }
}
