//! Room 5: queues. A swap ring and its benches, joined into typed handles that block.
//!
//! | file | what it is |
//! |---|---|
//! | `queue` | the public face: typed messages, waiting, ends |
//! | `builder`, `planning` | what can be chosen about a queue, and what comes of it |
//! | `ends` | both ends, or one of them, as types |
//! | `core` | one handle, whatever the messages: where it is, whose, when it is over |
//! | `waiting` | how it waits, wakes others, and finds out who is gone |
//! | `handing` | how it changes hands: with a courier, or over a fork |
//! | `port` | a handle and the ring it stands at |
//! | `track` | the ring: swap rings, or a wide one |
//! | `sending`, `receiving` | the way in, the way out |
//! | `bytes` | messages as bytes, copied |
//! | `messages` | messages as values: sent, received, gone through |
//! | `slot`, `guard` | messages built in place, and read there |
//! | `body` | payload where it lies |
//! | `spill` | messages too long for their block |
//! | `tasks` | being done with messages, and waiting for it |
//! | `info` | what a queue says about itself |
//! | `travel` | how a handle crosses to another process |
//! | `named` | queues that programs find by a name |
//! | `watch` | a queue as one of several things that are waited for |

mod body;
mod builder;
mod bytes;
mod core;
mod ends;
mod guard;
mod handing;
mod info;
mod messages;
mod named;
mod planning;
mod port;
#[allow(clippy::module_inception, reason = "the public face of the room of queues")]
mod queue;
mod receiving;
mod sending;
mod slot;
mod spill;
mod tasks;
mod track;
mod travel;
mod waiting;
mod watch;

#[cfg(all(test, not(multiproc_loom)))]
mod hostile;

pub use builder::QueueBuilder;
pub(crate) use core::CLOSED;
pub use ends::{Both, CanReceive, CanSend, End, Receiving, Sending};
pub use guard::Received;
pub use info::{HandleInfo, QueueInfo, QueueStats};
pub(crate) use info::{handles_of, stats_of};
pub use messages::QueueIter;
pub use queue::{Queue, Receiver, Sender};
pub use slot::QueueSlot;
