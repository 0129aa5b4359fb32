//! Models of a worker and of who gives it orders: sent ahead, taken back, answered; the end of the
//! lane; and the death of the worker at every step. The lanes are queues that keep what a ring and
//! its seat promise: order, an end behind what was sent, and no sleeper forgotten.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::death::{Life, live};
use super::{expect_caught, model, race};
use crate::raw::claim::{Given, begin};
use crate::shim::{AtomicU64, Ordering::*, mutant};

const BOUND: usize = 3;
const ORDERS: usize = 3;
/// A worker that does three orders takes fewer steps.
const STEPS: u32 = 14;

/// One direction.
struct Lane<T> {
    line: Mutex<(VecDeque<T>, bool)>,
    changed: Condvar,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self { line: Mutex::new((VecDeque::new(), false)), changed: Condvar::new() }
    }

    fn send(&self, message: T) {
        self.line.lock().unwrap().0.push_back(message);
        self.changed.notify_all();
    }

    /// Its sender has closed it, or is dead.
    fn close(&self) {
        self.line.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    /// Waits for a message. `None` at the end.
    fn receive(&self) -> Option<T> {
        let mut line = self.line.lock().unwrap();
        loop {
            if let Some(message) = line.0.pop_front() {
                return Some(message);
            }
            if line.1 {
                return None;
            }
            line = self.changed.wait(line).unwrap();
        }
    }
}

/// What a worker says of an order: that it did it, or that it refuses.
type Reply = (u64, bool);

struct Shared {
    claim: AtomicU64,
    orders: Lane<u64>,
    replies: Lane<Reply>,
    /// How often each order was begun.
    begun: [AtomicUsize; ORDERS + 1],
    is_killed: AtomicBool,
    race: AtomicUsize,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            claim: AtomicU64::new(0),
            orders: Lane::new(),
            replies: Lane::new(),
            begun: std::array::from_fn(|_| AtomicUsize::new(0)),
            is_killed: AtomicBool::new(false),
            race: AtomicUsize::new(0),
        })
    }

    fn begun(&self, number: u64) -> usize {
        self.begun[number as usize].load(SeqCst)
    }

    /// One step of the worker: it may be its last.
    fn step(&self, life: &Life) {
        life.step();
        if self.is_killed.load(SeqCst) {
            life.renew(0);
            life.step();
        }
    }

    /// What a worker does until there are no more orders.
    fn work(&self, life: &Life) {
        self.step(life);
        while let Some(number) = self.orders.receive() {
            self.step(life);
            race(&self.race);
            let is_mine = begin(&self.claim, number);
            if is_mine {
                self.begun[number as usize].fetch_add(1, SeqCst);
                self.step(life);
            }
            if is_mine || !mutant("claim-refusal") {
                self.replies.send((number, is_mine));
            }
            self.step(life);
        }
    }

    /// A worker that is killed before its step of this number.
    fn worker(shared: &Arc<Self>, steps: u32) -> JoinHandle<bool> {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let life = Life::new(steps);
            let has_died = live(|| shared.work(&life));
            // The kernel does this.
            shared.replies.close();
            has_died
        })
    }
}

/// How an order ended for the giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    PutBack,
    Died,
}

/// The giver: what a minder does with one worker.
struct Giver<'a> {
    shared: &'a Shared,
    given: Given,
    held: Vec<u64>,
    ends: Vec<(u64, End)>,
}

impl<'a> Giver<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, given: Given::new(), held: Vec::new(), ends: Vec::new() }
    }

    fn give(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.given.number();
            self.held.push(number);
            self.shared.orders.send(number);
        }
    }

    fn take_back(&mut self) {
        race(&self.shared.race);
        match self.given.take_back(&self.shared.claim) {
            Ok(lowest) => {
                let at = self.held.partition_point(|number| *number < lowest);
                let back = self.held.split_off(at).into_iter();
                self.ends.extend(back.map(|number| (number, End::PutBack)));
            }
            Err(_) => {
                self.shared.is_killed.store(true, SeqCst);
                self.shared.orders.close();
                self.lose();
            }
        }
    }

    /// Takes replies until every order is over.
    fn hear_all(&mut self) {
        while !self.held.is_empty() {
            match self.shared.replies.receive() {
                Some((number, is_done)) => {
                    let at = self.held.iter().position(|held| *held == number);
                    match at {
                        Some(at) if is_done => {
                            self.given.answered(number);
                            self.ends.push((self.held.remove(at), End::Done));
                        }
                        None if !is_done => {}
                        // It says what cannot be.
                        _ => {
                            self.shared.is_killed.store(true, SeqCst);
                            self.shared.orders.close();
                            self.lose();
                        }
                    }
                }
                None => self.lose(),
            }
        }
    }

    /// The worker is dead, or as good as dead: what it had begun died with it.
    fn lose(&mut self) {
        let unbegun = self.given.left_by_the_dead(&self.shared.claim);
        for number in std::mem::take(&mut self.held) {
            self.ends.push((number, if number < unbegun { End::Died } else { End::PutBack }));
        }
    }

    /// Every order has ended once.
    fn is_complete(&mut self) -> bool {
        self.ends.sort_by_key(|(number, _)| *number);
        self.ends.iter().map(|(number, _)| *number).eq(1..=self.ends.len() as u64)
    }
}

/// Every order has one end, and it is the one that is true.
fn settle(giver: &mut Giver<'_>) {
    assert!(giver.is_complete(), "{:?}", giver.ends);
    for &(number, end) in &giver.ends {
        let wanted = usize::from(end != End::PutBack);
        assert_eq!(giver.shared.begun(number), wanted, "{:?}", giver.ends);
    }
    let died = giver.ends.iter().filter(|(_, end)| *end == End::Died).count();
    assert!(died <= 1, "{:?}", giver.ends);
}

/// The worker dies at any of its steps while orders are taken back from it. What was put back was
/// not begun; what failed was the one it was at.
#[test]
fn a_death_fails_the_one_order_that_was_begun() {
    for steps in 0..STEPS {
        model("a_death_fails_the_one_order_that_was_begun", BOUND, move || {
            let shared = Shared::new();
            let worker = Shared::worker(&shared, steps);
            let mut giver = Giver::new(&shared);
            giver.give(2);
            giver.take_back();
            giver.hear_all();
            giver.give(1);
            giver.hear_all();
            settle(&mut giver);
            shared.orders.close();
            worker.join().unwrap();
            settle(&mut giver);
        });
    }
}

/// The pool closes: what was given is done before the worker leaves, and it does leave.
#[test]
fn a_worker_leaves_behind_its_last_order() {
    model("a_worker_leaves_behind_its_last_order", BOUND, || {
        let shared = Shared::new();
        let worker = Shared::worker(&shared, Life::ENDLESS);
        let mut giver = Giver::new(&shared);
        giver.give(2);
        race(&shared.race);
        shared.orders.close();
        giver.hear_all();
        assert!(!worker.join().unwrap());
        settle(&mut giver);
        assert!(giver.ends.iter().all(|(_, end)| *end == End::Done));
    });
}

/// The pool is terminated: the worker is killed by somebody else, whatever it is at, and whatever
/// the giver is at.
#[test]
fn a_kill_from_elsewhere_ends_every_order_once() {
    model("a_kill_from_elsewhere_ends_every_order_once", 2, || {
        let shared = Shared::new();
        let worker = Shared::worker(&shared, Life::ENDLESS);
        let killer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                race(&shared.race);
                shared.is_killed.store(true, SeqCst);
                // The kernel's kill ends a sleep as well.
                shared.orders.close();
            })
        };
        let mut giver = Giver::new(&shared);
        giver.give(2);
        giver.take_back();
        giver.hear_all();
        killer.join().unwrap();
        worker.join().unwrap();
        settle(&mut giver);
    });
}

/// Somebody writes over the word. Orders may be done twice, but each has one end: nobody waits for
/// an order that the worker has passed over.
#[test]
fn a_scribbled_word_hides_no_order() {
    for word in [0, 1, 2, 3, 4, u64::MAX] {
        model("a_scribbled_word_hides_no_order", 2, move || {
            let shared = Shared::new();
            let worker = Shared::worker(&shared, Life::ENDLESS);
            let vandal = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    race(&shared.race);
                    shared.claim.swap(word, Relaxed);
                })
            };
            let mut giver = Giver::new(&shared);
            giver.give(2);
            giver.take_back();
            giver.hear_all();
            giver.give(1);
            giver.hear_all();
            assert!(giver.is_complete(), "{:?}", giver.ends);
            vandal.join().unwrap();
            shared.orders.close();
            worker.join().unwrap();
        });
    }
}

/// Nobody has written this word: the worker is not believed any more.
#[test]
fn a_word_out_of_range_is_corrupt() {
    model("a_word_out_of_range_is_corrupt", BOUND, || {
        let shared = Shared::new();
        let vandal = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                race(&shared.race);
                shared.claim.swap(u64::MAX, Relaxed);
            })
        };
        let mut given = Given::new();
        let number = given.number();
        race(&shared.race);
        let early = given.take_back(&shared.claim);
        assert!(early.is_err() || early == Ok(0));
        vandal.join().unwrap();
        assert!(given.take_back(&shared.claim).is_err());
        assert!(number < given.left_by_the_dead(&shared.claim));
    });
}

#[test]
fn mutants_are_caught() {
    let death = "raw::tests::loom_claim::a_death_fails_the_one_order_that_was_begun";
    expect_caught(&[
        ("claim-begin", death),
        ("claim-take-back", death),
        ("claim-refusal", "raw::tests::loom_claim::a_scribbled_word_hides_no_order"),
        ("claim-sound", "raw::tests::loom_claim::a_word_out_of_range_is_corrupt"),
    ]);
}
