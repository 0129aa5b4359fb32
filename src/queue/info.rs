//! What a queue says about itself, without stopping anybody.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::raw::queue::{Pages, Store};
use crate::raw::swap::handle::{self, Ends, HandleTable, State};

use super::core::CLOSED;
use super::ends::End;
use super::port::Port;
use super::queue::Queue;

/// What has become of the messages of a queue so far. Exact while nobody acts.
///
/// # Examples
/// ```
/// use multiproc::Queue;
///
/// let mut queue = Queue::bounded(10)?;
/// queue.send_batch(&mut vec![1, 2, 3])?;
/// queue.recv()?;
/// let stats = queue.stats();
/// assert_eq!((stats.sent, stats.received, stats.in_flight), (3, 1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// How many were sent.
    pub sent: u64,
    /// How many were received, and let go of.
    pub received: u64,
    /// How many are in the queue or in somebody's hands.
    pub in_flight: u64,
    /// How many were lost because their receiver died with them in its hands.
    pub lost: u64,
    /// How many were delivered to another receiver because the first one died.
    pub redelivered: u64,
}

/// A queue as it is now, for people who look.
///
/// # Examples
/// ```
/// use multiproc::Queue;
///
/// let mut queue = Queue::bounded(10)?;
/// queue.send(7)?;
/// queue.close();
/// let info = queue.info();
/// assert_eq!((info.depth, info.capacity), (1, Some(10)));
/// assert!(info.is_closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// How many messages wait.
    pub depth: usize,
    /// How many fit, if it does not grow.
    pub capacity: Option<usize>,
    /// Whether it was closed.
    pub is_closed: bool,
    /// What has become of the messages.
    pub stats: QueueStats,
    /// Everybody who has a handle.
    pub handles: Vec<HandleInfo>,
}

/// One handle of a queue.
///
/// # Examples
/// ```
/// use multiproc::Queue;
///
/// let (sender, _receiver) = Queue::<u64>::channel(10)?;
/// let handles = sender.info().handles;
/// assert!(handles.iter().all(|handle| handle.pid == std::process::id()));
/// assert_eq!(handles.iter().filter(|handle| handle.sends).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HandleInfo {
    /// Which participant of the segment has it.
    pub participant: u32,
    /// The process id of the participant, as it sees itself. 0 if that is no process: of a handle
    /// in a message on its way, of the one that a named queue's name has, and of an orphan.
    pub pid: u32,
    /// Whether it can send.
    pub sends: bool,
    /// Whether it can receive.
    pub receives: bool,
    /// Whether it has a message in its hands.
    pub holds_message: bool,
    /// Whether it sleeps until there is a message, or room for one.
    pub is_asleep: bool,
    /// Whether its process died, and what it held waits for another receiver.
    pub is_orphan: bool,
}

impl<T, C, E: End> Queue<T, C, E> {
    /// What has become of the messages so far. Zeros of a queue that is damaged.
    ///
    /// # Examples
    /// What a process that died had in its hands is counted:
    /// ```
    /// use multiproc::{Process, Queue};
    ///
    /// fn crash(mut jobs: Queue<String>) {
    ///     let _job = jobs.recv_guard().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let mut jobs = Queue::bounded(10)?;
    /// jobs.send_batch(&mut vec!["sweep".to_owned(), "mop".to_owned()])?;
    /// Process::spawn(crash, jobs.clone())?.join().unwrap_err();
    /// assert_eq!(jobs.recv()?, "mop");
    /// assert_eq!((jobs.stats().received, jobs.stats().lost), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.port.as_ref().map(Port::stats).unwrap_or_default()
    }

    /// The queue as it is now: depth, ends, who sleeps and who holds what.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Queue;
    ///
    /// let mut jobs = Queue::bounded(10)?;
    /// let other = jobs.clone();
    /// jobs.send("sweep".to_owned())?;
    /// let _job = jobs.recv_guard()?;
    /// let busy = other.info().handles.into_iter().filter(|handle| handle.holds_message);
    /// assert_eq!(busy.map(|handle| handle.pid).collect::<Vec<_>>(), [std::process::id()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn info(&self) -> QueueInfo {
        let port = self.port.as_ref();
        QueueInfo {
            depth: self.len(),
            capacity: self.capacity(),
            is_closed: self.is_closed(),
            stats: self.stats(),
            handles: port.map(Port::handle_infos).unwrap_or_default(),
        }
    }
}

impl<T, C> Port<T, C> {
    fn stats(&self) -> QueueStats {
        match self.track.totals(&self.core) {
            Ok(totals) => stats_of(self.core.store(), totals),
            Err(_) => QueueStats::default(),
        }
    }

    fn handle_infos(&self) -> Vec<HandleInfo> {
        let segment = self.core.shared().segment();
        handles_of(self.core.store(), |participant| segment.pid_of(participant))
    }
}

/// What has become of the messages of a queue in which so many were ever pushed and popped.
pub(crate) fn stats_of<P: Pages>(store: &Store<P>, (sent, popped): (u64, u64)) -> QueueStats {
    let handles = 0..store.at.handles();
    let casualties =
        handles.clone().fold(0_u64, |sum, handle| sum.saturating_add(store.casualties(handle)));
    let held = handles.filter(|&handle| store.is_holding(handle)).count() as u64;
    let redelivers = store.at.plan.flags.redelivers;
    let lost = if redelivers { 0 } else { casualties };
    QueueStats {
        sent,
        received: popped.saturating_sub(held.saturating_add(lost)),
        in_flight: sent.saturating_sub(popped).saturating_add(held),
        lost,
        redelivered: if redelivers { casualties } else { 0 },
    }
}

/// Everybody who has a handle of a queue. `pid_of` knows the processes of participants.
pub(crate) fn handles_of<P: Pages>(
    store: &Store<P>,
    pid_of: impl Fn(u32) -> u32,
) -> Vec<HandleInfo> {
    let info = |number| {
        let (participant, ends, is_orphan) = match handle::state(&store.at, number) {
            State::Free => return None,
            State::Live { participant, ends } => (participant, ends, false),
            State::Orphan => (0, Ends::NONE, true),
        };
        Some(HandleInfo {
            participant,
            pid: if is_orphan { 0 } else { pid_of(participant) },
            sends: ends.has(Ends::SENDER),
            receives: ends.has(Ends::RECEIVER),
            holds_message: store.is_holding(number),
            is_asleep: store.at.is_asleep(number),
            is_orphan,
        })
    };
    (0..store.at.handles()).filter_map(info).collect()
}

impl<T, C, E: End> fmt::Debug for Queue<T, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(port) = &self.port else { return f.write_str("Queue(no handle)") };
        f.debug_struct("Queue")
            .field("depth", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &(port.core.flags() & CLOSED != 0))
            .field("handles", &port.handle_infos())
            .finish_non_exhaustive()
    }
}
