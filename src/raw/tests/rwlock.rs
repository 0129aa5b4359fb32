//! The lock for readers or a writer with the machine's own atomics.

use super::*;
use crate::raw::wait::Fence;
use crate::shim::Futex;
use crate::sys::clock::Deadline;
use std::collections::BTreeSet;
use std::time::Duration;

const ME: Me = Me { participant: 0, thread: 1 };

fn write_in(
    lock: &RwLock,
    time: Duration,
    ask: impl FnMut(u32) -> Owner,
) -> Result<Legacy, Refusal> {
    let epoch = Futex::new(0);
    let deadline = Deadline::after(time);
    let terms = || Terms { epoch: &epoch, how: Fence::Full, deadline };
    lock.write(ME, || PARTICIPANTS_MAX, terms, ask)
}

#[test]
fn each_participant_has_a_count_and_neighbours_have_other_lines() {
    let lock = RwLock::new();
    let at = |id| std::ptr::from_ref(lock.readers.of(id).unwrap()) as usize;
    let counts: BTreeSet<usize> = (0..PARTICIPANTS_MAX).map(at).collect();
    assert_eq!(counts.len(), SEATS);
    let lines: BTreeSet<usize> = (0..32).map(|id| at(id) / 128).collect();
    assert_eq!(lines.len(), 32);
    assert!([SEATS as u32, u32::MAX].iter().all(|id| lock.readers.of(*id).is_none()));
}

#[test]
fn readers_of_all_participants_keep_a_writer_out() {
    for id in 0..PARTICIPANTS_MAX {
        let lock = RwLock::new();
        let reader = Me { participant: id, thread: 1 };
        lock.try_read(reader).unwrap();
        assert_eq!(lock.try_write(ME, || PARTICIPANTS_MAX), Err(Refusal::Held));
        lock.unlock_read(id);
        assert!(lock.try_write(ME, || PARTICIPANTS_MAX).is_ok());
        assert_eq!(lock.try_read(reader), Err(if id == 0 { Refusal::Own } else { Refusal::Held }));
    }
}

#[test]
fn a_reader_that_does_not_exist_is_found_out() {
    let lock = RwLock::new();
    for ghost in [700, 77] {
        lock.try_read(Me { participant: ghost, thread: 1 }).unwrap();
    }
    let mut asked = Vec::new();
    let ask = |reader| {
        asked.push(reader);
        Owner::Unknown
    };
    assert_eq!(write_in(&lock, Duration::from_secs(60), ask), Err(Refusal::Corrupt));
    assert_eq!(asked, [77, 700, 77, 700]);
    // It has not kept the place of the writer.
    assert!(lock.try_read(ME).is_ok());
}

#[test]
fn a_dead_reader_is_asked_about_and_recovered() {
    let lock = RwLock::new();
    lock.try_read(Me { participant: 9, thread: 1 }).unwrap();
    let ask = |reader| {
        lock.sweep(reader, 1, true);
        Owner::Known
    };
    assert!(write_in(&lock, Duration::from_secs(60), ask).unwrap().is_none());
}

#[test]
fn no_count_runs_over() {
    let lock = RwLock::new();
    let count = lock.readers.of(0).unwrap();
    count.store(READERS_MAX, Ordering::Relaxed);
    assert_eq!(lock.try_read(ME), Err(Refusal::TooMany));
    assert_eq!(lock.readers_of(0), READERS_MAX);
    count.store(0, Ordering::Relaxed);
    lock.unlock_read(ME.participant);
    assert_eq!(lock.readers_of(0), 0);
}

#[test]
fn whatever_the_words_are_there_is_an_answer() {
    for word in (0..32).map(|bit| 1 << bit).chain([0, u32::MAX]) {
        let lock = RwLock::new();
        lock.inside.store(word, Ordering::Relaxed);
        lock.readers.of(5).unwrap().store(word, Ordering::Relaxed);
        let got = write_in(&lock, Duration::ZERO, |_| Owner::Known);
        assert_eq!(got.is_ok(), word == 0);
        let _ = lock.try_read(ME);
        lock.unlock_read(ME.participant);
        lock.unlock_write(ME.participant, Leaving::Done);
        for id in [0, 5, SEATS as u32, u32::MAX] {
            lock.sweep(id, 1, true);
        }
        assert!(write_in(&lock, Duration::ZERO, |_| Owner::Known).is_ok());
    }
}
