//! The block-swap ring on real memory: like a queue, under load, after deaths, and scribbled over.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::handle::{self, Ends, HandleTable};
use super::recover::{self, Policy, Rings};
use super::{HANDLES_MAX, Hand, Hints, NONE, Popped, Pushed, Ring, SLOTS_MAX, Shape, SwapMemory};
use crate::raw::Corrupt;
use crate::raw::death::{Life, live};
use crate::raw::heap::Heap;
use crate::raw::memory::{Cursor, LINE};
use crate::shim::{AtomicU32, AtomicU64, Ordering::*, yield_now};

/// The words of one ring.
struct Words {
    hints: Hints,
    slots: Vec<AtomicU64>,
    owners: Vec<AtomicU32>,
    intents: Vec<AtomicU64>,
    wants: Vec<AtomicU32>,
    scratches: Vec<AtomicU64>,
    blocks: Heap,
}

/// A queue of rings of one shape.
struct Queue {
    shape: Shape,
    rings: Vec<Words>,
    handles: Vec<AtomicU64>,
    taken_ever: AtomicU64,
    orphans: AtomicU64,
}

// SAFETY: all of it are atomics but the blocks, which the ring gives to one at a time.
unsafe impl Sync for Queue {}
// SAFETY: as above.
unsafe impl Send for Queue {}

fn zeros<T: Default>(count: u32) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

impl Queue {
    fn new(slots: u32, handles: u32, rings: u32) -> Arc<Self> {
        let shape = Shape::new(slots, handles).unwrap();
        let cursor = || Cursor { position: AtomicU64::new(0) };
        let words = |_| Words {
            hints: Hints { tail: cursor(), head: cursor() },
            slots: zeros(slots),
            owners: zeros(shape.blocks()),
            intents: zeros(handles),
            wants: zeros(handles),
            scratches: zeros(handles),
            blocks: Heap::new(shape.blocks() as usize * LINE),
        };
        let queue = Arc::new(Self {
            shape,
            rings: (0..rings).map(words).collect(),
            handles: zeros(handles),
            taken_ever: AtomicU64::new(0),
            orphans: AtomicU64::new(0),
        });
        let view = View::new(&queue);
        (0..rings).for_each(|number| view.of(number).prepare(false));
        for handle in 0..handles {
            assert_eq!(handle::attach(&view, handle, Ends::BOTH), Some(handle));
        }
        queue
    }

    /// Every word that a peer could write.
    fn long_words(&self) -> impl Iterator<Item = &AtomicU64> {
        let rings = self.rings.iter().flat_map(|ring| {
            let hints = [&ring.hints.tail.position, &ring.hints.head.position];
            hints.into_iter().chain(&ring.slots).chain(&ring.intents).chain(&ring.scratches)
        });
        rings.chain(&self.handles).chain([&self.taken_ever, &self.orphans])
    }

    fn short_words(&self) -> impl Iterator<Item = &AtomicU32> {
        self.rings.iter().flat_map(|ring| ring.owners.iter().chain(&ring.wants))
    }

    /// Every block is in one slot or one hand, and whoever has one is its owner.
    fn is_sound(&self) {
        for ring in &self.rings {
            let in_slots = ring.slots.iter().map(|word| self.shape.block(word.load(Acquire)));
            let in_hands = ring.scratches.iter().map(|word| word.load(Acquire) as u32);
            let mut blocks: Vec<u32> = in_slots.chain(in_hands).collect();
            blocks.sort_unstable();
            assert!(blocks.into_iter().eq(0..self.shape.blocks()), "a block is gone, or twice");
            for (handle, word) in ring.scratches.iter().enumerate() {
                let owner = ring.owners[word.load(Acquire) as u32 as usize].load(Acquire);
                assert_eq!(owner, handle as u32 + 1);
            }
        }
    }
}

/// One participant's way to one ring of it.
#[derive(Clone)]
struct View {
    queue: Arc<Queue>,
    number: u32,
    life: Life,
}

impl View {
    fn new(queue: &Arc<Queue>) -> Self {
        Self { queue: Arc::clone(queue), number: 0, life: Life::new(Life::ENDLESS) }
    }

    fn of(&self, number: u32) -> Ring<Self> {
        Ring::new(Self { number, ..self.clone() })
    }

    fn words(&self) -> &Words {
        self.life.step();
        &self.queue.rings[self.number as usize]
    }

    /// The payload of a block.
    fn block(&self, block: u32) -> *mut [u64; 4] {
        assert!(block < self.queue.shape.blocks());
        // SAFETY: there is a line for each block.
        unsafe { self.words().blocks.base().add(block as usize * LINE).cast().as_ptr() }
    }
}

impl HandleTable for View {
    fn handles(&self) -> u32 {
        self.queue.shape.handles()
    }

    fn word(&self, handle: u32) -> &AtomicU64 {
        &self.queue.handles[handle as usize]
    }

    fn taken_ever(&self) -> &AtomicU64 {
        &self.queue.taken_ever
    }
}

impl SwapMemory for View {
    fn shape(&self) -> Shape {
        self.queue.shape
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn hints(&self) -> &Hints {
        &self.words().hints
    }

    fn slot(&self, slot: u32) -> &AtomicU64 {
        &self.words().slots[slot as usize]
    }

    fn owner(&self, block: u32) -> &AtomicU32 {
        let owners = &self.words().owners;
        &owners[block as usize % owners.len()]
    }

    fn intent(&self, handle: u32) -> &AtomicU64 {
        &self.words().intents[handle as usize]
    }

    fn want(&self, handle: u32) -> &AtomicU32 {
        &self.words().wants[handle as usize]
    }

    fn scratch(&self, handle: u32) -> &AtomicU64 {
        &self.words().scratches[handle as usize]
    }
}

impl Rings for View {
    type Memory = Self;

    fn ring(&self, number: u32) -> Option<Ring<Self>> {
        (number < self.rings()).then(|| self.of(number))
    }

    fn rings(&self) -> u32 {
        self.queue.rings.len() as u32
    }

    fn orphans(&self, _handle: u32) -> &AtomicU64 {
        &self.queue.orphans
    }

    fn strike(&self, _handle: u32) {}

    fn clear(&self, _ring: u32, block: u32) {
        assert!(block < self.queue.shape.blocks());
    }
}

/// A handle at work in ring 0.
struct Worker {
    ring: Ring<View>,
    hand: Hand,
}

impl Worker {
    fn new(queue: &Arc<Queue>, handle: u32) -> Self {
        let ring = View::new(queue).of(0);
        let hand = ring.hand(handle).unwrap();
        Self { ring, hand }
    }

    fn push(&mut self, value: u64) -> Pushed {
        // SAFETY: the block is this handle's.
        unsafe { self.ring.memory().block(self.hand.block()).write([value; 4]) };
        self.ring.push(&mut self.hand).unwrap()
    }

    fn pop(&mut self) -> Result<u64, Popped> {
        let popped = self.ring.pop(&mut self.hand, || true).unwrap();
        if popped != Popped::Done {
            return Err(popped);
        }
        // SAFETY: the block is this handle's.
        let message = unsafe { self.ring.memory().block(self.hand.block()).read() };
        assert_eq!(message, [message[0]; 4], "torn");
        self.ring.acknowledge(&self.hand);
        Ok(message[0])
    }

    /// Works until it is done or, after `steps` accesses, killed; whether it was killed.
    fn live(&mut self, steps: u32, work: impl FnOnce(&mut Self)) -> bool {
        self.ring.memory().life.renew(steps);
        live(|| work(self))
    }
}

#[test]
fn a_shape_that_cannot_be_is_refused() {
    assert!(Shape::new(1, 1).is_some() && Shape::new(SLOTS_MAX, HANDLES_MAX).is_some());
    for (slots, handles) in [(0, 1), (1, 0), (SLOTS_MAX + 1, 1), (1, HANDLES_MAX + 1)] {
        assert_eq!(Shape::new(slots, handles), None);
    }
    assert_eq!(Shape::new(u32::MAX, u32::MAX), None);
}

#[test]
fn positions_are_counted() {
    for (slots, handles) in [(1, 1), (2, 3), (3, 1), (5, 1008), (SLOTS_MAX, 1)] {
        let shape = Shape::new(slots, handles).unwrap();
        for first in [0, shape.step()] {
            let positions = std::iter::successors(Some(first), |&at| Some(shape.behind(at)));
            for (count, position) in (0..20).zip(positions) {
                assert_eq!(shape.count(position), count);
                assert_eq!(u64::from(shape.slot(position)), count % u64::from(slots));
                assert!(shape.is_like(position, first) && shape.is_push(position) == (first == 0));
            }
        }
    }
}

/// What one handle does in the tests below.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Pop,
    /// It comes back as if it were new, at the hints.
    Return,
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![5 => Just(Step::Push), 4 => Just(Step::Pop), 1 => Just(Step::Return)];
    prop::collection::vec((0..4_u32, step), 1..200)
}

proptest! {
    #[test]
    fn a_ring_is_a_queue(slots in 1..=5_u32, steps in steps()) {
        let queue = Queue::new(slots, 4, 1);
        let mut workers: Vec<_> = (0..4).map(|handle| Worker::new(&queue, handle)).collect();
        let mut model = VecDeque::new();
        let (mut pushed, mut popped) = (0, 0);
        for (handle, step) in steps {
            let worker = &mut workers[handle as usize];
            match step {
                Step::Push => {
                    let is_full = model.len() == slots as usize;
                    let expected = if is_full { Pushed::Full } else { Pushed::Done };
                    prop_assert_eq!(worker.push(pushed), expected);
                    if !is_full {
                        model.push_back(pushed);
                        pushed += 1;
                    }
                }
                Step::Pop => {
                    let expected = model.pop_front();
                    popped += u64::from(expected.is_some());
                    prop_assert_eq!(worker.pop(), expected.ok_or(Popped::Empty));
                }
                Step::Return => *worker = Worker::new(&queue, handle),
            }
            let totals = worker.ring.totals(&mut worker.hand);
            prop_assert_eq!(totals, Ok((pushed, popped)));
            queue.is_sound();
        }
    }

    /// Each step may be the last one of its handle, whose next owner begins where it was left.
    #[test]
    fn the_dead_leave_a_queue(
        slots in 1..=5_u32,
        steps in prop::collection::vec((0..3_u32, any::<bool>(), 0..16_u32), 1..200),
        redelivers in any::<bool>(),
    ) {
        let policy = if redelivers { Policy::Redeliver } else { Policy::AtMostOnce };
        let queue = Queue::new(slots, 4, 1);
        let view = View::new(&queue);
        let (mut received, mut sent) = (Vec::new(), 0);
        for (handle, is_push, life) in steps {
            let mut worker = Worker::new(&queue, handle);
            let is_killed = worker.live(life, |worker| match is_push {
                true => _ = worker.push(sent),
                false => received.extend(worker.pop()),
            });
            sent += 1;
            if !is_killed {
                continue;
            }
            recover::recover(&view, handle, policy);
            if let Some(orphan) = recover::adopt(&view, 3) {
                prop_assert!(redelivers);
                let (number, block) = recover::legacy(&view, orphan).unwrap();
                // SAFETY: the block is the orphan's, which is ours.
                received.push(unsafe { view.block(block).read() }[0]);
                recover::deliver(&view, orphan, number, 3);
            }
            prop_assert_eq!(handle::attach(&view, handle, Ends::BOTH), Some(handle));
            queue.is_sound();
        }
        let mut last = Worker::new(&queue, 3);
        received.extend(std::iter::from_fn(|| last.pop().ok()));
        let (pushed, popped) = last.ring.totals(&mut last.hand).unwrap();
        let casualties: u64 = (0..4).map(|handle| last.ring.scratch_of(handle).casualties).sum();
        let lost = if redelivers { 0 } else { casualties };
        prop_assert_eq!((pushed, popped), (popped, received.len() as u64 + lost));
        prop_assert!(received.is_sorted(), "out of order: {:?}", received);
    }

    /// Whatever the words say, there is an answer.
    #[test]
    fn scribbled_words_have_an_answer(
        slots in 1..=5_u32,
        scribbles in prop::collection::vec(scribble(), 1..40),
        redelivers in any::<bool>(),
    ) {
        let policy = if redelivers { Policy::Redeliver } else { Policy::AtMostOnce };
        let queue = Queue::new(slots, 3, 2);
        let mut worker = Worker::new(&queue, 0);
        let (mut hand, ring) = (worker.hand.clone(), View::new(&queue).of(0));
        assert_eq!(worker.push(1), Pushed::Done);
        for (index, word, flips) in scribbles {
            let (long, short): (Vec<_>, Vec<_>) =
                (queue.long_words().collect(), queue.short_words().collect());
            match index.index(long.len() + short.len()).checked_sub(long.len()) {
                None => {
                    let target = long[index.index(long.len() + short.len())];
                    let flipped = target.load(Relaxed) ^ (word & 0x3f);
                    target.store(if flips { flipped } else { word }, Relaxed);
                }
                Some(at) => short[at].store(word as u32, Relaxed),
            }
            // Many times more than any of these needs.
            ring.memory().life.renew(10_000);
            for _ in 0..3 {
                let _: Result<Pushed, Corrupt> = ring.push(&mut hand);
                let _: Result<Popped, Corrupt> = ring.pop(&mut hand, || true);
            }
            let _: Result<Popped, Corrupt> = ring.pop(&mut worker.hand, || true);
            let _: Result<_, Corrupt> = ring.totals(&mut hand);
            for hand in ring.hand(2).iter().chain([&hand]) {
                prop_assert!(hand.block() < queue.shape.blocks(), "outside of the memory");
            }
            let view = ring.memory();
            let _ = (handle::has_none(view, Ends::SENDER), ring.is_popping(1));
            if let Some(orphan) = recover::adopt(view, 1) {
                let number = recover::legacy(view, orphan).map_or(0, |(number, _)| number);
                recover::deliver(view, orphan, number, 1);
            }
            (0..3).for_each(|participant| recover::recover(view, participant, policy));
            handle::attach(view, 1, Ends::BOTH);
        }
    }
}

/// Which word is written over, with what, and whether only its low bits are turned around by that.
fn scribble() -> impl Strategy<Value = (prop::sample::Index, u64, bool)> {
    (any::<prop::sample::Index>(), word(), any::<bool>())
}

/// Words that mean something, nearly do, or do not.
fn word() -> impl Strategy<Value = u64> {
    let near = prop_oneof![Just(0), Just(1 << 31), Just(1 << 32), Just(1 << 63), Just(u64::MAX)];
    let near = (near, 0..64_u64, any::<bool>()).prop_map(|(word, by, is_less)| {
        if is_less { word.wrapping_sub(by) } else { word.wrapping_add(by) }
    });
    // Versions and marks of the shapes above are in these bits.
    let small = (0..16_u64, 0..32_u64).prop_map(|(version, low)| version << 4 | low);
    prop_oneof![small, near, any::<u64>()]
}

/// An announcement is evidence about its own ring, though another has a position of that number.
#[test]
fn another_ring_is_no_evidence() {
    let queue = Queue::new(2, 3, 2);
    let mut rings: Vec<[Worker; 2]> = Vec::new();
    for handle in 0..3 {
        rings.push([0, 1].map(|number| {
            let ring = View::new(&queue).of(number);
            let hand = ring.hand(handle).unwrap();
            Worker { ring, hand }
        }));
    }
    let [me, taker, dead] = &mut rings[..] else { unreachable!() };
    assert_eq!(
        (me[0].push(1), me[0].push(2), me[1].push(3)),
        (Pushed::Done, Pushed::Done, Pushed::Done)
    );
    assert_eq!(taker[0].pop(), Ok(1));
    // The taker has announced its second pop of ring 0, and its first one of ring 1, and stands
    // still before the exchange each time: behind the look at the slot, the want, and the intent.
    assert!(taker[0].live(3, |worker| _ = worker.pop()));
    assert_eq!(me[0].pop(), Ok(2));
    assert!(taker[1].live(2, |worker| _ = worker.pop()));
    // What it wants there is taken by one who dies before it sends it: behind the block, the look
    // at a slot that is full, at the hints, and at the next slot, the want, and the intent.
    assert_eq!(dead[1].pop(), Ok(3));
    assert!(dead[1].live(6, |worker| _ = worker.push(4)));
    let position = queue.rings[1].intents[2].load(Relaxed);
    assert_ne!(position, NONE);
    assert_eq!(queue.rings[0].intents[1].load(Relaxed), position + queue.shape.step());
    recover::recover(&View::new(&queue), 2, Policy::AtMostOnce);
    queue.is_sound();
}

#[test]
fn many_threads_lose_nothing() {
    const EACH: u64 = if cfg!(miri) { 20 } else { 4_000 };
    for slots in [1, 2, 3, 8, 1000] {
        let queue = Queue::new(slots, 4, 1);
        let producers = [0, 1].map(|id| {
            let mut worker = Worker::new(&queue, id);
            thread::spawn(move || {
                for number in 0..EACH {
                    while worker.push(number << 1 | u64::from(id)) != Pushed::Done {
                        yield_now();
                    }
                }
            })
        });
        let consumers = [2, 3].map(|id| {
            let mut worker = Worker::new(&queue, id);
            thread::spawn(move || {
                let (mut next, mut count) = ([0; 2], [0; 2]);
                loop {
                    let Ok(message) = worker.pop() else {
                        if worker.ring.totals(&mut worker.hand) == Ok((2 * EACH, 2 * EACH)) {
                            return count;
                        }
                        yield_now();
                        continue;
                    };
                    let (number, id) = (message >> 1, message as usize & 1);
                    assert!(number >= next[id], "out of order");
                    next[id] = number + 1;
                    count[id] += 1;
                }
            })
        });
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        let counts = consumers.map(|consumer| consumer.join().unwrap());
        assert_eq!([0, 1].map(|id| counts[0][id] + counts[1][id]), [EACH; 2]);
        queue.is_sound();
    }
}
