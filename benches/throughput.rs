//! How many messages cross in a second, and what moving a large one costs at least.
//!
//! rtrb runs between two threads of one process, which is easier than what this crate does: its
//! numbers are a yardstick, not a rival. ipc-channel runs between processes.

mod support;

use std::hint::black_box;
use std::time::Instant;

use ipc_channel::ipc;
use rtrb::chunks::ChunkError;
use support::memory::pause;
use support::peer::{with_process, with_thread};
use support::{Contender, Table, floor, pin, start};

/// Messages that fit into a ring.
const CAPACITY: usize = 1024;

/// Messages that are committed at once in the batched rows.
const BATCH: usize = 16;

fn main() {
    let rounds = start("throughput", 300);
    pin();
    Table::new("A stream of u64, each message")
        .over(floor())
        .row(rtrb_single())
        .row(rtrb_batched())
        .row(multiproc_single())
        .row(multiproc_batched())
        .run(rounds);
    Table::new("A stream of strings of 32 bytes, each message")
        .over(floor())
        .row(ipc_channel_strings())
        .row(multiproc_strings())
        .run(rounds);
    Table::new("1 MiB")
        .row(copies("memcpy, one copy", 1))
        .row(copies("memcpy, in and out again", 2))
        .row(multiproc_large())
        .run(rounds);
}

fn rtrb_single() -> Contender {
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
    let receive = move |iterations: u64| {
        for expected in 0..iterations {
            let message = loop {
                match consumer.pop() {
                    Ok(message) => break message,
                    Err(_) => pause(),
                }
            };
            assert_eq!(message, expected);
        }
    };
    let send = move |iterations: u64| {
        for message in 0..iterations {
            while producer.push(message).is_err() {
                pause();
            }
        }
    };
    Contender::new("rtrb, two threads", with_thread(receive, send))
}

fn rtrb_batched() -> Contender {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(CAPACITY);
    let receive = move |iterations: u64| {
        let mut expected = 0;
        while expected < iterations {
            let batch = BATCH.min((iterations - expected) as usize);
            let Ok(chunk) = consumer.read_chunk(batch) else {
                pause();
                continue;
            };
            for message in chunk {
                assert_eq!(message, expected);
                expected += 1;
            }
        }
    };
    let send = move |iterations: u64| {
        let mut sent = 0;
        while sent < iterations {
            let batch = BATCH.min((iterations - sent) as usize);
            match producer.write_chunk_uninit(batch) {
                Ok(chunk) => sent += chunk.fill_from_iter(sent..) as u64,
                Err(ChunkError::TooFewSlots(_)) => pause(),
            }
        }
    };
    Contender::new("rtrb, two threads, batches of 16", with_thread(receive, send))
}

fn ipc_channel_strings() -> Contender {
    let (sender, receiver) = ipc::channel::<String>().expect("an ipc-channel");
    let message = "x".repeat(32);
    let receive = move |iterations: u64| {
        for _ in 0..iterations {
            assert_eq!(receiver.recv().expect("a message").len(), 32);
        }
    };
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            sender.send(message.clone()).expect("a receiver");
        }
    };
    Contender::new("ipc-channel, two processes", with_process(receive, send))
}

/// `copies` copies of 1 MiB, each into memory of its own.
fn copies(name: &str, copies: usize) -> Contender {
    const SIZE: usize = 1 << 20;
    let mut buffers = vec![vec![1_u8; SIZE]; copies + 1];
    Contender::new(name, move |iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            for copy in 0..copies {
                let (from, to) = buffers.split_at_mut(copy + 1);
                to[0].copy_from_slice(black_box(&from[copy]));
            }
            black_box(&mut buffers);
        }
        start.elapsed()
    })
}

/// Row: `Pipe` of plain `u64`, one `send` and one `recv` a message.
fn multiproc_single() -> Option<Contender> {
    None
}

/// Row: `Pipe` of plain `u64`, 16 messages at once.
fn multiproc_batched() -> Option<Contender> {
    None
}

/// Row: `Pipe` of `String`, 32 bytes.
fn multiproc_strings() -> Option<Contender> {
    None
}

/// Row: `Pipe` of byte messages, 1 MiB, copied in and out.
fn multiproc_large() -> Option<Contender> {
    None
}
