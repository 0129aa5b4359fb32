//! The semaphore: permits, and who has them, so that those of the dead come back.
//!
//! One word decides, and says who decided what; whoever comes next writes that into the books.
//!
//! ```text
//! word:  63      41 40  31 30  29  28  27       0    book of a participant:  63  32 31       0
//!       [ permits  | actor | step | odd | sequence ]                         [ count | sequence ]
//!
//! ACQUIRED   permits - 1   count of the actor + 1     by the actor
//! RELEASED   permits + 1   count of the actor - 1     by the actor
//! RESET      permits + n   count of the actor = 0     by the janitor of the actor, who had n
//! UNOWNED    either        none                       by anybody
//! ```
//!
//! Every step is one exchange of the word, and before anybody makes it, the step before is in the
//! book of its actor. So the books say what the word said, whoever died after which instruction: a
//! step is made or not, and what is made gets booked, at the latest by the janitor.
//!
//! **One exception:** who takes its own last step back, by releasing what it acquired or the other
//! way round, books nothing, however often it does so in a row. So who is alone makes one exchange
//! a step.
//!
//! **A step can be booked again and again.** While an actor goes back and forth, its count is one
//! of two neighbours, and its book says one of the two: the first, or what others have booked
//! meanwhile. `odd` says which one is true. So to book ACQUIRED is to go up to the next count that
//! is as odd as the word says, which is where it is already, or one more; and RELEASED, down.
//!
//! **Who is late does no harm.** A book is exchanged from what was found there, if the word *after*
//! that was still as it was seen. Late while the actor goes back and forth, one still writes one of
//! the two neighbours. Later, the last of those steps is booked under its own sequence, so the book
//! is no more what was found, and never will be again.
//!
//! **Sequences are compared for equality**, not for age: a participant may rest for as long as it
//! likes while others make steps. What comes again after 2^28 of them, seconds later, deceives only
//! a thread that is stopped between a look and its exchange for exactly so many steps, or a
//! multiple. It would count one permit wrongly, and nothing else.
//!
//! **Any bytes are a semaphore.** Numbers of participants and permits fill their bits, and counts
//! end at their limits. So foreign bytes can change how many permits there are, which is all that a
//! semaphore is about, but lead nobody astray.

use crate::shim::{AtomicU64, Futex, Ordering, at, kill_point, mutant};

use super::Corrupt;
use super::bell::Bell;
use super::participants::PARTICIPANTS_MAX;
use super::wait::{Terms, Waited};
use super::wait_many::Post;

/// How many permits a semaphore can have.
pub(crate) const PERMITS_MAX: u32 = (1 << 23) - 1;

const PERMITS_AT: u32 = 41;
const ACTOR_AT: u32 = 31;
const ACTOR: u64 = 0x3ff;
const STEP: u64 = 3 << 29;
const ODD: u64 = 1 << 28;
const SEQUENCE: u64 = (1 << 28) - 1;

const UNOWNED: u64 = 0;
const ACQUIRED: u64 = 1 << 29;
const RELEASED: u64 = 2 << 29;
const RESET: u64 = 3 << 29;

/// In a book: one permit.
const COUNT_AT: u32 = 32;

/// Books lie in lines of so many; neighbours in number are never neighbours in a line.
const BOOKS_A_LINE: u32 = 16;
const LINES: u32 = PARTICIPANTS_MAX / BOOKS_A_LINE;

const _: () =
    assert!(PARTICIPANTS_MAX as u64 <= ACTOR + 1 && LINES * BOOKS_A_LINE == PARTICIPANTS_MAX);

/// To whom permits belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Manner {
    /// To who acquired them. Who releases one without having any, adds one.
    Owned = 0,
    /// To who acquired them, and nobody else can release them.
    Bounded = 1,
    /// To nobody.
    Unowned = 2,
}

/// What a semaphore is made for. Read by whoever attaches, and then kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) manner: Manner,
    /// How many there were in the beginning.
    pub(crate) permits: u32,
}

/// Why a permit was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The participant has none.
    NotHeld,
    /// There are [`PERMITS_MAX`] already.
    Full,
}

/// A semaphore in place, see the head of this file for its words. Zeroed memory is one without
/// permits.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Semaphore {
    desk: Desk,
    books: [AtomicU64; PARTICIPANTS_MAX as usize],
}

/// What everybody uses. The bell is looked at by who has just changed the word.
#[derive(Debug)]
#[repr(C, align(128))]
struct Desk {
    word: AtomicU64,
    bell: Bell,
    /// Manner in the low half, permits in the high one.
    plan: AtomicU64,
}

impl Semaphore {
    /// Completes a new semaphore in zeroed memory, before anybody else can see it.
    pub(crate) fn prepare(&self, plan: Plan) {
        // Relaxed, both: published with the block.
        let permits = u64::from(plan.permits.min(PERMITS_MAX));
        self.desk.word.store(permits << PERMITS_AT, Ordering::Relaxed);
        self.desk.plan.store(permits << 32 | plan.manner as u64, Ordering::Relaxed);
    }

    /// What the maker wrote down.
    pub(crate) fn plan(&self) -> Result<Plan, Corrupt> {
        // Relaxed: written before the block was opened.
        let plan = self.desk.plan.load(Ordering::Relaxed);
        let manners = [Manner::Owned, Manner::Bounded, Manner::Unowned];
        let manner = manners.into_iter().find(|manner| *manner as u32 == plan as u32);
        Ok(Plan { manner: manner.ok_or(Corrupt)?, permits: (plan >> 32) as u32 })
    }

    /// Takes a permit if there is one.
    #[inline]
    pub(crate) fn try_acquire(&self, me: u32, manner: Manner) -> bool {
        let step = if manner == Manner::Unowned { UNOWNED } else { ACQUIRED };
        // Not bounded, but every round more is somebody's success.
        loop {
            let seen = self.look();
            let Some(left) = permits(seen).checked_sub(1) else { return false };
            if self.makes_way(seen, me, step) && self.decide(seen, left, me, step) {
                return true;
            }
        }
    }

    /// Takes a permit, or waits for one until the deadline.
    ///
    /// `suspect` asks after those who have permits, and recovers the dead.
    #[inline]
    pub(crate) fn acquire<'a>(
        &self,
        me: u32,
        manner: Manner,
        terms: impl FnOnce() -> Terms<'a>,
        suspect: impl FnMut(),
    ) -> Waited {
        if self.try_acquire(me, manner) {
            return Waited::Ready;
        }
        self.desk.bell.wait(terms(), || self.try_acquire(me, manner), suspect)
    }

    /// Gives a permit back, or adds one where the manner allows it, and wakes one who waits.
    #[inline]
    pub(crate) fn release(&self, me: u32, manner: Manner) -> Result<(), Refusal> {
        // Not bounded, but every round more is somebody's success.
        loop {
            let seen = self.look();
            if !self.makes_way(seen, me, RELEASED) {
                continue;
            }
            let step = match manner {
                Manner::Unowned => UNOWNED,
                _ if takes_back(seen, me, RELEASED) || self.count(me) > 0 => RELEASED,
                Manner::Owned => UNOWNED,
                Manner::Bounded => return Err(Refusal::NotHeld),
            };
            let more = permits(seen) + 1;
            if more > PERMITS_MAX {
                return Err(Refusal::Full);
            }
            if self.decide(seen, more, me, step) {
                break;
            }
        }
        if !mutant("semaphore-ring") {
            self.desk.bell.ring_one();
        }
        Ok(())
    }

    /// Gives back all that participant `id` has, for whoever waits for it. Idempotent.
    pub(crate) fn sweep(&self, id: u32, died: bool) {
        // Not bounded, but every round more is somebody's success, or that of this sweep.
        loop {
            let seen = self.settle();
            let count = self.count(id);
            if count == 0 {
                break;
            }
            let more = permits(seen).saturating_add(count).min(PERMITS_MAX);
            self.decide(seen, more, id, RESET);
        }
        if mutant("semaphore-sweep-wake") {
            return;
        }
        if died {
            // Also for what the dead had given back and not rung for.
            self.desk.bell.alarm();
        } else {
            self.desk.bell.ring_all();
        }
    }

    /// How many permits nobody has, as of now.
    pub(crate) fn available(&self) -> u32 {
        // Relaxed: a remark.
        permits(self.desk.word.load(Ordering::Relaxed))
    }

    /// Where a thread waits for a permit that waits for other things as well.
    pub(crate) fn post<'a>(&'a self, epoch: &'a Futex) -> Post<'a> {
        self.desk.bell.post(epoch)
    }

    /// Whether somebody may wait for a permit, as of now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.desk.bell.may_be_awaited()
    }

    /// Who has permits, and how many, as of now.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (u32, u32)> {
        self.settle();
        let each = (0..PARTICIPANTS_MAX).map(|participant| (participant, self.count(participant)));
        each.filter(|(_, count)| *count > 0)
    }
}

/// The word, and the books.
impl Semaphore {
    /// The word.
    #[inline]
    fn look(&self) -> u64 {
        // Acquire `decided`: all steps before this one are booked, and what was done before a
        // permit was released is seen by who acquires it.
        self.desk.word.load(at(Ordering::Acquire, "decided"))
    }

    /// The word, with the step that it says in the books.
    fn settle(&self) -> u64 {
        // Not bounded, but every round more is somebody's success.
        loop {
            let seen = self.look();
            if self.book(seen) {
                return seen;
            }
        }
    }

    /// Sees to it that the actor can make this step next. False if the word is another by now, so
    /// that there is nothing to be done on what was seen.
    #[inline]
    fn makes_way(&self, seen: u64, actor: u32, step: u64) -> bool {
        takes_back(seen, actor, step) || self.book(seen)
    }

    /// Makes the next step, unless somebody else has. What was seen [makes way](Self::makes_way).
    #[inline]
    fn decide(&self, seen: u64, permits: u32, actor: u32, step: u64) -> bool {
        let odd = if takes_back(seen, actor, step) {
            !seen & ODD
        } else {
            // One more or one less makes no difference.
            u64::from(self.count(actor) & 1 ^ 1) * ODD
        };
        let parts = u64::from(permits) << PERMITS_AT | (u64::from(actor) & ACTOR) << ACTOR_AT;
        let sequence = ((seen & SEQUENCE) + 1) & SEQUENCE;
        let next = parts | step | odd | sequence;
        // Release `decided`: who sees this step sees the books up to the one before, and what was
        // done with the permit.
        let success = at(Ordering::Release, "decided");
        let word = &self.desk.word;
        let is_done = word.compare_exchange(seen, next, success, Ordering::Relaxed).is_ok();
        if is_done {
            kill_point("semaphore-decided");
        }
        is_done
    }

    /// Writes the step that was seen into the book of its actor, unless it is there. False if the
    /// word is another by now.
    #[inline]
    fn book(&self, seen: u64) -> bool {
        if seen & STEP == UNOWNED || mutant("semaphore-book") {
            return true;
        }
        let book = self.book_of((seen >> ACTOR_AT & ACTOR) as u32);
        // Not bounded, but every refusal is the success of somebody else, who may have been late.
        loop {
            // Acquire `booked`: who finds a later step here, finds a later word below.
            let before = book.load(at(Ordering::Acquire, "booked"));
            let after = booked(before, seen);
            if before == after {
                return true;
            }
            // Relaxed: see above, and `look`.
            if self.desk.word.load(Ordering::Relaxed) != seen && !mutant("semaphore-still") {
                return false;
            }
            // Release `booked`: who finds this step here, finds no earlier word.
            let success = at(Ordering::Release, "booked");
            if book.compare_exchange(before, after, success, Ordering::Relaxed).is_ok() {
                kill_point("semaphore-booked");
                return true;
            }
        }
    }

    /// What the book says that a participant has.
    #[inline]
    fn count(&self, participant: u32) -> u32 {
        // Relaxed: as it is when the last word seen is settled, or later.
        (self.book_of(participant).load(Ordering::Relaxed) >> COUNT_AT) as u32
    }

    #[inline]
    fn book_of(&self, participant: u32) -> &AtomicU64 {
        let (line, place) = (participant % LINES, participant / LINES % BOOKS_A_LINE);
        &self.books[(line * BOOKS_A_LINE + place) as usize]
    }

    /// A semaphore outside of any segment, with the sequence that is given.
    #[cfg(test)]
    pub(crate) fn new(permits: u32, sequence: u64) -> Self {
        let word = u64::from(permits) << PERMITS_AT | sequence & SEQUENCE;
        let desk = Desk { word: AtomicU64::new(word), bell: Bell::new(), plan: AtomicU64::new(0) };
        Self { desk, books: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// Whether the actor made the step that was seen, and its next one is the opposite of it.
#[inline]
fn takes_back(seen: u64, actor: u32, step: u64) -> bool {
    let opposite = match step {
        ACQUIRED => RELEASED,
        RELEASED => ACQUIRED,
        _ => return false,
    };
    let is_opposite = seen & STEP == opposite || mutant("semaphore-not-back");
    is_opposite && seen >> ACTOR_AT & ACTOR == u64::from(actor)
}

/// The book of the actor once the step that was seen is in it.
#[inline]
fn booked(book: u64, seen: u64) -> u64 {
    let count = (book >> COUNT_AT) as u32;
    let is_there = u64::from(count & 1) * ODD == seen & ODD && !mutant("semaphore-odd");
    let count = match seen & STEP {
        RESET => 0,
        _ if is_there => count,
        ACQUIRED => count.saturating_add(1),
        _ => count.saturating_sub(1),
    };
    u64::from(count) << COUNT_AT | seen & SEQUENCE
}

#[inline]
fn permits(word: u64) -> u32 {
    (word >> PERMITS_AT) as u32
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Semaphore>() == 128 + 8 * PARTICIPANTS_MAX as usize);

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/semaphore.rs"]
mod tests;
