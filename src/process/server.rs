//! The fork server: a process with one thread and nothing in it, which makes copies of itself.
//!
//! The copies are children of *its* parent, which therefore hears of their end first-hand; the
//! server holds nothing that could be lost with it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::child;
use super::job::{self, Hello, MAGIC, MAKE_CHILD, Made};
use crate::sys::clock::Deadline;
use crate::sys::clone::{Record, Side, Thread};
use crate::sys::{child as kernel, letter, socket, task};

/// Signals of the terminal are for the program, and every other but a plain `kill` as well.
///
/// Blocked, not ignored: dispositions are inherited by the children, pending signals are not.
const BLOCKED: u64 = task::EVERY_SIGNAL & !task::signal_bit(libc::SIGTERM);

/// Makes children until the socket closes.
pub(crate) fn serve(socket: OwnedFd, record: Option<OwnedFd>, parent: u32) -> ! {
    let Some(Ok(record)) = record.map(|memory| Record::open(memory.as_fd())) else {
        kernel::leave(1)
    };
    kernel::set_command_name("multiproc-fork");
    let is_alone = task::is_alone();
    // Before the hello, so that what every child would do for itself is done once.
    child::prepare();
    let thread = Thread::of_caller();
    let hello = Hello { magic: MAGIC, pid: std::process::id(), is_alone };
    let said = job::encode(&hello)
        .and_then(|hello| letter::send(socket.as_fd(), &hello, &[], Deadline::NEVER));
    if said.is_err() || !is_alone || task::replace_signal_mask(BLOCKED).is_err() {
        kernel::leave(1);
    }
    loop {
        let control = match next_request(socket.as_fd()) {
            Request::Child(control) => control,
            Request::Nonsense => {
                answer(&socket, Made { errno: libc::EMFILE, pid: 0 }, None);
                continue;
            }
            Request::End => kernel::leave(0),
        };
        // SAFETY: one thread, see `is_alone`; nothing since then starts another.
        match unsafe { thread.sibling(&record) } {
            Ok(Side::Copy) => {
                drop(socket);
                if kernel::die_with_parent().is_err() || kernel::parent_pid() != parent {
                    kernel::leave(1);
                }
                child::main(control, &thread, parent)
            }
            Ok(Side::Original(born)) => {
                // Ours is closed first: the socket must end with the child.
                drop(control);
                answer(&socket, Made { errno: 0, pid: born.pid }, Some(born.pidfd));
            }
            Err(cause) => {
                let errno = cause.raw_os_error().unwrap_or(libc::EINVAL);
                answer(&socket, Made { errno, pid: 0 }, None);
            }
        }
    }
}

/// What the parent asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// A child with this socket.
    Child(OwnedFd),
    /// Whatever came, or what did not fit into our table of fds.
    Nonsense,
    /// Nothing any more.
    End,
}

/// Waits for the next request.
pub(super) fn next_request(socket: BorrowedFd<'_>) -> Request {
    let mut request = [0; MAKE_CHILD.len()];
    match socket::receive(socket, &mut request, Deadline::NEVER) {
        Ok(packet) if packet.length == 0 => Request::End,
        Ok(packet) if request == MAKE_CHILD => {
            packet.fds.into_iter().next().map_or(Request::Nonsense, Request::Child)
        }
        _ => Request::Nonsense,
    }
}

fn answer(socket: &OwnedFd, made: Made, pidfd: Option<OwnedFd>) {
    let pidfd: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
    let sent = socket::send(socket.as_fd(), &[&made.to_bytes()], &pidfd, Deadline::NEVER);
    if sent.is_err() {
        kernel::leave(0);
    }
}
