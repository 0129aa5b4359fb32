//! A chain of rings in which anybody can die at any access, for the models and for real threads.
#![allow(unsafe_code)]
#![cfg_attr(not(multiproc_loom), allow(dead_code, reason = "some of it is for models"))]

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize as Ghost};

#[cfg(multiproc_loom)]
pub(super) use loom::sync::Arc;
#[cfg(multiproc_loom)]
use loom::sync::atomic::AtomicUsize;
#[cfg(not(multiproc_loom))]
pub(super) use std::sync::Arc;
#[cfg(not(multiproc_loom))]
use std::sync::atomic::AtomicUsize;

#[cfg(multiproc_loom)]
use super::death::Life;
#[cfg(not(multiproc_loom))]
use crate::raw::death::Life;
use crate::raw::memory::Cursor;
use crate::raw::swap::chain::{
    Chain, ChainHand, ChainMemory, Entry, Failure, Place, Sent, Turns, ring_of,
};
use crate::raw::swap::handle::{self, Ends, HandleTable};
use crate::raw::swap::recover::{self, Policy, Rings};
use crate::raw::swap::{Hints, Popped, Ring, Shape, SwapMemory};
use crate::shim::{AtomicU32, AtomicU64, Ordering::*};

/// What is found where memory was given back.
const NOTHING: u64 = 0xdead;

/// The bytes of a block. A model notices if two are at them at once.
#[cfg(multiproc_loom)]
struct Bytes(loom::cell::UnsafeCell<u64>);

#[cfg(multiproc_loom)]
impl Bytes {
    fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(NOTHING))
    }

    fn fill(&self, message: u64) {
        self.0.with_mut(|bytes| {
            // SAFETY: loom checks that nobody else is there.
            unsafe { *bytes = message }
        });
    }

    fn read(&self) -> u64 {
        self.0.with(|bytes| {
            // SAFETY: loom checks that nobody writes there.
            unsafe { *bytes }
        })
    }
}

#[cfg(not(multiproc_loom))]
struct Bytes(AtomicU64);

#[cfg(not(multiproc_loom))]
impl Bytes {
    fn new() -> Self {
        Self(AtomicU64::new(NOTHING))
    }

    fn fill(&self, message: u64) {
        self.0.store(message, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

struct Words {
    hints: Hints,
    slots: Vec<AtomicU64>,
    owners: Vec<AtomicU32>,
    notes: Vec<Notes>,
    payload: Vec<Bytes>,
    /// What who furnishes and who discards are at.
    pages: Bytes,
    is_furnished: AtomicBool,
}

impl Words {
    fn new(shape: Shape) -> Self {
        let cursor = || Cursor { position: AtomicU64::new(0) };
        Self {
            hints: Hints { tail: cursor(), head: cursor() },
            slots: (0..shape.slots()).map(|_| AtomicU64::new(0)).collect(),
            owners: (0..shape.blocks()).map(|_| AtomicU32::new(0)).collect(),
            notes: (0..shape.handles()).map(|_| Notes::new()).collect(),
            payload: (0..shape.blocks()).map(|_| Bytes::new()).collect(),
            pages: Bytes::new(),
            is_furnished: AtomicBool::new(false),
        }
    }
}

/// What one handle says of itself in one ring.
struct Notes {
    intent: AtomicU64,
    want: AtomicU32,
    scratch: AtomicU64,
}

impl Notes {
    fn new() -> Self {
        Self { intent: AtomicU64::new(0), want: AtomicU32::new(0), scratch: AtomicU64::new(0) }
    }
}

pub(super) struct Estate {
    shape: Shape,
    turns: Turns,
    entries: Vec<Entry>,
    rings: Vec<Words>,
    handles: Vec<AtomicU64>,
    taken_ever: AtomicU64,
    orphans: AtomicU64,
    /// How many furnished rings there may be at once.
    limit: usize,
    furnished: Ghost,
    furnished_ever: Ghost,
    /// See [`Sight`].
    race: AtomicUsize,
    sight: Sight,
}

/// What a participant sees of the others' stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// What the orderings of the code guarantee: for orderings. See [`race`](super::race).
    Weak,
    /// All that came before: for the steps and their order, fifty times as fast.
    Full,
}

impl Estate {
    /// A chain of at most `rings` rings of `slots` slots. Handle and participant `n` are one.
    pub(super) fn new(
        sight: Sight,
        slots: u32,
        handles: u32,
        rings: u32,
        limit: usize,
    ) -> Arc<Self> {
        let shape = Shape::new(slots, handles).unwrap();
        let estate = Arc::new(Self {
            shape,
            turns: Turns::new(),
            entries: (0..rings).map(|_| Entry::new()).collect(),
            rings: (0..rings).map(|_| Words::new(shape)).collect(),
            handles: (0..handles).map(|_| AtomicU64::new(0)).collect(),
            taken_ever: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
            limit,
            furnished: Ghost::new(0),
            furnished_ever: Ghost::new(0),
            race: AtomicUsize::new(0),
            sight,
        });
        let desk = Desk::new(&estate);
        Chain::new(desk.clone(), 0, true).begin().ok().unwrap();
        for handle in 0..handles {
            assert_eq!(handle::attach(&desk, handle, Ends::BOTH), Some(handle));
        }
        estate
    }

    /// How many times a ring got memory.
    #[cfg(not(multiproc_loom))]
    pub(super) fn furnished_ever(&self) -> usize {
        self.furnished_ever.load(Relaxed)
    }

    /// How many rings have memory.
    pub(super) fn furnished(&self) -> usize {
        self.furnished.load(Relaxed)
    }

    /// How many rings are not free.
    pub(super) fn in_use(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.is_free()).count()
    }

    /// Whether another ring follows this one, or ever did.
    pub(super) fn is_followed(&self, number: u32) -> bool {
        self.entries[number as usize].next.load(Acquire) != 0
    }

    /// How many messages died in hands.
    pub(super) fn casualties(&self) -> u64 {
        let notes = self.rings.iter().flat_map(|words| &words.notes);
        notes.map(|notes| notes.scratch.load(Acquire) >> 33).sum()
    }

    /// Every block is in one place, and every handle is the owner of its own.
    pub(super) fn is_sound(&self) {
        let rings = self.rings.iter().zip(&self.entries).filter(|(_, entry)| entry.has_place());
        for (words, _) in rings {
            let in_slots =
                words.slots.iter().map(|slot| slot.load(Acquire) as u32 & self.block_mask());
            let in_hands = words.notes.iter().map(|notes| notes.scratch.load(Acquire) as u32);
            let mut blocks: Vec<u32> = in_slots.chain(in_hands).collect();
            blocks.sort_unstable();
            assert!(blocks.into_iter().eq(0..self.shape.blocks()), "a block is gone, or twice");
            for (handle, notes) in words.notes.iter().enumerate() {
                let block = notes.scratch.load(Acquire) as u32;
                let owner = words.owners[block as usize].load(Acquire);
                assert_eq!(owner, handle as u32 + 1, "a block in a hand has another owner");
            }
        }
    }

    fn block_mask(&self) -> u32 {
        self.shape.blocks().next_power_of_two() - 1
    }
}

/// How far a participant goes: it may die before any access, or stop there for a while.
pub(super) struct Path {
    life: Life,
    stop: RefCell<Option<Stop>>,
}

/// What the others do before an access that is so many away.
struct Stop {
    left: u32,
    meanwhile: Box<dyn FnOnce()>,
}

impl Path {
    /// Stops at the access that is so many away until `meanwhile` is over.
    pub(super) fn stop_at(&self, steps: u32, meanwhile: impl FnOnce() + 'static) {
        self.stop.replace(Some(Stop { left: steps, meanwhile: Box::new(meanwhile) }));
    }

    /// Dies after that many accesses.
    pub(super) fn die_at(&self, steps: u32) {
        self.life.renew(steps);
    }

    /// Neither stops nor dies from here on.
    pub(super) fn go_on(&self) {
        self.stop.take();
        self.life.renew(Life::ENDLESS);
    }

    /// Comes before every access.
    fn step(&self) {
        let due = self.stop.borrow_mut().take_if(|stop| {
            stop.left -= 1;
            stop.left == 0
        });
        if let Some(stop) = due {
            (stop.meanwhile)();
        }
        self.life.step();
    }
}

/// One participant's way to the estate.
#[derive(Clone)]
pub(super) struct Desk {
    estate: Arc<Estate>,
    path: Rc<Path>,
}

impl Desk {
    fn new(estate: &Arc<Estate>) -> Self {
        let path = Path { life: Life::new(Life::ENDLESS), stop: RefCell::new(None) };
        Self { estate: Arc::clone(estate), path: Rc::new(path) }
    }

    /// Comes before every access that can race. Real threads race without it.
    fn step(&self) {
        self.path.step();
        if cfg!(not(multiproc_loom)) {
            return;
        }
        let order = if self.estate.sight == Sight::Full { AcqRel } else { Relaxed };
        self.estate.race.fetch_add(1, order);
    }
}

impl HandleTable for Desk {
    fn handles(&self) -> u32 {
        self.estate.handles.len() as u32
    }

    fn word(&self, handle: u32) -> &AtomicU64 {
        self.path.step();
        &self.estate.handles[handle as usize]
    }

    fn taken_ever(&self) -> &AtomicU64 {
        &self.estate.taken_ever
    }
}

impl Rings for Desk {
    type Memory = RingAt;

    fn ring(&self, number: u32) -> Option<Ring<RingAt>> {
        ring_of(self, number)
    }

    fn rings(&self) -> u32 {
        self.estate.rings.len() as u32
    }

    fn rings_used(&self) -> u32 {
        (0..self.rings()).find(|&number| self.entry(number).is_virgin()).unwrap_or(self.rings())
    }

    fn orphans(&self, _handle: u32) -> &AtomicU64 {
        &self.estate.orphans
    }

    fn strike(&self, _handle: u32) {}

    fn clear(&self, _ring: u32, _block: u32) {}
}

impl ChainMemory for Desk {
    type Refused = ();

    fn turns(&self) -> &Turns {
        self.step();
        &self.estate.turns
    }

    fn entry(&self, number: u32) -> &Entry {
        self.step();
        &self.estate.entries[number as usize]
    }

    fn ring_at(&self, number: u32, place: u64) -> Option<Ring<RingAt>> {
        assert_eq!(u64::from(number) + 100, place);
        Some(Ring::new(RingAt { desk: self.clone(), number }))
    }

    fn furnish(&self, number: u32, place: Option<u64>) -> Result<u64, ()> {
        self.path.step();
        let estate = &self.estate;
        let Words { pages, is_furnished, .. } = &estate.rings[number as usize];
        pages.fill(0);
        if !is_furnished.load(Relaxed) {
            if estate.furnished() == estate.limit {
                return Err(());
            }
            estate.furnished.fetch_add(1, Relaxed);
            estate.furnished_ever.fetch_add(1, Relaxed);
            is_furnished.store(true, Relaxed);
        }
        self.path.step();
        Ok(place.unwrap_or(u64::from(number) + 100))
    }

    fn discard(&self, number: u32, blocks: Range<u32>) {
        let words = &self.estate.rings[number as usize];
        words.pages.fill(0);
        for block in blocks {
            self.path.step();
            words.payload[block as usize].fill(NOTHING);
            words.owners[block as usize].store(0, Relaxed);
        }
        if words.is_furnished.swap(false, Relaxed) {
            self.estate.furnished.fetch_sub(1, Relaxed);
        }
        self.path.step();
    }
}

/// One ring of the estate.
pub(super) struct RingAt {
    desk: Desk,
    number: u32,
}

impl RingAt {
    fn words(&self) -> &Words {
        &self.desk.estate.rings[self.number as usize]
    }

    fn fill(&self, block: u32, message: u64) {
        self.desk.path.step();
        self.words().payload[block as usize].fill(message);
    }

    fn read(&self, block: u32) -> u64 {
        self.desk.path.step();
        self.words().payload[block as usize].read()
    }
}

impl SwapMemory for RingAt {
    fn shape(&self) -> Shape {
        self.desk.estate.shape
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn hints(&self) -> &Hints {
        &self.words().hints
    }

    fn slot(&self, slot: u32) -> &AtomicU64 {
        self.desk.step();
        &self.words().slots[slot as usize]
    }

    fn owner(&self, block: u32) -> &AtomicU32 {
        self.desk.path.step();
        &self.words().owners[block as usize]
    }

    fn intent(&self, handle: u32) -> &AtomicU64 {
        self.desk.path.step();
        &self.words().notes[handle as usize].intent
    }

    fn want(&self, handle: u32) -> &AtomicU32 {
        self.desk.path.step();
        &self.words().notes[handle as usize].want
    }

    fn scratch(&self, handle: u32) -> &AtomicU64 {
        self.desk.path.step();
        &self.words().notes[handle as usize].scratch
    }
}

/// One participant with one handle.
pub(super) struct Actor {
    chain: Chain<Desk>,
    hand: ChainHand<RingAt>,
}

impl Actor {
    /// One of the first participants, each of whom has the handle of its number.
    pub(super) fn new(estate: &Arc<Estate>, me: u32) -> Self {
        Self::with(estate, me, me)
    }

    /// A participant that takes a free handle.
    pub(super) fn joining(estate: &Arc<Estate>, me: u32) -> Self {
        let desk = Desk::new(estate);
        Self::with(estate, me, handle::attach(&desk, me, Ends::BOTH).unwrap())
    }

    /// One of them, for whom the chain is its first ring.
    #[cfg(not(multiproc_loom))]
    pub(super) fn bounded(estate: &Arc<Estate>, me: u32) -> Self {
        let chain = Chain::new(Desk::new(estate), me, false);
        let hand = chain.hand(me).unwrap();
        Self { chain, hand }
    }

    fn with(estate: &Arc<Estate>, me: u32, handle: u32) -> Self {
        let chain = Chain::new(Desk::new(estate), me, true);
        let hand = chain.hand(handle).unwrap();
        Self { chain, hand }
    }

    pub(super) fn path(&self) -> Rc<Path> {
        Rc::clone(&self.chain.memory().path)
    }

    /// Sends a message, if it can be sent.
    pub(super) fn try_send(&mut self, message: u64) -> Sent {
        let block = self.hand.outgoing().block;
        self.hand.tail_memory().fill(block, message);
        loop {
            match self.chain.push(&mut self.hand) {
                Ok(Sent::Moved { from }) => self.carry(from),
                Ok(sent) => return sent,
                Err(Failure::NoMemory(())) => return Sent::Full,
                Err(Failure::Corrupt) => panic!("corrupt at a push"),
            }
        }
    }

    /// Sends a message. False if there is no room.
    pub(super) fn send(&mut self, message: u64) -> bool {
        self.try_send(message) == Sent::Done
    }

    /// Sends a message if that is possible at once.
    pub(super) fn push(&mut self, message: u64) -> bool {
        let block = self.hand.outgoing().block;
        self.hand.tail_memory().fill(block, message);
        self.chain.push(&mut self.hand) == Ok(Sent::Done)
    }

    /// Moves the message to where the outgoing block is now.
    fn carry(&self, from: Place) {
        if from != self.hand.outgoing() {
            let left = self.chain.memory().ring(from.ring).unwrap();
            let message = left.memory().read(from.block);
            self.hand.tail_memory().fill(self.hand.outgoing().block, message);
        }
    }

    /// The oldest message, or why there is none.
    pub(super) fn try_receive(&mut self) -> Result<u64, Popped> {
        match self.chain.pop(&mut self.hand).expect("corrupt at a pop") {
            Popped::Done => {
                let message = self.hand.head_memory().read(self.hand.incoming().block);
                self.chain.acknowledge(&self.hand);
                Ok(message)
            }
            Popped::Elsewhere => panic!("the head was followed"),
            other => Err(other),
        }
    }

    pub(super) fn receive(&mut self) -> Option<u64> {
        self.try_receive().ok()
    }

    pub(super) fn seal(&self) {
        self.chain.seal().expect("corrupt at a seal");
    }

    pub(super) fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.receive()).collect()
    }

    pub(super) fn totals(&mut self) -> (u64, u64) {
        self.chain.totals(&mut self.hand).unwrap()
    }

    pub(super) fn len(&mut self) -> u64 {
        self.chain.len(&mut self.hand).unwrap()
    }

    /// Buries a participant: its handles, then its rings.
    pub(super) fn bury(&self, dead: u32) {
        recover::recover(self.chain.memory(), dead, Policy::AtMostOnce);
        self.chain.recover(dead).unwrap();
    }
}
