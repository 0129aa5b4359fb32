//! Being done with messages, and waiting until all of them are done with.

use std::time::Duration;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::raw::swap::handle::{self, Ends, HandleTable, State};
use crate::shim::Ordering::*;
use crate::sys::clock::Deadline;

use super::core::{Core, NO_RECEIVERS};
use super::ends::{CanReceive, End};
use super::port::Port;
use super::queue::Queue;
use super::waiting::For;

impl<T, C, E: CanReceive> Queue<T, C, E> {
    /// Says that this handle is done with one of the messages that it has received.
    ///
    /// What a handle has not said when it is dropped, or when its process dies, counts as done:
    /// nobody could say it any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let mut tasks = Queue::builder().joinable(true).bounded(10)?;
    /// tasks.send("sweep".to_owned())?;
    /// assert_eq!(tasks.recv()?, "sweep");
    /// tasks.task_done()?;
    /// // It had received one only.
    /// assert_eq!(tasks.task_done().unwrap_err().kind(), ErrorKind::Misuse);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If this handle is done with all that it has received, or the queue was not made
    /// [`joinable`](crate::QueueBuilder::joinable).
    pub fn task_done(&mut self) -> Result<()> {
        let port = self.port.as_mut().ok_or_else(super::queue::no_handle)?;
        port.check()?;
        if !port.core.at.plan.flags.counts_tasks {
            return Err(not_joinable());
        }
        let left = port.outstanding.checked_sub(1).ok_or_else(|| {
            Error::new(ErrorKind::Misuse, "task_done of a queue, more often than messages came")
        })?;
        port.outstanding = left;
        // Release: what was done with the message is visible to who joins.
        port.core.at.entry(port.core.handle).outstanding.store(left, Release);
        if left == 0 && port.core.is_awaited(For::Others) && port.is_all_done() {
            port.core.notify_all(For::Others);
        }
        Ok(())
    }
}

impl<T, C, E: End> Queue<T, C, E> {
    /// Waits until every message that was sent is received and done with.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Process, Queue};
    ///
    /// fn work(mut tasks: Queue<u32>) {
    ///     while tasks.recv().is_ok() {
    ///         tasks.task_done().unwrap();
    ///     }
    /// }
    ///
    /// let mut tasks = Queue::builder().joinable(true).bounded(10)?;
    /// let worker = Process::spawn(work, tasks.clone())?;
    /// tasks.send_batch(&mut (0..100).collect())?;
    /// tasks.join()?;
    /// tasks.close();
    /// worker.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If messages are left that nobody can receive any more
    /// ([`Disconnected`](ErrorKind::Disconnected)), or the queue was not made
    /// [`joinable`](crate::QueueBuilder::joinable).
    pub fn join(&mut self) -> Result<()> {
        self.join_until(Deadline::NEVER).map(drop)
    }

    /// Waits as [`join`](Self::join), for `timeout` at most. Whether it is so.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut tasks = Queue::builder().joinable(true).bounded(10)?;
    /// tasks.send("sweep".to_owned())?;
    /// assert_eq!(tasks.recv()?, "sweep");
    /// // It is received, but not done.
    /// assert!(!tasks.join_timeout(Duration::from_millis(1))?);
    /// tasks.task_done()?;
    /// assert!(tasks.join_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<bool> {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&mut self, deadline: Deadline) -> Result<bool> {
        let port = self.port.as_mut().ok_or_else(super::queue::no_handle)?;
        port.check()?;
        if !port.core.at.plan.flags.counts_tasks {
            return Err(not_joinable());
        }
        let Port { core, track, .. } = port;
        let waited = core.wait(For::Others, Some(deadline), |core| {
            // Asked first: whoever goes last may have done all of it.
            let is_over = core.flags() & NO_RECEIVERS != 0;
            match track.len(core) {
                Ok(0) if !has_outstanding(core) => Some(Ok(())),
                Ok(_) if is_over => Some(Err(core.disconnected(Ends::RECEIVER))),
                Ok(_) => None,
                Err(corrupt) => Some(Err(corrupt.into())),
            }
        });
        match waited {
            Ok(()) => Ok(true),
            Err(Cause::Failed(error)) => Err(error),
            Err(Cause::Disconnected { .. }) => Err(nobody_left()),
            Err(Cause::TimedOut | Cause::WouldBlock) => Ok(false),
        }
    }
}

impl<T, C> Port<T, C> {
    fn is_all_done(&self) -> bool {
        self.len() == 0 && !has_outstanding(&self.core)
    }
}

/// Whether any handle has a message in its hands, or has received one and is not done with it.
///
/// A message goes from the intent into the scratch word, and from there into the count. It is
/// looked for in this order, so that it is not missed on its way. One that is delivered again goes
/// from one handle into the count of another, once: who looks at all of them twice does not miss
/// it.
fn has_outstanding(core: &Core) -> bool {
    let at = &core.at;
    let looks = if at.plan.flags.redelivers { 2 } else { 1 };
    (0..looks).flat_map(|_| 0..at.handles()).any(|number| match handle::state(at, number) {
        State::Free => false,
        // It is to be delivered again.
        State::Orphan => true,
        State::Live { .. } => {
            core.store().is_popping(number) || at.entry(number).outstanding.load(Acquire) != 0
        }
    })
}

#[cold]
fn nobody_left() -> Error {
    let what = "join a queue: there are messages left that nobody can receive any more";
    Error::new(ErrorKind::Disconnected, what)
}

#[cold]
fn not_joinable() -> Error {
    let what = "task_done and join of a queue that was not made for it: see QueueBuilder::joinable";
    Error::new(ErrorKind::Misuse, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::swap::recover::Rings;
    use crate::raw::swap::{NONE, SwapMemory};

    #[test]
    fn an_announced_push_is_no_task_and_an_announced_pop_may_be_one() {
        let mut queue = Queue::builder().joinable(true).bounded::<u64>(1).unwrap();
        let other = queue.clone();
        let core = &other.port.as_ref().unwrap().core;
        let is_push = |position: &u64| core.at.plan.shape.is_push(*position);
        let push = (0..).find(is_push).unwrap();
        let pop = (0..).find(|position| !is_push(position)).unwrap();
        for (intent, is_done) in [(push, true), (pop, false), (NONE, true)] {
            let ring = core.store().ring(0).unwrap();
            ring.memory().intent(core.handle).store(intent, Relaxed);
            assert_eq!(queue.join_timeout(Duration::ZERO).unwrap(), is_done);
        }
    }
}
