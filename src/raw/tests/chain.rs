//! The chain without a model: with stops and deaths everywhere, and with real threads.

#[path = "chain_sim.rs"]
mod chain_sim;
#[path = "estate.rs"]
mod estate;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::raw::wait::testing::Watchdog;
use estate::{Actor, Estate, Sight};

#[test]
fn who_stops_or_dies_anywhere_disturbs_nobody() {
    let runs = std::env::var("MULTIPROC_RUNS").map_or(3000, |runs| runs.parse().unwrap());
    let first = std::env::var("MULTIPROC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + runs {
        let run = std::panic::catch_unwind(|| chain_sim::run(seed));
        assert!(run.is_ok(), "MULTIPROC_SEED={seed}");
    }
}

const SENDERS: u32 = 2;
const MESSAGES_EACH: u64 = 20_000;
const RINGS: u32 = 16;

/// What each of them received.
fn crowd(estate: &estate::Arc<Estate>) -> Vec<Vec<u64>> {
    let taken = AtomicU64::new(0);
    let taken = &taken;
    thread::scope(|scope| {
        for me in 0..SENDERS {
            scope.spawn(move || {
                let mut sender = Actor::new(estate, me);
                let first = u64::from(me) * MESSAGES_EACH;
                for message in first..first + MESSAGES_EACH {
                    while !sender.send(message) {
                        thread::yield_now();
                    }
                }
            });
        }
        let receivers = [SENDERS, SENDERS + 1].map(|me| {
            scope.spawn(move || {
                let (mut receiver, mut mine) = (Actor::new(estate, me), Vec::new());
                while taken.load(Relaxed) < u64::from(SENDERS) * MESSAGES_EACH {
                    match receiver.receive() {
                        Some(message) => {
                            mine.push(message);
                            taken.fetch_add(1, Relaxed);
                        }
                        None => thread::yield_now(),
                    }
                }
                mine
            })
        });
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    })
}

#[test]
fn two_send_and_two_receive() {
    let _dog = Watchdog::new("two_send_and_two_receive");
    let estate = Estate::new(Sight::Full, 4, SENDERS + 2, RINGS, RINGS as usize);
    let taken = crowd(&estate);
    for mine in &taken {
        for sender in 0..u64::from(SENDERS) {
            let of_one = mine.iter().filter(|&&message| message / MESSAGES_EACH == sender);
            assert!(of_one.is_sorted(), "out of order");
        }
    }
    let mut all: Vec<u64> = taken.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..u64::from(SENDERS) * MESSAGES_EACH), "messages are gone");
    assert_eq!(Actor::new(&estate, 0).receive(), None);
    estate.is_sound();
    assert_eq!(estate.in_use(), 1);
    assert!(estate.furnished_ever() > 2 * RINGS as usize, "rings were not used again");
}

#[test]
fn a_chain_has_room_as_long_as_there_is_memory() {
    let estate = Estate::new(Sight::Full, 2, 2, 4, 2);
    let mut actor = Actor::new(&estate, 0);
    for _ in 0..3 {
        // Two rings of two.
        assert!((0..4).all(|message| actor.send(message)));
        assert!(!actor.send(4) && !actor.send(4));
        assert_eq!((actor.len(), estate.furnished(), estate.in_use()), (4, 2, 2));
        // The third message is the first one of its ring: the one before that is given back.
        assert!((0..3).all(|message| actor.receive() == Some(message)));
        assert_eq!((estate.furnished(), estate.in_use()), (1, 1));
        assert!(actor.send(4));
        assert_eq!(actor.drain(), [3, 4]);
    }
    assert_eq!(actor.totals(), (15, 15));
}

#[test]
fn a_chain_that_does_not_grow_is_a_ring() {
    let estate = Estate::new(Sight::Full, 3, 2, 4, 4);
    let mut actor = Actor::bounded(&estate, 0);
    for _ in 0..3 {
        assert!((0..3).all(|message| actor.send(message)));
        assert!(!actor.send(3));
        assert_eq!(actor.receive(), Some(0));
        assert!(actor.send(3));
        assert_eq!(actor.drain(), [1, 2, 3]);
        assert_eq!((estate.furnished(), estate.in_use()), (1, 1));
    }
    assert_eq!((actor.len(), actor.totals()), (0, (12, 12)));
}
