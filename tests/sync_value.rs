//! Values in several processes: counting, dying in the middle, and what is told of it.
//!
//! After CPython's `Lib/test/_test_multiprocessing.py`, `_TestValue` and `_TestSharedCTypes` (PSF
//! licence): the cases, not the code.
#![allow(unsafe_code, reason = "plain structs of one's own, and forks")]

mod common;

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use common::{assert_killed, next, seed, storms, until, watched};
use multiproc::{
    Condition, Connection, Error, ErrorKind, LockError, Nothing, Pipe, Process, Value,
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

/// Tells the parent that this process is where it is to be killed, and stays there.
fn wait_for_death(mut here: Connection<u8, Nothing>) -> ! {
    here.send(1).unwrap();
    loop {
        thread::park();
    }
}

/// Kills a process when it says so.
fn kill_when_told<R>(process: &Process<R>, mut told: Connection<Nothing, u8>) {
    told.recv().unwrap();
    process.kill().unwrap();
}

/// Larger than anything that is written at once.
type Large = [u64; 1000];

#[test]
fn v1_four_processes_count_to_4000() {
    fn with(total: Value<u64>) {
        (0..1000).for_each(|_| total.update(|total| *total += 1).unwrap());
    }
    fn with_guards(total: Value<u64>) {
        (0..1000).for_each(|_| *total.lock().unwrap() += 1);
    }
    fn with_atomics(total: Value<AtomicU64>) {
        for _ in 0..1000 {
            total.fetch_add(1, Relaxed);
        }
    }
    fn without(total: Value<u64>) {
        (0..1000).for_each(|_| total.set(total.get().unwrap() + 1).unwrap());
    }
    watched("v1", || {
        let run = |work: fn(Value<u64>)| {
            let total = Value::new(0u64).unwrap();
            let children = [(); 4].map(|()| Process::spawn(work, total.clone()).unwrap());
            children.into_iter().for_each(|child| child.join().unwrap());
            total.get().unwrap()
        };
        assert_eq!(run(with), 4000);
        assert_eq!(run(with_guards), 4000);
        // The mistake: what others add between the two steps is lost, sometimes.
        let total = run(without);
        assert!((1000..=4000).contains(&total));
        println!("without the lock: {total} of 4000");
        let total = Value::atomic(0u64).unwrap();
        let children = [(); 4].map(|()| Process::spawn(with_atomics, total.clone()).unwrap());
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(total.load(Relaxed), 4000);
    });
}

/// `test_value`: what a child sets is seen here.
#[test]
fn a_child_sets_what_its_parent_made() {
    type All = (Value<i32>, Value<f64>, Value<i64>, Value<u8>, Value<AtomicI64>);
    fn sets((a, b, c, d, e): All) {
        a.set(-1984).unwrap();
        b.set(2.5).unwrap();
        assert_eq!(c.replace(-(1 << 40)).unwrap(), 1 << 33);
        d.update(|d| *d = b'y').unwrap();
        e.store(-7, Relaxed);
    }
    watched("a_child_sets", || {
        let all: All = (
            Value::new(42).unwrap(),
            Value::new(1.0 / 3.0).unwrap(),
            Value::new(1 << 33).unwrap(),
            Value::new(b'x').unwrap(),
            Value::atomic(5i64).unwrap(),
        );
        assert_eq!(all.0.get().unwrap(), 42);
        assert_eq!(all.3.get().unwrap(), b'x');
        assert_eq!(all.4.load(Relaxed), 5);
        Process::spawn(sets, all.clone()).unwrap().join().unwrap();
        assert_eq!(all.0.get().unwrap(), -1984);
        assert_eq!(all.1.get().unwrap(), 2.5);
        assert_eq!(all.2.get().unwrap(), -(1 << 40));
        assert_eq!(all.3.get().unwrap(), b'y');
        assert_eq!(all.4.load(Relaxed), -7);
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Foo {
    x: i64,
    y: f64,
    z: [u8; 16],
}

// SAFETY: plain fields, and no padding.
unsafe impl Zeroable for Foo {}
// SAFETY: as above.
unsafe impl Pod for Foo {}

/// `test_sharedctypes` and `test_copy`: structs, and copies of them, which are nobody else's.
#[test]
fn a_struct_is_shared_and_its_copy_is_not() {
    fn doubles(foo: Value<Foo>) {
        let mut foo = foo.lock().unwrap();
        foo.x *= 2;
        foo.y *= 2.0;
        foo.z[..3].copy_from_slice(b"bye");
    }
    watched("a_struct_is_shared", || {
        let foo = Value::new(Foo { x: 3, y: 2.0, z: *b"hello, hello, hi" }).unwrap();
        let copy = foo.get().unwrap();
        Process::spawn(doubles, foo.clone()).unwrap().join().unwrap();
        assert_eq!(foo.get().unwrap(), Foo { x: 6, y: 4.0, z: *b"byelo, hello, hi" });
        assert_eq!(copy, Foo { x: 3, y: 2.0, z: *b"hello, hello, hi" });
    });
}

/// `test_getobj_getlock`: the lock is a lock, and those without one have none (see the docs).
#[test]
fn a_guard_keeps_others_out() {
    watched("a_guard_keeps_others_out", || {
        let value = Value::new(5u32).unwrap();
        let guard = value.lock().unwrap();
        assert_eq!(value.who_holds().unwrap().pid, std::process::id());
        assert!(value.is_locked());
        thread::scope(|scope| {
            scope.spawn(|| {
                let soon = Duration::from_millis(1);
                assert!(value.try_lock().unwrap_err().is_held());
                assert!(value.try_get().unwrap_err().is_held());
                assert!(value.try_set(1).unwrap_err().is_held());
                assert!(value.try_update(|_| ()).unwrap_err().is_held());
                assert!(value.lock_timeout(soon).unwrap_err().is_timeout());
                assert!(value.get_timeout(soon).unwrap_err().is_timeout());
                assert!(value.set_timeout(1, soon).unwrap_err().is_timeout());
                assert!(value.update_timeout(soon, |_| ()).unwrap_err().is_timeout());
            });
        });
        // For this thread it would be to wait for itself.
        assert!(matches!(value.get(), Err(LockError::WouldDeadlock)));
        assert!(matches!(value.set(1), Err(LockError::WouldDeadlock)));
        assert!(matches!(value.lock(), Err(LockError::WouldDeadlock)));
        assert_eq!(*guard, 5);
        drop(guard);
        assert!(value.who_holds().is_none() && !value.is_locked());
        value.set_timeout(6, LONG).unwrap();
        assert_eq!(value.get_timeout(LONG).unwrap(), 6);
        assert_eq!(value.update_timeout(LONG, |value| *value * 2).unwrap(), 12);
        value.update(|_| assert!(matches!(value.get(), Err(LockError::WouldDeadlock)))).unwrap();
        let shown = format!("{value:?}");
        assert!(shown.contains("u32") && shown.contains("nobody"), "{shown}");
    });
}

#[test]
fn a_condition_waits_for_what_a_value_is() {
    type Both = (Condition, Value<u32>);
    fn counts_down((changed, left): Both) {
        for number in (0..100).rev() {
            left.set(number).unwrap();
            changed.notify_all().unwrap();
        }
    }
    watched("a_condition_waits", || {
        let both: Both = (Condition::new().unwrap(), Value::new(100).unwrap());
        let guard = both.1.lock().unwrap();
        let child = Process::spawn(counts_down, both.clone()).unwrap();
        let guard = both.0.wait_while(guard, |left| *left > 0).unwrap();
        assert_eq!(*guard, 0);
        drop(guard);
        child.join().unwrap();
    });
}

#[test]
fn a_panic_in_an_update_leaves_the_old_value() {
    watched("a_panic_in_an_update", || {
        let value = Value::new([1u64; 8]).unwrap();
        let panicked = thread::scope(|scope| {
            let update = || {
                value.update(|words| {
                    words[..4].fill(2);
                    panic!("in the middle");
                })
            };
            scope.spawn(update).join()
        });
        assert!(panicked.is_err());
        assert!(!value.is_poisoned() && !value.is_locked());
        assert_eq!(value.get().unwrap(), [1; 8]);
        value.update(|words| words[0] = 3).unwrap();
        assert_eq!(value.get().unwrap(), [3, 1, 1, 1, 1, 1, 1, 1]);
    });
}

#[test]
fn a_panic_with_a_guard_poisons() {
    watched("a_panic_with_a_guard", || {
        let value = Value::new(1u64).unwrap();
        let panicked = thread::scope(|scope| {
            let change = || {
                let mut guard = value.lock().unwrap();
                *guard = 2;
                panic!("with the guard");
            };
            scope.spawn(change).join()
        });
        assert!(panicked.is_err() && value.is_poisoned());
        assert!(matches!(value.get(), Err(LockError::Panicked { guard: 2 })));
        assert!(matches!(value.set(7), Err(LockError::Panicked { guard: 7 })));
        assert!(matches!(value.replace(7), Err(LockError::Panicked { guard: 7 })));
        let never = value.update(|_| unreachable!("nobody has looked yet"));
        assert!(never.unwrap_err().is_poisoned());
        let guard = value.lock().unwrap_err().into_inner().unwrap();
        assert_eq!(*guard, 2);
        value.clear_poison();
        drop(guard);
        value.set(7).unwrap();
        assert_eq!(value.get().unwrap(), 7);
    });
}

/// Killed in the closure, with half of the change made, and again, so that both copies were the
/// spare one.
#[test]
fn a_child_killed_in_an_update_leaves_the_old_value() {
    fn dies_inside((value, here): (Value<Large>, Connection<u8, Nothing>)) {
        value
            .update(|words| {
                words[..500].fill(77);
                wait_for_death(here)
            })
            .unwrap();
    }
    watched("a_child_killed_in_an_update", || {
        let value = Value::new([0; 1000]).unwrap();
        for round in 0..3 {
            let (here, told) = Pipe::simplex::<u8>().unwrap();
            let process = Process::spawn(dies_inside, (value.clone(), here)).unwrap();
            let pid = process.pid();
            kill_when_told(&process, told);
            // It waits for the death to be noticed, and is told of nothing.
            let words = value.get().unwrap();
            assert!(words.iter().all(|word| *word == round));
            assert!(!value.is_poisoned() && value.who_holds().is_none_or(|held| held.pid != pid));
            value.update(|words| words.fill(round + 1)).unwrap();
            assert_killed(process.join());
        }
    });
}

#[test]
fn a_child_killed_with_a_guard_is_told_of() {
    fn dies_with_guard((value, here): (Value<Large>, Connection<u8, Nothing>)) {
        let mut guard = value.lock().unwrap();
        guard[..500].fill(77);
        wait_for_death(here)
    }
    watched("a_child_killed_with_a_guard", || {
        let value = Value::new([0; 1000]).unwrap();
        let (here, told) = Pipe::simplex::<u8>().unwrap();
        let process = Process::spawn(dies_with_guard, (value.clone(), here)).unwrap();
        let victim = process.pid();
        kill_when_told(&process, told);
        let error = value.lock().unwrap_err();
        assert!(error.is_owner_dead(), "{error}");
        assert!(matches!(error, LockError::OwnerDied { pid, .. } if pid == victim));
        let mut guard = error.into_inner().unwrap();
        assert_eq!((guard[0], guard[999]), (77, 0));
        drop(guard);
        // It stays so until somebody says that all is well.
        assert!(matches!(value.get(), Err(LockError::OwnerDied { guard, .. }) if guard[0] == 77));
        assert!(value.update(|_| ()).unwrap_err().is_owner_dead());
        assert!(value.set([1; 1000]).unwrap_err().is_owner_dead());
        let error: Error = value.get().unwrap_err().into();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        guard = value.lock().or_else(LockError::recover).unwrap();
        guard.fill(5);
        value.clear_poison();
        drop(guard);
        assert_eq!(value.get().unwrap(), [5; 1000]);
        assert_killed(process.join());
    });
}

/// Whenever they are killed, no reader ever sees a half of an update.
#[test]
fn no_storm_tears_a_value() {
    fn counts(value: Value<Large>) {
        loop {
            value.update(|words| words.iter_mut().for_each(|word| *word += 1)).unwrap();
        }
    }
    watched("no_storm_tears_a_value", || {
        let mut dice = seed();
        let value = Value::new([0; 1000]).unwrap();
        for _ in 0..20 * storms() {
            let process = Process::spawn(counts, value.clone()).unwrap();
            let before = value.get().unwrap()[0];
            until(|| value.get().unwrap()[0] > before);
            (0..next(&mut dice) % 4096).for_each(|_| std::hint::spin_loop());
            process.kill().unwrap();
            let words = value.get().unwrap();
            assert!(words.iter().all(|word| *word == words[0]));
            assert_killed(process.join());
        }
        assert!(!value.is_poisoned());
    });
}

#[test]
fn a_value_arrives_as_what_it_is() {
    fn back(value: Value<u64>) -> Value<u64> {
        value
    }
    watched("a_value_arrives", || {
        let value = Value::new(7u64).unwrap();
        let same = Process::spawn(back, value.clone()).unwrap().join().unwrap();
        assert_eq!(same, value);
        assert_ne!(Value::new(7u64).unwrap(), value);
        same.set(8).unwrap();
        assert_eq!(value.get().unwrap(), 8);
        let (mut out, mut inn) = Pipe::simplex::<Value<u64>>().unwrap();
        out.send(value).unwrap();
        assert_eq!(inn.recv().unwrap(), same);
        assert!(serde_json::to_string(&same).is_err());
    });
}

#[test]
fn values_have_the_alignment_of_their_type() {
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Aligned([u64; 8]);
    // SAFETY: plain, and no padding.
    unsafe impl Zeroable for Aligned {}
    // SAFETY: as above.
    unsafe impl Pod for Aligned {}
    watched("values_have_the_alignment", || {
        let value = Value::new(Aligned([3; 8])).unwrap();
        for _ in 0..2 {
            value.update(|value| value.0[0] += 1).unwrap();
            let guard = value.lock().unwrap();
            assert!((&raw const *guard).addr().is_multiple_of(64));
        }
        assert_eq!(value.get().unwrap().0, [5, 3, 3, 3, 3, 3, 3, 3]);
        let nothing = Value::new(()).unwrap();
        nothing.update(|()| ()).unwrap();
        let wide = Value::new(u128::MAX).unwrap();
        assert_eq!(wide.replace(1).unwrap(), u128::MAX);
        let byte = Value::atomic(200u8).unwrap();
        let other = byte.clone();
        assert_eq!(byte.fetch_add(100, Relaxed), 200);
        assert_eq!(AtomicU8::load(&other, Relaxed), 44);
    });
}

#[test]
fn a_forked_child_waits_its_turn() {
    watched("a_forked_child", || {
        let value = Value::new(1u64).unwrap();
        let guard = value.lock().unwrap();
        // SAFETY: the other threads of this test hold nothing that the child uses.
        let child =
            unsafe { Process::fork(|| value.update(|value| *value += 1).map_err(Error::from)) };
        // Here it is the lock; there, what it was a copy of is the parent's.
        assert_eq!(*guard, 1);
        drop(guard);
        child.unwrap().join().unwrap().unwrap();
        assert_eq!(value.get().unwrap(), 2);
    });
}
