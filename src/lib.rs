//! Python's `multiprocessing` for Rust, over mmap'd shared memory.
#![allow(dead_code, unused_imports)] // while the rooms are being built

mod error;
mod shim;
mod sys;

mod raw;

#[cfg(not(multiproc_loom))]
mod channel;
#[cfg(not(multiproc_loom))]
mod process;
#[cfg(not(multiproc_loom))]
mod segment;
#[cfg(not(multiproc_loom))]
mod transfer;

pub use error::{Error, ErrorKind, Result};

#[cfg(not(multiproc_loom))]
pub use {
    channel::{
        Connection, Iter, Message, Nothing, Pipe, PipeBuilder, RecvError, Reserved, SendError,
    },
    process::{
        Builder, ChildInfo, Current, ExitStatus, JoinError, Panic, Parent, Process, StartMethod,
        Stdio, active_children, available_parallelism, current, init, parent,
    },
    transfer::codec::{Codec, CodecError, Framed, Plain, Serde, Shape},
};
