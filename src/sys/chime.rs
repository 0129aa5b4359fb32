//! An fd that is readable while it rings (eventfd(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Readable from a ring until it is silenced; closes on exec, and never blocks.
#[derive(Debug)]
pub(crate) struct Chime(EventFd);

impl Chime {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Makes the fd readable.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match self.0.write(1) {
            // Full means that it rings already.
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Makes the fd readable no more.
    pub(crate) fn silence(&self) {
        // It fails if it did not ring.
        let _ = self.0.read();
    }
}

impl AsFd for Chime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
