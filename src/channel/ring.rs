//! The rings of lanes where they lie in a segment, and the only reads and writes of messages.
#![allow(unsafe_code)]

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::Corrupt;
use crate::raw::frame::{FrameConsumer, FrameProducer, FrameView, Reservation, Reserve};
use crate::raw::lane::{Geometry, RING_AT, Role};
use crate::raw::memory::{BytesAt, HEADER, SlotsAt};
use crate::raw::spsc::{Consumer, Producer};
use crate::transfer::codec::Shape;

use super::end::End;

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Self {
        Self::new(ErrorKind::Corrupt, "the ring of a pipe was written over by something else")
    }
}

/// The writing end of a ring.
#[derive(Debug)]
pub(super) enum Writer<T> {
    Slots(Producer<SlotsAt<T>>),
    Frames(FrameProducer<BytesAt>),
}

/// The reading end of a ring.
#[derive(Debug)]
pub(super) enum Reader<T> {
    Slots(Consumer<SlotsAt<T>>),
    Frames(FrameConsumer<BytesAt>),
}

/// How many bytes a lane of this geometry takes, its head included.
pub(super) fn lane_bytes<T>(geometry: Geometry) -> Option<u64> {
    let ring = match geometry.slot {
        Some(_) => SlotsAt::<T>::bytes_for(geometry.capacity)?,
        None => BytesAt::bytes_for(geometry.capacity)?,
    };
    u64::try_from(ring.checked_add(RING_AT)?).ok()
}

impl<T> Writer<T> {
    /// Attaches to the ring of a lane whose writing side is ours.
    pub(super) fn attach(end: &Arc<End>) -> Result<Self> {
        assert_eq!(end.role(), Role::Writer);
        let geometry = end.lane().geometry();
        if is_slots::<T>(geometry)? {
            Ok(Self::Slots(Producer::attach(slots(end, geometry)?)?))
        } else {
            Ok(Self::Frames(FrameProducer::attach(frames(end, geometry)?)?))
        }
    }

    /// The payload of a frame of which exactly `count` fit on a lap.
    pub(super) fn piece(&self, count: usize) -> usize {
        match self {
            Self::Slots(_) => usize::MAX,
            // At least the length of a message and as much of it again, however small the ring.
            Self::Frames(ring) => {
                (ring.capacity() as usize / count).saturating_sub(HEADER as usize).max(16)
            }
        }
    }

    /// Writes one message into a slot, if there is room. The shape says that it is plain.
    #[inline]
    pub(super) fn push(
        ring: &mut Producer<SlotsAt<T>>,
        shape: &Shape<T>,
        value: &T,
    ) -> Result<bool, Corrupt> {
        assert!(shape.is_plain());
        // SAFETY: a plain shape exists only for `Pod` types, whose bytes may be copied anywhere;
        // the slot is a valid place for one `T`, and the producer's alone.
        ring.try_push(|slot| unsafe { std::ptr::copy_nonoverlapping(value, slot, 1) })
    }

    /// Writes as many messages as there is room for and publishes them at once; says how many.
    #[inline]
    pub(super) fn push_many(
        ring: &mut Producer<SlotsAt<T>>,
        shape: &Shape<T>,
        values: &[T],
    ) -> Result<usize, Corrupt> {
        assert!(shape.is_plain());
        let mut rest = values.iter();
        let pushed = ring.push_many(values.len() as u64, |slot| {
            let Some(value) = rest.next() else { return false };
            // SAFETY: as in `push`.
            unsafe { std::ptr::copy_nonoverlapping(value, slot, 1) };
            true
        })?;
        Ok(pushed as usize)
    }
}

impl<T> Reader<T> {
    /// Attaches to the ring of a lane whose reading side is ours.
    pub(super) fn attach(end: &Arc<End>) -> Result<Self> {
        assert_eq!(end.role(), Role::Reader);
        let geometry = end.lane().geometry();
        if is_slots::<T>(geometry)? {
            Ok(Self::Slots(Consumer::attach(slots(end, geometry)?)?))
        } else {
            Ok(Self::Frames(FrameConsumer::attach(frames(end, geometry)?)?))
        }
    }

    /// Reads one message out of its slot, if there is one. The shape says that it is plain.
    #[inline]
    pub(super) fn pop(
        ring: &mut Consumer<SlotsAt<T>>,
        shape: &Shape<T>,
    ) -> Result<Option<T>, Corrupt> {
        assert!(shape.is_plain());
        // SAFETY: a plain shape exists only for `Pod` types, for which any bytes are a value; the
        // slot is a valid place for one `T`, and the consumer's alone.
        ring.try_pop(|slot| unsafe { slot.read() })
    }

    /// Reads up to `most` messages and gives their slots back at once; says how many.
    #[inline]
    pub(super) fn pop_many(
        ring: &mut Consumer<SlotsAt<T>>,
        shape: &Shape<T>,
        most: usize,
        into: &mut Vec<T>,
    ) -> Result<usize, Corrupt> {
        assert!(shape.is_plain());
        // SAFETY: as in `pop`.
        let popped = ring.pop_many(most as u64, |slot| into.push(unsafe { slot.read() }))?;
        Ok(popped as usize)
    }
}

/// A frame that is being written. Dropped, it is as if it had never been.
#[derive(Debug)]
pub(super) struct Draft {
    reservation: Reservation,
}

/// Finds room for a frame of `length` bytes; `None` while the ring is too full.
#[inline]
pub(super) fn draft(ring: &mut FrameProducer<BytesAt>, length: usize) -> Result<Option<Draft>> {
    match ring.reserve(length)? {
        Reserve::Granted(reservation) => Ok(Some(Draft { reservation })),
        Reserve::Full => Ok(None),
        Reserve::TooLong => Err(too_long(length, ring.longest())),
    }
}

#[cold]
fn too_long(length: usize, longest: u64) -> Error {
    let what = format!(
        "{length} bytes at once: this pipe takes {longest} so, half of its \
         `PipeBuilder::capacity`; messages of any length go in pieces, where whoever sends may wait"
    );
    Error::new(ErrorKind::Limit, what)
}

impl Draft {
    /// The bytes to write. What is there now is of no meaning.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let Reservation { payload, length, .. } = &self.reservation;
        // SAFETY: the ring has reserved these bytes for the producer, who is borrowed by the
        // draft's maker for as long as the draft is in use; the peer does not touch them
        // before `commit`.
        unsafe { std::slice::from_raw_parts_mut(payload.as_ptr(), *length as usize) }
    }

    /// The bytes, for reading back.
    pub(super) fn written(&self) -> &[u8] {
        let Reservation { payload, length, .. } = &self.reservation;
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts(payload.as_ptr(), *length as usize) }
    }

    /// Publishes the first `length` bytes.
    pub(super) fn commit(self, ring: &mut FrameProducer<BytesAt>, length: usize, flags: u8) {
        ring.commit(self.reservation, length, flags);
    }
}

/// The payload of a peeked frame.
///
/// The peer has given these bytes up; one that writes to them all the same can change what is read,
/// so nothing may be checked here and then used: copy first, except where the caller's types allow
/// any bytes.
pub(super) fn payload<'a>(ring: &'a FrameConsumer<BytesAt>, view: &FrameView) -> &'a [u8] {
    let _ = ring;
    // SAFETY: `peek` checked that the payload lies within the ring, which stays mapped while the
    // consumer exists; the producer does not touch it before `release`, which needs `&mut`.
    unsafe { std::slice::from_raw_parts(view.payload.as_ptr(), view.length as usize) }
}

/// Writes over the first bytes of a peeked frame that has been read.
pub(super) fn overwrite(ring: &mut FrameConsumer<BytesAt>, view: &FrameView, word: u64) {
    let _ = ring;
    let bytes = word.to_le_bytes();
    let count = bytes.len().min(view.length as usize);
    // SAFETY: as in `payload`, whose length this does not exceed; the consumer is borrowed, so
    // nothing in this process refers to the bytes.
    unsafe { view.payload.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
}

/// Whether the lane has slots, and then of this type's size. Whether `T` may ride in them is asked
/// of the codec, at every use.
fn is_slots<T>(geometry: Geometry) -> Result<bool> {
    match geometry.slot {
        None => Ok(false),
        Some(size) if size as usize == size_of::<T>() => Ok(true),
        Some(_) => Err(Error::new(ErrorKind::Corrupt, "a pipe that was made for another type")),
    }
}

fn slots<T>(end: &Arc<End>, geometry: Geometry) -> Result<SlotsAt<T>> {
    let (base, length) = ring_of(end)?;
    // SAFETY: the block is mapped for as long as the end, which is kept beside the ring; only rings
    // attach to a lane's ring, with the geometry that its maker wrote down; the owner word lets
    // one process have each side, and this one has it through one `End`.
    Ok(unsafe { SlotsAt::new(base, length, geometry.capacity) }?)
}

fn frames(end: &Arc<End>, geometry: Geometry) -> Result<BytesAt> {
    let (base, length) = ring_of(end)?;
    // SAFETY: as in `slots`.
    Ok(unsafe { BytesAt::new(base, length, geometry.capacity) }?)
}

fn ring_of(end: &Arc<End>) -> Result<(std::ptr::NonNull<u8>, usize)> {
    let length = usize::try_from(end.shared().len()).unwrap_or(usize::MAX);
    let length = length.checked_sub(RING_AT).ok_or(Corrupt)?;
    // SAFETY: the block is longer than `RING_AT`.
    Ok((unsafe { end.shared().base().add(RING_AT) }, length))
}
