//! How a value becomes bytes: [`Serde`] for any type, [`Plain`] for types that are bytes already,
//! and whatever users write.

use std::marker::PhantomData;

use bytemuck::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::identity::{data_name, short_name, with_layout};
use super::schema::shape;

/// Why a codec could not do its work.
///
/// # Examples
///
/// ```
/// use multiproc::{Codec, CodecError, Serde};
///
/// let decoded: Result<u32, CodecError> = Serde::decode(&[0x80]);
/// assert!(decoded.is_err());
/// // Any error becomes one, and so does a text.
/// let _: CodecError = "not a number".into();
/// ```
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Turns values of `T` into bytes and back.
///
/// # Examples
///
/// A codec for strings in upper case only:
///
/// ```
/// use multiproc::{Codec, CodecError, Framed, Pipe};
///
/// #[derive(Debug)]
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
/// let (mut here, mut there) = Pipe::builder().codec::<Shout>().simplex::<String>()?;
/// here.send("hello".to_owned())?;
/// assert_eq!(there.recv()?, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Codec<T> {
    /// How messages ride: in frames of any size, unless the codec says otherwise.
    const SHAPE: Shape<T> = Shape::FRAMED;

    /// Appends the bytes of `value` to `bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Codec, Plain};
    ///
    /// let mut bytes = vec![0xff];
    /// Plain::encode(&7u32, &mut bytes)?;
    /// assert_eq!(bytes, [0xff, 7, 0, 0, 0]);
    /// # Ok::<(), multiproc::CodecError>(())
    /// ```
    ///
    /// # Errors
    /// Whatever keeps the value from being encoded; the value is given back to whoever sent it.
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Makes a value from what [`encode`](Self::encode) appended.
    ///
    /// The bytes are a private copy; nobody changes them meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Codec, CodecError, Plain};
    ///
    /// let number: u32 = Plain::decode(&[7, 0, 0, 0])?;
    /// assert_eq!(number, 7);
    /// let too_short: Result<u32, CodecError> = Plain::decode(&[7, 0]);
    /// assert!(too_short.is_err());
    /// # Ok::<(), multiproc::CodecError>(())
    /// ```
    ///
    /// # Errors
    /// If the bytes are not those of a `T`.
    fn decode(bytes: &[u8]) -> Result<T, CodecError>;

    /// What the messages are, in words that programs built apart from one another compare: they
    /// exchange messages only where both say the same.
    ///
    /// Unless the codec knows better, its name and that of the type, without the paths to them, and
    /// the size of the type.
    ///
    /// # Examples
    ///
    /// ```
    /// use multiproc::{Codec, Serde};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Job {
    ///     room: String,
    ///     number: u32,
    /// }
    ///
    /// // What the messages are made of, down to the names of the fields.
    /// println!("{}", <Serde as Codec<Job>>::identity());
    /// assert_ne!(<Serde as Codec<Job>>::identity(), <Serde as Codec<(String, u32)>>::identity());
    /// ```
    #[must_use]
    fn identity() -> String {
        format!("{} {}", short_name::<Self>(), data_name::<T>())
    }
}

/// How the messages of a [`Codec`] ride.
///
/// # Examples
///
/// A codec of one's own for plain values, which ride in slots as those of [`Plain`] do:
///
/// ```
/// use bytemuck::Pod;
/// use multiproc::{Codec, CodecError, Queue, Shape};
///
/// #[derive(Debug)]
/// struct Mine;
/// impl<T: Pod> Codec<T> for Mine {
///     const SHAPE: Shape<T> = Shape::PLAIN;
///
///     fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
///         bytes.extend_from_slice(bytemuck::bytes_of(value));
///         Ok(())
///     }
///     fn decode(bytes: &[u8]) -> Result<T, CodecError> {
///         bytemuck::try_pod_read_unaligned(bytes).map_err(|error| error.to_string().into())
///     }
/// }
///
/// let mut queue = Queue::builder().codec::<Mine>().bounded::<u64>(10)?;
/// queue.send(7)?;
/// assert_eq!(queue.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shape<T> {
    is_plain: bool,
    of: PhantomData<fn(T) -> T>,
}

impl<T> Shape<T> {
    /// As frames of whatever size [`Codec::encode`] gives them.
    pub const FRAMED: Self = Self { is_plain: false, of: PhantomData };

    /// Whether messages are copied bit for bit into slots. Then `T` is [`Pod`].
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl<T: Pod> Shape<T> {
    /// As themselves, copied bit for bit into slots of their size.
    pub const PLAIN: Self = Self { is_plain: true, of: PhantomData };
}

/// Marks a codec whose messages are framed, so that raw bytes may be sent beside them.
///
/// # Examples
///
/// A codec whose messages other programs can read:
///
/// ```
/// use multiproc::{Codec, CodecError, Framed, Pipe};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// struct Json;
/// impl Framed for Json {}
/// impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
///     fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
///         Ok(serde_json::to_writer(bytes, value)?)
///     }
///     fn decode(bytes: &[u8]) -> Result<T, CodecError> {
///         Ok(serde_json::from_slice(bytes)?)
///     }
/// }
///
/// let (mut here, mut there) = Pipe::builder().codec::<Json>().simplex::<(String, u32)>()?;
/// here.send(("jobs".to_owned(), 7))?;
/// here.send_bytes(br#"["more", 8]"#)?;
/// assert_eq!(there.recv_bytes()?, br#"["jobs",7]"#);
/// assert_eq!(there.recv()?, ("more".to_owned(), 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Framed {}

/// Any type that serde knows, in [postcard](https://docs.rs/postcard)'s format. The default.
///
/// To serde a `Vec<u8>` is a list of numbers, which are carried one by one, some 2 ns each; a
/// `String` and what uses `serde_bytes` are copied as a whole. Connections also send bytes as they
/// are, see [`send_bytes`](crate::Connection::send_bytes).
///
/// Types that need to know their format's description of itself (`#[serde(flatten)]`, untagged
/// enums) cannot be decoded from it; that is an error, not a wrong value.
///
/// # Examples
///
/// ```
/// use multiproc::Queue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Job {
///     Sweep { rooms: Vec<String> },
///     Stop,
/// }
///
/// let mut jobs = Queue::bounded(10)?;
/// jobs.send(Job::Sweep { rooms: vec!["hall".to_owned()] })?;
/// jobs.send(Job::Stop)?;
/// assert!(matches!(jobs.recv()?, Job::Sweep { rooms } if rooms == ["hall"]));
/// assert_eq!(jobs.recv()?, Job::Stop);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Serde {}

impl Framed for Serde {}

/// Where postcard writes: behind what is there. Its own `Extend` takes bytes one at a time.
struct Tail<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Serde {
    /// Appends the bytes of any value.
    #[inline]
    pub(crate) fn serialize<T: Serialize>(
        value: &T,
        bytes: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        postcard::serialize_with_flavor(value, Tail(bytes)).map_err(explained)
    }

    /// Makes a value from its bytes.
    #[inline]
    pub(crate) fn deserialize<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        postcard::from_bytes(bytes).map_err(explained)
    }

    /// Makes a value from its bytes, if they are those of a value of another type perhaps: none may
    /// be left.
    #[inline]
    pub(crate) fn deserialize_whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        let (value, left) = postcard::take_from_bytes(bytes).map_err(explained)?;
        if left.is_empty() {
            return Ok(value);
        }
        let name = std::any::type_name::<T>();
        Err(format!("{} bytes more than those of a {name}", left.len()).into())
    }
}

/// What postcard's error means to somebody who has written a type.
#[cold]
fn explained(error: postcard::Error) -> CodecError {
    let cause = match error {
        postcard::Error::WontImplement | postcard::Error::NotYetImplemented => {
            "it asks the format what comes next, as `#[serde(flatten)]`, untagged enums and \
             `serde_json::Value` do, and this format does not say"
        }
        postcard::Error::SerializeSeqLengthUnknown => {
            "a sequence or a map in it does not know its length before it is gone through"
        }
        postcard::Error::SerdeSerCustom => "its `Serialize` returned an error",
        postcard::Error::SerdeDeCustom => "its `Deserialize` refused what is there",
        _ => return error.into(),
    };
    cause.into()
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Serde {
    #[inline]
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Self::serialize(value, bytes)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        Self::deserialize(bytes)
    }

    /// The type as serde sees it: what it is made of, down to the names of fields; of an enum, the
    /// names of the variants and the content of the first.
    ///
    /// To hear that, it has `T::deserialize` make a value of ones and empty texts, and forgets it.
    /// Where `T` does not take one of them, or has a handle in it, the rest is not heard.
    fn identity() -> String {
        format!("Serde {}", shape::<T>())
    }
}

/// Types that are nothing but their bytes ([`bytemuck::Pod`]), copied bit for bit into fixed slots.
///
/// # Examples
///
/// ```
/// use multiproc::{Plain, Queue};
///
/// let mut samples = Queue::builder().codec::<Plain>().bounded::<[f32; 4]>(10)?;
/// samples.send([0.0, 0.5, 1.0, 1.5])?;
/// assert_eq!(samples.recv()?, [0.0, 0.5, 1.0, 1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

impl<T: Pod> Codec<T> for Plain {
    const SHAPE: Shape<T> = Shape::PLAIN;

    #[inline]
    fn encode(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend_from_slice(bytemuck::bytes_of(value));
        Ok(())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        bytemuck::try_pod_read_unaligned(bytes).map_err(|cause| cause.to_string().into())
    }
}

/// How the messages lie in shared memory, as far as programs built apart must agree on it whatever
/// they say of their types.
pub(crate) fn layout<T, C: Codec<T>>() -> String {
    if !C::SHAPE.is_plain() {
        return String::new();
    }
    with_layout::<T>("")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn plain_refuses_another_size() {
        assert!(<Plain as Codec<u32>>::decode(&[1, 2, 3]).is_err());
        assert_eq!(<Plain as Codec<u32>>::decode(&[1, 0, 0, 0]).unwrap(), 1);
    }

    #[test]
    fn what_serde_cannot_carry_is_explained() {
        let mut bytes = Vec::new();
        Serde::serialize(&serde_json::json!({ "a": 1 }), &mut bytes).unwrap();
        let refused = Serde::deserialize::<serde_json::Value>(&bytes).unwrap_err();
        assert!(refused.to_string().contains("this format does not say"), "{refused}");
        let refused =
            Serde::serialize(&std::path::Path::new(OsStr::from_bytes(b"\xff")), &mut bytes);
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("its `Serialize` returned an error"), "{refused}");
    }
}
