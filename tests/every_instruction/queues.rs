//! Queues: sending and receiving by those who need not wait.

use multiproc::{Plain, Queue, Receiver, Sender};

use crate::stepping::{Fate, Gate, Operation, alone, begin, end};

type Block = [u64; 20];

/// What was sent, received and lost is all that there was.
fn is_settled<T, C>(queue: &Queue<T, C, impl multiproc::End>, sent: u64) {
    let stats = queue.stats();
    assert_eq!(stats.sent, sent, "{stats:?}");
    assert!(stats.in_flight == 0 && stats.redelivered == 0, "{stats:?}");
    assert_eq!(stats.received + stats.lost, sent, "{stats:?}");
    assert!(queue.info().handles.iter().all(|handle| !handle.holds_message && !handle.is_orphan));
}

/// The second message came whole, or its sender died; and then nothing more comes.
fn expect<T, C>(receiver: &mut Receiver<T, C>, first: &T, second: &T, fate: Fate)
where
    T: PartialEq + std::fmt::Debug,
    C: multiproc::Codec<T>,
{
    assert_eq!(&receiver.recv().unwrap(), first);
    let sent = match receiver.recv() {
        Ok(received) => {
            assert_eq!(&received, second);
            2
        }
        Err(error) => {
            assert!(error.is_peer_dead() && !fate.is_done(), "{error}");
            1
        }
    };
    assert!(receiver.recv().unwrap_err().is_disconnected());
    is_settled(receiver, sent);
    assert_eq!(receiver.stats().lost, 0);
}

/// Of three messages, the victim took the first or none, or it is lost with it.
fn take<T, C>(queue: &mut Queue<T, C>, of: fn(u64) -> T, fate: Fate)
where
    T: PartialEq + std::fmt::Debug,
    C: multiproc::Codec<T>,
{
    let rest: Vec<T> = queue.drain().collect();
    let from = if rest.len() == 3 && !fate.is_done() { 1 } else { 2 };
    assert_eq!(rest, (from..=3).map(of).collect::<Vec<T>>());
    is_settled(queue, 3);
    assert!(queue.stats().lost <= u64::from(!fate.is_done()));
    goes_on(queue, of);
    is_settled(queue, 3 + 12);
}

/// It goes on as if nothing had been, with another one who has what the dead had.
fn goes_on<T, C>(queue: &mut Queue<T, C>, of: fn(u64) -> T)
where
    T: PartialEq + std::fmt::Debug,
    C: multiproc::Codec<T>,
{
    let mut other = queue.clone();
    for round in 0..4 {
        other.send(of(10 * round)).unwrap();
        queue.send(of(10 * round + 1)).unwrap();
        other.send(of(10 * round + 2)).unwrap();
        for number in 0..3 {
            assert_eq!(queue.recv().unwrap(), of(10 * round + number));
        }
    }
}

#[test]
fn send_of_a_plain_value() {
    fn victim((mut sender, gate): (Sender<u64, Plain>, Gate)) {
        sender.send(1).unwrap();
        begin(gate);
        sender.send(2).unwrap();
        end();
    }
    fn check(mut receiver: Receiver<u64, Plain>, fate: Fate) {
        expect(&mut receiver, &1, &2, fate);
    }
    alone("queue_send_of_a_plain_value", |()| {
        let make = || Queue::builder().codec::<Plain>().channel(4).unwrap();
        Operation::new("queue: send of a plain value", make, victim, check).try_all();
    });
}

#[test]
fn recv_of_a_plain_value() {
    fn make() -> (Receiver<u64, Plain>, Queue<u64, Plain>) {
        let mut queue = Queue::builder().codec::<Plain>().bounded(4).unwrap();
        (1..=3).for_each(|number| queue.send(number).unwrap());
        (queue.receiver().unwrap(), queue)
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), 1);
        end();
    }
    fn check(mut queue: Queue<u64, Plain>, fate: Fate) {
        take(&mut queue, |number| number, fate);
    }
    alone("queue_recv_of_a_plain_value", |()| {
        Operation::new("queue: recv of a plain value", make, victim, check).try_all();
    });
}

#[test]
fn send_of_a_block() {
    fn victim((mut sender, gate): (Sender<Block, Plain>, Gate)) {
        sender.send([1; 20]).unwrap();
        begin(gate);
        sender.send([2; 20]).unwrap();
        end();
    }
    fn check(mut receiver: Receiver<Block, Plain>, fate: Fate) {
        expect(&mut receiver, &[1; 20], &[2; 20], fate);
    }
    alone("send_of_a_block", |()| {
        let make = || Queue::builder().codec::<Plain>().channel(4).unwrap();
        Operation::new("queue: send of a block", make, victim, check).try_all();
    });
}

#[test]
fn recv_of_a_block() {
    fn make() -> (Receiver<Block, Plain>, Queue<Block, Plain>) {
        let mut queue = Queue::builder().codec::<Plain>().bounded(4).unwrap();
        (1..=3).for_each(|number| queue.send([number; 20]).unwrap());
        (queue.receiver().unwrap(), queue)
    }
    fn victim((mut receiver, gate): (Receiver<Block, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), [1; 20]);
        end();
    }
    fn check(mut queue: Queue<Block, Plain>, fate: Fate) {
        take(&mut queue, |number| [number; 20], fate);
    }
    alone("recv_of_a_block", |()| {
        Operation::new("queue: recv of a block", make, victim, check).try_all();
    });
}

/// The payload lies beside the ring.
#[test]
fn send_of_a_long_message() {
    fn victim((mut sender, gate): (Sender<Vec<u8>>, Gate)) {
        sender.send(vec![1; 10]).unwrap();
        let message = vec![2; 20_000];
        begin(gate);
        sender.send_bytes(&message).unwrap();
        end();
    }
    fn check(mut receiver: Receiver<Vec<u8>>, fate: Fate) {
        assert_eq!(receiver.recv().unwrap(), [1; 10]);
        match receiver.recv_guard() {
            Ok(message) => assert_eq!(message.bytes(), [2; 20_000]),
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        assert!(receiver.recv().unwrap_err().is_disconnected());
        let sent = receiver.stats().sent;
        is_settled(&receiver, sent);
    }
    alone("send_of_a_long_message", |()| {
        let make = || Queue::channel(4).unwrap();
        Operation::new("queue: send of a long message", make, victim, check).try_all();
    });
}

#[test]
fn recv_of_a_long_message() {
    fn of(number: u64) -> Vec<u8> {
        vec![number as u8; 20_000]
    }
    fn make() -> (Receiver<Vec<u8>>, Queue<Vec<u8>>) {
        // There is room for these and one more: what is not given back is missed.
        let builder = Queue::builder().memory(1 << 20);
        let mut queue = builder.bounded(4).unwrap();
        (1..=3).for_each(|number| queue.send(of(number)).unwrap());
        (queue.receiver().unwrap(), queue)
    }
    fn victim((mut receiver, gate): (Receiver<Vec<u8>>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv_guard().unwrap().bytes().len(), 20_003);
        end();
    }
    fn check(mut queue: Queue<Vec<u8>>, fate: Fate) {
        take(&mut queue, of, fate);
    }
    alone("recv_of_a_long_message", |()| {
        Operation::new("queue: recv of a long message", make, victim, check).try_all();
    });
}

/// The block that the dead offered is in the queue or another's, and never both.
#[test]
fn send_of_a_block_by_one_of_many() {
    fn of(number: u64) -> Block {
        [number; 20]
    }
    fn make() -> (Sender<Block, Plain>, Queue<Block, Plain>) {
        let queue = Queue::builder().codec::<Plain>().bounded(4).unwrap();
        (queue.sender().unwrap(), queue)
    }
    fn victim((mut sender, gate): (Sender<Block, Plain>, Gate)) {
        sender.send([1; 20]).unwrap();
        begin(gate);
        sender.send([2; 20]).unwrap();
        end();
    }
    fn check(mut queue: Queue<Block, Plain>, fate: Fate) {
        let sent: Vec<Block> = queue.drain().collect();
        assert!(sent == [of(1), of(2)] || sent == [of(1)] && !fate.is_done());
        goes_on(&mut queue, of);
        is_settled(&queue, 12 + sent.len() as u64);
        assert_eq!(queue.stats().lost, 0);
    }
    alone("send_of_a_block_by_one_of_many", |()| {
        Operation::new("queue: send by one of many", make, victim, check).try_all();
    });
}

/// What the dead had in its hands is another's, once.
#[test]
fn recv_that_is_delivered_again() {
    fn make() -> (Receiver<Block, Plain>, Queue<Block, Plain>) {
        let builder = Queue::builder().codec::<Plain>().redeliver(true);
        let mut queue = builder.bounded(4).unwrap();
        (1..=3).for_each(|number| queue.send([number; 20]).unwrap());
        (queue.receiver().unwrap(), queue)
    }
    fn victim((mut receiver, gate): (Receiver<Block, Plain>, Gate)) {
        begin(gate);
        let message = receiver.recv_guard().unwrap();
        assert_eq!(*message, [1; 20]);
        // It never lets go of it.
        end();
    }
    fn check(mut queue: Queue<Block, Plain>, _: Fate) {
        let mut all: Vec<Block> = queue.drain().collect();
        all.sort_unstable();
        assert_eq!(all, [[1; 20], [2; 20], [3; 20]]);
        let stats = queue.stats();
        assert!(stats.sent == 3 && stats.received == 3 && stats.lost == 0, "{stats:?}");
        assert!(stats.in_flight == 0 && stats.redelivered <= 1, "{stats:?}");
    }
    alone("recv_that_is_delivered_again", |()| {
        Operation::new("queue: recv that is delivered again", make, victim, check).try_all();
    });
}

/// How many messages fill the first ring of a queue that grows.
const FIRST: u64 = 256;

#[test]
fn send_that_lets_a_queue_grow() {
    fn make() -> (Sender<u64, Plain>, Queue<u64, Plain>) {
        let mut queue = Queue::builder().codec::<Plain>().unbounded().unwrap();
        (0..FIRST).for_each(|number| queue.send(number).unwrap());
        (queue.sender().unwrap(), queue)
    }
    fn victim((mut sender, gate): (Sender<u64, Plain>, Gate)) {
        begin(gate);
        sender.send(FIRST).unwrap();
        end();
    }
    fn check(mut queue: Queue<u64, Plain>, fate: Fate) {
        queue.send(u64::MAX).unwrap();
        let all: Vec<u64> = queue.drain().collect();
        let most = all.len() as u64 - 1;
        assert!(all.iter().copied().eq((0..most).chain([u64::MAX])));
        assert!(most == FIRST + 1 || most == FIRST && !fate.is_done());
        is_settled(&queue, most + 1);
    }
    alone("send_that_lets_a_queue_grow", |()| {
        Operation::new("queue: send that lets it grow", make, victim, check).try_all();
    });
}

#[test]
fn recv_that_goes_on_in_the_next_ring() {
    fn make() -> (Receiver<u64, Plain>, Queue<u64, Plain>) {
        let mut queue = Queue::builder().codec::<Plain>().unbounded().unwrap();
        (0..FIRST + 3).for_each(|number| queue.send(number).unwrap());
        (0..FIRST).for_each(|number| assert_eq!(queue.recv().unwrap(), number));
        (queue.receiver().unwrap(), queue)
    }
    fn victim((mut receiver, gate): (Receiver<u64, Plain>, Gate)) {
        begin(gate);
        assert_eq!(receiver.recv().unwrap(), FIRST);
        end();
    }
    fn check(mut queue: Queue<u64, Plain>, fate: Fate) {
        queue.send(FIRST + 3).unwrap();
        let rest: Vec<u64> = queue.drain().collect();
        let from = FIRST + if rest.len() == 4 && !fate.is_done() { 0 } else { 1 };
        assert!(rest.into_iter().eq(from..FIRST + 4));
        is_settled(&queue, FIRST + 4);
    }
    alone("recv_that_goes_on_in_the_next_ring", |()| {
        Operation::new("queue: recv in the next ring", make, victim, check).try_all();
    });
}

#[test]
fn drop_of_a_handle() {
    fn make() -> (Sender<u64>, (Receiver<u64>, Sender<u64>)) {
        let (sender, receiver) = Queue::channel(4).unwrap();
        (sender.clone(), (receiver, sender))
    }
    fn victim((sender, gate): (Sender<u64>, Gate)) {
        begin(gate);
        drop(sender);
        end();
    }
    fn check((mut receiver, mut sender): (Receiver<u64>, Sender<u64>), fate: Fate) {
        assert_eq!(receiver.info().handles.len(), 2);
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.recv().unwrap(), 1);
        let end = receiver.recv().unwrap_err();
        assert!(end.is_disconnected() && !(end.is_peer_dead() && fate.is_done()));
    }
    alone("drop_of_a_handle", |()| {
        Operation::new("queue: drop of a handle", make, victim, check).try_all();
    });
}
