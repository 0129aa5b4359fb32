//! What a pool and its workers say to one another, each pair over a pipe of its own.
//!
//! An order is a number, the name of a function, and its arguments; a reply is the number and what
//! came of it. Values are decoded while the handles in them can be taken out of the parcel, so
//! both sides know the type before the bytes are read: the worker from the name, the pool from the
//! number.

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::process::remote::{Outcome, Verdict, contained};
use crate::process::seal::{Role, Sealed};
use crate::transfer::codec::{Codec, CodecError, Framed, Serde};

use super::entry::{self, Prepared};
use super::work::Work;

/// The codec of both directions.
#[derive(Debug)]
pub(super) enum Wire {}

impl Framed for Wire {}

/// What a worker is to do.
pub(super) enum Order {
    /// In the pool: a task.
    Out { number: u64, work: Arc<dyn Work> },
    /// In the worker: the task, or why it cannot be read.
    In { number: u64, task: Result<Prepared, String> },
}

/// What came of an order.
pub(super) enum Reply {
    /// In the worker: nothing, if it was taken back before it was begun.
    Out { number: u64, outcome: Option<Outcome> },
    /// In the pool: the value went to the task itself.
    In { number: u64, verdict: Option<Verdict> },
}

impl Codec<Order> for Wire {
    fn encode(order: &Order, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        match order {
            Order::Out { number, work } => {
                Serde::serialize(&(number, Sealed::new(work.entry(), Role::Task)?), bytes)?;
                contained(|| work.encode(bytes))
            }
            Order::In { .. } => Err("an order that has arrived goes no further".into()),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Order, CodecError> {
        let ((number, name), arguments) = postcard::take_from_bytes::<(u64, Sealed)>(bytes)?;
        let task = contained(|| entry::prepare(name.open(Role::Task)?, arguments));
        let task = task.map_err(|cause| cause.to_string());
        Ok(Order::In { number, task })
    }
}

impl Codec<Reply> for Wire {
    fn encode(reply: &Reply, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        let Reply::Out { number, outcome } = reply else {
            return Err("a reply that has arrived goes no further".into());
        };
        Serde::serialize(&(number, outcome.is_some()), bytes)?;
        outcome.as_ref().map_or(Ok(()), |outcome| outcome.encode(bytes))
    }

    fn decode(bytes: &[u8]) -> Result<Reply, CodecError> {
        let ((number, was_begun), rest) = postcard::take_from_bytes::<(u64, bool)>(bytes)?;
        if !was_begun {
            return Ok(Reply::In { number, verdict: None });
        }
        let (verdict, value) = postcard::take_from_bytes::<Verdict>(rest)?;
        let verdict = match verdict {
            Verdict::Returned => match take_value(number, value) {
                Ok(()) => Verdict::Returned,
                Err(error) => Verdict::Failed(error),
            },
            other => other,
        };
        Ok(Reply::In { number, verdict: Some(verdict) })
    }
}

/// Why an order or a reply was not sent. Nobody but us knows it as a message, so that is left out.
#[cold]
pub(super) fn not_sent(error: &Error) -> Error {
    let source = std::error::Error::source(error);
    let what = source.map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(error.kind(), what)
}

/// The tasks that a worker has, the oldest first, with their numbers.
pub(super) type Minded = Vec<(u64, Arc<dyn Work>)>;

thread_local! {
    /// Those of the worker that this thread minds.
    static MINDED: RefCell<Minded> = const { RefCell::new(Vec::new()) };
}

/// Gives the bytes of a result to the task of this number.
fn take_value(number: u64, bytes: &[u8]) -> Result<()> {
    let work = MINDED.with_borrow(|minded| {
        minded.iter().find(|(known, _)| *known == number).map(|(_, work)| Arc::clone(work))
    });
    match work {
        Some(work) => contained(|| Ok(work.accept(bytes)))
            .unwrap_or_else(|cause| Err(Error::new(ErrorKind::Codec, cause.to_string()))),
        None => Ok(()),
    }
}

/// Notes that a task is with the worker that this thread minds.
pub(super) fn mind(number: u64, work: Arc<dyn Work>) {
    MINDED.with_borrow_mut(|minded| minded.push((number, work)));
}

/// Puts other notes in place of those of this thread, and gives these.
pub(super) fn exchange(notes: Minded) -> Minded {
    MINDED.replace(notes)
}

/// Takes a task from the notes.
pub(super) fn release(number: u64) -> Option<Arc<dyn Work>> {
    MINDED.with_borrow_mut(|minded| {
        let at = minded.iter().position(|(known, _)| *known == number)?;
        Some(minded.remove(at).1)
    })
}

/// Takes those from this number on from the notes, the oldest first.
pub(super) fn release_from(number: u64) -> Vec<Arc<dyn Work>> {
    MINDED.with_borrow_mut(|minded| {
        let at = minded.partition_point(|(known, _)| *known < number);
        minded.split_off(at).into_iter().map(|(_, work)| work).collect()
    })
}

/// Whether the task of this number is in the notes.
pub(super) fn is_minded(number: u64) -> bool {
    MINDED.with_borrow(|minded| minded.iter().any(|(known, _)| *known == number))
}

/// Takes all tasks from the notes, the oldest first.
pub(super) fn release_all() -> Vec<Arc<dyn Work>> {
    MINDED.take().into_iter().map(|(_, work)| work).collect()
}

/// How many tasks are with the worker, and the oldest.
pub(super) fn minded() -> (usize, Option<Arc<dyn Work>>) {
    MINDED.with_borrow(|minded| (minded.len(), minded.first().map(|(_, work)| Arc::clone(work))))
}
