//! How a function is named to another process of the same program.
//!
//! Two offsets from the load bias: the function's own, and that of a [`thunk`] made for its
//! argument and result, which knows how to call it. A hash of the signature guards against a
//! message that was damaged, and keeps the linker from folding two thunks into one.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::image;
use crate::transfer::{self, Parcel};

/// The name of a function.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    function: u64,
    thunk: u64,
    signature: u64,
}

/// Where a thunk leaves the packed result while the value that it was made of is still there.
pub(crate) type Deliver<'a> = &'a mut dyn FnMut(Parcel) -> Result<()>;

type Thunk = fn(*const (), u64, &[u8], Vec<OwnedFd>, Deliver<'_>) -> Result<()>;

impl Entry {
    /// Names `function`.
    ///
    /// # Errors
    ///
    /// Kind [`Image`](ErrorKind::Image) if it is not part of the program itself.
    pub(crate) fn of<A, R>(function: fn(A) -> R) -> Result<Self>
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        let thunk = thunk::<A, R> as Thunk as *const ();
        Self::with_thunk::<fn(A) -> R>(function as *const (), thunk, signature::<A, R>())
    }

    /// Names a function of type `F` and a thunk that knows how to call it, whatever that is like.
    pub(crate) fn with_thunk<F>(
        function: *const (),
        thunk: *const (),
        signature: u64,
    ) -> Result<Self> {
        let image = image::main();
        let offset = |address: *const ()| {
            image.offset_of(address).ok_or_else(|| {
                let name = std::any::type_name::<F>();
                let what = format!(
                    "name a function of type {name}: it is not in the program's own image, but in \
                     a library that another process may not have loaded there"
                );
                Error::new(ErrorKind::Image, what)
            })
        };
        Ok(Self { function: offset(function)?, thunk: offset(thunk)?, signature })
    }

    /// All that is in the name.
    pub(crate) fn words(self) -> [u64; 3] {
        [self.function, self.thunk, self.signature]
    }

    /// The addresses of the function and its thunk in this process, and the signature.
    pub(crate) fn resolve(self) -> Result<(*const (), *const (), u64)> {
        let image = image::main();
        let function = image.address_at(self.function).ok_or_else(mismatch)?;
        let thunk = image.address_at(self.thunk).ok_or_else(mismatch)?;
        Ok((function, thunk, self.signature))
    }

    /// Calls the function with the arguments in `bytes` and `fds`, and delivers what it returns.
    pub(crate) fn call(self, bytes: &[u8], fds: Vec<OwnedFd>, deliver: Deliver<'_>) -> Result<()> {
        let (function, thunk, signature) = self.resolve()?;
        // SAFETY: the socket that this name came from was checked to be our parent's, which runs
        // the same image and made the name with `of`: there is a `Thunk` at this offset.
        let thunk: Thunk = unsafe { std::mem::transmute(thunk) };
        thunk(function, signature, bytes, fds, deliver)
    }
}

#[inline(never)]
fn thunk<A, R>(
    function: *const (),
    expected: u64,
    bytes: &[u8],
    fds: Vec<OwnedFd>,
    deliver: Deliver<'_>,
) -> Result<()>
where
    A: DeserializeOwned,
    R: Serialize,
{
    demand(expected, signature::<A, R>())?;
    let arguments: A = transfer::unpack(bytes, fds)?;
    // SAFETY: `Entry::of` made both offsets from one `fn(A) -> R`, and the signature says so.
    let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
    let result = function(arguments);
    deliver(transfer::pack(&result)?)
}

/// A hash of the function's type.
pub(crate) fn signature<A, R>() -> u64 {
    let name = std::any::type_name::<fn(A) -> R>();
    // Eight at a time: with each call of a hosted object it is asked for two or four times.
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        let mixed = (hash ^ u64::from_ne_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    })
}

/// Refuses a name that was made for another thunk than the one that it led to.
#[inline]
pub(crate) fn demand(named: u64, made_for: u64) -> Result<()> {
    if named == made_for { Ok(()) } else { Err(mismatch()) }
}

#[cold]
pub(crate) fn mismatch() -> Error {
    Error::new(ErrorKind::Image, "find the function: the two processes run different programs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(n: u32) -> u32 {
        2 * n
    }

    fn run(entry: Entry, argument: &[u8]) -> Result<Vec<u8>> {
        let mut result = Vec::new();
        entry.call(argument, Vec::new(), &mut |parcel| {
            result.extend_from_slice(parcel.bytes());
            parcel.commit();
            Ok(())
        })?;
        Ok(result)
    }

    #[test]
    fn a_named_function_is_called() {
        let (asked, answered) = (transfer::pack(&21_u64), transfer::pack(&42_u64));
        let result = run(Entry::of(double).unwrap(), asked.unwrap().bytes());
        assert_eq!(result.unwrap(), answered.unwrap().bytes());
    }

    #[test]
    fn a_damaged_name_is_an_error() {
        let entry = Entry::of(double).unwrap();
        assert!(run(Entry { signature: entry.signature ^ 1, ..entry }, &[21, 0, 0, 0, 0]).is_err());
        assert!(run(Entry { thunk: u64::MAX, ..entry }, &[21, 0, 0, 0, 0]).is_err());
        assert!(run(Entry { function: 0, ..entry }, &[21, 0, 0, 0, 0]).is_err());
    }
}
