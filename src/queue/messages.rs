//! Messages sent to a queue and received from it, as values.

use std::time::Duration;

use crate::error::{RecvError, SendError, Way};
use crate::sys::clock::Deadline;
use crate::transfer::codec::Codec;

use super::ends::{CanReceive, CanSend, End};
use super::queue::Queue;

impl<T, C: Codec<T>, E: CanSend> Queue<T, C, E> {
    /// Sends a message, waiting while the queue is full.
    ///
    /// It is in the queue when this returns, and will be received even if this process dies at the
    /// next instruction.
    ///
    /// # Examples
    ///
    /// What cannot be sent any more comes back:
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// queue.send("first".to_owned())?;
    /// queue.close();
    /// let error = queue.send("second".to_owned()).unwrap_err();
    /// assert!(error.is_disconnected());
    /// assert_eq!(error.into_inner(), "second");
    /// assert_eq!(queue.recv()?, "first");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The value comes back if the queue is closed, nobody can receive from it any more, the value
    /// cannot be encoded, is too long or holds handles, or memory has run out.
    #[doc(alias = "put")]
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, Some(Deadline::NEVER))
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(1)?;
    /// queue.try_send(1)?;
    /// let error = queue.try_send(2).unwrap_err();
    /// assert!(error.is_full());
    /// assert_eq!(error.into_inner(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_full`](SendError::is_full) if there is no room.
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, None)
    }

    /// Sends a message, waiting at most `timeout` for room.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(1)?;
    /// queue.send(1)?;
    /// let error = queue.send_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert_eq!(queue.recv()?, 1);
    /// queue.send(error.into_inner())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`is_timeout`](SendError::is_timeout) if there was no room in time.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_until(value, Some(Deadline::after(timeout)))
    }

    /// Sends all of `batch` in order, waiting while the queue is full, and leaves it empty.
    ///
    /// Messages of others may come in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// let mut batch = vec![1, 2, 3];
    /// queue.send_batch(&mut batch)?;
    /// assert!(batch.is_empty());
    ///
    /// queue.close();
    /// batch.extend([4, 5]);
    /// assert!(queue.send_batch(&mut batch).unwrap_err().is_disconnected());
    /// assert_eq!(batch, [4, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send). What was not sent is still in `batch`, the first of it in front.
    pub fn send_batch(&mut self, batch: &mut Vec<T>) -> Result<(), SendError<()>> {
        let mut sent = 0;
        let result = self.port().and_then(|port| {
            batch.iter().try_for_each(|value| {
                port.send(value, Some(Deadline::NEVER))?;
                sent += 1;
                Ok(())
            })
        });
        batch.drain(..sent);
        result.map_err(|cause| SendError::new(Way::Queue, (), cause))
    }

    #[inline]
    fn send_until(&mut self, value: T, until: Option<Deadline>) -> Result<(), SendError<T>> {
        match self.port().and_then(|port| port.send(&value, until)) {
            Ok(()) => Ok(()),
            Err(cause) => Err(SendError::new(Way::Queue, value, cause)),
        }
    }
}

impl<T, C: Codec<T>, E: CanReceive> Queue<T, C, E> {
    /// Receives the oldest message, waiting until there is one.
    ///
    /// A handle with both ends is itself one that can send. So whoever receives by a `Queue` hears
    /// the end only when the queue is [closed](Self::close); by a [`Receiver`](crate::Receiver),
    /// also when the last sender is gone.
    ///
    /// # Examples
    ///
    /// What was sent before the last sender was dropped is still received:
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let (mut sender, mut receiver) = Queue::channel(10)?;
    /// sender.send(7)?;
    /// drop(sender);
    /// assert_eq!(receiver.recv()?, 7);
    /// assert!(receiver.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_disconnected`](RecvError::is_disconnected) when everything was received and the queue
    /// is closed, or nobody can send to it any more. An error of another kind if the bytes are not
    /// those of a `T`; that message is used up, the next one is not affected.
    #[doc(alias = "get")]
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Some(Deadline::NEVER))
    }

    /// Receives the oldest message if there is one now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// assert!(queue.try_recv().unwrap_err().is_empty());
    /// queue.send(7)?;
    /// assert_eq!(queue.try_recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`is_empty`](RecvError::is_empty) if there is none.
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(None)
    }

    /// Receives the oldest message, waiting at most `timeout` for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// assert!(queue.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// queue.send(7)?;
    /// assert_eq!(queue.recv_timeout(Duration::from_millis(1))?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`is_timeout`](RecvError::is_timeout) if none came in time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(Some(Deadline::after(timeout)))
    }

    /// Receives at least one message and at most `most`, appending them to `batch`; says how many.
    ///
    /// Waits for the first, and takes with it what is there by then. If `most` is 0, there is
    /// nothing to wait for.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// queue.send_batch(&mut vec![1, 2, 3])?;
    /// let mut batch = Vec::new();
    /// assert_eq!(queue.recv_batch(&mut batch, 2)?, 2);
    /// assert_eq!(queue.recv_batch(&mut batch, 2)?, 1);
    /// assert_eq!(batch, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), if there is not even one. An error behind the first message is
    /// reported by the next call.
    pub fn recv_batch(&mut self, batch: &mut Vec<T>, most: usize) -> Result<usize, RecvError> {
        self.port()
            .and_then(|port| port.receive_batch(batch, most, Some(Deadline::NEVER)))
            .map_err(|cause| RecvError::new(Way::Queue, cause))
    }

    /// Iterates over the messages until the end, or until something else goes wrong. What the end
    /// is of a handle with both ends, see [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// queue.send_batch(&mut vec![1, 2, 3])?;
    /// queue.close();
    /// assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> QueueIter<'_, T, C, E> {
        QueueIter { queue: self, is_waiting: true }
    }

    /// Iterates over the messages that are there now, without waiting for others.
    ///
    /// # Examples
    ///
    /// The queue is open, and yet this ends:
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// queue.send_batch(&mut vec![1, 2, 3])?;
    /// assert_eq!(queue.drain().collect::<Vec<_>>(), [1, 2, 3]);
    /// queue.send(4)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) -> QueueIter<'_, T, C, E> {
        QueueIter { queue: self, is_waiting: false }
    }

    #[inline]
    fn recv_until(&mut self, until: Option<Deadline>) -> Result<T, RecvError> {
        // Not by adapters: each of them copies the value once more.
        let cause = match self.port() {
            Ok(port) => match port.receive(until) {
                Ok(value) => return Ok(value),
                Err(cause) => cause,
            },
            Err(cause) => cause,
        };
        Err(RecvError::new(Way::Queue, cause))
    }
}

impl<'a, T, C: Codec<T>, E: CanReceive> IntoIterator for &'a mut Queue<T, C, E> {
    type Item = T;
    type IntoIter = QueueIter<'a, T, C, E>;

    /// As [`iter`](Queue::iter).
    fn into_iter(self) -> QueueIter<'a, T, C, E> {
        self.iter()
    }
}

/// The messages of a queue, one after the other. Made by [`Queue::iter`] and [`Queue::drain`].
///
/// # Examples
///
/// ```
/// use multiproc::Queue;
///
/// let mut queue = Queue::bounded(10)?;
/// queue.send_batch(&mut vec![1, 2, 3])?;
/// queue.close();
/// let mut sum = 0;
/// for number in &mut queue {
///     sum += number;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is received before `next`"]
pub struct QueueIter<'a, T, C, E: End> {
    queue: &'a mut Queue<T, C, E>,
    is_waiting: bool,
}

impl<T, C: Codec<T>, E: CanReceive> Iterator for QueueIter<'_, T, C, E> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.is_waiting { self.queue.recv().ok() } else { self.queue.try_recv().ok() }
    }
}
