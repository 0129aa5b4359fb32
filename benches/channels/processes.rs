//! Channels between processes: this crate's queue, shaq, ipc-channel, pipe(2).
#![allow(unsafe_code, reason = "shaq is made by unsafe functions")]

use std::cell::Cell;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::marker::PhantomData;
use std::os::fd::FromRawFd;
use std::time::Duration;

use bytemuck::Pod;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use multiproc::{Codec, Queue};
use shaq::mpmc::{Consumer, Producer};

use super::{CAPACITY, Channel, Load, Poll, Shape, crew};
use crate::support::Contender;
use crate::support::crew::Work;
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

/// One write and one read a message. 64 KiB of them fit.
pub(crate) struct OsPipe<M>(PipeReader, PipeWriter, PhantomData<M>);

impl<M> OsPipe<M> {
    pub(crate) fn new() -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        Self(reader, writer, PhantomData)
    }
}

impl<M: Load + Pod> Channel<M> for OsPipe<M> {
    type Sender = PipeWriter;
    type Receiver = PipeReader;

    const CROSSES: bool = true;

    fn sender(&self) -> Self::Sender {
        self.1.try_clone().expect("a copy of a pipe")
    }

    fn receiver(&self) -> Self::Receiver {
        self.0.try_clone().expect("a copy of a pipe")
    }

    fn send(sender: &mut Self::Sender, message: M) {
        sender.write_all(bytemuck::bytes_of(&message)).expect("a reader");
    }

    fn receive(receiver: &mut Self::Receiver) -> M {
        let mut message = M::zeroed();
        receiver.read_exact(bytemuck::bytes_of_mut(&mut message)).expect("a message");
        message
    }
}

/// A stream through a pipe: as many messages at once as are written without others in between.
pub(crate) fn pipe_in_batches<M: Load + Pod>(name: &str, shape: Shape) -> Contender {
    let pipe = OsPipe::<M>::new();
    let senders = (0..shape.senders).map(|_| write_batches::<M>(pipe.sender()));
    let receivers = (0..shape.receivers).map(|_| read_batches::<M>(pipe.receiver()));
    Contender::crew(name, crew(true, senders.collect(), receivers.collect()))
}

fn write_batches<M: Load + Pod>(mut writer: PipeWriter) -> Work {
    let size = libc::PIPE_BUF / size_of::<M>();
    let mut batch = Vec::with_capacity(size);
    Box::new(move |count| {
        let mut sum = 0_u64;
        for number in 0..count {
            let message = M::of(number);
            sum = sum.wrapping_add(message.number());
            batch.push(message);
            if batch.len() == size || number + 1 == count {
                writer.write_all(bytemuck::cast_slice(&batch)).expect("a reader");
                batch.clear();
            }
        }
        sum
    })
}

fn read_batches<M: Load + Pod>(mut reader: PipeReader) -> Work {
    let mut batch = vec![M::zeroed(); libc::PIPE_BUF / size_of::<M>()];
    Box::new(move |count| {
        let (mut sum, mut left) = (0_u64, count as usize);
        while left > 0 {
            let most = left.min(batch.len());
            let room = bytemuck::cast_slice_mut(&mut batch[..most]);
            let bytes = reader.read(room).expect("messages");
            assert!(bytes > 0 && bytes.is_multiple_of(size_of::<M>()), "writes are atomic");
            let messages = &batch[..bytes / size_of::<M>()];
            sum = messages.iter().fold(sum, |sum, message| sum.wrapping_add(message.number()));
            left -= messages.len();
        }
        sum
    })
}
