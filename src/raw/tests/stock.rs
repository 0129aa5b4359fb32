//! The stock on real memory: against a simple model, with deaths, crowds and hostile words.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::raw::death::{Life, live};
use crate::raw::heap::Heap;
use crate::raw::memory::LINE;
use crate::raw::units::StockAt;
use crate::raw::wait::testing::Watchdog;

/// The pages of a unit.
const PAGES: u64 = UNIT / PAGE;

/// The words of a stock and of some blocks, outside of any segment.
struct Room {
    heap: Heap,
    runs: Vec<AtomicU64>,
    units: u32,
}

impl Room {
    fn new(units: u32, blocks: usize) -> Self {
        let runs = (0..blocks).map(|_| AtomicU64::new(0)).collect();
        Self { heap: Heap::new(StockAt::bytes_for(units)), runs, units }
    }

    fn memory(&self) -> StockAt {
        // SAFETY: the heap outlives the stocks in every test, and is touched by atomics only while
        // there are several threads.
        unsafe { StockAt::new(self.heap.base(), self.heap.len(), self.units) }.unwrap()
    }

    fn stock(&self) -> Stock<StockAt> {
        Stock::new(self.memory())
    }

    fn holder(&self, block: usize) -> Holder<'_> {
        Holder { deed: Deed::new(block as u64 + 1).unwrap(), run: &self.runs[block] }
    }

    fn word(&self, unit: u32) -> u64 {
        self.heap.look(LINE + 8 * unit as usize)
    }

    /// The block of each unit.
    fn owners(&self) -> Vec<Option<usize>> {
        (0..self.units).map(|unit| (self.word(unit) as usize >> 8).checked_sub(1)).collect()
    }

    /// The pages of each unit.
    fn pages(&self) -> Vec<u64> {
        (0..self.units).map(|unit| self.word(unit) & 0xff).collect()
    }
}

fn run(first: u32, count: u32) -> Run {
    Run { first, count }
}

/// Where a stretch begins and ends.
type Stretch = (u64, u64);

fn ends(bytes: Range<u64>) -> Stretch {
    (bytes.start, bytes.end)
}

/// Furnishes and returns for which bytes the kernel was asked.
fn furnish(
    stock: &Stock<StockAt>,
    deed: Deed,
    run: Run,
    bytes: u64,
) -> Result<Vec<Stretch>, Corrupt> {
    let mut asked = Vec::new();
    stock.furnish(deed, run, bytes, |stretch| {
        asked.push(ends(stretch));
        Ok::<(), Corrupt>(())
    })?;
    Ok(asked)
}

#[test]
fn runs_are_taken_from_the_beginning_and_once_around() {
    let room = Room::new(8, 5);
    let stock = room.stock();
    let take = |block, count| stock.take(&room.holder(block), count).unwrap();
    let free = |block| stock.free(&room.holder(block), |_| true, |_| ()).unwrap();
    assert_eq!(take(0, 3), Some(run(0, 3)));
    assert_eq!(take(1, 3), Some(run(3, 3)));
    assert_eq!(take(2, 3), None);
    assert_eq!(take(2, 2), Some(run(6, 2)));
    assert_eq!((take(3, 1), take(3, 0), take(3, 9), take(3, u32::MAX)), (None, None, None, None));
    free(1);
    assert_eq!(take(3, 1), Some(run(3, 1)));
    free(0);
    free(2);
    // The search comes around, also to a run that begins before the hint and ends behind it.
    room.heap.poke(0, 6);
    assert_eq!(take(0, 5), None);
    assert_eq!(take(0, 3), Some(run(0, 3)));
    room.heap.poke(0, 6);
    assert_eq!(take(4, 4), Some(run(4, 4)));
    assert_eq!(room.owners(), [0, 0, 0, 3, 4, 4, 4, 4].map(Some));
}

#[test]
fn a_block_has_one_run_at_a_time() {
    let room = Room::new(8, 2);
    let stock = room.stock();
    let (one, other) = (room.holder(0), room.holder(1));
    assert_eq!(stock.find(&one), Ok(None));
    assert_eq!(stock.take(&one, 2), Ok(Some(run(0, 2))));
    assert_eq!(stock.take(&one, 2), Err(Corrupt));
    assert_eq!(stock.take(&other, 2), Ok(Some(run(2, 2))));
    assert_eq!(stock.move_to(&one, &other), Err(Corrupt));
    assert_eq!(stock.free(&other, |_| true, |_| ()), Ok(()));
    assert_eq!(stock.free(&other, |_| unreachable!(), |_| unreachable!()), Ok(()));
    assert_eq!(stock.move_to(&one, &other), Ok(()));
    assert_eq!((stock.find(&one), stock.find(&other)), (Ok(None), Ok(Some(run(0, 2)))));
    assert_eq!(stock.move_to(&one, &other), Ok(()));
    assert_eq!(stock.find(&other), Ok(Some(run(0, 2))));
}

#[test]
fn what_is_warm_is_not_furnished() {
    let room = Room::new(8, 2);
    let stock = room.stock();
    let (one, deed) = (room.holder(0), room.holder(0).deed);
    let taken = stock.take(&one, 4).unwrap().unwrap();
    assert_eq!(taken.bytes(), 0..4 * UNIT);
    let asked = |bytes| furnish(&stock, deed, taken, bytes).unwrap();
    assert_eq!(asked(0), []);
    assert_eq!(asked(1), [(0, PAGE)]);
    assert_eq!(asked(PAGE), []);
    assert_eq!(asked(PAGE + 1), [(0, 2 * PAGE)]);
    assert_eq!(asked(UNIT + PAGE), [(0, UNIT + PAGE)]);
    assert_eq!(asked(UNIT + PAGE), []);
    assert_eq!(asked(3 * UNIT), [(UNIT, 3 * UNIT)]);
    assert_eq!(room.pages()[..4], [PAGES, PAGES, PAGES, 0]);
    assert_eq!(furnish(&stock, deed, taken, 4 * UNIT + 1), Err(Corrupt));
    // What the kernel refused is asked for again.
    let refuse = |_| Err(Corrupt);
    assert_eq!(stock.furnish(deed, taken, 4 * UNIT, refuse), Err(Corrupt));
    assert_eq!(asked(4 * UNIT), [(3 * UNIT, 4 * UNIT)]);
    assert_eq!(furnish(&stock, room.holder(1).deed, taken, 1), Err(Corrupt));
}

#[test]
fn units_stay_warm_or_lose_their_memory() {
    let room = Room::new(8, 2);
    let stock = room.stock();
    let (one, deed) = (room.holder(0), room.holder(0).deed);
    let taken = stock.take(&one, 6).unwrap().unwrap();
    assert_eq!(furnish(&stock, deed, taken, 6 * UNIT).unwrap(), [(0, 6 * UNIT)]);
    let mut discarded = Vec::new();
    stock.free(&one, |unit| unit == 1 || unit == 5, |bytes| discarded.push(ends(bytes))).unwrap();
    assert_eq!(discarded, [(0, UNIT), (2 * UNIT, 5 * UNIT)]);
    assert_eq!(room.owners(), [None; 8]);
    assert_eq!(room.pages(), [0, PAGES, 0, 0, 0, PAGES, 0, 0]);
    // Two cold stretches beside the warm units.
    let taken = stock.take(&one, 6).unwrap().unwrap();
    assert_eq!(furnish(&stock, deed, taken, 6 * UNIT).unwrap(), [(0, UNIT), (2 * UNIT, 5 * UNIT)]);
    stock.move_to(&one, &room.holder(1)).unwrap();
    assert_eq!(furnish(&stock, room.holder(1).deed, taken, 6 * UNIT), Ok(vec![]));
}

#[test]
fn a_part_of_a_run_is_not_found_but_freed() {
    let room = Room::new(4, 2);
    let stock = room.stock();
    assert_eq!(stock.take(&room.holder(0), 3), Ok(Some(run(0, 3))));
    // As if the owner had died while he bound it, and another had taken the unit in the middle.
    room.heap.poke(LINE + 8, bound(room.holder(1).deed, 2));
    assert_eq!(stock.find(&room.holder(0)), Ok(None));
    let mut discarded = Vec::new();
    stock.free(&room.holder(0), |_| false, |bytes| discarded.push(ends(bytes))).unwrap();
    assert_eq!(discarded, [(0, UNIT), (2 * UNIT, 3 * UNIT)]);
    assert_eq!(room.owners(), [None, Some(1), None, None]);
    assert_eq!(room.pages(), [0, 2, 0, 0]);
}

#[test]
fn a_stock_that_does_not_fit_is_refused() {
    assert_eq!(StockAt::bytes_for(0), 128);
    assert_eq!(StockAt::bytes_for(64), 640);
    assert_eq!((Deed::new(0), Deed::new(1 << 48)), (None, None));
    assert!(Deed::new(1).is_some() && Deed::new((1 << 48) - 1).is_some());
    let heap = Heap::new(1024);
    // SAFETY: at most 1023 bytes from the second on are the heap's, and no stock is made of them.
    unsafe {
        assert!(StockAt::new(heap.base().add(1), 1023, 1).is_err());
        assert!(StockAt::new(heap.base(), 639, 64).is_err());
        assert!(StockAt::new(heap.base(), 640, u32::MAX).is_err());
        assert!(StockAt::new(heap.base(), 640, 64).is_ok());
    }
    let room = Room::new(0, 1);
    assert_eq!(room.stock().take(&room.holder(0), 1), Ok(None));
}

/// Memory whose user dies before one of his accesses.
struct Mortal {
    memory: StockAt,
    life: Life,
}

impl StockMemory for Mortal {
    fn units(&self) -> u32 {
        self.memory.units()
    }

    fn word(&self, index: u32) -> &AtomicU64 {
        self.life.step();
        self.memory.word(index)
    }

    fn hint(&self) -> &AtomicU64 {
        self.life.step();
        self.memory.hint()
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Take { block: usize, count: u32 },
    Furnish { block: usize, percent: u64 },
    Free { block: usize },
    Move { from: usize, to: usize },
}

const BLOCKS: usize = 5;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..BLOCKS, 1..9u32).prop_map(|(block, count)| Act::Take { block, count }),
        4 => (0..BLOCKS, 0..=100u64).prop_map(|(block, percent)| Act::Furnish { block, percent }),
        3 => (0..BLOCKS).prop_map(|block| Act::Free { block }),
        2 => (0..BLOCKS, 0..BLOCKS).prop_map(|(from, to)| Act::Move { from, to }),
    ]
}

/// After how many accesses the actor dies.
fn death() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(Life::ENDLESS), 1 => 0..50u32]
}

/// What should be, beside what is.
struct Ledger {
    room: Room,
    /// The block of each unit.
    owners: Vec<Option<usize>>,
    /// Which pages have memory.
    memory: RefCell<Vec<bool>>,
    /// Units below this stay warm.
    warm: u32,
}

impl Ledger {
    fn new(units: u32, warm: u32) -> Self {
        let memory = RefCell::new(vec![false; units as usize * PAGES as usize]);
        Self { room: Room::new(units, BLOCKS), owners: vec![None; units as usize], memory, warm }
    }

    fn stock(&self, steps: u32) -> Stock<Mortal> {
        Stock::new(Mortal { memory: self.room.memory(), life: Life::new(steps) })
    }

    fn set_memory(&self, bytes: Range<u64>, has: bool) {
        assert!(bytes.start.is_multiple_of(PAGE) && bytes.end.is_multiple_of(PAGE));
        assert!(!bytes.is_empty());
        let pages = (bytes.start / PAGE) as usize..(bytes.end / PAGE) as usize;
        self.memory.borrow_mut()[pages].fill(has);
    }

    fn free(&self, block: usize, steps: u32) {
        let discard = |bytes| self.set_memory(bytes, false);
        self.stock(steps).free(&self.room.holder(block), |unit| unit < self.warm, discard).unwrap();
    }

    fn units_of(&self, block: usize) -> Vec<u32> {
        let units = 0..self.room.units;
        units.filter(|unit| self.owners[*unit as usize] == Some(block)).collect()
    }

    fn has_room(&self, count: u32) -> bool {
        self.owners.windows(count as usize).any(|units| units.iter().all(Option::is_none))
    }

    /// Does what the act says; false if the actor was killed.
    fn act(&mut self, act: Act, steps: u32) -> bool {
        let stock = self.stock(steps);
        let done = Cell::new(None);
        let killed = live(|| match act {
            Act::Take { block, count } => {
                let taken = stock.take(&self.room.holder(block), count);
                done.set(Some(taken));
            }
            Act::Furnish { block, percent } => {
                let Some(run) = stock.find(&self.room.holder(block)).unwrap() else { return };
                let bytes = (run.bytes().end - run.bytes().start) * percent / 100;
                let deed = self.room.holder(block).deed;
                let give = |bytes| {
                    self.set_memory(bytes, true);
                    Ok::<(), Corrupt>(())
                };
                stock.furnish(deed, run, bytes, give).unwrap();
                let begin = (run.bytes().start / PAGE) as usize;
                let pages = begin..begin + bytes.div_ceil(PAGE) as usize;
                assert!(self.memory.borrow()[pages].iter().all(|has| *has));
                assert_eq!(stock.furnish(deed, run, bytes, |_| Err(Corrupt)), Ok(()));
            }
            Act::Free { block } => self.free(block, steps),
            Act::Move { from, to } => {
                let moved = stock.move_to(&self.room.holder(from), &self.room.holder(to));
                let (holds, is_empty) =
                    (!self.units_of(from).is_empty(), self.units_of(to).is_empty());
                assert_eq!(moved.is_ok(), !holds || is_empty);
                done.set(Some(moved.map(|()| None)));
            }
        });
        if killed {
            return false;
        }
        self.follow(act, done.take());
        true
    }

    /// Books what somebody did who was not killed.
    fn follow(&mut self, act: Act, done: Option<Result<Option<Run>, Corrupt>>) {
        match (act, done) {
            (Act::Take { block, .. }, Some(Err(Corrupt))) => {
                assert!(!self.units_of(block).is_empty());
            }
            (Act::Take { block, count }, Some(Ok(taken))) => {
                assert!(self.units_of(block).is_empty());
                assert_eq!(taken.is_some(), self.has_room(count));
                let units = taken.map_or(0..0, Run::units);
                assert!(taken.is_none() || units.len() == count as usize);
                for unit in units {
                    assert_eq!(self.owners[unit as usize].replace(block), None);
                }
            }
            (Act::Free { block }, _) => self.strike(block),
            (Act::Move { from, to }, Some(Ok(_))) => {
                for unit in self.units_of(from) {
                    self.owners[unit as usize] = Some(to);
                }
            }
            _ => {}
        }
    }

    fn strike(&mut self, block: usize) {
        for unit in self.units_of(block) {
            self.owners[unit as usize] = None;
        }
    }

    /// Frees what the dead had to do with, for its new owners.
    fn inherit(&mut self, act: Act, second: bool) {
        let blocks = match act {
            Act::Take { block, .. } | Act::Furnish { block, .. } | Act::Free { block } => {
                vec![block]
            }
            Act::Move { from, to } if second => vec![to, from],
            Act::Move { from, to } => vec![from, to],
        };
        for block in blocks {
            self.free(block, Life::ENDLESS);
            self.strike(block);
        }
    }

    fn check(&self) {
        assert_eq!(self.room.owners(), self.owners);
        for (unit, pages) in self.room.pages().into_iter().enumerate() {
            let first = unit * PAGES as usize;
            let has = &self.memory.borrow()[first..first + PAGES as usize];
            assert!(has[..pages as usize].iter().all(|has| *has), "unit {unit} is cold");
            assert!(
                self.owners[unit].is_some() || (unit as u32) < self.warm || !has.contains(&true),
                "unit {unit} keeps its memory"
            );
        }
        for block in 0..BLOCKS {
            let found = self.stock(Life::ENDLESS).find(&self.room.holder(block)).unwrap();
            let found: Vec<u32> = found.map_or(0..0, Run::units).collect();
            assert_eq!(found, self.units_of(block));
        }
    }
}

proptest! {
    #[test]
    fn the_stock_is_a_row_of_units(
        units in 1..24u32,
        warm in 0..24u32,
        acts in prop::collection::vec((act(), death(), any::<bool>()), 0..80),
    ) {
        let mut ledger = Ledger::new(units, warm);
        for (act, steps, second) in acts {
            if matches!(act, Act::Move { from, to } if from == to) {
                continue;
            }
            if !ledger.act(act, steps) {
                ledger.inherit(act, second);
            }
            ledger.check();
        }
        for block in 0..BLOCKS {
            ledger.free(block, Life::ENDLESS);
        }
        prop_assert_eq!(ledger.room.owners(), vec![None; units as usize]);
    }
}

/// One word a unit, for its owner alone: that is what the test is about.
struct Payloads(Vec<UnsafeCell<u64>>);

// SAFETY: a cell is accessed only by who owns the block that its unit is bound to, and owners of a
// block, like users of a unit, follow one another in order.
unsafe impl Sync for Payloads {}

impl Payloads {
    fn write(&self, run: Run, value: u64) {
        for unit in run.units() {
            // SAFETY: as above; the caller owns the run.
            unsafe { *self.0[unit as usize].get() = value };
        }
    }

    fn check(&self, run: Run, value: u64) {
        for unit in run.units() {
            // SAFETY: as above; the caller owns the run.
            assert_eq!(unsafe { *self.0[unit as usize].get() }, value);
        }
    }
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Takes out a block and its stamp, as from a ring.
type Pool = Mutex<Vec<(usize, u64)>>;

fn draw(pool: &Pool, dice: &mut Dice) -> (usize, u64) {
    let mut blocks = pool.lock().unwrap();
    let index = dice.below(blocks.len() as u64) as usize;
    blocks.swap_remove(index)
}

/// Blocks pass from thread to thread, with their runs, which are written, read, moved and freed.
#[test]
fn a_crowd_finds_what_it_wrote() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 20_000;
    const UNITS: u32 = 24;
    let _dog = Watchdog::new("a_crowd_finds_what_it_wrote");
    let room = Room::new(UNITS, 12);
    let payloads = Payloads((0..UNITS).map(|_| UnsafeCell::new(0)).collect());
    let pool: Pool = Mutex::new((0..12).map(|block| (block, 0)).collect());
    let taken = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let (stock, runs) = (room.stock(), &room.runs);
            let (payloads, pool, taken) = (&payloads, &pool, &taken);
            scope.spawn(move || {
                let mut dice = Dice(number);
                let holder = |block: usize| Holder {
                    deed: Deed::new(block as u64 + 1).unwrap(),
                    run: &runs[block],
                };
                for round in 0..ROUNDS {
                    let (block, mut stamp) = draw(pool, &mut dice);
                    match stock.find(&holder(block)).unwrap() {
                        None => {
                            let count = 1 + dice.below(6) as u32;
                            if let Some(run) = stock.take(&holder(block), count).unwrap() {
                                stamp = number << 32 | round;
                                payloads.write(run, stamp);
                                taken.fetch_add(1, Relaxed);
                            }
                        }
                        Some(run) => {
                            payloads.check(run, stamp);
                            let (other, its_stamp) = draw(pool, &mut dice);
                            let is_empty = stock.find(&holder(other)).unwrap().is_none();
                            let moves = is_empty && dice.below(3) == 0;
                            if moves {
                                stock.move_to(&holder(block), &holder(other)).unwrap();
                            } else if dice.below(3) != 0 {
                                payloads.write(run, u64::MAX);
                                stock.free(&holder(block), |_| true, |_| ()).unwrap();
                            }
                            let stamp = if moves { stamp } else { its_stamp };
                            pool.lock().unwrap().push((other, stamp));
                        }
                    }
                    pool.lock().unwrap().push((block, stamp));
                }
            });
        }
    });
    assert!(taken.into_inner() > 1000);
    for (block, stamp) in pool.into_inner().unwrap() {
        if let Some(run) = room.stock().find(&room.holder(block)).unwrap() {
            payloads.check(run, stamp);
        }
        room.stock().free(&room.holder(block), |_| true, |_| ()).unwrap();
    }
    assert!(room.owners().iter().all(Option::is_none));
}

/// Runs all there is to call, and checks that nothing leads out of the stock.
fn call_everything(stock: &Stock<StockAt>, units: u32, one: &Holder<'_>, other: &Holder<'_>) {
    let inside = |bytes: Range<u64>| {
        assert!(bytes.start < bytes.end && bytes.end <= u64::from(units) * UNIT);
    };
    let is_run = |run: Run| inside(run.bytes());
    for count in [1, 3, units, u32::MAX] {
        if let Ok(Some(run)) = stock.take(one, count) {
            is_run(run);
        }
    }
    if let Ok(Some(run)) = stock.find(one) {
        is_run(run);
        for bytes in [1, UNIT + 1, run.bytes().end - run.bytes().start, u64::MAX] {
            let _ = stock.furnish(one.deed, run, bytes, |bytes| {
                inside(bytes);
                Ok::<(), Corrupt>(())
            });
        }
    }
    let _ = stock.move_to(one, other);
    let _ = stock.free(one, |unit| unit % 2 == 0, inside);
    let _ = stock.free(other, |unit| unit % 3 == 0, inside);
}

/// Words that are likely to be taken for owners, runs, or units.
fn wild() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..4u64, any::<u8>()).prop_map(|(owner, pages)| owner << 8 | u64::from(pages)),
        3 => (0..30u64, 0..30u64).prop_map(|(count, first)| count << 32 | first),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

proptest! {
    #[test]
    fn wild_words_never_lead_astray(
        units in 0..24u32,
        words in prop::collection::vec(wild(), 30),
        changes in prop::collection::vec((any::<prop::sample::Index>(), wild()), 0..40),
    ) {
        let room = Room::new(units, 2);
        let stock = room.stock();
        let set = |place: usize, word| match place {
            0 | 1 => room.runs[place].store(word, Relaxed),
            2 => room.heap.poke(0, word),
            _ => room.heap.poke(LINE + 8 * (place - 3), word),
        };
        let places = units as usize + 3;
        (0..places).zip(&words).for_each(|(place, word)| set(place, *word));
        for (place, word) in changes {
            call_everything(&stock, units, &room.holder(0), &room.holder(1));
            set(place.index(places), word);
        }
    }
}

/// The words change under way, at any moment.
#[test]
fn words_that_change_under_way_never_lead_astray() {
    const UNITS: u32 = 8;
    let _dog = Watchdog::new("words_that_change_under_way_never_lead_astray");
    let room = Room::new(UNITS, 2);
    let (stock, memory) = (room.stock(), room.memory());
    thread::scope(|scope| {
        let (one, other) = (room.holder(0), room.holder(1));
        let caller = scope.spawn(move || {
            for _ in 0..50_000 {
                call_everything(&stock, UNITS, &one, &other);
            }
        });
        let mut dice = Dice(1);
        while !caller.is_finished() {
            let word = match dice.below(3) {
                0 => dice.below(3) << 8 | dice.below(9),
                1 => dice.below(9) << 32 | dice.below(9),
                _ => dice.below(u64::MAX),
            };
            match dice.below(u64::from(UNITS) + 3) as u32 {
                UNITS => memory.hint().store(word, Relaxed),
                unit if unit < UNITS => memory.word(unit).store(word, Relaxed),
                other => room.runs[(other - UNITS - 1) as usize].store(word, Relaxed),
            }
        }
    });
}
