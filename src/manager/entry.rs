//! How a call is named to a server: its function, and a thunk that takes the arguments out of a
//! request and calls the function with the object, or without one.
#![allow(unsafe_code)]

use std::sync::Arc;

use crate::error::Result;
use crate::process::entry::{self, Entry};
use crate::process::remote::{Answer, caught};
use crate::transfer::codec::{CodecError, Serde};

use super::Carried;
use super::hosted::Hosted;
use super::link::panicked;

/// A call whose arguments are there. It is given the object, if there is one of that number.
pub(super) type Prepared = Box<dyn FnOnce(Result<Arc<Hosted>>) -> Result<Box<dyn Answer>> + Send>;

type Thunk = fn(*const (), u64, &[u8]) -> Result<Prepared, CodecError>;

/// What keeps the signatures of the kinds of thunks apart.
const WRITE: u64 = 0x7772_6974;
const READ: u64 = 0x7265_6164;
const FREE: u64 = 0x6672_6565;

/// Names a function that changes an object.
pub(super) fn write<T, A, R>(function: fn(&mut T, A) -> R) -> Result<Entry>
where
    T: Send + Sync + 'static,
    A: Carried,
    R: Carried,
{
    let thunk = write_thunk::<T, A, R> as Thunk as *const ();
    let signature = entry::signature::<(T, A), R>() ^ WRITE;
    Entry::with_thunk::<fn(&mut T, A) -> R>(function as *const (), thunk, signature)
}

/// Names a function that looks at an object.
pub(super) fn read<T, A, R>(function: fn(&T, A) -> R) -> Result<Entry>
where
    T: Send + Sync + 'static,
    A: Carried,
    R: Carried,
{
    let thunk = read_thunk::<T, A, R> as Thunk as *const ();
    let signature = entry::signature::<(T, A), R>() ^ READ;
    Entry::with_thunk::<fn(&T, A) -> R>(function as *const (), thunk, signature)
}

/// Names a function that is called in the server, with no object.
pub(super) fn free<A: Carried, R: Carried>(function: fn(A) -> R) -> Result<Entry> {
    let thunk = free_thunk::<A, R> as Thunk as *const ();
    let signature = entry::signature::<A, R>() ^ FREE;
    Entry::with_thunk::<fn(A) -> R>(function as *const (), thunk, signature)
}

/// Takes the arguments of a call out of its bytes.
pub(super) fn prepare(entry: Entry, bytes: &[u8]) -> Result<Prepared, CodecError> {
    let (function, thunk, signature) = entry.resolve()?;
    // SAFETY: the name came under the seal for calls, which only a process of this family can make.
    // It runs the same image, and made the name with a function above, as nothing else is sealed
    // for that role (`seal::Role::Call`): there is a `Thunk` at this offset.
    let thunk: Thunk = unsafe { std::mem::transmute(thunk) };
    thunk(function, signature, bytes)
}

#[inline(never)]
fn write_thunk<T, A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    T: Send + Sync + 'static,
    A: Carried,
    R: Carried,
{
    entry::demand(expected, entry::signature::<(T, A), R>() ^ WRITE)?;
    let arguments: A = Serde::deserialize_whole(bytes)?;
    // SAFETY: `write` made both offsets from one `fn(&mut T, A) -> R`, as the signature says.
    let function: fn(&mut T, A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move |hosted| {
        let result = hosted?.write(|value: &mut T| function(value, arguments))?;
        Ok(Box::new(result) as Box<dyn Answer>)
    }))
}

#[inline(never)]
fn read_thunk<T, A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    T: Send + Sync + 'static,
    A: Carried,
    R: Carried,
{
    entry::demand(expected, entry::signature::<(T, A), R>() ^ READ)?;
    let arguments: A = Serde::deserialize_whole(bytes)?;
    // SAFETY: `read` made both offsets from one `fn(&T, A) -> R`, as the signature says.
    let function: fn(&T, A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move |hosted| {
        let result = hosted?.read(|value: &T| function(value, arguments))?;
        Ok(Box::new(result) as Box<dyn Answer>)
    }))
}

#[inline(never)]
fn free_thunk<A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
) -> Result<Prepared, CodecError>
where
    A: Carried,
    R: Carried,
{
    entry::demand(expected, entry::signature::<A, R>() ^ FREE)?;
    let arguments: A = Serde::deserialize_whole(bytes)?;
    // SAFETY: `free` made both offsets from one `fn(A) -> R`, as the signature says.
    let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
    Ok(Box::new(move |_| {
        let result = caught(|| function(arguments)).map_err(panicked)?;
        Ok(Box::new(result) as Box<dyn Answer>)
    }))
}
