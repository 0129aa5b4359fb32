//! P2 for what has a name: whatever is in its file, to open and to use it gives an error or an
//! answer.

mod common;
#[path = "common/own.rs"]
mod own;

use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::{next, seed, storms, watched};
use multiproc::{Array, Lock, Pipe, Queue, Segment, Value};
use own::Own;

/// So many broken files of each kind.
const FILES: usize = 300;

/// Long enough for a living peer, of whom there is none.
const PATIENCE: Duration = Duration::from_millis(2);

/// Makes an object, and then breaks its file again and again, uses it, and mends it.
fn break_often(test: &str, make: fn(&Own), open_and_use: fn(&Own)) {
    let own = Own::new(test);
    let mut state = seed();
    for _ in 0..FILES * storms() {
        own.0.unlink().unwrap();
        make(&own);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(own.path()).unwrap();
        for _ in 0..=next(&mut state) % 6 {
            let area = next(&mut state) % 5;
            let within = next(&mut state);
            // Header, label, participants, table of blocks, object.
            let at = match area {
                0 => within % 0x100,
                1 => 0x200 + within % 0x80,
                2 => 0x1000 + within % 0x100,
                3 => 0x11000 + within % 0x180,
                _ => 0x12000 + within % 0x2000,
            };
            let word = match next(&mut state) % 4 {
                0 => 0,
                1 => u64::MAX,
                2 => next(&mut state),
                _ => {
                    let mut old = [0; 8];
                    let _ = file.read_at(&mut old, at);
                    u64::from_le_bytes(old) ^ (1 << (next(&mut state) % 64))
                }
            };
            file.write_at(&word.to_le_bytes()[..1 + within as usize % 8], at).unwrap();
        }
        drop(file);
        open_and_use(&own);
    }
}

#[test]
fn values_arrays_and_bytes() {
    watched("values_arrays_and_bytes", || {
        break_often(
            "bytes-value",
            |own| drop(Value::create(own, 7_u64).unwrap()),
            |own| {
                if let Ok(value) = Value::<u64>::open(own) {
                    let _ = (value.get_timeout(PATIENCE), value.set_timeout(1, PATIENCE));
                    let _ = value.update_timeout(PATIENCE, |value| *value += 1);
                }
            },
        );
        break_often(
            "bytes-array",
            |own| drop(Array::create(own, 100, 7_u32).unwrap()),
            |own| {
                if let Ok(array) = Array::<u32>::open(own) {
                    let _ = (array.try_lock().map(|all| all.len()).is_ok(), array.who_holds());
                }
            },
        );
        break_often(
            "bytes-segment",
            |own| drop(Segment::create(own, 5000).unwrap()),
            |own| {
                if let Ok(bytes) = Segment::open(own) {
                    let _ = (bytes.to_vec(), bytes.write(7, &[1; 100]));
                }
            },
        );
        break_often(
            "bytes-lock",
            |own| drop(Lock::create(own).unwrap()),
            |own| {
                if let Ok(lock) = Lock::open(own) {
                    let _ = (lock.lock_timeout(PATIENCE).is_ok(), lock.who_holds());
                }
            },
        );
    });
}

#[test]
fn queues_and_pipes() {
    watched("queues_and_pipes", || {
        break_often(
            "bytes-queue",
            |own| {
                let mut queue = Queue::<String>::create(own, 4).unwrap();
                queue.send("left here".to_owned()).unwrap();
            },
            |own| {
                if let Ok(mut queue) = Queue::<String>::open(own) {
                    let _ = queue.recv_timeout(PATIENCE);
                    let _ = queue.send_timeout("x".repeat(1000), PATIENCE);
                    let _ = (queue.try_recv(), queue.info(), queue.len());
                }
            },
        );
        break_often(
            "bytes-growing",
            |own| drop(Queue::<u64>::create(own, None).unwrap()),
            |own| {
                if let Ok(mut queue) = Queue::<u64>::open(own) {
                    let sent = (0..300).all(|n| queue.send_timeout(n, PATIENCE).is_ok());
                    let _ = (sent, queue.recv_timeout(PATIENCE), queue.stats());
                }
            },
        );
        break_often(
            "bytes-pipe",
            |own| {
                let mut here = Pipe::create::<String, u64>(own).unwrap();
                here.send("left here".to_owned()).unwrap();
            },
            |own| {
                if let Ok(mut there) = Pipe::open::<u64, String>(own) {
                    let _ = (there.recv_timeout(PATIENCE), there.try_send(7), there.try_recv());
                }
            },
        );
    });
}

/// A sender took rings that others use for rings that were left, opened one after the other and
/// found each of them full, and never looked at the clock.
#[test]
fn a_sender_whose_queue_says_that_its_head_is_far_ahead_gives_up_in_time() {
    watched("a_sender_whose_queue_says_that_its_head_is_far_ahead", || {
        let own = Own::new("bytes-head");
        drop(Queue::<u64>::create(&own, None).unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(own.path()).unwrap();
        // The highest byte of the head's turn.
        file.write_at(&[0xff], 0x12187).unwrap();
        let mut queue = Queue::<u64>::open(&own).unwrap();
        let refused = (0..1000).find_map(|n| queue.send_timeout(n, PATIENCE).err());
        assert_eq!(refused.map(|error| error.is_timeout()), Some(true));
        assert!(queue.try_send(1).is_err());
    });
}
