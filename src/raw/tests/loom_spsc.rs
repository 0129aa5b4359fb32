//! Models of the slot ring: order, exact length, batches, and an end that dies at any access.
#![allow(unsafe_code)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, AtomicUsize};
use loom::thread;

use super::death::{Life, live};
use super::{expect_caught, model, race};
use crate::raw::memory::{Cursor, Cursors, SlotMemory};
use crate::raw::spsc::{Consumer, Producer};
use crate::shim::Ordering;

/// Slots that notice when both ends are at one of them.
pub(super) struct Shared {
    cursors: Cursors,
    slots: Vec<UnsafeCell<u64>>,
    capacity: u64,
    /// See [`race`].
    pub(super) race: AtomicUsize,
}

impl Shared {
    pub(super) fn new(capacity: u64, start: u64) -> Arc<Self> {
        let cursor = || Cursor { position: AtomicU64::new(start) };
        Arc::new(Self {
            cursors: Cursors { tail: cursor(), head: cursor() },
            slots: (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(0)).collect(),
            capacity,
            race: AtomicUsize::new(0),
        })
    }
}

/// One end's way to them.
pub(super) struct Slots {
    shared: Arc<Shared>,
    life: Life,
}

// SAFETY: nothing changes but the slots' contents; there are a power of two of them, no fewer than
// the capacity, and the mask brings every index below that.
unsafe impl SlotMemory for Slots {
    type Slot = u64;

    fn capacity(&self) -> u64 {
        self.shared.capacity
    }

    fn cursors(&self) -> &Cursors {
        self.life.step();
        race(&self.shared.race);
        &self.shared.cursors
    }

    fn fill<R>(&self, index: u64, write: impl FnOnce(*mut u64) -> R) -> R {
        self.life.step();
        let mask = self.shared.slots.len() - 1;
        let result = self.shared.slots[index as usize & mask].with_mut(write);
        self.life.step();
        result
    }

    fn read<R>(&self, index: u64, read: impl FnOnce(*const u64) -> R) -> R {
        self.life.step();
        let mask = self.shared.slots.len() - 1;
        let result = self.shared.slots[index as usize & mask].with(read);
        self.life.step();
        result
    }
}

pub(super) fn producer(shared: &Arc<Shared>, steps: u32) -> Producer<Slots> {
    Producer::attach(Slots { shared: Arc::clone(shared), life: Life::new(steps) }).unwrap()
}

pub(super) fn consumer(shared: &Arc<Shared>, steps: u32) -> Consumer<Slots> {
    Consumer::attach(Slots { shared: Arc::clone(shared), life: Life::new(steps) }).unwrap()
}

pub(super) fn push(producer: &mut Producer<Slots>, message: u64) -> bool {
    // SAFETY: loom checks that nobody else is at this slot.
    producer.try_push(|slot| unsafe { *slot = message }).unwrap()
}

pub(super) fn pop(consumer: &mut Consumer<Slots>) -> Option<u64> {
    // SAFETY: loom checks that nobody writes this slot.
    consumer.try_pop(|slot| unsafe { *slot }).unwrap()
}

/// Pushes `messages`, whatever there is room for at once, and returns how many that was.
fn push_batch(producer: &mut Producer<Slots>, mut messages: std::ops::Range<u64>) -> u64 {
    let write = |slot: *mut u64| {
        let message = messages.next();
        // SAFETY: as in `push`.
        message.inspect(|&message| unsafe { slot.write(message) }).is_some()
    };
    producer.push_many(u64::MAX, write).unwrap()
}

fn pop_batch(consumer: &mut Consumer<Slots>, most: u64, taken: &mut Vec<u64>) -> u64 {
    // SAFETY: as in `pop`.
    consumer.pop_many(most, |slot| taken.push(unsafe { *slot })).unwrap()
}

fn drain(shared: &Arc<Shared>) -> Vec<u64> {
    let mut consumer = consumer(shared, Life::ENDLESS);
    std::iter::from_fn(|| pop(&mut consumer)).collect()
}

/// The ring is as good as new: holds `capacity` messages, not one more, and gives them back.
fn works(shared: &Arc<Shared>) {
    let mut producer = producer(shared, Life::ENDLESS);
    for message in 0..shared.capacity {
        assert!(push(&mut producer, message), "a ring that is not full refuses a message");
    }
    assert!(!push(&mut producer, 0), "a full ring takes a message");
    assert!(drain(shared).into_iter().eq(0..shared.capacity));
}

/// Cursors that wrap around on the way.
const START: u64 = u64::MAX;

#[test]
fn messages_arrive_in_order() {
    for capacity in 1..=3 {
        model(&format!("spsc order, capacity {capacity}"), 3, move || {
            let shared = Shared::new(capacity, START);
            let theirs = Arc::clone(&shared);
            let sender = thread::spawn(move || {
                let mut producer = producer(&theirs, Life::ENDLESS);
                (0..capacity + 2).take_while(|&message| push(&mut producer, message)).count() as u64
            });
            let mut receiver = consumer(&shared, Life::ENDLESS);
            let mut taken = Vec::new();
            for _ in 0..3 {
                taken.extend(pop(&mut receiver));
            }
            drop(receiver);
            let sent = sender.join().unwrap();
            taken.extend(drain(&shared));
            assert!(taken.into_iter().eq(0..sent));
            assert!(sent >= capacity);
            works(&shared);
        });
    }
}

#[test]
fn batches_arrive_in_order() {
    for capacity in 1..=3 {
        model(&format!("spsc batches, capacity {capacity}"), 3, move || {
            let shared = Shared::new(capacity, START);
            let theirs = Arc::clone(&shared);
            let sender = thread::spawn(move || {
                let mut producer = producer(&theirs, Life::ENDLESS);
                let mut sent = push_batch(&mut producer, 0..2);
                sent += push_batch(&mut producer, sent..sent + 2);
                sent += u64::from(push(&mut producer, sent));
                sent
            });
            let mut receiver = consumer(&shared, Life::ENDLESS);
            let mut taken = Vec::new();
            pop_batch(&mut receiver, 2, &mut taken);
            pop_batch(&mut receiver, 3, &mut taken);
            drop(receiver);
            let sent = sender.join().unwrap();
            taken.extend(drain(&shared));
            assert!(taken.into_iter().eq(0..sent));
            works(&shared);
        });
    }
}

#[test]
fn full_and_empty_are_exact() {
    for capacity in 1..=3 {
        model(&format!("spsc exact, capacity {capacity}"), 2, move || {
            let shared = Shared::new(capacity, START);
            let (sent, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let theirs = (Arc::clone(&shared), Arc::clone(&sent), Arc::clone(&taken));
            let sender = thread::spawn(move || {
                let (shared, sent, taken) = theirs;
                let mut producer = producer(&shared, Life::ENDLESS);
                let mut messages = 0;
                for _ in 0..capacity + 1 {
                    // Whoever knows of a message taken finds room in its place.
                    let room = messages < taken.load(Ordering::Acquire) + capacity;
                    let pushed = push(&mut producer, messages);
                    assert!(pushed || !room, "full of messages that were taken");
                    messages += u64::from(pushed);
                    sent.store(messages, Ordering::Release);
                }
            });
            let mut receiver = consumer(&shared, Life::ENDLESS);
            let mut messages = 0;
            for _ in 0..2 {
                // Whoever knows of a message sent finds it.
                let ready = sent.load(Ordering::Acquire) > messages;
                let popped = pop(&mut receiver);
                assert!(popped.is_some() || !ready, "empty in spite of a message that was sent");
                messages += u64::from(popped.is_some());
                taken.store(messages, Ordering::Release);
            }
            sender.join().unwrap();
        });
    }
}

/// More than the steps of three batches of two, each with a look at the other end.
const STEPS: u32 = 21;

#[test]
fn a_dead_producer_leaves_what_it_published() {
    for (capacity, batch) in [(1, false), (2, false), (3, false), (2, true), (3, true)] {
        for dies_at in 2..STEPS {
            let name =
                format!("spsc producer, capacity {capacity}, batches {batch}, dies at {dies_at}");
            model(&name, 3, move || {
                let shared = Shared::new(capacity, START);
                let theirs = Arc::clone(&shared);
                let sender = thread::spawn(move || {
                    let mut sent = 0;
                    live(|| {
                        let mut producer = producer(&theirs, dies_at);
                        for _ in 0..3 {
                            if batch {
                                sent += push_batch(&mut producer, sent..sent + 2);
                            } else {
                                sent += u64::from(push(&mut producer, sent));
                            }
                        }
                    });
                    sent
                });
                let mut receiver = consumer(&shared, Life::ENDLESS);
                let mut taken = Vec::new();
                for _ in 0..2 {
                    taken.extend(pop(&mut receiver));
                }
                drop(receiver);
                let sent = sender.join().unwrap();
                taken.extend(drain(&shared));
                assert!(taken.into_iter().eq(0..sent), "not what was published");
                works(&shared);
            });
        }
    }
}

#[test]
fn a_dead_consumer_leaves_what_it_had_not_taken() {
    for (capacity, batch) in [(1, false), (2, false), (3, false), (2, true), (3, true)] {
        for dies_at in 2..STEPS {
            let name =
                format!("spsc consumer, capacity {capacity}, batches {batch}, dies at {dies_at}");
            model(&name, 3, move || {
                let shared = Shared::new(capacity, START);
                let sent = push_batch(&mut producer(&shared, Life::ENDLESS), 0..1);
                let theirs = Arc::clone(&shared);
                let receiver = thread::spawn(move || {
                    let (mut taken, mut read) = (0, Vec::new());
                    live(|| {
                        let mut consumer = consumer(&theirs, dies_at);
                        for _ in 0..3 {
                            if batch {
                                taken += pop_batch(&mut consumer, 2, &mut read);
                            } else if let Some(message) = pop(&mut consumer) {
                                read.push(message);
                                taken += 1;
                            }
                        }
                    });
                    // What a batch read before it was killed is not taken, and comes again.
                    assert!((0..taken).eq(read.into_iter().take(taken as usize)));
                    taken
                });
                let mut producer = producer(&shared, Life::ENDLESS);
                let more = (sent..sent + 3).take_while(|&message| push(&mut producer, message));
                let sent = sent + more.count() as u64;
                drop(producer);
                let taken = receiver.join().unwrap();
                assert!(
                    drain(&shared).into_iter().eq(taken..sent),
                    "a message is gone or overwritten"
                );
                works(&shared);
            });
        }
    }
}

#[test]
fn every_step_is_needed() {
    expect_caught(&[
        ("slot-filled/Release", "raw::tests::loom_spsc::messages_arrive_in_order"),
        ("slot-filled/Acquire", "raw::tests::loom_spsc::messages_arrive_in_order"),
        ("slot-emptied/Release", "raw::tests::loom_spsc::messages_arrive_in_order"),
        ("slot-emptied/Acquire", "raw::tests::loom_spsc::messages_arrive_in_order"),
        ("slot-filled/Release", "raw::tests::loom_spsc::batches_arrive_in_order"),
        ("slot-emptied/Release", "raw::tests::loom_spsc::batches_arrive_in_order"),
        ("spsc-give-back", "raw::tests::loom_spsc::full_and_empty_are_exact"),
        ("spsc-publish-first", "raw::tests::loom_spsc::a_dead_producer_leaves_what_it_published"),
        (
            "spsc-give-back-first",
            "raw::tests::loom_spsc::a_dead_consumer_leaves_what_it_had_not_taken",
        ),
    ]);
}
