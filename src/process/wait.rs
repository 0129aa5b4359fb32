//! Waiting for one child in the thread that asks, and reading what it left.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Process;
use super::ending::JoinError;
use super::exit::{ExitStatus, Panic};
use super::family::{Child, family};
use super::job::{self, Report};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::wait_many::{Post, Watched};
use crate::sys::clock::Deadline;
use crate::sys::letter::Letter;
use crate::sys::{letter, socket};
use crate::transfer;

/// What a child reported last.
pub(super) enum Last {
    Nothing,
    Ready,
    /// The result is in the letter, from this byte on.
    Returned(Letter, usize),
    Trouble(JoinError),
}

impl<R: DeserializeOwned> Process<R> {
    pub(super) fn join_until(&mut self, deadline: Deadline) -> Result<Option<R>, JoinError> {
        self.child.check_is_ours()?;
        if self.is_joined {
            let what = format!("join {}: its result has been taken", self.name());
            return Err(Error::new(ErrorKind::Misuse, what).into());
        }
        let Some(status) = end_of(&self.child, deadline)? else { return Ok(None) };
        self.is_joined = true;
        match self.last_report()? {
            Last::Returned(letter, at) => {
                Ok(Some(transfer::unpack(&letter.bytes[at..], letter.fds)?))
            }
            Last::Trouble(error) => Err(error),
            Last::Ready => Err(JoinError::silent(status)),
            Last::Nothing => Err(JoinError::NotStarted(status)),
        }
    }
}

impl<R> Process<R> {
    /// The process, for one who waits for its end.
    pub(crate) fn watched(&mut self) -> Result<&mut dyn Watched> {
        self.child.check_is_ours()?;
        Ok(self)
    }

    /// Reads everything that the child said. It has ended, so all of it is here.
    fn last_report(&self) -> Result<Last> {
        let mut last = Last::Nothing;
        loop {
            let now = Deadline::after(Duration::ZERO);
            let letter = match letter::receive(self.socket.as_fd(), now) {
                Ok(Some(letter)) => letter,
                Ok(None) => return Ok(last),
                // A process that the child left behind can hold its socket, but has nothing to say.
                Err(cause) if cause.raw_os_error() == Some(libc::ETIMEDOUT) => return Ok(last),
                Err(cause) => {
                    return Err(cause).context(|| format!("hear from {}", self.name()));
                }
            };
            last = understand(letter).context(|| format!("understand {}", self.name()))?;
            if !matches!(last, Last::Ready) {
                return Ok(last);
            }
        }
    }
}

impl<R> Watched for Process<R> {
    fn post(&self) -> Post<'_> {
        self.child.post()
    }

    fn is_ready(&mut self) -> bool {
        self.child.is_buried()
    }

    fn is_surely_ready(&mut self) -> bool {
        self.child.try_reap().is_some()
    }

    /// The monitor tells of the end; who would not wait for it looks for itself.
    fn suspect(&mut self) {
        self.child.try_reap();
    }
}

/// What a letter of the child's says.
pub(super) fn understand(letter: Letter) -> io::Result<Last> {
    let (report, rest) = job::decode::<Report<'_>>(&letter.bytes)?;
    Ok(match report {
        Report::Ready => Last::Ready,
        Report::Panicked { message, location, backtrace } => {
            let message = message.into_owned();
            Last::Trouble(JoinError::Panicked(Panic { message, location, backtrace }))
        }
        Report::Failed(error) => {
            let error = Error::new(error.kind(), "in the process").because(error);
            Last::Trouble(JoinError::Error(error))
        }
        Report::Returned => {
            let at = letter.bytes.len() - rest.len();
            Last::Returned(letter, at)
        }
    })
}

/// Waits for the end of a child, without the detour over the monitor's thread.
fn end_of(child: &Child, deadline: Deadline) -> Result<Option<ExitStatus>> {
    if child.ended().is_some() {
        return Ok(child.try_reap());
    }
    let _mine = Unwatched::new(child)?;
    loop {
        let ready = socket::ready(&[(child.pidfd.as_fd(), socket::PollFlags::POLLIN)], deadline)
            .context(|| format!("wait for {}", child.name))?;
        if ready.is_none() {
            return Ok(None);
        }
        if let Some(status) = child.try_reap() {
            return Ok(Some(status));
        }
    }
}

/// Whether a child has ended, whoever's it is.
pub(super) fn has_ended(child: &Child) -> bool {
    socket::is_readable(child.pidfd.as_fd()).unwrap_or(false)
}

/// A child that the monitor does not watch while somebody else waits for it.
struct Unwatched<'a>(&'a Child);

impl<'a> Unwatched<'a> {
    fn new(child: &'a Child) -> Result<Self> {
        family().monitor()?.unwatch(child);
        Ok(Self(child))
    }
}

impl Drop for Unwatched<'_> {
    fn drop(&mut self) {
        self.0.watch_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::AtDrop;
    use std::marker::PhantomData;
    use std::sync::Arc;

    /// One whose end is known to a thread, and to nobody else.
    fn process() -> Process<()> {
        let child = Arc::new(Child::reaped());
        let (socket, _) = socket::pair().unwrap();
        let (at_drop, result) = (AtDrop::LeaveAlone, PhantomData);
        Process { child, socket, at_drop, is_joined: false, result }
    }

    /// The thread that reaps it tells how it ended before it recovers anything. Whoever looked in
    /// between went on, and met a lock that the dead one still had.
    #[test]
    fn a_process_has_ended_when_what_it_left_behind_is_recovered() {
        let mut watched = process();
        assert!(!watched.is_ready());
        assert!(watched.is_surely_ready());
        assert!(watched.is_ready());
        let joined = process();
        assert_eq!(end_of(&joined.child, Deadline::NEVER).unwrap(), Some(ExitStatus::UNKNOWN));
        assert!(joined.child.is_buried());
        let asked = process();
        assert_eq!(asked.exit_status(), Some(ExitStatus::UNKNOWN));
        assert!(asked.child.is_buried());
    }

    /// In a forked child that can be for ever.
    #[test]
    fn to_show_a_process_does_not_wait_for_who_reaps_it() {
        let process = process();
        let shown = process.child.while_it_is_reaped(|| format!("{process:?}"));
        assert!(shown.contains("ended: None"), "{shown}");
        assert!(format!("{process:?}").contains("ended: Some"));
    }
}
