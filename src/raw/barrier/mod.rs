//! The barrier: where threads wait for each other, a fixed number of them at a time.
//!
//! **One word.** Who arrives, who is last, what breaks the barrier and what resets it change one
//! word, each from exactly what it saw. So all parties of a generation agree how it ended.
//!
//! **The dead.** A party that dies has others waiting for ever, so its death breaks the barrier.
//! Before a thread arrives, it marks the generation for its participant; the janitor breaks that
//! generation if it is the current one. A thread that dies between mark and arrival breaks it as
//! well, as it would never have come.

mod marks;
mod word;

use std::mem;

use crate::shim::{AtomicU32, AtomicU64, Ordering, at, kill_point, mutant};

use self::marks::{Marks, NOBODY, PLACES};
use self::word::{Ending, Generation, Word};
use super::Corrupt;
use super::bell::Bell;
use super::wait::{Terms, Waited};

/// How many parties a barrier can have.
pub(crate) const PARTIES_MAX: u32 = 0x3fff;

/// A barrier in place. Zeroed memory is one that has no parties yet, see
/// [`prepare`](Self::prepare).
///
/// ```text
/// word:  63     32 31    20 19     16 15     2    1        0
///       [ rounds | resets | endings | arrived | ACTING | BROKEN ]
///       [          generation       ]
/// ```
///
/// | from                           | to                             | by                        |
/// |--------------------------------|--------------------------------|---------------------------|
/// | `arrived`                      | `arrived + 1`                  | a party, having marked    |
/// | `parties - 1`                  | `parties` and `ACTING`         | the last one, to act      |
/// | `parties - 1`, or `ACTING`     | next generation, 0, a round    | the last one              |
/// | any that is not `BROKEN`       | and `BROKEN`                   | a party whose time is up, |
/// |                                |                                | who aborts, the janitor   |
/// | any but 0 that arrived         | next generation, 0, a reset    | who resets                |
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Barrier {
    word: AtomicU64,
    /// Written once, by whoever makes it.
    parties: AtomicU32,
    bell: Bell,
    marks: Marks,
}

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    /// Of how many, as [`Barrier::parties`] said.
    pub(crate) of: u32,
    pub(crate) participant: u32,
}

/// Why a party did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Somebody broke the barrier, or reset it.
    Broken,
    /// Its time was up, and so it broke the barrier.
    TimedOut,
    /// The word is none of a barrier.
    Corrupt,
}

/// What a barrier looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// How many wait. None at a broken barrier, as they are about to leave.
    pub(crate) waiting: u32,
    pub(crate) is_broken: bool,
}

/// What the last party does before the others go on.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    Acts,
}

/// How a thread has arrived.
enum Arrival<'a> {
    /// Others are to come, after so many that are there.
    Early(Generation, u32),
    /// As the last one, to act.
    Acting(Acting<'a>),
    /// As the last one, and all go on.
    Passed,
    /// Not yet: all parties are there, and the last of them acts.
    Outside(Generation),
}

/// The last party, while the others wait for it. Breaks the barrier if it panics.
struct Acting<'a> {
    barrier: &'a Barrier,
    seen: Word,
}

impl Barrier {
    /// Completes a new barrier, before anybody else can see it.
    pub(crate) fn prepare(&self, parties: u32) {
        // Relaxed: published with the block.
        self.parties.store(parties, Ordering::Relaxed);
    }

    /// For how many parties it was made. Read once, and kept in private memory.
    pub(crate) fn parties(&self) -> Result<u32, Corrupt> {
        // Relaxed: written before the block was opened.
        let parties = self.parties.load(Ordering::Relaxed);
        if (1..=PARTIES_MAX).contains(&parties) { Ok(parties) } else { Err(Corrupt) }
    }

    /// Waits until all parties are there. Gives how many were there before.
    ///
    /// The last one runs `action` before the others go on; if it panics, the barrier is broken. A
    /// party whose time is up breaks the barrier. See [`wait::wait`](super::wait::wait) for
    /// `suspect`.
    pub(crate) fn wait(
        &self,
        party: Party,
        terms: Terms<'_>,
        action: Option<impl FnOnce()>,
        mut suspect: impl FnMut(),
    ) -> Result<u32, Failure> {
        let last = if action.is_some() { Last::Acts } else { Last::Nothing };
        // Not bounded, but it waits: outside, for those who are inside.
        loop {
            match self.arrive(party, last)? {
                Arrival::Early(generation, index) => {
                    return self.wait_for(generation, terms, suspect).map(|()| index);
                }
                Arrival::Passed => return Ok(party.of - 1),
                Arrival::Acting(acting) => {
                    if let Some(action) = action {
                        action();
                    }
                    return acting.finish().map(|()| party.of - 1);
                }
                Arrival::Outside(generation) => {
                    let ended = self.wait_for(generation, terms, &mut suspect);
                    if ended == Err(Failure::TimedOut) {
                        return Err(Failure::TimedOut);
                    }
                }
            }
        }
    }

    /// Breaks the barrier until it is reset, for those who wait and for all who come.
    pub(crate) fn abort(&self) {
        // Not bounded, but every refusal is somebody's success.
        let mut seen = self.look();
        while !seen.is_broken() && !self.try_break(seen) {
            seen = self.look();
        }
    }

    /// Makes a broken barrier new. Those who wait meanwhile are told that it was broken; if nobody
    /// does, nothing changes.
    pub(crate) fn reset(&self) {
        // Not bounded, but every refusal is somebody's success.
        loop {
            let seen = self.look();
            if seen.is_at_rest() {
                return;
            }
            if self.exchange(seen, seen.next(Ending::Reset)) {
                kill_point("barrier-reset");
                if !mutant("barrier-reset-ring") {
                    self.bell.ring_all();
                }
                return;
            }
        }
    }

    /// What it looks like from outside.
    pub(crate) fn view(&self) -> View {
        let seen = self.look();
        let waiting = if seen.is_broken() { 0 } else { seen.arrived() };
        View { waiting, is_broken: seen.is_broken() }
    }

    /// Breaks the barrier if the dead were in its current generation, or about to be, or passed
    /// with the one before, and wakes all for whom the dead may have broken or opened it. Of
    /// one that only leaves, it is forgotten that it was ever here.
    ///
    /// Idempotent: a reset makes a generation that does not expect the dead.
    pub(crate) fn sweep(&self, dead: u32, died: bool) {
        if !died {
            // Relaxed: its own. It has no handle any more, so it is in no generation.
            return self.marks.of(dead).store(NOBODY, Ordering::Relaxed);
        }
        // Relaxed: the dead wrote it, and the kernel told of their death.
        let mark = self.marks.of(dead).load(Ordering::Relaxed);
        let is_inside =
            |seen: Word| seen.expects(mark) || mutant("barrier-sweep-any") && mark != NOBODY;
        // Not bounded, but every refusal is somebody's success.
        let mut seen = self.look();
        while is_inside(seen) && !seen.is_broken() && !self.try_break(seen) {
            seen = self.look();
        }
        self.bell.alarm();
    }

    /// The participant after this one, in turn, that the current generation expects: its death
    /// would have to be known. Each waiter asks for all of them, one at a time.
    pub(crate) fn next_inside(&self, after: u32) -> Option<u32> {
        let seen = self.look();
        let others = (1..=PLACES).map(|step| ((after as usize + step) % PLACES) as u32);
        // Relaxed: about whom to ask the kernel.
        let is_inside = |id: &u32| seen.expects(self.marks.of(*id).load(Ordering::Relaxed));
        others.into_iter().find(is_inside)
    }

    /// The participants whose threads wait for the others, or are about to arrive, for those who
    /// look.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = u32> {
        let seen = self.look();
        // Relaxed: a remark.
        let mark = |id: u32| self.marks.of(id).load(Ordering::Relaxed);
        (0..PLACES as u32).filter(move |id| !seen.is_broken() && seen.was_marked_by(mark(*id)))
    }

    /// Arrives if the barrier is open. See the state table.
    fn arrive(&self, party: Party, last: Last) -> Result<Arrival<'_>, Failure> {
        // Not bounded, but every refusal is somebody's success.
        loop {
            let seen = self.mark(party.participant);
            let (generation, index) = (seen.generation(), seen.arrived());
            if seen.is_broken() {
                return Err(Failure::Broken);
            }
            if seen.is_acting() {
                return Ok(Arrival::Outside(generation));
            }
            if party.of <= index {
                return Err(Failure::Corrupt);
            }
            kill_point("barrier-marked");
            if index + 1 < party.of {
                if self.exchange(seen, seen.with_one_more()) {
                    kill_point("barrier-arrived");
                    return Ok(Arrival::Early(generation, index));
                }
                continue;
            }
            match last {
                Last::Nothing if self.exchange(seen, seen.next(Ending::Passed)) => {
                    self.open();
                    return Ok(Arrival::Passed);
                }
                Last::Acts if self.exchange(seen, seen.with_one_more().acting()) => {
                    kill_point("barrier-acting");
                    let seen = seen.with_one_more().acting();
                    return Ok(Arrival::Acting(Acting { barrier: self, seen }));
                }
                _ => {}
            }
        }
    }

    /// Marks the current generation for a participant, if it is open, and gives the word.
    ///
    /// The mark is read before the word. The generation in it was the word's when it was written,
    /// so that of the word, read later, is no earlier: no mark is ever replaced by an earlier one,
    /// also where several threads of a participant come at once.
    fn mark(&self, participant: u32) -> Word {
        let mark = self.marks.of(participant);
        // Not bounded, but a refusal means that another thread of this participant went on.
        loop {
            // Acquire `barrier-marked`: the word is at least as new as the mark.
            let old = mark.load(at(Ordering::Acquire, "barrier-marked"));
            let seen = self.look();
            if !seen.is_open() || seen.was_marked_by(old) || mutant("barrier-mark") {
                return seen;
            }
            // Release `barrier-marked`: whoever reads the mark reads this word or a later one.
            let release = at(Ordering::Release, "barrier-marked");
            let new = seen.generation().as_mark();
            if mark.compare_exchange(old, new, release, Ordering::Relaxed).is_ok() {
                return seen;
            }
        }
    }

    /// Waits until a generation is over or broken, or until the deadline: then it breaks it.
    fn wait_for(
        &self,
        generation: Generation,
        terms: Terms<'_>,
        suspect: impl FnMut(),
    ) -> Result<(), Failure> {
        let mut fate = None;
        let ready = || {
            fate = self.look().fate_of(generation);
            fate.is_some()
        };
        let _: Waited = self.bell.wait(terms, ready, suspect);
        // Not bounded, but every refusal is somebody's success.
        loop {
            if let Some(fate) = fate {
                return fate;
            }
            let seen = self.look();
            fate = seen.fate_of(generation).filter(|_| !mutant("barrier-late-look"));
            if fate.is_none() && self.try_break(seen) {
                return Err(Failure::TimedOut);
            }
        }
    }

    /// Breaks what was seen. False if it is not there any more.
    fn try_break(&self, seen: Word) -> bool {
        let is_broken = self.exchange(seen, seen.broken());
        if is_broken {
            kill_point("barrier-broken");
            if !mutant("barrier-break-ring") {
                self.bell.ring_all();
            }
        }
        is_broken
    }

    /// Lets all go on, after the word says so.
    fn open(&self) {
        kill_point("barrier-passed");
        if !mutant("barrier-open-ring") {
            self.bell.ring_all();
        }
    }

    fn look(&self) -> Word {
        // Acquire `barrier-changed`: pairs with the AcqRel of `exchange`.
        Word(self.word.load(at(Ordering::Acquire, "barrier-changed")))
    }

    fn exchange(&self, seen: Word, new: Word) -> bool {
        // AcqRel `barrier-changed`: the last one finds what all did before they arrived, and they
        // find what it did. The mark is before the arrival.
        let order = at(Ordering::AcqRel, "barrier-changed");
        self.word.compare_exchange(seen.0, new.0, order, Ordering::Relaxed).is_ok()
    }

    /// A barrier outside of any segment.
    #[cfg(test)]
    pub(crate) fn new(parties: u32) -> Self {
        let (word, parties) = (AtomicU64::new(0), AtomicU32::new(parties));
        Self { word, parties, bell: Bell::new(), marks: Marks::new() }
    }
}

impl Acting<'_> {
    /// Lets the others go on, unless the barrier was broken or reset meanwhile.
    fn finish(self) -> Result<(), Failure> {
        let has_passed = self.barrier.exchange(self.seen, self.seen.next(Ending::Passed));
        let barrier = self.barrier;
        // Its drop is for panics.
        mem::forget(self);
        if !has_passed {
            return Err(Failure::Broken);
        }
        barrier.open();
        Ok(())
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        // A refusal means that somebody else broke it, or reset it.
        self.barrier.try_break(self.seen);
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Barrier>() == 128 + 8 * PLACES);

#[cfg(all(test, not(multiproc_loom)))]
#[path = "../tests/barrier.rs"]
mod tests;
