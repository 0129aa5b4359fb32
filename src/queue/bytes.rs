//! Messages as bytes: sent without a `T`, received without decoding one.

use std::time::Duration;

use crate::error::{RecvError, SendError, Way};
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, Framed};

use super::ends::{CanReceive, CanSend};
use super::queue::Queue;

impl<T, C: Codec<T> + Framed, E: CanSend> Queue<T, C, E> {
    /// Sends bytes as one message if there is room for them now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue: Queue<()> = Queue::bounded(1)?;
    /// queue.try_send_bytes(b"hello")?;
    /// assert!(queue.try_send_bytes(b"world").unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, None)
    }

    /// Sends bytes as one message, waiting at most `timeout` for room.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// # use std::time::Duration;
    /// let mut queue: Queue<()> = Queue::bounded(1)?;
    /// queue.send_bytes(b"hello")?;
    /// let unsent = queue.send_bytes_timeout(b"world", Duration::from_millis(1));
    /// assert!(unsent.unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_bytes_timeout(
        &mut self,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), SendError<()>> {
        self.send_bytes_until(bytes, Some(Deadline::after(timeout)))
    }

    pub(super) fn send_bytes_until(
        &mut self,
        bytes: &[u8],
        until: Option<Deadline>,
    ) -> Result<(), SendError<()>> {
        self.port()
            .and_then(|port| port.send_bytes(bytes, until))
            .map_err(|cause| SendError::new(Way::Queue, (), cause))
    }
}

impl<T, C: Codec<T> + Framed, E: CanReceive> Queue<T, C, E> {
    /// Receives the oldest message as bytes, waiting until there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// queue.send_bytes(b"hello")?;
    /// assert_eq!(queue.recv_bytes()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`is_disconnected`](RecvError::is_disconnected) at the end, as [`recv`](Self::recv).
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Some(Deadline::NEVER))
    }

    /// Receives the oldest message as bytes if there is one now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// assert!(queue.try_recv_bytes().unwrap_err().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(None)
    }

    /// Receives the oldest message as bytes, waiting at most `timeout` for one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Queue;
    /// # use std::time::Duration;
    /// let mut queue: Queue<()> = Queue::bounded(3)?;
    /// assert!(queue.recv_bytes_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_until(Some(Deadline::after(timeout)))
    }

    fn recv_bytes_until(&mut self, until: Option<Deadline>) -> Result<Vec<u8>, RecvError> {
        self.port()
            .and_then(|port| port.receive_bytes(until))
            .map_err(|cause| RecvError::new(Way::Queue, cause))
    }
}
