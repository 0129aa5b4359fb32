//! Channels between processes: this crate's queue, shaq, ipc-channel.
#![allow(unsafe_code, reason = "shaq is made by unsafe functions")]

use std::cell::Cell;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::time::Duration;

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use multiproc::{Codec, Queue};
use shaq::mpmc::{Consumer, Producer};

use super::{CAPACITY, Channel, Load, Poll};
use crate::support::memory::pause;

/// Looks at a full queue before another process may run.
const LOOKS: u32 = 64;

/// Longer than any bench takes.
const LONG: Duration = Duration::from_secs(600);

impl<M: Load, C: Codec<M> + Send + 'static> Channel<M> for Queue<M, C> {
    type Sender = multiproc::Sender<M, C>;
    type Receiver = multiproc::Receiver<M, C>;

    const CROSSES: bool = true;

    fn sender(&self) -> Self::Sender {
        self.sender().expect("a handle")
    }

    fn receiver(&self) -> Self::Receiver {
        self.receiver().expect("a handle")
    }

    fn send(sender: &mut Self::Sender, message: M) {
        sender.send(message).expect("a receiver");
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        receiver.recv().expect("a message")
    }
}

impl<M: Load, C: Codec<M> + Send + 'static> Poll<M> for Queue<M, C> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M> {
        receiver.try_recv().ok()
    }
}

/// Receivers sleep where there is nothing; senders can but look whether there is room.
pub(crate) struct Shaq<M>(Producer<M>, Consumer<M>);

impl<M: Send> Shaq<M> {
    pub(crate) fn new() -> Self {
        // SAFETY: the name is a string of C.
        let memory = unsafe { libc::memfd_create(c"shaq".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(memory != -1, "a memfd");
        // SAFETY: just made, and nobody else's.
        let file = unsafe { File::from_raw_fd(memory) };
        let size = shaq::mpmc::minimum_file_size::<M>(CAPACITY).next_multiple_of(4096);
        // SAFETY: the file is new, so nobody else has made a queue of it; its messages have no
        // pointers in them, and are of one type.
        let producer = unsafe { Producer::create(&file, size) }.expect("a queue of shaq's");
        let consumer = producer.join_as_consumer();
        Self(producer, consumer)
    }
}

impl<M: Load + Copy> Channel<M> for Shaq<M> {
    type Sender = Producer<M>;
    type Receiver = Consumer<M>;

    const CROSSES: bool = true;

    fn sender(&self) -> Self::Sender {
        self.0.clone()
    }

    fn receiver(&self) -> Self::Receiver {
        self.1.clone()
    }

    fn send(sender: &mut Self::Sender, message: M) {
        let mut looks = 0_u32;
        while sender.try_write(message).is_err() {
            looks += 1;
            pause();
            if looks.is_multiple_of(LOOKS) {
                std::thread::yield_now();
            }
        }
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        receiver.read_timeout(LONG).expect("a message")
    }
}

impl<M: Load + Copy> Poll<M> for Shaq<M> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M> {
        receiver.try_read()
    }
}

/// Its receiving end cannot be shared.
pub(crate) struct IpcChannel<M>(IpcSender<M>, Cell<Option<IpcReceiver<M>>>);

impl<M: Load> IpcChannel<M> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = ipc::channel().expect("an ipc-channel");
        Self(sender, Cell::new(Some(receiver)))
    }
}

impl<M: Load> Channel<M> for IpcChannel<M> {
    type Sender = IpcSender<M>;
    type Receiver = IpcReceiver<M>;

    const CROSSES: bool = true;

    fn sender(&self) -> Self::Sender {
        self.0.clone()
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
