//! Models of ranges: who has a part is alone in it, nobody is forgotten, whoever dies.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::mutex::{Leaving, Legacy, Me, Owner, Refusal};
use crate::raw::ranges::{Caller, Ranges, Span, Ticket};
use crate::raw::wait::{Fence, Terms};
use crate::shim::{Futex, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;
const SHALLOW: usize = 2;
const LENGTH: usize = 2;

const FIRST: Span = Span { start: 0, end: 1 };
const SECOND: Span = Span { start: 1, end: 2 };
const BOTH: Span = Span { start: 0, end: 2 };

/// An array of two elements: loom sees two who are at one of them at once, or out of order.
struct Room {
    ranges: Ranges,
    cells: [UnsafeCell<u32>; LENGTH],
    epoch: Futex,
    race: LoomUsize,
}

// SAFETY: an element is reached by who has a range with it, or the whole; that this suffices is
// what loom checks.
unsafe impl Sync for Room {}

const fn me(participant: u32) -> Me {
    Me { participant, thread: participant + 1 }
}

/// The pid of participant `id`, in these models.
const fn pid(id: u32) -> u32 {
    100 + id
}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ranges: Ranges::new(),
            cells: [(); LENGTH].map(|()| UnsafeCell::new(0)),
            epoch: Futex::new(0),
            race: LoomUsize::new(0),
        })
    }

    fn take_until(
        &self,
        me: Me,
        span: Span,
        deadline: Option<Deadline>,
    ) -> Result<(Ticket, Legacy), Refusal> {
        race(&self.race);
        let terms = |deadline| move || Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        let caller = Caller { me, terms: deadline.map(terms), suspect: |_| Owner::Known };
        self.ranges.take(&caller, span, LENGTH as u64)
    }

    fn take(&self, me: Me, span: Span) -> (Ticket, Legacy) {
        self.take_until(me, span, Some(Deadline::NEVER)).unwrap()
    }

    fn release(&self, ticket: Ticket) {
        race(&self.race);
        self.ranges.release(ticket, Leaving::Done);
    }

    fn lock_until(&self, me: Me, deadline: Option<Deadline>) -> Result<Legacy, Refusal> {
        race(&self.race);
        let terms = |deadline| move || Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        let caller = Caller { me, terms: deadline.map(terms), suspect: |_| Owner::Known };
        self.ranges.lock(&caller)
    }

    fn lock(&self, me: Me) -> Legacy {
        self.lock_until(me, Some(Deadline::NEVER)).unwrap()
    }

    fn unlock(&self, me: Me) {
        race(&self.race);
        self.ranges.unlock(me.participant, Leaving::Done);
    }

    fn count(&self, span: Span) {
        for cell in &self.cells[span.start as usize..span.end as usize] {
            // SAFETY: called by who has the range, see `Room`.
            cell.with_mut(|count| unsafe { *count += 1 });
        }
    }

    fn visit(&self, me: Me, span: Span) -> Legacy {
        let (ticket, legacy) = self.take(me, span);
        self.count(span);
        self.release(ticket);
        legacy
    }

    fn visit_all(&self, me: Me) -> Legacy {
        let legacy = self.lock(me);
        self.count(BOTH);
        self.unlock(me);
        legacy
    }

    /// What the elements are in the end, when everybody has left.
    fn counts(&self) -> [u32; LENGTH] {
        self.lock(me(9));
        // SAFETY: with the whole, see `Room`.
        self.cells.each_ref().map(|cell| cell.with(|count| unsafe { *count }))
    }
}

fn spawn(room: &Arc<Room>, body: impl FnOnce(&Room) + Send + 'static) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || body(&room))
}

#[test]
fn two_with_one_element_in_common_take_turns() {
    model("ranges, 2 overlap", SHALLOW, || {
        let room = Room::new();
        let other = spawn(&room, |room| {
            room.visit(me(1), BOTH);
        });
        room.visit(me(0), SECOND);
        other.join().unwrap();
        assert_eq!(room.counts(), [1, 2]);
    });
}

/// Nobody waits for the other: there is no release before both have what they want.
#[test]
fn two_with_nothing_in_common_are_there_side_by_side() {
    model("ranges, 2 side by side", SHALLOW, || {
        let room = Room::new();
        let there = Arc::clone(&room);
        let other = thread::spawn(move || {
            let (ticket, _) = there.take(me(1), FIRST);
            there.count(FIRST);
            ticket
        });
        let (ticket, _) = room.take(me(0), SECOND);
        room.count(SECOND);
        let theirs = other.join().unwrap();
        assert_eq!(room.take_until(me(2), FIRST, None).map(drop), Err(Refusal::Held));
        room.release(ticket);
        room.release(theirs);
        assert_eq!(room.counts(), [1, 1]);
    });
}

#[test]
fn the_whole_waits_for_a_part_and_keeps_new_ones_out() {
    model("ranges, whole and part", BOUND, || {
        let room = Room::new();
        let (ticket, _) = room.take(me(0), FIRST);
        room.count(FIRST);
        let whole = spawn(&room, |room| {
            room.visit_all(me(1));
        });
        room.release(ticket);
        room.visit(me(0), SECOND);
        whole.join().unwrap();
        assert_eq!(room.counts(), [2, 2]);
    });
}

#[test]
fn what_was_done_in_a_part_is_seen_by_the_next() {
    model("ranges, 1 after the other", BOUND, || {
        let room = Room::new();
        let (ticket, _) = room.take(me(0), FIRST);
        let other = spawn(&room, |room| {
            room.visit(me(1), BOTH);
        });
        room.count(FIRST);
        room.release(ticket);
        other.join().unwrap();
        assert_eq!(room.counts(), [2, 1]);
    });
}

#[test]
fn who_finds_no_entry_waits_for_one() {
    model("ranges, no entry left", SHALLOW, || {
        let room = Room::new();
        let (first, _) = room.take(me(0), FIRST);
        // The second one is of another thread, or the first would wait for itself.
        let (second, _) = room.take(me(1), SECOND);
        let nothing = Span { start: 1, end: 1 };
        assert_eq!(room.take_until(me(2), nothing, None).map(drop), Err(Refusal::Held));
        let other = spawn(&room, move |room| {
            let (ticket, _) = room.take(me(2), nothing);
            room.release(ticket);
        });
        room.release(first);
        other.join().unwrap();
        room.release(second);
    });
}

#[test]
fn nobody_waits_for_itself() {
    model("ranges, one's own", SHALLOW, || {
        let room = Room::new();
        let other = spawn(&room, |room| {
            if let Ok((ticket, _)) = room.take_until(me(1), SECOND, None) {
                room.release(ticket);
            }
        });
        let (ticket, _) = room.take(me(0), FIRST);
        let ever = Some(Deadline::NEVER);
        assert_eq!(room.take_until(me(0), BOTH, ever).map(drop), Err(Refusal::Own));
        assert_eq!(room.lock_until(me(0), ever), Err(Refusal::Own));
        other.join().unwrap();
        let (second, _) = room.take(me(0), SECOND);
        let nothing = Span { start: 1, end: 1 };
        assert_eq!(room.take_until(me(0), nothing, ever).map(drop), Err(Refusal::Own));
        room.release(ticket);
        room.release(second);
        room.lock(me(0));
        assert_eq!(room.take_until(me(0), FIRST, ever).map(drop), Err(Refusal::Own));
    });
}

#[test]
fn who_has_no_time_disturbs_nobody() {
    model("ranges, 1 has no time", SHALLOW, || {
        let room = Room::new();
        let (ticket, _) = room.take(me(0), FIRST);
        let hasty = spawn(&room, |room| {
            match room.lock_until(me(2), Some(Deadline::after(Duration::ZERO))) {
                Ok(_) => room.unlock(me(2)),
                Err(refusal) => assert_eq!(refusal, Refusal::TimedOut),
            }
        });
        room.visit(me(1), SECOND);
        room.release(ticket);
        hasty.join().unwrap();
        assert_eq!(room.counts(), [0, 1]);
    });
}

/// One dies at each step of taking and leaving a part. Who waits for it goes on, and hears of it
/// where there is reason to.
#[test]
fn a_part_of_the_dead_goes_to_the_next() {
    let points = ["range-written", "range-taken", "range-let-go", "range-freed", "bell-rung"];
    for (point, is_torn) in points.into_iter().zip([false, true, true, false, false]) {
        model(&format!("ranges, owner dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            let doomed = spawn(&room, move |room| {
                let died = dies_at(point, || room.visit(me(0), FIRST)).is_none();
                race(&room.race);
                room.ranges.sweep(0, pid(0), died);
            });
            let legacy = room.visit(me(1), BOTH);
            assert!(!legacy.died() || is_torn);
            if legacy.died() {
                assert_eq!(room.ranges.mutex().victim(), (0, pid(0)));
            }
            doomed.join().unwrap();
            assert_eq!(room.lock(me(2)).died(), is_torn);
        });
    }
}

#[test]
fn the_next_hears_of_a_death_in_a_part() {
    model("ranges, death in a part", BOUND, || {
        let room = Room::new();
        let _ = room.take(me(0), FIRST);
        room.count(FIRST);
        let janitor = spawn(&room, |room| room.ranges.sweep(0, pid(0), true));
        assert!(room.visit(me(1), BOTH).died());
        assert_eq!(room.ranges.mutex().victim(), (0, pid(0)));
        janitor.join().unwrap();
    });
}

#[test]
fn the_whole_hears_of_a_death_in_a_part() {
    model("ranges, death in a part, whole", BOUND, || {
        let room = Room::new();
        let _ = room.take(me(0), FIRST);
        room.count(FIRST);
        let janitor = spawn(&room, |room| {
            // The first dies in the middle of it.
            dies_at("range-swept", || room.ranges.sweep(0, pid(0), true));
            race(&room.race);
            room.ranges.sweep(0, pid(0), true);
        });
        assert!(room.visit_all(me(1)).died());
        janitor.join().unwrap();
    });
}

/// The first janitor frees the part and wakes nobody.
#[test]
fn a_janitor_that_dies_is_followed_by_another() {
    for point in ["range-swept", "range-buried", "mutex-swept"] {
        model(&format!("ranges, janitor dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            let _ = room.take(me(0), FIRST);
            let janitor = spawn(&room, move |room| {
                dies_at(point, || room.ranges.sweep(0, pid(0), true));
                race(&room.race);
                room.ranges.sweep(0, pid(0), true);
            });
            assert!(room.visit(me(1), FIRST).died());
            janitor.join().unwrap();
        });
    }
}

/// Whoever waits for the whole has touched nothing; whoever has got it may have.
#[test]
fn who_dies_waiting_for_the_whole_has_torn_nothing() {
    for point in ["wait-announced", "range-all", "never"] {
        model(&format!("ranges, whole dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            let (ticket, _) = room.take(me(0), FIRST);
            let there = Arc::clone(&room);
            let doomed = thread::spawn(move || {
                let has_touched = dies_at(point, || {
                    there.lock(me(1));
                    there.count(BOTH);
                });
                race(&there.race);
                there.ranges.sweep(1, pid(1), true);
                has_touched.is_some()
            });
            room.release(ticket);
            let has_touched = doomed.join().unwrap();
            assert_eq!(room.lock(me(2)).died(), has_touched);
        });
    }
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            expect_caught(&[$((
                $mutant,
                concat!("raw::tests::loom_ranges::", stringify!($test)),
            )),*]);
        };
    }
    caught! {
        "range/Acquire" by what_was_done_in_a_part_is_seen_by_the_next,
        "range/Acquire" by the_whole_waits_for_a_part_and_keeps_new_ones_out,
        "range/Release" by what_was_done_in_a_part_is_seen_by_the_next,
        "range/Release" by the_next_hears_of_a_death_in_a_part,
        "bell-rescued/fence" by the_next_hears_of_a_death_in_a_part,
        "range-overlap" by two_with_one_element_in_common_take_turns,
        "range-poison" by the_next_hears_of_a_death_in_a_part,
        "range-stay-calm" by who_dies_waiting_for_the_whole_has_torn_nothing,
    }
}
