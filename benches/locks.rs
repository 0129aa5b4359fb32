//! Locks between processes, beside locks between threads, which have it easier, and beside what
//! else there is between processes.

mod exclusion;
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use exclusion::rivals::{Exclusion, ParkingLot, ParkingLotReentrant, Pthread, RawSync, Std};
use exclusion::signals::{self, Signal, hand_over};
use exclusion::{COUNTER, Labour, Shares, alone, contended, uncontended};
use multiproc::{Event, Lock, ReentrantLock, RwLock, Semaphore, Value};
use support::memory::lines;
use support::python::python;
use support::{Contender, Goal, Table, is_wanted, pin, start};

fn main() {
    let rounds = start("locks", 60);
    pin();
    nobody_else(rounds * 3);
    two("2 workers, a few ns with the lock and without", Labour::NONE, rounds);
    two(
        "2 workers, 100 ns with the lock and without",
        Labour::of(Duration::from_nanos(100)),
        rounds,
    );
    crowd(rounds);
    others(rounds * 3);
    counters(rounds);
    hand_overs(rounds);
}

/// Taken and freed, in one process.
fn nobody_else(rounds: usize) {
    Table::new("Lock and unlock, nobody else, beside locks of threads")
        .row(uncontended::<Std>("std, threads"))
        .row(uncontended::<Lock>("multiproc, Lock").aiming_at(Goal::Time(1.1)))
        .row(uncontended::<ParkingLot>("parking_lot, threads"))
        .row(uncontended::<ParkingLotReentrant>("parking_lot's ReentrantMutex, threads"))
        .row(uncontended::<ReentrantLock>("multiproc, ReentrantLock"))
        .run(rounds);
    Table::new("Lock and unlock, nobody else, beside locks of processes")
        .row(uncontended::<Pthread<true>>("pthread, robust"))
        .row(uncontended::<Lock>("multiproc, Lock").aiming_at(Goal::Time(0.8)))
        .row(uncontended::<Pthread<false>>("pthread"))
        .row(uncontended::<RawSync>("raw_sync"))
        .run(rounds);
}

/// What else is done with nobody there to wait for.
fn others(rounds: usize) {
    let event = Event::new().expect("an event");
    let semaphore = signals::Posix::new();
    let (std_readers, std_writers) = (std::sync::RwLock::new(()), std::sync::RwLock::new(()));
    let [readers, writers] = [(); 2].map(|()| RwLock::new().expect("a lock"));
    let permits = Semaphore::bounded(1).expect("a semaphore");
    Table::new("Other operations, nobody else")
        .row(uncontended::<Std>("std Mutex, threads, lock and unlock"))
        .row(alone("std RwLock, threads, read", move || drop(std_readers.read().expect("a lock"))))
        .row(alone("multiproc, RwLock, read", move || drop(readers.read().expect("a lock"))))
        .row(alone("std RwLock, threads, write", move || {
            drop(std_writers.write().expect("a lock"))
        }))
        .row(alone("multiproc, RwLock, write", move || drop(writers.write().expect("a lock"))))
        .row(alone("multiproc, Event, set and clear", move || {
            event.set().expect("an event");
            event.clear().expect("an event");
        }))
        .row(alone("multiproc, Semaphore, acquire and release", move || {
            drop(permits.acquire().expect("a semaphore"));
        }))
        .row(alone("sem_t, give and take", move || {
            semaphore.give();
            semaphore.take();
        }))
        .run(rounds);
}

/// What Python does with a `Value`.
fn counters(rounds: usize) {
    let lock = Lock::new().expect("a lock");
    let [counter] = lines();
    let [changed, guarded] = [(); 2].map(|()| Value::new(0_u64).expect("a value"));
    let atomic = Value::atomic(0_u64).expect("a value");
    Table::new("A shared counter, one more under its lock")
        .row(python("Python's Value", COUNTER, &[]))
        .row(alone("multiproc, Value, update", move || {
            changed.update(|count| *count += 1).expect("a value");
        }))
        .row(alone("multiproc, Value, lock and +=", move || {
            *guarded.lock().expect("a value") += 1;
        }))
        .row(alone("multiproc, Lock, and a word beside", move || {
            lock.with(|| counter.set(counter.get() + 1));
        }))
        .row(alone("multiproc, Value<AtomicU64>, no lock", move || {
            atomic.fetch_add(1, Ordering::Relaxed);
        }))
        .run(rounds);
}

/// From one to the other and back, each way.
fn hand_overs(rounds: usize) {
    Table::new("One signal, one way, as a user gives and takes it")
        .row(hand_over::<signals::ParkingLot>("parking_lot's Condvar, threads"))
        .row(hand_over::<signals::Std>("std Condvar, threads"))
        .row(hand_over::<signals::Flagged>("multiproc, Condition"))
        .row(hand_over::<Event>("multiproc, Event"))
        .row(hand_over::<Semaphore>("multiproc, Semaphore"))
        .row(hand_over::<signals::Posix>("sem_t"))
        .run(rounds);
}

/// Two that want it all the time.
fn two(title: &str, labour: Labour, rounds: usize) {
    let mut race = Race::new(title, labour);
    race.row::<ParkingLot>("parking_lot, threads", 2, None);
    race.row::<Lock>("multiproc, Lock", 2, Some(Goal::Time(1.5)));
    race.row::<Std>("std, threads", 2, None);
    race.row::<Pthread<true>>("pthread, robust", 2, None);
    race.row::<Pthread<false>>("pthread", 2, None);
    race.run(rounds);
}

/// More and more that want it all the time.
fn crowd(rounds: usize) {
    let labour = Labour::of(Duration::from_nanos(100));
    let mut race = Race::new("More and more workers, 100 ns with the lock and without", labour);
    race.row::<Lock>("multiproc, 2 processes", 2, None);
    race.row::<Lock>("multiproc, 1 process", 1, None);
    race.row::<Lock>("multiproc, 4 processes", 4, None);
    race.row::<Lock>("multiproc, 8 processes", 8, Some(Goal::Speed(0.8)));
    for workers in [1, 2, 4, 8] {
        race.row::<Pthread<true>>(&format!("pthread, robust, {workers} processes"), workers, None);
    }
    for workers in [1, 2, 4, 8] {
        race.row::<ParkingLot>(&format!("parking_lot, {workers} threads"), workers, None);
    }
    race.run(rounds);
}

/// A table of locks that several want, and what each of these got.
struct Race {
    title: String,
    rows: Vec<Contender>,
    labour: Labour,
    shares: Vec<(String, Shares)>,
}

impl Race {
    fn new(title: &str, labour: Labour) -> Self {
        Self { title: title.to_owned(), rows: Vec::new(), labour, shares: Vec::new() }
    }

    fn row<E: Exclusion>(&mut self, name: &str, workers: usize, goal: Option<Goal>) {
        let (contender, shares) = contended::<E>(name, workers, self.labour);
        self.shares.push((name.to_owned(), shares));
        self.rows.push(match goal {
            Some(goal) => contender.aiming_at(goal),
            None => contender,
        });
    }

    fn run(self, rounds: usize) {
        if !is_wanted(&self.title) {
            return;
        }
        self.rows.into_iter().fold(Table::new(&self.title), Table::row).run(rounds);
        let words =
            self.shares.iter().map(|(name, shares)| format!("{name} {:.2}", shares.least()));
        println!(
            "\nThe least lucky worker's part of its share: {}.",
            words.collect::<Vec<_>>().join("; ")
        );
    }
}
