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
fn long_messages_give_their_memory_back() {
    alone("long_messages_give_their_memory_back", |()| {
        let mut queue: Queue<Vec<u8>> = Queue::bounded(64).unwrap();
        let before = shared_bytes();
        for _ in 0..64 {
            queue.send(vec![7; MIB as usize]).unwrap();
        }
        let full = shared_bytes() - before;
        assert!((64 * MIB..65 * MIB).contains(&full), "{full} bytes");
        while queue.try_recv().is_ok() {}
        // The first 16 MiB stay, for the next ones.
        let drained = shared_bytes() - before;
        assert!(drained <= 17 * MIB, "{drained} bytes");
    });
}
