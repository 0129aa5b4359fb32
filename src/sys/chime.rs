//! An fd that is readable while it rings (eventfd(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};

use super::number::above_standard;

/// Readable from a ring until it is silenced; closes on exec, and never blocks.
#[derive(Debug)]
pub(crate) struct Chime(OwnedFd);

impl Chime {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        above_standard(EventFd::from_value_and_flags(0, flags)?.into()).map(Self)
    }

    /// Makes the fd readable.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match write(&self.0, &1_u64.to_ne_bytes()) {
            // Full means that it rings already.
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Makes the fd readable no more.
    pub(crate) fn silence(&self) {
        // It fails if it did not ring.
        let _ = read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Chime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
