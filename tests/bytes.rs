//! P2: whatever bytes are in a segment, the verbs of a pipe give an error or an answer. They do not
//! crash, do not hang, and do not panic, and neither does a drop.
//!
//! Everything is played in processes of its own, so that a crash is told with the script behind it.

mod common;
#[path = "common/play.rs"]
mod play;
#[path = "common/script.rs"]
mod script;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{alone, watched};
use multiproc::{Connection, ErrorKind, Nothing, Pipe, Plain, Process, RecvError};
use play::{LONG, play_many};
use script::{BLOCK_SIZE, BLOCKS, DATA, PARTICIPANTS, Window};

const SOON: Duration = Duration::from_millis(5);
const MARK: u64 = 1 << 63;
const BEGIN: u64 = 2 << 32;

/// Where the words of the first lane of a fresh segment are, if it is a small one.
const SLOT: usize = DATA;
const CAPACITY: usize = DATA + 8;
const WRITER: usize = DATA + 128;
const READER: usize = DATA + 256;
const RING: usize = DATA + 384;

fn kind(error: &RecvError) -> Option<ErrorKind> {
    error.error().map(multiproc::Error::kind)
}

fn play(bytes: Vec<u8>) {
    script::play(&bytes);
}

#[test]
fn scripts_of_foreign_bytes_end_well() {
    watched("scripts_of_foreign_bytes_end_well", || {
        play_many(play, 400, 600);
    });
}

/// Numbers from a seed, the same every time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 24
}

/// Flips bits in the tables, in what comes before the rings, and at last in all of it.
fn flip(window: &Window, seed: u64, until: impl Fn() -> bool) {
    let mut state = seed;
    while !until() {
        let number = next(&mut state) as usize;
        let at = match (seed % 4, number % 4) {
            (0, _) => DATA + number % 0x1800,
            (1, 0) => number % 192,
            (1, 1) => PARTICIPANTS + number % 256,
            (1, _) => BLOCKS + number % (8 * BLOCK_SIZE),
            (2, _) => DATA + (number % 12) * 128 + (number >> 12) % 24,
            _ => number % window.len(),
        };
        let at = at & !7;
        window.poke(at, window.peek(at) ^ (1 << (next(&mut state) % 64)));
        for _ in 0..next(&mut state) % 4096 {
            std::hint::spin_loop();
        }
    }
}

fn storm_sends(mut out: Connection<Vec<u8>, Nothing>, until: Instant) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let _ = out.send_timeout(vec![7; number % 700], Duration::from_micros(100));
        let _ = out.try_send_bytes(&[1; 9]);
    }
}

fn storm_receives(mut inn: Connection<Nothing, Vec<u8>>, until: Instant) {
    while Instant::now() < until {
        let _ = inn.recv_timeout(Duration::from_micros(100));
        if let Ok(message) = inn.try_peek() {
            assert_eq!(message.to_vec().len(), message.len());
            let _ = message.consume();
        }
        if let Ok(bytes) = inn.try_recv_bytes() {
            std::hint::black_box(bytes);
        }
    }
}

fn storm_plain(
    mut out: Connection<u64, Nothing, Plain>,
    mut inn: Connection<Nothing, u64, Plain>,
    until: Instant,
) {
    thread::scope(|scope| {
        scope.spawn(move || {
            while Instant::now() < until {
                let _ = out.send_timeout(7, Duration::from_micros(100));
            }
        });
        while Instant::now() < until {
            let _ = inn.recv_timeout(Duration::from_micros(100));
        }
    });
}

/// Two threads talk for a moment while a third flips bits under them.
fn storm((seed, time): (u64, Duration)) {
    let (out, inn) = Pipe::builder().capacity(512).simplex().unwrap();
    let (plain_out, plain_inn) = Pipe::builder().plain().slots(4).simplex().unwrap();
    let window = Window::only();
    let until = Instant::now() + time;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| flip(&window, seed, || is_over.load(Ordering::Relaxed)));
        if seed % 3 == 0 {
            storm_plain(plain_out, plain_inn, until);
        } else {
            scope.spawn(move || storm_sends(out, until));
            storm_receives(inn, until);
        }
        // The ends are dropped in the storm as well.
        is_over.store(true, Ordering::Relaxed);
    });
}

/// As `storm`, with the receiver in a process of its own.
fn storm_of_two((seed, time): (u64, Duration)) {
    fn reader((inn, time): (Connection<Nothing, Vec<u8>>, Duration)) {
        storm_receives(inn, Instant::now() + time);
    }
    let (out, inn) = Pipe::builder().capacity(512).simplex().unwrap();
    let window = Window::only();
    let mut process = Process::spawn(reader, (inn, time)).unwrap();
    let until = Instant::now() + time;
    let is_over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| flip(&window, seed, || is_over.load(Ordering::Relaxed)));
        storm_sends(out, until);
        is_over.store(true, Ordering::Relaxed);
        process.join_timeout(LONG)
    });
    // A storm that came before the arguments had arrived keeps the function from being called.
    let ended = ended.map_err(|error| error.to_string());
    let is_corrupt = ended.as_ref().is_err_and(|error| !error.contains("signal"));
    assert!(matches!(ended, Ok(Some(()))) || is_corrupt, "{ended:?}");
}

fn storms(name: &'static str, scene: fn((u64, Duration)), rounds: u64, time: Duration) {
    watched(name, || {
        // Another seed each time, which is printed if it is of interest.
        let first = u64::from(std::process::id()) << 20;
        for seed in first..first + rounds {
            let mut process = Process::spawn(scene, (seed, time)).unwrap();
            let ended = process.join_timeout(LONG).map_err(|error| error.to_string());
            if !matches!(ended, Ok(Some(()))) {
                let _ = process.kill();
                panic!("{name}, seed {seed}: {ended:?}");
            }
        }
    });
}

#[test]
fn flipped_bits_under_two_threads_are_survived() {
    storms("flipped_bits_under_two_threads", storm, 60, Duration::from_millis(30));
}

#[test]
fn flipped_bits_under_two_processes_are_survived() {
    storms("flipped_bits_under_two_processes", storm_of_two, 20, Duration::from_millis(40));
}

#[test]
fn a_live_pipe_does_not_look_at_its_tables() {
    alone("a_live_pipe_does_not_look_at_its_tables", |()| {
        let (mut here, mut there) = Pipe::duplex::<String, String>().unwrap();
        let window = Window::only();
        for value in [0, u64::MAX, MARK | 8, 2, 3 | (1 << 16)] {
            window.fill(0, 16, value);
            window.fill(PARTICIPANTS, 8 * 1024, value);
            window.fill(BLOCKS, 24 * 1024, value);
            here.send("x".repeat(100)).unwrap();
            assert_eq!(there.recv().unwrap().len(), 100);
            // Whatever becomes of it, nothing is taken twice.
            let other = Pipe::duplex::<String, String>();
            if let Ok((mut left, mut right)) = other {
                left.send("other".to_owned()).unwrap();
                assert!(there.try_recv().unwrap_err().is_empty());
                assert_eq!(right.recv().unwrap(), "other");
            }
        }
    });
}

#[test]
fn a_pipe_in_a_segment_with_a_broken_header_does_not_arrive() {
    fn never(_: Connection<Nothing, u8>) {
        unreachable!("the pipe has arrived");
    }
    for at in [0, 8, 16, 24, 32, 40] {
        fn scene(at: usize) {
            let (_here, there) = Pipe::simplex::<u8>().unwrap();
            let window = Window::only();
            window.poke(at, window.peek(at) ^ (1 << 20));
            let error = Process::spawn(never, there).unwrap().join().unwrap_err();
            assert!(!error.is_panic() && error.signal().is_none(), "{error}");
        }
        watched("a_broken_header", || Process::spawn(scene, at).unwrap().join().unwrap());
    }
}

#[test]
fn scribbled_participants_let_nobody_in_and_harm_nobody() {
    alone("scribbled_participants", |()| {
        let (mut cart, _quay) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        Window::only().fill(PARTICIPANTS, 8 * 1024, u64::MAX);
        let unsent = cart.try_send(out).unwrap_err();
        assert_eq!(unsent.error().unwrap().kind(), ErrorKind::Limit);
        unsent.into_inner().try_send(7).unwrap();
        assert_eq!(inn.recv().unwrap(), 7);
    });
}

#[test]
fn the_geometry_of_a_live_pipe_is_its_own() {
    alone("the_geometry_of_a_live_pipe_is_its_own", |()| {
        let (mut here, mut there) = Pipe::builder().capacity(512).simplex::<Vec<u8>>().unwrap();
        let window = Window::only();
        for value in [0, 1, 7, u64::MAX] {
            window.fill(SLOT, 3, value);
            let writer = thread::scope(|scope| {
                let writer = scope.spawn(|| here.send(vec![5; 5000]));
                assert_eq!(there.recv().unwrap(), vec![5; 5000]);
                writer.join().unwrap()
            });
            writer.unwrap();
        }
    });
}

#[test]
fn the_geometry_of_a_pipe_that_arrives_is_checked() {
    alone("the_geometry_of_a_pipe_that_arrives_is_checked", |()| {
        let mut inns = Vec::new();
        for (at, value) in [(SLOT, 9), (CAPACITY, 0), (CAPACITY, 100), (CAPACITY, 1 << 40)] {
            let (out, inn) = Pipe::builder().capacity(256).simplex::<u8>().unwrap();
            let (mut cart, mut quay) = Pipe::simplex::<Connection<u8, Nothing>>().unwrap();
            let window = Window::only();
            // The one of this capacity that nobody has broken yet.
            let is_it = |lane: &usize| window.peek(*lane) == 0 && window.peek(lane + 8) == 256;
            let lane = (DATA..window.len()).step_by(128).find(is_it).unwrap();
            cart.send(out).unwrap();
            window.poke(lane + at - DATA, value);
            let error = quay.try_recv().unwrap_err();
            assert_eq!(kind(&error), Some(ErrorKind::Corrupt), "{error}");
            inns.push(inn);
        }
        // What could not be taken was closed.
        for inn in &mut inns {
            assert!(inn.recv().unwrap_err().is_disconnected());
        }
    });
}

#[test]
fn cursors_out_of_range_are_corrupt() {
    alone("cursors_out_of_range_are_corrupt", |()| {
        let (mut out, mut inn) = Pipe::builder().plain().slots(2).simplex::<u64>().unwrap();
        let window = Window::only();
        let corrupt = Some(ErrorKind::Corrupt);
        out.send(1).unwrap();
        out.send(2).unwrap();
        for cursor in [3, 1 << 40, u64::MAX] {
            window.poke(RING, cursor);
            window.poke(RING + 128, cursor);
            assert_eq!(kind(&inn.try_recv().unwrap_err()), corrupt);
            assert_eq!(kind(&inn.poll(SOON).unwrap_err()), corrupt);
            let unsent = out.try_send(3).unwrap_err();
            assert_eq!(unsent.error().map(multiproc::Error::kind), corrupt);
        }
    });
    alone("headers_out_of_range_are_corrupt", |()| {
        let (_out, mut inn) = Pipe::builder().capacity(256).simplex::<Vec<u8>>().unwrap();
        let window = Window::only();
        for header in [1, MARK | (1 << 62), MARK | 0xffff_ffff, MARK | 200, u64::MAX] {
            window.poke(RING + 128, header);
            assert_eq!(kind(&inn.try_recv().unwrap_err()), Some(ErrorKind::Corrupt));
            assert_eq!(kind(&inn.try_peek().unwrap_err()), Some(ErrorKind::Corrupt));
        }
    });
}

/// A reader followed such a ring round and round, without end, in a call that does not wait.
#[test]
fn a_ring_full_of_beginnings_ends() {
    alone("a_ring_full_of_beginnings_ends", |()| beginnings_end(16));
    // With some bytes of the message in each, none of them is wrong by itself.
    alone("a_ring_full_of_beginnings_ends", |()| beginnings_end(32));
}

/// Fills a ring with first frames of messages, in records of this many bytes.
fn beginnings_end(size: usize) {
    let (_out, mut inn) = Pipe::builder().capacity(256).simplex::<Vec<u8>>().unwrap();
    let window = Window::only();
    for record in (RING + 128..RING + 384).step_by(size) {
        window.poke(record, MARK | BEGIN | (size as u64 - 8));
        window.poke(record + 8, 100);
    }
    let _ = inn.try_recv().unwrap_err();
    let _ = inn.recv_timeout(SOON).unwrap_err();
    // Not even a call with all the time of the world is kept busy by bytes that nobody sends.
    while kind(&inn.recv().unwrap_err()) != Some(ErrorKind::Corrupt) {}
}

#[test]
fn a_length_that_no_machine_has_is_an_error() {
    alone("a_length_that_no_machine_has_is_an_error", |()| {
        let (_out, mut inn) = Pipe::builder().capacity(256).simplex::<Vec<u8>>().unwrap();
        let window = Window::only();
        window.poke(RING + 128 + 8, 1 << 60);
        window.poke(RING + 128, MARK | BEGIN | 16);
        assert_eq!(kind(&inn.try_recv().unwrap_err()), Some(ErrorKind::Memory));
        assert!(inn.try_recv().unwrap_err().is_empty());
    });
}

#[test]
fn a_message_that_claims_handles_without_any_is_corrupt() {
    alone("a_message_that_claims_handles_without_any_is_corrupt", |()| {
        let (_out, mut inn) = Pipe::builder().capacity(256).simplex::<Vec<u8>>().unwrap();
        let window = Window::only();
        // It waited some seconds for a letter that nobody had sent: so many are a minute.
        for place in (0..256).step_by(32).cycle().take(20) {
            window.poke(RING + 128 + place, MARK | (1 << 32) | 24);
            assert_eq!(kind(&inn.try_recv().unwrap_err()), Some(ErrorKind::Corrupt));
        }
    });
}

#[test]
fn scribbled_owners_neither_hang_nor_panic() {
    for value in [0, 2, 1000, u32::MAX - 1, u32::MAX] {
        fn scene(value: u32) {
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            let window = Window::only();
            for side in [WRITER, READER] {
                window.poke_half(side + 4, value);
            }
            assert!(inn.recv_timeout(SOON).is_err());
            drop(out);
            assert!(inn.recv_timeout(SOON).is_err());
        }
        watched("scribbled_owners", || Process::spawn(scene, value).unwrap().join().unwrap());
    }
}

#[test]
fn a_changing_death_epoch_disturbs_nobody() {
    alone("a_changing_death_epoch_disturbs_nobody", |()| {
        let (mut out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let window = Window::only();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut epoch = u32::MAX - 5;
                while !is_over.load(Ordering::Relaxed) {
                    epoch = epoch.wrapping_add(1);
                    window.poke_half(128, epoch);
                }
            });
            assert!(inn.recv_timeout(4 * SOON).unwrap_err().is_timeout());
            out.send(7).unwrap();
            assert_eq!(inn.recv().unwrap(), 7);
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn raised_flags_are_the_end() {
    alone("raised_flags_are_the_end", |()| {
        let (mut out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let window = Window::only();
        for side in [WRITER, READER] {
            window.poke_half(side, u32::MAX);
        }
        assert!(out.send(1).unwrap_err().is_disconnected());
        assert!(inn.recv().unwrap_err().is_disconnected());
    });
}

/// Nobody was there any more to say that he closes, so the reader waited for ever.
#[test]
fn a_hole_in_place_of_a_pipe_is_its_end() {
    alone("a_hole_in_place_of_a_pipe_is_its_end", |()| {
        let (mut here, mut there) = Pipe::duplex::<u8, u8>().unwrap();
        let (mut out, mut inn) = Pipe::builder().plain().slots(4).simplex::<u64>().unwrap();
        let window = Window::only();
        out.send(1).unwrap();
        here.send(1).unwrap();
        window.punch_all();
        assert!(there.recv().unwrap_err().is_disconnected());
        assert!(inn.recv().is_err());
        let _ = here.send(1);
        let _ = out.send(1);
        drop(here);
        drop(out);
        assert!(there.recv().unwrap_err().is_disconnected());
        // And what is made from now on is made elsewhere, or not at all.
        let _ = Pipe::duplex::<u8, u8>().map(|(mut here, _there)| here.send(1).unwrap());
    });
}
