//! What a message costs, from a word to as much as memory bears.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use ipc_channel::ipc::{self, IpcSharedMemory};
use multiproc::{Pipe, Plain, Queue};

use super::report::Section;
use super::{PYTHON, iceoryx2, points};
use crate::channels::mailbox::Mailbox;
use crate::support::memory::{SharedBytes, lines};
use crate::support::peer::{cpus, with_process};
use crate::support::program::Program;
use crate::support::python::python;
use crate::support::{Contender, Measured, Table};

/// Bytes of a message, by powers of eight.
const SIZES: [usize; 9] = [8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 2 << 20, 16 << 20, 64 << 20];
const SOME_SIZES: [usize; 4] = [8, 512, 32 << 10, 2 << 20];

/// What the kernel's pipe may hold at the most, unless root says something else.
const PIPE_SIZE: libc::c_int = 1 << 20;

/// Messages of more than this are in memory of their own in ipc-channel, one after the other.
const SHARED_MIN: usize = 4 << 10;

const TEXT: &str = "So many bytes there, and 8 bytes back, which say that a word of each cache \
    line was read there. Whoever sends copies the message from a buffer of its own; *in place* \
    means that this was the only copy.";

pub(crate) fn section(rounds: usize) -> Section {
    let of = |size: usize| (size.to_string(), measure(size, rounds));
    let points = points(&SIZES, &SOME_SIZES).into_iter().map(of).collect();
    Section::growth("sizes", "A message of so many bytes", TEXT, "bytes of a message", points)
}

fn measure(size: usize, rounds: usize) -> Vec<Measured> {
    Table::new(&format!("A message of {size} bytes, and an answer"))
        .row(memcpy("memcpy and two flags (floor)", size))
        .row(pipe_in_place("multiproc Pipe, in place", size))
        .row(pipe("multiproc Pipe, copied out", size))
        .row(queue("multiproc Queue, in place", size))
        .row(rival("iceoryx2, spins, in place", size))
        .row(mailbox("shared_memory and raw_sync, in place", size))
        .row(os_pipe("pipe(2) of 1 MiB", size))
        .row(unix_socket("Unix socket", size))
        .row(bytes_channel("ipc-channel, bytes", size))
        .row(shared_bytes("ipc-channel, IpcSharedMemory", size))
        .row(pythons("Python Pipe, bytes", size))
        .measure(rounds)
}

/// The first word of each cache line, as the rival that is a program of its own reads them.
fn read(message: &[u8]) {
    let (lines, rest) = message.as_chunks::<64>();
    let words = lines.iter().filter_map(|line| line.first_chunk());
    let words = words.chain(rest.first_chunk());
    black_box(words.fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word))));
}

/// A process that takes a message, reads it and answers, and one that asks it with a message.
fn exchange(
    name: &str,
    size: usize,
    mut serve: impl FnMut() + 'static,
    mut ask: impl FnMut(&[u8]) + 'static,
) -> Contender {
    let source = vec![1; size];
    let receive = move |iterations: u64| (0..iterations).for_each(|_| serve());
    let send = move |iterations: u64| (0..iterations).for_each(|_| ask(black_box(&source)));
    Contender::new(name, with_process(receive, send))
}

/// Row: what all that leave the message in place must do.
fn memcpy(name: &str, size: usize) -> Contender {
    let [full, empty] = lines();
    let room = SharedBytes::new(size);
    let (mut sent, mut seen) = (0, 0);
    let serve = move || {
        seen += 1;
        full.wait_for(seen);
        room.look(read);
        empty.set(seen);
    };
    let ask = move |message: &[u8]| {
        room.write(message);
        sent += 1;
        full.set(sent);
        empty.wait_for(sent);
    };
    exchange(name, size, serve, ask)
}

/// Row: copied into the ring, and read there.
fn pipe_in_place(name: &str, size: usize) -> Contender {
    let capacity = (2 * size + 4096).next_power_of_two();
    let (mut here, mut there) =
        Pipe::builder().capacity(capacity).duplex::<(), ()>().expect("a pipe");
    let serve = move || {
        let message = there.peek().expect("a message");
        read(&message);
        message.consume().expect("a message");
        there.send_bytes(&size.to_ne_bytes()).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        let mut room = here.reserve(size).expect("room");
        room.copy_from_slice(message);
        room.commit(size).expect("a receiver");
        assert_eq!(here.recv_bytes_into(&mut [0; 8]).expect("an answer"), 8);
    };
    exchange(name, size, serve, ask)
}

/// Row: copied into the ring and out of it, at the capacity that pipes have.
fn pipe(name: &str, size: usize) -> Contender {
    let (mut here, mut there) = Pipe::duplex::<(), ()>().expect("a pipe");
    let mut room = vec![0; size];
    let serve = move || {
        assert_eq!(there.recv_bytes_into(&mut room).expect("a message"), size);
        read(&room);
        there.send_bytes(&size.to_ne_bytes()).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        here.send_bytes(message).expect("a receiver");
        assert_eq!(here.recv_bytes_into(&mut [0; 8]).expect("an answer"), 8);
    };
    exchange(name, size, serve, ask)
}

/// Row: built in memory of a queue, which retains it, and read there.
fn queue(name: &str, size: usize) -> Contender {
    let (mut sender, mut receiver) =
        Queue::builder().retained(2 * size).channel::<()>(2).expect("a queue");
    let (mut answer, mut answers) =
        Queue::builder().codec::<Plain>().channel::<u64>(2).expect("a queue");
    let serve = move || {
        let message = receiver.recv_guard().expect("a message");
        read(message.bytes());
        drop(message);
        answer.send(size as u64).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        let mut room = sender.reserve(size).expect("room");
        room.copy_from_slice(message);
        room.send().expect("a receiver");
        assert_eq!(answers.recv().expect("an answer"), size as u64);
    };
    exchange(name, size, serve, ask)
}

fn rival(name: &str, size: usize) -> Option<Contender> {
    let mut command = iceoryx2::command(&["size-poll", &size.to_string()])?;
    let mut program = Program::start(&mut command)?;
    Some(Contender::new(name, move |iterations| program.run(iterations)))
}

fn mailbox(name: &str, size: usize) -> Contender {
    let (there, back) = (Mailbox::<u64>::of_size(size), Mailbox::<u64>::of_size(8));
    let serve = move || {
        there.take(|room| room.look(read));
        back.put(|room| room.write(&size.to_ne_bytes()));
    };
    let ask = move |message: &[u8]| {
        there.put(|room| room.write(message));
        back.take(|room| room.read(&mut [0; 8]));
    };
    exchange(name, size, serve, ask)
}

fn os_pipe(name: &str, size: usize) -> Contender {
    let wide = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        set_size(&writer);
        (reader, writer)
    };
    through(name, size, wide(), wide())
}

#[allow(unsafe_code, reason = "fcntl")]
fn set_size(writer: &impl AsRawFd) {
    // SAFETY: changes nothing but the size of the pipe's buffer. Where that is refused it stays.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_SIZE) };
}

fn unix_socket(name: &str, size: usize) -> Contender {
    let pair = || UnixStream::pair().expect("a pair of sockets");
    through(name, size, pair(), pair())
}

/// Through two kernel objects, each as (end to read, end to write).
fn through<R: Read + 'static, W: Write + 'static>(
    name: &str,
    size: usize,
    (mut request, mut there): (R, W),
    (mut answer, mut reply): (R, W),
) -> Contender {
    let mut room = vec![0; size];
    let serve = move || {
        request.read_exact(&mut room).expect("a message");
        read(&room);
        reply.write_all(&size.to_ne_bytes()).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        there.write_all(message).expect("a receiver");
        answer.read_exact(&mut [0; 8]).expect("an answer");
    };
    exchange(name, size, serve, ask)
}

fn bytes_channel(name: &str, size: usize) -> Contender {
    let (there, request) = ipc::bytes_channel().expect("an ipc-channel");
    let (reply, answer) = ipc::bytes_channel().expect("an ipc-channel");
    let serve = move || {
        read(&request.recv().expect("a message"));
        reply.send(&size.to_ne_bytes()).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        there.send(message).expect("a receiver");
        assert_eq!(answer.recv().expect("an answer").len(), 8);
    };
    exchange(name, size, serve, ask)
}

/// Row: memory made, filled, sent and given back for each message.
fn shared_bytes(name: &str, size: usize) -> Option<Contender> {
    if size < SHARED_MIN {
        return None;
    }
    let (there, request) = ipc::channel::<IpcSharedMemory>().expect("an ipc-channel");
    let (reply, answer) = ipc::bytes_channel().expect("an ipc-channel");
    let serve = move || {
        read(&request.recv().expect("a message"));
        reply.send(&size.to_ne_bytes()).expect("an answer on its way");
    };
    let ask = move |message: &[u8]| {
        there.send(IpcSharedMemory::from_bytes(message)).expect("a receiver");
        assert_eq!(answer.recv().expect("an answer").len(), 8);
    };
    Some(exchange(name, size, serve, ask))
}

fn pythons(name: &str, size: usize) -> Option<Contender> {
    let (here, there) = cpus().expect("two CPUs");
    let numbers = [size, here, there].map(|number| number.to_string());
    python(name, PYTHON, &[&["size".to_owned()], &numbers[..]].concat())
}
