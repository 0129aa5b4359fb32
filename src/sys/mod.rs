//! Room 0: the only door to the kernel. Knows no type of ours; speaks fds, `io::Result` and plain
//! words.

pub(crate) mod address;
pub(crate) mod barrier;
pub(crate) mod cgroup;
pub(crate) mod child;
pub(crate) mod chime;
pub(crate) mod clock;
pub(crate) mod clone;
pub(crate) mod epoll;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod holder;
pub(crate) mod image;
pub(crate) mod interrupt;
pub(crate) mod lease;
pub(crate) mod letter;
pub(crate) mod mapping;
pub(crate) mod memfd;
pub(crate) mod number;
mod poll;
pub(crate) mod random;
pub(crate) mod replica;
#[cfg(all(feature = "tracing", not(multiproc_loom)))]
pub(crate) mod scribe;
pub(crate) mod shm;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stranger;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod vigil;
