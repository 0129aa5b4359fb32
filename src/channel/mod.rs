//! Room 5: pipes. A lane, its ring and its two seats, joined into typed ends that block.
//!
//! | file | what it is |
//! |---|---|
//! | `pipe` | makes pairs of connections |
//! | `connection` | the public face: typed messages, waiting, splitting |
//! | `bytes` | raw bytes beside typed messages: in place, into buffers, streamed |
//! | `outlet`, `inlet` | one sending half, one receiving half |
//! | `long` | what flags of frames mean; messages in several frames |
//! | `stream` | a message received into the caller's memory |
//! | `ring` | a ring where it lies, with safe reads and writes |
//! | `end` | who owns a side of a lane; how it moves and how it closes |
//! | `travel` | how a connection crosses to another process |
//! | `named` | pipes that two programs find by a name |
//! | `watch` | a connection as one of several things that are waited for |

mod builder;
mod bytes;
mod connection;
mod end;
mod inlet;
mod long;
mod named;
mod outlet;
mod pipe;
mod receiving;
mod ring;
mod stream;
mod travel;
mod watch;

pub use builder::PipeBuilder;
pub use bytes::{Message, Reserved};
pub use connection::{Connection, Nothing};
pub use pipe::Pipe;
pub use receiving::Iter;
