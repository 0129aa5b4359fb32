//! How a value becomes bytes: [`Serde`] for any type, [`Plain`] for types that are bytes already,
//! and whatever users write.

use bytemuck::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a codec could not do its work.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Turns values of `T` into bytes and back.
///
/// A codec whose every message has the same size says so with [`FIXED`](Self::FIXED); its messages
/// ride in fixed slots. All others are of variable size and should be [`Framed`] as well.
///
/// # Examples
///
/// A codec for strings in upper case only:
///
/// ```
/// use multiproc::{Codec, CodecError, Connection, Framed, Pipe};
///
/// struct Shout;
/// impl Framed for Shout {}
/// impl Codec<String> for Shout {
///     fn encode(value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
///         bytes.extend_from_slice(value.to_uppercase().as_bytes());
///         Ok(())
///     }
///     fn decode(bytes: &[u8]) -> Result<String, CodecError> {
///         Ok(std::str::from_utf8(bytes)?.to_owned())
///     }
/// }
///
/// let (mut here, mut there) = Pipe::builder().simplex_with::<String, Shout>()?;
/// here.send("hello".to_owned())?;
/// assert_eq!(there.recv()?, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Codec<T> {
    /// The size in bytes of every message, if it is always the same.
    const FIXED: Option<usize> = None;

    /// Appends the bytes of `value` to `bytes`. Exactly [`FIXED`](Self::FIXED) of them, if that is set.
    ///
    /// # Errors
    /// Whatever keeps the value from being encoded; the value is given back to whoever sent it.
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Makes a value from what [`encode`](Self::encode) appended.
    ///
    /// The bytes are a private copy; nobody changes them meanwhile.
    ///
    /// # Errors
    /// If the bytes are not those of a `T`.
    fn decode(bytes: &[u8]) -> Result<T, CodecError>;

    /// Writes the bytes of `value` over `slot`, which is [`FIXED`](Self::FIXED) bytes long.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and if the codec writes another number of bytes than it promised.
    #[inline]
    fn write(value: &T, slot: &mut [u8]) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(slot.len());
        Self::encode(value, &mut bytes)?;
        if bytes.len() != slot.len() {
            return Err(format!("{} bytes where {} are fixed", bytes.len(), slot.len()).into());
        }
        slot.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Marks a codec whose messages are of variable size, so that raw bytes may be sent beside them.
pub trait Framed {}

/// Any type that serde knows, in [postcard](https://docs.rs/postcard)'s format. The default.
///
/// Types that need to know their format's description of itself (`#[serde(flatten)]`, untagged
/// enums) cannot be decoded from it; that is an error, not a wrong value.
#[derive(Clone, Copy, Debug)]
pub enum Serde {}

impl Framed for Serde {}

impl<T: Serialize + DeserializeOwned> Codec<T> for Serde {
    #[inline]
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        let grown = postcard::to_extend(value, std::mem::take(bytes))?;
        *bytes = grown;
        Ok(())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

/// Types that are nothing but their bytes ([`bytemuck::Pod`]), copied bit for bit into fixed slots.
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

impl<T: Pod> Codec<T> for Plain {
    const FIXED: Option<usize> = Some(size_of::<T>());

    #[inline]
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend_from_slice(bytemuck::bytes_of(value));
        Ok(())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        bytemuck::try_pod_read_unaligned(bytes).map_err(|cause| cause.to_string().into())
    }

    #[inline]
    fn write(value: &T, slot: &mut [u8]) -> Result<(), CodecError> {
        slot.copy_from_slice(bytemuck::bytes_of(value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_encoding_says_what_failed() {
        struct Odd;
        impl Codec<u8> for Odd {
            const FIXED: Option<usize> = Some(2);
            fn encode(value: &u8, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
                bytes.push(*value);
                Ok(())
            }
            fn decode(bytes: &[u8]) -> Result<u8, CodecError> {
                Ok(bytes[0])
            }
        }
        let error = Odd::write(&7, &mut [0; 2]).unwrap_err();
        assert_eq!(error.to_string(), "1 bytes where 2 are fixed");
    }

    #[test]
    fn plain_refuses_another_size() {
        assert!(<Plain as Codec<u32>>::decode(&[1, 2, 3]).is_err());
        assert_eq!(<Plain as Codec<u32>>::decode(&[1, 0, 0, 0]).unwrap(), 1);
    }
}
