//! What everybody in the storm writes down, in memory that outlives them all.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory to keep accounts in")]

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

use super::acts::ACTS;

/// So many workers at a time.
pub const PLACES: usize = 12;

/// So many names for senders, of so many messages each.
const NAMES: usize = 1 << 20;
pub const QUOTA: u64 = 1 << 12;

#[repr(C)]
pub struct Board {
    /// Not 0 when everybody is to leave.
    pub is_over: AtomicU64,
    pub names: AtomicU64,
    /// How many whole acts of each kind there were.
    pub acts: [AtomicU64; ACTS],
    pub places: [Place; PLACES],
    /// What the lock, the reentrant lock and the read-write lock guard.
    pub secrets: [Secret; 3],
    /// How many updates of the value, and of the atomic one, have returned.
    pub updates: [AtomicU64; 2],
    /// How many calls were answered.
    pub answers: AtomicU64,
    /// The bounded queue, and the one that grows.
    pub books: [Book; 2],
}

/// Of whoever is at a place.
#[repr(C)]
pub struct Place {
    /// Whole acts since the storm began.
    pub done: AtomicU64,
    /// The act that goes on, plus one.
    pub act: AtomicU64,
    /// Whether it is to leave by itself.
    pub is_to_leave: AtomicU64,
    /// Whether it was killed, so that what it has is not its own any more.
    pub is_doomed: AtomicU64,
    pub has_permit: AtomicU64,
}

/// Numbers that are the same outside of the lock.
#[repr(C)]
pub struct Secret {
    owner: AtomicU64,
    one: AtomicU64,
    other: AtomicU64,
}

/// What was sent and received.
#[repr(C)]
pub struct Book {
    /// How many sends have returned.
    pub acknowledged: AtomicU64,
    pub received: AtomicU64,
    /// How many messages came twice.
    pub doubles: AtomicU64,
    marks: [[AtomicU64; QUOTA as usize / 64]; NAMES],
}

/// Takes its time with something in hand, to be killed with it.
pub fn dawdle(pause: Duration) {
    let start = Instant::now();
    while start.elapsed() < pause {}
}

impl Board {
    /// A name that nobody has had before.
    pub fn name(&self) -> u64 {
        let name = self.names.fetch_add(1, Relaxed);
        assert!(name < NAMES as u64, "a storm this long needs more names");
        name + 1
    }

    pub fn done(&self) -> u64 {
        self.places.iter().map(|place| place.done.load(Relaxed)).sum()
    }

    /// How many of the living have a permit.
    pub fn permits(&self) -> usize {
        let has_one = |place: &&Place| {
            place.has_permit.load(SeqCst) == 1 && place.is_doomed.load(SeqCst) == 0
        };
        self.places.iter().filter(has_one).count()
    }
}

impl Secret {
    /// Changes what is guarded. It must be whole and nobody else's, unless the lock said otherwise.
    pub fn change(&self, name: u64, was_told: bool, pause: Duration) {
        let before = self.owner.swap(name, Relaxed);
        assert!(before == 0 || was_told, "{name} and {before} have the lock");
        let (one, other) = (self.one.load(Relaxed), self.other.load(Relaxed));
        assert!(one == other || was_told, "{one} is not {other}");
        self.one.store(one.max(other) + 1, Relaxed);
        dawdle(pause);
        self.other.store(one.max(other) + 1, Relaxed);
        self.owner.store(0, Relaxed);
    }

    /// Looks at what is guarded, among others who look.
    pub fn look(&self, was_told: bool) {
        let (one, other) = (self.one.load(Relaxed), self.other.load(Relaxed));
        let owner = self.owner.load(Relaxed);
        assert!(was_told || one == other && owner == 0, "{one}, {other}, owner {owner}");
    }
}

impl Book {
    /// Writes down that a message was received.
    pub fn mark(&self, (name, number): (u64, u64)) {
        let word = &self.marks[name as usize - 1][number as usize / 64];
        let before = word.fetch_or(1 << (number % 64), Relaxed);
        self.doubles.fetch_add(before >> (number % 64) & 1, Relaxed);
        self.received.fetch_add(1, Relaxed);
    }
}
