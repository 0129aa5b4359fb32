//! Python's `multiprocessing` for Rust, over mmap'd shared memory.
//!
//! ```
//! use multiproc::{Connection, Pipe, Process};
//!
//! fn square(mut peer: Connection<u64, u64>) {
//!     while let Ok(number) = peer.recv() {
//!         if peer.send(number * number).is_err() {
//!             return;
//!         }
//!     }
//! }
//!
//! let (mut here, there) = Pipe::duplex::<u64, u64>()?;
//! let child = Process::spawn(square, there)?;
//! here.send(7)?;
//! assert_eq!(here.recv()?, 49);
//! drop(here);
//! child.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - A [`Process`] runs a function of this program, with arguments, in a process of its own, and
//!   brings its result back. There is nothing to set up.
//! - A [`Pool`] has worker processes that call functions, one task after the other.
//! - A [`Pipe`] has two ends, [`Connection`]s, that send and receive values of any type that serde
//!   knows, plain values in fixed slots, or bytes. Messages lie in shared memory; the kernel is
//!   asked only by those who have to sleep.
//! - A [`Queue`] has any number of senders and receivers, in any processes.
//! - [`Lock`], [`ReentrantLock`], [`RwLock`], [`Semaphore`], [`Condition`], [`Event`] and
//!   [`Barrier`] work between processes and outlive those who have them.
//! - A [`Value`] or an [`Array`] is plain data in shared memory, with a lock or as atomics.
//! - A [`Segment`] is plain bytes in shared memory. It, and every other shared object, can have a
//!   [`Name`], by which programs that do not know each other find it.
//! - [`wait_any`] waits for the first of several things, whatever they are; a [`Readiness`] tells
//!   of one by an fd.
//! - A [`Listener`] gives a connection to programs that were started apart, and perhaps built
//!   apart: they [`connect()`].
//! - A [`Manager`] is a server process that hosts objects: a [`Dict`] and the like, or a value of
//!   any type of yours. Functions are called with them through a [`Proxy`], from everywhere.
//! - [`inspect`] looks at all of them while they are used, from any process of the same user.
//! - [`trace`] is what all of them tell of themselves, as events of the `tracing` crate.
//! - What is `kill`ed is gone, and nothing else: see the promises in the README.
//!
//! The [`guide`] says [which of these for what](guide::choosing), goes through the programs that
//! [people write first in Python](guide::from_python), and [lists all names](guide::api).
//!
//! The bare verb waits, `try_` never does, `_timeout` waits for so long at the most. A failed send
//! gives the value back. That a peer died is a value, not a panic.
//!
//! **Not supported**: other systems than Linux on x86-64 with glibc; functions called in programs
//! that do not share their executable; functions from libraries loaded at run time. A participant
//! that writes into the shared memory on purpose can spoil the messages of others, but not the
//! memory safety of their programs.

// The models are built of the three lowest rooms alone, and do not use all that is in them.
#![cfg_attr(multiproc_loom, allow(dead_code, unused_imports))]

mod error;
mod shim;
mod sys;
pub mod trace;

mod raw;

#[cfg(not(multiproc_loom))]
mod array;
#[cfg(not(multiproc_loom))]
mod channel;
#[cfg(all(fuzzing, not(multiproc_loom)))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(multiproc_loom))]
pub mod inspect;
#[cfg(not(multiproc_loom))]
mod listener;
#[cfg(not(multiproc_loom))]
mod manager;
#[cfg(not(multiproc_loom))]
mod memory;
#[cfg(not(multiproc_loom))]
mod pool;
#[cfg(not(multiproc_loom))]
mod process;
#[cfg(not(multiproc_loom))]
mod queue;
#[cfg(not(multiproc_loom))]
mod segment;
#[cfg(not(multiproc_loom))]
mod select;
#[cfg(not(multiproc_loom))]
mod sync;
#[cfg(not(multiproc_loom))]
mod transfer;
#[cfg(not(multiproc_loom))]
mod value;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
pub struct Readme;

#[doc = include_str!("ARCHITECTURE.md")]
#[cfg(doc)]
pub mod _architecture {}

#[cfg(all(any(doc, doctest), not(multiproc_loom)))]
pub mod guide;

pub use error::{BarrierError, Error, ErrorKind, LockError, RecvError, Result, SendError};

#[cfg(not(multiproc_loom))]
pub use {
    array::{Array, ArrayGuard, RangeGuard},
    channel::{Connection, Iter, Message, Nothing, Pipe, PipeBuilder, Reserved},
    listener::{AuthKey, Connector, Listener, ListenerBuilder, PeerCred, connect},
    manager::{
        CONNECTIONS_MAX, Carried, Dict, Fields, List, Manager, ManagerBuilder, ManagerClient,
        ManagerInfo, Namespace, ObjectInfo, Proxy, Set,
    },
    memory::Segment,
    pool::{
        AsCompleted, Imap, ImapUnordered, Pool, PoolBuilder, PoolStats, Task, TaskError,
        TaskFuture, WORKERS_MAX, as_completed, wait_all, worker_state,
    },
    process::{
        Builder, ChildInfo, Current, ExitStatus, JoinError, Panic, Parent, Process, StartMethod,
        Stdio, active_children, available_parallelism, current, init, parent,
    },
    queue::{
        Both, CanReceive, CanSend, End, HandleInfo, Queue, QueueBuilder, QueueInfo, QueueIter,
        QueueSlot, QueueStats, Received, Receiver, Receiving, Sender, Sending,
    },
    segment::{Name, NameInfo, ToName},
    select::{Readable, Readiness, ReadinessGuard, Waitable, wait_any, wait_any_of},
    sync::{
        Atomic, Barrier, BarrierWait, Condition, Data, Event, Guard, Holder, Integer, Lock,
        LockGuard, Permit, Permits, ReadGuard, ReentrantGuard, ReentrantLock, RwHolders, RwLock,
        Semaphore, WriteGuard,
    },
    transfer::codec::{Codec, CodecError, Framed, Plain, Serde, Shape},
    value::{Value, ValueGuard},
};
