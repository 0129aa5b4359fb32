//! What a child says to its parent, from whatever part of it.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use super::exit::Panic;
use super::job::{self, Report};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::sys::{letter, socket};
use crate::transfer::Parcel;

/// A report is sent while nobody need be listening, so it must fit into the socket: about as many
/// fds as its buffer has room for packets of them.
const RESULT_FDS_MAX: usize = 4096;

/// There is no parent to talk to.
const NOBODY: i32 = -1;

/// The socket to the parent. A static, because a panic in any thread may have to be reported; not a
/// lock, because a fork could leave it locked.
static CONTROL: AtomicI32 = AtomicI32::new(NOBODY);

/// Reports to this socket from now on; it is open as long as the process is.
///
/// Called while the process has one thread. A copy of a child closes the child's socket here.
pub(crate) fn to(control: OwnedFd) -> BorrowedFd<'static> {
    // Relaxed: threads are started afterwards, and see it.
    let before = CONTROL.swap(control.into_raw_fd(), Ordering::Relaxed);
    if before != NOBODY {
        // SAFETY: given to `to` before, by value, and taken out of the static just now.
        drop(unsafe { OwnedFd::from_raw_fd(before) });
    }
    control_socket().unwrap_or_else(|| unreachable!("stored above"))
}

fn control_socket() -> Option<BorrowedFd<'static>> {
    // Relaxed: see `to`.
    let raw = CONTROL.load(Ordering::Relaxed);
    // SAFETY: given to `to` by value; only `to` closes it, before there are others who use it.
    (raw != NOBODY).then(|| unsafe { BorrowedFd::borrow_raw(raw) })
}

/// Says something to the parent, who may be gone.
pub(crate) fn say(report: &Report<'_>) {
    if let (Ok(bytes), Some(control)) = (job::encode(report), control_socket()) {
        let _ = letter::send(control, &bytes, &[], Deadline::NEVER);
    }
}

/// Sends the result. That nobody waits for it any more is no error.
pub(crate) fn deliver(parcel: Parcel) -> Result<()> {
    let what = || "send the result".to_owned();
    let fds = parcel.fds();
    if fds.len() > RESULT_FDS_MAX {
        let what = format!("send the result: it has {} handles in it", fds.len());
        return Err(Error::new(ErrorKind::Limit, what));
    }
    let word = job::encode(&Report::Returned).context(what)?;
    let Some(control) = control_socket() else { return Ok(()) };
    let sent = letter::send_joined(control, [&word, parcel.bytes()], &fds, Deadline::NEVER);
    drop(fds);
    match sent {
        Ok(()) => parcel.commit(),
        Err(cause) if socket::is_gone(&cause) => {}
        Err(cause) => return Err(cause).context(what),
    }
    Ok(())
}

/// Says why the job could not be done.
pub(crate) fn failure(error: Error) {
    say(&Report::Failed(error));
}

/// Says that the function panicked.
pub(crate) fn panic(panic: &Panic) {
    say(&Report::Panicked {
        message: Cow::Borrowed(&panic.message),
        location: panic.location.clone(),
        backtrace: panic.backtrace.clone(),
    });
}
