//! Hostile weather: a container, a control group (cgroups(7)), whose memory comes to its end. The
//! kernel knows no error for that, it kills somebody in the group.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests move themselves")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::tour::{self, Luggage};
use common::{assert_killed, until, watched};
use multiproc::{Array, ErrorKind, Event, Lock, LockError, Pipe, Process, Queue};

/// How many bytes the group has.
const LIMIT: usize = 64 << 20;
/// How many bytes an array takes here, and its elements.
const ARRAY: usize = 2 << 20;
const ELEMENTS: usize = ARRAY / size_of::<u64>();

/// A group with a limit; ends with its last process.
struct Group(PathBuf);

impl Group {
    /// `None` where this user can make none.
    fn new(name: &str) -> Option<Self> {
        let name = format!("multiproc-{name}-{}", std::process::id());
        let groups = Path::new("/sys/fs/cgroup");
        let _ = fs::write(groups.join("cgroup.subtree_control"), "+memory");
        for (place, file) in
            [(groups.join("memory"), "memory.limit_in_bytes"), (groups.into(), "memory.max")]
        {
            let group = Self(place.join(&name));
            if fs::create_dir(&group.0).is_err() {
                continue;
            }
            // Where swapping is possible nothing comes to its end.
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
            let _ = fs::write(group.0.join("memory.swappiness"), "0");
            if fs::write(group.0.join(file), LIMIT.to_string()).is_ok() {
                return Some(group);
            }
        }
        println!("skipped: no control group with a limit on memory can be made here");
        None
    }

    fn path(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process is in its group for a moment after its end.
        until(|| fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

fn enter(group: &str) {
    let me = std::process::id().to_string();
    fs::write(Path::new(group).join("cgroup.procs"), me).unwrap();
}

/// The kernel killed whoever made one array too many: only the machine was asked what it had left.
#[test]
fn a_container_without_memory_is_a_clear_error() {
    fn message(number: usize) -> String {
        format!("{number}{}", "!".repeat(10_000))
    }
    fn use_up((group, luggage): (String, Luggage)) {
        enter(&group);
        let huge = Array::<u64>::new(LIMIT, 0).unwrap_err();
        println!("more than the container has: {huge}");
        assert_eq!(huge.kind(), ErrorKind::Memory);
        let mut arrays = Vec::new();
        let error = loop {
            match Array::<u64>::new(ELEMENTS, 7) {
                Ok(array) => arrays.push(array),
                Err(error) => break error,
            }
            assert!(arrays.len() <= LIMIT / ARRAY);
        };
        println!("after {} arrays: {error}", arrays.len());
        assert_eq!(error.kind(), ErrorKind::Memory);
        assert!(arrays.len() > LIMIT / ARRAY / 2);
        // What is there has its memory, and small things find some.
        for array in &arrays {
            array.lock().unwrap().fill(8);
        }
        luggage.use_all().unwrap();
        drop(arrays);
        // A queue grows until there is no more, and gives the message back.
        let mut queue = Queue::unbounded().unwrap();
        let mut sent = 0;
        let unsent = loop {
            match queue.send(message(sent)) {
                Ok(()) => sent += 1,
                Err(unsent) => break unsent,
            }
            assert!(sent < LIMIT / 10_000);
        };
        println!("a queue after {sent} messages: {unsent}");
        assert_eq!(unsent.error().unwrap().kind(), ErrorKind::Memory);
        assert_eq!(unsent.into_inner(), message(sent));
        for number in 0..sent {
            assert_eq!(queue.recv().unwrap(), message(number));
        }
        drop(queue);
        tour::all().unwrap();
    }
    watched("a_container_without_memory", || {
        let Some(group) = Group::new("error") else { return };
        let luggage = Luggage::new().unwrap();
        Process::spawn(use_up, (group.path(), luggage.clone())).unwrap().join().unwrap();
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

/// What the program's own memory leaves nobody can promise: the kernel kills, and that is a death
/// like any other.
#[test]
fn a_process_that_its_container_kills_is_a_death() {
    type Things = (multiproc::Connection<u64, u64>, Lock, Event);
    fn take_all((group, (mut line, lock, begin)): (String, Things)) {
        enter(&group);
        let _held = lock.lock().unwrap();
        line.send(1).unwrap();
        begin.wait().unwrap();
        let mut own = vec![0_u8; 2 * LIMIT];
        own.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        unreachable!("the container has {LIMIT} bytes, and not {}", own.len());
    }
    watched("a_process_that_its_container_kills", || {
        let Some(group) = Group::new("death") else { return };
        let (mut here, there) = Pipe::duplex().unwrap();
        let (lock, begin) = (Lock::new().unwrap(), Event::new().unwrap());
        let things = (there, lock.clone(), begin.clone());
        let process = Process::spawn(take_all, (group.path(), things)).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        begin.set().unwrap();
        assert!(here.recv().unwrap_err().is_disconnected());
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied { .. })));
        assert_killed(process.join());
        tour::all().unwrap();
    });
}
