//! Channels between threads of one process: crossbeam's, kanal's, rtrb.

use std::cell::Cell;
use std::sync::Arc;

use super::{CAPACITY, Channel, Load, Poll};
use crate::support::memory::pause;

/// Looks before another thread may run.
const LOOKS: u32 = 64;

pub(crate) struct Crossbeam<M>(crossbeam_channel::Sender<M>, crossbeam_channel::Receiver<M>);

pub(crate) struct Kanal<M>(kanal::Sender<M>, kanal::Receiver<M>);

impl<M> Crossbeam<M> {
    pub(crate) fn new() -> Self {
        Self::of(CAPACITY)
    }

    pub(crate) fn of(capacity: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        Self(sender, receiver)
    }
}

impl<M> Kanal<M> {
    pub(crate) fn new() -> Self {
        Self::of(CAPACITY)
    }

    pub(crate) fn of(capacity: usize) -> Self {
        let (sender, receiver) = kanal::bounded(capacity);
        Self(sender, receiver)
    }
}

impl<M: Load> Channel<M> for Crossbeam<M> {
    type Sender = crossbeam_channel::Sender<M>;
    type Receiver = crossbeam_channel::Receiver<M>;

    const CROSSES: bool = false;

    fn sender(&self) -> Self::Sender {
        self.0.clone()
    }

    fn receiver(&self) -> Self::Receiver {
        self.1.clone()
    }

    fn send(sender: &mut Self::Sender, message: M) {
        sender.send(message).expect("a receiver");
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        receiver.recv().expect("a message")
    }
}

impl<M: Load> Channel<M> for Kanal<M> {
    type Sender = kanal::Sender<M>;
    type Receiver = kanal::Receiver<M>;

    const CROSSES: bool = false;

    fn sender(&self) -> Self::Sender {
        self.0.clone()
    }

    fn receiver(&self) -> Self::Receiver {
        self.1.clone()
    }

    fn send(sender: &mut Self::Sender, message: M) {
        sender.send(message).expect("a receiver");
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        receiver.recv().expect("a message")
    }
}

/// A ring for one sender and one receiver, who can but look.
pub(crate) struct Rtrb<M>(Cell<Option<rtrb::Producer<M>>>, Cell<Option<rtrb::Consumer<M>>>);

impl<M> Rtrb<M> {
    pub(crate) fn of(capacity: usize) -> Self {
        let (producer, consumer) = rtrb::RingBuffer::new(capacity);
        Self(Cell::new(Some(producer)), Cell::new(Some(consumer)))
    }
}

impl<M: Load> Channel<M> for Rtrb<M> {
    type Sender = rtrb::Producer<M>;
    type Receiver = rtrb::Consumer<M>;

    const CROSSES: bool = false;

    fn sender(&self) -> Self::Sender {
        self.0.take().expect("one sender")
    }

    fn receiver(&self) -> Self::Receiver {
        self.1.take().expect("one receiver")
    }

    fn send(sender: &mut Self::Sender, message: M) {
        let mut message = Some(message);
        until(|| match sender.push(message.take().expect("a message")) {
            Ok(()) => Some(()),
            Err(rtrb::PushError::Full(back)) => {
                message = Some(back);
                None
            }
        });
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        until(|| receiver.pop().ok())
    }
}

impl<M: Load> Poll<M> for Rtrb<M> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M> {
        receiver.pop().ok()
    }
}

/// crossbeam's queue for any number of both, who can but look.
pub(crate) struct ArrayQueue<M>(Arc<crossbeam_queue::ArrayQueue<M>>);

impl<M> ArrayQueue<M> {
    pub(crate) fn of(capacity: usize) -> Self {
        Self(Arc::new(crossbeam_queue::ArrayQueue::new(capacity)))
    }
}

impl<M: Load> Channel<M> for ArrayQueue<M> {
    type Sender = Arc<crossbeam_queue::ArrayQueue<M>>;
    type Receiver = Arc<crossbeam_queue::ArrayQueue<M>>;

    const CROSSES: bool = false;

    fn sender(&self) -> Self::Sender {
        Arc::clone(&self.0)
    }

    fn receiver(&self) -> Self::Receiver {
        Arc::clone(&self.0)
    }

    fn send(sender: &mut Self::Sender, message: M) {
        let mut message = Some(message);
        until(|| match sender.push(message.take().expect("a message")) {
            Ok(()) => Some(()),
            Err(back) => {
                message = Some(back);
                None
            }
        });
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        until(|| receiver.pop())
    }
}

impl<M: Load> Poll<M> for ArrayQueue<M> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M> {
        receiver.pop()
    }
}

/// Looks again and again, and lets others run meanwhile.
fn until<R>(mut look: impl FnMut() -> Option<R>) -> R {
    let mut looks = 0_u32;
    loop {
        if let Some(found) = look() {
            return found;
        }
        looks += 1;
        pause();
        if looks.is_multiple_of(LOOKS) {
            std::thread::yield_now();
        }
    }
}
