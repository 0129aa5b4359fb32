//! Room 4: the one way a value crosses from one process to another.
//!
//! [`pack`] turns a value into a [`Parcel`]: bytes, and the fds that the handles inside it need.
//! [`unpack`] makes the value again on the other side. Handles find the parcel through the thread
//! that serializes them ([`cargo`]), since serde has no place for a second channel.

pub(crate) mod cargo;
pub(crate) mod codec;
pub(crate) mod identity;
pub(crate) mod mac;
mod schema;

use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, ErrorKind, Result};

use cargo::Cargo;
use codec::{Codec, CodecError, Serde};

/// A value on its way: bytes, and the fds of the handles in it.
///
/// Dropped before [`commit`](Self::commit), it gives every handle back to the value it came from.
#[derive(Debug)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    cargo: Option<Box<Cargo>>,
}

impl Parcel {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.cargo.as_ref().map(|cargo| cargo.fds()).unwrap_or_default()
    }

    /// The parcel has been handed to the kernel: what was in it belongs to the receiver.
    pub(crate) fn commit(self) {
        self.cargo.into_iter().for_each(|cargo| cargo.commit());
    }
}

/// Turns a value and the handles inside it into a parcel.
pub(crate) fn pack<T: Serialize>(value: &T) -> Result<Parcel> {
    let mut bytes = Vec::new();
    let cargo = encode_by::<T>(&mut bytes, |bytes| Serde::serialize(value, bytes))?;
    if cargo.is_none() {
        cargo::append_none(&mut bytes);
    }
    Ok(Parcel { bytes, cargo })
}

/// Makes the value of a parcel again, in the process that received it.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T> {
    decode_by(bytes, Some(fds), Serde::deserialize)
}

/// Makes a value of another type that has the same bytes, without leaving this process.
pub(crate) fn copied<T: Serialize + ?Sized, U: DeserializeOwned>(value: &T) -> Result<U> {
    let parcel = pack(&value)?;
    let fds =
        parcel.fds().iter().map(BorrowedFd::try_clone_to_owned).collect::<std::io::Result<_>>();
    let fds = fds.context(|| "copy the fds of a parcel".to_owned())?;
    let bytes = parcel.bytes().to_vec();
    parcel.commit();
    decode_by(&bytes, Some(fds), Serde::deserialize_whole)
}

/// Appends a value to `bytes`; where it holds handles, their manifest follows it.
#[inline]
pub(crate) fn encode<T, C: Codec<T>>(value: &T, bytes: &mut Vec<u8>) -> Result<Option<Box<Cargo>>> {
    encode_by::<T>(bytes, |bytes| C::encode(value, bytes))
}

/// Makes a value from its bytes; `fds` is `None` if they have no manifest behind them.
pub(crate) fn decode<T, C: Codec<T>>(bytes: &[u8], fds: Option<Vec<OwnedFd>>) -> Result<T> {
    decode_by(bytes, fds, C::decode)
}

/// Appends the bytes of a `T` as `encode` does it; where it holds handles, their manifest follows.
#[inline]
pub(crate) fn encode_by<T>(
    bytes: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<Option<Box<Cargo>>> {
    let packing = cargo::Packing::begin();
    let encoded = encode(bytes);
    let mut cargo = packing.end();
    let reason = cargo.as_mut().and_then(|cargo| cargo.take_reason());
    encoded.map_err(|cause| because::<T>("encode", reason, cause))?;
    let cargo = cargo.filter(|cargo| !cargo.is_empty());
    if let Some(cargo) = &cargo {
        cargo.seal(bytes)?;
    }
    Ok(cargo)
}

/// Makes a value from its bytes as `decode` does it; see [`decode`].
#[inline]
pub(crate) fn decode_by<T>(
    bytes: &[u8],
    fds: Option<Vec<OwnedFd>>,
    decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T> {
    let Some(fds) = fds else {
        return decode(bytes).map_err(|cause| because::<T>("decode", None, cause));
    };
    let (payload, unpacking) = cargo::Unpacking::begin(bytes, fds)?;
    let decoded = decode(payload);
    // What nobody took out is closed before anybody hears how it went.
    let reason = unpacking.end();
    decoded.map_err(|cause| because::<T>("decode", reason, cause))
}

#[cold]
fn because<T>(verb: &str, reason: Option<Error>, cause: CodecError) -> Error {
    if let Some(reason) = reason {
        return reason;
    }
    let what = format!("{verb} a {}", std::any::type_name::<T>());
    Error::new(ErrorKind::Codec, what).because(cause)
}
