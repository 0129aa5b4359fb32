//! What a queue says about itself, without stopping anybody.

use std::fmt;

use crate::raw::queue::QueueAt;
use crate::raw::swap::handle::{self, Ends, HandleTable, State};

use super::core::CLOSED;
use super::ends::End;
use super::port::Port;
use super::queue::Queue;

/// What has become of the messages of a queue so far. Exact while nobody acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleInfo {
    /// Which participant of the segment has it.
    pub participant: u32,
    /// The process id of the participant, as it sees itself; 0 for a message on its way.
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
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.port.as_ref().map(Port::stats).unwrap_or_default()
    }

    /// The queue as it is now: depth, ends, who sleeps and who holds what.
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
        let (at, store) = (&self.core.at, self.core.store());
        let Ok((sent, popped)) = self.track.totals(&self.core) else {
            return QueueStats::default();
        };
        let casualties: u64 = (0..at.handles()).map(|handle| store.casualties(handle)).sum();
        let held = (0..at.handles()).filter(|&handle| store.is_holding(handle)).count() as u64;
        let redelivers = at.plan.flags.redelivers;
        let lost = if redelivers { 0 } else { casualties };
        QueueStats {
            sent,
            received: popped.saturating_sub(held + lost),
            in_flight: sent.saturating_sub(popped) + held,
            lost,
            redelivered: if redelivers { casualties } else { 0 },
        }
    }

    fn handle_infos(&self) -> Vec<HandleInfo> {
        let at = &self.core.at;
        (0..at.handles()).filter_map(|number| self.handle_info(at, number)).collect()
    }

    fn handle_info(&self, at: &QueueAt, number: u32) -> Option<HandleInfo> {
        let (participant, ends, is_orphan) = match handle::state(at, number) {
            State::Free => return None,
            State::Live { participant, ends } => (participant, ends, false),
            State::Orphan => (0, Ends::NONE, true),
        };
        Some(HandleInfo {
            participant,
            pid: if is_orphan { 0 } else { self.core.shared().segment().pid_of(participant) },
            sends: ends.has(Ends::SENDER),
            receives: ends.has(Ends::RECEIVER),
            holds_message: self.core.store().is_holding(number),
            is_asleep: at.is_asleep(number),
            is_orphan,
        })
    }
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
