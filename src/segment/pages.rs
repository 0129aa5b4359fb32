//! Which bytes of a segment have memory behind them: given before they are touched, so that running
//! out is an error and not a signal, and taken back when nobody needs them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::participants::Participant;
use crate::raw::queue::Pages;
use crate::shim::Ordering::Relaxed;
use crate::sys::{memfd, shm};

use super::arena::Place;
use super::layout::{BLOCKS_AT, ENTRIES_A_PAGE, PAGE, PARTICIPANTS_AT};
use super::{Segment, Shared};

/// From this size on, the pages of a freed block go back to the system at once.
const PAGES_BACK_FROM: u64 = 64 << 10;

impl Segment {
    /// Gives the page of entry `id` its memory, for one who goes through the entries from the first
    /// one on and may take it.
    ///
    /// Up to the page of the highest entry that was ever taken they have theirs.
    pub(super) fn furnish_entry(&self, id: u32) -> Result<()> {
        if !id.is_multiple_of(ENTRIES_A_PAGE) || (id as usize) < self.participants().len() {
            return Ok(());
        }
        let at = PARTICIPANTS_AT as u64 + u64::from(id) * size_of::<Participant>() as u64;
        memfd::reserve(self.memory.as_fd(), at, PAGE)
            .context(|| "take memory for more participants of a segment".to_owned())
    }

    /// Gives pages to what had them when the segment was made, where holes were cut into it.
    pub(super) fn furnish_again(&self) -> io::Result<()> {
        let tables = BLOCKS_AT as u64;
        let first = PARTICIPANTS_AT as u64 + PAGE;
        // Relaxed: written before the segment had its name.
        let furnished = self.label().furnished.load(Relaxed).min(self.mapping.len() as u64);
        let end = furnished.max(self.geometry.data_at());
        let memory = self.memory.as_fd();
        for (from, end) in [(0, first), (tables, end)] {
            if !shm::is_whole(memory, from, end)? {
                memfd::reserve(memory, from, end - from)?;
            }
        }
        Ok(())
    }

    /// Gives a claimed block the pages that it begins with. What has pages is zero.
    pub(super) fn furnish_claimed(&self, place: &Place, furnished: u64) -> Result<()> {
        let furnished = furnished.min(place.length);
        memfd::reserve(self.memory.as_fd(), self.offset(place), furnished)
            .context(|| format!("take {furnished} bytes of shared memory"))?;
        if !self.gives_pages_back(place) {
            // SAFETY: `locate` checked that the range is mapped, and the claim makes it ours alone.
            unsafe { place.at.as_ptr().write_bytes(0, place.length as usize) };
        }
        Ok(())
    }

    /// Takes the bytes of a claimed block that is about to be free. False if they stay, so that it
    /// must not be free.
    pub(super) fn empty_claimed(&self, place: &Place) -> bool {
        if !self.gives_pages_back(place)
            || memfd::release(self.memory.as_fd(), self.offset(place), place.length).is_ok()
        {
            return true;
        }
        if self.geometry.is_of_pages() {
            // Zeros in the place of holes would take memory.
            return false;
        }
        // SAFETY: as in `furnish_claimed`.
        unsafe { place.at.as_ptr().write_bytes(0, place.length as usize) };
        true
    }

    /// Gives pages to a range of a block that was made without them, and to the rest of the pages
    /// that it begins and ends in. What had pages keeps its bytes; what had none is zero.
    ///
    /// Ranges of calls at the same time do not share pages: one that fails takes back what nobody
    /// has touched yet, whoever gave it.
    pub(super) fn furnish(&self, place: &Place, offset: u64, length: u64) -> Result<()> {
        let at = self.range(place, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        memfd::reserve_part(self.memory.as_fd(), at, length)
            .context(|| format!("take {length} more bytes of shared memory"))
    }

    /// Takes back the pages that are wholly within a range of a block. They are zero from now on,
    /// and whoever touches them takes memory that may not be there.
    pub(super) fn discard(&self, place: &Place, offset: u64, length: u64) -> Result<()> {
        let at = self.range(place, offset, length)?;
        let (first, end) = (at.next_multiple_of(PAGE), (at + length) & !(PAGE - 1));
        if end <= first {
            return Ok(());
        }
        memfd::release(self.memory.as_fd(), first, end - first)
            .context(|| format!("give {length} bytes of shared memory back"))
    }

    /// Where in the memfd a range of a block begins, if all of it is within the block.
    fn range(&self, place: &Place, offset: u64, length: u64) -> Result<u64> {
        if offset.checked_add(length).is_none_or(|end| place.length < end) {
            let what = format!("{length} bytes from {offset} on, of a block of {}", place.length);
            return Err(Error::new(ErrorKind::Corrupt, what));
        }
        Ok(self.offset(place) + offset)
    }

    /// Whether a free block has no pages, and so is all zeros; else its next user zeroes it.
    fn gives_pages_back(&self, place: &Place) -> bool {
        self.geometry.is_of_pages() || place.length >= PAGES_BACK_FROM
    }

    /// Where in the memfd a block begins.
    fn offset(&self, place: &Place) -> u64 {
        place.at.as_ptr() as u64 - self.mapping.base().as_ptr() as u64
    }
}

impl Pages for Shared {
    type Refused = Error;

    fn furnish(&self, offset: u64, length: u64) -> Result<()> {
        Self::furnish(self, offset, length)
    }

    fn discard(&self, offset: u64, length: u64) {
        // Pages that the system does not take back are no error: the next one has them.
        let _ = Self::discard(self, offset, length);
    }
}

/// A block of a segment, for those who recover. They have passed the gate.
impl Pages for (&Segment, u32) {
    type Refused = Error;

    fn furnish(&self, offset: u64, length: u64) -> Result<()> {
        self.0.furnish(&self.0.place(self.1)?, offset, length)
    }

    fn discard(&self, offset: u64, length: u64) {
        // As above.
        let _ = self.0.place(self.1).and_then(|place| self.0.discard(&place, offset, length));
    }
}
