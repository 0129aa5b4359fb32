//! A tour: a little of everything, in this process and in others. Tests take it in strange places.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multiproc::{
    Array, Barrier, Condition, Connection, Event, Lock, Pipe, Plain, Pool, Process, Queue,
    Readable, ReentrantLock, RwLock, Semaphore, StartMethod, Value, wait_any,
};
use serde::{Deserialize, Serialize};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Handles of what a child gets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Luggage {
    lock: Lock,
    reentrant: ReentrantLock,
    rwlock: RwLock,
    semaphore: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
    value: Value<u64>,
    atomic: Value<AtomicU64>,
    array: Array<u64>,
}

impl Luggage {
    pub fn new() -> Result<Self> {
        Ok(Self {
            lock: Lock::new()?,
            reentrant: ReentrantLock::new()?,
            rwlock: RwLock::new()?,
            semaphore: Semaphore::new(1)?,
            condition: Condition::new()?,
            event: Event::new()?,
            barrier: Barrier::new(2)?,
            value: Value::new(0)?,
            atomic: Value::<u64>::atomic(0)?,
            array: Array::new(100, 0)?,
        })
    }

    /// Adds one to everything; what others do meanwhile does not count.
    pub fn use_all(&self) -> Result {
        let guard = self.lock.lock().map_err(|error| error.to_string())?;
        self.condition.notify_all()?;
        let waited = self.condition.wait_timeout(guard, Duration::from_millis(1));
        drop(waited.map_err(|error| error.to_string())?);
        let outer = self.reentrant.lock().map_err(|error| error.to_string())?;
        drop(self.reentrant.lock().map_err(|error| error.to_string())?);
        drop(outer);
        drop(self.rwlock.read().map_err(|error| error.to_string())?);
        drop(self.rwlock.write().map_err(|error| error.to_string())?);
        drop(self.semaphore.acquire()?);
        self.value.update(|value| *value += 1).map_err(|error| error.to_string())?;
        self.atomic.fetch_add(1, Ordering::SeqCst);
        let mut part = self.array.lock_range(3..5).map_err(|error| error.to_string())?;
        part[0] += 1;
        Ok(())
    }
}

fn companion((luggage, mut both): (Luggage, Connection<String, u64>)) -> u64 {
    luggage.use_all().unwrap();
    luggage.event.wait().unwrap();
    assert_eq!(both.recv().unwrap(), 0);
    both.send("here".to_owned()).unwrap();
    luggage.barrier.wait().unwrap();
    let mut sum = 0;
    while let Ok(number) = both.recv() {
        sum += number;
        both.send(sum.to_string()).unwrap();
    }
    sum
}

fn porter((mut from, mut to): (Queue<u64, Plain>, Queue<Vec<u64>>)) {
    while let Ok(number) = from.recv() {
        to.send(vec![number; 1000]).unwrap();
    }
}

fn square(number: u64) -> u64 {
    number * number
}

/// Locks and their kin, and a pipe, with a child.
pub fn with_a_companion(method: StartMethod) -> Result {
    let (luggage, (mut here, there)) = (Luggage::new()?, Pipe::duplex()?);
    let job = (luggage.clone(), there);
    let child = Process::builder().start_method(method).spawn(companion, job)?;
    luggage.use_all()?;
    luggage.event.set()?;
    // A companion that could not start does not come.
    if here.send(0).is_err() || here.recv().is_err() {
        return Err(child.join().unwrap_err().into());
    }
    luggage.barrier.wait()?;
    for number in 1..=100 {
        here.send(number)?;
        assert_eq!(here.recv()?, (number * (number + 1) / 2).to_string());
    }
    drop(here);
    assert_eq!(child.join()?, 5050);
    assert_eq!(luggage.value.get().map_err(|error| error.to_string())?, 2);
    assert_eq!(luggage.atomic.load(Ordering::SeqCst), 2);
    Ok(())
}

/// Two queues and a child between them, which is killed in the end.
pub fn with_a_porter() -> Result {
    let mut from = Queue::builder().codec().bounded(4)?;
    let mut to = Queue::unbounded()?;
    let child = Process::spawn(porter, (from.try_clone()?, to.try_clone()?))?;
    for number in 0..100 {
        from.send(number)?;
        assert_eq!(to.recv()?, [number; 1000]);
    }
    child.kill()?;
    assert_eq!(child.join().unwrap_err().signal(), Some(libc::SIGKILL));
    Ok(())
}

fn knock((mut here, event): (Connection<u64, u64>, Event)) {
    here.send(1).unwrap();
    assert_eq!(here.recv().unwrap(), 2);
    event.set().unwrap();
    assert_eq!(here.recv().unwrap(), 3);
}

/// Waits for whichever comes first, of a child and of others.
pub fn at_several_doors() -> Result {
    let (mut event, mut queue) = (Event::new()?, Queue::<u64>::bounded(1)?);
    let (mut here, there) = Pipe::duplex()?;
    let mut child = Process::spawn(knock, (there, event.clone()))?;
    // A wait that nobody ends ends all the same.
    assert!(wait_any(&mut [&mut queue], Duration::from_millis(5))?.is_empty());
    let ready = wait_any(&mut [&mut queue, &mut event, &mut here, &mut child], Duration::MAX)?;
    // A child that could not start does not come.
    if ready.contains(&3) || here.recv().is_err() {
        return Err(child.join().unwrap_err().into());
    }
    assert_eq!(ready, [2]);
    here.send(2)?;
    let (_far, near) = std::os::unix::net::UnixStream::pair()?;
    let ready = wait_any(&mut [&mut queue, &mut Readable(near), &mut event], Duration::MAX)?;
    assert_eq!(ready, [2]);
    here.send(3)?;
    assert_eq!(wait_any(&mut [&mut queue, &mut child], Duration::MAX)?, [1]);
    Ok(child.join()?)
}

/// A pool.
pub fn in_a_group() -> Result {
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(square, 0..20)?, (0..20).map(square).collect::<Vec<_>>());
    assert_eq!(pool.apply(square, 5)?, 25);
    pool.close();
    pool.join()?;
    Ok(())
}

/// All of it. What did not work, as it says itself.
pub fn all() -> std::result::Result<(), Vec<String>> {
    let parts: [fn() -> Result; 5] = [
        || with_a_companion(StartMethod::ForkServer),
        || with_a_companion(StartMethod::Spawn),
        with_a_porter,
        at_several_doors,
        in_a_group,
    ];
    let failures: Vec<String> =
        parts.into_iter().filter_map(|part| Some(part().err()?.to_string())).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}
