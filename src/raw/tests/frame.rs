//! The byte ring on real memory: every length, wrap and pad, and hostile bytes.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{FrameConsumer, FrameProducer, FrameView, MARK, PAD, Reserve, record_size};
use crate::raw::Corrupt;
use crate::raw::heap::Heap;
use crate::raw::memory::BytesAt;

const HEAD: usize = 0;
const BYTES: usize = 128;

/// An empty ring whose head and tail are at `start`, and stale bytes everywhere else.
fn ring(capacity: u64, start: u64) -> Heap {
    let heap = Heap::new(BytesAt::bytes_for(capacity).unwrap());
    for offset in (0..capacity as usize).step_by(8) {
        heap.poke(BYTES + offset, MARK | 8);
    }
    heap.poke(BYTES + (start % capacity) as usize, 0);
    heap.poke(HEAD, start);
    heap
}

fn bytes(heap: &Heap, capacity: u64) -> BytesAt {
    // SAFETY: the heap outlives the ends in every test, and no test has two ends of a kind that are
    // both used after the second is attached.
    unsafe { BytesAt::new(heap.base(), heap.len(), capacity) }.unwrap()
}

fn producer(heap: &Heap, capacity: u64) -> FrameProducer<BytesAt> {
    FrameProducer::attach(bytes(heap, capacity)).unwrap()
}

fn consumer(heap: &Heap, capacity: u64) -> FrameConsumer<BytesAt> {
    FrameConsumer::attach(bytes(heap, capacity)).unwrap()
}

/// Sends `message`, reserving `spare` bytes more than it needs; whether there was room.
fn send(
    producer: &mut FrameProducer<BytesAt>,
    message: &[u8],
    spare: usize,
    flags: u8,
) -> Result<bool, Corrupt> {
    let Reserve::Granted(reservation) = producer.reserve(message.len() + spare)? else {
        return Ok(false);
    };
    let payload = reservation.payload.as_ptr();
    // SAFETY: `reserve` gave at least as many bytes, the producer's until `commit`.
    unsafe { payload.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
    producer.commit(reservation, message.len(), flags);
    Ok(true)
}

fn copy(view: FrameView) -> (Vec<u8>, u8) {
    let mut message = vec![0; view.length as usize];
    // SAFETY: `peek` checked that the payload lies within the ring; it is the consumer's until
    // `release`.
    unsafe { view.payload.as_ptr().copy_to_nonoverlapping(message.as_mut_ptr(), message.len()) };
    (message, view.flags)
}

fn receive(consumer: &mut FrameConsumer<BytesAt>) -> Result<Option<(Vec<u8>, u8)>, Corrupt> {
    let message = consumer.peek()?.map(copy);
    if message.is_some() {
        consumer.release();
    }
    Ok(message)
}

fn message(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|index| seed.wrapping_add(index * 31) as u8).collect()
}

#[test]
fn every_length_passes_at_every_position() {
    for capacity in [32u64, 64, 256] {
        for start in (0..capacity).step_by(16).flat_map(|at| [at, at.wrapping_sub(2 * capacity)]) {
            let longest = producer(&ring(capacity, start), capacity).longest() as usize;
            for length in 0..=longest {
                let heap = ring(capacity, start);
                let (mut producer, mut consumer) =
                    (producer(&heap, capacity), consumer(&heap, capacity));
                assert!(producer.has_room(length).unwrap());
                let sent = message(start, length);
                assert_eq!(send(&mut producer, &sent, 0, length as u8), Ok(true));
                assert_eq!(receive(&mut consumer), Ok(Some((sent, length as u8))));
                assert_eq!(receive(&mut consumer), Ok(None));
                // Nothing has to be released for the longest to pass: the ring is empty.
                let sent = message(start + 1, longest);
                assert_eq!(send(&mut producer, &sent, 0, 0), Ok(true));
                assert_eq!(receive(&mut consumer), Ok(Some((sent, 0))));
            }
        }
    }
}

#[test]
fn a_ring_holds_all_but_one_granule() {
    let heap = ring(256, 0);
    let (mut producer, mut consumer) = (producer(&heap, 256), consumer(&heap, 256));
    for lap in 0..40 {
        for _ in 0..15 {
            assert_eq!(send(&mut producer, &[lap; 8], 0, 7), Ok(true));
        }
        assert_eq!(producer.has_room(0), Ok(false));
        assert_eq!(send(&mut producer, &[], 0, 0), Ok(false));
        for _ in 0..15 {
            assert_eq!(receive(&mut consumer), Ok(Some((vec![lap; 8], 7))));
        }
        assert_eq!(receive(&mut consumer), Ok(None));
    }
}

#[test]
fn what_can_never_fit_is_told_apart_from_full() {
    let heap = ring(64, 0);
    let mut producer = producer(&heap, 64);
    assert_eq!(producer.longest(), 24);
    assert!(matches!(producer.reserve(25), Ok(Reserve::TooLong)));
    assert!(matches!(producer.reserve(usize::MAX), Ok(Reserve::TooLong)));
    assert_eq!(send(&mut producer, &[1; 24], 0, 0), Ok(true));
    assert!(matches!(producer.reserve(24), Ok(Reserve::Full)));
    assert!(matches!(producer.reserve(8), Ok(Reserve::Granted(_))));
}

#[test]
fn a_dropped_reservation_publishes_nothing() {
    for start in [0, 48] {
        let heap = ring(64, start);
        let (mut producer, mut consumer) = (producer(&heap, 64), consumer(&heap, 64));
        for length in [0, 8, 24] {
            let Reserve::Granted(reservation) = producer.reserve(length).unwrap() else { panic!() };
            drop(reservation);
            assert_eq!(receive(&mut consumer), Ok(None));
        }
        assert_eq!(send(&mut producer, &[5; 3], 21, 9), Ok(true));
        assert_eq!(receive(&mut consumer), Ok(Some((vec![5; 3], 9))));
    }
}

#[test]
#[should_panic(expected = "out of date")]
fn a_reservation_cannot_be_committed_after_another() {
    let heap = ring(64, 0);
    let mut producer = producer(&heap, 64);
    let Reserve::Granted(reservation) = producer.reserve(0).unwrap() else { panic!() };
    assert_eq!(send(&mut producer, &[], 0, 0), Ok(true));
    producer.commit(reservation, 0, 0);
}

#[test]
#[should_panic(expected = "longer than its reservation")]
fn a_record_cannot_outgrow_its_reservation() {
    let heap = ring(64, 0);
    let mut producer = producer(&heap, 64);
    let Reserve::Granted(reservation) = producer.reserve(3).unwrap() else { panic!() };
    producer.commit(reservation, 4, 0);
}

#[test]
fn a_record_stays_until_it_is_released() {
    let heap = ring(64, 48);
    assert_eq!(send(&mut producer(&heap, 64), &[1; 24], 0, 3), Ok(true));
    for _ in 0..3 {
        let mut consumer = consumer(&heap, 64);
        assert_eq!(consumer.peek(), consumer.peek());
        assert_eq!(consumer.peek().unwrap().map(copy), Some((vec![1; 24], 3)));
    }
    let mut last = consumer(&heap, 64);
    last.release();
    assert_eq!(receive(&mut last), Ok(Some((vec![1; 24], 3))));
    last.release();
    assert_eq!(receive(&mut consumer(&heap, 64)), Ok(None));
}

#[test]
fn many_messages_arrive_in_order() {
    const MESSAGES: u64 = 100_000;
    let heap = ring(1024, 0u64.wrapping_sub(16 << 16));
    let (mut producer, mut consumer) = (producer(&heap, 1024), consumer(&heap, 1024));
    let length = |number: u64| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                let sent = vec![number as u8; length(number)];
                while !send(&mut producer, &sent, 0, (number >> 8) as u8).unwrap() {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..MESSAGES {
            let (received, flags) = loop {
                match receive(&mut consumer).unwrap() {
                    Some(received) => break received,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!((received.len(), flags), (length(number), (number >> 8) as u8));
            assert!(received.iter().all(|&byte| byte == number as u8));
        }
        assert_eq!(receive(&mut consumer), Ok(None));
    });
}

#[test]
fn headers_that_no_producer_writes_are_corrupt() {
    let wrong = [
        1,                  // No mark.
        8,                  // A length alone.
        PAD,                // A pad without its mark.
        MARK | PAD | 1,     // A pad with a length.
        MARK | 1 << 40,     // An unknown bit.
        MARK | 1 << 61,     // Another.
        MARK | 25,          // Longer than the longest.
        MARK | 0xFFFF_FFFF, // As long as can be said.
        u64::MAX,           // Everything.
    ];
    for word in wrong {
        let heap = ring(64, 0);
        let mut consumer = consumer(&heap, 64);
        heap.poke(BYTES, word);
        assert_eq!(consumer.peek(), Err(Corrupt), "{word:#x}");
        assert_eq!(FrameProducer::attach(bytes(&heap, 64)).unwrap_err(), Corrupt, "{word:#x}");
    }
}

#[test]
fn records_that_lie_about_the_ring_are_corrupt() {
    // Across the end of the ring.
    let heap = ring(64, 48);
    heap.poke(BYTES + 48, MARK | 24);
    assert_eq!(consumer(&heap, 64).peek(), Err(Corrupt));
    // A pad with nothing behind it, with a pad behind it, and at the start of a lap.
    for (start, behind) in [(48, 0), (48, MARK | PAD), (0, MARK | PAD)] {
        let heap = ring(64, start);
        heap.poke(BYTES, behind);
        heap.poke(BYTES + start as usize, MARK | PAD);
        assert_eq!(consumer(&heap, 64).peek(), Err(Corrupt));
        assert_eq!(FrameProducer::attach(bytes(&heap, 64)).unwrap_err(), Corrupt);
    }
    // Behind a pad, up to the head again.
    let heap = ring(64, 16);
    heap.poke(BYTES + 16, MARK | PAD);
    heap.poke(BYTES, MARK | 8);
    assert_eq!(consumer(&heap, 64).peek(), Err(Corrupt));
    // A full lap without a zero: each is possible, all together are not.
    let heap = ring(64, 0);
    heap.poke(BYTES, MARK);
    assert!(consumer(&heap, 64).peek().unwrap().is_some());
    assert_eq!(FrameProducer::attach(bytes(&heap, 64)).unwrap_err(), Corrupt);
}

#[test]
fn a_cursor_out_of_range_is_corrupt() {
    for head in [8, 1, u64::MAX] {
        let heap = ring(64, 0);
        heap.poke(HEAD, head);
        assert_eq!(FrameConsumer::attach(bytes(&heap, 64)).unwrap_err(), Corrupt);
        assert_eq!(FrameProducer::attach(bytes(&heap, 64)).unwrap_err(), Corrupt);
    }
    for head in [8, 48, 64, u64::MAX - 31] {
        let heap = ring(64, 0);
        let mut producer = producer(&heap, 64);
        assert_eq!(send(&mut producer, &[1; 24], 0, 0), Ok(true));
        heap.poke(HEAD, head);
        assert_eq!(producer.reserve(24).unwrap_err(), Corrupt);
        assert_eq!(producer.has_room(24), Err(Corrupt));
    }
}

#[test]
fn a_capacity_that_does_not_fit_is_refused() {
    for capacity in [0, 16, 33, 96, 1 << 33, u64::MAX] {
        assert_eq!(BytesAt::bytes_for(capacity), None);
    }
    assert_eq!(BytesAt::bytes_for(1 << 32), Some((1 << 32) + 128));
    let heap = Heap::new(1024);
    // SAFETY: at most 1008 bytes from the seventeenth on are the heap's; no ring is made of them.
    unsafe {
        assert!(BytesAt::new(heap.base().add(16), 1008, 64).is_err());
        assert!(BytesAt::new(heap.base(), 128 + 63, 64).is_err());
        assert!(BytesAt::new(heap.base(), 128 + 64, 64).is_ok());
    }
}

/// What the documentation says about room: pad, record, and one granule.
fn fits(capacity: u64, tail: u64, head: u64, length: u64) -> bool {
    let left = capacity - tail % capacity;
    let size = record_size(length);
    let pad = if size <= left { 0 } else { left };
    tail.wrapping_sub(head) + pad + size + 16 <= capacity
}

#[derive(Clone, Debug)]
enum Op {
    Send { length: usize, spare: usize },
    Receive,
    Drop(usize),
    ReattachProducer,
    ReattachConsumer,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..70usize, 0..20usize).prop_map(|(length, spare)| Op::Send { length, spare }),
        8 => Just(Op::Receive),
        1 => (0..60usize).prop_map(Op::Drop),
        1 => Just(Op::ReattachProducer),
        1 => Just(Op::ReattachConsumer),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #[test]
    fn the_ring_is_a_queue_of_messages(
        power in 5..9u32,
        start in prop_oneof![any::<u64>(), u64::MAX - 400..=u64::MAX],
        ops in ops(),
    ) {
        let capacity = 1 << power;
        let heap = ring(capacity, start & !15);
        let (mut sender, mut receiver) = (producer(&heap, capacity), consumer(&heap, capacity));
        // Each message with the position behind it.
        let mut model = VecDeque::new();
        let (mut tail, mut head) = (start & !15, start & !15);
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Send { length, spare } => {
                    let asked = (length + spare) as u64;
                    let sent = message(number as u64, length);
                    let room =
                        asked <= capacity / 2 - 8 && fits(capacity, tail, head, asked);
                    prop_assert_eq!(sender.has_room(length + spare), Ok(room));
                    prop_assert_eq!(send(&mut sender, &sent, spare, number as u8), Ok(room));
                    if room {
                        let left = capacity - tail % capacity;
                        let pad = if record_size(asked) <= left { 0 } else { left };
                        tail = tail.wrapping_add(pad + record_size(length as u64));
                        model.push_back(((sent, number as u8), tail));
                    }
                }
                Op::Receive => {
                    let expected = model.pop_front().map(|(sent, end)| {
                        head = end;
                        sent
                    });
                    prop_assert_eq!(receive(&mut receiver), Ok(expected));
                    prop_assert_eq!(heap.look(HEAD), head);
                }
                Op::Drop(length) => drop(sender.reserve(length).unwrap()),
                Op::ReattachProducer => sender = producer(&heap, capacity),
                Op::ReattachConsumer => receiver = consumer(&heap, capacity),
            }
        }
    }

    #[test]
    fn wild_bytes_never_lead_astray(
        power in 5..9u32,
        head in prop_oneof![any::<u64>(), (0..64u64).prop_map(|granule| granule * 16)],
        words in prop::collection::vec(word(), 1..64),
        changes in prop::collection::vec((any::<prop::sample::Index>(), word()), 0..40),
    ) {
        let capacity = 1u64 << power;
        let heap = Heap::new(BytesAt::bytes_for(capacity).unwrap());
        let inside = |payload: *mut u8, length: u32| {
            let offset = payload.addr() - heap.base().addr().get();
            assert!(offset >= BYTES + 8 && offset + length as usize <= heap.len());
        };
        for (offset, &word) in (BYTES..heap.len()).step_by(8).zip(words.iter().cycle()) {
            heap.poke(offset, word);
        }
        heap.poke(HEAD, head);
        let sender = FrameProducer::attach(bytes(&heap, capacity));
        let receiver = FrameConsumer::attach(bytes(&heap, capacity));
        prop_assert!(head % 16 == 0 || (sender.is_err() && receiver.is_err()));
        let (mut sender, mut receiver) = (sender.ok(), receiver.ok());
        for (place, word) in changes {
            for length in [0, 9, capacity as usize / 2 - 8] {
                let Some(sender) = &mut sender else { break };
                if let Ok(Reserve::Granted(room)) = sender.reserve(length) {
                    inside(room.payload.as_ptr(), room.length);
                    sender.commit(room, length, 0);
                }
            }
            for _ in 0..4 {
                let Some(receiver) = &mut receiver else { break };
                if let Ok(Some(view)) = receiver.peek() {
                    inside(view.payload.as_ptr(), view.length);
                }
                receiver.release();
            }
            // Every word can change, the cursor too, but for the padding behind the cursor.
            let place = place.index(1 + capacity as usize / 8) * 8;
            heap.poke(if place == 0 { HEAD } else { BYTES + place - 8 }, word);
        }
    }
}

/// Words that are likely to be taken for headers, cursors, or the 0 at the tail.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..140u64, any::<u8>()).prop_map(|(length, flags)| {
            MARK | u64::from(flags) << 32 | length
        }),
        1 => Just(MARK | PAD),
        2 => Just(0),
        1 => (0..64u64).prop_map(|granule| granule * 16),
        1 => any::<u64>(),
    ]
}
