//! The wide ring on real memory: capacity, order, laps, stale cursors and hostile words.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::memory::{CAPACITY_MAX, WideAt, WideMemory};
use super::{WideCursor, WideRing};
use crate::raw::Corrupt;
use crate::raw::heap::Heap;
use crate::raw::wait::testing::Watchdog;
use crate::shim::{AtomicU64, Wide};

const TAIL_HINT: usize = 0;
const HEAD_HINT: usize = 128;
const SLOTS: usize = 256;

fn bytes(capacity: u64) -> Heap {
    Heap::new(WideAt::bytes_for(capacity).unwrap())
}

fn ring(heap: &Heap, capacity: u64) -> WideRing<WideAt> {
    WideRing::new(at(heap, capacity))
}

fn at(heap: &Heap, capacity: u64) -> WideAt {
    // SAFETY: the heap outlives the rings in every test, and each heap is for one capacity.
    unsafe { WideAt::new(heap.base(), heap.len(), capacity) }.unwrap()
}

#[test]
fn a_ring_holds_exactly_its_capacity() {
    for capacity in [1, 2, 3, 5, 7, 64, 100, 1024] {
        let heap = bytes(capacity);
        let (ring, mut cursor) = (ring(&heap, capacity), WideCursor::default());
        assert_eq!(ring.try_pop(&mut cursor), Ok(None));
        for lap in 0..3 {
            for message in 0..capacity {
                assert_eq!(ring.len(&mut cursor), Ok(message));
                assert_eq!(ring.try_push(&mut cursor, lap * capacity + message), Ok(true));
            }
            assert_eq!(ring.try_push(&mut cursor, 0), Ok(false));
            assert_eq!(ring.try_push(&mut WideCursor::default(), 0), Ok(false));
            assert_eq!(ring.totals(&mut cursor), Ok(((lap + 1) * capacity, lap * capacity)));
            for message in 0..capacity {
                assert_eq!(ring.len(&mut cursor), Ok(capacity - message));
                assert_eq!(ring.try_pop(&mut cursor), Ok(Some(lap * capacity + message)));
            }
            assert_eq!(ring.try_pop(&mut cursor), Ok(None));
            assert_eq!(ring.try_pop(&mut WideCursor::default()), Ok(None));
        }
    }
}

#[test]
fn every_word_is_a_message() {
    let heap = bytes(2);
    let (ring, mut cursor) = (ring(&heap, 2), WideCursor::default());
    for message in [0, 1, u64::MAX, 1 << 63] {
        assert_eq!(ring.try_push(&mut cursor, message), Ok(true));
        assert_eq!(ring.try_pop(&mut cursor), Ok(Some(message)));
    }
}

#[test]
fn a_slot_is_free_as_soon_as_its_message_is_taken() {
    let heap = bytes(2);
    let (ring, mut cursor) = (ring(&heap, 2), WideCursor::default());
    assert_eq!(
        (ring.try_push(&mut cursor, 0), ring.try_push(&mut cursor, 1)),
        (Ok(true), Ok(true))
    );
    for message in 0..100 {
        assert_eq!(ring.try_push(&mut cursor, 0), Ok(false));
        assert_eq!(ring.try_pop(&mut cursor), Ok(Some(message)));
        assert_eq!(ring.try_push(&mut cursor, message + 2), Ok(true));
    }
}

/// All sequences of pushes and pops by two handles, of this many calls.
#[test]
fn all_short_histories_are_those_of_a_queue() {
    const CALLS: u32 = 8;
    for capacity in 1..=5 {
        for history in 0..4_u32.pow(CALLS) {
            let heap = bytes(capacity);
            let ring = ring(&heap, capacity);
            let mut cursors = [WideCursor::default(), WideCursor::default()];
            let mut model = VecDeque::new();
            for call in 0..CALLS {
                let choice = history >> (2 * call) & 3;
                let cursor = &mut cursors[choice as usize & 1];
                if choice < 2 {
                    let room = (model.len() as u64) < capacity;
                    assert_eq!(ring.try_push(cursor, call.into()), Ok(room));
                    model.extend(room.then_some(u64::from(call)));
                } else {
                    assert_eq!(ring.try_pop(cursor), Ok(model.pop_front()));
                }
            }
        }
    }
}

/// Pushes and pops through one handle until `messages` have gone through.
fn turn(ring: &WideRing<WideAt>, cursor: &mut WideCursor, messages: u64) {
    for message in 0..messages {
        assert_eq!(ring.try_push(cursor, message), Ok(true));
        assert_eq!(ring.try_pop(cursor), Ok(Some(message)));
    }
}

#[test]
fn a_handle_that_was_away_catches_up_in_a_few_looks() {
    for (capacity, away) in [(1, 1_000), (3, 1_000), (1_000, 700), (1_000, 12_345)] {
        for is_sender in [true, false] {
            let heap = bytes(capacity);
            turn(&ring(&heap, capacity), &mut WideCursor::default(), away);
            let counted =
                WideRing::new(Counted { slots: at(&heap, capacity), looks: Cell::new(0) });
            let late = &mut WideCursor::default();
            if is_sender {
                assert_eq!(counted.try_push(late, 1), Ok(true));
            } else {
                assert_eq!(counted.try_pop(late), Ok(None));
            }
            let looks = counted.memory.looks.get();
            assert!(looks <= 64 + 5, "{looks} looks, capacity {capacity}, {away} behind");
        }
    }
}

#[test]
fn without_hints_a_late_handle_walks_at_most_a_ringful() {
    for capacity in [1, 2, 3, 100] {
        for away in [capacity - 1, capacity, 10 * capacity + capacity / 2] {
            let heap = bytes(capacity);
            turn(&ring(&heap, capacity), &mut WideCursor::default(), away);
            heap.poke(TAIL_HINT, 0);
            heap.poke(HEAD_HINT, 0);
            let counted =
                WideRing::new(Counted { slots: at(&heap, capacity), looks: Cell::new(0) });
            assert_eq!(counted.try_push(&mut WideCursor::default(), 1), Ok(true));
            assert_eq!(counted.try_pop(&mut WideCursor::default()), Ok(Some(1)));
            assert!(counted.memory.looks.get() <= 2 * (capacity + 5));
            assert_eq!(counted.totals(&mut WideCursor::default()), Ok((away + 1, away + 1)));
        }
    }
}

#[test]
fn a_capacity_that_does_not_fit_is_refused() {
    assert_eq!(WideAt::bytes_for(0), None);
    assert_eq!(WideAt::bytes_for(CAPACITY_MAX + 1), None);
    assert_eq!(WideAt::bytes_for(u64::MAX), None);
    assert_eq!(WideAt::bytes_for(CAPACITY_MAX), Some(256 + 16 * 0xffff_ffff));
    assert_eq!(WideAt::bytes_for(3), Some(256 + 48));
    let heap = Heap::new(1024);
    // SAFETY: at most 1023 bytes from the second on are the heap's, and no ring is made of them.
    unsafe {
        assert!(WideAt::new(heap.base().add(16), 1008, 1).is_err());
        assert!(WideAt::new(heap.base(), 256 + 47, 3).is_err());
        assert!(WideAt::new(heap.base(), 256 + 48, 3).is_ok());
    }
}

/// Slots of the largest ring, a few of which exist, many times over.
struct Vast {
    slots: WideAt,
    hints: [AtomicU64; 2],
}

impl WideMemory for Vast {
    fn capacity(&self) -> u64 {
        CAPACITY_MAX
    }

    fn slot(&self, index: u64) -> &Wide {
        assert!(index < CAPACITY_MAX);
        self.slots.slot(index % self.slots.capacity())
    }

    fn tail_hint(&self) -> &AtomicU64 {
        &self.hints[0]
    }

    fn head_hint(&self) -> &AtomicU64 {
        &self.hints[1]
    }
}

#[test]
fn the_largest_ring_goes_on_to_its_next_lap() {
    let heap = bytes(8);
    let end = CAPACITY_MAX - 2;
    // Two slots are left of lap 0; the first ones are in lap 1, and no others of these eight.
    for index in 0..3 {
        heap.poke(SLOTS + 16 * index, 2);
    }
    let hints = [AtomicU64::new(end), AtomicU64::new(end)];
    let ring = WideRing::new(Vast { slots: at(&heap, 8), hints });
    let mut cursor = WideCursor::default();
    for message in 0..4 {
        assert_eq!(ring.try_push(&mut cursor, message), Ok(true));
    }
    for message in 0..4 {
        assert_eq!(ring.try_pop(&mut cursor), Ok(Some(message)));
    }
    assert_eq!(ring.totals(&mut cursor), Ok((end + 4, end + 4)));
}

/// What producer `producer` sends as message `number` of its own.
fn message(producer: u64, number: u64) -> u64 {
    producer << 32 | number
}

#[test]
fn two_send_and_two_receive() {
    let _dog = Watchdog::new("two_send_and_two_receive");
    for capacity in [1, 2, 3, 7, 1024] {
        let each: u64 = if capacity < 100 { 3_000 } else { 100_000 };
        let heap = bytes(capacity);
        let handles = [(); 4].map(|()| ring(&heap, capacity));
        let popped = AtomicU64::new(0);
        let received: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let [first, second, third, fourth] = handles;
            for (producer, ring) in [(0, first), (1, second)] {
                scope.spawn(move || {
                    let mut cursor = WideCursor::default();
                    for number in 0..each {
                        while !ring.try_push(&mut cursor, message(producer, number)).unwrap() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let popped = &popped;
            let receivers = [third, fourth].map(|ring| {
                scope.spawn(move || {
                    let (mut cursor, mut received) = (WideCursor::default(), Vec::new());
                    while popped.load(super::Relaxed) < 2 * each {
                        let Some(message) = ring.try_pop(&mut cursor).unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        popped.fetch_add(1, super::Relaxed);
                        received.push(message);
                    }
                    received
                })
            });
            receivers.map(|receiver| receiver.join().unwrap()).into()
        });
        for producer in [0, 1] {
            let of = |message: &&u64| **message >> 32 == producer;
            for one in &received {
                assert!(one.iter().filter(of).is_sorted(), "out of order, capacity {capacity}");
            }
            let mut all: Vec<u64> = received.iter().flatten().filter(of).copied().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..each).map(|number| message(producer, number))));
        }
        let ring = ring(&heap, capacity);
        assert_eq!(ring.totals(&mut WideCursor::default()), Ok((2 * each, 2 * each)));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Pop(usize),
    Turn(usize, u64),
    Reattach(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..3usize).prop_map(Op::Push),
        4 => (0..3usize).prop_map(Op::Pop),
        1 => (0..3usize, 0..40u64).prop_map(|(handle, messages)| Op::Turn(handle, messages)),
        1 => (0..3usize).prop_map(Op::Reattach),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #[test]
    fn the_ring_is_a_bounded_queue(capacity in 1..9u64, ops in ops()) {
        let heap = bytes(capacity);
        let ring = ring(&heap, capacity);
        let mut cursors = [(); 3].map(|()| WideCursor::default());
        let mut model = VecDeque::new();
        let (mut pushed, mut popped) = (0, 0);
        for op in ops {
            let (handle, steps) = match op {
                Op::Push(handle) => (handle, vec![true]),
                Op::Pop(handle) => (handle, vec![false]),
                Op::Turn(handle, messages) => (handle, [true, false].repeat(messages as usize)),
                Op::Reattach(handle) => {
                    cursors[handle] = WideCursor::default();
                    (handle, Vec::new())
                }
            };
            for is_push in steps {
                if is_push {
                    let room = (model.len() as u64) < capacity;
                    prop_assert_eq!(ring.try_push(&mut cursors[handle], pushed), Ok(room));
                    model.extend(room.then_some(pushed));
                    pushed += u64::from(room);
                } else {
                    prop_assert_eq!(ring.try_pop(&mut cursors[handle]), Ok(model.pop_front()));
                    popped = pushed - model.len() as u64;
                }
            }
            prop_assert_eq!(ring.len(&mut cursors[handle].clone()), Ok(model.len() as u64));
            prop_assert_eq!(ring.totals(&mut cursors[handle].clone()), Ok((pushed, popped)));
        }
    }
}

/// Slots that count how often they are reached.
struct Counted {
    slots: WideAt,
    looks: Cell<u64>,
}

impl WideMemory for Counted {
    fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    fn slot(&self, index: u64) -> &Wide {
        assert!(index < self.capacity());
        self.looks.set(self.looks.get() + 1);
        self.slots.slot(index)
    }

    fn tail_hint(&self) -> &AtomicU64 {
        self.slots.tail_hint()
    }

    fn head_hint(&self) -> &AtomicU64 {
        self.slots.head_hint()
    }
}

/// Words that mean something to the ring, and words that do not.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20u64,
        0..20u64,
        (0..64u32, 0..4u64).prop_map(|(bit, low)| low << bit),
        any::<u64>()
    ]
}

proptest! {
    #[test]
    fn wild_words_never_lead_astray(
        capacity in 1..9u64,
        rounds in prop::collection::vec(prop::collection::vec(word(), 18), 1..20),
    ) {
        let heap = bytes(capacity);
        let ring = WideRing::new(Counted { slots: at(&heap, capacity), looks: Cell::new(0) });
        let mut cursors = [WideCursor::default(), WideCursor::default()];
        for words in rounds {
            heap.poke(TAIL_HINT, words[0]);
            heap.poke(HEAD_HINT, words[1]);
            for (index, word) in words[2..].iter().take(2 * capacity as usize).enumerate() {
                heap.poke(SLOTS + 8 * index, *word);
            }
            for cursor in &mut cursors {
                for call in CALLS {
                    ring.memory.looks.set(0);
                    call(&ring, cursor);
                    // One end or both, and round the ring once.
                    prop_assert!(ring.memory.looks.get() <= 2 * (capacity + 4));
                }
            }
        }
    }
}

/// Calls that may say anything to wild words, but the impossible.
const CALLS: [fn(&WideRing<Counted>, &mut WideCursor); 4] = [
    |ring, cursor| _ = ring.try_push(cursor, 7),
    |ring, cursor| _ = ring.try_pop(cursor),
    |ring, cursor| assert!(ring.len(cursor).map_or(true, |length| length <= ring.capacity)),
    |ring, cursor| assert!(ring.totals(cursor).map_or(true, |(pushed, popped)| popped <= pushed)),
];

#[test]
fn what_no_handle_can_have_left_behind_is_corrupt() {
    let state = |lap: u64, is_full: u64| lap << 1 | is_full;
    // The state and message of slot 1 before its second push; what that says, and a pop.
    let table = [
        (state(0, 1), 5, Ok(false), Ok(Some(5))),
        (state(1, 0), 0, Ok(true), Ok(Some(2))),
        (state(0, 0), 0, Err(Corrupt), Ok(None)),
        (state(1, 0), 5, Err(Corrupt), Ok(Some(2))),
        (u64::MAX, 0, Err(Corrupt), Err(Corrupt)),
        (u64::MAX - 1, 0, Err(Corrupt), Err(Corrupt)),
    ];
    for (state, message, push, pop) in table {
        for is_push in [true, false] {
            let heap = bytes(2);
            let (ring, mut cursor) = (ring(&heap, 2), WideCursor::default());
            turn(&ring, &mut cursor, 1);
            assert_eq!(
                (ring.try_push(&mut cursor, 1), ring.try_push(&mut cursor, 2)),
                (Ok(true), Ok(true))
            );
            heap.poke(SLOTS + 16, state);
            heap.poke(SLOTS + 24, message);
            if is_push {
                assert_eq!(ring.try_push(&mut cursor, 9), push, "push at {state}, {message}");
            } else {
                assert_eq!(ring.try_pop(&mut cursor), pop, "pop at {state}, {message}");
            }
        }
    }
}

#[test]
fn hints_out_of_range_are_corrupt() {
    for hint in [3, u64::MAX, 1 << 62, (1 << 60) - 1] {
        let heap = bytes(3);
        let ring = ring(&heap, 3);
        turn(&ring, &mut WideCursor::default(), 8);
        heap.poke(TAIL_HINT, hint);
        heap.poke(HEAD_HINT, hint);
        assert_eq!(ring.try_push(&mut WideCursor::default(), 0), Err(Corrupt));
        assert_eq!(ring.try_pop(&mut WideCursor::default()), Err(Corrupt));
        assert_eq!(ring.len(&mut WideCursor::default()), Err(Corrupt));
    }
}
