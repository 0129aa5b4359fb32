//! Channels of the kernel: one write and one read a message.

use std::fs::File;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bytemuck::Pod;

use super::{Channel, Load, Shape, crew};
use crate::support::Contender;
use crate::support::crew::Work;

/// A stream of bytes.
pub(crate) struct Kernel<M> {
    writer: File,
    reader: File,
    messages: PhantomData<M>,
}

impl<M> Kernel<M> {
    /// pipe(2), of 64 KiB.
    pub(crate) fn pipe() -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        Self::of(writer, reader)
    }

    /// A pair of Unix sockets.
    pub(crate) fn socket() -> Self {
        let (writer, reader) = UnixStream::pair().expect("a pair of sockets");
        Self::of(writer, reader)
    }

    fn of(writer: impl Into<OwnedFd>, reader: impl Into<OwnedFd>) -> Self {
        let [writer, reader] = [writer.into(), reader.into()].map(File::from);
        Self { writer, reader, messages: PhantomData }
    }
}

impl<M: Load + Pod> Channel<M> for Kernel<M> {
    type Sender = File;
    type Receiver = File;

    const CROSSES: bool = true;

    fn sender(&self) -> File {
        self.writer.try_clone().expect("a copy of an end")
    }

    fn receiver(&self) -> File {
        self.reader.try_clone().expect("a copy of an end")
    }

    fn send(sender: &mut File, message: M) {
        sender.write_all(bytemuck::bytes_of(&message)).expect("a reader");
    }

    fn receive(receiver: &mut File) -> M {
        let mut message = M::zeroed();
        receiver.read_exact(bytemuck::bytes_of_mut(&mut message)).expect("a message");
        message
    }
}

/// A stream through a pipe: as many messages at once as are written without others in between.
pub(crate) fn pipe_in_batches<M: Load + Pod>(name: &str, shape: Shape) -> Contender {
    let pipe = Kernel::<M>::pipe();
    let senders = (0..shape.senders).map(|_| write_batches::<M>(pipe.sender()));
    let receivers = (0..shape.receivers).map(|_| read_batches::<M>(pipe.receiver()));
    Contender::crew(name, crew(true, senders.collect(), receivers.collect()))
}

fn write_batches<M: Load + Pod>(mut writer: File) -> Work {
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

fn read_batches<M: Load + Pod>(mut reader: File) -> Work {
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
