//! P2: whatever bytes are in the memory of locks, their kin, values and arrays, their verbs give an
//! error or an answer in time, in this process and in others. They do not crash and do not panic,
//! and neither does a drop.
//!
//! Everything is played in processes of its own, so that a crash is told with the script behind it.
#![allow(unsafe_code, reason = "it breaks memory")]

mod common;
#[path = "common/play.rs"]
mod play;
#[path = "common/script.rs"]
mod script;
#[path = "common/sync_script.rs"]
mod sync_script;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{next, seed, storms, watched};
use multiproc::{Connection, Pipe, Process, Queue};
use play::{LONG, play_many};
use sync_script::{Places, Things};

const SOON: Duration = Duration::from_micros(100);

fn play(script: Vec<u8>) {
    sync_script::play(&script);
}

#[test]
fn scripts_of_foreign_bytes_end_well() {
    watched("scripts_of_foreign_bytes_end_well", || {
        play_many(play, 300 * storms() as u32, 400);
    });
}

/// What both processes of a storm have: one object of every kind.
type All = (Things, Queue<String>, Connection<String, String>);

/// Uses everything until the time is over.
fn act(things: &Things, queue: &mut Queue<String>, end: &mut Connection<String, String>, me: u64) {
    let mut state = me;
    for round in 0..4 {
        let number = next(&mut state);
        things.act(number, &mut || {});
        let text = || "x".repeat(number as usize % 300);
        if round % 2 == 0 {
            let _ = queue.send_timeout(text(), SOON);
            let _ = end.send_timeout(text(), SOON);
        } else {
            let _ = queue.recv_timeout(SOON);
            let _ = end.recv_timeout(SOON);
        }
    }
}

fn partner(((things, mut queue, mut end), time, seed): (All, Duration, u64)) {
    let until = Instant::now() + time;
    let mut state = seed;
    while Instant::now() < until {
        act(&things, &mut queue, &mut end, next(&mut state));
    }
}

/// Flips bits of the tables and of every object.
fn flip(places: &Places, mut state: u64, until: impl Fn() -> bool) {
    while !until() {
        let at = places.word(next(&mut state), next(&mut state) as usize);
        let window = places.window();
        window.poke(at, window.peek(at) ^ 1 << (next(&mut state) % 64));
        (0..next(&mut state) % 4096).for_each(|_| std::hint::spin_loop());
    }
}

/// Two processes use one object of every kind while a thread of one of them flips bits of all.
fn storm((seed, time): (u64, Duration)) {
    let things = Things::new().unwrap();
    let mut queue = Queue::builder().handles(8).memory(1 << 20).bounded(4).unwrap();
    let (mut here, there) = Pipe::builder().capacity(1024).duplex::<String, String>().unwrap();
    let places = Places::new();
    let all = (things.clone(), queue.clone(), there);
    let mut process = Process::spawn(partner, (all, time, !seed)).unwrap();
    let is_over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| flip(&places, seed, || is_over.load(Ordering::Relaxed)));
        let until = Instant::now() + time;
        let mut state = seed;
        while Instant::now() < until {
            act(&things, &mut queue, &mut here, next(&mut state));
        }
        is_over.store(true, Ordering::Relaxed);
        process.join_timeout(LONG)
    });
    // A flip that came before the arguments had arrived keeps the function from being called.
    let ended = ended.map_err(|error| error.to_string());
    let is_corrupt = ended.as_ref().is_err_and(|error| {
        ["signal", "panicked", "killed"].iter().all(|word| !error.contains(word))
    });
    assert!(matches!(ended, Ok(Some(()))) || is_corrupt, "{ended:?}");
}

#[test]
fn bits_that_flip_under_two_processes_harm_neither() {
    watched("bits_that_flip_under_two_processes", || {
        let mut state = seed();
        for _ in 0..40 * storms() {
            let seed = next(&mut state);
            let mut process = Process::spawn(storm, (seed, Duration::from_millis(40))).unwrap();
            let end = process.join_timeout(LONG);
            assert!(matches!(end, Ok(Some(()))), "seed {seed}: {end:?}");
        }
    });
}
