//! Messages built where they will be read.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use crate::error::{SendError, Way};
use crate::raw::Corrupt;
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, Framed, Plain};

use super::body::Body;
use super::core::forked;
use super::ends::CanSend;
use super::port::Port;
use super::queue::Queue;

impl<T, C: Codec<T> + Framed, E: CanSend> Queue<T, C, E> {
    /// Sends bytes as one message, waiting while the queue is full.
    ///
    /// They must be received as bytes: they are not those of a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// queue.send_bytes(b"hello")?;
    /// assert_eq!(queue.recv_guard()?.bytes(), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Queue::send).
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, Some(Deadline::NEVER))
    }

    /// Room for a message of `length` bytes, to be written where it will be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// let mut message = queue.reserve(5)?;
    /// message.copy_from_slice(b"hello");
    /// message.send()?;
    /// assert_eq!(queue.recv_guard()?.bytes(), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Queue::send), but for a full queue: that is waited for when it is sent.
    pub fn reserve(&mut self, length: usize) -> Result<QueueSlot<'_, T, C>, SendError<()>> {
        self.draft_until(length, Some(Deadline::NEVER))
    }

    /// As [`reserve`](Self::reserve), if there is memory for a long message now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue: Queue<()> = Queue::bounded(1)?;
    /// queue.try_reserve(5)?.try_send()?;
    /// assert!(queue.try_reserve(5)?.try_send().unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`is_full`](SendError::is_full) if there is none.
    pub fn try_reserve(&mut self, length: usize) -> Result<QueueSlot<'_, T, C>, SendError<()>> {
        self.draft_until(length, None)
    }

    /// As [`reserve`](Self::reserve), waiting at most `timeout` for the memory of a long message.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// # use std::time::Duration;
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// queue.reserve_timeout(5, Duration::from_secs(1))?.send()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); [`is_timeout`](SendError::is_timeout) if there was none.
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<QueueSlot<'_, T, C>, SendError<()>> {
        self.draft_until(length, Some(Deadline::after(timeout)))
    }
}

impl<T: Pod, E: CanSend> Queue<T, Plain, E> {
    /// Room for a message, to be written where it will be read. What is there now is of no meaning.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Plain, Queue};
    ///
    /// let mut queue = Queue::builder().codec::<Plain>().bounded::<[u64; 100]>(3)?;
    /// let mut message = queue.slot()?;
    /// message.fill(7);
    /// message.send()?;
    /// assert_eq!(queue.recv_guard()?.iter().sum::<u64>(), 700);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve`](Queue::reserve).
    pub fn slot(&mut self) -> Result<QueueSlot<'_, T, Plain>, SendError<()>> {
        self.draft_until(size_of::<T>(), Some(Deadline::NEVER))
    }

    /// As [`slot`](Self::slot), if there is memory for a long message now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue = Queue::builder().codec().bounded::<[u64; 100]>(3)?;
    /// queue.try_slot()?.fill(7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_reserve`](Queue::try_reserve).
    pub fn try_slot(&mut self) -> Result<QueueSlot<'_, T, Plain>, SendError<()>> {
        self.draft_until(size_of::<T>(), None)
    }

    /// As [`slot`](Self::slot), waiting at most `timeout` for the memory of a long message.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// # use std::time::Duration;
    /// let mut queue = Queue::builder().codec().bounded::<[u64; 100]>(3)?;
    /// queue.slot_timeout(Duration::from_secs(1))?.fill(7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`reserve_timeout`](Queue::reserve_timeout).
    pub fn slot_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<QueueSlot<'_, T, Plain>, SendError<()>> {
        self.draft_until(size_of::<T>(), Some(Deadline::after(timeout)))
    }
}

impl<T, C: Codec<T>, E: CanSend> Queue<T, C, E> {
    fn draft_until(
        &mut self,
        length: usize,
        until: Option<Deadline>,
    ) -> Result<QueueSlot<'_, T, C>, SendError<()>> {
        let drafted = self.port().and_then(|port| {
            let body = port.draft(length, until)?;
            let is_value = !C::SHAPE.is_plain() || body.of_value::<T>().is_some();
            if is_value { Ok((port, body)) } else { Err(Corrupt.into()) }
        });
        match drafted {
            Ok((port, body)) => Ok(QueueSlot { port, body }),
            Err(cause) => Err(SendError::new(Way::Queue, (), cause)),
        }
    }
}

/// Room for a message that is being written. Dropped, it sends nothing.
///
/// # Examples
///
/// ```
/// use multiproc::Queue;
///
/// let mut queue: Queue<()> = Queue::bounded(3)?;
/// let mut message = queue.reserve(5)?;
/// message.copy_from_slice(b"hello");
/// drop(message);
/// assert!(queue.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is sent before `send`"]
pub struct QueueSlot<'a, T, C> {
    port: &'a mut Port<T, C>,
    body: Body,
}

impl<T, C: Codec<T>> QueueSlot<'_, T, C> {
    /// Sends it, waiting while the queue is full.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let (mut sender, receiver) = Queue::<()>::channel(3)?;
    /// let message = sender.reserve(5)?;
    /// drop(receiver);
    /// assert!(message.send().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the queue is closed, or nobody can receive from it any more.
    pub fn send(self) -> Result<(), SendError<()>> {
        self.send_until(Some(Deadline::NEVER))
    }

    /// Sends it if there is room in the queue now. If not, what was written is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue: Queue<()> = Queue::bounded(1)?;
    /// queue.reserve(5)?.try_send()?;
    /// assert!(queue.reserve(5)?.try_send().unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_full`](SendError::is_full) if there is no room.
    pub fn try_send(self) -> Result<(), SendError<()>> {
        self.send_until(None)
    }

    /// Sends it, waiting at most `timeout` for room. If there is none, what was written is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// # use std::time::Duration;
    /// let mut queue: Queue<()> = Queue::bounded(1)?;
    /// queue.reserve(5)?.send_timeout(Duration::from_secs(1))?;
    /// assert!(queue.reserve(5)?.send_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_timeout`](SendError::is_timeout) if there was no room in time.
    pub fn send_timeout(self, timeout: Duration) -> Result<(), SendError<()>> {
        self.send_until(Some(Deadline::after(timeout)))
    }

    fn send_until(self, until: Option<Deadline>) -> Result<(), SendError<()>> {
        let port = &mut *self.port;
        let length = self.body.length();
        // What was written is in the parent's hands.
        let is_ours = if port.core.is_valid() { Ok(()) } else { Err(forked().into()) };
        is_ours
            .and_then(|()| port.core.check_open())
            .and_then(|()| port.commit(length, until))
            .map_err(|cause| SendError::new(Way::Queue, (), cause))
    }
}

impl<T, C: Framed> Deref for QueueSlot<'_, T, C> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.body.bytes()
    }
}

impl<T, C: Framed> DerefMut for QueueSlot<'_, T, C> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.body.bytes_mut()
    }
}

impl<T: Pod> Deref for QueueSlot<'_, T, Plain> {
    type Target = T;

    fn deref(&self) -> &T {
        bytemuck::from_bytes(self.body.bytes())
    }
}

impl<T: Pod> DerefMut for QueueSlot<'_, T, Plain> {
    fn deref_mut(&mut self) -> &mut T {
        bytemuck::from_bytes_mut(self.body.bytes_mut())
    }
}

impl<T, C> Drop for QueueSlot<'_, T, C> {
    fn drop(&mut self) {
        // As in `Received`.
        if self.port.core.is_valid() {
            self.port.discard_draft();
        }
    }
}

impl<T, C> fmt::Debug for QueueSlot<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSlot").field("length", &self.body.length()).finish()
    }
}
