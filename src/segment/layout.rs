//! What a segment looks like from its first byte on.
//!
//! ```text
//! 0x00000  Header             4 KiB   who made it and how; the death epoch on a line of its own
//! 0x01000  Participant x 1024  64 KiB  lease of number i: byte 2^40 + i of the memfd
//! 0x11000  Block x 1024       192 KiB  who holds what
//! 0x41000  blocks, one after the other, in granules of 128 bytes
//! ```

use crate::raw::blocks::{BLOCKS_MAX, Block};
use crate::raw::participants::{PARTICIPANTS_MAX, Participant};
use crate::shim::{AtomicU32, AtomicU64, Futex};

/// "multiprc", little endian.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"multiprc");

/// Changes whenever a byte in a segment changes its meaning.
pub(super) const ABI: u32 = 2;

/// The first page. Written once by the maker; what changes later is on the second line.
#[repr(C, align(128))]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) abi: AtomicU32,
    _reserved: u32,
    pub(super) size: AtomicU64,
    pub(super) uuid: [AtomicU64; 2],
    _line: [u64; 11],
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

pub(super) const PARTICIPANTS_AT: usize = 0x1000;
pub(super) const BLOCKS_AT: usize =
    PARTICIPANTS_AT + PARTICIPANTS_MAX as usize * size_of::<Participant>();

/// Where the blocks begin, and how much of a segment is not theirs.
pub(super) const DATA_AT: u64 = (BLOCKS_AT + BLOCKS_MAX as usize * size_of::<Block>()) as u64;

const _: () = assert!(size_of::<Header>() <= PARTICIPANTS_AT);
const _: () = assert!(std::mem::offset_of!(Header, death_epoch) == 128);
const _: () = assert!(DATA_AT == 0x41000);
