//! Room 6: plain bytes in shared memory, as Python's `SharedMemory`.
#![allow(unsafe_code)]

mod bytes;
mod named;

use std::fmt;
use std::ptr::NonNull;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::kind::Kind;
use crate::segment::{self, Site};
use crate::shim::AtomicU64;
use crate::sync::Atomic;
use crate::sync::named::Nameable;
use crate::sync::object::{Machine, Object};
use crate::transfer::identity::fingerprint;

use bytes::Bytes;

/// Bytes in shared memory, for programs that agree on what they mean: Python's `SharedMemory`.
///
/// What they mean, and who changes which of them when, is nobody's business but the callers': there
/// is no lock inside. For data with a type, a lock and an owner who may die, see
/// [`Value`](crate::Value) and [`Array`](crate::Array). Bytes are copied by
/// [`read`](Self::read) and [`write`](Self::write), each on its own: of what another process writes
/// meanwhile, a copy may have a part. Integers that processes change together are
/// [`atomic`](Self::atomic).
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// or that opened the name, are of the same bytes.
///
/// **Other languages.** What is made by [`create`](Self::create) can be mapped by any program of
/// this user under its [`os_id`](crate::Name::os_id): the bytes begin at
/// [`DATA_AT`](Self::DATA_AT), and their number is a little endian `u64` at
/// [`LENGTH_AT`](Self::LENGTH_AT). Python:
///
/// ```text
/// memory = SharedMemory("multiproc.frames", track=False)   # track: Python 3.13
/// length = int.from_bytes(memory.buf[0x12010:0x12018], "little")
/// frame = memory.buf[0x12080:0x12080 + length]
/// ```
///
/// Such a program has no part in how long the memory stays, and must not cut the file: whoever has
/// it mapped would be killed by `SIGBUS`.
///
/// # Examples
/// ```
/// use multiproc::{Process, Segment};
///
/// fn upper(bytes: Segment) -> multiproc::Result<()> {
///     let mut text = vec![0; bytes.len()];
///     bytes.read(0, &mut text)?;
///     text.make_ascii_uppercase();
///     bytes.write(0, &text)
/// }
///
/// let bytes = Segment::new(5)?;
/// bytes.write(0, b"hello")?;
/// Process::spawn(upper, bytes.clone())?.join().unwrap()?;
/// assert_eq!(bytes.to_vec(), b"HELLO");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "SharedMemory")]
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    object: Object<Nothing>,
}

/// Of bytes, nobody keeps book.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Nothing(AtomicU64);

// SAFETY: atomics alone; blocks of `Kind::Inert` may begin with anything.
unsafe impl Machine for Nothing {
    const KIND: Kind = Kind::Inert;
}

impl Segment {
    /// Where the bytes begin in the file of a name. Aligned to 128.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Segment};
    ///
    /// let name = Name::new(&format!("data-at-{}", std::process::id()))?;
    /// Segment::create(&name, 5)?.write(0, b"hello")?;
    /// // As a program in any language sees it:
    /// let file = std::fs::read(format!("/dev/shm{}", name.os_id())).unwrap();
    /// assert_eq!(&file[Segment::DATA_AT..][..5], b"hello");
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub const DATA_AT: usize = segment::FIRST_AT + Object::<Nothing>::DATA_AT as usize;

    /// Where in the file their number is.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Segment};
    ///
    /// let name = Name::new(&format!("length-at-{}", std::process::id()))?;
    /// let _bytes = Segment::create(&name, 1000)?;
    /// // As a program in any language sees it:
    /// let file = std::fs::read(format!("/dev/shm{}", name.os_id())).unwrap();
    /// assert_eq!(file[Segment::LENGTH_AT..][..8], 1000_u64.to_le_bytes());
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub const LENGTH_AT: usize = segment::FIRST_AT + Object::<Nothing>::LENGTH_AT;

    /// Makes `length` bytes, which are zeros, for whom a handle is sent to.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    ///
    /// let bytes = Segment::new(1000)?;
    /// assert_eq!(bytes.to_vec(), [0; 1000]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no shared memory left, or no file descriptor for it.
    pub fn new(length: usize) -> Result<Self> {
        Self::make_at(&Site::Anywhere, &length)
    }

    /// How many bytes there are.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    ///
    /// assert_eq!(Segment::new(1000)?.len(), 1000);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        // They are mapped, so their number is one of `usize`.
        self.object.data().1 as usize
    }

    /// Whether there are none.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    ///
    /// assert!(Segment::new(0)?.is_empty());
    /// assert!(!Segment::new(1)?.is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from number `at` on into a buffer.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Segment};
    ///
    /// let bytes = Segment::new(10)?;
    /// bytes.write(4, b"hello")?;
    /// let mut word = [0; 5];
    /// bytes.read(4, &mut word)?;
    /// assert_eq!(&word, b"hello");
    /// // There are no five bytes from number 6 on.
    /// assert_eq!(bytes.read(6, &mut word).unwrap_err().kind(), ErrorKind::Bounds);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Bounds`](ErrorKind::Bounds) if there are not so many.
    pub fn read(&self, at: usize, into: &mut [u8]) -> Result<()> {
        self.bytes(at, into.len())?.read(into);
        Ok(())
    }

    /// Copies bytes to number `at` and those that follow.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Segment};
    ///
    /// let bytes = Segment::new(4)?;
    /// bytes.write(2, &[7, 8])?;
    /// assert_eq!(bytes.write(3, &[7, 8]).unwrap_err().kind(), ErrorKind::Bounds);
    /// assert_eq!(bytes.to_vec(), [0, 0, 7, 8]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Bounds`](ErrorKind::Bounds) if there are not so many.
    pub fn write(&self, at: usize, from: &[u8]) -> Result<()> {
        self.bytes(at, from.len())?.write(from);
        Ok(())
    }

    /// A copy of all bytes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    ///
    /// let bytes = Segment::new(5)?;
    /// bytes.write(0, b"hello")?;
    /// let copy = bytes.to_vec();
    /// bytes.write(0, b"world")?;
    /// assert_eq!(copy, b"hello");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len()];
        // All of them are in range.
        let _ = self.read(0, &mut copy);
        copy
    }

    /// The integer at number `at` and those that follow, to be changed atomically.
    ///
    /// All who change a byte as a part of an integer should mean the same integer. If threads mean
    /// overlapping ones of different sizes, the processor still does each access as a whole, but
    /// Rust's memory model says nothing of it, as it says nothing of other processes.
    ///
    /// # Errors
    /// [`Bounds`](ErrorKind::Bounds) if it is not in there whole, or `at` is no multiple of its
    /// size.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let bytes = Segment::new(64)?;
    /// bytes.atomic::<AtomicU32>(8)?.fetch_add(3, Ordering::Relaxed);
    /// assert_eq!(bytes.to_vec()[8..12], 3_u32.to_le_bytes());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn atomic<A: Atomic>(&self, at: usize) -> Result<&A> {
        let place = self.range(at, size_of::<A>())?;
        if !at.is_multiple_of(align_of::<A>()) {
            let what = format!("byte {at} is no place for an integer of {} bytes", size_of::<A>());
            return Err(Error::new(ErrorKind::Bounds, what));
        }
        // SAFETY: in range and, as the bytes begin at a multiple of 128, aligned; mapped as long as
        // `self`; any bytes are an `A`. Everybody else's access is an atomic too, or assembly, or
        // `unsafe`. That of an atomic of another size is outside of Rust's model, as are those of
        // other processes: what is relied on is that LLVM defines each byte of atomic accesses on
        // its own (LLVM Language Reference, Memory Model), and x86-64 each aligned access as one.
        Ok(unsafe { place.cast::<A>().as_ref() })
    }

    /// The address of the first byte, in this process. It is valid as long as this handle.
    ///
    /// Whoever uses it makes sure that no other process or thread accesses the same bytes meanwhile
    /// otherwise than atomically.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Segment;
    ///
    /// let bytes = Segment::new(64)?;
    /// let first = bytes.as_ptr();
    /// // SAFETY: there are 64 bytes, aligned to 128, and nobody else has them.
    /// unsafe { first.cast::<[u32; 16]>().write([7; 16]) };
    /// assert_eq!(bytes.to_vec()[..4], 7_u32.to_le_bytes());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.object.data().0.as_ptr()
    }

    fn range(&self, at: usize, count: usize) -> Result<NonNull<u8>> {
        let length = self.len();
        if at.checked_add(count).is_none_or(|end| length < end) {
            let what = format!("{count} bytes from number {at} on, of {length}");
            return Err(Error::new(ErrorKind::Bounds, what));
        }
        // SAFETY: within the data, or at its end.
        Ok(unsafe { self.object.data().0.add(at) })
    }

    fn bytes(&self, at: usize, count: usize) -> Result<Bytes<'_>> {
        let first = self.range(at, count)?;
        // SAFETY: mapped as long as `self`; whoever refers to them otherwise has promised that
        // nobody else accesses them (`as_ptr`).
        Ok(unsafe { Bytes::new(first, count) })
    }

    fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for Segment {
    /// Puts a handle of the bytes into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
