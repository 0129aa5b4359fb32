//! Readiness as an fd.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::lock;
use crate::sys::chime::Chime;

use super::lookout::{self, Charge, Lookout};
use super::party::Party;
use super::waitable::{Source, Waitable};

/// Something to wait for, as an fd that is readable when it may be ready: for `epoll` loops and
/// async runtimes, which wait for fds alone.
///
/// It has the thing that it is made of, and a thread of this process waits for that: one thread for
/// all of them, which ends with the last. Whoever wants to use the thing takes it by
/// [`get`](Self::get), and when the guard is dropped the fd tells of the next news. So:
///
/// 1. wait until the fd is readable, by `epoll`, `poll(2)`, tokio's `AsyncFd` or whatever there is;
/// 2. `get` the thing, and use it with verbs that do not wait, until there is nothing left;
/// 3. drop the guard.
///
/// The fd stays readable until `get`, and is so again at once if something was left. It may also be
/// in vain: another receiver of a queue was faster.
///
/// **Costs.** An eventfd each, and news come by one more wake-up of a thread. When the guard is
/// dropped the thread is woken and looks at all that it waits for, which takes some 10 to 50 µs of
/// another CPU; so does a `get` without news. A process with many busy connections is better served
/// by [`wait_any`](crate::wait_any), which needs no thread. An event that is set and cleared at
/// once may not be told of.
///
/// A child that is forked by [`Process::fork`](crate::Process::fork) cannot use it: the thread
/// stays in the parent.
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use multiproc::{Pipe, Readable, Readiness, wait_any};
///
/// let (mut here, there) = Pipe::duplex::<u64, u64>()?;
/// let mut there = Readiness::new(there)?;
/// here.send(7)?;
/// // In the place of an event loop, and of its `epoll_wait`.
/// assert_eq!(wait_any(&mut [&mut Readable(there.as_fd())], Duration::MAX)?, [0]);
/// let mut connection = there.get()?;
/// while let Ok(number) = connection.try_recv() {
///     connection.send(number * number)?;
/// }
/// drop(connection);
/// assert_eq!(here.recv()?, 49);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "AsyncFd")]
pub struct Readiness<S: Waitable + Send + 'static> {
    lookout: Arc<Lookout>,
    shelf: Arc<Shelf<S>>,
    /// By which it is recalled.
    number: usize,
    /// Whether the thing is in somebody's hands: a guard's, or it was taken for good.
    is_taken: bool,
}

/// Where a thing is while the lookout does not have it.
struct Shelf<S> {
    place: Mutex<Option<Box<S>>>,
    back: Condvar,
    chime: Chime,
}

impl<S> Shelf<S> {
    fn put(&self, source: Box<S>, is_ready: bool) {
        let mut place = lock(&self.place);
        *place = Some(source);
        if is_ready {
            // Only a chime that somebody else has closed does not ring.
            let _ = self.chime.ring();
        }
        drop(place);
        self.back.notify_one();
    }
}

impl<S: Waitable + Send + 'static> Readiness<S> {
    /// Waits for this from now on, and tells of it by an fd.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Queue, Readable, Readiness, wait_any};
    /// use std::os::fd::AsFd;
    /// use std::time::Duration;
    ///
    /// let mut jobs = Queue::bounded(10)?;
    /// let inbox = Readiness::new(jobs.receiver()?)?;
    /// assert!(wait_any(&mut [&mut Readable(inbox.as_fd())], Duration::ZERO)?.is_empty());
    /// jobs.send(7)?;
    /// assert_eq!(wait_any(&mut [&mut Readable(inbox.as_fd())], Duration::MAX)?, [0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there can be no further fd or thread; and as [`wait_any`](crate::wait_any).
    pub fn new(mut source: S) -> Result<Self> {
        source.source()?;
        let chime = Chime::new().context(|| "make an eventfd".to_owned())?;
        let shelf = Arc::new(Shelf { place: Mutex::default(), back: Condvar::new(), chime });
        let lookout = lookout::enter()?;
        let mut readiness = Self { lookout, shelf, number: 0, is_taken: true };
        readiness.watch(Box::new(source));
        Ok(readiness)
    }

    /// The thing itself. The fd is not readable any more, and tells nothing until the guard is
    /// dropped.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Queue, Readiness};
    /// let mut jobs = Queue::bounded(10)?;
    /// let mut inbox = Readiness::new(jobs.receiver()?)?;
    /// jobs.send(7)?;
    /// let mut receiver = inbox.get()?;
    /// assert_eq!(receiver.try_recv()?, 7);
    /// assert!(receiver.try_recv().unwrap_err().is_empty());
    /// drop(receiver); // From here on the fd tells of the next one.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Forked`](crate::ErrorKind::Forked) in a child that has it from its parent;
    /// [`Misuse`](crate::ErrorKind::Misuse) if a guard of it was forgotten.
    pub fn get(&mut self) -> Result<ReadinessGuard<'_, S>> {
        let source = Some(self.fetch()?);
        Ok(ReadinessGuard { readiness: self, source })
    }

    /// The thing itself, for good.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Event, Readiness};
    /// let event = Event::new()?;
    /// let watched = Readiness::new(event.clone())?;
    /// let back = watched.into_inner()?;
    /// event.set()?;
    /// assert!(back.is_set());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn into_inner(mut self) -> Result<S> {
        Ok(*self.fetch()?)
    }

    /// Takes the thing off the shelf, having called it back if it is not there.
    fn fetch(&mut self) -> Result<Box<S>> {
        if !self.lookout.is_ours() {
            return Err(lookout::forked());
        }
        if self.is_taken {
            let what = "get what a `Readiness` is of: a guard that was forgotten has it";
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        self.is_taken = true;
        let mut place = lock(&self.shelf.place);
        if place.is_none() {
            self.lookout.recall(self.number);
        }
        // The lookout gives everything back, whatever becomes of it.
        loop {
            match place.take() {
                Some(source) => {
                    self.shelf.chime.silence();
                    return Ok(source);
                }
                None => {
                    place = self.shelf.back.wait(place).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Leaves the thing to the lookout, unless it is ready as it is.
    fn watch(&mut self, mut source: Box<S>) {
        self.is_taken = false;
        let is_ready = match source.source() {
            Ok(source) => Party::new(&mut [source]).ready().map_or(true, |ready| !ready.is_empty()),
            // Whoever uses it hears of it.
            Err(_) => true,
        };
        if is_ready {
            self.shelf.put(source, true);
            return;
        }
        let shelf = Arc::clone(&self.shelf);
        self.number = self.lookout.watch(Box::new(Lent { source: Some(source), shelf }));
    }
}

/// A thing in the hands of the lookout.
struct Lent<S> {
    source: Option<Box<S>>,
    shelf: Arc<Shelf<S>>,
}

impl<S: Waitable + Send + 'static> Charge for Lent<S> {
    fn source(&mut self) -> Result<Source<'_>> {
        match &mut self.source {
            Some(source) => source.source(),
            None => Err(lookout::forked()),
        }
    }

    fn go_back(mut self: Box<Self>) {
        if let Some(source) = self.source.take() {
            self.shelf.put(source, false);
        }
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.shelf.put(source, true);
        }
    }
}

/// Readable when there may be news.
impl<S: Waitable + Send + 'static> AsFd for Readiness<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shelf.chime.as_fd()
    }
}

impl<S: Waitable + Send + 'static> Drop for Readiness<S> {
    fn drop(&mut self) {
        // Here, and not in the other thread, and before this returns.
        drop(self.fetch());
        if self.lookout.is_ours() {
            self.lookout.leave();
        }
    }
}

impl<S: Waitable + Send + 'static> fmt::Debug for Readiness<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("fd", &self.as_fd()).finish_non_exhaustive()
    }
}

/// The thing that a [`Readiness`] is of, for one who uses it. Dropped, it is waited for again.
///
/// # Examples
/// ```
/// # use multiproc::{Pipe, Readiness};
/// let (mut here, there) = Pipe::duplex::<u64, u64>()?;
/// let mut there = Readiness::new(there)?;
/// here.send(7)?;
/// let mut connection = there.get()?; // to be used as the connection itself
/// let number = connection.recv()?;
/// connection.send(number * number)?;
/// drop(connection);
/// assert_eq!(here.recv()?, 49);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nobody waits for it before the guard is dropped"]
pub struct ReadinessGuard<'a, S: Waitable + Send + 'static> {
    readiness: &'a mut Readiness<S>,
    source: Option<Box<S>>,
}

/// There is always a thing, until the guard is dropped.
const HERE: &str = "a guard has what it guards";

impl<S: Waitable + Send + 'static> Deref for ReadinessGuard<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.source.as_ref().expect(HERE)
    }
}

impl<S: Waitable + Send + 'static> DerefMut for ReadinessGuard<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        self.source.as_mut().expect(HERE)
    }
}

impl<S: Waitable + Send + 'static> Drop for ReadinessGuard<'_, S> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.readiness.watch(source);
        }
    }
}

impl<S: Waitable + Send + fmt::Debug + 'static> fmt::Debug for ReadinessGuard<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadinessGuard").field(&**self).finish()
    }
}
