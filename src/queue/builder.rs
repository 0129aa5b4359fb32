//! What can be chosen about a queue.

use std::marker::PhantomData;

use crate::error::Result;
use crate::raw::queue::{BLOCK_HEAD, STRIDE_MAX};
use crate::raw::swap::handle::Ends;
use crate::raw::swap::{HANDLES_MAX, SLOTS_MAX};
use crate::raw::wait::Fence;
use crate::segment::Site;
use crate::transfer::codec::{Codec, Serde};

use super::core::Core;
use super::ends::{Receiving, Sending, ends_of};
use super::port::Port;
use super::queue::{Queue, Receiver, Sender};

/// Chooses how a queue is made. Made by [`Queue::builder`].
///
/// # Examples
///
/// ```
/// use multiproc::{Plain, Queue};
///
/// let mut queue = Queue::builder().codec::<Plain>().bounded::<u64>(3)?;
/// queue.send(7)?;
/// assert_eq!((queue.len(), queue.capacity()), (1, Some(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing by itself"]
pub struct QueueBuilder<C = Serde> {
    pub(super) handles: usize,
    pub(super) inline: Option<usize>,
    pub(super) memory: usize,
    pub(super) retained: usize,
    pub(super) redelivers: bool,
    pub(super) counts_tasks: bool,
    pub(super) is_fenced: bool,
    codec: PhantomData<fn() -> C>,
}

/// How many handles a queue has unless told otherwise.
const HANDLES_DEFAULT: usize = 64;

/// The address space for messages that do not lie in the ring, unless told otherwise: 64 GiB.
const MEMORY_DEFAULT: usize = 64 << 30;

/// What of that stays taken when it is free, unless told otherwise.
const RETAINED_DEFAULT: usize = 16 << 20;

impl QueueBuilder {
    /// The most messages that a bounded queue can be made for.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Queue, QueueBuilder};
    ///
    /// assert!(Queue::<u8>::bounded(QueueBuilder::CAPACITY_MAX + 1).is_err());
    /// ```
    pub const CAPACITY_MAX: usize = SLOTS_MAX as usize;

    /// The most handles that a queue can be made for.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Queue, QueueBuilder};
    ///
    /// let builder = Queue::builder().handles(QueueBuilder::HANDLES_MAX);
    /// assert!(builder.bounded::<u8>(1).is_ok());
    /// ```
    pub const HANDLES_MAX: usize = HANDLES_MAX as usize;

    /// The longest framed messages that can lie in the ring itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Queue, QueueBuilder};
    ///
    /// let builder = Queue::builder().inline_bytes(QueueBuilder::INLINE_MAX + 1);
    /// assert!(builder.bounded::<String>(1).is_err());
    /// ```
    pub const INLINE_MAX: usize = (STRIDE_MAX - BLOCK_HEAD) as usize;

    pub(super) fn new() -> Self {
        Self {
            handles: HANDLES_DEFAULT,
            inline: None,
            memory: MEMORY_DEFAULT,
            retained: RETAINED_DEFAULT,
            redelivers: false,
            counts_tasks: false,
            is_fenced: false,
            codec: PhantomData,
        }
    }
}

impl<C> QueueBuilder<C> {
    /// Messages are encoded by `D`: [`Serde`], [`Plain`](crate::Plain) or your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Plain, Queue};
    ///
    /// let mut points = Queue::builder().codec::<Plain>().bounded::<[f32; 2]>(10)?;
    /// points.send([0.5, 1.5])?;
    /// assert_eq!(points.recv()?, [0.5, 1.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec<D>(self) -> QueueBuilder<D> {
        QueueBuilder {
            handles: self.handles,
            inline: self.inline,
            memory: self.memory,
            retained: self.retained,
            redelivers: self.redelivers,
            counts_tasks: self.counts_tasks,
            is_fenced: self.is_fenced,
            codec: PhantomData,
        }
    }

    /// How many handles there can be at once, in all processes and on their way to one: 1 to
    /// [`HANDLES_MAX`](QueueBuilder::HANDLES_MAX), 64 unless told otherwise. Each has the memory of
    /// one message.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let queue = Queue::builder().handles(2).bounded::<u64>(10)?;
    /// let other = queue.try_clone()?;
    /// assert_eq!(queue.try_clone().unwrap_err().kind(), ErrorKind::Limit);
    /// drop(other);
    /// assert!(queue.try_clone().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handles(mut self, count: usize) -> Self {
        self.handles = count;
        self
    }

    /// How many bytes of a framed message lie in the ring itself, at most
    /// [`INLINE_MAX`](QueueBuilder::INLINE_MAX). Longer ones are stored beside it, which costs some
    /// 100 ns and whole pages.
    ///
    /// # Examples
    ///
    /// For reports of about 2 kB, none of which need be stored beside the ring:
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut reports = Queue::builder().inline_bytes(2048).bounded::<String>(10)?;
    /// reports.send("x".repeat(2000))?;
    /// assert_eq!(reports.recv()?.len(), 2000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inline_bytes(mut self, bytes: usize) -> Self {
        self.inline = Some(bytes);
        self
    }

    /// How many bytes there can be beside the first ring, 64 GiB unless told otherwise: for long
    /// messages, and for what a queue that grows grows by. It is address space: memory is taken for
    /// what is there, and given back when it is gone, but for what is
    /// [`retained`](Self::retained). Who sends more waits for room, as on a full queue.
    ///
    /// What a queue has grown by stays its own, empty, so leave room beside it for long messages.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::builder().memory(1 << 20).bounded::<String>(10)?;
    /// queue.try_send("x".repeat(600_000))?;
    /// // There are free places, but there is no memory for another one so long.
    /// assert!(queue.try_send("x".repeat(600_000)).unwrap_err().is_full());
    /// queue.try_send("short".to_owned())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// How many of the bytes beside the first ring keep their memory while there is no message in
    /// them: 16 MiB unless told otherwise, and at most what the queue ever had at once. What is
    /// longer or deeper than that costs system calls, and has to be cleared by the kernel anew
    /// each time: where messages of tens of megabytes come all the time, retain the bytes of
    /// those that are there at once. 0 gives back all that it can.
    ///
    /// # Examples
    ///
    /// Frames of 33 MB, of which two are there at once:
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// const FRAME: usize = 3840 * 2160 * 4;
    ///
    /// let mut frames = Queue::builder().retained(2 * FRAME).bounded::<()>(2)?;
    /// frames.reserve(FRAME)?.send()?;
    /// assert_eq!(frames.recv_guard()?.bytes().len(), FRAME);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retained(mut self, bytes: usize) -> Self {
        self.retained = bytes;
        self
    }

    /// Delivers to another receiver what a process had in its hands when it died, rather than
    /// counting it as lost. See [`Queue::recv_guard`] for how long that is.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Process, Queue};
    ///
    /// fn crash(mut jobs: Queue<String>) {
    ///     let _job = jobs.recv_guard().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let mut jobs = Queue::builder().redeliver(true).bounded(10)?;
    /// jobs.send("sweep".to_owned())?;
    /// Process::spawn(crash, jobs.clone())?.join().unwrap_err();
    /// assert_eq!(jobs.recv()?, "sweep");
    /// assert_eq!(jobs.stats().redelivered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redeliver(mut self, does: bool) -> Self {
        self.redelivers = does;
        self
    }

    /// Lets receivers say when they are done with a message, and others wait for that. See
    /// [`Queue::task_done`] and [`Queue::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut tasks = Queue::builder().joinable(true).bounded::<u32>(10)?;
    /// tasks.send(7)?;
    /// assert_eq!(tasks.recv()?, 7);
    /// tasks.task_done()?;
    /// tasks.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "JoinableQueue")]
    pub fn joinable(mut self, is: bool) -> Self {
        self.counts_tasks = is;
        self
    }

    /// Makes every publication of this process fence for itself, as where `membarrier` is denied.
    /// Slower; chosen without being asked where it is needed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::builder().fenced(true).bounded::<u64>(10)?;
    /// queue.send(7)?;
    /// assert_eq!(queue.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fenced(mut self, is_fenced: bool) -> Self {
        self.is_fenced = is_fenced;
        self
    }

    /// Makes a queue for `capacity` messages. See [`Queue::bounded`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let mut queue = Queue::builder().handles(8).bounded::<String>(1)?;
    /// queue.send("hello".to_owned())?;
    /// assert!(queue.is_full());
    ///
    /// let error = Queue::builder().bounded::<String>(0).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If a number is out of its range, or shared memory has run out.
    pub fn bounded<T>(self, capacity: usize) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        self.make(Some(capacity))
    }

    /// Makes a queue that grows. See [`Queue::unbounded`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Plain, Queue};
    ///
    /// let mut numbers = Queue::builder().codec::<Plain>().unbounded::<u64>()?;
    /// numbers.send_batch(&mut (0..10_000).collect())?;
    /// assert_eq!(numbers.iter().take(10_000).sum::<u64>(), 49_995_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If a number is out of its range, or shared memory has run out.
    pub fn unbounded<T>(self) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        self.make(None)
    }

    /// Makes a queue for `capacity` messages, as its two ends. See [`Queue::channel`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Plain, Queue};
    ///
    /// let (mut sender, mut receiver) = Queue::builder().codec::<Plain>().channel::<u64>(10)?;
    /// sender.send_batch(&mut vec![1, 2, 3])?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().sum::<u64>(), 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`bounded`](Self::bounded).
    #[allow(clippy::type_complexity, reason = "the pair is what it is")]
    pub fn channel<T>(self, capacity: usize) -> Result<(Sender<T, C>, Receiver<T, C>)>
    where
        C: Codec<T>,
    {
        let plan = self.any_plan::<T>(Some(capacity), false)?;
        let core = Core::make(&Site::Anywhere, plan, ends_of::<Sending>(), self.fence())?;
        let receiving = Core::attach(core.shared().clone(), ends_of::<Receiving>(), self.fence())?;
        Ok((Queue::new(Port::new(core)?), Queue::new(Port::new(receiving)?)))
    }

    fn make<T>(&self, capacity: Option<usize>) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        let plan = self.any_plan::<T>(capacity, false)?;
        let core = Core::make(&Site::Anywhere, plan, Ends::BOTH, self.fence())?;
        Ok(Queue::new(Port::new(core)?))
    }

    pub(super) fn fence(&self) -> Fence {
        if self.is_fenced { Fence::Full } else { Fence::best() }
    }
}
