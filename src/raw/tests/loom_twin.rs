//! Models of two copies: whoever dies, the next owner sees the old value or the new one.
#![allow(unsafe_code)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::mutex::{Leaving, Legacy, Me, Mutex, Owner};
use crate::raw::twin::Twin;
use crate::raw::wait::{Fence, Terms};
use crate::shim::{Futex, dies_at, kill_point, mutant};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;

/// A value of two words, in two copies.
struct Room {
    mutex: Mutex,
    twin: Twin,
    copies: [[UnsafeCell<u32>; 2]; 2],
    epoch: Futex,
    race: LoomUsize,
}

// SAFETY: the copies are reached under the lock alone, or where they count; that this suffices is
// what loom checks.
unsafe impl Sync for Room {}

const fn me(participant: u32) -> Me {
    Me { participant, thread: participant + 1 }
}

impl Room {
    fn new() -> Arc<Self> {
        let copies = [(); 2].map(|()| [(); 2].map(|()| UnsafeCell::new(0)));
        Arc::new(Self {
            mutex: Mutex::new(),
            twin: Twin::new(),
            copies,
            epoch: Futex::new(0),
            race: LoomUsize::new(0),
        })
    }

    fn lock(&self, me: Me) -> Legacy {
        race(&self.race);
        let terms = || Terms { epoch: &self.epoch, how: Fence::Full, deadline: Deadline::NEVER };
        self.mutex.lock(me.calmly(), terms, |_| Owner::Known).unwrap()
    }

    /// Adds one to both words, as an update does.
    fn update(&self, me: Me) {
        let active = self.twin.active();
        let spare = active.other();
        let spare = if mutant("twin-in-place") { active } else { spare };
        for word in 0..2 {
            // SAFETY: with the lock, see `Room`.
            let seen = self.copies[active as usize][word].with(|value| unsafe { *value });
            kill_point(["twin-first", "twin-second"][word]);
            // SAFETY: as above.
            self.copies[spare as usize][word].with_mut(|value| unsafe { *value = seen + 1 });
        }
        race(&self.race);
        self.twin.let_count(spare);
        race(&self.race);
        self.mutex.unlock(me.participant, Leaving::Done);
    }

    /// The words of the copy that counts, for one who may read it.
    fn read(&self) -> [u32; 2] {
        let active = &self.copies[self.twin.active() as usize];
        // SAFETY: see `Room`.
        active.each_ref().map(|word| word.with(|value| unsafe { *value }))
    }

    fn visit(&self, me: Me) -> [u32; 2] {
        assert!(self.lock(me).is_none(), "nothing is torn, so nobody is told of a death");
        let [first, second] = self.read();
        assert_eq!(first, second);
        self.update(me);
        [first, second]
    }
}

#[test]
fn updates_come_one_after_the_other() {
    model("twin, 2 update", BOUND, || {
        let room = Room::new();
        let there = Arc::clone(&room);
        let other = thread::spawn(move || there.visit(me(1)));
        room.visit(me(0));
        other.join().unwrap();
        room.lock(me(0));
        assert_eq!(room.read(), [2, 2]);
    });
}

#[test]
fn a_dead_writer_leaves_the_old_value_or_the_new_one() {
    let points = ["twin-first", "twin-second", "twin-written", "twin-flipped", "mutex-freed"];
    for (point, left) in points.into_iter().zip([0, 0, 0, 1, 1]) {
        model(&format!("twin, writer dies at {point}"), BOUND, move || {
            let room = Room::new();
            let there = Arc::clone(&room);
            room.lock(me(0));
            let writer = thread::spawn(move || {
                dies_at(point, || there.update(me(0)));
                race(&there.race);
                there.mutex.sweep(0, 100, true);
            });
            // Before it, or behind it.
            let seen = room.visit(me(1));
            assert_eq!(seen, [left, left]);
            writer.join().unwrap();
            room.lock(me(1));
            assert_eq!(room.read(), [left + 1, left + 1]);
        });
    }
}

/// Two die one after the other; what the first one left half written does no harm.
#[test]
fn the_copy_of_a_dead_writer_is_written_again() {
    for point in ["twin-second", "twin-written"] {
        model(&format!("twin, two die at {point}"), BOUND, move || {
            let room = Room::new();
            let there = Arc::clone(&room);
            room.lock(me(0));
            let doomed = thread::spawn(move || {
                dies_at(point, || there.update(me(0)));
                there.mutex.sweep(0, 100, true);
                dies_at("twin-second", || there.visit(me(1)));
                there.mutex.sweep(1, 101, true);
            });
            // Before them, between them, or behind them.
            assert_eq!(room.visit(me(2)), [0, 0]);
            doomed.join().unwrap();
        });
    }
}

/// Who learns of a flip by nothing but the flip sees the whole copy.
#[test]
fn a_copy_is_whole_before_it_counts() {
    model("twin, a flip is seen", BOUND, || {
        let room = Room::new();
        let there = Arc::clone(&room);
        room.lock(me(0));
        let writer = thread::spawn(move || {
            dies_at("twin-flipped", || there.update(me(0)));
        });
        race(&room.race);
        if room.twin.active() != crate::raw::twin::Which::First {
            assert_eq!(room.read(), [1, 1]);
        }
        writer.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_twin";
    let caught = [
        ("twin/Release", "a_copy_is_whole_before_it_counts"),
        ("twin/Acquire", "a_copy_is_whole_before_it_counts"),
        ("twin-in-place", "a_dead_writer_leaves_the_old_value_or_the_new_one"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
