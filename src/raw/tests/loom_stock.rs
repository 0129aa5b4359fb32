//! Models of the stock: no unit has two users, and whoever dies leaves nothing that is not found.
#![allow(unsafe_code)]

use std::ops::Range;
use std::rc::Rc;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::death::{Life, live};
use super::{expect_caught, model, race};
use crate::raw::Corrupt;
use crate::raw::stock::{Holder, Run, Stock};
use crate::raw::units::{Deed, StockMemory, UNIT};
use crate::shim::{AtomicU64, Ordering::*, at, dies_at};

/// What a unit is to its users, who notice when two are at it.
#[derive(Default)]
struct Payload {
    has_memory: bool,
    /// The block that it was written for.
    block: usize,
}

/// A stock and the run words of some blocks.
struct Shared {
    words: Vec<AtomicU64>,
    hint: AtomicU64,
    units: Vec<UnsafeCell<Payload>>,
    runs: Vec<AtomicU64>,
    /// See [`race`].
    race: AtomicUsize,
}

impl Shared {
    fn new(units: u32, blocks: usize) -> Arc<Self> {
        Arc::new(Self {
            words: (0..units).map(|_| AtomicU64::new(0)).collect(),
            hint: AtomicU64::new(0),
            units: (0..units).map(|_| UnsafeCell::default()).collect(),
            runs: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            race: AtomicUsize::new(0),
        })
    }

    /// The block that a unit is bound to.
    fn owner(&self, unit: usize, order: std::sync::atomic::Ordering) -> Option<usize> {
        (self.words[unit].load(order) as usize >> 8).checked_sub(1)
    }

    /// Whether the run word of a block names a unit.
    fn names(&self, block: usize, unit: usize) -> bool {
        // Acquire `run-changed`: pairs with Release `run-changed` in `Holder::name`.
        let run = self.runs[block].load(at(Acquire, "run-changed")) as usize;
        let (first, count) = (run & 0xffff_ffff, run >> 32);
        (first..first + count).contains(&unit)
    }

    /// What a kill at this moment would leave, as far as this thread knows: a unit that is bound to
    /// a block is named by it, or has been given back by the time that it is not.
    fn audit(&self) {
        for unit in 0..self.words.len() {
            race(&self.race);
            // Acquire `unit-moved`: pairs with Release `unit-moved` in `move_to`, and with AcqRel
            // `unit-freed` in `claim`.
            let Some(block) = self.owner(unit, at(Acquire, "unit-moved")) else { continue };
            race(&self.race);
            if !self.names(block, unit) {
                assert_ne!(self.owner(unit, Relaxed), Some(block), "bound, and not named");
            }
        }
    }

    /// Each unit is free, or bound to one block that names it; memory is where it is said to be.
    fn is_conserved(&self) {
        for unit in 0..self.words.len() {
            let owner = self.owner(unit, Relaxed);
            assert!(owner.is_none_or(|block| self.names(block, unit)), "unit {unit} is lost");
            let has_memory = self.units[unit].with(|payload| {
                // SAFETY: loom checks that nobody is at the unit.
                unsafe { (*payload).has_memory }
            });
            assert!(
                has_memory || self.words[unit].load(Relaxed) & 0xff == 0,
                "unit {unit} is cold"
            );
        }
    }

    fn is_all_free(&self) {
        self.is_conserved();
        assert!((0..self.words.len()).all(|unit| self.owner(unit, Relaxed).is_none()));
        assert!(self.runs.iter().all(|run| run.load(Relaxed) == 0));
    }
}

struct Memory {
    shared: Arc<Shared>,
    life: Rc<Life>,
}

impl StockMemory for Memory {
    fn units(&self) -> u32 {
        self.shared.words.len() as u32
    }

    fn word(&self, index: u32) -> &AtomicU64 {
        self.life.step();
        race(&self.shared.race);
        &self.shared.words[index as usize]
    }

    fn hint(&self) -> &AtomicU64 {
        self.life.step();
        &self.shared.hint
    }
}

/// A process that owns blocks.
struct Owner {
    stock: Stock<Memory>,
    shared: Arc<Shared>,
    life: Rc<Life>,
}

impl Owner {
    fn new(shared: &Arc<Shared>, steps: u32) -> Self {
        let (shared, life) = (Arc::clone(shared), Rc::new(Life::new(steps)));
        let memory = Memory { shared: Arc::clone(&shared), life: Rc::clone(&life) };
        Self { stock: Stock::new(memory), shared, life }
    }

    fn immortal(shared: &Arc<Shared>) -> Self {
        Self::new(shared, Life::ENDLESS)
    }

    fn holder(&self, block: usize) -> Holder<'_> {
        let deed = Deed::new(block as u64 + 1).unwrap();
        Holder { deed, run: &self.shared.runs[block] }
    }

    fn at_each(&self, bytes: Range<u64>, mut work: impl FnMut(&mut Payload)) {
        for unit in bytes.start / UNIT..bytes.end.div_ceil(UNIT) {
            self.life.step();
            self.shared.units[unit as usize].with_mut(|payload| {
                // SAFETY: loom checks that nobody else is at this unit.
                work(unsafe { &mut *payload });
            });
        }
    }

    /// Gives a run of this block its memory, and writes to it.
    fn write(&self, block: usize, run: Run) {
        let bytes = run.bytes();
        let furnish = |bytes| {
            self.at_each(bytes, |payload| payload.has_memory = true);
            Ok::<(), Corrupt>(())
        };
        self.stock.furnish(self.holder(block).deed, run, bytes.end - bytes.start, furnish).unwrap();
        self.at_each(bytes, |payload| {
            assert!(payload.has_memory, "written where no memory is");
            payload.block = block;
        });
    }

    /// Takes and writes a run; whether there was room.
    fn take(&self, block: usize, count: u32) -> bool {
        let run = self.stock.take(&self.holder(block), count).unwrap();
        run.inspect(|run| self.write(block, *run)).is_some()
    }

    /// Reads the run of a block, written for block `writer`, if it is whole.
    fn read(&self, block: usize, writer: usize) -> Option<Run> {
        let run = self.stock.find(&self.holder(block)).unwrap()?;
        self.at_each(run.bytes(), |payload| assert_eq!(payload.block, writer));
        Some(run)
    }

    /// Frees the run of a block; unit 0 stays warm.
    fn free(&self, block: usize) {
        let discard = |bytes| self.at_each(bytes, |payload| payload.has_memory = false);
        self.stock.free(&self.holder(block), |unit| unit == 0, discard).unwrap();
    }
}

/// Takes, writes and frees, if there is room.
fn use_once(shared: &Arc<Shared>, block: usize, count: u32) {
    let owner = Owner::immortal(shared);
    if owner.take(block, count) {
        owner.free(block);
    }
}

/// Two take what both cannot have at once, and give it back.
#[test]
fn a_unit_has_one_user() {
    for (units, counts) in [(1, [1, 1]), (2, [1, 2]), (3, [2, 2])] {
        model(&format!("stock users, {units} units, {counts:?}"), 2, move || {
            let shared = Shared::new(units, 2);
            let theirs = Arc::clone(&shared);
            let other = thread::spawn(move || use_once(&theirs, 1, counts[1]));
            use_once(&shared, 0, counts[0]);
            other.join().unwrap();
            shared.is_all_free();
            // Nobody is in the way any more, so there is room for all there is.
            let last = Owner::immortal(&shared);
            assert!(last.take(0, units));
            shared.is_conserved();
            last.free(0);
            shared.is_all_free();
        });
    }
}

/// Of two who are in each other's way, one gets what he wants.
#[test]
fn one_of_two_gets_through() {
    for counts in [[2, 2], [3, 3], [2, 3]] {
        model(&format!("stock rivals, 3 units, {counts:?}"), 2, move || {
            let shared = Shared::new(3, 2);
            let theirs = Arc::clone(&shared);
            let other = thread::spawn(move || Owner::immortal(&theirs).take(1, counts[1]));
            let mine = Owner::immortal(&shared).take(0, counts[0]);
            let theirs = other.join().unwrap();
            assert!(mine || theirs, "each was in the other's way");
            shared.is_conserved();
        });
    }
}

/// Writes to what a dead owner left, if it is a whole run, and frees it.
fn inherit(shared: &Arc<Shared>, block: usize) {
    let heir = Owner::immortal(shared);
    if let Some(run) = heir.stock.find(&heir.holder(block)).unwrap() {
        heir.write(block, run);
    }
    heir.free(block);
    assert_eq!(heir.stock.find(&heir.holder(block)), Ok(None));
}

/// The most steps of whoever takes, writes and frees two units, though another is in his way.
const STEPS: u32 = 38;

/// He dies anywhere, and the other takes what becomes free.
#[test]
fn a_dead_owner_leaves_what_his_block_names() {
    for units in [3, 2] {
        for dies_at in 0..=STEPS {
            model(&format!("stock owner, {units} units, dies at {dies_at}"), 1, move || {
                let shared = Shared::new(units, 2);
                let theirs = Arc::clone(&shared);
                let other = thread::spawn(move || use_once(&theirs, 1, 1));
                let killed = live(|| {
                    let owner = Owner::new(&shared, dies_at);
                    if owner.take(0, 2) {
                        owner.free(0);
                    }
                });
                assert!(!killed || dies_at < STEPS, "there are more steps");
                inherit(&shared, 0);
                other.join().unwrap();
                shared.is_all_free();
            });
        }
    }
}

/// Two units, each looked at and bound.
const MOVE_STEPS: u32 = 4;

/// Moves the run of block 0 to block 1 and dies at a step, the one after `MOVE_STEPS` being that
/// before the last store. Whether it was killed.
fn move_and_die(shared: &Arc<Shared>, step: u32) -> bool {
    let steps = if step < MOVE_STEPS { step } else { Life::ENDLESS };
    let mover = Owner::new(shared, steps);
    let moves = || mover.stock.move_to(&mover.holder(0), &mover.holder(1)).unwrap();
    if step == MOVE_STEPS { dies_at("stock-moved", moves).is_none() } else { live(moves) }
}

/// He dies anywhere; both blocks have new owners, and one of them takes again what he can.
#[test]
fn a_dead_mover_leaves_what_both_blocks_name() {
    for step in 0..=MOVE_STEPS + 1 {
        model(&format!("stock mover, dies at {step}"), 2, move || {
            let shared = Shared::new(2, 2);
            assert!(Owner::immortal(&shared).take(0, 2));
            let killed = move_and_die(&shared, step);
            assert_eq!(killed, step <= MOVE_STEPS);
            shared.is_conserved();
            let theirs = Arc::clone(&shared);
            let other = thread::spawn(move || {
                let heir = Owner::immortal(&theirs);
                assert!(heir.read(1, 0).is_some() || killed, "it was not moved");
                heir.free(1);
            });
            let heir = Owner::immortal(&shared);
            assert!(heir.read(0, 0).is_none() || killed, "it was not moved");
            heir.free(0);
            use_once(&shared, 0, 1);
            other.join().unwrap();
            shared.is_all_free();
        });
    }
}

/// The taker loses a unit in the middle of his run and gives back what he had.
#[test]
fn a_block_names_its_units_while_it_takes_them() {
    model("stock audit of a taker", 2, || {
        let shared = Shared::new(3, 2);
        // The other one begins in the middle.
        shared.hint.store(1, Relaxed);
        let theirs = Arc::clone(&shared);
        let taker = thread::spawn(move || {
            let taker = Owner::immortal(&theirs);
            let _ = taker.stock.take(&taker.holder(0), 3);
        });
        let theirs = Arc::clone(&shared);
        let other = thread::spawn(move || {
            let other = Owner::immortal(&theirs);
            let _ = other.stock.take(&other.holder(1), 1);
        });
        shared.audit();
        taker.join().unwrap();
        other.join().unwrap();
    });
}

/// The owner frees one run and takes another.
#[test]
fn a_block_names_its_units_while_it_frees_them() {
    model("stock audit of a free", 3, || {
        let shared = Shared::new(2, 1);
        assert!(Owner::immortal(&shared).take(0, 2));
        let theirs = Arc::clone(&shared);
        let owner = thread::spawn(move || Owner::immortal(&theirs).free(0));
        shared.audit();
        owner.join().unwrap();
    });
}

/// The owner of two blocks moves a run.
#[test]
fn a_block_names_its_units_while_it_moves_them() {
    model("stock audit of a mover", 3, || {
        let shared = Shared::new(2, 2);
        assert!(Owner::immortal(&shared).take(0, 2));
        let theirs = Arc::clone(&shared);
        let mover = thread::spawn(move || assert!(!move_and_die(&theirs, Life::ENDLESS)));
        shared.audit();
        mover.join().unwrap();
    });
}

#[test]
fn every_step_is_needed() {
    const USERS: &str = "raw::tests::loom_stock::a_unit_has_one_user";
    const RIVALS: &str = "raw::tests::loom_stock::one_of_two_gets_through";
    const OWNER: &str = "raw::tests::loom_stock::a_dead_owner_leaves_what_his_block_names";
    const MOVER: &str = "raw::tests::loom_stock::a_dead_mover_leaves_what_both_blocks_name";
    const TAKES: &str = "raw::tests::loom_stock::a_block_names_its_units_while_it_takes_them";
    const FREES: &str = "raw::tests::loom_stock::a_block_names_its_units_while_it_frees_them";
    const MOVES: &str = "raw::tests::loom_stock::a_block_names_its_units_while_it_moves_them";
    expect_caught(&[
        ("unit-freed/Release", USERS),
        ("unit-freed/AcqRel", USERS),
        ("unit-freed/AcqRel", TAKES),
        ("unit-moved/Release", MOVES),
        ("run-changed/Release", TAKES),
        ("run-changed/Release", FREES),
        ("run-changed/Release", MOVES),
        ("stock-keep-prefix", RIVALS),
        ("stock-name-late", OWNER),
        ("stock-clear-first", OWNER),
        ("stock-clear-first", FREES),
        ("stock-note-early", OWNER),
        ("stock-forget-late", OWNER),
        ("stock-discard-late", OWNER),
        ("stock-move-unnamed", MOVER),
        ("stock-move-clear-first", MOVER),
    ]);
}
