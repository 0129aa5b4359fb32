//! The bench with the machine's own atomics.

use super::*;
use crate::raw::wait::testing::{MODES, Watchdog, dawdle, terms};
use crate::shim::yield_now;
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering::*;
use std::thread;
use std::time::Duration;

fn table<const S: usize>() -> [Waiter; S] {
    std::array::from_fn(|_| Waiter::new())
}

fn mark<const N: usize>(bench: &Bench<N>, slot: usize) {
    bench.put_in_use(slot / 64);
    bench.parked[slot / 64].fetch_or(1 << (slot % 64), Relaxed);
}

fn until_marked<const N: usize>(bench: &Bench<N>, count: u32) {
    let marks = |index: usize| bench.parked[index].load(Relaxed) & !no_marks(index);
    while (0..N).map(|index| marks(index).count_ones()).sum::<u32>() < count {
        yield_now();
    }
}

fn wakes(table: &[Waiter]) -> Vec<usize> {
    let woken = |slot: &usize| table[*slot].token.word().load(Relaxed) > 0;
    (0..table.len()).filter(woken).collect()
}

#[test]
fn an_empty_bench_has_nobody_to_wake() {
    let (bench, table) = (Bench::<2>::new(), table::<128>());
    assert!(bench.pick().is_none());
    bench.notify_one(&table, Fence::Full);
    bench.notify_all(&table);
    wake_everyone(&table);
    assert!(wakes(&table).is_empty());
}

#[test]
fn only_words_in_use_are_looked_at() {
    let (bench, table) = (Bench::<16>::new(), table::<1024>());
    // A mark that no waiter announced, as only a broken participant leaves it.
    bench.parked[2].store(1 << 5, Relaxed);
    bench.notify_one(&table, Fence::Full);
    mark(&bench, 1023);
    bench.notify_one(&table, Fence::Full);
    bench.notify_one(&table, Fence::Full);
    assert_eq!(wakes(&table), [1023]);
    // It stays in use, and so is found again.
    assert_eq!(bench.parked[0].load(Relaxed), in_use(15));
    mark(&bench, 1000);
    bench.notify_one(&table, Fence::Full);
    assert_eq!(wakes(&table), [1000, 1023]);
}

#[test]
fn what_is_no_mark_is_never_taken() {
    let (bench, table) = (Bench::<2>::new(), table::<128>());
    mark(&bench, 64);
    assert!(bench.demand_fences());
    (0..FIRST).for_each(|slot| bench.strike(&table, slot));
    bench.notify_all(&table);
    bench.notify_one(&table, Fence::Full);
    assert_eq!(bench.parked[0].load(Relaxed), FENCED | in_use(1));
    assert_eq!(wakes(&table), [64]);
}

#[test]
fn every_waiter_gets_its_turn() {
    let bench = Bench::<3>::new();
    (FIRST..192).for_each(|slot| mark(&bench, slot));
    assert!(bench.demand_fences());
    for slot in FIRST..100 {
        assert_eq!(bench.pick(), Some(slot));
    }
    mark(&bench, 25);
    mark(&bench, 99);
    for slot in (100..192).chain([25, 99]) {
        assert_eq!(bench.pick(), Some(slot));
    }
    assert!(bench.pick().is_none());
}

#[test]
fn a_struck_waiter_is_not_picked() {
    let (bench, table) = (Bench::<1>::new(), table::<18>());
    mark(&bench, 16);
    mark(&bench, 17);
    bench.strike(&table, 16);
    bench.strike(&table, 16);
    assert_eq!(table[16].token.word().load(Relaxed), 1);
    bench.notify_one(&table, Fence::Full);
    assert_eq!(table[17].token.word().load(Relaxed), 1);
}

#[test]
fn everyone_is_whoever_entered() {
    let table = table::<1024>();
    table[700].enter(7);
    table[16].enter(1023);
    wake_everyone(&table);
    assert_eq!(wakes(&table), [16, 700]);
    table[16].release();
    wake_everyone(&table);
    assert_eq!([16, 700].map(|slot: usize| table[slot].token.word().load(Relaxed)), [1, 2]);
}

#[test]
fn marks_of_no_waiter_harm_nobody() {
    let (bench, table) = (Bench::<2>::new(), table::<20>());
    for _ in 0..2 {
        bench.parked.iter().for_each(|word| word.store(u64::MAX, Relaxed));
        bench.turn.store(u64::MAX, Relaxed);
        (0..200).for_each(|_| bench.notify_one(&table, Fence::Full));
        bench.notify_all(&table);
    }
    assert!(bench.pick().is_none());
}

#[test]
fn everyone_wakes_from_a_bench() {
    let _dog = Watchdog::new("everyone_wakes_from_a_bench");
    for how in MODES {
        for janitor in [false, true] {
            let (bench, table) = (Bench::<2>::new(), table::<66>());
            let (open, epoch) = (Futex::new(0), Futex::new(0));
            thread::scope(|scope| {
                for me in [16, 63, 65] {
                    let (bench, table, open, epoch) = (&bench, &table, &open, &epoch);
                    scope.spawn(move || {
                        table[me].enter(1);
                        let terms = terms(epoch, how, Deadline::NEVER);
                        let ready = || open.word().load(Acquire) == 1;
                        let waited = bench.wait(table, me, terms, ready, || ());
                        assert_eq!(waited, Waited::Ready);
                    });
                }
                until_marked(&bench, 3);
                open.word().store(1, Release);
                if janitor { wake_everyone(&table) } else { bench.notify_all(&table) }
            });
        }
    }
}

/// Three take, one gives; some of the takers are impatient, and give up again and again.
#[test]
fn a_crowd_takes_each_message_once() {
    const MESSAGES: u32 = 30_000;
    let _dog = Watchdog::new("a_crowd_takes_each_message_once");
    for how in MODES {
        let (bench, table) = (Bench::<2>::new(), table::<67>());
        let (left, sent, epoch) = (Futex::new(0), Futex::new(0), Futex::new(0));
        let taken = AtomicU32::new(0);
        // Taking is a decrement, as a semaphore's.
        let take = || {
            let less = |left: u32| left.checked_sub(1);
            left.word().fetch_update(Acquire, Relaxed, less).is_ok()
        };
        thread::scope(|scope| {
            for (me, patience) in [(16, None), (65, Some(40)), (66, Some(200))] {
                let (bench, table, epoch, taken, sent) = (&bench, &table, &epoch, &taken, &sent);
                scope.spawn(move || {
                    table[me].enter(1);
                    let mut took = 0;
                    loop {
                        let micros = patience.map(Duration::from_micros);
                        let deadline = micros.map_or(Deadline::NEVER, Deadline::after);
                        let terms = terms(epoch, how, deadline);
                        let mut got = false;
                        let ready = || {
                            got = take();
                            got || sent.word().load(Acquire) == 1
                        };
                        let waited = bench.wait(table, me, terms, ready, || ());
                        took += u32::from(got);
                        if waited == Waited::Ready && !got {
                            break;
                        }
                    }
                    taken.fetch_add(took, Relaxed);
                });
            }
            for n in 1..=MESSAGES {
                if n.is_multiple_of(8) {
                    dawdle(n);
                }
                left.word().fetch_add(1, Release);
                bench.notify_one(&table, terms(&epoch, how, Deadline::NEVER).how);
            }
            sent.word().store(1, Release);
            bench.notify_all(&table);
        });
        assert_eq!(taken.into_inner() + left.word().load(Relaxed), MESSAGES);
    }
}
