//! The public face of a queue.

use std::marker::PhantomData;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::transfer::codec::{Codec, Serde};

use super::builder::QueueBuilder;
use super::core::CLOSED;
use super::ends::{Both, End, Receiving, Sending, ends_of};
use super::port::Port;

/// A queue that any number of processes and threads send to and receive from.
///
/// A handle, rather: `clone` it for another thread, send it to another process as an argument or in
/// a message of a connection, and all of them are handles of one queue. `E` says which ends this
/// one has: [`Both`], or one of them, see [`Sender`] and [`Receiver`].
///
/// Messages come out in the order in which they went in, each one once. What other processes may do
/// meanwhile: send, receive, close, be stopped, or be killed at any instruction. None of it keeps
/// this handle from sending or receiving. What a process had in its hands when it was killed is
/// lost and [counted](Self::stats), or delivered to another one if the queue was
/// [made so](QueueBuilder::redeliver). A plain value of up to eight bytes is in nobody's hands:
/// unless the queue grows, redelivers or is joinable, who takes it has received it.
///
/// The verbs are the same everywhere: the bare verb waits, `try_` never does, `_timeout` waits for
/// so long at the most.
///
/// # Examples
///
/// ```
/// use multiproc::{Process, Queue};
///
/// fn double((mut numbers, mut doubles): (Queue<u64>, Queue<u64>)) {
///     while let Ok(number) = numbers.recv() {
///         doubles.send(number * 2).unwrap();
///     }
/// }
///
/// let (mut numbers, mut doubles) = (Queue::bounded(10)?, Queue::bounded(10)?);
/// let worker = Process::spawn(double, (numbers.clone(), doubles.clone()))?;
/// numbers.send(21)?;
/// assert_eq!(doubles.recv()?, 42);
/// numbers.close();
/// worker.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "JoinableQueue")]
#[doc(alias = "SimpleQueue")]
#[doc(alias = "multiprocessing.Queue")]
#[must_use = "a queue goes with its last handle"]
pub struct Queue<T, C = Serde, E: End = Both> {
    pub(super) port: Option<Port<T, C>>,
    pub(super) end: PhantomData<E>,
}

/// The sending end of a queue. When the last one is dropped, or its process dies, receivers hear of
/// it once they have received everything.
///
/// # Examples
///
/// ```
/// use multiproc::{Process, Queue, Sender};
///
/// fn count(mut numbers: Sender<u64>) {
///     for number in 0..4 {
///         numbers.send(number).unwrap();
///     }
/// }
///
/// let (sender, mut numbers) = Queue::channel(10)?;
/// let counters = [Process::spawn(count, sender.clone())?, Process::spawn(count, sender)?];
/// // Until both are done.
/// assert_eq!(numbers.iter().sum::<u64>(), 12);
/// for counter in counters {
///     counter.join()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Sender<T, C = Serde> = Queue<T, C, Sending>;

/// The receiving end of a queue. When the last one is dropped, or its process dies, senders hear of
/// it.
///
/// # Examples
///
/// ```
/// use multiproc::{Process, Queue, Receiver};
///
/// fn sum(mut numbers: Receiver<u64>) -> u64 {
///     numbers.iter().sum()
/// }
///
/// let (mut sender, numbers) = Queue::channel(10)?;
/// let workers = [Process::spawn(sum, numbers.clone())?, Process::spawn(sum, numbers)?];
/// sender.send_batch(&mut (0..100).collect())?;
/// drop(sender);
/// let [one, other] = workers;
/// assert_eq!(one.join()? + other.join()?, 4950);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Receiver<T, C = Serde> = Queue<T, C, Receiving>;

impl<T> Queue<T>
where
    Serde: Codec<T>,
{
    /// Makes a queue for `capacity` messages, 1 to [`QueueBuilder::CAPACITY_MAX`].
    ///
    /// See [`Queue::builder`] for everything else that can be chosen.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(2)?;
    /// queue.send("one".to_owned())?;
    /// queue.send("two".to_owned())?;
    /// assert!(queue.try_send("three".to_owned()).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the capacity is out of its range, or shared memory has run out.
    pub fn bounded(capacity: usize) -> Result<Self> {
        Queue::builder().bounded(capacity)
    }

    /// Makes a queue that grows until memory ends, and gives memory back when it is drained.
    ///
    /// How far it may grow can be [limited](QueueBuilder::memory).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::unbounded()?;
    /// queue.send_batch(&mut (0..10_000_u32).collect())?;
    /// assert_eq!((queue.len(), queue.capacity()), (10_000, None));
    /// assert_eq!(queue.recv()?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shared memory has run out.
    pub fn unbounded() -> Result<Self> {
        Queue::builder().unbounded()
    }

    /// Makes a queue for `capacity` messages, as its two ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let (mut sender, mut receiver) = Queue::channel(10)?;
    /// sender.send("hello".to_owned())?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), ["hello"]);
    /// assert!(receiver.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`bounded`](Self::bounded).
    pub fn channel(capacity: usize) -> Result<(Sender<T>, Receiver<T>)> {
        Queue::builder().channel(capacity)
    }
}

impl Queue<()> {
    /// Chooses how a queue is made.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut tasks = Queue::builder().joinable(true).redeliver(true).unbounded()?;
    /// tasks.send("sweep".to_owned())?;
    /// assert_eq!(tasks.recv()?, "sweep");
    /// tasks.task_done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> QueueBuilder {
        QueueBuilder::new()
    }
}

impl<T, C, E: End> Queue<T, C, E> {
    pub(super) fn new(port: Port<T, C>) -> Self {
        Self { port: Some(port), end: PhantomData }
    }

    /// The state of this handle. A clone for which there was no handle has none.
    #[inline]
    pub(super) fn port(&mut self) -> Result<&mut Port<T, C>, Cause> {
        self.port.as_mut().ok_or_else(|| no_handle().into())
    }

    pub(super) fn seen(&self) -> Result<&Port<T, C>> {
        self.port.as_ref().ok_or_else(no_handle)
    }

    /// Another handle of the same queue, with the same ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let mut queue = Queue::builder().handles(2).bounded(10)?;
    /// let mut other = queue.try_clone()?;
    /// queue.send(7)?;
    /// assert_eq!(other.recv()?, 7);
    /// assert_eq!(queue.try_clone().unwrap_err().kind(), ErrorKind::Limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the queue has as many handles as it was made for ([`QueueBuilder::handles`]).
    pub fn try_clone(&self) -> Result<Self> {
        let core = self.seen()?.core.another(ends_of::<E>())?;
        Ok(Self::new(Port::new(core)?))
    }

    /// Closes the queue for everybody, for good: nothing more is sent, and who has received what is
    /// there gets [`is_disconnected`](crate::RecvError::is_disconnected). All who wait are woken.
    /// Python's `close` is for its own process alone: that is to drop the handle.
    ///
    /// A [`send`](Queue::send) that happens at the same time is done, and its message received, or
    /// fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// let mut other = queue.clone();
    /// queue.send(7)?;
    /// queue.close();
    /// assert!(other.send(8).unwrap_err().is_disconnected());
    /// assert_eq!(other.recv()?, 7);
    /// assert!(other.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        if let Some(port) = &self.port {
            port.close();
        }
    }

    /// Whether the queue was closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let queue: Queue<u64> = Queue::bounded(10)?;
    /// let other = queue.clone();
    /// assert!(!other.is_closed());
    /// queue.close();
    /// assert!(other.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.port.as_ref().is_some_and(|port| port.core.flags() & CLOSED != 0)
    }

    /// How many messages wait in the queue. Exact while nobody else sends or receives; 0 of a queue
    /// that is damaged. What is in somebody's hands is not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// let other = queue.clone();
    /// queue.send_batch(&mut vec![1, 2])?;
    /// assert_eq!(other.len(), 2);
    /// let _in_hands = queue.recv_guard()?;
    /// assert_eq!(other.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.port.as_ref().map_or(0, Port::len)
    }

    /// Whether no message waits in the queue, as far as [`len`](Self::len) can tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// assert!(queue.is_empty());
    /// queue.send(7)?;
    /// assert!(!queue.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another message, as far as [`len`](Self::len) can tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(2)?;
    /// queue.send(1)?;
    /// assert!(!queue.is_full());
    /// queue.send(2)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|capacity| self.len() >= capacity)
    }

    /// How many messages fit; `None` of a queue that grows.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// assert_eq!(Queue::<u64>::bounded(10)?.capacity(), Some(10));
    /// assert_eq!(Queue::<u64>::unbounded()?.capacity(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let plan = self.port.as_ref()?.core.at.plan;
        (!plan.grows()).then_some(plan.shape.slots() as usize)
    }
}

impl<T, C, E: End> Clone for Queue<T, C, E> {
    /// Another handle of the same queue. Where there is none left, every use of it says so, and
    /// [`try_clone`](Self::try_clone) at once.
    fn clone(&self) -> Self {
        self.try_clone().unwrap_or(Self { port: None, end: PhantomData })
    }
}

#[cold]
pub(super) fn no_handle() -> Error {
    let what = "a clone of a queue that had no handle left: see QueueBuilder::handles";
    Error::new(ErrorKind::Limit, what)
}
