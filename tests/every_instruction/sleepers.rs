//! Queues whose others sleep: what was to wake them does, or is passed on.

use std::time::Duration;

use multiproc::{Plain, Process, Queue, Receiver, Sender, wait_any};

use crate::common::until;
use crate::stepping::{Fate, Gate, Operation, Say, alone, begin, end, sibling};

type Numbers = Queue<u64, Plain>;

fn of_one() -> Numbers {
    Queue::builder().codec::<Plain>().bounded(1).unwrap()
}

fn receives((mut receiver, mut say): (Receiver<u64, Plain>, Say)) -> u64 {
    say.send(()).unwrap();
    receiver.recv().unwrap()
}

fn sends((mut sender, mut say): (Sender<u64, Plain>, Say)) {
    say.send(()).unwrap();
    sender.send(2).unwrap();
}

fn until_asleep(queue: &Numbers) {
    until(|| queue.info().handles.iter().any(|handle| handle.is_asleep));
}

/// Nobody has anything, and nobody is left but this one.
fn is_settled(queue: &Numbers, sent: u64) {
    let info = queue.info();
    let stats = info.stats;
    assert_eq!((info.depth, info.handles.len()), (0, 1), "{info:?}");
    assert!(stats.sent == sent && stats.in_flight == 0, "{stats:?}");
    assert_eq!(stats.received + stats.lost, sent, "{stats:?}");
}

#[test]
fn send_to_one_who_waits() {
    type Others = (Numbers, Process<u64>);
    fn make() -> (Sender<u64, Plain>, Others) {
        let queue = of_one();
        let other = sibling(receives, queue.receiver().unwrap());
        until_asleep(&queue);
        (queue.sender().unwrap(), (queue, other))
    }
    fn victim((mut sender, gate): (Sender<u64, Plain>, Gate)) {
        begin(gate);
        sender.send(1).unwrap();
        end();
    }
    fn check((mut queue, other): Others, fate: Fate) {
        let is_sent = queue.stats().sent == 1;
        assert!(is_sent || !fate.is_done());
        if !is_sent {
            queue.send(2).unwrap();
        }
        assert_eq!(other.join().unwrap(), if is_sent { 1 } else { 2 });
        assert!(queue.try_recv().unwrap_err().is_empty());
        is_settled(&queue, 1);
    }
    alone("send_to_one_who_waits", |()| {
        Operation::new("queue: send to one who waits", make, victim, check).try_all();
    });
}

#[test]
fn recv_from_a_full_queue_for_which_one_waits() {
    type Others = (Numbers, Process<()>);
    fn make() -> (Receiver<u64, Plain>, Others) {
        let mut queue = of_one();
        queue.send(1).unwrap();
        let other = sibling(sends, queue.sender().unwrap());
        until_asleep(&queue);
        (queue.receiver().unwrap(), (queue, other))
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), 1);
        end();
    }
    fn check((mut queue, other): Others, fate: Fate) {
        let first = queue.recv().unwrap();
        assert!(first == 2 || first == 1 && !fate.is_done() && queue.recv().unwrap() == 2);
        other.join().unwrap();
        is_settled(&queue, 2);
    }
    alone("recv_from_a_full_queue_for_which_one_waits", |()| {
        Operation::new("queue: recv, a sender waits", make, victim, check).try_all();
    });
}

/// Two wait for a message; the one that is woken dies.
#[test]
fn recv_that_has_to_wait() {
    struct Kept {
        queue: Numbers,
        other: Option<Process<u64>>,
        sent: u64,
    }
    fn make() -> (Receiver<u64, Plain>, Kept) {
        let queue = of_one();
        (queue.receiver().unwrap(), Kept { queue, other: None, sent: 0 })
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), 1);
        end();
    }
    fn wake(kept: &mut Kept) {
        // The victim sleeps longest, so it is woken.
        let other = sibling(receives, kept.queue.receiver().unwrap());
        until(|| kept.queue.info().handles.iter().filter(|handle| handle.is_asleep).count() == 2);
        kept.other = Some(other);
        kept.queue.send(1).unwrap();
        kept.sent = 1;
    }
    fn check(mut kept: Kept, fate: Fate) {
        let Some(other) = kept.other else {
            kept.queue.send(2).unwrap();
            assert_eq!(kept.queue.recv().unwrap(), 2);
            return is_settled(&kept.queue, 1);
        };
        if matches!(fate, Fate::Woken(_)) {
            // Nobody but the other one can have it.
            assert_eq!(other.join().unwrap(), 1);
            return is_settled(&kept.queue, 1);
        }
        kept.queue.send(2).unwrap();
        let theirs = other.join().unwrap();
        assert!(theirs == 2 || theirs == 1 && !fate.is_done());
        let rest: Vec<u64> = kept.queue.drain().collect();
        assert_eq!(rest, [2][..usize::from(theirs == 1)]);
        is_settled(&kept.queue, 2);
    }
    alone("queue_recv_that_has_to_wait", |()| {
        Operation::new("queue: recv that has to wait", make, victim, check)
            .woken_by(wake)
            .try_all();
    });
}

/// One looks for what another one waits for, and takes nothing: whatever becomes of it, the other
/// one gets it.
#[test]
fn wait_any_beside_a_receiver() {
    type Kept = (Numbers, Option<Process<u64>>);
    fn make() -> (Receiver<u64, Plain>, Kept) {
        let queue = of_one();
        (queue.receiver().unwrap(), (queue, None))
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        let _ = wait_any(&mut [&mut receiver], Duration::MAX);
        end();
    }
    fn wake((queue, other): &mut Kept) {
        // The victim sleeps longest, so it is woken.
        *other = Some(sibling(receives, queue.receiver().unwrap()));
        until(|| queue.info().handles.iter().filter(|handle| handle.is_asleep).count() == 2);
        queue.send(1).unwrap();
    }
    fn check((mut queue, other): Kept, _: Fate) {
        let Some(other) = other else {
            queue.send(2).unwrap();
            assert_eq!(queue.recv().unwrap(), 2);
            return is_settled(&queue, 1);
        };
        assert_eq!(other.join().unwrap(), 1);
        is_settled(&queue, 1);
    }
    alone("wait_any_beside_a_receiver", |()| {
        Operation::new("wait_any, a receiver waits", make, victim, check).woken_by(wake).try_all();
    });
}

/// Two wait for room; the one that is woken dies.
#[test]
fn send_that_has_to_wait() {
    type Kept = (Numbers, Option<Process<()>>);
    fn make() -> (Sender<u64, Plain>, Kept) {
        let mut queue = of_one();
        queue.send(0).unwrap();
        (queue.sender().unwrap(), (queue, None))
    }
    fn victim((mut sender, gate): (Sender<u64, Plain>, Gate)) {
        begin(gate);
        sender.send(1).unwrap();
        end();
    }
    fn wake((queue, other): &mut Kept) {
        *other = Some(sibling(sends, queue.sender().unwrap()));
        until(|| queue.info().handles.iter().filter(|handle| handle.is_asleep).count() == 2);
        assert_eq!(queue.recv().unwrap(), 0);
    }
    fn check((mut queue, other): Kept, fate: Fate) {
        let Some(other) = other else {
            assert_eq!(queue.recv().unwrap(), 0);
            return is_settled(&queue, 1);
        };
        let first = queue.recv().unwrap();
        if first == 1 {
            assert_eq!(queue.recv().unwrap(), 2);
            other.join().unwrap();
            return is_settled(&queue, 3);
        }
        assert_eq!(first, 2);
        other.join().unwrap();
        let is_behind = queue.try_recv().is_ok_and(|second| second == 1);
        assert!(is_behind || !fate.is_done());
        is_settled(&queue, 2 + u64::from(is_behind));
    }
    alone("queue_send_that_has_to_wait", |()| {
        Operation::new("queue: send that has to wait", make, victim, check)
            .woken_by(wake)
            .try_all();
    });
}

/// What the dead was not done with counts as done, and whoever waits for that goes on.
#[test]
fn recv_and_task_done() {
    type Others = (Numbers, Process<bool>);
    fn joins((mut sender, mut say): (Sender<u64, Plain>, Say)) -> bool {
        say.send(()).unwrap();
        sender.join().is_ok()
    }
    fn make() -> (Receiver<u64, Plain>, Others) {
        let mut queue = Queue::builder().codec::<Plain>().joinable(true).bounded(4).unwrap();
        queue.send(1).unwrap();
        let other = sibling(joins, queue.sender().unwrap());
        until_asleep(&queue);
        (queue.receiver().unwrap(), (queue, other))
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), 1);
        receiver.task_done().unwrap();
        end();
    }
    fn check((mut queue, other): Others, fate: Fate) {
        if queue.try_recv().is_ok_and(|first| first == 1) {
            assert!(!fate.is_done());
            queue.task_done().unwrap();
        }
        assert!(other.join().unwrap());
        assert!(queue.join_timeout(Duration::ZERO).unwrap());
        is_settled(&queue, 1);
    }
    alone("recv_and_task_done", |()| {
        Operation::new("queue: recv and task_done", make, victim, check).try_all();
    });
}

#[test]
fn drop_of_the_last_sender() {
    type Others = (Receiver<u64>, Process<bool>);
    fn hears((mut receiver, mut say): (Receiver<u64>, Say)) -> bool {
        say.send(()).unwrap();
        let end = receiver.recv().unwrap_err();
        assert!(end.is_disconnected());
        end.is_peer_dead()
    }
    fn make() -> (Sender<u64>, Others) {
        let (sender, receiver) = Queue::channel(4).unwrap();
        let other = sibling(hears, receiver.clone());
        (sender, (receiver, other))
    }
    fn victim((sender, gate): (Sender<u64>, Gate)) {
        begin(gate);
        drop(sender);
        end();
    }
    fn check((receiver, other): Others, fate: Fate) {
        let is_peer_dead = other.join().unwrap();
        assert!(!(is_peer_dead && fate.is_done()));
        assert_eq!(receiver.info().handles.len(), 1);
    }
    alone("drop_of_the_last_sender", |()| {
        Operation::new("queue: drop of the last sender", make, victim, check).try_all();
    });
}
