//! Plain bytes that processes share, with a name or without one; other programs that map them; what
//! is listed and cleaned.
#![allow(unsafe_code, reason = "a stranger maps memory")]

mod common;
#[path = "common/own.rs"]
mod own;

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use common::{assert_killed, die, watched};
use multiproc::{ErrorKind, Event, Lock, Process, Queue, Segment, Value};
use own::Own;

#[test]
fn bytes_without_a_name_are_those_of_whoever_has_a_handle() {
    fn fill(bytes: Segment) {
        bytes.write(1, &[7; 99]).unwrap();
    }
    let bytes = Segment::new(101).unwrap();
    assert_eq!(bytes.to_vec(), [0; 101]);
    Process::spawn(fill, bytes.clone()).unwrap().join().unwrap();
    let mut copy = [1; 3];
    bytes.read(98, &mut copy).unwrap();
    assert_eq!(copy, [7, 7, 0]);
    assert!(Segment::new(0).unwrap().is_empty());
}

#[test]
fn what_is_not_there_is_neither_read_nor_written() {
    let bytes = Segment::new(10).unwrap();
    for at in [7, 10, 11, usize::MAX] {
        assert_eq!(bytes.read(at, &mut [0; 4]).unwrap_err().kind(), ErrorKind::Bounds);
        assert_eq!(bytes.write(at, &[1; 4]).unwrap_err().kind(), ErrorKind::Bounds);
        assert_eq!(bytes.atomic::<AtomicU32>(at).unwrap_err().kind(), ErrorKind::Bounds);
    }
    assert_eq!(bytes.atomic::<AtomicU32>(2).unwrap_err().kind(), ErrorKind::Bounds);
    assert_eq!(bytes.to_vec(), [0; 10]);
    bytes.read(10, &mut []).unwrap();
}

#[test]
fn integers_are_counted_together() {
    fn count(name: String) {
        let bytes = Segment::open(name).unwrap();
        let counter = bytes.atomic::<AtomicU64>(16).unwrap();
        (0..10_000).for_each(|_| _ = counter.fetch_add(1, Relaxed));
    }
    watched("integers_are_counted_together", || {
        let own = Own::new("count");
        let bytes = Segment::create(&own, 24).unwrap();
        let spawn = |_| Process::spawn(count, own.text()).unwrap();
        let children: Vec<_> = (0..3).map(spawn).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(bytes.atomic::<AtomicU64>(16).unwrap().load(Relaxed), 30_000);
        let error = Segment::open_or_create(&own, 25).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
    });
}

/// What the words of the documentation say is where they say it.
#[test]
fn another_crate_maps_the_same_bytes_by_their_os_id() {
    fn stranger(os_id: String) {
        let mapped = shared_memory::ShmemConf::new().os_id(os_id).open().unwrap();
        assert!(mapped.len() >= Segment::DATA_AT + 1000);
        // SAFETY: mapped, and nobody writes meanwhile: the maker waits for this process.
        let bytes = unsafe { std::slice::from_raw_parts_mut(mapped.as_ptr(), mapped.len()) };
        let length = &bytes[Segment::LENGTH_AT..][..8];
        assert_eq!(u64::from_le_bytes(length.try_into().unwrap()), 1000);
        assert_eq!(&bytes[Segment::DATA_AT..][..5], b"hello");
        bytes[Segment::DATA_AT + 999] = b'!';
    }
    let own = Own::new("stranger");
    let bytes = Segment::create(&own, 1000).unwrap();
    bytes.write(0, b"hello").unwrap();
    Process::spawn(stranger, own.0.os_id()).unwrap().join().unwrap();
    assert_eq!(bytes.to_vec()[999], b'!');
}

#[test]
fn python_maps_the_same_bytes() {
    let own = Own::new("python");
    let bytes = Segment::create(&own, 300).unwrap();
    bytes.write(0, b"from Rust").unwrap();
    let script = format!(
        "import mmap\n\
         with open({:?}, 'r+b') as file:\n\
         \tmemory = mmap.mmap(file.fileno(), 0)\n\
         \tlength = int.from_bytes(memory[{}:{}], 'little')\n\
         \tassert length == 300, length\n\
         \tassert memory[{data}:{data} + 9] == b'from Rust'\n\
         \tmemory[{data}:{data} + 11] = b'from Python'\n",
        own.path(),
        Segment::LENGTH_AT,
        Segment::LENGTH_AT + 8,
        data = Segment::DATA_AT,
    );
    match Command::new("python3").args(["-c", &script]).status() {
        Ok(status) => assert!(status.success()),
        Err(cause) => return eprintln!("skipped: there is no python3: {cause}"),
    }
    assert_eq!(&bytes.to_vec()[..11], b"from Python");
}

#[test]
fn what_has_a_name_is_listed_and_what_nobody_has_is_cleaned() {
    fn leave(name: String) {
        let _value = Value::create(name, [7_u64; 3]).unwrap();
        die()
    }
    watched("what_has_a_name_is_listed_and_what_nobody_has_is_cleaned", || {
        let (queue, lock, event, stale, broken) = (
            Own::new("list-queue"),
            Own::new("list-lock"),
            Own::new("list-event"),
            Own::new("list-stale"),
            Own::new("list-broken"),
        );
        let _queue = Queue::<String>::create(&queue, None).unwrap();
        let _lock = Lock::create(&lock).unwrap();
        drop(Event::create(&event).unwrap());
        assert_killed(Process::spawn(leave, stale.text()).unwrap().join());
        std::fs::File::create(broken.path()).unwrap().write_all(&[0xff; 5000]).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(broken.path(), PermissionsExt::from_mode(0o600)).unwrap();
        let list = Segment::list().unwrap();
        let info = |own: &Own| list.iter().find(|info| info.name == own.0).unwrap();
        assert!(info(&queue).is_in_use && info(&lock).is_in_use);
        assert!(!info(&event).is_in_use && !info(&stale).is_in_use && !info(&broken).is_in_use);
        let what = |own| info(own).what.as_deref().unwrap();
        assert!(what(&queue).starts_with("Queue") && what(&lock) == "Lock");
        assert!(what(&stale).contains("[u64; 3]"), "{}", what(&stale));
        assert_eq!(info(&broken).what, None);
        assert!(info(&queue).size > 1 << 30 && info(&queue).memory < 1 << 20);
        // Tests of other binaries have names as well, that nobody may have at the moment.
        let ours = [&queue, &lock, &event, &stale, &broken];
        let cleaned = clean_among(&ours);
        assert_eq!(cleaned, [false, false, true, true, true]);
        assert!(queue.is_taken() && lock.is_taken());
    });
}

/// Cleans as `Segment::clean` does, but only these.
fn clean_among(ours: &[&Own]) -> Vec<bool> {
    let replaced = ours.iter().map(|own| {
        let fresh = own.0.clone().replace_stale();
        Segment::create(&fresh, 1).is_ok()
    });
    replaced.collect()
}
