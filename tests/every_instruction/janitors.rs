//! Recovery itself: who buries a corpse is killed on the way, and the next one does it again.
//!
//! The corpse is the child of a process that is stopped, so its own parent does not bury it; and
//! this process waits for nothing until the janitor, which is another child, is dead as well.

use std::time::Duration;

use multiproc::{
    Array, Barrier, Condition, Connection, Lock, LockError, Nothing, Pipe, Plain, Process, Queue,
    Receiver, RwHolders, RwLock, Semaphore, Sender, Value,
};
use serde::{Deserialize, Serialize};

use crate::common::{die, until};
use crate::stepping::{Fate, Gate, Operation, Say, alone, begin, end, sibling};

/// All kinds of objects in one arena, and a queue with a segment of its own.
#[derive(Clone, Serialize, Deserialize)]
struct Estate {
    lock: Lock,
    rwlock: RwLock,
    semaphore: Semaphore,
    bounded: Semaphore,
    value: Value<[u64; 4]>,
    array: Array<u64>,
    barrier: Barrier,
    condition: Condition,
    door: Lock,
    texts: Sender<Vec<u8>>,
    numbers: Queue<u64, Plain>,
}

type Told = Connection<Nothing, ()>;

impl Estate {
    fn new() -> (Self, Receiver<Vec<u8>>) {
        let (texts, receiver) = Queue::channel(4).unwrap();
        let mut numbers = Queue::builder().codec::<Plain>().redeliver(true).bounded(4).unwrap();
        (1..=3).for_each(|number| numbers.send(number).unwrap());
        let estate = Self {
            lock: Lock::new().unwrap(),
            rwlock: RwLock::new().unwrap(),
            semaphore: Semaphore::new(3).unwrap(),
            bounded: Semaphore::bounded(2).unwrap(),
            value: Value::new([1; 4]).unwrap(),
            array: Array::new(100, 1).unwrap(),
            barrier: Barrier::new(3).unwrap(),
            condition: Condition::new().unwrap(),
            door: Lock::new().unwrap(),
            texts,
            numbers,
        };
        (estate, receiver)
    }

    /// Takes something of everything, and dies when it is told to.
    fn take_and_die(mut self, mut told: Told) {
        let _read = self.rwlock.read().unwrap();
        let _permits = [self.semaphore.acquire().unwrap(), self.semaphore.acquire().unwrap()];
        let _permit = self.bounded.acquire().unwrap();
        let _part = self.array.lock_range(10..20).unwrap();
        let mut value = self.value.lock().unwrap();
        value[0] = 2;
        self.texts.send(vec![1; 10]).unwrap();
        let message = self.numbers.recv_guard().unwrap();
        assert_eq!(*message, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| self.barrier.wait());
            scope.spawn(|| drop(self.condition.wait(self.door.lock().unwrap())));
            let _lock = self.lock.lock().unwrap();
            told.recv().unwrap();
            die()
        })
    }

    /// Waits until the condition is notified, and another one waits before it.
    fn await_notification(self) {
        let door = self.door.lock().or_else(LockError::recover).unwrap();
        match self.condition.wait(door) {
            Ok(_) | Err(LockError::OwnerDied { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn waiting(condition: &Condition) -> usize {
    (0..9).find(|n| format!("{condition:?}") == format!("Condition {{ waiting: {n} }}")).unwrap()
}

/// Starts the one who dies, tells its number, and does no more.
fn starts((mut tell, argument): (Connection<u32, Nothing>, (Estate, Told))) {
    let dies = |(estate, told): (Estate, Told)| estate.take_and_die(told);
    let process = Process::spawn(dies, argument).unwrap();
    tell.send(process.pid()).unwrap();
    loop {
        std::thread::park();
    }
}

fn waits((estate, mut say): (Estate, Say)) {
    say.send(()).unwrap();
    estate.await_notification();
}

/// All threads of a process are in this state.
fn is_all(pid: u32, state: char) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().unwrap().starts_with(state)
    })
}

fn stop(process: &Process<()>) {
    process.signal(libc::SIGSTOP).unwrap();
    until(|| is_all(process.pid(), 'T'));
}

struct Heirs {
    estate: Estate,
    receiver: Receiver<Vec<u8>>,
    /// The parent of the corpse, stopped.
    parent: Process<()>,
    /// Waits for the condition behind the dead, stopped.
    waiter: Process<()>,
}

fn make() -> (Estate, Heirs) {
    let (estate, receiver) = Estate::new();
    let ((tell, mut hear), (mut command, told)) =
        (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
    let parent = Process::spawn(starts, (tell, (estate.clone(), told))).unwrap();
    let corpse = hear.recv().unwrap();
    until(|| waiting(&estate.condition) == 1 && estate.barrier.waiting() == 1);
    until(|| estate.lock.is_locked());
    let waiter = sibling(waits, estate.clone());
    until(|| waiting(&estate.condition) == 2);
    stop(&waiter);
    stop(&parent);
    let door = estate.door.lock().unwrap();
    // It is given to the one who dies, and who cannot have the lock before that.
    assert!(estate.condition.notify_one().unwrap());
    command.send(()).unwrap();
    until(|| is_all(corpse, 'Z'));
    drop(door);
    assert!(estate.lock.is_locked(), "it is buried already");
    (estate.clone(), Heirs { estate, receiver, parent, waiter })
}

/// Everything of the dead has come back, once.
fn check(heirs: Heirs, _: Fate) {
    let Heirs { mut estate, mut receiver, parent, waiter } = heirs;
    assert!(estate.lock.is_poisoned() && !estate.lock.is_locked());
    assert!(estate.lock.lock().unwrap_err().is_owner_dead());
    assert!(estate.value.is_poisoned() && estate.value.who_holds().is_none());
    assert!(estate.array.is_poisoned() && estate.array.who_holds().is_empty());
    assert!(estate.rwlock.who_holds() == RwHolders::Nobody && !estate.rwlock.is_poisoned());
    drop(estate.rwlock.write().unwrap());
    for (semaphore, permits) in [(&estate.semaphore, 3), (&estate.bounded, 2)] {
        assert_eq!((semaphore.available(), semaphore.who_holds().len()), (permits, 0));
    }
    assert!(estate.barrier.is_broken());
    estate.barrier.reset().unwrap();
    assert_eq!(estate.barrier.waiting(), 0);
    // The notification of the dead is the other one's now.
    waiter.signal(libc::SIGCONT).unwrap();
    waiter.join().unwrap();
    assert!(!estate.condition.notify_one().unwrap());
    assert_eq!(receiver.recv().unwrap(), [1; 10]);
    assert_eq!(receiver.info().handles.len(), 2, "{:?}", receiver.info());
    let mut numbers: Vec<u64> = estate.numbers.drain().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    let info = estate.numbers.info();
    assert!(info.stats.redelivered == 1 && info.stats.in_flight == 0, "{info:?}");
    assert_eq!(info.handles.len(), 1, "{info:?}");
    parent.kill().unwrap();
    assert_eq!(parent.join().unwrap_err().signal(), Some(libc::SIGKILL));
}

#[test]
fn who_buries_by_waiting_for_a_lock() {
    fn victim((estate, gate): (Estate, Gate)) {
        begin(gate);
        let guard = estate.lock.lock();
        assert!(guard.is_err_and(|error| error.is_owner_dead()));
        end();
    }
    alone("who_buries_by_waiting_for_a_lock", |()| {
        Operation::new("recovery: of an arena", make, victim, check).try_all();
    });
}

#[test]
fn who_buries_by_waiting_for_room() {
    fn victim((mut estate, gate): (Estate, Gate)) {
        let refused = (0..).find_map(|_| estate.texts.try_send(vec![2]).err()).unwrap();
        assert!(refused.is_full());
        begin(gate);
        let refused = estate.texts.send_timeout(vec![3], Duration::from_nanos(1));
        assert!(refused.unwrap_err().is_timeout());
        end();
    }
    alone("who_buries_by_waiting_for_room", |()| {
        Operation::new("recovery: of a queue", make, victim, check).try_all();
    });
}
