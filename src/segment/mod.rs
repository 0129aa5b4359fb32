//! Room 3: shared memory as an object.
//!
//! A [`Segment`] is one sealed memfd, mapped, with a table of participants and an arena of blocks
//! ([`layout`]). A process needs one fd and one mapping for all the objects in it: the fd is its
//! lease, its access and what it makes copies of when a handle travels.
//!
//! Only what strangers are to find has a name ([`named`]). The kernel frees the memory with the
//! last process, parcel or name that has it.
#![allow(unsafe_code)]

mod arena;
mod courier;
mod fork;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod layout;
mod name;
mod named;
mod names;
mod pages;
mod picture;
mod recover;
mod registry;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::blocks::Block;
use crate::raw::participants::{PARTICIPANTS_MAX, Participant};
use crate::raw::wait::{Fence, Terms};
use crate::shim::{AtomicU32, Futex, Ordering::*, lock};
use crate::sys::clock::Deadline;
use crate::sys::{self, barrier, holder::Holder, lease, mapping::Mapping, memfd, shm};

use layout::{BLOCKS_AT, Geometry, Header, LABEL_AT, Label, MAGIC, PAGE, PARTICIPANTS_AT};

pub(crate) use arena::{Spec, allocate, allocate_apart};
pub(crate) use courier::Courier;
pub(crate) use fork::{before_fork, bequeath, heir_in};
pub(crate) use layout::{ABI, FIRST_AT};
pub use name::{Name, ToName};
pub(crate) use name::{PREFIX, hash};
pub(crate) use named::{
    GUEST, NAME, Plan, Site, make_way, open, open_as_guest, open_or_make, publish,
};
pub use names::NameInfo;
pub(crate) use names::{clean, list};
pub(crate) use picture::{Entry, Picture, Spot};
pub(crate) use recover::recover_all;
#[cfg(fuzzing)]
pub(crate) use registry::forget_arenas;
pub(crate) use registry::receive;
pub(crate) use shared::Shared;

/// One mapped segment, of which this process is a participant.
pub(crate) struct Segment {
    uuid: u128,
    geometry: Geometry,
    /// Our open file description: holds our lease, and nobody else's.
    memory: Holder,
    mapping: Mapping,
    /// Which participant we are, and of which fork; both change in a forked child.
    me: AtomicU32,
    generation: AtomicU32,
    watch: sys::fork::Watch,
    books: Mutex<Books>,
    /// Held while a dead participant is being buried.
    burying: Mutex<()>,
}

/// What this process alone knows.
#[derive(Default)]
struct Books {
    /// Where block `n` begins, for the blocks looked at so far: sizes never change.
    offsets: Vec<u64>,
    /// How many handles of this process stand on each block.
    holds: HashMap<u32, u32>,
}

impl Segment {
    /// Makes a segment with room for `bytes` of blocks; pages are taken when blocks are.
    fn create(geometry: Geometry, bytes: u64) -> Result<Arc<Self>> {
        Ok(Arc::new(Self::create_on(|size| memfd::create(c"multiproc", size), geometry, bytes, 0)?))
    }

    /// The same, on memory that `make` gives; the first numbers of participants are set aside.
    fn create_on(
        make: impl FnOnce(u64) -> io::Result<OwnedFd>,
        geometry: Geometry,
        bytes: u64,
        reserved: u32,
    ) -> Result<Self> {
        let what = || format!("make a segment for {bytes} bytes of addresses");
        let size = bytes
            .checked_add(geometry.data_at())
            .and_then(|size| size.checked_next_multiple_of(PAGE))
            .ok_or_else(|| Error::new(ErrorKind::Limit, what()))?;
        let length = usize::try_from(size).map_err(|_| Error::new(ErrorKind::Limit, what()))?;
        let memory = make(size).context(what)?;
        let tables = BLOCKS_AT as u64;
        memfd::reserve(memory.as_fd(), 0, PARTICIPANTS_AT as u64 + PAGE).context(what)?;
        memfd::reserve(memory.as_fd(), tables, geometry.data_at() - tables).context(what)?;
        let mapping = map(memory.as_fd(), length).context(what)?;
        let uuid = sys::random::uuid().context(what)?;
        let mut segment = Self::new(uuid, geometry, memory, mapping);
        segment.me = AtomicU32::new(reserved);
        let header = segment.header();
        // Relaxed, all: nobody else has the memory yet; it travels through the kernel.
        header.abi.store(ABI, Relaxed);
        header.size.store(size, Relaxed);
        header.uuid[0].store(uuid as u64, Relaxed);
        header.uuid[1].store((uuid >> 64) as u64, Relaxed);
        geometry.write(header);
        header.entered.store(reserved + 1, Relaxed);
        header.magic.store(MAGIC, Relaxed);
        lease::hold(segment.memory.as_fd(), reserved).context(what)?;
        let (others, me) = segment.entries().split_at(reserved as usize);
        others.iter().for_each(Participant::reserve);
        me[0].join(std::process::id());
        Ok(segment)
    }

    /// Maps the memory behind the lease of a courier, and enters beside him.
    fn enter(courier: BorrowedFd<'_>) -> Result<Arc<Self>> {
        let what = || "map a segment that came with a handle".to_owned();
        let size = match memfd::sealed_size(courier) {
            Ok(size) => size,
            // What has a name cannot be sealed; then nobody else can have cut it.
            Err(unsealed) => shm::check_private(courier).map_err(|_| unsealed).context(what)?.size,
        };
        let memory = memfd::reopen(courier).context(what)?;
        let segment = Self::visit(memory, size)?
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the header of a segment"))?;
        let me = segment
            .join(segment.memory.as_fd(), std::process::id())?
            .ok_or_else(courier::too_many)?;
        Ok(Arc::new(segment.into_participant(me)))
    }

    /// Maps memory of this size, without entering it; `None` if it is no segment. It has nothing to
    /// leave then.
    fn visit(memory: OwnedFd, size: u64) -> Result<Option<Self>> {
        let what = || "map a segment".to_owned();
        let Ok(length) = usize::try_from(size) else { return Ok(None) };
        // Read first: who looks at a hole through a mapping takes memory that may not be there.
        if size < PAGE || shm::first_word(memory.as_fd()).context(what)? != MAGIC {
            return Ok(None);
        }
        let mapping = map(memory.as_fd(), length).context(what)?;
        let Some((uuid, geometry)) = read_header(header_of(&mapping), size) else {
            return Ok(None);
        };
        let mut segment = Self::new(uuid, geometry, memory, mapping);
        segment.generation = AtomicU32::new(0);
        Ok(Some(segment))
    }

    /// The segment as one that this process has entered, under this number.
    fn into_participant(mut self, me: u32) -> Self {
        self.me = AtomicU32::new(me);
        self.generation = AtomicU32::new(sys::fork::generation());
        self
    }

    /// Enters under the first number that is free, or not at all; `memory` has its lease then.
    fn join(&self, memory: BorrowedFd<'_>, pid: u32) -> Result<Option<u32>> {
        let what = || "take a lease on a segment".to_owned();
        for (id, entry) in (0..).zip(self.entries()) {
            self.furnish_entry(id)?;
            if entry.is_occupied() || !lease::hold(memory, id).context(what)? {
                continue;
            }
            // Before the entry is occupied, see `Header::entered`. Release: pairs with the Acquire
            // in `participants`, as does the Release of `Participant::join` with whoever finds the
            // entry occupied.
            self.header().entered.fetch_max(id + 1, Release);
            if entry.join(pid) {
                return Ok(Some(id));
            }
            lease::release(memory, id).context(what)?;
        }
        Ok(None)
    }

    fn new(uuid: u128, geometry: Geometry, memory: OwnedFd, mapping: Mapping) -> Self {
        let memory = Holder::new(memory);
        // Registered or not, publishers of this process fence for those who are not: see `wait`.
        barrier::is_available();
        Self {
            uuid,
            geometry,
            memory,
            mapping,
            me: AtomicU32::new(0),
            generation: AtomicU32::new(sys::fork::generation()),
            watch: sys::fork::Watch::new(),
            books: Mutex::default(),
            burying: Mutex::default(),
        }
    }

    /// Whether this is the memory of the segment.
    fn is_in(&self, memory: BorrowedFd<'_>) -> bool {
        memfd::is_same(self.memory.as_fd(), memory).unwrap_or(false)
    }

    /// Whether a description that arrived is the lease of participant `id` of this segment.
    ///
    /// The number in a parcel is bytes like any: who believed it could end another's part.
    fn is_lease(&self, lease: BorrowedFd<'_>, id: u32) -> bool {
        let entry = self.participants().get(id as usize);
        entry.is_some_and(Participant::is_occupied)
            && self.is_in(lease)
            && lease::hold(lease, id).unwrap_or(false)
    }

    /// The name by which processes know that they speak of the same segment.
    pub(crate) fn uuid(&self) -> u128 {
        self.uuid
    }

    /// Which participant this process is.
    #[inline]
    pub(crate) fn me(&self) -> u32 {
        // Relaxed: changes only between a fork and everything else that the child does.
        self.me.load(Relaxed)
    }

    /// The process of a participant, by its own account; 0 if there is no such participant.
    pub(crate) fn pid_of(&self, participant: u32) -> u32 {
        self.participants().get(participant as usize).map_or(0, Participant::pid)
    }

    /// Whether this process entered the segment itself, and did not just inherit it by `fork`.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        // Relaxed: as `me`.
        let entered_in = self.generation.load(Relaxed);
        // A fork that has not asked for its generation yet must do so.
        entered_in == self.watch.now() || entered_in == sys::fork::generation()
    }

    /// The word that changes with every recovered death.
    pub(crate) fn death_epoch(&self) -> &Futex {
        &self.header().death_epoch
    }

    /// On which terms threads of this process wait here.
    pub(crate) fn terms(&self, deadline: Deadline) -> Terms<'_> {
        Terms { epoch: self.death_epoch(), how: Fence::best(), deadline }
    }

    fn header(&self) -> &Header {
        header_of(&self.mapping)
    }

    fn label(&self) -> &Label {
        // SAFETY: in the first page, which every mapping of a segment has, aligned; atomics.
        unsafe { self.mapping.base().add(LABEL_AT).cast::<Label>().as_ref() }
    }

    /// The entries in which anybody ever was, by what the header says.
    fn participants(&self) -> &[Participant] {
        &self.entries()[..self.entered().min(PARTICIPANTS_MAX) as usize]
    }

    /// One more than the highest number that anybody ever entered under. Only grows.
    #[inline]
    pub(crate) fn entered(&self) -> u32 {
        // Acquire: pairs with the Release in `join`.
        self.header().entered.load(Acquire)
    }

    /// All entries. Those beyond `participants` may have no page yet, see `furnish_entry`.
    fn entries(&self) -> &[Participant] {
        // SAFETY: the table ends before `data_at`, up to which every constructor knows the memory
        // to be mapped; entries are atomics, 64-aligned.
        unsafe {
            let table = self.mapping.base().add(PARTICIPANTS_AT).cast::<Participant>();
            std::slice::from_raw_parts(table.as_ptr(), PARTICIPANTS_MAX as usize)
        }
    }

    fn blocks(&self) -> &[Block] {
        // SAFETY: as `entries`.
        unsafe {
            let table = self.mapping.base().add(BLOCKS_AT).cast::<Block>();
            std::slice::from_raw_parts(table.as_ptr(), self.geometry.blocks() as usize)
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic in between leaves the books whole: every change is one insertion or removal.
        lock(&self.books)
    }
}

fn header_of(mapping: &Mapping) -> &Header {
    // SAFETY: every mapping of a segment has at least the page of its header, page-aligned; a
    // header is atomics and reserved integers, for which any bytes are valid.
    unsafe { mapping.base().cast::<Header>().as_ref() }
}

/// Name and shape of the segment behind a mapping of this size, if it is one.
fn read_header(header: &Header, size: u64) -> Option<(u128, Geometry)> {
    // Relaxed, all: written before the memory travelled through the kernel.
    let is_segment = header.magic.load(Relaxed) == MAGIC
        && header.abi.load(Relaxed) == ABI
        && header.size.load(Relaxed) == size;
    let words = header.uuid.each_ref().map(|word| u128::from(word.load(Relaxed)));
    let geometry = Geometry::read(header, size)?;
    is_segment.then_some((words[0] | (words[1] << 64), geometry))
}

/// Maps memory through a description of its own, which holds no lease.
///
/// A mapping keeps the description that it was made with, also in a forked child that has let go of
/// the fd.
fn map(memory: BorrowedFd<'_>, length: usize) -> io::Result<Mapping> {
    let unleased = memfd::reopen(memory)?;
    Mapping::new(unleased.as_fd(), length)
}

impl Drop for Segment {
    fn drop(&mut self) {
        // A forked child that never entered has nothing to leave: the entry is its parent's.
        if self.is_ours() {
            if self.me() == GUEST && self.label().read().is_some() {
                // Sides of a pipe that it came to, and did not take, would be nobody's.
                self.close_sides(GUEST);
            }
            self.entries()[self.me() as usize].leave();
        }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("uuid", &format_args!("{:032x}", self.uuid))
            .field("size", &self.mapping.len())
            .field("me", &self.me())
            .finish_non_exhaustive()
    }
}
