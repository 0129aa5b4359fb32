//! Models of the byte ring: order across pads and laps, room, and an end that dies at any access.
#![allow(unsafe_code)]

use std::ptr::{NonNull, without_provenance_mut};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, AtomicUsize};
use loom::thread;

use super::death::{Life, live};
use super::{expect_caught, model, race};
use crate::raw::frame::{FrameConsumer, FrameProducer, Reserve};
use crate::raw::memory::{Cursor, FrameMemory, GRANULE};
use crate::shim::Ordering;

/// A ring whose granules notice when both ends are at one of them.
struct Shared {
    head: Cursor,
    /// The first word of each granule: a header, or payload of a record that began further down.
    headers: Vec<AtomicU64>,
    /// The second word of each granule, always payload.
    cells: Vec<UnsafeCell<u64>>,
    /// See [`race`].
    race: AtomicUsize,
}

/// A payload word of message `number` that a consumer gone astray takes for a header.
fn word(number: u64) -> u64 {
    1 << 63 | number << 32 | 8
}

impl Shared {
    /// An empty ring that starts at `start`, full of what could be records anywhere else.
    fn new(capacity: u64, start: u64) -> Arc<Self> {
        let granules = 0..capacity / GRANULE;
        let first = start % capacity / GRANULE;
        let stale = |granule| AtomicU64::new(if granule == first { 0 } else { word(0) });
        Arc::new(Self {
            head: Cursor { position: AtomicU64::new(start) },
            headers: granules.clone().map(stale).collect(),
            cells: granules.map(|_| UnsafeCell::new(word(0))).collect(),
            race: AtomicUsize::new(0),
        })
    }
}

/// One end's way to it.
struct Bytes {
    shared: Arc<Shared>,
    life: Arc<Life>,
}

// SAFETY: nothing changes but what is in the granules. Nobody accesses the pointers of `payload`,
// which stand for offsets.
unsafe impl FrameMemory for Bytes {
    fn capacity(&self) -> u64 {
        self.shared.headers.len() as u64 * GRANULE
    }

    fn head(&self) -> &Cursor {
        self.life.step();
        race(&self.shared.race);
        &self.shared.head
    }

    fn header(&self, position: u64) -> &AtomicU64 {
        self.life.step();
        race(&self.shared.race);
        &self.shared.headers[(position % self.capacity() / GRANULE) as usize]
    }

    fn payload(&self, position: u64) -> NonNull<u8> {
        let offset = position % self.capacity() + 8;
        NonNull::new(without_provenance_mut(offset as usize)).unwrap()
    }
}

/// Payload lengths of the messages, one after the other.
type Lengths = &'static [u32];

struct Sender {
    producer: FrameProducer<Bytes>,
    shared: Arc<Shared>,
    life: Arc<Life>,
}

impl Sender {
    fn new(shared: &Arc<Shared>, steps: u32) -> Self {
        let (shared, life) = (Arc::clone(shared), Arc::new(Life::new(steps)));
        let memory = Bytes { shared: Arc::clone(&shared), life: Arc::clone(&life) };
        Self { producer: FrameProducer::attach(memory).unwrap(), shared, life }
    }

    /// Sends message `number`, if there is room.
    fn send(&mut self, number: u64, length: u32) -> bool {
        let Reserve::Granted(room) = self.producer.reserve(length as usize).unwrap() else {
            return false;
        };
        for at in (room.payload.addr().get()..).step_by(8).take(length as usize / 8) {
            self.life.step();
            if at % 16 == 0 {
                // Relaxed: payload that lies where a header lay.
                self.shared.headers[at / 16].store(word(number), Ordering::Relaxed);
            } else {
                // SAFETY: loom checks that nobody else is here.
                self.shared.cells[at / 16].with_mut(|cell| unsafe { *cell = word(number) });
            }
        }
        self.producer.commit(room, length as usize, number as u8);
        true
    }

    /// Sends what there is room for and returns how many messages were sent in all.
    fn send_all(&mut self, lengths: Lengths, sent: &mut u64) {
        while let Some(&length) = lengths.get(*sent as usize) {
            if !self.send(*sent, length) {
                return;
            }
            *sent += 1;
        }
    }
}

struct Receiver {
    consumer: FrameConsumer<Bytes>,
    shared: Arc<Shared>,
    life: Arc<Life>,
}

impl Receiver {
    fn new(shared: &Arc<Shared>, steps: u32) -> Self {
        let (shared, life) = (Arc::clone(shared), Arc::new(Life::new(steps)));
        let memory = Bytes { shared: Arc::clone(&shared), life: Arc::clone(&life) };
        Self { consumer: FrameConsumer::attach(memory).unwrap(), shared, life }
    }

    /// Receives message `number`, if there is one, and checks every word of it.
    fn receive(&mut self, number: u64, lengths: Lengths) -> bool {
        let Some(view) = self.consumer.peek().expect("the ring is corrupt") else { return false };
        assert_eq!(u64::from(view.flags), number, "not the next message");
        assert_eq!(view.length, lengths[number as usize], "not its length");
        for at in (view.payload.addr().get()..).step_by(8).take(view.length as usize / 8) {
            self.life.step();
            let found = if at % 16 == 0 {
                // Relaxed: `peek` acquired it.
                self.shared.headers[at / 16].load(Ordering::Relaxed)
            } else {
                // SAFETY: loom checks that nobody writes here.
                self.shared.cells[at / 16].with(|cell| unsafe { *cell })
            };
            assert_eq!(found, word(number), "the message is torn");
        }
        self.consumer.release();
        true
    }

    /// Receives what is there and returns the number of the message after it.
    fn receive_all(&mut self, mut number: u64, lengths: Lengths) -> u64 {
        while self.receive(number, lengths) {
            number += 1;
        }
        number
    }
}

/// Both ends attach, and the empty ring takes its longest message.
fn works(shared: &Arc<Shared>) {
    let mut sender = Sender::new(shared, Life::ENDLESS);
    let longest = sender.producer.longest() as u32;
    assert!(sender.send(0, longest), "an empty ring is full");
    let mut receiver = Receiver::new(shared, Life::ENDLESS);
    let view = receiver.consumer.peek().unwrap().unwrap();
    assert_eq!((view.length, view.flags), (longest, 0));
    receiver.consumer.release();
    assert_eq!(receiver.consumer.peek(), Ok(None));
}

/// Where a 64-byte ring has one granule left before the lap ends and positions wrap around.
const BEFORE_THE_END: u64 = u64::MAX - 15;

/// Capacity, start and messages: single granules, a ring of one record, a pad, a lap of all kinds.
const SHAPES: [(u64, u64, Lengths); 5] = [
    (32, 0, &[8, 0, 8]),
    (64, 16, &[8, 8, 8, 0, 8]),
    (64, BEFORE_THE_END, &[24, 8, 24]),
    (64, 32, &[8, 24, 24, 8]),
    (128, 96, &[56, 8, 40, 8]),
];

#[test]
fn records_arrive_in_order() {
    for (capacity, start, lengths) in SHAPES {
        model(&format!("frame order, {capacity} B from {start:#x}, {lengths:?}"), 3, move || {
            let shared = Shared::new(capacity, start);
            let theirs = Arc::clone(&shared);
            let sender = thread::spawn(move || {
                let (mut sender, mut sent) = (Sender::new(&theirs, Life::ENDLESS), 0);
                // Twice: when it is full, it tries once more.
                sender.send_all(lengths, &mut sent);
                sender.send_all(lengths, &mut sent);
                sent
            });
            let (mut receiver, mut taken) = (Receiver::new(&shared, Life::ENDLESS), 0);
            for _ in 0..3 {
                taken += u64::from(receiver.receive(taken, lengths));
            }
            let sent = sender.join().unwrap();
            assert_eq!(receiver.receive_all(taken, lengths), sent);
            works(&shared);
        });
    }
}

#[test]
fn an_empty_ring_has_room_for_the_longest() {
    for (capacity, start, lengths) in SHAPES {
        model(&format!("frame room, {capacity} B from {start:#x}, {lengths:?}"), 3, move || {
            let shared = Shared::new(capacity, start);
            let taken = Arc::new(AtomicU64::new(0));
            let theirs = (Arc::clone(&shared), Arc::clone(&taken));
            let sender = thread::spawn(move || {
                let (mut sender, mut sent) = (Sender::new(&theirs.0, Life::ENDLESS), 0);
                for _ in 0..3 {
                    sender.send_all(lengths, &mut sent);
                    // Whoever knows that all is taken finds the ring empty.
                    let empty = theirs.1.load(Ordering::Acquire) == sent;
                    let longest = sender.producer.longest() as usize;
                    assert!(
                        sender.producer.has_room(longest).unwrap() || !empty,
                        "full of nothing"
                    );
                }
            });
            let (mut receiver, mut number) = (Receiver::new(&shared, Life::ENDLESS), 0);
            for _ in 0..2 {
                number += u64::from(receiver.receive(number, lengths));
                taken.store(number, Ordering::Release);
            }
            sender.join().unwrap();
        });
    }
}

/// More than the steps of four messages.
const STEPS: u32 = 26;

#[test]
fn a_dead_producer_leaves_what_it_committed() {
    for (capacity, start, lengths) in [SHAPES[0], SHAPES[2], SHAPES[3]] {
        for dies_at in 2..STEPS {
            model(&format!("frame producer, {capacity} B, dies at {dies_at}"), 3, move || {
                let shared = Shared::new(capacity, start);
                let theirs = Arc::clone(&shared);
                let sender = thread::spawn(move || {
                    let mut sent = 0;
                    let killed =
                        live(|| Sender::new(&theirs, dies_at).send_all(lengths, &mut sent));
                    if killed {
                        // The next one finds out where the dead one was.
                        Sender::new(&theirs, Life::ENDLESS).send_all(lengths, &mut sent);
                    }
                    sent
                });
                let (mut receiver, mut taken) = (Receiver::new(&shared, Life::ENDLESS), 0);
                for _ in 0..2 {
                    taken += u64::from(receiver.receive(taken, lengths));
                }
                let sent = sender.join().unwrap();
                assert_eq!(receiver.receive_all(taken, lengths), sent, "not what was committed");
                works(&shared);
            });
        }
    }
}

#[test]
fn a_dead_consumer_leaves_what_it_had_not_released() {
    for (capacity, start, lengths) in [SHAPES[0], SHAPES[2], SHAPES[3]] {
        for dies_at in 2..STEPS {
            model(&format!("frame consumer, {capacity} B, dies at {dies_at}"), 3, move || {
                let shared = Shared::new(capacity, start);
                let mut sent = 0;
                Sender::new(&shared, Life::ENDLESS).send_all(&lengths[..1], &mut sent);
                let theirs = Arc::clone(&shared);
                let receiver = thread::spawn(move || {
                    let mut taken = 0;
                    live(|| {
                        let mut receiver = Receiver::new(&theirs, dies_at);
                        for _ in 0..3 {
                            taken += u64::from(receiver.receive(taken, lengths));
                        }
                    });
                    taken
                });
                let mut sender = Sender::new(&shared, Life::ENDLESS);
                sender.send_all(lengths, &mut sent);
                sender.send_all(lengths, &mut sent);
                let taken = receiver.join().unwrap();
                let mut next = Receiver::new(&shared, Life::ENDLESS);
                assert_eq!(next.receive_all(taken, lengths), sent, "a message is gone");
                works(&shared);
            });
        }
    }
}

#[test]
fn every_step_is_needed() {
    const ORDER: &str = "raw::tests::loom_frame::records_arrive_in_order";
    const ROOM: &str = "raw::tests::loom_frame::an_empty_ring_has_room_for_the_longest";
    const DEATH: &str = "raw::tests::loom_frame::a_dead_producer_leaves_what_it_committed";
    expect_caught(&[
        ("frame-written/Release", ORDER),
        ("frame-written/Acquire", ORDER),
        ("frame-read/Release", ORDER),
        ("frame-read/Acquire", ORDER),
        ("frame-zero", ORDER),
        ("frame-zero-late", ORDER),
        ("frame-spare", ORDER),
        ("frame-pad-first", ORDER),
        ("frame-pad-first", DEATH),
        ("frame-release", ROOM),
    ]);
}
