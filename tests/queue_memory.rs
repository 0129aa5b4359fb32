//! What queues cost: memory for what is in them, and little else.

mod common;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use common::alone;
use multiproc::Queue;

const MIB: u64 = 1 << 20;

/// The bytes of shared memory that the segments of this process have, each counted once.
fn shared_bytes() -> u64 {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let Ok(link) = std::fs::read_link(entry.path()) else { continue };
        if link.to_string_lossy().contains("memfd:multiproc") {
            let Ok(file) = std::fs::metadata(entry.path()) else { continue };
            files.insert((file.dev(), file.ino()), file.blocks() * 512);
        }
    }
    files.values().sum()
}

#[test]
fn a_million_waiting_messages_take_little_more_than_their_size() {
    alone("a_million_waiting_messages_take_little_more_than_their_size", |()| {
        const MESSAGES: u64 = 1_000_000;
        let before = shared_bytes();
        let mut queue: Queue<String> = Queue::unbounded().unwrap();
        let message = "x".repeat(100);
        for _ in 0..MESSAGES {
            queue.send(message.clone()).unwrap();
        }
        let full = shared_bytes() - before;
        println!("a million messages of 100 bytes: {} MiB", full / MIB);
        assert!(full <= MESSAGES * 150, "{full} bytes");
        assert_eq!(queue.len(), MESSAGES as usize);
        for _ in 0..MESSAGES {
            assert_eq!(queue.recv().unwrap(), message);
        }
        assert!(queue.try_recv().unwrap_err().is_empty());
        let drained = shared_bytes() - before;
        println!("after they were received: {} MiB", drained / MIB);
        assert!(drained <= full / 5, "{drained} of {full} bytes");
        drop(queue);
        assert!(shared_bytes() <= before + MIB);
    });
}

#[test]
fn long_messages_give_their_memory_back_but_for_what_is_retained() {
    alone("long_messages_give_their_memory_back_but_for_what_is_retained", |()| {
        let default = Queue::builder();
        for (builder, stays) in [
            (default.clone(), 16),
            (default.clone().retained(0), 0),
            (default.clone().retained(40 * MIB as usize), 40),
            (default.retained(usize::MAX), 64),
        ] {
            let before = shared_bytes();
            let mut queue = builder.bounded::<()>(64).unwrap();
            let message = vec![7; MIB as usize];
            for _ in 0..64 {
                queue.send_bytes(&message).unwrap();
            }
            let full = shared_bytes() - before;
            assert!((64 * MIB..66 * MIB).contains(&full), "{full} bytes");
            while queue.try_recv_guard().is_ok() {}
            let drained = shared_bytes() - before;
            let expected = stays * MIB..(stays + 2) * MIB;
            assert!(expected.contains(&drained), "{drained} bytes where {stays} MiB were to stay");
        }
    });
}
