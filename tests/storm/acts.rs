//! What a worker does in the storm: one act after the other, at random.

use std::collections::HashMap;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use multiproc::{LockError, Process, wait_any};

use super::board::{Board, QUOTA, dawdle};
use super::common::next;
use super::things::{
    Callee, Caller, ELEMENTS, GROUP, Inbox, Letter, PARTIES, PERMITS, Small, Things,
};
use crate::common::ledger::{self, Address};

/// How long an act waits for others: they may be stopped.
const SHORT: Duration = Duration::from_millis(5);

/// How long the same act is repeated.
const TURN: Duration = Duration::from_micros(200);

/// How long a call waits for the other side.
const ANSWER: Duration = Duration::from_millis(30);

pub struct Worker {
    things: Things,
    inbox: Inbox,
    board: &'static Board,
    place: usize,
    random: u64,
    name: u64,
    /// How many messages this name has sent to each queue.
    numbers: [u64; 2],
    /// The last message of each name from each queue.
    last: [HashMap<u64, u64>; 2],
}

type Act = (&'static str, fn(&mut Worker));

pub const ACTS: usize = 17;
pub const ALL: [Act; ACTS] = [
    ("send", Worker::send),
    ("receive", Worker::receive),
    ("send to one that grows", Worker::send_growing),
    ("receive from one that grows", Worker::receive_growing),
    ("lock", Worker::lock),
    ("reentrant lock", Worker::reentrant),
    ("read", Worker::read),
    ("write", Worker::write),
    ("semaphore", Worker::acquire),
    ("wait for a condition", Worker::wait),
    ("event", Worker::event),
    ("wait for anything", Worker::look),
    ("barrier", Worker::meet),
    ("value", Worker::update),
    ("part of an array", Worker::part),
    ("letter", Worker::letter),
    ("spawn", Worker::spawn),
];

/// Acts until it is told to leave, or killed.
pub fn work((things, inbox, address, place, seed): (Things, Inbox, Address, usize, u64)) {
    let board = ledger::open::<Board>(address);
    let name = board.name();
    let (random, numbers, last) = (seed, [0; 2], Default::default());
    let mut worker = Worker { things, inbox, board, place, random, name, numbers, last };
    let here = &board.places[place];
    while board.is_over.load(Relaxed) == 0 && here.is_to_leave.load(Relaxed) == 0 {
        // A process costs as much as hundreds of the others, and letters are not to wait.
        let act = match worker.pick(400) {
            0 => ACTS - 1,
            1..=60 => ACTS - 2,
            number => number % (ACTS - 2),
        };
        here.act.store(act as u64 + 1, Relaxed);
        let start = Instant::now();
        while start.elapsed() < TURN {
            ALL[act].1(&mut worker);
            here.done.fetch_add(1, Relaxed);
            board.acts[act].fetch_add(1, Relaxed);
        }
        here.act.store(0, Relaxed);
    }
}

/// What came of a wait for a lock: the guard, and whether an owner before died. `None` if the time
/// was up.
fn taken<G>(result: Result<G, LockError<G>>) -> Option<(G, bool)> {
    match result {
        Ok(guard) => Some((guard, false)),
        Err(LockError::OwnerDied { guard, .. }) => Some((guard, true)),
        Err(LockError::TimedOut) => None,
        Err(other) => panic!("{other}"),
    }
}

fn answer(mut callee: Callee) {
    loop {
        match callee.recv_timeout(ANSWER) {
            Ok(question) => {
                if let Err(unsent) = callee.send_timeout(question.iter().sum(), ANSWER) {
                    return assert!(unsent.is_timeout() || unsent.is_disconnected());
                }
            }
            Err(error) => return assert!(error.is_timeout() || error.is_disconnected()),
        }
    }
}

fn body(name: u64, number: u64) -> Vec<u64> {
    let bits = next(&mut (name << 20 | number));
    let length = if bits.is_multiple_of(32) { bits % 3000 } else { bits % 40 };
    (0..length).map(|place| name ^ number ^ place).collect()
}

impl Worker {
    fn pick(&mut self, count: u64) -> usize {
        (next(&mut self.random) % count) as usize
    }

    /// Whether to wait for as long as it takes. Who is stopped goes on some day.
    fn is_patient(&mut self) -> bool {
        self.pick(32) == 0
    }

    /// How long to keep what it takes: some keep it for long.
    fn pause(&mut self) -> Duration {
        Duration::from_micros(if self.pick(64) == 0 { 200 } else { 0 })
    }

    /// What the next message to a queue is called.
    fn label(&mut self, queue: usize) -> (u64, u64) {
        if self.numbers[queue] == QUOTA {
            (self.name, self.numbers) = (self.board.name(), [0; 2]);
        }
        self.numbers[queue] += 1;
        (self.name, self.numbers[queue] - 1)
    }

    fn send(&mut self) {
        let (name, number) = self.label(0);
        let message = [name, number, name ^ number, !number];
        let sent = if self.is_patient() {
            self.things.bounded.send_timeout(message, SHORT)
        } else {
            self.things.bounded.try_send(message)
        };
        match sent {
            Ok(()) => drop(self.board.books[0].acknowledged.fetch_add(1, Relaxed)),
            Err(unsent) => {
                assert!(unsent.is_timeout() || unsent.is_full(), "{unsent}");
                assert_eq!(unsent.into_inner(), message);
            }
        }
    }

    fn receive(&mut self) {
        let pause = self.pause();
        let patience = if self.is_patient() { SHORT } else { Duration::ZERO };
        match self.things.bounded.recv_guard_timeout(patience) {
            Ok(held) => {
                let [name, number, both, not] = held.get().unwrap();
                assert!(both == name ^ number && not == !number, "torn");
                let before = self.last[0].insert(name, number);
                assert!(before < Some(number), "{number} behind {before:?}");
                dawdle(pause);
                self.board.books[0].mark((name, number));
            }
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }

    fn send_growing(&mut self) {
        // What grows without end is not what is tried.
        if self.things.growing.len() > 2000 {
            return;
        }
        let (name, number) = self.label(1);
        let message = [vec![name, number], body(name, number)].concat();
        self.things.growing.send(message).unwrap();
        self.board.books[1].acknowledged.fetch_add(1, Relaxed);
    }

    fn receive_growing(&mut self) {
        let pause = self.pause();
        for _ in 0..2 {
            match self.things.growing.recv_guard_timeout(SHORT) {
                Ok(held) => {
                    let message = held.get().unwrap();
                    let [name, number, ref rest @ ..] = message[..] else { panic!("torn") };
                    assert!(rest == body(name, number), "torn");
                    let before = self.last[1].insert(name, number);
                    assert!(before < Some(number), "{number} behind {before:?}");
                    dawdle(pause);
                    self.board.books[1].mark((name, number));
                }
                Err(error) => assert!(error.is_timeout(), "{error}"),
            }
        }
    }

    fn lock(&mut self) {
        let pause = self.pause();
        let patience = if self.is_patient() { Duration::MAX } else { SHORT };
        let lock = &self.things.lock;
        let Some((_guard, was_told)) = taken(lock.lock_timeout(patience)) else { return };
        self.board.secrets[0].change(self.name, was_told, pause);
        if was_told {
            lock.clear_poison();
        }
    }

    fn reentrant(&mut self) {
        let pause = self.pause();
        let lock = &self.things.reentrant;
        let Some((outer, was_told)) = taken(lock.lock_timeout(SHORT)) else { return };
        let (inner, _) = taken(lock.lock()).unwrap();
        self.board.secrets[1].change(self.name, was_told, pause);
        if was_told {
            lock.clear_poison();
        }
        drop((inner, outer));
    }

    fn read(&mut self) {
        let Some((_guard, was_told)) = taken(self.things.rwlock.read_timeout(SHORT)) else {
            return;
        };
        self.board.secrets[2].look(was_told);
    }

    fn write(&mut self) {
        let pause = self.pause();
        let lock = &self.things.rwlock;
        let Some((_guard, was_told)) = taken(lock.write_timeout(SHORT)) else { return };
        self.board.secrets[2].change(self.name, was_told, pause);
        if was_told {
            lock.clear_poison();
        }
    }

    fn acquire(&mut self) {
        let pause = self.pause();
        let permit = if self.is_patient() {
            Some(self.things.semaphore.acquire().unwrap())
        } else {
            self.things.semaphore.acquire_timeout(SHORT).unwrap()
        };
        let Some(permit) = permit else { return };
        self.board.places[self.place].has_permit.store(1, SeqCst);
        dawdle(pause);
        let permits = self.board.permits();
        assert!(permits <= PERMITS as usize, "{permits} have one of {PERMITS} permits");
        self.board.places[self.place].has_permit.store(0, SeqCst);
        drop(permit);
    }

    fn wait(&mut self) {
        let pause = self.pause();
        let is_waiter = self.pick(2) == 0;
        let Things { lock, condition, .. } = &self.things;
        let Some((guard, was_told)) = taken(lock.lock_timeout(SHORT)) else { return };
        self.board.secrets[0].change(self.name, was_told, pause);
        if was_told {
            lock.clear_poison();
        }
        if !is_waiter {
            condition.notify_one().unwrap();
            return;
        }
        let ((_guard, _), was_told) = taken(condition.wait_timeout(guard, SHORT)).unwrap();
        self.board.secrets[0].change(self.name, was_told, pause);
        if was_told {
            lock.clear_poison();
        }
    }

    fn event(&mut self) {
        match self.pick(3) {
            0 => self.things.event.set().unwrap(),
            1 => self.things.event.clear().unwrap(),
            _ => drop(self.things.event.wait_timeout(SHORT).unwrap()),
        }
    }

    fn look(&mut self) {
        let Things { bounded, growing, semaphore, event, .. } = &mut self.things;
        let ready = wait_any(&mut [bounded, growing, semaphore, event], SHORT).unwrap();
        assert!(ready.is_sorted() && ready.iter().all(|index| *index < 4), "{ready:?}");
    }

    fn meet(&mut self) {
        match self.things.barrier.wait_timeout(SHORT) {
            Ok(wait) => assert!(wait.index() < PARTIES),
            Err(error) if error.is_broken() => self.things.barrier.reset().unwrap(),
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }

    fn update(&mut self) {
        let pause = self.pause();
        let Things { value, atomic, .. } = &self.things;
        let [count, not, triple, _] = value.get().unwrap();
        assert!(not == !count && triple == 3 * count, "torn: {count} {not} {triple}");
        let name = self.name;
        let change = |value: &mut Small| {
            value[0] += 1;
            dawdle(pause);
            *value = [value[0], !value[0], value[2] + 3, name];
        };
        value.update(change).unwrap();
        self.board.updates[0].fetch_add(1, Relaxed);
        atomic.fetch_add(1, Relaxed);
        self.board.updates[1].fetch_add(1, Relaxed);
    }

    fn part(&mut self) {
        let pause = self.pause();
        let start = self.pick((ELEMENTS / GROUP) as u64) * GROUP;
        let array = &self.things.array;
        let Some((mut part, was_told)) =
            taken(array.lock_range_timeout(start..start + GROUP, SHORT))
        else {
            return;
        };
        if !was_told {
            assert!(part.iter().all(|element| *element == part[0]), "torn: {:?}", &part[..]);
            part[0] += 1;
            dawdle(pause);
            part[1..].iter_mut().for_each(|element| *element += 1);
            return;
        }
        drop(part);
        // Any part may be the one.
        let Some((mut all, was_told)) = taken(array.lock_timeout(SHORT)) else { return };
        if was_told {
            all.chunks_mut(GROUP).for_each(|group| group.fill(group[0]));
            array.clear_poison();
        }
    }

    /// Calls, or answers, whoever got the other end; that may take him some time.
    fn letter(&mut self) {
        match self.inbox.recv_timeout(SHORT) {
            Ok(Letter::Call(caller)) => self.call(caller),
            Ok(Letter::Answer(callee)) => answer(callee),
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }

    fn call(&mut self, mut caller: Caller) {
        for number in 0..self.pick(20) as u64 {
            let question = body(self.name, number);
            let sum: u64 = question.iter().sum();
            if let Err(unsent) = caller.send_timeout(question, ANSWER) {
                return assert!(unsent.is_timeout() || unsent.is_disconnected(), "{unsent}");
            }
            match caller.recv_timeout(ANSWER) {
                Ok(answer) => assert_eq!(answer, sum, "another answer"),
                Err(error) => return assert!(error.is_timeout() || error.is_disconnected()),
            }
            self.board.answers.fetch_add(1, Relaxed);
        }
    }

    fn spawn(&mut self) {
        fn twice(number: u64) -> u64 {
            2 * number
        }
        assert_eq!(Process::spawn(twice, self.name).unwrap().join().unwrap(), 2 * self.name);
    }
}
