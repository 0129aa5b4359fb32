//! The semaphore with the machine's own atomics.

use super::*;
use std::collections::HashSet;

const ME: u32 = 5;

fn holders(semaphore: &Semaphore) -> Vec<(u32, u32)> {
    semaphore.holders().collect()
}

#[test]
fn permits_are_counted_and_have_owners() {
    let semaphore = Semaphore::new(2, 0);
    assert!((0..3).map(|me| semaphore.try_acquire(me, Manner::Owned)).eq([true, true, false]));
    assert_eq!(holders(&semaphore), [(0, 1), (1, 1)]);
    assert_eq!(semaphore.release(2, Manner::Bounded), Err(Refusal::NotHeld));
    assert_eq!(semaphore.release(2, Manner::Owned), Ok(()));
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.try_acquire(1, Manner::Owned));
    assert_eq!(holders(&semaphore), [(0, 1), (1, 2)]);
    semaphore.sweep(1, true);
    assert_eq!((semaphore.available(), holders(&semaphore)), (2, vec![(0, 1)]));
}

#[test]
fn permits_without_owners_stay_where_they_are() {
    let semaphore = Semaphore::new(1, 0);
    assert!(semaphore.try_acquire(0, Manner::Unowned));
    semaphore.sweep(0, true);
    assert_eq!((semaphore.available(), holders(&semaphore)), (0, vec![]));
    assert_eq!(semaphore.release(1, Manner::Unowned), Ok(()));
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn there_are_no_more_permits_than_fit() {
    let semaphore = Semaphore::new(PERMITS_MAX, 0);
    for manner in [Manner::Owned, Manner::Unowned] {
        assert_eq!(semaphore.release(ME, manner), Err(Refusal::Full));
    }
    assert_eq!(semaphore.available(), PERMITS_MAX);
}

/// As if others had made that many steps since the last one of this participant.
#[test]
fn a_step_after_a_long_rest_is_booked() {
    for rest in [0, 1, 1 << 26, 1 << 27, (1 << 27) + 1, SEQUENCE - 1, SEQUENCE] {
        let semaphore = Semaphore::new(1, 0);
        assert!(semaphore.try_acquire(ME, Manner::Bounded));
        semaphore.release(ME, Manner::Bounded).unwrap();
        let seen = semaphore.settle();
        let later = (seen & !(STEP | SEQUENCE)) | ((seen + rest) & SEQUENCE);
        semaphore.desk.word.store(later, Ordering::Relaxed);
        assert!(semaphore.try_acquire(ME, Manner::Bounded));
        assert_eq!(holders(&semaphore), [(ME, 1)], "after {rest} steps of others");
        semaphore.release(ME, Manner::Bounded).unwrap();
        assert_eq!((semaphore.available(), holders(&semaphore)), (1, vec![]));
    }
}

#[test]
fn any_bytes_are_a_semaphore() {
    let bits = (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX, u64::MAX << PERMITS_AT]);
    let bits: Vec<u64> = bits.collect();
    for (word, book) in bits.iter().flat_map(|word| bits.iter().map(move |book| (word, book))) {
        let semaphore = Semaphore::new(0, 0);
        semaphore.desk.word.store(*word, Ordering::Relaxed);
        for place in &semaphore.books {
            place.store(*book, Ordering::Relaxed);
        }
        for manner in [Manner::Owned, Manner::Bounded, Manner::Unowned] {
            let _ = semaphore.try_acquire(ME, manner);
            let _ = semaphore.release(ME, manner);
        }
        semaphore.sweep(u32::MAX, false);
        semaphore.sweep(ME, true);
        assert!(holders(&semaphore).iter().all(|(participant, _)| *participant != ME));
        assert!(semaphore.available() <= PERMITS_MAX);
    }
}

#[test]
fn each_has_a_book_away_from_its_neighbours() {
    let semaphore = Semaphore::new(0, 0);
    let at = |participant| std::ptr::from_ref(semaphore.book_of(participant)).addr();
    let places: HashSet<usize> = (0..PARTICIPANTS_MAX).map(at).collect();
    assert_eq!(places.len(), PARTICIPANTS_MAX as usize);
    assert!((1..PARTICIPANTS_MAX).all(|next| at(next - 1).abs_diff(at(next)) >= 128));
}

#[test]
fn a_plan_is_read_as_it_was_written() {
    for manner in [Manner::Owned, Manner::Bounded, Manner::Unowned] {
        let (semaphore, plan) = (Semaphore::new(0, 0), Plan { manner, permits: 7 });
        semaphore.prepare(plan);
        assert_eq!((semaphore.plan(), semaphore.available()), (Ok(plan), 7));
    }
    let semaphore = Semaphore::new(0, 0);
    semaphore.desk.plan.store(3, Ordering::Relaxed);
    assert_eq!(semaphore.plan(), Err(Corrupt));
}
