//! Room 7: programs that were started apart get a connection.
//!
//! One listens at a socket in the file system, others connect to it ([`knock`]); both see there
//! that they speak of the same messages, and, if they are told to, that the other knows a key
//! ([`guest`]). Then the listening side makes a pipe and sends its other end as a parcel, and the
//! socket has done its work: from there on it is a pipe like any other.
//!
//! | file | what it is |
//! |---|---|
//! | `listener`, `connector` | the public face of both sides |
//! | `door` | a socket, and those who have come to it and are not through with the handshake |
//! | `guest`, `knock` | the handshake, as the listening and as the connecting side has it |
//! | `wire` | its packets |
//! | `terms` | what both sides must agree on, and whom they let in |
//! | `key` | a secret that both sides know |
//! | `hostile` | what strangers may say, for tests and fuzzers |

mod builder;
mod connector;
mod door;
mod guest;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod key;
mod knock;
#[expect(clippy::module_inception, reason = "the public type's file is called as it is")]
mod listener;
mod terms;
mod wire;

pub use builder::ListenerBuilder;
pub use connector::{Connector, connect};
pub(crate) use door::Door;
pub use key::AuthKey;
pub use listener::Listener;
pub use terms::PeerCred;
pub(crate) use terms::Terms;
