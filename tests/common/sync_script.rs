//! Locks, their kin, values and arrays, of which everything is tried that ends by itself, while
//! their words are written over. The tests and the fuzzers play the same.
//!
//! Nothing here waits without end: every verb is a `try_` one or has a time-out. A word that says
//! that a living process has a lock is believed, so the bare verbs may wait as long as that lives.
#![allow(dead_code, unreachable_pub, reason = "each user plays some of it")]

use std::time::Duration;

use multiproc::{
    Array, Barrier, Condition, Connection, Event, Lock, LockError, Nothing, Pipe, ReentrantLock,
    RwLock, Semaphore, Value, wait_any,
};
use serde::{Deserialize, Serialize};

use super::script::{BLOCK_SIZE, BLOCKS, DATA, PARTICIPANTS, Tape, Window};

const SOON: Duration = Duration::from_micros(50);
const LENGTH: usize = 100;

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
pub struct Things {
    /// Of the condition, which takes it again without a time-out. It must stay whole.
    whole: Lock,
    lock: Lock,
    reentrant: ReentrantLock,
    rwlock: RwLock,
    owned: Semaphore,
    unowned: Semaphore,
    event: Event,
    barrier: Barrier,
    condition: Condition,
    value: Value<[u64; 20]>,
    number: Value<std::sync::atomic::AtomicU64>,
    array: Array<u64>,
}

/// How many blocks one of each has, the first of which must stay whole.
const BLOCKS_OF_THINGS: usize = 12;

/// How many different things there are to be done.
pub const DEEDS: u64 = 12;

impl Things {
    pub fn new() -> Option<Self> {
        Some(Self {
            whole: Lock::new().ok()?,
            lock: Lock::new().ok()?,
            reentrant: ReentrantLock::new().ok()?,
            rwlock: RwLock::new().ok()?,
            owned: Semaphore::bounded(2).ok()?,
            unowned: Semaphore::unowned(2).ok()?,
            event: Event::new().ok()?,
            barrier: Barrier::new(2).ok()?,
            condition: Condition::new().ok()?,
            value: Value::new([7; 20]).ok()?,
            number: Value::atomic(7_u64).ok()?,
            array: Array::new(LENGTH, 7).ok()?,
        })
    }

    /// Does one of the things that can be done; `meanwhile` is called where something is held.
    pub fn act(&self, number: u64, meanwhile: &mut dyn FnMut()) {
        match number % DEEDS {
            0 | 1 => self.use_lock(number, meanwhile),
            2 => self.use_reentrant(meanwhile),
            3 => self.read(meanwhile),
            4 => self.write(meanwhile),
            5 => self.use_semaphores(meanwhile),
            6 => self.use_event(number),
            7 => self.use_barrier(number),
            8 => self.use_condition(number),
            9 => self.use_value(meanwhile),
            _ => self.use_array(number as usize / 16 % LENGTH, meanwhile),
        }
    }

    fn use_lock(&self, number: u64, meanwhile: &mut dyn FnMut()) {
        let guard = self.lock.lock_timeout(SOON).map_err(LockError::into_inner);
        meanwhile();
        drop(self.lock.try_lock());
        let _ = (self.lock.who_holds(), self.lock.is_locked(), self.lock.is_poisoned());
        if number & 64 == 0 {
            self.lock.clear_poison();
        }
        drop(guard);
        drop(format!("{:?}", self.lock));
    }

    fn use_reentrant(&self, meanwhile: &mut dyn FnMut()) {
        let outer = self.reentrant.try_lock().map_err(LockError::into_inner);
        meanwhile();
        let inner = self.reentrant.lock_timeout(SOON);
        if let Ok(guard) = &inner {
            let _ = guard.depth();
        }
        drop(outer);
        drop(inner);
        let _ = (self.reentrant.who_holds(), self.reentrant.is_locked());
        self.reentrant.clear_poison();
    }

    fn read(&self, meanwhile: &mut dyn FnMut()) {
        let reader = self.rwlock.read_timeout(SOON).map_err(LockError::into_inner);
        meanwhile();
        drop(self.rwlock.try_read());
        drop(self.rwlock.try_write());
        drop(reader);
        let _ = (self.rwlock.who_holds(), self.rwlock.is_poisoned());
    }

    fn write(&self, meanwhile: &mut dyn FnMut()) {
        let writer = self.rwlock.write_timeout(SOON).map_err(LockError::into_inner);
        meanwhile();
        drop(self.rwlock.try_read());
        drop(writer);
        self.rwlock.clear_poison();
    }

    fn use_semaphores(&self, meanwhile: &mut dyn FnMut()) {
        for semaphore in [&self.owned, &self.unowned] {
            let permit = semaphore.try_acquire();
            meanwhile();
            drop(semaphore.acquire_timeout(SOON));
            drop(permit);
            let _ = (semaphore.available(), semaphore.who_holds().len());
        }
        let _ = self.unowned.release();
    }

    fn use_event(&self, number: u64) {
        let _ = (self.event.wait_timeout(SOON), self.event.is_set());
        let (mut event, mut semaphore) = (self.event.clone(), self.owned.clone());
        drop(wait_any(&mut [&mut event, &mut semaphore], SOON));
        let _ = if number & 16 == 0 { self.event.set() } else { self.event.clear() };
    }

    fn use_barrier(&self, number: u64) {
        let _ = self.barrier.wait_timeout(SOON);
        let _ = (self.barrier.waiting(), self.barrier.is_broken());
        if number & 48 == 0 {
            let _ = self.barrier.abort();
        } else {
            let _ = self.barrier.reset();
        }
    }

    fn use_condition(&self, number: u64) {
        if number & 16 == 0 {
            let _ = self.condition.notify(number as usize / 32 % 4);
            let _ = self.condition.notify_all();
        } else if let Ok(guard) = self.whole.lock_timeout(SOON) {
            drop(self.condition.wait_timeout(guard, SOON));
        }
    }

    fn use_value(&self, meanwhile: &mut dyn FnMut()) {
        drop(self.value.try_get());
        drop(self.value.set_timeout([8; 20], SOON));
        drop(self.value.update_timeout(SOON, |words| {
            meanwhile();
            words[3] = 9;
        }));
        let guard = self.value.lock_timeout(SOON).map_err(LockError::into_inner);
        if let Ok(mut guard) | Err(Some(mut guard)) = guard {
            guard[19] = guard[18];
            meanwhile();
        }
        let _ = (self.value.who_holds(), self.value.is_locked(), self.value.is_poisoned());
        self.value.clear_poison();
        self.number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn use_array(&self, start: usize, meanwhile: &mut dyn FnMut()) {
        let part = self.array.lock_range_timeout(start.., SOON).map_err(LockError::into_inner);
        if let Ok(mut part) | Err(Some(mut part)) = part {
            assert_eq!(part.len(), LENGTH - start);
            meanwhile();
            part.fill(1);
            drop(self.array.try_lock_range(..start));
        }
        if let Ok(mut all) = self.array.lock_timeout(SOON) {
            assert_eq!(all.len(), LENGTH);
            all.fill(2);
        }
        let _ = (self.array.who_holds().len(), self.array.is_locked(), self.array.is_poisoned());
        self.array.clear_poison();
    }
}

/// Where the objects of this process's segment are, all but the first one.
pub struct Places {
    window: Window,
    blocks: Vec<(usize, usize)>,
}

impl Places {
    /// To be called while the tables are whole, in a process whose first object is the first of
    /// `Things`.
    pub fn new() -> Self {
        let window = Window::all().remove(0);
        let mut at = DATA;
        let mut blocks = Vec::new();
        for number in 0..64 {
            let granules = window.peek(BLOCKS + number * BLOCK_SIZE) >> 16 & 0xff_ffff;
            let length = granules as usize * 128;
            if length == 0 || window.len() < at + length {
                break;
            }
            if number > 0 {
                blocks.push((at, length));
            }
            at += length;
        }
        assert!(BLOCKS_OF_THINGS <= blocks.len() + 1, "one object each");
        Self { window, blocks }
    }

    /// The window that breaks.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// A word of an object, most often of its beginning, or one of a table.
    pub fn word(&self, what: u64, number: usize) -> usize {
        let (at, length) = self.blocks[what as usize / 16 % self.blocks.len()];
        let at = match what % 16 {
            0 => PARTICIPANTS + number % 4 * 64,
            1 => BLOCKS + number % (16 * BLOCK_SIZE),
            // Not the sizes by which blocks are found, which others break: the epoch and the mark.
            2 => 128,
            3..=7 => at + number % length,
            _ => at + number % length.min(64),
        };
        at & !7
    }

    pub fn break_by(&self, tape: &mut Tape<'_>) {
        let at = self.word(u64::from(tape.byte()) << 8 | u64::from(tape.byte()), tape.number());
        match tape.byte() % 4 {
            0 | 1 => self.window.poke(at, tape.word()),
            2 => self.window.poke_half(at, tape.word() as u32),
            _ => self.window.poke(at, self.window.peek(at) ^ 1 << (tape.byte() % 64)),
        }
    }
}

/// Plays a script, from the first lock to the last drop.
pub fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let Some(things) = Things::new() else { return };
    let places = Places::new();
    let (mut cart, mut quay) = Pipe::simplex::<Things>().ok().unzip();
    let mut other = Some(things.clone());
    while !tape.is_over() {
        match tape.byte() % 8 {
            0..=2 => places.break_by(&mut tape),
            3 | 4 => {
                let number = tape.number() as u64;
                things.act(number, &mut || places.break_by(&mut tape));
            }
            5 => {
                let number = tape.number() as u64;
                if let Some(other) = &other {
                    // Another thread, which does not have what this one has.
                    std::thread::scope(|scope| {
                        let thread = scope.spawn(|| other.act(number, &mut || {}));
                        places.break_by(&mut tape);
                        // To its last step: a thread in the middle of its end looks like a leak.
                        thread.join().unwrap();
                    });
                }
            }
            6 => other = if other.is_none() { Some(things.clone()) } else { None },
            _ => travel(&mut cart, &mut quay, &mut other, || places.break_by(&mut tape)),
        }
    }
}

type Cart = Option<Connection<Things, Nothing>>;
type Quay = Option<Connection<Nothing, Things>>;

fn travel(
    cart: &mut Cart,
    quay: &mut Quay,
    things: &mut Option<Things>,
    mut meanwhile: impl FnMut(),
) {
    let (Some(cart), Some(quay)) = (cart, quay) else { return };
    if let Some(moving) = things.take()
        && let Err(unsent) = cart.try_send(moving)
    {
        *things = Some(unsent.into_inner());
    }
    meanwhile();
    if let Ok(arrived) = quay.try_recv() {
        *things = Some(arrived);
    }
}
