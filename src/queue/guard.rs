//! Messages read where they lie.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use bytemuck::Pod;

use crate::error::{RecvError, Way};
use crate::raw::Corrupt;
use crate::sys::clock::Deadline;
use crate::transfer;
use crate::transfer::codec::{Codec, Plain};

use super::body::Body;
use super::ends::CanReceive;
use super::port::Port;
use super::queue::Queue;

impl<T, C: Codec<T>, E: CanReceive> Queue<T, C, E> {
    /// Receives the oldest message and leaves it where it is, waiting until there is one.
    ///
    /// The message is this handle's, and in its hands, until the guard is dropped: should the
    /// process die before that, it is lost and counted, or delivered again.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(3)?;
    /// queue.send("hello".to_owned())?;
    /// let message = queue.recv_guard()?;
    /// assert_eq!(message.get()?, "hello");
    /// // Should this process be killed here, the message can be delivered to another one.
    /// drop(message);
    /// assert_eq!(queue.stats().received, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Queue::recv).
    pub fn recv_guard(&mut self) -> Result<Received<'_, T, C>, RecvError> {
        self.guard_until(Some(Deadline::NEVER))
    }

    /// As [`recv_guard`](Self::recv_guard), if there is a message now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(3)?;
    /// assert!(queue.try_recv_guard().unwrap_err().is_empty());
    /// queue.send("hello".to_owned())?;
    /// assert_eq!(queue.try_recv_guard()?.get()?, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_recv`](Queue::try_recv).
    pub fn try_recv_guard(&mut self) -> Result<Received<'_, T, C>, RecvError> {
        self.guard_until(None)
    }

    /// As [`recv_guard`](Self::recv_guard), waiting at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Queue;
    ///
    /// let mut queue: Queue<String> = Queue::bounded(3)?;
    /// assert!(queue.recv_guard_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// queue.close();
    /// assert!(queue.recv_guard_timeout(Duration::MAX).unwrap_err().is_disconnected());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_timeout`](Queue::recv_timeout).
    pub fn recv_guard_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Received<'_, T, C>, RecvError> {
        self.guard_until(Some(Deadline::after(timeout)))
    }

    fn guard_until(&mut self, until: Option<Deadline>) -> Result<Received<'_, T, C>, RecvError> {
        let held = self.port().and_then(|port| {
            port.hold(until)?;
            Ok(port)
        });
        let port = held.map_err(|cause| RecvError::new(Way::Queue, cause))?;
        let body = match port.body() {
            Ok(body) if C::SHAPE.is_plain() => body.of_value::<T>().ok_or_else(|| Corrupt.into()),
            body => body,
        };
        match body {
            Ok(body) => {
                port.is_guarded = port.core.at.plan.flags.redelivers;
                Ok(Received { port, body })
            }
            Err(cause) => {
                port.release();
                Err(RecvError::new(Way::Queue, cause))
            }
        }
    }
}

/// A message that was received and lies where it was written. Dropped, it is done with.
///
/// # Examples
///
/// A plain message is seen where it lies, without being copied:
///
/// ```
/// use multiproc::{Plain, Queue};
///
/// let mut frames = Queue::builder().codec::<Plain>().bounded::<[u8; 4096]>(3)?;
/// frames.send([7; 4096])?;
/// let frame = frames.recv_guard()?;
/// assert!(frame.iter().all(|pixel| *pixel == 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, the message is gone"]
pub struct Received<'a, T, C> {
    port: &'a mut Port<T, C>,
    body: Body,
}

impl<T, C: Codec<T>> Received<'_, T, C> {
    /// The bytes of the message, in place.
    ///
    /// A sender that goes on writing to what it has sent can change them meanwhile; no sender of
    /// this crate does.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(3)?;
    /// queue.send(300_u64)?;
    /// // As its codec has encoded it.
    /// assert_eq!(queue.recv_guard()?.bytes(), [0xac, 0x02]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.body.bytes()
    }

    /// The message, decoded.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{ErrorKind, Queue};
    ///
    /// let mut words: Queue<String> = Queue::bounded(3)?;
    /// words.send("hello".to_owned())?;
    /// assert_eq!(words.recv_guard()?.get()?, "hello");
    ///
    /// words.send_bytes(b"\x01\xff")?;
    /// let error = words.recv_guard()?.get().unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Codec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If its bytes are not those of a `T`.
    pub fn get(&self) -> Result<T, RecvError> {
        // Copied first: what is checked while it is decoded must not change meanwhile.
        let bytes = self.body.bytes().to_vec();
        transfer::decode::<T, C>(&bytes, None)
            .map_err(|error| RecvError::new(Way::Queue, error.into()))
    }
}

impl<T: Pod> Deref for Received<'_, T, Plain> {
    type Target = T;

    /// The message, in place.
    fn deref(&self) -> &T {
        bytemuck::from_bytes(self.body.bytes())
    }
}

impl<T, C> Drop for Received<'_, T, C> {
    fn drop(&mut self) {
        // A fork in between has made two guards of one; the message is in the parent's hands.
        if self.port.core.is_valid() {
            self.port.is_guarded = false;
            self.port.release();
        }
    }
}

impl<T, C> fmt::Debug for Received<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").finish_non_exhaustive()
    }
}
