//! P2: whatever words are in the memory of a queue, its verbs give an error or an answer. They do
//! not crash, do not hang, and do not panic, and neither does a drop or a recovery.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use super::*;
use crate::error::{Cause, Error, ErrorKind};
use crate::raw::chance::{Dice, Told};
use crate::raw::queue::Store;
use crate::raw::units::UNIT;
use crate::raw::wait::testing::Watchdog;
use crate::segment::Shared;
use crate::shim::{AtomicU64, Ordering::*};
use crate::sys::clock::Deadline;
use crate::transfer::codec::{Codec, Plain, Serde};

const SOON: Duration = Duration::from_micros(50);

/// The words of one queue, in the order of its parts.
struct Target {
    shared: Shared,
    plan: Range<usize>,
    parts: Vec<Range<usize>>,
}

impl Target {
    fn of<T, C>(queue: &Queue<T, C>) -> Self {
        let core = &queue.port.as_ref().unwrap().core;
        let (at, base) = (&core.at, core.shared().base().as_ptr() as usize);
        let offset = |address: usize| address - base;
        let plan = at.plan;
        let handles = offset(std::ptr::from_ref(at.entry(0)) as usize);
        let waiters = offset(at.waiters().as_ptr() as usize);
        let ring = waiters + size_of_val(at.waiters());
        let rings = offset(std::ptr::from_ref(crate::raw::swap::chain::ChainMemory::entry(
            core.store(),
            0,
        )) as usize);
        let stock = (rings + 32 * plan.rings as usize).next_multiple_of(128);
        let mut parts = vec![
            64..handles,
            64..handles,
            handles..waiters,
            waiters..ring,
            ring..rings,
            ring..rings,
            ring..rings,
            rings..rings + 32 * plan.rings.min(6) as usize,
        ];
        if plan.units > 0 {
            let units = at.layout.units_at;
            parts.push(stock..stock + 128 + 8 * plan.units.min(24) as usize);
            parts.push(units..units + (plan.units.min(8) as usize) * UNIT as usize);
        }
        Self { shared: core.shared().clone(), plan: 0..64, parts }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        let at = at & !7;
        assert!(at as u64 + 8 <= self.shared.len());
        // SAFETY: within the block, which is mapped as long as `shared`, and aligned.
        unsafe { self.shared.base().add(at).cast::<AtomicU64>().as_ref() }
    }

    fn value(&self, dice: &mut Dice, before: u64, part: &Range<usize>) -> u64 {
        match dice.below(12) {
            0 => 0,
            1 => u64::MAX,
            2 => dice.next(),
            3 => dice.below(300),
            4 => before ^ (1 << dice.below(64)),
            5 => before.wrapping_add(dice.below(5)).wrapping_sub(2),
            6 => self.word(part.start + dice.below(part.len() as u64 - 7) as usize).load(Relaxed),
            7 => (1 << 63) - 1 - dice.below(3),
            8 => dice.next() >> dice.below(64),
            9 => before.wrapping_add(1 << dice.below(64)),
            10 => dice.below(8) << 16 | dice.below(8),
            _ => dice.below(70_000) << 32 | dice.below(70_000),
        }
    }

    fn scribble(&self, dice: &mut Dice) {
        let part = match dice.below(40) {
            0 => &self.plan,
            _ => &self.parts[dice.below(self.parts.len() as u64) as usize],
        };
        let mut at = part.start + dice.below(part.len() as u64 - 7) as usize;
        let words = if dice.below(8) == 0 { dice.below(64) } else { 1 };
        for _ in 0..words {
            if part.end < at + 8 {
                break;
            }
            let word = self.word(at);
            word.store(self.value(dice, word.load(Relaxed), part), Relaxed);
            at += 8;
        }
    }

    /// What recovery does for a participant that died.
    fn sweep(&self, gone: u32) {
        if let Ok(at) = core::queue_in(&self.shared) {
            Store::new(at, self.shared.clone()).sweep(gone, true, self.shared.segment().me());
        }
    }
}

fn expect(error: Option<&Error>) {
    let Some(error) = error else { return };
    use ErrorKind::{Codec, Corrupt, Disconnected, Limit, Memory, Misuse};
    let kinds = [Codec, Corrupt, Disconnected, Limit, Memory, Misuse];
    assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
}

fn expect_cause<R>(result: Result<R, Cause>) {
    if let Err(Cause::Failed(error)) = result {
        expect(Some(&error));
    }
}

fn sends<T: Clone, C: Codec<T>>(queue: &mut Queue<T, C>, value: T, dice: &mut Dice) {
    let until = Some(Deadline::after(SOON));
    let sent = match dice.below(4) {
        0 => queue.send_timeout(value, SOON),
        1..=2 => queue.try_send(value),
        _ => {
            let Some(port) = &mut queue.port else { return };
            let length = if C::SHAPE.is_plain() { size_of::<T>() } else { dice.below(40_000) as _ };
            let sent = port.draft(length, until).and_then(|body| {
                body.bytes_mut().fill(7);
                port.commit(length, until)
            });
            return expect_cause(sent);
        }
    };
    expect(sent.as_ref().err().and_then(|error| error.error()));
}

fn receives<T, C: Codec<T>>(queue: &mut Queue<T, C>, target: &Target, dice: &mut Dice) {
    match dice.below(5) {
        0 => expect(queue.recv_timeout(SOON).err().as_ref().and_then(|error| error.error())),
        1 => expect(queue.try_recv().err().as_ref().and_then(|error| error.error())),
        2 => {
            let Some(port) = &mut queue.port else { return };
            expect_cause(port.receive_batch(&mut Vec::new(), 3, Some(Deadline::after(SOON))));
        }
        3 => drop(queue.drain().take(20).count()),
        _ => match queue.try_recv_guard() {
            Ok(guard) => {
                target.scribble(dice);
                std::hint::black_box(
                    guard.bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                );
                let _ = guard.get();
            }
            Err(error) => expect(error.error()),
        },
    }
}

fn asks<T, C>(queue: &mut Queue<T, C>, dice: &mut Dice) {
    match dice.below(7) {
        0 => drop(queue.len()),
        1 => drop(queue.stats()),
        2 => drop(format!("{:?} {queue:?}", queue.info())),
        3 => expect(queue.task_done().err().as_ref()),
        4 => expect(queue.join_timeout(SOON).err().as_ref()),
        5 => expect(queue.sender().map(drop).err().as_ref()),
        _ => expect(queue.receiver().map(drop).err().as_ref()),
    }
}

type Make<T, C> = fn() -> Queue<T, C>;

/// One queue, from its first message to its last handle.
fn play<T: Clone, C: Codec<T>>(make: Make<T, C>, values: &[T], dice: &mut Dice) {
    let mut handles = [Some(make()), None];
    let target = Target::of(handles[0].as_ref().unwrap());
    handles[1] = handles[0].clone();
    let value = |dice: &mut Dice| values[dice.below(values.len() as u64) as usize].clone();
    for _ in 0..dice.below(12) {
        let _ = handles[0].as_mut().unwrap().try_send(value(dice));
    }
    for _ in 0..dice.below(60) {
        if dice.below(3) == 0 {
            target.scribble(dice);
        }
        let which = dice.below(2) as usize;
        let Some(queue) = &mut handles[which] else {
            handles[which] = handles[1 - which].clone();
            continue;
        };
        match dice.below(40) {
            0..16 => sends(queue, value(dice), dice),
            16..30 => receives(queue, &target, dice),
            30..36 => asks(queue, dice),
            36 => target.sweep(dice.below(4) as u32),
            37 => handles[which] = None,
            38 if dice.below(4) == 0 => queue.close(),
            _ => match queue.try_clone() {
                Ok(another) => handles[which] = Some(another),
                Err(error) => expect(Some(&error)),
            },
        }
    }
}

fn storms<T: Clone, C: Codec<T>>(test: &'static str, make: Make<T, C>, values: &[T]) {
    let _dog = Watchdog::new(test);
    let asked = std::env::var("MULTIPROC_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = asked.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let rounds = if asked.is_some() { 1 } else { ROUNDS };
    println!("{test}: seeds from {first} on");
    for seed in first..first + rounds {
        let _told = Told(test, seed);
        play(make, values, &mut Dice::new(seed));
    }
}

const ROUNDS: u64 = 400;

fn texts() -> [String; 5] {
    [0, 5, 100, 600, 70_000].map(|length| "x".repeat(length))
}

#[test]
fn foreign_words_in_a_bounded_queue_end_well() {
    let make = || Queue::builder().handles(5).memory(1 << 20).bounded(3).unwrap();
    storms::<String, Serde>("foreign_words_in_a_bounded_queue", make, &texts());
}

#[test]
fn foreign_words_in_a_plain_queue_end_well() {
    let make = || Queue::builder().codec::<Plain>().handles(3).bounded(4).unwrap();
    storms::<[u64; 7], Plain>("foreign_words_in_a_plain_queue", make, &[[7; 7]]);
}

#[test]
fn foreign_words_in_a_wide_queue_end_well() {
    let make = || Queue::builder().codec::<Plain>().handles(3).bounded(5).unwrap();
    storms::<u64, Plain>("foreign_words_in_a_wide_queue", make, &[7]);
}

#[test]
fn foreign_words_in_a_growing_queue_end_well() {
    let make = || Queue::builder().handles(4).memory(16 << 20).unbounded().unwrap();
    storms::<String, Serde>("foreign_words_in_a_growing_queue", make, &texts());
}

#[test]
fn foreign_words_in_a_growing_plain_queue_end_well() {
    let make = || {
        let mut queue = Queue::builder().codec::<Plain>().handles(3).memory(16 << 20).unbounded();
        // Beyond the first ring.
        (0..300).for_each(|_| queue.as_mut().unwrap().send([1; 4]).unwrap());
        queue.unwrap()
    };
    storms::<[u64; 4], Plain>("foreign_words_in_a_growing_plain_queue", make, &[[7; 4]]);
}

#[test]
fn foreign_words_in_a_queue_that_redelivers_end_well() {
    let make = || {
        let builder = Queue::builder().redeliver(true).joinable(true).memory(1 << 20);
        builder.handles(5).bounded(3).unwrap()
    };
    storms::<String, Serde>("foreign_words_in_a_queue_that_redelivers", make, &texts());
}

#[test]
fn foreign_words_in_a_joinable_queue_end_well() {
    let make = || Queue::builder().joinable(true).handles(4).memory(1 << 20).unbounded().unwrap();
    storms::<String, Serde>("foreign_words_in_a_joinable_queue", make, &texts());
}

#[test]
fn a_chain_that_cannot_be_sealed_is_closed_all_the_same() {
    let _dog = Watchdog::new("a_chain_that_cannot_be_sealed_is_closed_all_the_same");
    let mut queue: Queue<u8> = Queue::bounded(1).unwrap();
    // A next ring of a turn that is still to come: neither is it one now, nor can there be one.
    let next = Target::of(&queue).parts[7].start + 8;
    Target::of(&queue).word(next).store(5 << 16 | 3, Relaxed);
    queue.close();
    assert!(queue.is_closed());
    assert!(queue.try_send(1).unwrap_err().is_disconnected());
    assert!(queue.try_recv().unwrap_err().is_disconnected());
}

#[test]
fn a_join_of_a_damaged_queue_is_an_error() {
    let _dog = Watchdog::new("a_join_of_a_damaged_queue_is_an_error");
    let mut queue: Queue<u8> = Queue::builder().joinable(true).bounded(1).unwrap();
    // The next ring of the first one is none that there can be.
    let next = Target::of(&queue).parts[7].start + 8;
    Target::of(&queue).word(next).store(5, Relaxed);
    assert_eq!(queue.join().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_plan_that_misplaces_values_shows_none_of_them() {
    let first = Queue::builder().codec::<Plain>().bounded::<[u128; 4]>(2).unwrap();
    let target = Target::of(&first);
    let block = target.word(16);
    assert_eq!(block.load(Relaxed), 80 << 32 | 16);
    block.store(80 << 32 | 8, Relaxed);
    let mut other = first.clone();
    let slot = other.slot().map(drop).unwrap_err();
    assert_eq!(slot.error().unwrap().kind(), ErrorKind::Corrupt);
    other.try_send([1; 4]).unwrap();
    let guard = other.try_recv_guard().map(drop).unwrap_err();
    assert_eq!(guard.error().unwrap().kind(), ErrorKind::Corrupt);
}

/// A thread writes while two others use the queue: words change between two looks at them.
fn storm_beside<T, C>(test: &'static str, make: Make<T, C>, values: &[T])
where
    T: Clone + Send + Sync,
    C: Codec<T>,
{
    let _dog = Watchdog::new(test);
    let first = u64::from(std::process::id()) << 20;
    println!("{test}: seeds from {first} on");
    for seed in first..first + 20 {
        let _told = Told(test, seed);
        let queue = make();
        let (target, other) = (Target::of(&queue), queue.clone());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new(!seed);
                while !is_over.load(Relaxed) {
                    target.scribble(&mut dice);
                    (0..dice.below(2000)).for_each(|_| std::hint::spin_loop());
                }
            });
            let users = [queue, other].map(|mut queue| {
                let target = &target;
                scope.spawn(move || {
                    let mut dice = Dice::new(seed);
                    for _ in 0..200 {
                        let value = &values[dice.below(values.len() as u64) as usize];
                        sends(&mut queue, value.clone(), &mut dice);
                        receives(&mut queue, target, &mut dice);
                        if let (0, Ok(another)) = (dice.below(8), queue.try_clone()) {
                            queue = another;
                        }
                    }
                })
            });
            let ended = users.map(thread::ScopedJoinHandle::join);
            is_over.store(true, Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
    }
}

#[test]
fn words_that_change_meanwhile_end_well() {
    let make = || Queue::builder().redeliver(true).handles(6).memory(1 << 20).bounded(3).unwrap();
    storm_beside::<String, Serde>("words_that_change_meanwhile", make, &texts());
    let make = || Queue::builder().handles(6).memory(8 << 20).unbounded().unwrap();
    storm_beside::<String, Serde>("words_that_change_meanwhile", make, &texts());
    let make = || Queue::builder().codec::<Plain>().handles(6).bounded(3).unwrap();
    storm_beside::<u64, Plain>("words_that_change_meanwhile", make, &[7]);
}
