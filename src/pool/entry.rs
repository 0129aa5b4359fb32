//! How a task is named to a worker: its function, and a thunk that takes the arguments out of an
//! order, calls the function, and puts what it returned into a reply.
#![allow(unsafe_code)]

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::process::Panic;
use crate::process::entry::{self, Entry};
use crate::process::remote::{Answer, caught};
use crate::sync::Data;
use crate::transfer::codec::{CodecError, Serde};

use super::field::Field;
use super::worker::keep_state;

/// A task whose arguments are there.
pub(super) type Prepared = Box<dyn FnOnce() -> Result<Box<dyn Answer>, Panic> + Send>;

type Thunk = fn(*const (), u64, &[u8]) -> Result<Prepared, CodecError>;

/// What keeps the signatures of the kinds of thunks apart.
const ONE: u64 = 0x6f6e_6500;
const MANY: u64 = 0x6d61_6e79;
const STATE: u64 = 0x7374_6174;
const SHARE: u64 = 0x7368_6172;

/// Names a function of one task.
pub(super) fn one<A, R>(function: fn(A) -> R) -> Result<Entry>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let thunk = one_thunk::<A, R> as Thunk as *const ();
    Entry::with_thunk::<fn(A) -> R>(function as *const (), thunk, entry::signature::<A, R>() ^ ONE)
}

/// Names a function that a task calls for each of many arguments.
pub(super) fn many<A, R>(function: fn(A) -> R) -> Result<Entry>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    let thunk = many_thunk::<A, R> as Thunk as *const ();
    Entry::with_thunk::<fn(A) -> R>(function as *const (), thunk, entry::signature::<A, R>() ^ MANY)
}

/// Names a function that makes the state of a worker.
pub(super) fn state<A, S>(function: fn(A) -> S) -> Result<Entry>
where
    A: DeserializeOwned + Send + 'static,
    S: 'static,
{
    let thunk = state_thunk::<A, S> as Thunk as *const ();
    let signature = entry::signature::<A, S>() ^ STATE;
    Entry::with_thunk::<fn(A) -> S>(function as *const (), thunk, signature)
}

/// Names a function that an order calls for its share of the elements of an array.
pub(super) fn share<A, R>(function: fn(A) -> R) -> Result<Entry>
where
    A: Data + Send + Sync,
    R: Data + Send + Sync,
{
    let thunk = share_thunk::<A, R> as Thunk as *const ();
    let signature = entry::signature::<A, R>() ^ SHARE;
    Entry::with_thunk::<fn(A) -> R>(function as *const (), thunk, signature)
}

/// Takes the arguments of a task out of its bytes.
pub(super) fn prepare(entry: Entry, bytes: &[u8]) -> Result<Prepared, CodecError> {
    let (function, thunk, signature) = entry.resolve()?;
    // SAFETY: the name came under the seal for tasks, which only a process of this family can make.
    // It runs the same image, and made the name with `one` or one of its kin, as nothing else is
    // sealed for that role (`seal::Role::Task`): there is a `Thunk` at this offset.
    let thunk: Thunk = unsafe { std::mem::transmute(thunk) };
    thunk(function, signature, bytes)
}

#[inline(never)]
fn one_thunk<A, R>(function: *const (), expected: u64, bytes: &[u8]) -> Result<Prepared, CodecError>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    entry::demand(expected, entry::signature::<A, R>() ^ ONE)?;
    let arguments: A = Serde::deserialize(bytes)?;
    // SAFETY: `one` made both offsets from one `fn(A) -> R`, and the signature says so.
    let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move || {
        let result = caught(|| function(arguments))?;
        Ok(Box::new(result) as Box<dyn Answer>)
    }))
}

#[inline(never)]
fn many_thunk<A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
{
    entry::demand(expected, entry::signature::<A, R>() ^ MANY)?;
    let items: Vec<A> = Serde::deserialize(bytes)?;
    // SAFETY: `many` made both offsets from one `fn(A) -> R`, and the signature says so.
    let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move || {
        let results: Vec<R> = caught(|| items.into_iter().map(function).collect())?;
        Ok(Box::new(results) as Box<dyn Answer>)
    }))
}

#[inline(never)]
fn state_thunk<A, S>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    A: DeserializeOwned + Send + 'static,
    S: 'static,
{
    entry::demand(expected, entry::signature::<A, S>() ^ STATE)?;
    let arguments: A = Serde::deserialize(bytes)?;
    // SAFETY: `state` made both offsets from one `fn(A) -> S`, and the signature says so.
    let function: fn(A) -> S = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move || {
        keep_state(Box::new(caught(|| function(arguments))?));
        Ok(Box::new(()) as Box<dyn Answer>)
    }))
}

#[inline(never)]
fn share_thunk<A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    A: Data + Send + Sync,
    R: Data + Send + Sync,
{
    entry::demand(expected, entry::signature::<A, R>() ^ SHARE)?;
    let field: Field<A, R> = Serde::deserialize(bytes)?;
    // SAFETY: `share` made both offsets from one `fn(A) -> R`, and the signature says so.
    let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move || {
        let done: Result<u64> = field.work(function)?;
        Ok(Box::new(done) as Box<dyn Answer>)
    }))
}
