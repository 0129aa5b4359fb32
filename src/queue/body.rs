//! The bodies of messages where they lie: the only reads and writes of payload.
//!
//! A block belongs to one handle at a time, the ring sees to that, and a run in the stock belongs
//! to a block. So whoever has the handle has the bytes.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::raw::queue::RingAt;
use crate::transfer::codec::Shape;

/// Where in a block the payload is, and how much of it there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    payload_at: usize,
    bytes: usize,
}

/// The body of one message: in a block that is ours, or in the run of one.
///
/// It is used no longer than the handle is borrowed that has the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    at: NonNull<u8>,
    length: usize,
}

// SAFETY: the address is of shared memory, or of a word that the handle keeps, and is used only by
// who borrows the handle; the bytes are of types that are nothing but bytes.
unsafe impl Send for Body {}
// SAFETY: as above; through a shared reference they are only read.
unsafe impl Sync for Body {}

impl Room {
    pub(super) fn new(payload_at: u32, bytes: usize) -> Self {
        Self { payload_at: payload_at as usize, bytes }
    }

    /// How many bytes lie in the block itself.
    #[inline]
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// The first `length` bytes of the payload of a block. No more than there is room for.
    #[inline]
    pub(super) fn body(self, ring: &RingAt, block: u32, length: usize) -> Body {
        // SAFETY: the payload of a block begins within it, as its plan says.
        let at = unsafe { ring.block(block).add(self.payload_at) };
        Body { at, length: length.min(self.bytes) }
    }
}

impl Body {
    /// The `length` bytes at `at`.
    ///
    /// # Safety
    ///
    /// - They are mapped for as long as the queue, and belong to a block of the caller's handle.
    pub(super) unsafe fn new(at: NonNull<u8>, length: usize) -> Self {
        Self { at, length }
    }

    /// The first `length` bytes of a word that is kept as long as the handle.
    #[inline]
    pub(super) fn in_word(word: &mut u64, length: usize) -> Self {
        Self { at: NonNull::from(word).cast(), length: length.min(size_of::<u64>()) }
    }

    /// How many bytes it has.
    #[inline]
    pub(super) fn length(self) -> usize {
        self.length
    }

    /// Whether it has this length.
    #[inline]
    pub(super) fn has_length(self, length: usize) -> bool {
        self.length == length
    }

    /// The same, if it has this length.
    #[inline]
    pub(super) fn of_length(self, length: usize) -> Option<Self> {
        self.has_length(length).then_some(self)
    }

    /// The same, if a `T` can be seen in it: by its length, and by where it is.
    #[inline]
    pub(super) fn of_value<T>(self) -> Option<Self> {
        self.of_length(size_of::<T>()).filter(|body| body.at.cast::<T>().is_aligned())
    }

    /// Writes a value. The shape says that it is plain.
    #[inline]
    pub(super) fn write<T>(self, shape: &Shape<T>, value: &T) {
        assert!(shape.is_plain() && size_of::<T>() <= self.length);
        // SAFETY: a plain shape exists only for `Pod` types, whose bytes may be copied anywhere;
        // they fit, and the body is this handle's alone.
        unsafe {
            let from = std::ptr::from_ref(value).cast::<u8>();
            std::ptr::copy_nonoverlapping(from, self.at.as_ptr(), size_of::<T>());
        }
    }

    /// Reads a value. The shape says that it is plain.
    #[inline]
    pub(super) fn read<T>(self, shape: &Shape<T>) -> T {
        assert!(shape.is_plain() && size_of::<T>() <= self.length);
        // SAFETY: a plain shape exists only for `Pod` types, for which any bytes are a value.
        unsafe { self.at.cast::<T>().as_ptr().read_unaligned() }
    }

    /// Writes what another body has, as far as there is room.
    pub(super) fn copy_from(self, other: Self) {
        let length = self.length.min(other.length);
        // SAFETY: both are mapped, and at least this long. Where foreign bytes have led to them
        // they may overlap, which this copy may.
        unsafe { std::ptr::copy(other.at.as_ptr(), self.at.as_ptr(), length) };
    }

    /// The bytes.
    #[inline]
    pub(super) fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: they are mapped and this handle's alone, for as long as the handle is borrowed,
        // which the callers' signatures say.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }

    /// The bytes, to be written.
    #[inline]
    pub(super) fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: as in `bytes`; the callers borrow the handle mutably.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.length) }
    }
}
