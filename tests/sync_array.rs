//! Arrays in several processes: the whole, parts side by side, and what the dead leave.
//!
//! After CPython's `Lib/test/_test_multiprocessing.py`, `_TestArray` and `_TestSharedCTypes` (PSF
//! licence): the cases, not the code. A negative length, which CPython refuses, cannot be said.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "a test kills itself")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{assert_killed, die, next, seed, storms, until, watched};
use multiproc::{Array, Condition, Connection, ErrorKind, LockError, Nothing, Pipe, Process};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

/// Short enough to be waited for in vain.
const SHORT: Duration = Duration::from_millis(1);

fn kind<G>(error: &LockError<G>) -> Option<ErrorKind> {
    error.error().map(multiproc::Error::kind)
}

/// Tells the parent that this process is where it is to be killed, and stays there.
fn wait_for_death(mut here: Connection<u8, Nothing>) -> ! {
    here.send(1).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn v2_ten_numbers_are_squared_in_a_child() {
    fn square(numbers: Array<i64>) {
        numbers.lock().unwrap().iter_mut().for_each(|number| *number *= *number);
    }
    watched("v2", || {
        let numbers = Array::from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        Process::spawn(square, numbers.clone()).unwrap().join().unwrap();
        assert_eq!(numbers.to_vec().unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    });
}

/// `test_array`: an array does what a list does, here and in a child.
#[test]
fn an_array_does_what_a_slice_does() {
    fn sums(array: Array<i32>) {
        let mut array = array.lock().unwrap();
        (1..array.len()).for_each(|i| array[i] += array[i - 1]);
    }
    watched("an_array_does_what_a_slice_does", || {
        let mut list = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];
        let array = Array::from_slice(&list).unwrap();
        assert_eq!((array.len(), array.is_empty()), (list.len(), false));
        assert_eq!(array.get(3).unwrap(), list[3]);
        assert_eq!(array.lock().unwrap()[2..7], list[2..7]);
        array.lock().unwrap()[4..8].copy_from_slice(&[1, 2, 3, 4]);
        list[4..8].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(array.to_vec().unwrap(), list);
        (1..list.len()).for_each(|i| list[i] += list[i - 1]);
        Process::spawn(sums, array.clone()).unwrap().join().unwrap();
        assert_eq!(array.to_vec().unwrap(), list);
    });
}

/// `test_array_from_size`: memory that was used before is zero again.
#[test]
fn a_new_array_is_what_it_is_made_of() {
    watched("a_new_array", || {
        for _ in 0..3 {
            let array = Array::new(10, 0i32).unwrap();
            assert_eq!(array.to_vec().unwrap(), [0; 10]);
            let mut all = array.lock().unwrap();
            all.iter_mut().zip(0..).for_each(|(element, number)| *element = number);
            drop(all);
            assert_eq!(array.to_vec().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
        assert_eq!(Array::new(3, -0.0f64).unwrap().get(2).unwrap().to_bits(), 1 << 63);
        assert_eq!(Array::new(2, [1u16, 2]).unwrap().to_vec().unwrap(), [[1, 2], [1, 2]]);
        let empty = Array::<u64>::from_slice(&[]).unwrap();
        assert!(empty.is_empty() && empty.to_vec().unwrap().is_empty());
        assert!(empty.lock().unwrap().is_empty());
        assert!(Array::<u64>::sparse(0).unwrap().is_empty());
    });
}

#[test]
fn what_is_not_there_is_an_error() {
    watched("what_is_not_there", || {
        let array = Array::new(10, 1u8).unwrap();
        assert_eq!(kind(&array.get(10).unwrap_err()), Some(ErrorKind::Bounds));
        assert_eq!(kind(&array.set(usize::MAX, 0).unwrap_err()), Some(ErrorKind::Bounds));
        assert_eq!(kind(&array.update(10, |_| ()).unwrap_err()), Some(ErrorKind::Bounds));
        let error = array.lock_range(3..11).unwrap_err();
        assert_eq!(error.to_string(), "elements 3 to 11 of an array of 10");
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
        let backwards = 5..4;
        assert_eq!(kind(&array.lock_range(backwards).unwrap_err()), Some(ErrorKind::Bounds));
        assert_eq!(kind(&array.lock_range(..=usize::MAX).unwrap_err()), Some(ErrorKind::Bounds));
        assert_eq!(kind(&array.lock_range(11..).unwrap_err()), Some(ErrorKind::Bounds));
        assert!(array.lock_range(10..).unwrap().is_empty());
        assert_eq!(array.lock_range(..).unwrap().len(), 10);
        assert_eq!(array.lock_range(..=4).unwrap().len(), 5);
        assert_eq!(array.to_vec().unwrap(), [1; 10]);
    });
}

/// `test_getobj_getlock`: who has the array, or a part, keeps others out of it.
#[test]
fn guards_keep_others_out() {
    watched("guards_keep_others_out", || {
        let array = Array::new(10, 0u32).unwrap();
        let all = array.lock().unwrap();
        assert_eq!(array.who_holds().len(), 1);
        assert_eq!(array.who_holds()[0].0, 0..10);
        assert_eq!(array.who_holds()[0].1.pid, std::process::id());
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(array.try_lock().unwrap_err().is_held());
                assert!(array.try_lock_range(1..2).unwrap_err().is_held());
                assert!(array.lock_timeout(SHORT).unwrap_err().is_timeout());
                assert!(array.lock_range_timeout(..1, SHORT).unwrap_err().is_timeout());
            });
        });
        assert!(matches!(array.lock(), Err(LockError::WouldDeadlock)));
        assert!(matches!(array.lock_range(1..), Err(LockError::WouldDeadlock)));
        assert!(matches!(array.get(0), Err(LockError::WouldDeadlock)));
        drop(all);
        let low = array.lock_range(..5).unwrap();
        assert_eq!(array.who_holds()[0].0, 0..5);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(array.try_lock().unwrap_err().is_held());
                assert!(array.lock_timeout(SHORT).unwrap_err().is_timeout());
                assert!(array.try_lock_range(4..6).unwrap_err().is_held());
                assert!(array.lock_range_timeout(4..6, SHORT).unwrap_err().is_timeout());
                let mut high = array.try_lock_range(5..).unwrap();
                high.fill(7);
                assert_eq!(array.who_holds().len(), 2);
            });
        });
        assert!(matches!(array.lock(), Err(LockError::WouldDeadlock)));
        assert!(matches!(array.lock_range(4..5), Err(LockError::WouldDeadlock)));
        assert!(matches!(array.get(4), Err(LockError::WouldDeadlock)));
        array.set(5, 8).unwrap();
        assert_eq!(array.update(6, |element| *element * 2).unwrap(), 14);
        drop(low);
        assert!(!array.is_locked() && array.who_holds().is_empty());
        assert_eq!(array.lock_timeout(LONG).unwrap()[4..7], [0, 8, 7]);
        assert_eq!(array.lock_range_timeout(4..7, LONG).unwrap()[..], [0, 8, 7]);
        let shown = format!("{array:?}");
        assert!(shown.contains("u32") && shown.contains("10"), "{shown}");
    });
}

#[test]
fn a_condition_waits_for_what_a_part_is() {
    fn fills((changed, array): (Condition, Array<u8>)) {
        array.lock_range(3..5).unwrap().fill(7);
        changed.notify_all().unwrap();
    }
    watched("a_condition_waits", || {
        let (changed, array) = (Condition::new().unwrap(), Array::new(10, 0u8).unwrap());
        let part = array.lock_range(2..4).unwrap();
        let child = Process::spawn(fills, (changed.clone(), array.clone())).unwrap();
        let part = changed.wait_while(part, |part| part[1] == 0).unwrap();
        assert_eq!((&part[..], part.range()), (&[0, 7][..], 2..4));
        drop(part);
        let all = changed.wait_while(array.lock().unwrap(), |all| all[4] == 0).unwrap();
        assert_eq!(all[..], [0, 0, 0, 7, 7, 0, 0, 0, 0, 0]);
        drop(all);
        child.join().unwrap();
    });
}

/// Each one tells that it has its part, and lets go of it only when both have told.
#[test]
fn two_processes_have_their_parts_side_by_side() {
    type Ends = (Connection<u8, Nothing>, Connection<Nothing, u8>);
    fn works((array, part, (mut here, mut there)): (Array<u64>, usize, Ends)) {
        let mut elements = array.lock_range(part * 500..(part + 1) * 500).unwrap();
        here.send(1).unwrap();
        there.recv().unwrap();
        elements.fill(part as u64 + 1);
    }
    watched("two_processes", || {
        let array = Array::new(1000, 0u64).unwrap();
        let mut all = Vec::new();
        for part in 0..2 {
            let (here, told) = Pipe::simplex::<u8>().unwrap();
            let (tell, there) = Pipe::simplex::<u8>().unwrap();
            let child = Process::spawn(works, (array.clone(), part, (here, there))).unwrap();
            all.push((child, told, tell));
        }
        for (_, told, _) in &mut all {
            told.recv().unwrap();
        }
        let mut held = array.who_holds();
        held.sort_by_key(|(range, _)| range.start);
        let pids = held.iter().map(|(_, holder)| holder.pid);
        assert!(pids.eq(all.iter().map(|(child, ..)| child.pid())));
        assert_eq!(
            held.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>(),
            [0..500, 500..1000]
        );
        assert!(array.try_lock_range(499..501).unwrap_err().is_held());
        all.iter_mut().for_each(|(_, _, tell)| tell.send(1).unwrap());
        let whole = array.lock().unwrap();
        assert!(whole[..500].iter().all(|element| *element == 1));
        assert!(whole[500..].iter().all(|element| *element == 2));
        drop(whole);
        all.into_iter().for_each(|(child, ..)| child.join().unwrap());
    });
}

/// Threads and processes move what they find, within parts that overlap, and lose nothing.
#[test]
fn nothing_is_lost_between_parts_that_overlap() {
    const ROUNDS: usize = 500;
    fn moves((array, start): (Array<u64>, usize)) {
        for round in 0..ROUNDS {
            let from = (start + round * 7) % 24;
            let mut part = array.lock_range(from..from + 8).unwrap();
            let found = part[0].min(3);
            part[0] -= found;
            part[7] += found;
            if round % 50 == 0 {
                drop(part);
                let mut all = array.lock().unwrap();
                assert_eq!(all.iter().sum::<u64>(), 3200);
                all.rotate_left(1);
            }
        }
    }
    watched("nothing_is_lost", || {
        let array = Array::new(32, 100u64).unwrap();
        let children = [1, 2].map(|start| Process::spawn(moves, (array.clone(), start)).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| moves((array.clone(), 3)));
            moves((array.clone(), 4));
        });
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(array.to_vec().unwrap().iter().sum::<u64>(), 3200);
        assert!(!array.is_locked() && !array.is_poisoned());
    });
}

#[test]
fn sixty_four_parts_are_held_at_once() {
    watched("sixty_four_parts", || {
        let array = Array::new(100, 0u8).unwrap();
        let mut parts: Vec<_> =
            (0..64).map(|part| array.lock_range(part..=part).unwrap()).collect();
        // This thread would wait for itself; another one waits until there is room.
        assert!(matches!(array.lock_range(70..71), Err(LockError::WouldDeadlock)));
        array.set(70, 1).unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert!(array.try_lock_range(70..71).unwrap_err().is_held());
                assert!(array.lock_range_timeout(70..71, SHORT).unwrap_err().is_timeout());
                tell.send(()).unwrap();
                array.lock_range(70..71).unwrap()[0]
            });
            told.recv().unwrap();
            drop(parts.swap_remove(30));
            assert_eq!(other.join().unwrap(), 1);
        });
        assert_eq!(array.who_holds().len(), 63);
        drop(parts);
        assert!(array.lock().unwrap()[..64].iter().all(|element| *element == 0));
    });
}

#[test]
fn a_child_killed_with_the_array_or_a_part_is_told_of() {
    type Doomed = (Array<u64>, bool, Connection<u8, Nothing>);
    fn dies((array, whole, here): Doomed) {
        if whole {
            let mut all = array.lock().unwrap();
            all[..300].fill(7);
            wait_for_death(here)
        }
        let mut part = array.lock_range(100..600).unwrap();
        part[..200].fill(7);
        wait_for_death(here)
    }
    watched("a_child_killed_with_the_array", || {
        for (whole, again) in [(true, true), (true, false), (false, true), (false, false)] {
            let array = Array::new(1000, 0u64).unwrap();
            let (here, mut told) = Pipe::simplex::<u8>().unwrap();
            let process = Process::spawn(dies, (array.clone(), whole, here)).unwrap();
            let victim = process.pid();
            told.recv().unwrap();
            process.kill().unwrap();
            if again {
                let error = array.lock().unwrap_err();
                assert!(matches!(error, LockError::OwnerDied { pid, .. } if pid == victim));
                let all = error.into_inner().unwrap();
                assert_eq!((all[299], all[300], all[999]), (7, 0, 0));
            } else {
                // It waits for the part, and nobody else's death.
                let error = array.lock_range(599..700).unwrap_err();
                assert!(matches!(error, LockError::OwnerDied { pid, .. } if pid == victim));
                drop(error);
                assert!(array.lock_range(..3).unwrap_err().is_owner_dead());
            }
            assert!(array.is_poisoned() && !array.is_locked());
            assert!(matches!(array.get(299), Err(LockError::OwnerDied { guard: 7, .. })));
            assert!(matches!(array.set(0, 5), Err(LockError::OwnerDied { guard: 5, .. })));
            assert!(array.update(0, |_| ()).unwrap_err().is_owner_dead());
            assert_eq!(array.to_vec().unwrap_err().into_inner().unwrap()[299], 7);
            let mut all = array.lock().or_else(LockError::recover).unwrap();
            all.fill(1);
            array.clear_poison();
            drop(all);
            assert_eq!(array.get(299).unwrap(), 1);
            assert_killed(process.join());
        }
    });
}

/// Who dies has no parent any more that would notice.
#[test]
fn who_only_tries_finds_out_about_the_dead() {
    type Doomed = (Array<u64>, bool, Connection<u8, u8>);
    fn orphan((array, whole, mut here): Doomed) {
        let _all = whole.then(|| array.lock().unwrap());
        let _part = (!whole).then(|| array.lock_range(3..4).unwrap());
        here.send(1).unwrap();
        here.recv().unwrap();
        die()
    }
    fn parent((doomed, mut told): (Doomed, Connection<Nothing, u8>)) {
        let _child = Process::builder().daemon(false).spawn(orphan, doomed).unwrap();
        told.recv().unwrap();
        die()
    }
    watched("who_only_tries", || {
        for whole in [true, false] {
            let array = Array::new(10, 0u64).unwrap();
            let (mut there, here) = Pipe::duplex::<u8, u8>().unwrap();
            let (mut tell, told) = Pipe::simplex::<u8>().unwrap();
            let doomed = (array.clone(), whole, here);
            let process = Process::spawn(parent, (doomed, told)).unwrap();
            there.recv().unwrap();
            tell.send(1).unwrap();
            assert_killed(process.join());
            assert!(array.is_locked());
            there.send(1).unwrap();
            until(|| !array.try_lock_range(2..).is_err_and(|error| error.is_held()));
            assert!(array.try_lock().unwrap_err().is_owner_dead());
        }
    });
}

#[test]
fn a_part_beside_the_dead_one_is_not_waited_for() {
    fn dies((array, here): (Array<u64>, Connection<u8, Nothing>)) {
        let _part = array.lock_range(..10).unwrap();
        wait_for_death(here)
    }
    watched("a_part_beside_the_dead_one", || {
        let array = Array::new(20, 0u64).unwrap();
        let (here, mut told) = Pipe::simplex::<u8>().unwrap();
        let process = Process::spawn(dies, (array.clone(), here)).unwrap();
        told.recv().unwrap();
        process.signal(libc::SIGSTOP).unwrap();
        // It is stopped, not dead, and keeps its part and nothing else.
        assert!(
            array.lock_range_timeout(..11, Duration::from_millis(250)).unwrap_err().is_timeout()
        );
        array.lock_range(10..).unwrap().fill(1);
        array.set(10, 2).unwrap();
        process.kill().unwrap();
        assert!(array.lock_range(..11).unwrap_err().is_owner_dead());
        assert_killed(process.join());
    });
}

#[test]
fn a_child_killed_in_an_update_of_an_element_leaves_the_old_one() {
    fn dies((array, here): (Array<[u64; 4]>, Connection<u8, Nothing>)) {
        array
            .update(2, |element| {
                element[0] = 1;
                wait_for_death(here)
            })
            .unwrap();
    }
    watched("a_child_killed_in_an_update_of_an_element", || {
        let array = Array::new(4, [9u64; 4]).unwrap();
        let (here, mut told) = Pipe::simplex::<u8>().unwrap();
        let process = Process::spawn(dies, (array.clone(), here)).unwrap();
        told.recv().unwrap();
        process.kill().unwrap();
        assert_eq!(array.get(2).unwrap(), [9; 4]);
        assert!(!array.is_poisoned());
        assert_killed(process.join());
    });
}

#[test]
fn a_panic_with_a_part_poisons() {
    watched("a_panic_with_a_part", || {
        let array = Array::new(10, 0u8).unwrap();
        let panicked = thread::scope(|scope| {
            let change = || {
                let mut part = array.lock_range(2..4).unwrap();
                part[0] = 1;
                panic!("with the part");
            };
            scope.spawn(change).join()
        });
        assert!(panicked.is_err() && array.is_poisoned() && !array.is_locked());
        let error = array.lock_range(8..).unwrap_err();
        assert!(matches!(error, LockError::Panicked { .. }), "{error}");
        drop(error);
        array.clear_poison();
        let panicked = thread::scope(|scope| {
            let change = || array.update(2, |_| panic!("in an update"));
            scope.spawn(change).join()
        });
        assert!(panicked.is_err());
        assert_eq!(array.to_vec().unwrap()[2], 1);
    });
}

#[test]
fn atomics_are_counted_by_all_without_a_lock() {
    fn counts(array: Array<AtomicU32>) {
        for round in 0..4000 {
            array[round % 4].fetch_add(1, Relaxed);
        }
    }
    watched("atomics_are_counted", || {
        let array = Array::atomics_from_slice(&[0u32, 0, 0, 5]).unwrap();
        let children = [(); 3].map(|()| Process::spawn(counts, array.clone()).unwrap());
        counts(array.clone());
        children.into_iter().for_each(|child| child.join().unwrap());
        let counted: Vec<u32> = array.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(counted, [4000, 4000, 4000, 4005]);
        assert_eq!(array.get(3).map(|count| count.load(Relaxed)), Some(4005));
        assert!(array.get(4).is_none());
    });
}

/// Eight GiB, of which three pages are used.
#[test]
fn a_sparse_array_is_as_large_as_it_likes() {
    fn reads(array: Array<u64>) -> (u64, u64) {
        (array.get(0).unwrap(), array.lock().unwrap()[array.len() - 1])
    }
    watched("a_sparse_array", || {
        let array = Array::<u64>::sparse(1 << 30).unwrap();
        array.set(array.len() - 1, 7).unwrap();
        array.lock_range(..1).unwrap()[0] = 8;
        assert_eq!(array.get(1 << 29).unwrap(), 0);
        assert_eq!(Process::spawn(reads, array).unwrap().join().unwrap(), (8, 7));
    });
}

#[test]
fn an_array_too_large_for_the_machine_is_not_made() {
    watched("an_array_too_large", || {
        let kind = |array: multiproc::Result<Array<u64>>| array.unwrap_err().kind();
        // 8 TiB, more than can be addressed, and more than can be said.
        assert_eq!(kind(Array::new(1 << 40, 1)), ErrorKind::Memory);
        assert_eq!(kind(Array::sparse(1 << 45)), ErrorKind::Limit);
        assert_eq!(kind(Array::sparse(usize::MAX)), ErrorKind::Limit);
        assert_eq!(kind(Array::new(usize::MAX / 8, 1)), ErrorKind::Limit);
    });
}

#[test]
fn an_array_arrives_as_what_it_is() {
    fn back(array: Array<u16>) -> Array<u16> {
        array
    }
    watched("an_array_arrives", || {
        for length in [0, 1, 1000, 10 << 20] {
            let array = Array::new(length, 7u16).unwrap();
            let same = Process::spawn(back, array.clone()).unwrap().join().unwrap();
            assert!(same == array && same.len() == length);
            assert!(same.to_vec().unwrap().iter().all(|element| *element == 7));
        }
        assert!(serde_json::to_string(&Array::new(1, 1u8).unwrap()).is_err());
    });
}

/// Whenever they are killed, the array and all its parts are free again, and who takes them next
/// hears of it if there is reason to.
#[test]
fn no_storm_leaves_a_part_behind() {
    fn moves(array: Array<u64>) {
        for round in 0.. {
            let from = round % 56;
            match round % 3 {
                0 => array.lock_range(from..from + 8).or_else(LockError::recover).unwrap()[3] += 1,
                1 => array.lock().or_else(LockError::recover).unwrap()[from] += 1,
                _ => drop(array.get(from)),
            }
        }
    }
    watched("no_storm_leaves_a_part_behind", || {
        let mut dice = seed();
        let array = Array::new(64, 0u64).unwrap();
        let sum = || array.lock().or_else(LockError::recover).unwrap().iter().sum::<u64>();
        for _ in 0..10 * storms() {
            let pair = [(); 2].map(|()| Process::spawn(moves, array.clone()).unwrap());
            let before = sum();
            until(|| sum() > before + 100);
            (0..next(&mut dice) % 4096).for_each(|_| std::hint::spin_loop());
            for process in pair {
                process.kill().unwrap();
                assert_killed(process.join());
            }
            let parts = [0..32, 32..64];
            let parts = parts.map(|part| array.lock_range(part).or_else(LockError::recover));
            assert!(parts.iter().all(Result::is_ok));
            drop(parts);
            assert!(!array.is_locked(), "{array:?}");
            array.clear_poison();
        }
    });
}
