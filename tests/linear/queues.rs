//! Queues.

use std::collections::VecDeque;

use multiproc::{Plain, Queue};

use crate::common::{next, seed, storms, watched};
use crate::history::{Call, Model, Verdict};
use crate::log::{Part, Plan, meet};

pub(crate) const CALLS: usize = 12;

/// What a receive returns that found nothing, and a send that found no room.
pub(crate) const NOTHING: u64 = u64::MAX;
/// What a send returns that sent.
pub(crate) const SENT: u64 = 1;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Send(u64),
    Receive,
}

impl Op {
    pub(crate) const RECEIVE: u64 = 0;

    pub(crate) fn of(number: u64) -> Self {
        if number == Self::RECEIVE { Self::Receive } else { Self::Send(number) }
    }
}

/// A queue of one process.
pub(crate) struct Fifo {
    pub(crate) capacity: usize,
}

impl Model for Fifo {
    type Op = Op;
    type State = VecDeque<u64>;

    fn first(&self) -> VecDeque<u64> {
        VecDeque::new()
    }

    fn after(&self, state: &VecDeque<u64>, call: &Call<Op>) -> Vec<VecDeque<u64>> {
        let mut next = state.clone();
        let returned = call.ended.map(|(_, returned)| returned);
        match call.op {
            Op::Send(value) => {
                let sent = if next.len() < self.capacity {
                    next.push_back(value);
                    SENT
                } else {
                    NOTHING
                };
                if returned.is_none_or(|returned| returned == sent) { vec![next] } else { vec![] }
            }
            Op::Receive => {
                let value = next.pop_front().unwrap_or(NOTHING);
                if returned.is_none_or(|returned| returned == value) { vec![next] } else { vec![] }
            }
        }
    }
}

type Shared = Queue<u64, Plain>;

fn send(queue: &mut Shared, value: u64) -> u64 {
    match queue.try_send(value) {
        Ok(()) => SENT,
        Err(error) if error.is_full() => NOTHING,
        Err(error) => panic!("{error}"),
    }
}

fn receive(queue: &mut Shared) -> u64 {
    match queue.try_recv() {
        Ok(value) => value,
        Err(error) if error.is_empty() => NOTHING,
        Err(error) => panic!("{error}"),
    }
}

/// Sends and receives at random, without waiting.
fn at_random((mut queue, mut log, together, mut random): Part<Shared>) {
    meet(&together);
    for number in 0..CALLS as u64 {
        if next(&mut random).is_multiple_of(2) {
            let value = (random << 8 | number) >> 1 | 1;
            log.call(value, || send(&mut queue, value));
        } else {
            log.call(Op::RECEIVE, || receive(&mut queue));
        }
    }
}

/// As [`at_random`], but says of each send that it is done, and does it only with the next call.
fn too_late((mut queue, mut log, together, mut random): Part<Shared>) {
    let mut owed = None;
    meet(&together);
    for number in 0..CALLS as u64 {
        let mut pay = |queue: &mut Shared| owed.take().map(|value| send(queue, value));
        if next(&mut random).is_multiple_of(2) {
            let value = (random << 8 | number) >> 1 | 1;
            log.call(value, || {
                pay(&mut queue);
                SENT
            });
            owed = Some(value);
        } else {
            log.call(Op::RECEIVE, || {
                pay(&mut queue);
                receive(&mut queue)
            });
        }
    }
}

/// Waits: half of the processes send, half of them receive as many.
fn patiently((mut queue, mut log, together, random): Part<Shared>) {
    meet(&together);
    for number in 0..CALLS as u64 {
        if random.is_multiple_of(2) {
            let value = (random << 8 | number) >> 1 | 1;
            log.call(value, || queue.send(value).map_or(NOTHING, |()| SENT));
        } else {
            log.call(Op::RECEIVE, || queue.recv().unwrap_or(NOTHING));
        }
    }
}

/// Looks at so many histories of queues of this capacity.
fn look(body: fn(Part<Shared>), capacity: usize, kills: bool) -> Verdict {
    let mut random = seed();
    let mut verdict = Verdict::default();
    let plan = Plan { body, calls: CALLS, op: Op::of, kills };
    for _ in 0..60 * storms() {
        let queue = Queue::builder().codec::<Plain>().bounded::<u64>(capacity).unwrap();
        let calls = plan.record(|_| queue.try_clone().unwrap(), &mut random);
        verdict.add(&Fifo { capacity }, &calls);
    }
    verdict
}

#[test]
fn queues_of_every_capacity_are_queues() {
    watched("queues_of_every_capacity_are_queues", || {
        for capacity in [1, 2, 3, 64] {
            look(at_random, capacity, false).assert_right(&format!("Queue of {capacity}"));
        }
    });
}

#[test]
fn queues_whose_users_wait_are_queues() {
    watched("queues_whose_users_wait_are_queues", || {
        for capacity in [1, 2, 3] {
            let what = format!("Queue of {capacity}, waiting");
            look(patiently, capacity, false).assert_right(&what);
        }
    });
}

#[test]
fn queues_of_the_dead_are_queues() {
    watched("queues_of_the_dead_are_queues", || {
        for capacity in [1, 3, 64] {
            let what = format!("Queue of {capacity}, with a death");
            look(at_random, capacity, true).assert_right(&what);
        }
    });
}

#[test]
fn a_queue_that_sends_too_late_is_caught() {
    watched("a_queue_that_sends_too_late_is_caught", || {
        assert!(Verdict::is_caught(|| look(too_late, 64, false)));
    });
}
