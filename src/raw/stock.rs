//! The stock: room for payloads that do not fit into a block, lent in runs of equal units.
//!
//! A *run* is some consecutive units, and belongs to a block. Which process owns the block is not
//! decided here; whoever does may take a run for it, use it, move it to another block of his, and
//! free it. Nobody else touches it, so a run needs no lock and no recovery of its own.
//!
//! ```text
//! run word of a block:  63     32 31     0
//!                      [  count  |  first  ]
//!
//! 0    -> run           by the owner of the block, before he binds a unit of that run to it
//! run  -> other run, 0  by him, when no unit is bound to the block any more
//! ```
//!
//! # Crash
//!
//! A unit that is bound to a block lies in the range that the block's run word names, whenever the
//! owner dies. Whoever owns the block next frees the units of that range that are bound to its
//! deed, and no others: the rest of the range may be in anybody's hands. Nothing else is left.
//!
//! # Corruption
//!
//! A run word is refused unless it names a part of the stock. What the word of a unit says is only
//! compared, and the hint may be anything.

use std::ops::Range;

use super::Corrupt;
use super::units::{
    Deed, PAGE, StockMemory, UNIT, bound, bytes_of, free, is_bound, is_free, pages,
};
use crate::shim::{AtomicU64, Ordering::*, at, kill_point, mutant};

/// The run word of a block that has no run.
const NONE: u64 = 0;

/// How often a taker tries. Each try that is lost is a unit that somebody else got.
const ATTEMPTS: u32 = 64;

/// A block as the stock sees it. Only who owns the block may call the stock with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) deed: Deed,
    /// The word in the block's header that names its run.
    pub(crate) run: &'a AtomicU64,
}

impl Holder<'_> {
    fn name(&self, run: Option<Run>) {
        // Release `run-changed`: a kill may land anywhere, and no unit of the last run may still be
        // bound when it is not named any more. An auditor in the models acquires it.
        self.run.store(run.map_or(NONE, Run::word), at(Release, "run-changed"));
    }
}

/// Consecutive units of a stock: at least one, and all of them exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    first: u32,
    count: u32,
}

impl Run {
    /// Where it is, in bytes from the beginning of the first unit of the stock.
    pub(crate) fn bytes(self) -> Range<u64> {
        bytes_of(self.units())
    }

    fn units(self) -> Range<u32> {
        self.first..self.first + self.count
    }

    fn word(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.first)
    }
}

/// The units of a queue. Every handle has its own value of this, over the same memory.
#[derive(Debug)]
pub(crate) struct Stock<M> {
    memory: M,
}

impl<M: StockMemory> Stock<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory }
    }

    /// Takes `count` consecutive units for a block that has no run; `None` if there is no room.
    ///
    /// A no is one of the moment: what another taker is about to give back, because he lost the
    /// rest of it, counts as taken until he has.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the block names a run: what an owner left behind is to be freed before.
    pub(crate) fn take(&self, holder: &Holder<'_>, count: u32) -> Result<Option<Run>, Corrupt> {
        if self.named(holder)?.is_some() {
            return Err(Corrupt);
        }
        for _ in 0..ATTEMPTS {
            let Some(run) = self.look_for(count) else { break };
            if self.bind(holder, run) {
                return Ok(Some(run));
            }
        }
        holder.name(None);
        Ok(None)
    }

    /// The run of a block, if all that its run word names is its own.
    ///
    /// If not, it is what an owner left behind who died while he took, moved or freed a run, and
    /// can only be freed.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the run word names no part of this stock.
    pub(crate) fn find(&self, holder: &Holder<'_>) -> Result<Option<Run>, Corrupt> {
        let is_bound = |unit| self.pages_if_bound(unit, holder.deed).is_some();
        Ok(self.named(holder)?.filter(|run| run.units().all(is_bound)))
    }

    /// Sees to it that the first `bytes` of the run of block `deed` have memory: calls `furnish`
    /// with each stretch of bytes, in whole pages, where some may be missing. Never, if none is.
    ///
    /// # Errors
    ///
    /// What `furnish` says; `Corrupt` if the run is shorter or is not the block's.
    pub(crate) fn furnish<E: From<Corrupt>>(
        &self,
        deed: Deed,
        run: Run,
        bytes: u64,
        mut furnish: impl FnMut(Range<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Range { start, end } = run.bytes();
        if end - start < bytes {
            return Err(Corrupt.into());
        }
        let end = (start + bytes).next_multiple_of(PAGE);
        let needed = |unit| (end - bytes_of(0..unit).end).min(UNIT) / PAGE;
        let is_cold = |unit| self.pages_if_bound(unit, deed).is_none_or(|has| has < needed(unit));
        let mut rest = run.first..run.first + bytes.div_ceil(UNIT) as u32;
        while let Some(cold) = stretch(&rest, is_cold) {
            rest.start = cold.end;
            if !cold.clone().all(|unit| self.pages_if_bound(unit, deed).is_some()) {
                return Err(Corrupt.into());
            }
            let bytes = bytes_of(cold.clone());
            let note = || cold.clone().for_each(|unit| self.set_pages(unit, deed, needed(unit)));
            if mutant("stock-note-early") {
                note();
            }
            furnish(bytes.start..bytes.end.min(end))?;
            note();
        }
        Ok(())
    }

    /// Gives back the run of a block, or what there is of it. May be repeated, by whoever owns the
    /// block, wherever it ended.
    ///
    /// The units that `keep` picks keep their memory for the next taker; of the others, `discard`
    /// is called with each stretch of bytes and takes it away.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the run word names no part of this stock.
    pub(crate) fn free(
        &self,
        holder: &Holder<'_>,
        keep: impl Fn(u32) -> bool,
        mut discard: impl FnMut(Range<u64>),
    ) -> Result<(), Corrupt> {
        let Some(run) = self.named(holder)? else { return Ok(()) };
        if mutant("stock-clear-first") {
            holder.name(None);
        }
        run.units().filter(|unit| keep(*unit)).for_each(|unit| self.give_back(unit, holder.deed));
        let mut rest = run.units();
        let is_ours = |unit| self.pages_if_bound(unit, holder.deed).is_some();
        while let Some(cold) = stretch(&rest, is_ours) {
            rest.start = cold.end;
            self.give_back_cold(cold, holder.deed, &mut discard);
        }
        self.lower_hint(run.first);
        // Last: whoever is killed before this leaves a run word that finds the rest.
        holder.name(None);
        Ok(())
    }

    /// Hands the run of one block to another, which has none; both are the caller's.
    ///
    /// If he dies, both blocks name the run, and each unit of it is bound to one of them.
    ///
    /// # Errors
    ///
    /// `Corrupt` if `from` names no part of this stock, or `to` has a run.
    pub(crate) fn move_to(&self, from: &Holder<'_>, to: &Holder<'_>) -> Result<(), Corrupt> {
        let Some(run) = self.named(from)? else { return Ok(()) };
        if self.named(to)?.is_some() {
            return Err(Corrupt);
        }
        if !mutant("stock-move-unnamed") {
            to.name(Some(run));
        }
        if mutant("stock-move-clear-first") {
            from.name(None);
        }
        for unit in run.units() {
            if let Some(pages) = self.pages_if_bound(unit, from.deed) {
                // Release `unit-moved`: a kill may land anywhere, and `to` names the unit before it
                // is bound to it. An auditor in the models acquires it.
                self.memory.word(unit).store(bound(to.deed, pages), at(Release, "unit-moved"));
            }
        }
        kill_point("stock-moved");
        from.name(None);
        Ok(())
    }

    /// The range that a run word names, of which any unit may be another block's.
    fn named(&self, holder: &Holder<'_>) -> Result<Option<Run>, Corrupt> {
        // Relaxed: only the owner of the block writes it, and owners follow one another in order.
        let word = holder.run.load(Relaxed);
        let (count, first) = (word >> 32, word & u64::from(u32::MAX));
        match word {
            NONE => Ok(None),
            _ if count == 0 || u64::from(self.memory.units()) < first + count => Err(Corrupt),
            _ => Ok(Some(Run { first: first as u32, count: count as u32 })),
        }
    }

    /// Looks for free units, from the hint on and once around, and moves the hint behind them.
    fn look_for(&self, count: u32) -> Option<Run> {
        let units = self.memory.units();
        if count == 0 || units < count {
            return None;
        }
        // Relaxed, all: any hint is right. It moves before the units are bound, so that takers keep
        // out of each other's way; when it was moved by somebody else meanwhile, let it be.
        let seen = self.memory.hint().load(Relaxed);
        let from = if seen < u64::from(units) { seen as u32 } else { 0 };
        let around = 0..units.min(from.saturating_add(count - 1));
        let run = self.first_fit(from..units, count).or_else(|| self.first_fit(around, count))?;
        let behind = u64::from(run.units().end);
        let _ = self.memory.hint().compare_exchange(seen, behind, Relaxed, Relaxed);
        Some(run)
    }

    /// The first run that is free. Bounded: each look moves on by one unit at least.
    fn first_fit(&self, within: Range<u32>, count: u32) -> Option<Run> {
        let mut first = within.start;
        while count <= within.end - first {
            let run = Run { first, count };
            // From behind, as what is in the way there rules out more than what is in front.
            match run.units().rev().find(|unit| !self.is_free(*unit)) {
                Some(obstacle) => first = obstacle + 1,
                None => return Some(run),
            }
        }
        None
    }

    /// Binds the units of a run to a block, or none of them if one is not free any more.
    fn bind(&self, holder: &Holder<'_>, run: Run) -> bool {
        if !mutant("stock-name-late") {
            holder.name(Some(run));
        }
        // All takers bind upwards, so of those who are in each other's way one gets through.
        let lost = run.units().find(|unit| !self.claim(*unit, holder.deed));
        if let Some(lost) = lost.filter(|_| !mutant("stock-keep-prefix")) {
            (run.first..lost).for_each(|unit| self.give_back(unit, holder.deed));
        }
        if mutant("stock-name-late") {
            holder.name(Some(run));
        }
        lost.is_none()
    }

    /// Binds a unit to a block, with the memory that it has, if it is free.
    fn claim(&self, unit: u32, deed: Deed) -> bool {
        let word = self.memory.word(unit);
        // Relaxed: the exchange decides.
        let seen = word.load(Relaxed);
        // AcqRel `unit-freed`. It acquires what Release `unit-freed` in `set_free` let go: the last
        // user is done with the unit. It releases because a kill may land anywhere, and the block
        // names the unit before it is bound to it; an auditor in the models acquires that.
        let order = (at(AcqRel, "unit-freed"), Relaxed);
        is_free(seen)
            && word.compare_exchange(seen, bound(deed, pages(seen)), order.0, order.1).is_ok()
    }

    /// Frees a unit, if it is bound to this block. It keeps the memory that it has.
    fn give_back(&self, unit: u32, deed: Deed) {
        if let Some(pages) = self.pages_if_bound(unit, deed) {
            self.set_free(unit, pages);
        }
    }

    /// Frees consecutive units of a block without their memory.
    fn give_back_cold(&self, units: Range<u32>, deed: Deed, discard: impl FnOnce(Range<u64>)) {
        // Before the memory goes, as the next owner of the block must not count on it.
        if !mutant("stock-forget-late") {
            units.clone().for_each(|unit| self.set_pages(unit, deed, 0));
        }
        if mutant("stock-discard-late") {
            units.clone().for_each(|unit| self.set_free(unit, 0));
        }
        discard(bytes_of(units.clone()));
        units.for_each(|unit| self.set_free(unit, 0));
    }

    /// Has the next search begin with `first`, unless it begins before.
    fn lower_hint(&self, first: u32) {
        let hint = self.memory.hint();
        // Relaxed, all: any hint is right, also that of somebody who moved it meanwhile.
        let seen = hint.load(Relaxed);
        if u64::from(first) < seen {
            let _ = hint.compare_exchange(seen, u64::from(first), Relaxed, Relaxed);
        }
    }

    fn is_free(&self, unit: u32) -> bool {
        // Relaxed: a guess, until the unit is claimed.
        is_free(self.memory.word(unit).load(Relaxed))
    }

    /// How many pages of a unit have memory, if it is bound to this block.
    fn pages_if_bound(&self, unit: u32, deed: Deed) -> Option<u64> {
        // Relaxed: only the owner of the block binds to it and changes what is bound to it. What
        // others do to the words of others makes no difference here.
        let word = self.memory.word(unit).load(Relaxed);
        is_bound(word, deed).then_some(pages(word))
    }

    /// Notes how many pages of a unit of this block have memory.
    fn set_pages(&self, unit: u32, deed: Deed, pages: u64) {
        // Relaxed: ordered by the call to the kernel that is on one side of it, and read by owners
        // of the block only.
        self.memory.word(unit).store(bound(deed, pages), Relaxed);
    }

    /// Frees a unit that is bound to a block of the caller.
    fn set_free(&self, unit: u32, pages: u64) {
        // Release `unit-freed`: pairs with AcqRel `unit-freed` in `claim`. All that was done with
        // the unit happens before what its next user does.
        self.memory.word(unit).store(free(pages), at(Release, "unit-freed"));
    }
}

/// The first stretch of consecutive units that are all `wanted`. It is not empty: each is asked
/// once, as the answer may be another the next time.
fn stretch(within: &Range<u32>, wanted: impl Fn(u32) -> bool) -> Option<Range<u32>> {
    let first = within.clone().find(|unit| wanted(*unit))?;
    let end = (first + 1..within.end).find(|unit| !wanted(*unit)).unwrap_or(within.end);
    Some(first..end)
}

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/stock.rs"]
mod tests;
