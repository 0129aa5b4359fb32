//! What a segment looks like from its first byte on.
//!
//! ```text
//! 0x00000  Header              4 KiB   who made it and how; the death epoch on a line of its own
//! 0x00200  Label               3.5 KiB  of a segment with a name: what is in it
//! 0x01000  Participant x 1024  64 KiB  lease of number i: byte 2^60 + i of the memfd
//! 0x11000  Block x B          192 KiB  who holds what; a page where B is 1
//!          blocks, one after the other, in granules of 2^G bytes
//! ```
//!
//! `B` and `G` are in the header. An arena has many small blocks, B = 1024 and G = 7. A large
//! object has a segment of its own, B = 1, where G is what it takes to say the size in 24 bits.
//!
//! Pages of the participants' table are furnished when somebody enters there, pages of blocks when
//! they are taken, and of a sparse block as it goes on. The rest is address space.

use crate::raw::blocks::{BLOCKS_MAX, Block, GRANULE, GRANULES_MAX};
pub(super) use crate::raw::memory::PAGE;
use crate::raw::participants::{PARTICIPANTS_MAX, Participant};
use crate::shim::{AtomicU32, AtomicU64, Futex, Ordering::*};

/// "multiprc", little endian.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"multiprc");

/// Changes whenever a byte in a segment changes its meaning.
pub(crate) const ABI: u32 = 5;

/// The first page. Written once by the maker; what changes later is on the second line.
#[repr(C, align(128))]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) abi: AtomicU32,
    _reserved: u32,
    pub(super) size: AtomicU64,
    pub(super) uuid: [AtomicU64; 2],
    pub(super) granule_shift: AtomicU32,
    pub(super) blocks: AtomicU32,
    _line: [u64; 10],
    /// Counts recovered deaths; everybody who sleeps in this segment sleeps on it too.
    pub(super) death_epoch: Futex,
    /// One more than the highest number that anybody ever entered under, so that no walk goes
    /// further. Only grows.
    ///
    /// Whoever enters raises it first: an entry that is occupied is below it at any time, also if
    /// its participant dies at once. One who dies before he is in leaves a free entry below it,
    /// which costs the others a look.
    pub(super) entered: AtomicU32,
}

/// What a segment that strangers find by its name says of itself. Written before it has its name.
#[repr(C)]
pub(super) struct Label {
    /// How much of the segment had memory from the beginning: no hole of these came by itself.
    pub(super) furnished: AtomicU64,
    /// How many bytes of text follow; 0 in a segment without a name.
    length: AtomicU64,
    text: [AtomicU64; LABEL_WORDS],
}

const LABEL_WORDS: usize = (PARTICIPANTS_AT - LABEL_AT) / size_of::<u64>() - 2;

/// The longest text of a label, in bytes.
pub(super) const LABEL_MAX: usize = LABEL_WORDS * size_of::<u64>();

impl Label {
    pub(super) fn write(&self, text: &str, furnished: u64) {
        let bytes = text.as_bytes();
        // Relaxed, all: published with the name.
        for (word, bytes) in self.text.iter().zip(bytes.chunks(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        self.furnished.store(furnished, Relaxed);
        self.length.store(bytes.len() as u64, Relaxed);
    }

    /// The text, if there is one.
    pub(super) fn read(&self) -> Option<String> {
        // Relaxed, both: written before the segment had its name.
        let length = usize::try_from(self.length.load(Relaxed)).ok()?;
        if !(1..=LABEL_MAX).contains(&length) {
            return None;
        }
        let words = self.text.iter().flat_map(|word| word.load(Relaxed).to_le_bytes());
        String::from_utf8(words.take(length).collect()).ok()
    }
}

pub(super) const LABEL_AT: usize = 0x200;
pub(super) const PARTICIPANTS_AT: usize = 0x1000;
pub(super) const BLOCKS_AT: usize =
    PARTICIPANTS_AT + PARTICIPANTS_MAX as usize * size_of::<Participant>();

/// Where the object begins that has a segment for itself.
pub(crate) const FIRST_AT: usize = Geometry { granule_shift: 12, blocks: 1 }.data_at() as usize;

/// How many participants are in one page.
pub(super) const ENTRIES_A_PAGE: u32 = PAGE as u32 / size_of::<Participant>() as u32;

/// The largest granule: 16 MiB.
const GRANULE_SHIFT_MAX: u32 = 24;

/// The largest object: 256 TiB less one granule, which is more than anybody can map.
pub(super) const OBJECT_MAX: u64 = GRANULES_MAX << GRANULE_SHIFT_MAX;

/// The shape of a segment: read once from its header, checked, and kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    granule_shift: u32,
    blocks: u32,
}

impl Geometry {
    /// Of an arena.
    pub(super) const ARENA: Self =
        Self { granule_shift: GRANULE.trailing_zeros(), blocks: BLOCKS_MAX };

    /// Of the segment of one object, in granules as small as can be, but no smaller than pages.
    pub(super) fn of_one(bytes: u64) -> Option<Self> {
        Self::of_few(bytes, 1)
    }

    /// The same of some objects that go together, the largest of so many bytes.
    pub(super) fn of_few(bytes: u64, blocks: u32) -> Option<Self> {
        let fits = |shift: &u32| bytes.div_ceil(1 << shift) <= GRANULES_MAX;
        let granule_shift = (PAGE.trailing_zeros()..=GRANULE_SHIFT_MAX).find(fits)?;
        Some(Self { granule_shift, blocks })
    }

    /// What the header of a segment of this size says, if it can be true.
    pub(super) fn read(header: &Header, size: u64) -> Option<Self> {
        // Relaxed, both: written before the memory travelled through the kernel.
        let granule_shift = header.granule_shift.load(Relaxed);
        let blocks = header.blocks.load(Relaxed);
        let is_possible = (Self::ARENA.granule_shift..=GRANULE_SHIFT_MAX).contains(&granule_shift)
            && (1..=BLOCKS_MAX).contains(&blocks);
        let geometry = Self { granule_shift, blocks };
        (is_possible && geometry.data_at() <= size).then_some(geometry)
    }

    pub(super) fn write(self, header: &Header) {
        // Relaxed, both: nobody else has the memory yet.
        header.granule_shift.store(self.granule_shift, Relaxed);
        header.blocks.store(self.blocks, Relaxed);
    }

    /// How many blocks the segment can have.
    pub(super) fn blocks(self) -> u32 {
        self.blocks
    }

    /// Whether no two objects are in one page. Then the segment goes with its objects.
    pub(super) fn is_of_pages(self) -> bool {
        1 << self.granule_shift >= PAGE
    }

    /// Where the blocks begin, and how much of the segment is not theirs.
    pub(super) const fn data_at(self) -> u64 {
        let table = self.blocks as u64 * size_of::<Block>() as u64;
        (BLOCKS_AT as u64 + table).next_multiple_of(PAGE)
    }

    /// How many granules hold so many bytes.
    pub(super) fn granules(self, bytes: u64) -> u64 {
        bytes.max(1).div_ceil(1 << self.granule_shift)
    }

    /// The bytes of so many granules: 2^48 at the most, as a block has at most `GRANULES_MAX`.
    pub(super) fn bytes(self, granules: u64) -> u64 {
        granules << self.granule_shift
    }
}

const _: () = assert!(size_of::<Header>() <= LABEL_AT);
const _: () = assert!(LABEL_AT + size_of::<Label>() == PARTICIPANTS_AT);
const _: () = assert!(std::mem::offset_of!(Header, death_epoch) == 128);
const _: () = assert!(std::mem::offset_of!(Header, entered) == 132);
const _: () = assert!(Geometry::ARENA.data_at() == 0x41000);
const _: () = assert!(Geometry { granule_shift: 12, blocks: 1 }.data_at() == 0x12000);
