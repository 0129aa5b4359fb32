//! Taking blocks, finding them, and giving them back.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::error::{Error, ErrorKind, Result};
use crate::raw::blocks::{State, granules_for};
use crate::raw::kind::Kind;
use crate::raw::participants::PARTICIPANTS_MAX;

use super::layout::{Geometry, OBJECT_MAX};
use super::{Books, Segment, Shared, registry};

/// Room for blocks in an arena. Address space only: pages are taken with each block.
const ARENA_SIZE: u64 = 128 << 20;

/// A larger object gets a segment of its own, which goes when the object goes.
const LARGE: u64 = 16 << 20;

/// What an object is to be like.
pub(crate) struct Spec<'a> {
    pub(crate) kind: Kind,
    /// How many bytes it has. They are zeros.
    pub(crate) bytes: u64,
    /// How many of them have memory behind them from the beginning; all, if that is more than there
    /// are. The rest is address space: no byte of it may be touched before [`Shared::furnish`] gave
    /// it its pages, as whoever touches it takes memory that may not be there.
    pub(crate) furnished: u64,
    /// Completes it before anybody else can see it, being told which participant its maker is.
    pub(crate) init: &'a dyn Fn(NonNull<u8>, u32),
}

impl Spec<'_> {
    fn is_sparse(&self) -> bool {
        self.furnished < self.bytes
    }
}

/// Makes an object in the memory of this process, for those whom a handle is sent to.
pub(crate) fn allocate(spec: &Spec<'_>) -> Result<Shared> {
    let bytes = spec.bytes;
    if bytes > LARGE || spec.is_sparse() {
        return allocate_apart(spec);
    }
    let _gate = registry::gate();
    let granules = granules_for(bytes).ok_or_else(|| too_large(bytes))?;
    let request = Request::new(granules, spec);
    for segment in registry::arenas() {
        match segment.take(&request) {
            Ok(Some(place)) => return Ok(Shared::first(segment, place)),
            Ok(None) => {}
            // Somebody wrote over its tables: that is no room, and what is in it stays.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    let segment = Segment::create(Geometry::ARENA, ARENA_SIZE)?;
    registry::add_arena(&segment);
    let place = segment.take(&request)?.ok_or_else(|| too_large(bytes))?;
    Ok(Shared::first(segment, place))
}

/// Makes an object in a segment of its own, where whoever gets a handle of it finds nothing else.
pub(crate) fn allocate_apart(spec: &Spec<'_>) -> Result<Shared> {
    let _gate = registry::gate();
    let geometry = Geometry::of_one(spec.bytes).ok_or_else(|| too_large(spec.bytes))?;
    let granules = geometry.granules(spec.bytes);
    let segment = Segment::create(geometry, geometry.bytes(granules))?;
    registry::add(&segment);
    let place = segment.take(&Request::new(granules, spec))?;
    Ok(Shared::first(segment, place.ok_or_else(|| too_large(spec.bytes))?))
}

pub(super) fn too_large(bytes: u64) -> Error {
    let what = format!("an object of {bytes} bytes: objects end at {OBJECT_MAX}");
    Error::new(ErrorKind::Limit, what)
}

fn corrupt(index: u32) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the size of block {index} of a segment"))
}

/// What a block must be like.
pub(super) struct Request<'a> {
    /// Its size, in granules of the segment.
    granules: u64,
    spec: &'a Spec<'a>,
}

impl<'a> Request<'a> {
    pub(super) fn new(granules: u64, spec: &'a Spec<'a>) -> Self {
        Self { granules, spec }
    }
}

/// A block that was taken, as it was found then.
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) at: NonNull<u8>,
    pub(super) length: u64,
}

impl Segment {
    /// Takes a block, or `None` if there is no room for it here.
    pub(super) fn take(&self, request: &Request<'_>) -> Result<Option<Place>> {
        let (me, granules, spec) = (self.me(), request.granules, request.spec);
        let bytes = self.geometry.bytes(granules);
        for (index, block) in (0..).zip(self.blocks()) {
            let state = block.state();
            let may_fit = match state {
                State::Free => block.granules() == granules,
                State::Virgin => {
                    let begin = self.begin(&mut self.books(), index)?;
                    if begin + bytes > self.mapping.len() as u64 {
                        return Ok(None);
                    }
                    true
                }
                _ => false,
            };
            // What this process holds is not free, whatever its word says.
            if !may_fit || self.is_counted(index) {
                continue;
            }
            let claimed = match state {
                State::Virgin => block.claim_virgin(me, granules),
                _ => block.claim_free(me, granules),
            };
            if !claimed {
                continue;
            }
            let place = self.place(index)?;
            if place.length < bytes {
                // It stays claimed: its word lies about its size.
                return Err(corrupt(index));
            }
            if let Err(error) = self.furnish_claimed(&place, spec.furnished) {
                self.give_back(index);
                return Err(error);
            }
            (spec.init)(place.at, me);
            block.open(me, spec.kind as u32);
            return Ok(Some(place));
        }
        Ok(None)
    }

    /// Frees a block that is claimed by us and torn down.
    pub(super) fn give_back(&self, index: u32) {
        if self.place(index).is_ok_and(|place| !self.empty_claimed(&place)) {
            // It stays claimed, and goes with the segment.
            return;
        }
        self.blocks()[index as usize].free(self.me());
    }

    /// Where a block is and how long, by this process's own account.
    pub(crate) fn locate(&self, index: u32) -> Result<(NonNull<u8>, u64)> {
        let Place { at, length, .. } = self.place(index)?;
        Ok((at, length))
    }

    pub(super) fn place(&self, index: u32) -> Result<Place> {
        if index >= self.geometry.blocks() {
            return Err(corrupt(index));
        }
        self.place_by(&mut self.books(), index)
    }

    fn place_by(&self, books: &mut Books, index: u32) -> Result<Place> {
        let begin = self.begin(books, index)?;
        let end = self.begin(books, index + 1)?;
        // SAFETY: `begin < end <= mapping.len()`.
        let at = unsafe { self.mapping.base().add(begin as usize) };
        Ok(Place { index, at, length: end - begin })
    }

    /// Where block `index` begins: behind all before it. Sizes are read once and then kept, so no
    /// two blocks ever overlap here, whatever becomes of their words.
    fn begin(&self, books: &mut Books, index: u32) -> Result<u64> {
        if books.offsets.is_empty() {
            books.offsets.push(self.geometry.data_at());
        }
        while books.offsets.len() <= index as usize {
            let last = books.offsets.len() - 1;
            let granules = self.blocks()[last].granules();
            let next = books.offsets[last] + self.geometry.bytes(granules);
            if granules == 0 || next > self.mapping.len() as u64 {
                return Err(corrupt(last as u32));
            }
            books.offsets.push(next);
        }
        Ok(books.offsets[index as usize])
    }

    /// One more handle of this process on a block that this process, or a courier to it, holds.
    pub(super) fn hold(&self, index: u32) {
        let mut books = self.books();
        let count = books.holds.entry(index).or_insert(0);
        *count += 1;
        if *count == 1
            && let Some(block) = self.blocks().get(index as usize)
        {
            block.hold(self.me());
        }
    }

    /// One handle less; with the last of all participants the block goes. How many handles of it
    /// this process still has.
    pub(super) fn unhold(&self, index: u32) -> u32 {
        if !self.is_ours() {
            return 0;
        }
        let mut books = self.books();
        let Some(count) = books.holds.get_mut(&index) else { return 0 };
        *count -= 1;
        if *count > 0 {
            return *count;
        }
        books.holds.remove(&index);
        // Released under the lock, so that a handle that arrives meanwhile holds after it.
        let Some(block) = self.blocks().get(index as usize) else { return 0 };
        if block.state() == State::Live
            && let Some(kind) = Kind::from_number(block.kind())
            && kind.is_a_lock()
            && let Ok(place) = self.place_by(&mut books, index)
        {
            // A guard that was forgotten would be held by nobody in the end.
            self.sweep_object(&place, index, kind, self.me(), false);
        }
        let last = block.release(self.me(), self.me());
        drop(books);
        if last {
            self.give_back(index);
        }
        0
    }

    /// Counts the first handle of a block that `take` opened with us as its holder.
    pub(super) fn count_first(&self, index: u32) {
        self.books().holds.insert(index, 1);
    }
}

impl Segment {
    /// What a live block holds.
    pub(crate) fn kind_of(&self, index: u32) -> Option<Kind> {
        let block = self.blocks().get(index as usize)?;
        if block.state() == State::Live { Kind::from_number(block.kind()) } else { None }
    }

    /// Whether this process has one handle on the block, and nobody else any: so it stays, until
    /// this handle is passed on.
    pub(super) fn is_alone_on(&self, index: u32) -> bool {
        let books = self.books();
        let block = self.blocks().get(index as usize);
        books.holds.get(&index) == Some(&1)
            && block.is_some_and(|block| block.is_held_by_none_but(Some(self.me())))
    }

    /// How many participants hold the block, but for this process.
    pub(super) fn others_on(&self, index: u32) -> usize {
        let Some(block) = self.blocks().get(index as usize) else { return 0 };
        let me = self.me();
        (0..self.entered().min(PARTICIPANTS_MAX))
            .filter(|id| *id != me && block.is_held_by(*id))
            .count()
    }

    /// Whether any handle of this process stands on the block.
    fn is_counted(&self, index: u32) -> bool {
        self.books().holds.contains_key(&index)
    }

    /// Blocks in use, for tests and for those who look.
    #[cfg(test)]
    pub(crate) fn live_blocks(&self) -> usize {
        self.blocks().iter().filter(|block| block.state() == State::Live).count()
    }
}
