//! What the processes of the storm share.

use std::sync::atomic::AtomicU64;

use multiproc::{
    Array, Barrier, Condition, Connection, Event, Lock, Nothing, Plain, Queue, ReentrantLock,
    RwLock, Semaphore, Value,
};
use serde::{Deserialize, Serialize};

pub const PERMITS: u32 = 3;
pub const PARTIES: usize = 3;
/// So many elements of the array are changed together.
pub const GROUP: usize = 4;
pub const ELEMENTS: usize = 64;

pub type Small = [u64; 4];
pub type Caller = Connection<Vec<u64>, u64>;
pub type Callee = Connection<u64, Vec<u64>>;

/// An end of a pipe whose other end somebody else gets.
#[derive(Serialize, Deserialize)]
pub enum Letter {
    Call(Caller),
    Answer(Callee),
}

/// Where a worker gets its letters.
pub type Inbox = Connection<Nothing, Letter>;

/// Everything that they share. Each worker has handles of its own.
#[derive(Serialize, Deserialize)]
pub struct Things {
    pub bounded: Queue<Small, Plain>,
    pub growing: Queue<Vec<u64>>,
    pub lock: Lock,
    pub reentrant: ReentrantLock,
    pub rwlock: RwLock,
    pub semaphore: Semaphore,
    pub condition: Condition,
    pub event: Event,
    pub barrier: Barrier,
    pub value: Value<Small>,
    pub atomic: Value<AtomicU64>,
    pub array: Array<u64>,
}

impl Things {
    pub fn new() -> multiproc::Result<Self> {
        Ok(Self {
            bounded: Queue::builder().codec().handles(64).bounded(40)?,
            growing: Queue::builder().handles(64).unbounded()?,
            lock: Lock::new()?,
            reentrant: ReentrantLock::new()?,
            rwlock: RwLock::new()?,
            semaphore: Semaphore::new(PERMITS)?,
            condition: Condition::new()?,
            event: Event::new()?,
            barrier: Barrier::new(PARTIES)?,
            value: Value::new([0, !0, 0, 0])?,
            atomic: Value::<u64>::atomic(0)?,
            array: Array::new(ELEMENTS, 0)?,
        })
    }

    /// Handles for one more process; an error if the dead have them all still.
    pub fn try_clone(&self) -> multiproc::Result<Self> {
        Ok(Self {
            bounded: self.bounded.try_clone()?,
            growing: self.growing.try_clone()?,
            lock: self.lock.clone(),
            reentrant: self.reentrant.clone(),
            rwlock: self.rwlock.clone(),
            semaphore: self.semaphore.clone(),
            condition: self.condition.clone(),
            event: self.event.clone(),
            barrier: self.barrier.clone(),
            value: self.value.clone(),
            atomic: self.atomic.clone(),
            array: self.array.clone(),
        })
    }
}
