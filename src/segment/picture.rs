//! A segment as it looks to somebody who is not in it, and changes nothing in it.
//!
//! Such a one has no lease and no entry, maps nothing and writes nothing. It copies what it wants
//! to see into private memory at the same offsets, where the state machines of `raw` read it as
//! they read the segment. What changes while it is copied is torn at worst: each answer is checked
//! as that of any peer would be, and is an answer about a moment ago.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::blocks::{Block, State};
use crate::raw::participants::{PARTICIPANTS_MAX, Participant, Standing};
use crate::shim::Ordering::Relaxed;
use crate::sys::replica::{self, Replica};
use crate::sys::{lease, shm};

use super::layout::{
    ABI, BLOCKS_AT, Geometry, Header, LABEL_AT, Label, MAGIC, PAGE, PARTICIPANTS_AT,
};

/// A copy of a segment's tables, and of as much of its blocks as was asked for.
#[derive(Debug)]
pub(crate) struct Picture {
    memory: OwnedFd,
    copy: Replica,
    uuid: u128,
    geometry: Geometry,
    entered: u32,
}

/// One participant, as it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) pid: u32,
    pub(crate) standing: Standing,
    /// Whether the kernel says that it lives.
    pub(crate) has_lease: bool,
}

/// One block in use, as it was then, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) state: State,
    /// The number of its kind.
    pub(crate) kind: u32,
    pub(crate) at: u64,
    pub(crate) length: u64,
    word: u64,
}

impl Picture {
    /// Takes a picture of the tables of a segment.
    ///
    /// # Errors
    /// `Corrupt` if the memory is none of this version of this crate.
    pub(crate) fn take(memory: OwnedFd) -> Result<Self> {
        let what = || "read the tables of a segment".to_owned();
        let size = shm::facts_of(memory.as_fd()).context(what)?.size;
        // First its header alone: what is no segment can say that it has any size.
        let first = Replica::new(PAGE as usize).context(what)?;
        first.fetch(memory.as_fd(), 0, PAGE).context(what)?;
        let (uuid, geometry) = super::read_header(header_in(&first), size)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, flaw_of(header_in(&first), size)))?;
        let length = usize::try_from(size).map_err(|_| Error::new(ErrorKind::Limit, what()))?;
        let copy = Replica::new(length)
            .context(|| format!("take {length} bytes of address space for a look at a segment"))?;
        copy.fetch(memory.as_fd(), 0, PARTICIPANTS_AT as u64).context(what)?;
        // Relaxed: whoever entered since is not seen.
        let entered = header_in(&copy).entered.load(Relaxed).min(PARTICIPANTS_MAX);
        let table = u64::from(entered) * size_of::<Participant>() as u64;
        copy.fetch(memory.as_fd(), PARTICIPANTS_AT as u64, table).context(what)?;
        let blocks = geometry.data_at() - BLOCKS_AT as u64;
        copy.fetch(memory.as_fd(), BLOCKS_AT as u64, blocks).context(what)?;
        Ok(Self { memory, copy, uuid, geometry, entered })
    }

    /// The name by which processes know that they speak of the same segment.
    pub(crate) fn uuid(&self) -> u128 {
        self.uuid
    }

    /// How many deaths were recovered from.
    pub(crate) fn deaths(&self) -> u32 {
        // Relaxed: a remark.
        header_in(&self.copy).death_epoch.word().load(Relaxed)
    }

    /// What a segment with a name says that is in it.
    pub(crate) fn label(&self) -> Option<String> {
        // SAFETY: in the first page, which every copy has, aligned; atomics.
        unsafe { self.copy.base().add(LABEL_AT).cast::<Label>().as_ref() }.read()
    }

    /// One more than the highest participant there ever was.
    pub(crate) fn entered(&self) -> u32 {
        self.entered
    }

    /// Everybody who is in the segment, and those for whom a place is set aside.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        (0..).zip(self.participants()).filter_map(|(id, entry)| self.entry(id, entry)).collect()
    }

    fn entry(&self, id: u32, entry: &Participant) -> Option<Entry> {
        let standing = entry.standing();
        // Asked of the kernel after the word was read, and when in doubt it lives.
        let has_lease = || lease::is_held_elsewhere(self.memory.as_fd(), id).unwrap_or(true);
        match standing {
            Standing::Free => None,
            Standing::Reserved => Some(Entry { id, pid: 0, standing, has_lease: false }),
            _ => Some(Entry { id, pid: entry.pid(), standing, has_lease: has_lease() }),
        }
    }

    /// The process of a participant, by its own account; 0 if there is no such participant.
    pub(crate) fn pid_of(&self, id: u32) -> u32 {
        self.participants().get(id as usize).map_or(0, Participant::pid)
    }

    /// The blocks that are in use, and what is wrong with the table of blocks, if something is.
    pub(crate) fn spots(&self) -> (Vec<Spot>, Option<String>) {
        let (mut spots, mut at) = (Vec::new(), self.geometry.data_at());
        for (index, block) in (0..).zip(self.blocks()) {
            let state = block.state();
            if state == State::Virgin {
                break;
            }
            let length = self.geometry.bytes(block.granules());
            if length == 0 || self.copy.len() - at < length {
                return (spots, Some(format!("the size of block {index} is none")));
            }
            if state != State::Free {
                let (kind, generation, word) = (block.kind(), block.generation(), block.word());
                spots.push(Spot { index, generation, state, kind, at, length, word });
            }
            at += length;
        }
        (spots, None)
    }

    /// Who has a handle on what is in a block.
    pub(crate) fn users_of(&self, spot: &Spot) -> Vec<u32> {
        let block = &self.blocks()[spot.index as usize];
        (0..self.entered).filter(|id| block.is_held_by(*id)).collect()
    }

    /// Whether the block is still in the state in which it was seen.
    pub(crate) fn is_still(&self, spot: &Spot) -> bool {
        let at = BLOCKS_AT as u64 + u64::from(spot.index) * size_of::<Block>() as u64;
        let now = replica::word_of(self.memory.as_fd(), at);
        now.is_ok_and(|word| word == Some(spot.word))
    }

    /// Copies a range of a block, as far as the block has it. False if that failed.
    pub(crate) fn fetch(&self, spot: &Spot, offset: u64, length: u64) -> bool {
        let Some(rest) = spot.length.checked_sub(offset) else { return false };
        self.copy.fetch(self.memory.as_fd(), spot.at + offset, length.min(rest)).is_ok()
    }

    /// The first byte of the copy of a block, which has all its bytes; those that were not fetched
    /// are zero. It is aligned as blocks are, and stays as long as the picture.
    pub(crate) fn base_of(&self, spot: &Spot) -> NonNull<u8> {
        assert!(spot.at <= self.copy.len() && spot.length <= self.copy.len() - spot.at);
        // SAFETY: within the copy (checked above).
        unsafe { self.copy.base().add(spot.at as usize) }
    }

    fn participants(&self) -> &[Participant] {
        // SAFETY: the copy is no shorter than `data_at`, and the table ends before that; aligned,
        // as the copy is to a page; atomics.
        unsafe {
            let table = self.copy.base().add(PARTICIPANTS_AT).cast::<Participant>();
            std::slice::from_raw_parts(table.as_ptr(), self.entered as usize)
        }
    }

    fn blocks(&self) -> &[Block] {
        // SAFETY: as above.
        unsafe {
            let table = self.copy.base().add(BLOCKS_AT).cast::<Block>();
            std::slice::from_raw_parts(table.as_ptr(), self.geometry.blocks() as usize)
        }
    }
}

fn header_in(copy: &Replica) -> &Header {
    // SAFETY: every copy has the page of the header, aligned; a header is atomics and reserved
    // integers, for which any bytes are valid.
    unsafe { copy.base().cast::<Header>().as_ref() }
}

/// Why memory of this size that begins so is no segment of ours.
fn flaw_of(header: &Header, size: u64) -> String {
    // Relaxed, all: a remark.
    let (magic, abi) = (header.magic.load(Relaxed), header.abi.load(Relaxed));
    let said = header.size.load(Relaxed);
    match () {
        () if magic != MAGIC => "it is nothing of this crate".to_owned(),
        () if abi != ABI => format!("its layout is number {abi}, and this program knows {ABI}"),
        () if said != size => format!("it has {size} bytes, and says that it has {said}"),
        () => "its header says of its blocks what cannot be".to_owned(),
    }
}
