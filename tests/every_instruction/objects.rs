//! Objects, and processes that come to their memory and go from it.

use std::time::Duration;

use multiproc::{Array, Connection, ErrorKind, Lock, Nothing, Pipe, Queue, Sender, Value};

use crate::stepping::{Fate, Gate, Operation, alone, begin, end};

/// So much that a block which is not given back is missed after eight of them.
const LARGE: usize = 15 << 20;

/// Makes an object where there is none, in a segment that goes with the dead.
#[test]
fn making_and_dropping_an_object() {
    fn victim((lock, gate): (Lock, Gate)) {
        begin(gate);
        let value = Value::new([1u64; 16]).unwrap();
        drop(value);
        end();
        drop(lock);
    }
    fn check(lock: Lock, _: Fate) {
        assert!(lock.who_holds().is_none());
        drop(lock.lock().unwrap());
    }
    alone("making_and_dropping_an_object", |()| {
        let make = || {
            let lock = Lock::new().unwrap();
            (lock.clone(), lock)
        };
        Operation::new("object: make and drop", make, victim, check).try_all();
    });
}

/// The dead one's object, on its way to others or there, in a segment of the dead one's.
#[test]
fn making_and_sending_an_object() {
    type Out = Connection<Value<u64>, Nothing>;
    type In = Connection<Nothing, Value<u64>>;
    fn victim((mut out, gate): (Out, Gate)) {
        let value = Value::new(7).unwrap();
        begin(gate);
        out.send(value).unwrap();
        end();
    }
    fn check(mut inn: In, fate: Fate) {
        match inn.recv() {
            Ok(value) => {
                assert_eq!(value.get().unwrap(), 7);
                value.set(8).unwrap();
                assert_eq!(value.clone().get().unwrap(), 8);
            }
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        assert!(inn.recv().unwrap_err().is_disconnected());
    }
    alone("making_and_sending_an_object", |()| {
        let make = || Pipe::simplex().unwrap();
        Operation::new("object: send of a new one", make, victim, check).try_all();
    });
}

/// A block that the dead had a handle of is free when the last living one goes.
#[test]
fn drop_of_a_handle() {
    type Large = Array<u8>;
    fn make() -> (Large, Large) {
        let array = Array::new(LARGE, 1).unwrap();
        (array.clone(), array)
    }
    fn victim((array, gate): (Large, Gate)) {
        begin(gate);
        drop(array);
        end();
    }
    fn check(array: Large, _: Fate) {
        array.set(LARGE - 1, 2).unwrap();
        assert_eq!(array.get(LARGE - 1).unwrap(), 2);
    }
    alone("object_drop_of_a_handle", |()| {
        Operation::new("object: drop of a handle", make, victim, check).try_all();
    });
}

/// The dead had the last handle: its block is free without anybody else's doing.
#[test]
fn drop_of_the_last_handle() {
    type Large = Array<u8>;
    fn make() -> (Large, ()) {
        (Array::new(LARGE, 1).unwrap(), ())
    }
    fn victim((array, gate): (Large, Gate)) {
        begin(gate);
        drop(array);
        end();
    }
    alone("drop_of_the_last_handle", |()| {
        Operation::new("object: drop of the last handle", make, victim, |(), _| ()).try_all();
    });
}

/// A handle in a message, whose receiver is not in its segment yet.
#[test]
fn recv_of_a_first_handle() {
    type Kept = (Connection<Sender<u64>, Nothing>, Queue<u64>);
    fn make() -> (Connection<Nothing, Sender<u64>>, Kept) {
        let (mut out, inn) = Pipe::simplex().unwrap();
        let queue = Queue::bounded(4).unwrap();
        out.send(queue.sender().unwrap()).unwrap();
        (inn, (out, queue))
    }
    fn victim((mut inn, gate): (Connection<Nothing, Sender<u64>>, Gate)) {
        begin(gate);
        let mut sender = inn.recv().unwrap();
        sender.send(1).unwrap();
        end();
    }
    fn check((out, mut queue): Kept, fate: Fate) {
        let received = queue.try_recv().ok();
        assert!(received == Some(1) || received.is_none() && !fate.is_done());
        // What was on its way is back when nobody can take it any more.
        drop(out);
        assert_eq!(queue.info().handles.len(), 1, "{:?}", queue.info());
        queue.send(2).unwrap();
        assert_eq!(queue.recv().unwrap(), 2);
    }
    alone("recv_of_a_first_handle", |()| {
        Operation::new("attach: recv of a first handle", make, victim, check).try_all();
    });
}

/// A handle in a message, which is the last one of its sender.
#[test]
fn send_of_a_last_handle() {
    type Victim = (Connection<Sender<u64>, Nothing>, Sender<u64>);
    type Kept = (Connection<Nothing, Sender<u64>>, Queue<u64>);
    fn make() -> (Victim, Kept) {
        let ((out, inn), queue) = (Pipe::simplex().unwrap(), Queue::bounded(4).unwrap());
        let sender = queue.sender().unwrap();
        ((out, sender), (inn, queue))
    }
    fn victim(((mut out, sender), gate): (Victim, Gate)) {
        begin(gate);
        out.send(sender).unwrap();
        end();
    }
    fn check((mut inn, mut queue): Kept, fate: Fate) {
        match inn.recv() {
            Ok(mut sender) => {
                sender.send(1).unwrap();
                assert_eq!(queue.recv().unwrap(), 1);
                assert_eq!(queue.info().handles.len(), 2);
            }
            Err(error) => assert!(error.is_peer_dead() && !fate.is_done(), "{error}"),
        }
        drop(inn);
        // A letter whose message was not sent any more has gone with its socket: who waits sees it.
        let waited = queue.recv_timeout(Duration::from_nanos(1));
        assert!(waited.unwrap_err().is_timeout());
        assert_eq!(queue.info().handles.len(), 1, "{:?}", queue.info());
    }
    alone("send_of_a_last_handle", |()| {
        Operation::new("detach: send of the last handle", make, victim, check).try_all();
    });
}

/// The last handle of a segment goes, and the segment with it.
#[test]
fn leaving_a_segment() {
    type Sparse = Array<u64>;
    fn make() -> (Sparse, Sparse) {
        let array = Array::sparse(4 << 20).unwrap();
        (array.clone(), array)
    }
    fn victim((array, gate): (Sparse, Gate)) {
        begin(gate);
        drop(array);
        end();
    }
    fn check(array: Sparse, _: Fate) {
        array.set(1 << 20, 7).unwrap();
        assert_eq!(array.get(1 << 20).unwrap(), 7);
        assert!(array.who_holds().is_empty());
        assert!(matches!(array.get(4 << 20), Err(error) if is_out_of_bounds(&error)));
    }
    fn is_out_of_bounds(error: &multiproc::LockError<u64>) -> bool {
        error.error().is_some_and(|error| error.kind() == ErrorKind::Bounds)
    }
    alone("leaving_a_segment", |()| {
        Operation::new("detach: leaving a segment", make, victim, check).try_all();
    });
}
