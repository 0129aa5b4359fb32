//! The slot ring on real memory: capacity, order, wrap-around and hostile cursors.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::{Consumer, Producer};
use crate::raw::Corrupt;
use crate::raw::heap::Heap;
use crate::raw::memory::SlotsAt;

const TAIL: usize = 0;
const HEAD: usize = 128;

/// Bytes for a ring of `capacity` words, with both cursors at `start`.
fn ring(capacity: u64, start: u64) -> Heap {
    let heap = Heap::new(SlotsAt::<u64>::bytes_for(capacity).unwrap());
    heap.poke(TAIL, start);
    heap.poke(HEAD, start);
    heap
}

fn slots(heap: &Heap, capacity: u64) -> SlotsAt<u64> {
    // SAFETY: the heap outlives the ends in every test, is made for words, and no test has two ends
    // of a kind at a time.
    unsafe { SlotsAt::new(heap.base(), heap.len(), capacity) }.unwrap()
}

fn producer(heap: &Heap, capacity: u64) -> Producer<SlotsAt<u64>> {
    Producer::attach(slots(heap, capacity)).unwrap()
}

fn consumer(heap: &Heap, capacity: u64) -> Consumer<SlotsAt<u64>> {
    Consumer::attach(slots(heap, capacity)).unwrap()
}

fn push(producer: &mut Producer<SlotsAt<u64>>, message: u64) -> Result<bool, Corrupt> {
    // SAFETY: the slot is valid and the producer's until `try_push` returns.
    producer.try_push(|slot| unsafe { slot.write(message) })
}

fn pop(consumer: &mut Consumer<SlotsAt<u64>>) -> Result<Option<u64>, Corrupt> {
    // SAFETY: the slot is valid and the consumer's until `try_pop` returns.
    consumer.try_pop(|slot| unsafe { slot.read() })
}

/// Where cursors start in these tests: at zero, and where they wrap around.
const STARTS: [u64; 4] = [0, 5, u64::MAX - 2, u64::MAX];

#[test]
fn a_ring_holds_exactly_its_capacity() {
    for capacity in [1, 2, 3, 7, 1024] {
        for start in STARTS {
            let heap = ring(capacity, start);
            let (mut producer, mut consumer) =
                (producer(&heap, capacity), consumer(&heap, capacity));
            assert_eq!(pop(&mut consumer), Ok(None));
            for lap in 0..3 {
                for message in 0..capacity {
                    assert_eq!(producer.free(), Ok(capacity - message));
                    assert_eq!(push(&mut producer, lap * capacity + message), Ok(true));
                    assert_eq!(consumer.len(), Ok(message + 1));
                }
                assert_eq!(push(&mut producer, 0), Ok(false));
                assert_eq!((producer.is_full(), consumer.is_empty()), (Ok(true), Ok(false)));
                for message in 0..capacity {
                    assert_eq!(pop(&mut consumer), Ok(Some(lap * capacity + message)));
                    assert_eq!(producer.len(), Ok(capacity - message - 1));
                }
                assert_eq!(pop(&mut consumer), Ok(None));
                assert_eq!((producer.is_full(), consumer.is_empty()), (Ok(false), Ok(true)));
            }
        }
    }
}

#[test]
fn a_slot_is_free_as_soon_as_its_message_is_taken() {
    let heap = ring(2, u64::MAX);
    let (mut producer, mut consumer) = (producer(&heap, 2), consumer(&heap, 2));
    assert_eq!((push(&mut producer, 0), push(&mut producer, 1)), (Ok(true), Ok(true)));
    for message in 0..100 {
        assert_eq!(push(&mut producer, 0), Ok(false));
        assert_eq!(pop(&mut consumer), Ok(Some(message)));
        assert_eq!(push(&mut producer, message + 2), Ok(true));
    }
}

#[test]
fn many_messages_arrive_in_order() {
    const MESSAGES: u64 = 300_000;
    for (capacity, start) in [(1, 0), (3, u64::MAX - 1_000), (1024, u64::MAX - 100_000)] {
        let messages = if capacity == 1024 { MESSAGES } else { MESSAGES / 30 };
        let heap = ring(capacity, start);
        let (mut producer, mut consumer) = (producer(&heap, capacity), consumer(&heap, capacity));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for message in 0..messages {
                    while push(&mut producer, message) == Ok(false) {
                        std::thread::yield_now();
                    }
                }
            });
            for message in 0..messages {
                let received = loop {
                    match pop(&mut consumer).unwrap() {
                        Some(received) => break received,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(received, message);
            }
            assert_eq!(pop(&mut consumer), Ok(None));
        });
    }
}

#[test]
fn batches_arrive_in_order() {
    const MESSAGES: u64 = 200_000;
    let heap = ring(100, u64::MAX - 77);
    let (mut producer, mut consumer) = (producer(&heap, 100), consumer(&heap, 100));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0..MESSAGES;
            while !next.is_empty() {
                let write = |slot: *mut u64| match next.next() {
                    Some(message) => {
                        // SAFETY: the slot is valid and the producer's during the call.
                        unsafe { slot.write(message) };
                        true
                    }
                    None => false,
                };
                if producer.push_many(16, write).unwrap() == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < MESSAGES {
            let before = expected;
            let read = |slot: *const u64| {
                // SAFETY: the slot is valid and the consumer's during the call.
                assert_eq!(unsafe { slot.read() }, expected);
                expected += 1;
            };
            let taken = consumer.pop_many(23, read).unwrap();
            assert_eq!(taken, expected - before);
            if taken == 0 {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn an_end_can_move_on_at_any_time() {
    let heap = ring(3, u64::MAX);
    for message in 0..50 {
        assert_eq!(push(&mut producer(&heap, 3), 2 * message), Ok(true));
        assert_eq!(push(&mut producer(&heap, 3), 2 * message + 1), Ok(true));
        assert_eq!(pop(&mut consumer(&heap, 3)), Ok(Some(2 * message)));
        assert_eq!(pop(&mut consumer(&heap, 3)), Ok(Some(2 * message + 1)));
    }
}

/// Panics without a word.
fn silent<R>() -> R {
    std::panic::resume_unwind(Box::new(()))
}

#[test]
fn a_panic_in_the_writer_or_the_reader_changes_nothing() {
    let heap = ring(4, u64::MAX);
    let (mut producer, mut consumer) = (producer(&heap, 4), consumer(&heap, 4));
    assert_eq!((push(&mut producer, 1), push(&mut producer, 2)), (Ok(true), Ok(true)));
    assert!(catch_unwind(AssertUnwindSafe(|| producer.try_push(|_| silent()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| producer.push_many(2, |_| silent()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| consumer.try_pop(|_| silent::<()>()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| consumer.pop_many(2, |_| silent()))).is_err());
    assert_eq!((producer.len(), consumer.len()), (Ok(2), Ok(2)));
    assert_eq!((pop(&mut consumer), pop(&mut consumer)), (Ok(Some(1)), Ok(Some(2))));
}

#[test]
fn cursors_out_of_range_are_corrupt() {
    for (tail, head) in [(4, 0), (0, 1), (u64::MAX, 0), (1 << 63, 0), (2, u64::MAX - 1)] {
        let heap = ring(3, 0);
        let (mut producer, mut consumer) = (producer(&heap, 3), consumer(&heap, 3));
        heap.poke(TAIL, tail);
        heap.poke(HEAD, head);
        assert_eq!(Producer::attach(slots(&heap, 3)).unwrap_err(), Corrupt);
        assert_eq!(Consumer::attach(slots(&heap, 3)).unwrap_err(), Corrupt);

        heap.poke(TAIL, 9);
        assert_eq!((consumer.len(), consumer.is_empty()), (Err(Corrupt), Err(Corrupt)));
        assert_eq!(pop(&mut consumer), Err(Corrupt));
        assert_eq!(consumer.pop_many(1, |_| unreachable!()), Err(Corrupt));

        heap.poke(HEAD, 0);
        while push(&mut producer, 0) == Ok(true) {}
        heap.poke(HEAD, 9);
        assert_eq!((producer.len(), producer.is_full()), (Err(Corrupt), Err(Corrupt)));
        assert_eq!((producer.free(), push(&mut producer, 0)), (Err(Corrupt), Err(Corrupt)));
        assert_eq!(producer.push_many(1, |_| unreachable!()), Err(Corrupt));
    }
}

#[test]
fn a_capacity_that_does_not_fit_is_refused() {
    assert_eq!(SlotsAt::<u64>::bytes_for(0), None);
    assert_eq!(SlotsAt::<u64>::bytes_for(u64::MAX), None);
    assert_eq!(SlotsAt::<u64>::bytes_for(1 << 60), None);
    assert_eq!(SlotsAt::<u64>::bytes_for(3), Some(256 + 4 * 8));
    assert_eq!(SlotsAt::<()>::bytes_for(3), Some(256));
    let heap = Heap::new(1024);
    // SAFETY: at most 1023 bytes from the second on are the heap's, and no ring is made of them.
    unsafe {
        assert!(SlotsAt::<u64>::new(heap.base().add(1), 1023, 1).is_err());
        assert!(SlotsAt::<u64>::new(heap.base(), 256 + 31, 3).is_err());
        assert!(SlotsAt::<u64>::new(heap.base(), 256 + 32, 3).is_ok());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(u64),
    Pop(u64),
    Reattach,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..6u64).prop_map(Op::Push),
        4 => (0..6u64).prop_map(Op::Pop),
        1 => Just(Op::Reattach),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #[test]
    fn the_ring_is_a_bounded_queue(
        capacity in 1..9u64,
        start in prop_oneof![any::<u64>(), u64::MAX - 20..=u64::MAX],
        ops in ops(),
    ) {
        let heap = ring(capacity, start);
        let (mut sender, mut receiver) = (producer(&heap, capacity), consumer(&heap, capacity));
        let mut model = VecDeque::new();
        let mut next = 0;
        for op in ops {
            match op {
                Op::Push(1) => {
                    let room = (model.len() as u64) < capacity;
                    prop_assert_eq!(push(&mut sender, next), Ok(room));
                    if room {
                        model.push_back(next);
                        next += 1;
                    }
                }
                Op::Push(most) => {
                    let room = most.min(capacity - model.len() as u64);
                    let pushed = sender.push_many(most, |slot| {
                        model.push_back(next);
                        // SAFETY: the slot is valid and the producer's during the call.
                        unsafe { slot.write(next) };
                        next += 1;
                        true
                    });
                    prop_assert_eq!(pushed, Ok(room));
                }
                Op::Pop(1) => prop_assert_eq!(pop(&mut receiver), Ok(model.pop_front())),
                Op::Pop(most) => {
                    let ready = most.min(model.len() as u64);
                    let taken = receiver.pop_many(most, |slot| {
                        // SAFETY: the slot is valid and the consumer's during the call.
                        let message = unsafe { slot.read() };
                        assert_eq!(Some(message), model.pop_front());
                    });
                    prop_assert_eq!(taken, Ok(ready));
                }
                Op::Reattach => {
                    sender = producer(&heap, capacity);
                    receiver = consumer(&heap, capacity);
                }
            }
            prop_assert_eq!(sender.len(), Ok(model.len() as u64));
            prop_assert_eq!(receiver.len(), Ok(model.len() as u64));
        }
    }

    #[test]
    fn wild_cursors_never_lead_astray(
        capacity in 1..9u64,
        cursors in prop::collection::vec(prop_oneof![any::<u64>(), 0..20u64], 2..40),
    ) {
        let heap = ring(capacity, cursors[0]);
        let (mut producer, mut consumer) = (producer(&heap, capacity), consumer(&heap, capacity));
        for pair in cursors.windows(2) {
            heap.poke(TAIL, pair[0]);
            heap.poke(HEAD, pair[1]);
            // Whatever comes out, a slot is inside the ring, and no call does more than a ringful.
            let inside = |slot: usize| {
                let offset = slot - heap.base().addr().get();
                assert!(offset >= 256 && offset + 8 <= heap.len());
            };
            let _ = producer.try_push(|slot| inside(slot.addr()));
            let _ = consumer.try_pop(|slot| inside(slot.addr()));
            let mut calls = 0;
            let _ = producer.push_many(u64::MAX, |slot| {
                inside(slot.addr());
                calls += 1;
                true
            });
            let _ = consumer.pop_many(u64::MAX, |slot| {
                inside(slot.addr());
                calls += 1;
            });
            assert!(calls <= 2 * capacity);
            if let Ok(again) = Producer::attach(slots(&heap, capacity)) {
                producer = again;
            }
            if let Ok(again) = Consumer::attach(slots(&heap, capacity)) {
                consumer = again;
            }
        }
    }
}
