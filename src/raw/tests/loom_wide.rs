//! Models of the wide ring: order, exact ends, stale cursors, and a participant that stops.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, AtomicUsize};
use loom::thread;

use super::death::{Life, live};
use super::{expect_caught, model, race};
use crate::raw::swap::Pushed;
use crate::raw::wide::memory::WideMemory;
use crate::raw::wide::{WideCursor, WidePopped, WideRing};
use crate::shim::{Ordering, Wide};

/// Slots, and the hints above them.
struct Shared {
    slots: Vec<Wide>,
    tail_hint: AtomicU64,
    head_hint: AtomicU64,
    /// See [`race`].
    race: AtomicUsize,
}

/// One participant's way to them.
struct Slots {
    shared: Arc<Shared>,
    life: Life,
}

impl Slots {
    fn reach(&self) -> &Shared {
        self.life.step();
        race(&self.shared.race);
        &self.shared
    }
}

impl WideMemory for Slots {
    fn capacity(&self) -> u64 {
        self.shared.slots.len() as u64
    }

    fn slot(&self, index: u64) -> &Wide {
        &self.reach().slots[index as usize]
    }

    fn tail_hint(&self) -> &AtomicU64 {
        &self.reach().tail_hint
    }

    fn head_hint(&self) -> &AtomicU64 {
        &self.reach().head_hint
    }
}

/// A handle: a ring and its cursor. Any answer but `Corrupt` is fit for it.
struct Handle {
    ring: WideRing<Slots>,
    cursor: WideCursor,
}

impl Handle {
    fn new(shared: &Arc<Shared>, steps: u32) -> Self {
        let slots = Slots { shared: Arc::clone(shared), life: Life::new(steps) };
        Self { ring: WideRing::new(slots), cursor: WideCursor::default() }
    }

    fn push(&mut self, message: u64) -> bool {
        self.ring.try_push(&mut self.cursor, message).unwrap()
    }

    fn pop(&mut self) -> Option<u64> {
        self.ring.try_pop(&mut self.cursor).unwrap()
    }

    fn totals(&mut self) -> (u64, u64) {
        self.ring.totals(&mut self.cursor).unwrap()
    }
}

impl Shared {
    fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..capacity).map(|_| Wide::new()).collect(),
            tail_hint: AtomicU64::new(0),
            head_hint: AtomicU64::new(0),
            race: AtomicUsize::new(0),
        })
    }
}

fn handle(shared: &Arc<Shared>) -> Handle {
    Handle::new(shared, Life::ENDLESS)
}

fn drain(shared: &Arc<Shared>) -> Vec<u64> {
    let mut handle = handle(shared);
    std::iter::from_fn(|| handle.pop()).collect()
}

/// The ring is as good as new: holds its capacity, not one more, and gives it all back.
fn works(shared: &Arc<Shared>) {
    let mut handle = handle(shared);
    let capacity = shared.slots.len() as u64;
    for message in 0..capacity {
        assert!(handle.push(message), "a ring that is not full refuses a message");
    }
    assert!(!handle.push(0), "a full ring takes a message");
    assert!(drain(shared).into_iter().eq(0..capacity));
    let (pushed, popped) = handle.totals();
    assert_eq!(pushed, popped);
}

/// Message `number` of `sender`.
fn message(sender: u64, number: u64) -> u64 {
    100 * (sender + 1) + number
}

/// Sends `count` messages as far as there is room; how many those were.
fn send(handle: &mut Handle, sender: u64, count: u64) -> u64 {
    (0..count).take_while(|&number| handle.push(message(sender, number))).count() as u64
}

/// Of the messages that were received one after the other, those of `sender`.
fn of(sender: u64, received: &[u64]) -> impl Iterator<Item = u64> {
    received.iter().copied().filter(move |message| message / 100 == sender + 1)
}

#[test]
fn two_send_and_one_receives() {
    for capacity in 1..=3 {
        model(&format!("wide 2P1C, capacity {capacity}"), 2, move || {
            let shared = Shared::new(capacity);
            let senders = [0, 1].map(|sender| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || send(&mut handle(&shared), sender, 2))
            });
            let mut receiver = handle(&shared);
            let mut received: Vec<u64> = (0..2).filter_map(|_| receiver.pop()).collect();
            let sent = senders.map(|sender| sender.join().unwrap());
            received.extend(drain(&shared));
            for sender in [0, 1] {
                let expected = (0..sent[sender as usize]).map(|number| message(sender, number));
                assert!(of(sender, &received).eq(expected), "lost, doubled or out of order");
            }
            assert!(sent.into_iter().sum::<u64>() >= capacity.min(2));
            assert_eq!(receiver.totals(), (received.len() as u64, received.len() as u64));
            works(&shared);
        });
    }
}

#[test]
fn one_sends_and_two_receive() {
    for capacity in 1..=3 {
        model(&format!("wide 1P2C, capacity {capacity}"), 2, move || {
            let shared = Shared::new(capacity);
            let mut sender = handle(&shared);
            let first = send(&mut sender, 0, 1);
            let receivers = [1, 2].map(|most| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let mut handle = handle(&shared);
                    (0..most).filter_map(|_| handle.pop()).collect::<Vec<_>>()
                })
            });
            let sent = first
                + (first..3).take_while(|&number| sender.push(message(0, number))).count() as u64;
            let mut received = receivers.map(|receiver| receiver.join().unwrap()).to_vec();
            received.push(drain(&shared));
            assert!(received.iter().all(|one| one.is_sorted()), "out of order");
            let mut all = received.concat();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..sent).map(|number| message(0, number))));
            works(&shared);
        });
    }
}

/// A handle whose cursors are a lap behind meets a ring that moves on at the same time.
fn comes_late(name: &str, late: fn(&mut Handle) -> Option<u64>) {
    for capacity in 1..=3 {
        model(&format!("wide late {name}, capacity {capacity}"), 3, move || {
            let shared = Shared::new(capacity);
            let theirs = Arc::clone(&shared);
            let busy = thread::spawn(move || {
                let mut handle = handle(&theirs);
                let mut received = Vec::new();
                for number in 0..capacity + 1 {
                    handle.push(message(0, number));
                    received.extend(handle.pop());
                }
                received
            });
            let mut handle = handle(&shared);
            let popped = late(&mut handle);
            let mut received = busy.join().unwrap();
            received.extend(popped);
            received.extend(drain(&shared));
            assert_eq!(handle.totals(), (received.len() as u64, received.len() as u64));
            works(&shared);
        });
    }
}

#[test]
fn a_late_push_finds_its_place() {
    comes_late("push", |handle| {
        handle.push(message(1, 0));
        None
    });
}

#[test]
fn a_late_pop_finds_its_place() {
    comes_late("pop", Handle::pop);
}

/// A hint leads to a slot that the late handle has not seen yet, in a ring of three.
fn follows_a_hint(name: &str, messages: u64, step: fn(&mut Handle) -> bool) {
    model(&format!("wide hint {name}"), 3, move || {
        let shared = Shared::new(3);
        let mut first = handle(&shared);
        for number in 0..2 {
            assert!(first.push(number) && first.pop() == Some(number));
        }
        assert_eq!(send(&mut first, 0, messages), messages);
        let busy = thread::spawn(move || (0..3).filter(|_| step(&mut first)).count());
        let late = step(&mut handle(&shared));
        assert_eq!(busy.join().unwrap() + usize::from(late), 3);
        drain(&shared);
        works(&shared);
    });
}

#[test]
fn a_push_follows_a_hint() {
    follows_a_hint("push", 0, |handle| handle.push(7));
}

#[test]
fn a_pop_follows_a_hint() {
    follows_a_hint("pop", 3, |handle| handle.pop().is_some());
}

/// Who counts while others push and pop gets numbers that the ring may have had.
#[test]
fn a_count_is_never_impossible() {
    for capacity in 1..=3 {
        model(&format!("wide count, capacity {capacity}"), 2, move || {
            let shared = Shared::new(capacity);
            let theirs = Arc::clone(&shared);
            let busy = thread::spawn(move || {
                let mut handle = handle(&theirs);
                for number in 0..capacity + 1 {
                    handle.push(message(0, number));
                    handle.pop();
                }
            });
            let mut counting = handle(&shared);
            let (pushed, popped) = counting.totals();
            assert!(popped <= pushed && pushed <= capacity + 1);
            busy.join().unwrap();
            assert_eq!(counting.totals(), (capacity + 1, capacity + 1));
        });
    }
}

#[test]
fn full_and_empty_are_exact() {
    for capacity in 1..=3 {
        model(&format!("wide exact, capacity {capacity}"), 2, move || {
            let shared = Shared::new(capacity);
            let (sent, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let theirs = (Arc::clone(&shared), Arc::clone(&sent), Arc::clone(&taken));
            let sender = thread::spawn(move || {
                let (shared, sent, taken) = theirs;
                let (mut handle, mut messages) = (handle(&shared), 0);
                for _ in 0..capacity + 1 {
                    // Whoever knows of a message taken finds room in its place.
                    let room = messages < taken.load(Ordering::Acquire) + capacity;
                    let pushed = handle.push(message(0, messages));
                    assert!(pushed || !room, "full of messages that were taken");
                    messages += u64::from(pushed);
                    sent.store(messages, Ordering::Release);
                }
            });
            let (mut handle, mut messages) = (handle(&shared), 0);
            for _ in 0..2 {
                // Whoever knows of a message sent finds it.
                let ready = sent.load(Ordering::Acquire) > messages;
                let popped = handle.pop();
                assert!(popped.is_some() || !ready, "empty in spite of a message that was sent");
                messages += u64::from(popped.is_some());
                taken.store(messages, Ordering::Release);
            }
            sender.join().unwrap();
        });
    }
}

/// Two handles enter by `take` and leave by `put_back`, of a ring where only one can have taken.
fn exclude(
    name: &str,
    start: u64,
    take: fn(&mut Handle) -> bool,
    put_back: fn(&mut Handle) -> bool,
) {
    model(&format!("wide {name}"), 2, move || {
        let shared = Shared::new(1);
        assert_eq!(send(&mut handle(&shared), 0, start), start);
        let place = Arc::new(UnsafeCell::new(0_u64));
        let enter = move |shared: &Arc<Shared>, place: &UnsafeCell<u64>, times: u32| {
            let mut handle = handle(shared);
            for _ in 0..times {
                if take(&mut handle) {
                    // Loom sees to it that nobody else is here, or has not finished here.
                    place.with_mut(|_| {});
                    assert!(put_back(&mut handle));
                }
            }
        };
        let theirs = (Arc::clone(&shared), Arc::clone(&place));
        let other = thread::spawn(move || enter(&theirs.0, &theirs.1, 1));
        enter(&shared, &place, 2);
        other.join().unwrap();
    });
}

/// Who pops a message sees what was done before it was pushed.
#[test]
fn a_message_excludes() {
    exclude("message", 1, |handle| handle.pop().is_some(), |handle| handle.push(1));
}

/// Who finds room sees what was done before it was made.
#[test]
fn room_excludes() {
    exclude("room", 0, |handle| handle.push(1), |handle| handle.pop().is_some());
}

/// As many accesses to shared memory as two pushes or pops of a handle that is overtaken can make.
const ACCESSES: u32 = 12;

#[test]
fn a_stopped_sender_stalls_nobody() {
    for capacity in 1..=3 {
        for stops_at in 1..=ACCESSES {
            let name = format!("wide sender, capacity {capacity}, stops at {stops_at}");
            model(&name, 2, move || {
                let shared = Shared::new(capacity);
                let theirs = Arc::clone(&shared);
                let stopping = thread::spawn(move || {
                    let (mut handle, mut told) = (Handle::new(&theirs, stops_at), 0);
                    let was_stopped = live(|| {
                        while told < 2 && handle.push(message(0, told)) {
                            told += 1;
                        }
                    });
                    assert!(stops_at < ACCESSES || !was_stopped, "more accesses than that");
                    (handle.cursor, told, u64::from(was_stopped))
                });
                let mut other = handle(&shared);
                let sent = send(&mut other, 1, 1);
                let mut received: Vec<_> = other.pop().into_iter().collect();
                let (cursor, told, most) = stopping.join().unwrap();
                received.extend(drain(&shared));
                assert_eq!(of(1, &received).count() as u64, sent);
                // What was told is there; one more may be, if the stop came behind its push.
                let theirs: Vec<_> = of(0, &received).collect();
                let pushed = theirs.len() as u64;
                assert!((told..=told + most).contains(&pushed));
                assert!(theirs.into_iter().eq((0..pushed).map(|number| message(0, number))));
                works(&shared);
                // It goes on after all, with a cursor from before.
                let mut resumed = Handle { cursor, ..handle(&shared) };
                assert!(resumed.push(7) && resumed.pop() == Some(7));
                works(&shared);
            });
        }
    }
}

#[test]
fn a_stopped_receiver_stalls_nobody() {
    for capacity in 1..=3 {
        for stops_at in 1..=ACCESSES {
            let name = format!("wide receiver, capacity {capacity}, stops at {stops_at}");
            model(&name, 2, move || {
                let shared = Shared::new(capacity);
                let first = send(&mut handle(&shared), 0, 2);
                let theirs = Arc::clone(&shared);
                let stopping = thread::spawn(move || {
                    let (mut handle, mut received) = (Handle::new(&theirs, stops_at), Vec::new());
                    let was_stopped = live(|| received.extend((0..2).filter_map(|_| handle.pop())));
                    assert!(stops_at < ACCESSES || !was_stopped, "more accesses than that");
                    (handle.cursor, received, u64::from(was_stopped))
                });
                let mut other = handle(&shared);
                let sent = first + u64::from(other.push(message(0, first)));
                let mut received: Vec<_> = other.pop().into_iter().collect();
                let (cursor, theirs, most) = stopping.join().unwrap();
                received.extend(drain(&shared));
                received.extend(theirs);
                received.sort_unstable();
                received.dedup();
                // All are there but one at most, that the stopped one had in its hands.
                let gone = sent - received.len() as u64;
                assert!(gone <= most);
                works(&shared);
                // It goes on after all, with a cursor from before.
                let mut resumed = Handle { cursor, ..handle(&shared) };
                assert!(resumed.push(7) && resumed.pop() == Some(7));
                works(&shared);
            });
        }
    }
}

/// What is pushed is received before the ring says that there will be no more, and what is not
/// pushed is told so.
#[test]
fn a_closed_ring_ends() {
    for (capacity, filled) in [(1, 0), (1, 1), (2, 1)] {
        model(&format!("wide closing, capacity {capacity}, {filled} there"), 2, move || {
            let shared = Shared::new(capacity);
            assert_eq!(send(&mut handle(&shared), 0, filled), filled);
            let theirs = Arc::clone(&shared);
            let sender = thread::spawn(move || send(&mut handle(&theirs), 1, 2));
            let theirs = Arc::clone(&shared);
            let other = thread::spawn(move || {
                let mut handle = handle(&theirs);
                handle.ring.close(&mut handle.cursor).unwrap();
            });
            let mut me = handle(&shared);
            me.ring.close(&mut me.cursor).unwrap();
            let mut received = 0;
            while let WidePopped::Done(_) = me.ring.pop(&mut me.cursor).unwrap() {
                received += 1;
            }
            assert_eq!(me.ring.pop(&mut me.cursor), Ok(WidePopped::Closed));
            assert_eq!(me.ring.push(&mut me.cursor, 7), Ok(Pushed::Closed));
            other.join().unwrap();
            assert_eq!(sender.join().unwrap() + filled, received);
            let mut late = handle(&shared);
            assert_eq!(late.ring.push(&mut late.cursor, 7), Ok(Pushed::Closed));
            assert_eq!(late.ring.pop(&mut late.cursor), Ok(WidePopped::Closed));
        });
    }
}

#[test]
fn every_step_is_needed() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            expect_caught(&[$(($mutant, concat!("raw::tests::loom_wide::", stringify!($test)))),*]);
        };
    }
    caught! {
        "wide-slot/AcqRel" by a_message_excludes,
        "wide-slot/AcqRel" by room_excludes,
        "wide-slot/Acquire" by a_late_push_finds_its_place,
        "wide-slot/Acquire" by a_late_pop_finds_its_place,
        "wide-hint/Release" by a_push_follows_a_hint,
        "wide-hint/Acquire" by a_push_follows_a_hint,
        "wide-hint/Release" by a_pop_follows_a_hint,
        "wide-hint/Acquire" by a_pop_follows_a_hint,
        "wide-same-lap" by full_and_empty_are_exact,
        "wide-too-far" by a_late_push_finds_its_place,
        "wide-too-far" by a_late_pop_finds_its_place,
        "wide-hint-first" by two_send_and_one_receives,
        "wide-hint-first" by a_stopped_sender_stalls_nobody,
    }
}
