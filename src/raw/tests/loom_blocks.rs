//! Models of the participants and the arena: nothing is freed twice, nothing is left behind.
#![allow(unsafe_code)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::blocks::{Block, State};
use crate::raw::participants::Participant;
use crate::shim::{AtomicU32, Ordering::*};

/// Participants far apart, so that their bits are in different words.
const NEAR: u32 = 1;
const FAR: u32 = 65;
const THIRD: u32 = 2;

struct Arena {
    block: Block,
    torn_down: AtomicU32,
    payload: loom::cell::UnsafeCell<u32>,
    common: AtomicUsize,
}

impl Arena {
    fn held_by(holders: &[u32]) -> Arc<Self> {
        let arena = Self {
            block: Block::new(),
            torn_down: AtomicU32::new(0),
            payload: loom::cell::UnsafeCell::new(0),
            common: AtomicUsize::new(0),
        };
        assert!(arena.block.claim_virgin(holders[0], 3));
        arena.block.open(holders[0], 7);
        for holder in &holders[1..] {
            arena.block.hold(*holder);
        }
        Arc::new(arena)
    }

    fn release(&self, holder: u32, me: u32) {
        race(&self.common);
        if self.block.release(holder, me) {
            self.tear_down(me);
        }
    }

    fn tear_down(&self, me: u32) {
        self.payload.with_mut(|payload| {
            // SAFETY: loom checks that nobody else is at the payload; that is what is modelled.
            unsafe { *payload += 1 }
        });
        self.torn_down.fetch_add(1, Relaxed);
        self.block.free(me);
    }

    fn touch(&self) {
        self.payload.with(|payload| {
            // SAFETY: as above; holders only read in these models.
            let _ = unsafe { *payload };
        });
    }
}

/// Two holders leave at once: exactly one tears down, after both are done.
#[test]
fn two_leave_at_once() {
    model("two_leave_at_once", 3, || {
        let arena = Arena::held_by(&[NEAR, FAR]);
        let threads: Vec<_> = [NEAR, FAR]
            .map(|me| {
                let arena = Arc::clone(&arena);
                thread::spawn(move || {
                    arena.touch();
                    arena.release(me, me);
                })
            })
            .into();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(arena.torn_down.load(Relaxed), 1);
        assert_eq!(arena.block.state(), State::Free);
    });
}

/// A hold moves from a word that is read late to one that was read early, while another leaves.
#[test]
fn a_hold_that_moves_is_not_overlooked() {
    model("a_hold_that_moves_is_not_overlooked", 3, || {
        let arena = Arena::held_by(&[THIRD, FAR]);
        let mover = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || {
                race(&arena.common);
                arena.block.hold(NEAR);
                arena.release(FAR, NEAR);
                arena.touch();
                arena.release(NEAR, NEAR);
            })
        };
        arena.release(THIRD, THIRD);
        mover.join().unwrap();
        assert_eq!(arena.torn_down.load(Relaxed), 1);
        assert_eq!(arena.block.state(), State::Free);
    });
}

/// A block that was freed is claimed again, and the new owner finds the old one's work done.
#[test]
fn a_freed_block_is_claimed_once() {
    model("a_freed_block_is_claimed_once", 3, || {
        let arena = Arena::held_by(&[NEAR]);
        let claimers: Vec<_> = [FAR, THIRD]
            .map(|me| {
                let arena = Arc::clone(&arena);
                thread::spawn(move || {
                    race(&arena.common);
                    let won = arena.block.claim_free(me, 3);
                    if won {
                        arena.payload.with_mut(|payload| {
                            // SAFETY: loom checks it: the claim excludes everybody else.
                            unsafe { *payload += 1 }
                        });
                        arena.block.open(me, 7);
                    }
                    u32::from(won)
                })
            })
            .into();
        arena.release(NEAR, NEAR);
        let won: u32 = claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum();
        assert!(won <= 1);
        assert_eq!(arena.torn_down.load(Relaxed), 1);
        let expected = if won == 1 { State::Live } else { State::Free };
        assert_eq!(arena.block.state(), expected);
    });
}

/// Whoever finds a block live finds what its maker wrote.
#[test]
fn an_open_block_shows_its_content() {
    model("an_open_block_shows_its_content", 3, || {
        let arena = Arc::new(Arena {
            block: Block::new(),
            torn_down: AtomicU32::new(0),
            payload: loom::cell::UnsafeCell::new(0),
            common: AtomicUsize::new(0),
        });
        let looker = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || {
                race(&arena.common);
                if arena.block.state() == State::Live {
                    arena.touch();
                    assert_eq!(arena.block.kind(), 7);
                }
            })
        };
        assert!(arena.block.claim_virgin(NEAR, 3));
        arena.payload.with_mut(|payload| {
            // SAFETY: loom checks it: the claim excludes everybody else.
            unsafe { *payload = 1 }
        });
        arena.block.open(NEAR, 7);
        looker.join().unwrap();
    });
}

/// One participant's lease, as the kernel keeps it.
struct Office {
    entries: [Participant; 4],
    leases: [AtomicU32; 4],
    arena: Block,
    swept: AtomicU32,
    work: loom::cell::UnsafeCell<u32>,
    common: AtomicUsize,
}

impl Office {
    /// Participant 0 is about to die as the only holder; 1 and 2 are alive.
    fn new() -> Arc<Self> {
        let office = Self {
            entries: std::array::from_fn(|_| Participant::new()),
            leases: std::array::from_fn(|_| AtomicU32::new(0)),
            arena: Block::new(),
            swept: AtomicU32::new(0),
            work: loom::cell::UnsafeCell::new(0),
            common: AtomicUsize::new(0),
        };
        for id in 0..3 {
            office.leases[id].store(1, Relaxed);
            assert!(office.entries[id].join(0));
        }
        assert!(office.arena.claim_virgin(0, 1));
        office.arena.open(0, 7);
        Arc::new(office)
    }

    fn dies(&self, id: u32) {
        // The kernel's edge: whoever finds the lease gone sees all stores of the dead.
        self.leases[id as usize].store(0, Release);
    }

    fn is_dead(&self, id: u32) -> bool {
        self.leases[id as usize].load(Acquire) == 0
    }

    /// Recovers participant 0 for `me`, which dies itself after `steps` steps.
    fn recover(&self, me: u32, steps: u32) {
        let mut left = steps;
        let mut step = || {
            left = left.saturating_sub(1);
            left > 0
        };
        race(&self.common);
        let Some(reap) = self.entries[0].claim(0, me, |id| self.is_dead(id)) else { return };
        if !step() {
            return self.dies(me);
        }
        if self.arena.inherit(0, me) || self.arena.release(0, me) {
            self.swept.fetch_add(1, Relaxed);
            if !step() {
                return self.dies(me);
            }
            self.arena.free(me);
        }
        if !step() {
            return self.dies(me);
        }
        // After the sweep, whose fence would otherwise stand in for the Release of `finish`.
        self.work.with_mut(|work| {
            // SAFETY: loom checks that reapers exclude each other.
            unsafe { *work += 1 }
        });
        race(&self.common);
        self.entries[0].finish(&reap);
        race(&self.common);
    }
}

/// Two reapers find the same corpse while it dies; its slot is used again at once.
#[test]
fn one_corpse_two_reapers_and_an_heir() {
    model("one_corpse_two_reapers_and_an_heir", 2, || {
        let office = Office::new();
        let reapers: Vec<_> = [1, 2]
            .map(|me| {
                let office = Arc::clone(&office);
                thread::spawn(move || office.recover(me, u32::MAX))
            })
            .into();
        office.dies(0);
        // The heir: takes the lease if it is free, then the entry if it is.
        race(&office.common);
        if office.leases[0].compare_exchange(0, 1, AcqRel, Relaxed).is_ok() {
            race(&office.common);
            if office.entries[0].join(0) {
                office.work.with_mut(|work| {
                    // SAFETY: loom checks that the reaper is done before the entry is free.
                    unsafe { *work += 1 }
                });
            } else {
                office.leases[0].store(0, Release);
            }
        }
        for reaper in reapers {
            reaper.join().unwrap();
        }
        // Nobody left: a last look by a reaper settles what was still open.
        office.recover(1, u32::MAX);
        assert_eq!(office.swept.load(Relaxed), 1);
        assert_eq!(office.arena.state(), State::Free);
    });
}

/// Whoever enters after a corpse, by the entry's word alone, finds everything given back.
#[test]
fn an_heir_finds_everything_given_back() {
    model("an_heir_finds_everything_given_back", 3, || {
        let office = Office::new();
        office.dies(0);
        let reaper = {
            let office = Arc::clone(&office);
            thread::spawn(move || office.recover(1, u32::MAX))
        };
        race(&office.common);
        if office.entries[0].join(0) {
            office.work.with_mut(|work| {
                // SAFETY: loom checks that the reaper is done before the entry is free.
                unsafe { *work += 1 }
            });
        }
        reaper.join().unwrap();
    });
}

/// A participant leaves and another takes its place, while a slow reaper still looks at the entry.
#[test]
fn a_slow_reaper_never_reaps_the_living() {
    model("a_slow_reaper_never_reaps_the_living", 3, || {
        let office = Office::new();
        let reaper = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                race(&office.common);
                let claimed = office.entries[0].claim(0, 1, |id| {
                    race(&office.common);
                    office.is_dead(id)
                });
                assert!(claimed.is_none(), "nobody has died");
            })
        };
        // Participant 0 leaves in good order, and comes back.
        assert!(office.arena.release(0, 0));
        office.arena.free(0);
        race(&office.common);
        office.entries[0].leave();
        race(&office.common);
        office.dies(0);
        race(&office.common);
        office.leases[0].store(1, Release);
        race(&office.common);
        assert!(office.entries[0].join(0));
        reaper.join().unwrap();
    });
}

/// Somebody comes to the entry that was set aside for him, while the name that he found goes and a
/// janitor looks: he is in and stays, or he is not in and what was meant for him is given back.
#[test]
fn a_guest_comes_or_is_buried_unborn() {
    model("a_guest_comes_or_is_buried_unborn", 3, || {
        let office = Office::new();
        office.entries[0].reserve();
        office.leases[0].store(0, Relaxed);
        let name = Arc::new(AtomicU32::new(1));
        let guest = {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                race(&office.common);
                office.leases[0].store(1, Release);
                race(&office.common);
                let is_in = office.entries[0].join_reserved(0);
                if is_in {
                    office.work.with_mut(|work| {
                        // SAFETY: loom checks that no janitor is at what is his.
                        unsafe { *work += 1 }
                    });
                }
                is_in
            })
        };
        let janitor = {
            let (office, name) = (Arc::clone(&office), Arc::clone(&name));
            thread::spawn(move || {
                race(&office.common);
                let reap = office.entries[0].claim(0, 1, |id| {
                    let is_reserved = office.entries[0].is_reserved();
                    race(&office.common);
                    if is_reserved { name.load(Acquire) == 0 } else { office.is_dead(id) }
                });
                let Some(reap) = reap else { return false };
                assert!(reap.is_of_reserved());
                office.work.with_mut(|work| {
                    // SAFETY: as above.
                    unsafe { *work += 1 }
                });
                race(&office.common);
                office.entries[0].finish(&reap);
                true
            })
        };
        race(&office.common);
        name.store(0, Release);
        let (is_in, is_buried) = (guest.join().unwrap(), janitor.join().unwrap());
        assert!(!(is_in && is_buried), "a guest who is in was buried");
        assert_eq!(office.entries[0].is_occupied(), !is_buried);
    });
}

/// A reaper dies after each of its steps; another finishes what it began.
#[test]
fn a_reaper_dies_anywhere() {
    for steps in 1..4 {
        model("a_reaper_dies_anywhere", 2, move || {
            let office = Office::new();
            office.dies(0);
            let dying = {
                let office = Arc::clone(&office);
                thread::spawn(move || office.recover(1, steps))
            };
            office.recover(2, u32::MAX);
            dying.join().unwrap();
            // The second reaper may have come too early; its next look settles everything.
            if !office.is_dead(1) {
                office.recover(1, u32::MAX);
            }
            office.arena_of_the_dead(1);
            office.recover(2, u32::MAX);
            assert_eq!(office.arena.state(), State::Free);
            assert!(office.swept.load(Relaxed) >= 1);
            assert!(!office.entries[0].is_occupied());
        });
    }
}

impl Office {
    /// What reaping participant `dead` does with the block: takes over its claim.
    fn arena_of_the_dead(&self, dead: u32) {
        if self.is_dead(dead) && self.arena.inherit(dead, 2) {
            self.arena.free(2);
        }
    }
}

#[test]
fn mutants_are_caught() {
    const TESTS: &str = "raw::tests::loom_blocks::";
    let table = [
        ("last-looks/fence", "two_leave_at_once"),
        ("hold-left/AcqRel", "two_leave_at_once"),
        ("hold-left/Acquire", "two_leave_at_once"),
        ("blocks-hold-uncounted", "a_hold_that_moves_is_not_overlooked"),
        ("block-freed/Release", "a_freed_block_is_claimed_once"),
        ("block-freed/Acquire", "a_freed_block_is_claimed_once"),
        ("block-live/Release", "an_open_block_shows_its_content"),
        ("block-live/Acquire", "an_open_block_shows_its_content"),
        ("entry-changed/Release", "an_heir_finds_everything_given_back"),
        ("entry-changed/AcqRel", "one_corpse_two_reapers_and_an_heir"),
        ("entry-changed/Acquire", "a_slow_reaper_never_reaps_the_living"),
        ("participants-ask-first", "a_slow_reaper_never_reaps_the_living"),
        ("participants-guest-blind", "a_guest_comes_or_is_buried_unborn"),
        ("hold-counted/Release", "a_hold_that_moves_is_not_overlooked"),
        ("hold-counted/Acquire", "a_hold_that_moves_is_not_overlooked"),
    ];
    let table: Vec<_> = table.iter().map(|(m, t)| (*m, format!("{TESTS}{t}"))).collect();
    expect_caught(&table.iter().map(|(m, t)| (*m, t.as_str())).collect::<Vec<_>>());
}
