//! What every handle of a lock or its kin is: a state machine in place, whose process this is, and
//! how it crosses.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::barrier::Barrier;
use crate::raw::condition::Condition;
use crate::raw::event::Event;
use crate::raw::kind::Kind;
use crate::raw::mutex::{Me, Mutex};
use crate::raw::rwlock::RwLock;
use crate::raw::semaphore::Semaphore;
use crate::segment::{Segment, Shared, Site, Spec};
use crate::shim::{AtomicU64, Ordering::Relaxed};
use crate::sys::thread;
use crate::transfer::cargo;

/// A state machine that blocks of one kind begin with.
///
/// # Safety
/// - It is made of atomics alone, so any bytes are a valid one; zeros are a fresh one.
/// - A block of `KIND` begins with something that begins with a `Self`.
pub(crate) unsafe trait Machine: Sync {
    /// The kind of the block, by which the janitor finds what to give back.
    const KIND: Kind;

    /// What data begins at a multiple of: 128 at the most.
    const LINE: u64 = 128;
}

// SAFETY: atomics alone; `Kind::Mutex` says so of its blocks.
unsafe impl Machine for Mutex {
    const KIND: Kind = Kind::Mutex;
}

// SAFETY: atomics alone; `Kind::Condition` says so of its blocks.
unsafe impl Machine for Condition {
    const KIND: Kind = Kind::Condition;
}

// SAFETY: an atomic; `Kind::Event` says so of its blocks.
unsafe impl Machine for Event {
    const KIND: Kind = Kind::Event;
}

// SAFETY: atomics alone; `Kind::Barrier` says so of its blocks.
unsafe impl Machine for Barrier {
    const KIND: Kind = Kind::Barrier;
}

// SAFETY: atomics alone; `Kind::Semaphore` says so of its blocks.
unsafe impl Machine for Semaphore {
    const KIND: Kind = Kind::Semaphore;
}

// SAFETY: atomics alone; `Kind::RwLock` says so of its blocks.
unsafe impl Machine for RwLock {
    const KIND: Kind = Kind::RwLock;
}

/// The beginning of a block: the machine, and what kind of handle belongs to it.
#[repr(C)]
struct Head<M> {
    machine: M,
    /// Of the type of the handle, as its maker calls it. Written once, for those who look.
    fingerprint: AtomicU64,
    /// How many bytes of data are behind the head. Written once.
    data: AtomicU64,
}

/// What a block begins with, for those who look at a copy of it.
#[derive(Debug)]
pub(crate) struct Glance<'a, M> {
    pub(crate) machine: &'a M,
    /// Of the type of the handle, as its maker calls it.
    pub(crate) fingerprint: u64,
    /// How many bytes of data it says that it has.
    pub(crate) data: u64,
}

impl<M: Machine> Glance<'_, M> {
    /// How many bytes are looked at.
    pub(crate) const BYTES: u64 = size_of::<Head<M>>() as u64;

    /// What the `length` bytes at `base` begin with. `None` if they are too few.
    ///
    /// # Safety
    /// - They are valid for reads and writes as long as what this gives, aligned to 128, and nobody
    ///   has a reference to them but as atomics.
    pub(crate) unsafe fn at(base: NonNull<u8>, length: u64) -> Option<Self> {
        if length < Self::BYTES {
            return None;
        }
        // SAFETY: as many bytes are there, and aligned, by the caller's word; a head is atomics,
        // of which any bytes are valid ones.
        let head = unsafe { base.cast::<Head<M>>().as_ref() };
        // Relaxed, both: written before the block was opened.
        let (fingerprint, data) = (head.fingerprint.load(Relaxed), head.data.load(Relaxed));
        Some(Self { machine: &head.machine, fingerprint, data })
    }
}

/// How much data an object has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Its bytes.
    pub(crate) length: u64,
    /// Only the first so many of them have memory from the beginning, where that is less than all.
    pub(crate) furnished: u64,
}

impl Extent {
    /// No data.
    pub(crate) const NONE: Self = Self::of(0);

    /// So many bytes, which all have memory.
    pub(crate) const fn of(length: u64) -> Self {
        Self { length, furnished: u64::MAX }
    }
}

/// A handle of one shared object, which begins with a machine and may have data behind it.
#[derive(Debug)]
pub(crate) struct Object<M> {
    shared: Shared,
    machine: NonNull<M>,
    data: NonNull<u8>,
    length: u64,
    /// Of the type of this handle, as this program calls it.
    fingerprint: u64,
    _machine: PhantomData<M>,
}

// SAFETY: the machine is `Sync` and is reached through shared references alone; what is done with
// the data is the business of those who ask for its address.
unsafe impl<M: Machine> Send for Object<M> {}
// SAFETY: as above.
unsafe impl<M: Machine> Sync for Object<M> {}

impl<M> Clone for Object<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), ..*self }
    }
}

/// Two handles are equal if they are of one object.
impl<M> PartialEq for Object<M> {
    fn eq(&self, other: &Self) -> bool {
        self.shared.block() == other.shared.block()
            && self.shared.segment().uuid() == other.shared.segment().uuid()
    }
}

impl<M> Eq for Object<M> {}

impl<M: Machine> Object<M> {
    /// Where data begins.
    pub(crate) const DATA_AT: u64 = (size_of::<Head<M>>() as u64).next_multiple_of(M::LINE);

    /// Where the length of the data is.
    pub(crate) const LENGTH_AT: usize = std::mem::offset_of!(Head<M>, data);

    /// Makes an object without data. `init` completes it before anybody sees it.
    pub(crate) fn make(site: &Site<'_>, fingerprint: u64, init: impl Fn(&M)) -> Result<Self> {
        Self::make_with(site, fingerprint, Extent::NONE, |machine, _| init(machine))
    }

    /// Makes an object with data, which is zeros. `init` completes it before anybody sees it.
    pub(crate) fn make_with(
        site: &Site<'_>,
        fingerprint: u64,
        extent: Extent,
        init: impl Fn(&M, NonNull<u8>),
    ) -> Result<Self> {
        let Extent { length, furnished } = extent;
        let too_long = || Error::new(ErrorKind::Limit, format!("an object of {length} bytes"));
        let total = length.checked_add(Self::DATA_AT).ok_or_else(too_long)?;
        let start = |at: NonNull<u8>, _me| {
            // SAFETY: the block is zeroed, aligned to a line, longer than the head and nobody
            // else's; zeros are a valid head.
            let head = unsafe { at.cast::<Head<M>>().as_ref() };
            // Relaxed, both: nobody else sees the block before it is opened.
            head.fingerprint.store(fingerprint, Relaxed);
            head.data.store(length, Relaxed);
            // SAFETY: the data begins within the block, or at its end.
            init(&head.machine, unsafe { at.add(Self::DATA_AT as usize) });
        };
        let furnished = furnished.saturating_add(Self::DATA_AT);
        let spec = Spec { kind: M::KIND, bytes: total, furnished, init: &start };
        Self::on(site.make(&spec, |_| Ok(()))?, fingerprint)
    }

    /// The object in a block, which is one of a type with this fingerprint.
    pub(crate) fn on(shared: Shared, fingerprint: u64) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a lock or value that is none");
        if !shared.is(M::KIND) || shared.len() < Self::DATA_AT {
            return Err(corrupt());
        }
        // SAFETY: long enough (checked above), and a block of this kind begins with a head, which
        // is atomics.
        let head = unsafe { shared.get::<Head<M>>() };
        // Relaxed: written before the block was opened, and read once.
        let length = head.data.load(Relaxed);
        if shared.len() - Self::DATA_AT < length {
            return Err(corrupt());
        }
        let machine = NonNull::from(&head.machine);
        // SAFETY: within the block, or at its end.
        let data = unsafe { shared.base().add(Self::DATA_AT as usize) };
        Ok(Self { shared, machine, data, length, fingerprint, _machine: PhantomData })
    }

    /// The machine.
    #[inline]
    pub(crate) fn machine(&self) -> &M {
        // SAFETY: found in range by `on`; mapped as long as `shared`; atomics.
        unsafe { self.machine.as_ref() }
    }

    /// The first byte of the data, aligned to the line of the machine, and how many there are.
    #[inline]
    pub(crate) fn data(&self) -> (NonNull<u8>, u64) {
        (self.data, self.length)
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        self.shared.segment()
    }

    /// This thread, as a part of the participant that this process is.
    ///
    /// # Errors
    /// `Forked` in a child that was forked without [`Process::fork`](crate::Process::fork).
    #[inline]
    pub(crate) fn me(&self) -> Result<Me> {
        let segment = self.shared.segment();
        if !segment.is_ours() {
            return Err(forked());
        }
        Ok(Me { participant: segment.me(), thread: thread::number() })
    }

    /// Whether this process is still that participant: not so in a forked child.
    #[inline]
    pub(crate) fn is_still(&self, participant: u32) -> bool {
        let segment = self.shared.segment();
        segment.is_ours() && segment.me() == participant
    }
}

#[cfg(test)]
impl<M: Machine> Object<M> {
    /// All words of the block, to write over.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let length = self.shared.len() as usize / size_of::<AtomicU64>();
        let base = self.shared.base().cast::<AtomicU64>();
        // SAFETY: mapped as long as `shared`, aligned, and atomics like all that is in it.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), length) }
    }
}

#[cold]
fn forked() -> Error {
    let what = "a lock or value that was inherited by fork belongs to the parent: fork with \
                `Process::fork`";
    Error::new(ErrorKind::Forked, what)
}

/// What is written in the place of a handle: the number of its block in the parcel, and the type.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Shared")]
struct Ticket {
    block: u32,
    fingerprint: u64,
}

impl<M: Machine> Object<M> {
    /// Puts the object into the parcel that is being packed.
    pub(crate) fn pack<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let packed = self.me().and_then(|_| cargo::put_block(&self.shared, None));
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let block = packed.map_err(failed)?;
        Ticket { block, fingerprint: self.fingerprint }.serialize(serializer)
    }

    /// Takes an object of this fingerprint out of the parcel that is being unpacked.
    pub(crate) fn unpack<'de, D: Deserializer<'de>>(
        deserializer: D,
        fingerprint: u64,
    ) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        Self::arrive(&ticket, fingerprint).map_err(failed)
    }

    fn arrive(ticket: &Ticket, fingerprint: u64) -> Result<Self> {
        let object = Self::on(cargo::take_block(ticket.block)?.shared, fingerprint)?;
        if ticket.fingerprint != fingerprint {
            let what = "a lock or value was sent as one of another type";
            return Err(Error::new(ErrorKind::Codec, what));
        }
        Ok(object)
    }
}
