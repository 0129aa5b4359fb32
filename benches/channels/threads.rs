//! Channels between threads of one process: crossbeam's and kanal's.

use super::{CAPACITY, Channel, Load};

pub(crate) struct Crossbeam<M>(crossbeam_channel::Sender<M>, crossbeam_channel::Receiver<M>);

pub(crate) struct Kanal<M>(kanal::Sender<M>, kanal::Receiver<M>);

impl<M> Crossbeam<M> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
        Self(sender, receiver)
    }
}

impl<M> Kanal<M> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = kanal::bounded(CAPACITY);
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
