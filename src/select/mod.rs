//! Room 9: waiting for the first of several things of different kinds.
//!
//! | file | what it is |
//! |---|---|
//! | `waitable` | what can be waited for, and the fds among it |
//! | `party` | everything that one call waits for |
//! | `readiness` | an fd that says when to look, for loops that wait for fds |
//! | `lookout` | the thread behind those fds |
//!
//! What a handle contributes, where its news are told and how to look, is beside its type; the
//! protocol is [`wait_many`](crate::raw::wait_many).

mod lookout;
mod party;
mod readiness;
mod waitable;

use std::time::Duration;

pub use readiness::{Readiness, ReadinessGuard};
pub use waitable::{Readable, Waitable};

use crate::error::Result;
use crate::sys::clock::Deadline;

use party::Party;
use waitable::Source;

/// Waits until something is ready, but not longer than `timeout`: the indices of all that are, in
/// order. None of them if the time was up, or if there is nothing to wait for.
///
/// Ready means that the bare verb would not wait: a message of a [`Connection`] or a [`Queue`]
/// can be received, or an error or the end of it heard; an [`Event`] is set, or was since the call
/// began; a [`Semaphore`] has a permit; a [`Process`] has ended; a [`Task`] is over, or `get` would
/// say that here it is waited for in vain; an fd is [`Readable`]. All of it can be mixed. A timeout
/// of zero only looks; one of [`Duration::MAX`] waits for ever.
///
/// Nothing is taken: whoever is told of a message receives it by `recv`. Others may be faster,
/// where there are others: then a bare verb waits, so use `try_recv` and the like. Others that wait
/// for the same message with `recv` are woken as well. A long message of a pipe is put together as
/// it comes, and a connection that has a part of one cannot move.
///
/// A peer that is killed makes its connection ready, as soon as `recv` would hear of it. Waiting
/// takes no CPU time to speak of. A [`Readable`] fd beside other things costs a thread for as long
/// as the call sleeps, made anew ten times a second; so do each 120 things more than the first
/// (queues count twice, as most of them have a segment of their own). On a kernel without
/// `futex_waitv` (before Linux 5.16) the thread wakes every millisecond to look.
///
/// [`Connection`]: crate::Connection
/// [`Queue`]: crate::Queue
/// [`Event`]: crate::Event
/// [`Semaphore`]: crate::Semaphore
/// [`Process`]: crate::Process
/// [`Task`]: crate::Task
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{Connection, Event, Pipe, Process, wait_any};
///
/// fn greet((mut lines, go): (Connection<String, u32>, Event)) -> multiproc::Result<()> {
///     go.wait()?;
///     lines.send("hello".to_owned()).expect("the parent is there");
///     Ok(())
/// }
///
/// let ((mut here, there), mut go) = (Pipe::duplex()?, Event::new()?);
/// let mut child = Process::spawn(greet, (there, go.clone()))?;
/// assert!(wait_any(&mut [&mut here, &mut child], Duration::ZERO)?.is_empty());
/// go.set()?;
/// let ready = wait_any(&mut [&mut here, &mut go], Duration::MAX)?;
/// assert!(ready.contains(&1));
/// assert_eq!(here.recv()?, "hello");
/// // The end of the child is the end of its connection as well.
/// let ready = wait_any(&mut [&mut here, &mut child], Duration::MAX)?;
/// assert!(!ready.is_empty());
/// child.join()??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`Misuse`](crate::ErrorKind::Misuse): a connection that only sends.
/// - [`Forked`](crate::ErrorKind::Forked): a handle that a forked child inherited, and that is its
///   parent's.
/// - [`Limit`](crate::ErrorKind::Limit): a clone of a queue for which there was no handle.
/// - [`Os`](crate::ErrorKind::Os): more fds than the process may have open.
#[doc(alias = "multiprocessing.connection.wait")]
#[doc(alias = "select")]
#[doc(alias = "FIRST_COMPLETED")]
pub fn wait_any(sources: &mut [&mut dyn Waitable], timeout: Duration) -> Result<Vec<usize>> {
    let sources = sources.iter_mut().map(|source| source.source());
    wait_for(sources, timeout)
}

/// As [`wait_any`], for things of one type.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use multiproc::{Pool, wait_any_of};
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = Pool::new(2)?;
/// let mut tasks = (0..4).map(|n| pool.submit(square, n)).collect::<Result<Vec<_>, _>>()?;
/// while !tasks.is_empty() {
///     for index in wait_any_of(&mut tasks, Duration::MAX)?.into_iter().rev() {
///         println!("{}", tasks.swap_remove(index).get()?);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`wait_any`].
pub fn wait_any_of<W: Waitable>(sources: &mut [W], timeout: Duration) -> Result<Vec<usize>> {
    wait_for(sources.iter_mut().map(|source| source.source()), timeout)
}

fn wait_for<'a>(
    sources: impl Iterator<Item = Result<Source<'a>>>,
    timeout: Duration,
) -> Result<Vec<usize>> {
    let deadline = Deadline::after(timeout);
    let mut sources = waitable::all(sources)?;
    let mut party = Party::new(&mut sources);
    if timeout.is_zero() { party.look() } else { party.wait(deadline) }
}
