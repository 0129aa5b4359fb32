//! The numbers of our files.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

/// The first number behind those of the standard streams.
const FIRST: RawFd = 3;

/// Gives a file that has just been opened a number of its own: where a program has closed its
/// standard streams, the kernel gives their numbers away first, and whatever the program prints
/// would go into the file.
pub(crate) fn above_standard(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() >= FIRST { Ok(file) } else { copy(&file) }
}

/// As [`above_standard`]; where there are no more numbers the file has to keep the one it has.
pub(crate) fn rather_above_standard(file: OwnedFd) -> OwnedFd {
    if file.as_raw_fd() >= FIRST { file } else { copy(&file).unwrap_or(file) }
}

#[cold]
#[allow(unsafe_code)]
fn copy(file: &OwnedFd) -> io::Result<OwnedFd> {
    let raw = fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: the kernel has just made this fd for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
