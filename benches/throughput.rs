//! How many messages cross in a second, and what moving a large one costs at least.
//!
//! rtrb runs between two threads of one process, which is easier than what this crate does: its
//! numbers are a yardstick, not a rival. ipc-channel runs between processes.

mod support;

use std::hint::black_box;
use std::time::Duration;

use ipc_channel::ipc;
use multiproc::{Connection, Nothing, Pipe, Plain};
use rtrb::chunks::ChunkError;
use support::memory::{SharedBytes, lines, pause};
use support::peer::{with_process, with_thread};
use support::{Contender, Table, copies, floor, pin, start};

/// Messages that fit into a ring.
const CAPACITY: usize = 1024;

/// Messages that are committed at once in the batched rows.
const BATCH: usize = 16;

/// The size of a large message.
const MIB: usize = 1 << 20;

fn main() {
    let rounds = start("throughput", 300);
    pin();
    Table::new("A stream of u64, each message")
        .over(floor())
        .row(rtrb_single())
        .row(rtrb_batched())
        .row(multiproc_single())
        .row(multiproc_batched())
        .row(multiproc_fenced())
        .run(rounds);
    Table::new("A stream of strings of 32 bytes, each message")
        .over(floor())
        .row(ipc_channel_strings())
        .row(multiproc_strings())
        .run(rounds);
    Table::new("1 MiB")
        .row(copies("memcpy, one copy", MIB, 1))
        .row(copies("memcpy, in and out again", MIB, 2))
        .row(copies_across())
        .row(multiproc_large())
        .row(multiproc_in_place())
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

/// One copy in here, one copy out on the other CPU: what any pipe must do that copies.
fn copies_across() -> Contender {
    let [full, empty] = lines();
    let shared = SharedBytes::new(MIB);
    let (mut sent, mut seen) = (0, 0);
    let receive = move |iterations: u64| {
        let mut buffer = vec![0; MIB];
        for _ in 0..iterations {
            seen += 1;
            full.wait_for(seen);
            shared.read(black_box(&mut buffer));
            empty.set(seen);
        }
    };
    let message = vec![1; MIB];
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            shared.write(black_box(&message));
            sent += 1;
            full.set(sent);
            empty.wait_for(sent);
        }
    };
    Contender::new("memcpy in here, out on the other CPU", with_process(receive, send))
}

/// Row: `Pipe` of plain `u64`, one `send` and one `recv` a message.
fn multiproc_single() -> Contender {
    let (out, inn) = plain_pipe(false);
    Contender::new("multiproc, two processes", single(out, inn))
}

/// Row: the same without `membarrier`: every message pays a fence.
fn multiproc_fenced() -> Contender {
    let (out, inn) = plain_pipe(true);
    Contender::new("multiproc, two processes, fenced mode", single(out, inn))
}

fn single(mut out: PlainOut, mut inn: PlainIn) -> impl FnMut(u64) -> Duration + 'static {
    let receive = move |iterations: u64| {
        for expected in 0..iterations {
            assert_eq!(inn.recv().expect("a message"), expected);
        }
    };
    let send = move |iterations: u64| {
        for message in 0..iterations {
            out.send(message).expect("a receiver");
        }
    };
    with_process(receive, send)
}

/// Row: `Pipe` of plain `u64`, 16 messages at once.
fn multiproc_batched() -> Contender {
    let (mut out, mut inn) = plain_pipe(false);
    let receive = move |iterations: u64| {
        let mut batch = Vec::with_capacity(BATCH);
        let mut expected = 0;
        while expected < iterations {
            batch.clear();
            inn.recv_batch(&mut batch, BATCH).expect("messages");
            for message in &batch {
                assert_eq!(*message, expected);
                expected += 1;
            }
        }
    };
    let send = move |iterations: u64| {
        let mut batch = Vec::with_capacity(BATCH);
        let mut sent = 0;
        while sent < iterations {
            let next = iterations.min(sent + BATCH as u64);
            batch.extend(sent..next);
            out.send_batch(&mut batch).expect("a receiver");
            sent = next;
        }
    };
    Contender::new("multiproc, two processes, batches of 16", with_process(receive, send))
}

/// Row: `Pipe` of `String`, 32 bytes.
fn multiproc_strings() -> Contender {
    let (mut out, mut inn) = Pipe::simplex::<String>().expect("a pipe");
    let message = "x".repeat(32);
    let receive = move |iterations: u64| {
        for _ in 0..iterations {
            assert_eq!(inn.recv().expect("a message").len(), 32);
        }
    };
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            out.send(message.clone()).expect("a receiver");
        }
    };
    Contender::new("multiproc, two processes", with_process(receive, send))
}

/// Row: `Pipe` of byte messages, 1 MiB, copied in and out through a pipe of 64 KiB.
fn multiproc_large() -> Contender {
    let (mut out, mut inn) = Pipe::duplex::<(), ()>().expect("a pipe");
    let receive = move |iterations: u64| {
        let mut buffer = vec![0; MIB];
        for _ in 0..iterations {
            assert_eq!(inn.recv_bytes_into(&mut buffer).expect("a message"), MIB);
        }
    };
    let message = vec![1; MIB];
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            out.send_bytes(&message).expect("a receiver");
        }
    };
    Contender::new("multiproc, copied in and out", with_process(receive, send))
}

/// Row: the same, written into the pipe in place and looked at there: one copy.
fn multiproc_in_place() -> Contender {
    let (mut out, mut inn) = Pipe::builder().capacity(4 * MIB).duplex::<(), ()>().expect("a pipe");
    let receive = move |iterations: u64| {
        for _ in 0..iterations {
            let message = inn.peek().expect("a message");
            assert_eq!(black_box(&*message).len(), MIB);
            message.consume().expect("a pipe in order");
        }
    };
    let source = vec![1; MIB];
    let send = move |iterations: u64| {
        for _ in 0..iterations {
            let mut message = out.reserve(MIB).expect("a receiver");
            message.copy_from_slice(black_box(&source));
            message.commit(MIB).expect("a receiver");
        }
    };
    Contender::new("multiproc, built in place", with_process(receive, send))
}

type PlainOut = Connection<u64, Nothing, Plain>;
type PlainIn = Connection<Nothing, u64, Plain>;

fn plain_pipe(is_fenced: bool) -> (PlainOut, PlainIn) {
    Pipe::builder().plain().slots(CAPACITY).fenced(is_fenced).simplex().expect("a pipe")
}
