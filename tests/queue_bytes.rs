//! P2: whatever bytes are in the memory of a queue, its verbs give an error or an answer. They do
//! not crash, do not hang, and do not panic, and neither does a drop.
//!
//! Everything is played in processes of its own, so that a crash is told with the script behind it.
#![allow(unsafe_code, reason = "it breaks memory")]

mod common;
#[path = "common/play.rs"]
mod play;
#[path = "common/queue_script.rs"]
mod queue_script;
#[path = "common/script.rs"]
mod script;

use std::time::{Duration, Instant};

use common::{next, seed, storms, watched};
use multiproc::{Codec, Plain, Process, Queue};
use play::{LONG, play_many};
use queue_script::{BROKEN, DATA_OF_ONE, Pair, pair};
use script::{Tape, Window};

fn play(script: Vec<u8>) {
    queue_script::play(&script);
}

#[test]
fn scripts_of_foreign_bytes_end_well() {
    watched("scripts_of_foreign_bytes_end_well", || {
        play_many(play, 400 * storms() as u32, 600);
    });
}

/// Flips bits in the tables, in the queues, and now and then elsewhere.
fn flip(windows: &[Window], mut state: u64, until: impl Fn() -> bool) {
    while !until() {
        let number = next(&mut state) as usize;
        let window = &windows[number % windows.len()];
        let data = if window.peek(40) >> 32 == 1 { DATA_OF_ONE } else { script::DATA };
        let at = match number / 8 % 8 {
            0 => script::PARTICIPANTS + number / 64 % 0x200,
            1 => data + number / 64 % 0x10000,
            _ => data + number / 64 % BROKEN,
        };
        let at = at & !7;
        window.poke(at, window.peek(at) ^ (1 << (next(&mut state) % 64)));
        for _ in 0..next(&mut state) % 4096 {
            std::hint::spin_loop();
        }
    }
}

/// Two threads talk for a moment while a third flips bits under them.
fn storm(seed: u64) {
    fn talk<T: Clone + Sync, C: Codec<T>>(
        mut sender: Queue<T, C>,
        mut receiver: Queue<T, C>,
        message: &T,
        until: Instant,
    ) {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while Instant::now() < until {
                    let _ = sender.send_timeout(message.clone(), Duration::from_micros(100));
                    let _ = sender.stats();
                }
            });
            while Instant::now() < until {
                let _ = receiver.recv_timeout(Duration::from_micros(100));
                let _ = receiver.task_done();
                if let Ok(held) = receiver.try_recv_guard() {
                    std::hint::black_box(held.bytes().to_vec());
                }
            }
        });
    }
    let kinds = seed.to_le_bytes();
    let tape = &mut Tape::new(&kinds);
    let framed: Pair<String, multiproc::Serde> = pair(tape);
    let plain: Pair<[u64; 4], Plain> = pair(tape);
    let words: Pair<u64, Plain> = pair(tape);
    let windows = Window::all();
    let until = Instant::now() + Duration::from_millis(10);
    std::thread::scope(|scope| {
        scope.spawn(|| flip(&windows, seed, || Instant::now() >= until));
        if let [Some(sender), Some(receiver)] = framed {
            scope.spawn(move || talk(sender, receiver, &"x".repeat(seed as usize % 2000), until));
        }
        if let [Some(sender), Some(receiver)] = plain {
            scope.spawn(move || talk(sender, receiver, &[1; 4], until));
        }
        if let [Some(sender), Some(receiver)] = words {
            scope.spawn(move || talk(sender, receiver, &7, until));
        }
    });
}

#[test]
fn bits_that_flip_under_busy_queues_harm_nobody() {
    watched("bits_that_flip", || {
        let mut state = seed();
        for _ in 0..100 * storms() {
            let seed = next(&mut state);
            let mut process = Process::spawn(storm, seed).unwrap();
            let end = process.join_timeout(LONG);
            assert!(matches!(end, Ok(Some(()))), "seed {seed}: {end:?}");
        }
    });
}
