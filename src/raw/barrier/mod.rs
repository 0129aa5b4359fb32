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
mod tests {
    use super::*;
    use crate::raw::participants::PARTICIPANTS_MAX;
    use crate::raw::wait::Fence;
    use crate::raw::wait::testing::{Watchdog, dawdle, terms};
    use crate::shim::Futex;
    use crate::sys::clock::Deadline;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    const NO_ACTION: Option<fn()> = None;

    fn wait(barrier: &Barrier, participant: u32, deadline: Deadline) -> Result<u32, Failure> {
        let (epoch, of) = (Futex::new(0), barrier.parties().unwrap());
        let terms = terms(&epoch, Fence::Full, deadline);
        barrier.wait(Party { of, participant }, terms, NO_ACTION, || ())
    }

    fn now() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    #[test]
    fn one_party_never_waits() {
        let barrier = Barrier::new(1);
        for _ in 0..3 {
            assert_eq!(wait(&barrier, 7, now()), Ok(0));
        }
        assert_eq!(barrier.view(), View { waiting: 0, is_broken: false });
    }

    #[test]
    fn a_barrier_of_no_parties_or_too_many_is_none() {
        for parties in [0, PARTIES_MAX + 1, u32::MAX] {
            let barrier = Barrier::new(0);
            barrier.prepare(parties);
            assert_eq!(barrier.parties(), Err(Corrupt));
        }
        assert_eq!(Barrier::new(PARTIES_MAX).parties(), Ok(PARTIES_MAX));
    }

    #[test]
    fn the_last_of_the_most_parties_acts() {
        let barrier = Barrier::new(PARTIES_MAX);
        let word = (1..PARTIES_MAX).fold(Word(0), |word, _| word.with_one_more());
        barrier.word.store(word.0, Ordering::Relaxed);
        let (epoch, mut seen) = (Futex::new(0), None);
        let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
        let action = || seen = Some(barrier.view());
        let party = Party { of: PARTIES_MAX, participant: 0 };
        assert_eq!(barrier.wait(party, terms, Some(action), || ()), Ok(PARTIES_MAX - 1));
        assert_eq!(seen, Some(View { waiting: PARTIES_MAX, is_broken: false }));
        assert_eq!(barrier.look(), word.next(Ending::Passed));
    }

    #[test]
    fn more_than_all_parties_are_corrupt() {
        let barrier = Barrier::new(3);
        let three = Word(0).with_one_more().with_one_more().with_one_more();
        barrier.word.store(three.0, Ordering::Relaxed);
        assert_eq!(wait(&barrier, 0, Deadline::NEVER), Err(Failure::Corrupt));
    }

    #[test]
    fn a_time_out_breaks_it_until_it_is_reset() {
        let barrier = Barrier::new(2);
        assert_eq!(wait(&barrier, 0, now()), Err(Failure::TimedOut));
        assert_eq!(wait(&barrier, 0, Deadline::NEVER), Err(Failure::Broken));
        assert_eq!(barrier.view(), View { waiting: 0, is_broken: true });
        barrier.reset();
        assert_eq!(barrier.view(), View { waiting: 0, is_broken: false });
        let fresh = barrier.look();
        barrier.reset();
        assert_eq!(barrier.look(), fresh, "nobody waits, so there is nothing to reset");
        barrier.abort();
        barrier.abort();
        assert_eq!(wait(&barrier, 1, Deadline::NEVER), Err(Failure::Broken));
    }

    #[test]
    fn a_panic_in_the_action_breaks_it() {
        let barrier = Barrier::new(1);
        let epoch = Futex::new(0);
        let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
        let action = Some(|| panic!("as it must"));
        let party = Party { of: 1, participant: 0 };
        let wait = || barrier.wait(party, terms, action, || ());
        assert!(catch_unwind(AssertUnwindSafe(wait)).is_err());
        assert!(barrier.view().is_broken);
    }

    #[test]
    fn a_break_or_a_reset_during_the_action_is_told_to_the_last() {
        for reset in [false, true] {
            let barrier = Barrier::new(1);
            let epoch = Futex::new(0);
            let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
            let action = || if reset { barrier.reset() } else { barrier.abort() };
            let party = Party { of: 1, participant: 0 };
            let waited = barrier.wait(party, terms, Some(action), || ());
            assert_eq!(waited, Err(Failure::Broken));
            assert_eq!(barrier.view(), View { waiting: 0, is_broken: !reset });
        }
    }

    #[test]
    fn who_comes_while_the_last_acts_stays_outside() {
        let barrier = Barrier::new(1);
        let epoch = Futex::new(0);
        let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
        let outside = || assert_eq!(wait(&barrier, 1, now()), Err(Failure::TimedOut));
        let party = Party { of: 1, participant: 0 };
        let waited = barrier.wait(party, terms, Some(outside), || ());
        // It gave up, and so broke it for everybody.
        assert_eq!(waited, Err(Failure::Broken));
        assert_eq!(barrier.marks.of(1).load(Ordering::Relaxed), NOBODY);
    }

    #[test]
    fn who_is_expected_is_swept() {
        let barrier = &Barrier::new(2);
        let pass = |one, other| {
            thread::scope(|scope| {
                scope.spawn(move || assert!(wait(barrier, one, Deadline::NEVER).is_ok()));
                assert!(wait(barrier, other, Deadline::NEVER).is_ok());
            });
        };
        pass(3, 4);
        pass(6, 7);
        for dead in (0..PARTICIPANTS_MAX).filter(|dead| ![6, 7].contains(dead)) {
            barrier.sweep(dead, true);
        }
        barrier.sweep(6, false);
        barrier.sweep(6, true);
        assert!(!barrier.view().is_broken, "it had left before it died");
        barrier.sweep(7, true);
        assert!(barrier.view().is_broken, "it had passed just now");
        barrier.reset();
        // Somebody is on its way.
        barrier.mark(5);
        barrier.sweep(4, true);
        assert!(!barrier.view().is_broken);
        barrier.sweep(5, true);
        assert!(barrier.view().is_broken);
        barrier.reset();
        barrier.sweep(5, true);
        assert!(!barrier.view().is_broken, "it was swept before, and died in an earlier one");
    }

    #[test]
    fn all_that_are_inside_are_named_in_turn() {
        let barrier = Barrier::new(9);
        assert_eq!(barrier.next_inside(3), None);
        for participant in [0, 7, PARTICIPANTS_MAX - 1] {
            barrier.mark(participant);
        }
        assert_eq!(barrier.next_inside(0), Some(7));
        assert_eq!(barrier.next_inside(7), Some(PARTICIPANTS_MAX - 1));
        assert_eq!(barrier.next_inside(PARTICIPANTS_MAX - 1), Some(0));
        assert_eq!(barrier.next_inside(u32::MAX), Some(0));
    }

    /// Four go through many rounds; in each all see the work of all, and the indexes are all there.
    #[test]
    fn nobody_is_ahead_of_anybody() {
        const ROUNDS: usize = 4_000;
        let _dog = Watchdog::new("nobody_is_ahead_of_anybody");
        let (barrier, work) = (Barrier::new(4), AtomicUsize::new(0));
        let indexes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for participant in 0..4 {
                let (barrier, work, indexes) = (&barrier, &work, &indexes);
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        if round.is_multiple_of(16) {
                            dawdle(participant + round as u32);
                        }
                        work.fetch_add(1, Ordering::Relaxed);
                        let index = wait(barrier, participant, Deadline::NEVER).unwrap();
                        assert_eq!(work.load(Ordering::Relaxed), 4 * round);
                        indexes.fetch_add(1 << (8 * index), Ordering::Relaxed);
                        let _ = wait(barrier, participant, Deadline::NEVER).unwrap();
                        if index == 0 {
                            assert_eq!(indexes.swap(0, Ordering::Relaxed), 0x0101_0101);
                        }
                        let _ = wait(barrier, participant, Deadline::NEVER).unwrap();
                    }
                });
            }
        });
    }
}
