//! What the dead had, and survivors wait for.

use multiproc::{Connection, Lock, LockError, Nothing, Pipe, Queue, Receiver, Semaphore, Sender};

use super::Scene;

/// An end of a pipe, whose other end is in `recv`.
pub(crate) struct PipeWriter;

impl Scene for PipeWriter {
    type Theirs = Connection<u64, Nothing>;
    type Ours = Connection<Nothing, u64>;

    fn make() -> (Self::Theirs, Self::Ours) {
        Pipe::simplex().expect("a pipe")
    }

    fn hold(theirs: Self::Theirs, stay: impl FnOnce()) {
        let _theirs = theirs;
        stay();
    }

    fn survive(mut ours: Self::Ours) {
        assert!(ours.recv().expect_err("nobody sends").is_disconnected());
    }
}

/// An end of a pipe, into which no more fits.
pub(crate) struct FullPipe;

impl Scene for FullPipe {
    type Theirs = Connection<Nothing, u64>;
    type Ours = Connection<u64, Nothing>;

    fn make() -> (Self::Theirs, Self::Ours) {
        let (mut ours, theirs) = Pipe::simplex().expect("a pipe");
        while ours.try_send(1).is_ok() {}
        (theirs, ours)
    }

    fn hold(theirs: Self::Theirs, stay: impl FnOnce()) {
        let _theirs = theirs;
        stay();
    }

    fn survive(mut ours: Self::Ours) {
        assert!(ours.send(2).expect_err("nobody reads").is_disconnected());
    }
}

/// The last sender of an empty queue.
pub(crate) struct LastSender;

impl Scene for LastSender {
    type Theirs = Sender<u64>;
    type Ours = Receiver<u64>;

    fn make() -> (Self::Theirs, Self::Ours) {
        Queue::channel(4).expect("a queue")
    }

    fn hold(theirs: Self::Theirs, stay: impl FnOnce()) {
        let _theirs = theirs;
        stay();
    }

    fn survive(mut ours: Self::Ours) {
        assert!(ours.recv().expect_err("nobody sends").is_disconnected());
    }
}

/// The last receiver of a queue that is full.
pub(crate) struct FullQueue;

impl Scene for FullQueue {
    type Theirs = Receiver<u64>;
    type Ours = Sender<u64>;

    fn make() -> (Self::Theirs, Self::Ours) {
        let (mut ours, theirs) = Queue::channel(4).expect("a queue");
        while ours.try_send(1).is_ok() {}
        (theirs, ours)
    }

    fn hold(theirs: Self::Theirs, stay: impl FnOnce()) {
        let _theirs = theirs;
        stay();
    }

    fn survive(mut ours: Self::Ours) {
        assert!(ours.send(2).expect_err("nobody receives").is_disconnected());
    }
}

/// A message that somebody is at, of a queue that delivers it to another one then.
pub(crate) struct MessageHolder;

impl Scene for MessageHolder {
    type Theirs = Queue<u64>;
    type Ours = Queue<u64>;

    fn make() -> (Self::Theirs, Self::Ours) {
        let mut ours = Queue::builder().redeliver(true).bounded(4).expect("a queue");
        ours.send(1).expect("room");
        (ours.try_clone().expect("a handle"), ours)
    }

    fn hold(mut theirs: Self::Theirs, stay: impl FnOnce()) {
        let _message = theirs.recv_guard().expect("a message");
        stay();
    }

    fn survive(mut ours: Self::Ours) {
        assert_eq!(ours.recv().expect("the message of the dead"), 1);
    }
}

/// A lock.
pub(crate) struct LockOwner;

impl Scene for LockOwner {
    type Theirs = Lock;
    type Ours = Lock;

    fn make() -> (Lock, Lock) {
        let lock = Lock::new().expect("a lock");
        (lock.clone(), lock)
    }

    fn hold(theirs: Lock, stay: impl FnOnce()) {
        let _guard = theirs.lock().expect("a lock that is free");
        stay();
    }

    fn survive(ours: Lock) {
        let died = ours.lock();
        assert!(matches!(died, Err(LockError::OwnerDied { .. })), "{died:?}");
    }
}

/// The only permit of a semaphore.
pub(crate) struct PermitOwner;

impl Scene for PermitOwner {
    type Theirs = Semaphore;
    type Ours = Semaphore;

    fn make() -> (Semaphore, Semaphore) {
        let semaphore = Semaphore::new(1).expect("a semaphore");
        (semaphore.clone(), semaphore)
    }

    fn hold(theirs: Semaphore, stay: impl FnOnce()) {
        let _permit = theirs.acquire().expect("a permit");
        stay();
    }

    fn survive(ours: Semaphore) {
        drop(ours.acquire().expect("the permit of the dead"));
    }
}
