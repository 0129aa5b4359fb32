//! One object in a picture: what of it is copied, and the state machine in the copy.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ptr::NonNull;

use crate::raw::Corrupt;
use crate::raw::frame::FrameProducer;
use crate::raw::kind::Kind;
use crate::raw::lane::{Lane, RING_AT};
use crate::raw::memory::{BytesAt, Cursor, Cursors, FrameMemory, GRANULE};
use crate::raw::queue::{HEAD_BYTES, Pages, QueueAt};
use crate::segment::{Picture, Spot};
use crate::shim::AtomicU64;
use crate::sync::object::{Glance, Machine};

/// No more of one object is copied.
const BYTES_MAX: u64 = 32 << 20;

/// In what the records of a pipe are copied.
const CHUNK: u64 = 4096;

/// A look at one object.
pub(super) struct Window<'a> {
    picture: &'a Picture,
    spot: &'a Spot,
    /// How much may be copied still.
    left: Cell<u64>,
}

impl<'a> Window<'a> {
    pub(super) fn new(picture: &'a Picture, spot: &'a Spot) -> Self {
        Self { picture, spot, left: Cell::new(BYTES_MAX) }
    }

    pub(super) fn picture(&self) -> &'a Picture {
        self.picture
    }

    /// Copies a range of the object. False if that failed, or it was too much altogether.
    pub(super) fn fetch(&self, offset: u64, length: u64) -> bool {
        match self.left.get().checked_sub(length) {
            Some(left) => {
                self.left.set(left);
                self.picture.fetch(self.spot, offset, length)
            }
            None => false,
        }
    }

    fn base(&self) -> NonNull<u8> {
        self.picture.base_of(self.spot)
    }

    fn length(&self) -> u64 {
        self.spot.length
    }

    /// The machine that blocks of its kind begin with. `None` if this one is too short.
    pub(super) fn machine<M: Machine>(&self) -> Option<Glance<'a, M>> {
        if !self.fetch(0, Glance::<M>::BYTES) {
            return None;
        }
        // SAFETY: the copy of a block has all its bytes and stays as long as the picture; blocks
        // are aligned to 128, and nobody has a reference to the copy but as atomics.
        unsafe { Glance::at(self.base(), self.length()) }
    }

    /// What a pipe begins with, and how much of its block is its ring's.
    pub(super) fn lane(&self) -> Option<(&'a Lane, u64)> {
        let rest = self.length().checked_sub(RING_AT as u64)?;
        if self.length() < Kind::Lane.least_bytes() || !self.fetch(0, RING_AT as u64) {
            return None;
        }
        // SAFETY: as in `machine`; a lane is atomics, and no longer than `RING_AT`.
        Some((unsafe { self.base().cast::<Lane>().as_ref() }, rest))
    }

    /// The cursors of a pipe whose ring has slots.
    pub(super) fn cursors(&self) -> Option<&'a Cursors> {
        let length = size_of::<Cursors>() as u64;
        let is_there = RING_AT as u64 + length <= self.length();
        if !is_there || !self.fetch(RING_AT as u64, length) {
            return None;
        }
        // SAFETY: as in `machine`; there are as many bytes (checked above), and `RING_AT` is a
        // multiple of 128; cursors are atomics.
        Some(unsafe { self.base().add(RING_AT).cast::<Cursors>().as_ref() })
    }

    /// How many bytes of records were ever written and released in a pipe of frames.
    pub(super) fn frames(&self, capacity: u64) -> Option<(u64, u64)> {
        let length = usize::try_from(self.length()).ok()?.checked_sub(RING_AT)?;
        if !self.fetch(RING_AT as u64, size_of::<Cursor>() as u64) {
            return None;
        }
        // SAFETY: the bytes are those of the copy behind `RING_AT`, as in `machine`; nobody else
        // has a ring there.
        let bytes = unsafe { BytesAt::new(self.base().add(RING_AT), length, capacity) }.ok()?;
        let (chunks, is_whole) = (RefCell::default(), Cell::new(true));
        let records = Records { window: self, bytes, chunks, is_whole: &is_whole };
        let counts = FrameProducer::attach(records).ok()?.counts();
        is_whole.get().then_some(counts)
    }

    /// The queue, of which what its plan says to be control words is copied.
    pub(super) fn queue(&self) -> Result<QueueAt, Corrupt> {
        if !self.fetch(0, HEAD_BYTES) {
            return Err(Corrupt);
        }
        // SAFETY: as in `machine`; nothing but this is made of the bytes of the copy.
        let at = unsafe { QueueAt::new(self.base(), self.length()) }?;
        let control = at.control();
        if self.fetch(0, control.end as u64) { Ok(at) } else { Err(Corrupt) }
    }
}

/// The records of a pipe, copied as they are come to.
struct Records<'a> {
    window: &'a Window<'a>,
    bytes: BytesAt,
    chunks: RefCell<HashSet<u64>>,
    /// Whether everything that was asked for could be copied.
    is_whole: &'a Cell<bool>,
}

impl Records<'_> {
    fn fetch(&self, position: u64) {
        let offset = position & (self.bytes.capacity() - GRANULE);
        let chunk = (RING_AT as u64 + size_of::<Cursor>() as u64 + offset) / CHUNK;
        let is_new = self.chunks.borrow_mut().insert(chunk);
        if is_new && !self.window.fetch(chunk * CHUNK, CHUNK) {
            self.is_whole.set(false);
        }
    }
}

// SAFETY: all answers are those of `bytes`, which keeps the promises.
unsafe impl FrameMemory for Records<'_> {
    fn capacity(&self) -> u64 {
        self.bytes.capacity()
    }

    fn head(&self) -> &Cursor {
        self.bytes.head()
    }

    fn header(&self, position: u64) -> &AtomicU64 {
        self.fetch(position);
        self.bytes.header(position)
    }

    fn payload(&self, position: u64) -> NonNull<u8> {
        self.bytes.payload(position)
    }
}

/// Nobody gets memory by looking.
pub(super) struct NoPages;

impl Pages for NoPages {
    type Refused = ();

    fn furnish(&self, _offset: u64, _length: u64) -> Result<(), ()> {
        Err(())
    }

    fn discard(&self, _offset: u64, _length: u64) {}
}
