//! What a handle may do: both ends, or one of them.

use crate::error::Result;
use crate::raw::swap::handle::Ends;

use super::port::Port;
use super::queue::{Queue, Receiver, Sender};

/// The ends of this type of handle.
pub(super) fn ends_of<E: End>() -> Ends {
    match E::HAS {
        (true, true) => Ends::BOTH,
        (true, false) => Ends::SENDER,
        (false, true) => Ends::RECEIVER,
        (false, false) => Ends::NONE,
    }
}

mod sealed {
    pub trait Sealed {
        /// Whether there is a sending end, and a receiving one.
        const HAS: (bool, bool);
    }
}

use sealed::Sealed;

/// Which ends of a queue a handle has: [`Both`], [`Sending`] or [`Receiving`].
///
/// # Examples
/// A function for handles of all three kinds:
/// ```
/// use multiproc::{End, Queue, Serde};
///
/// fn load<E: End>(jobs: &Queue<String, Serde, E>) -> Option<f64> {
///     Some(jobs.len() as f64 / jobs.capacity()? as f64)
/// }
///
/// let (mut sender, receiver) = Queue::channel(4)?;
/// sender.send("sweep".to_owned())?;
/// assert_eq!((load(&sender), load(&receiver)), (Some(0.25), Some(0.25)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait End: Sealed {}

/// Handles that can send.
///
/// # Examples
/// ```
/// use multiproc::{CanSend, Queue, Serde};
///
/// fn log<E: CanSend>(lines: &mut Queue<String, Serde, E>, line: &str) {
///     // Rather lose a line than wait.
///     let _ = lines.try_send(line.to_owned());
/// }
///
/// let mut both = Queue::bounded(4)?;
/// let mut sender = both.sender()?;
/// log(&mut both, "started");
/// log(&mut sender, "ready");
/// assert_eq!(both.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CanSend: End {}

/// Handles that can receive.
///
/// # Examples
/// ```
/// use multiproc::{CanReceive, Queue, Serde};
///
/// fn newest<E: CanReceive>(readings: &mut Queue<f64, Serde, E>) -> Option<f64> {
///     readings.drain().last()
/// }
///
/// let (mut sender, mut receiver) = Queue::channel(4)?;
/// assert_eq!(newest(&mut receiver), None);
/// sender.send_batch(&mut vec![0.5, 1.5])?;
/// assert_eq!(newest(&mut receiver), Some(1.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CanReceive: End {}

/// Both ends: a [`Queue`](crate::Queue).
///
/// # Examples
/// ```
/// use multiproc::{Both, Queue, Serde};
///
/// let mut queue: Queue<u64, Serde, Both> = Queue::bounded(4)?;
/// queue.send(7)?;
/// assert_eq!(queue.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Both {}

/// The sending end alone: a [`Sender`](crate::Sender).
///
/// # Examples
/// What has only this end cannot receive:
/// ```compile_fail,E0599
/// let (mut sender, _receiver) = multiproc::Queue::<u64>::channel(4)?;
/// sender.recv();
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Sending {}

/// The receiving end alone: a [`Receiver`](crate::Receiver).
///
/// # Examples
/// What has only this end cannot send:
/// ```compile_fail,E0599
/// let (_sender, mut receiver) = multiproc::Queue::<u64>::channel(4)?;
/// receiver.send(7);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Receiving {}

impl Sealed for Both {
    const HAS: (bool, bool) = (true, true);
}
impl Sealed for Sending {
    const HAS: (bool, bool) = (true, false);
}
impl Sealed for Receiving {
    const HAS: (bool, bool) = (false, true);
}
impl End for Both {}
impl End for Sending {}
impl End for Receiving {}
impl CanSend for Both {}
impl CanSend for Sending {}
impl CanReceive for Both {}
impl CanReceive for Receiving {}

impl<T, C, E: CanSend> Queue<T, C, E> {
    /// A sending end of the same queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// let mut sender = queue.sender()?;
    /// sender.send(7)?;
    /// assert_eq!(queue.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_clone`](Self::try_clone).
    pub fn sender(&self) -> Result<Sender<T, C>> {
        let core = self.seen()?.core.another(ends_of::<Sending>())?;
        Ok(Queue::new(Port::new(core)?))
    }
}

impl<T, C, E: CanReceive> Queue<T, C, E> {
    /// A receiving end of the same queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut queue = Queue::bounded(10)?;
    /// let mut receiver = queue.receiver()?;
    /// queue.send(7)?;
    /// // It ends when nobody can send any more.
    /// drop(queue);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_clone`](Self::try_clone).
    pub fn receiver(&self) -> Result<Receiver<T, C>> {
        let core = self.seen()?.core.another(ends_of::<Receiving>())?;
        Ok(Queue::new(Port::new(core)?))
    }
}
