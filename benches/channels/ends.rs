//! Channels between processes with one end each: this crate's pipe.

use std::cell::Cell;

use bytemuck::Pod;
use multiproc::{Codec, Connection, Nothing, Pipe, PipeBuilder, Plain, Serde};

use super::{Channel, Load, Poll};

/// This crate's pipe. Each of its ends can be taken once.
pub(crate) struct OurPipe<M, C: Codec<M>>(
    Cell<Option<Connection<M, Nothing, C>>>,
    Cell<Option<Connection<Nothing, M, C>>>,
);

impl<M: Load + Pod> OurPipe<M, Plain> {
    /// Of plain values, of which so many fit.
    pub(crate) fn plain(capacity: usize) -> Self {
        Self::of(Pipe::builder().plain().slots(capacity))
    }
}

impl<M: Load> OurPipe<M, Serde> {
    /// Of whatever serde carries.
    pub(crate) fn serde() -> Self {
        Self::of(Pipe::builder())
    }
}

impl<M: Load, C: Codec<M>> OurPipe<M, C> {
    fn of(builder: PipeBuilder<C>) -> Self {
        let (out, inn) = builder.simplex().expect("a pipe");
        Self(Cell::new(Some(out)), Cell::new(Some(inn)))
    }
}

impl<M: Load, C: Codec<M> + Send + 'static> Channel<M> for OurPipe<M, C> {
    type Sender = Connection<M, Nothing, C>;
    type Receiver = Connection<Nothing, M, C>;

    const CROSSES: bool = true;

    fn sender(&self) -> Self::Sender {
        self.0.take().expect("one sender")
    }

    fn receiver(&self) -> Self::Receiver {
        self.1.take().expect("one receiver")
    }

    fn send(sender: &mut Self::Sender, message: M) {
        sender.send(message).expect("a receiver");
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        receiver.recv().expect("a message")
    }
}

impl<M: Load, C: Codec<M> + Send + 'static> Poll<M> for OurPipe<M, C> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M> {
        receiver.try_recv().ok()
    }
}
