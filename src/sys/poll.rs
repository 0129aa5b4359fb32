//! poll(2) until a deadline.

use std::io;

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

use super::clock::Deadline;

/// Waits until one of the fds is what is asked of it, or broken, or the deadline passes. False if
/// none was in time.
pub(super) fn until(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<bool> {
    loop {
        let timeout = match deadline.left() {
            None => PollTimeout::NONE,
            // Rounded up, so that a wait never ends before its deadline.
            Some(left) => {
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(fds, timeout) {
            Ok(0) if deadline.is_past() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(cause) => return Err(cause.into()),
        }
    }
}
