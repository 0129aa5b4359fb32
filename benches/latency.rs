//! How long a message is on its way: half of a round trip between two pinned processes.
//!
//! Pipes and sockets sleep in the kernel for every message; the floor and what spins do not.
//! Compare within a class.

#![allow(unsafe_code)]

mod support;

use std::io::{PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use multiproc::{AuthKey, Connection, Connector, Listener, Pipe, Plain, wait_any_of};
use support::memory::pause;
use support::peer::with_process;
use support::{Contender, Table, floor, pin, start};

fn main() {
    let rounds = start("latency", 300);
    pin();
    Table::new("One message, one way, spinning")
        .over(floor())
        .row(multiproc_plain_spinning())
        .run(rounds);
    Table::new("One message, one way, blocking")
        .over(floor())
        .row(os_pipe())
        .row(unix_socket())
        .row(multiproc_plain_blocking())
        .row(multiproc_plain_connected())
        .row(multiproc_bytes())
        .row(multiproc_strings_blocking())
        .run(rounds);
    Table::new("One message, one way, by whichever of several pipes it comes")
        .over(floor())
        .row(os_poll(1))
        .row(os_poll(8))
        .row(multiproc_plain_blocking())
        .row(multiproc_wait_any(1))
        .row(multiproc_wait_any(8))
        .run(rounds);
    Table::new("One connection made and closed")
        .row(unix_connect())
        .row(multiproc_connect("multiproc, connect and accept", None))
        .row(multiproc_connect("multiproc, with a key", Some("a long and random secret of both")))
        .run(rounds);
}

fn os_pipe() -> Contender {
    let there = std::io::pipe().expect("a pipe");
    let back = std::io::pipe().expect("a pipe");
    through("pipe(2), 8 bytes", there, back)
}

fn unix_socket() -> Contender {
    let (here, there) = UnixStream::pair().expect("a pair of sockets");
    let clone = |socket: &UnixStream| socket.try_clone().expect("a copy of a socket");
    let (to_peer, to_us) = ((clone(&there), clone(&here)), (here, there));
    through("unix(7) stream socket, 8 bytes", to_peer, to_us)
}

/// A round trip of 8 bytes through two kernel objects, each as (end to read, end to write).
fn through<R, W>(name: &str, there: (R, W), back: (R, W)) -> Contender
where
    R: Read + 'static,
    W: Write + 'static,
{
    let ((mut request, mut ask), (mut answer, mut reply)) = (there, back);
    let echo = move |iterations| {
        let mut bytes = [0; 8];
        for _ in 0..iterations {
            request.read_exact(&mut bytes).expect("a request");
            reply.write_all(&bytes).expect("an answer on its way");
        }
    };
    let ask = move |iterations: u64| {
        for message in 0..iterations {
            let mut bytes = [0; 8];
            ask.write_all(&message.to_ne_bytes()).expect("a request on its way");
            answer.read_exact(&mut bytes).expect("an answer");
            assert_eq!(bytes, message.to_ne_bytes());
        }
    };
    Contender::round_trip(name, with_process(echo, ask))
}

/// Row: `Pipe` of plain `u64`, both ends spinning in `try_recv`.
fn multiproc_plain_spinning() -> Contender {
    fn spin(end: &mut Connection<u64, u64, Plain>) -> u64 {
        loop {
            match end.try_recv() {
                Ok(message) => return message,
                Err(_) => pause(),
            }
        }
    }
    let (mut here, mut there) = plain_pipe();
    let echo = move |iterations| {
        for _ in 0..iterations {
            let message = spin(&mut there);
            there.try_send(message).expect("room for an answer");
        }
    };
    let ask = move |iterations| {
        for message in 0..iterations {
            here.try_send(message).expect("room for a request");
            assert_eq!(spin(&mut here), message);
        }
    };
    Contender::round_trip("multiproc, plain u64", with_process(echo, ask))
}

/// Row: `Pipe` of byte messages, 256 bytes, copied in and out.
fn multiproc_bytes() -> Contender {
    const SIZE: usize = 256;
    let (mut here, mut there) = Pipe::duplex::<(), ()>().expect("a pipe");
    let echo = move |iterations| {
        let mut buffer = [0; SIZE];
        for _ in 0..iterations {
            assert_eq!(there.recv_bytes_into(&mut buffer).expect("a request"), SIZE);
            there.send_bytes(&buffer).expect("an answer on its way");
        }
    };
    let ask = move |iterations: u64| {
        let mut buffer = [0; SIZE];
        for message in 0..iterations {
            buffer[..8].copy_from_slice(&message.to_ne_bytes());
            here.send_bytes(&buffer).expect("a request on its way");
            assert_eq!(here.recv_bytes_into(&mut buffer).expect("an answer"), SIZE);
            assert_eq!(buffer[..8], message.to_ne_bytes());
        }
    };
    Contender::round_trip("multiproc, 256 bytes", with_process(echo, ask))
}

/// Row: `Pipe` of plain `u64`, `send` and `recv` as a user calls them.
fn multiproc_plain_blocking() -> Contender {
    let (mut here, mut there) = plain_pipe();
    let echo = move |iterations| {
        for _ in 0..iterations {
            let message = there.recv().expect("a request");
            there.send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        for message in 0..iterations {
            here.send(message).expect("a request on its way");
            assert_eq!(here.recv().expect("an answer"), message);
        }
    };
    Contender::round_trip("multiproc, plain u64", with_process(echo, ask))
}

/// Row: the same over a connection that the other process made, through a listener.
fn multiproc_plain_connected() -> Contender {
    let place = Place::new("connected");
    let (listener, path) = (place.listener(None), place.path.clone());
    let (mut here, mut there) = (None, None);
    let echo = move |iterations| {
        let connect = || Connector::new().plain().connect(&path).expect("a listener");
        let there: &mut Connection<u64, u64, Plain> = there.get_or_insert_with(connect);
        for _ in 0..iterations {
            let message = there.recv().expect("a request");
            there.send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        let _place = &place;
        let accept = || listener.accept().expect("a client").0;
        let here: &mut Connection<u64, u64, Plain> = here.get_or_insert_with(accept);
        for message in 0..iterations {
            here.send(message).expect("a request on its way");
            assert_eq!(here.recv().expect("an answer"), message);
        }
    };
    Contender::round_trip("multiproc, plain u64, connected", with_process(echo, ask))
}

/// Row: what the kernel takes for two sockets, one of which has a name.
fn unix_connect() -> Contender {
    let place = Place::new("unix");
    let path = place.path.clone();
    let listener = UnixListener::bind(&path).expect("a place for a socket");
    let connect = move |iterations| {
        for _ in 0..iterations {
            let mut stream = UnixStream::connect(&path).expect("a listener");
            assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
        }
    };
    let accept = move |iterations| {
        let _place = &place;
        for _ in 0..iterations {
            drop(listener.accept().expect("a client"));
        }
    };
    Contender::new("unix(7) stream socket", with_process(connect, accept))
}

/// Row: handshake, a pipe, and its end.
fn multiproc_connect(name: &str, key: Option<&'static str>) -> Contender {
    let place = Place::new(name);
    let (listener, path) = (place.listener(key), place.path.clone());
    let connect = move |iterations| {
        let connector = key.into_iter().fold(Connector::new().plain(), |connector, key| {
            connector.key(AuthKey::new(key).expect("a key"))
        });
        for _ in 0..iterations {
            let mut connection = connector.connect::<u64, u64>(&path).expect("a listener");
            assert!(connection.recv().is_err());
        }
    };
    let accept = move |iterations| {
        let _place = &place;
        for _ in 0..iterations {
            drop(listener.accept::<u64, u64>().expect("a client"));
        }
    };
    Contender::new(name, with_process(connect, accept))
}

/// A folder with a place for a socket.
struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        Self { _folder: folder, path }
    }

    fn listener(&self, key: Option<&str>) -> Listener<Plain> {
        let listener = Listener::builder().pipe(Pipe::builder().plain());
        let key = key.map(|key| AuthKey::new(key).expect("a key"));
        key.into_iter()
            .fold(listener, |listener, key| listener.key(key))
            .bind(&self.path)
            .expect("a place for a socket")
    }
}

/// Row: `Pipe` of `String`, 32 bytes, `send` and `recv` as a user calls them.
fn multiproc_strings_blocking() -> Contender {
    let (mut here, mut there) = Pipe::duplex::<String, String>().expect("a pipe");
    let echo = move |iterations| {
        for _ in 0..iterations {
            let message = there.recv().expect("a request");
            there.send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        let mut message = "x".repeat(32);
        for _ in 0..iterations {
            here.send(message).expect("a request on its way");
            message = here.recv().expect("an answer");
        }
    };
    Contender::round_trip("multiproc, String of 32 bytes", with_process(echo, ask))
}

/// Row: `wait_any_of` so many pipes of plain `u64`, on both sides, and `recv` from the one.
fn multiproc_wait_any(count: usize) -> Contender {
    fn receive(ends: &mut [Connection<u64, u64, Plain>]) -> (usize, u64) {
        let ready = wait_any_of(ends, Duration::MAX).expect("a wait");
        (ready[0], ends[ready[0]].recv().expect("a message"))
    }
    let pipes = (0..count).map(|_| plain_pipe());
    let (mut here, mut there): (Vec<_>, Vec<_>) = pipes.unzip();
    let echo = move |iterations| {
        for _ in 0..iterations {
            let (which, message) = receive(&mut there);
            there[which].send(message).expect("an answer on its way");
        }
    };
    let ask = move |iterations| {
        for message in 0..iterations {
            let which = message as usize % count;
            here[which].send(message).expect("a request on its way");
            assert_eq!(receive(&mut here), (which, message));
        }
    };
    Contender::round_trip(&format!("multiproc, wait_any of {count}"), with_process(echo, ask))
}

/// Row: `poll(2)` over so many pipe(2)s, on both sides, and `read` from the one.
fn os_poll(count: usize) -> Contender {
    fn receive(readers: &mut [PipeReader]) -> (usize, [u8; 8]) {
        let fd = |reader: &PipeReader| reader.as_raw_fd();
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polled: Vec<_> = readers.iter().map(fd).map(entry).collect();
        // SAFETY: the array outlives the call, and is as long as it is said to be.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        assert_eq!(ready, 1);
        let which = polled.iter().position(|entry| entry.revents != 0).expect("a message");
        let mut bytes = [0; 8];
        readers[which].read_exact(&mut bytes).expect("a message");
        (which, bytes)
    }
    let pipes = || (0..count).map(|_| std::io::pipe().expect("a pipe"));
    let (mut requests, mut asks): (Vec<_>, Vec<_>) = pipes().unzip();
    let (mut answers, mut replies): (Vec<_>, Vec<_>) = pipes().unzip();
    let echo = move |iterations| {
        for _ in 0..iterations {
            let (which, bytes) = receive(&mut requests);
            replies[which].write_all(&bytes).expect("an answer on its way");
        }
    };
    let ask = move |iterations: u64| {
        for message in 0..iterations {
            let which = message as usize % count;
            asks[which].write_all(&message.to_ne_bytes()).expect("a request on its way");
            assert_eq!(receive(&mut answers), (which, message.to_ne_bytes()));
        }
    };
    Contender::round_trip(&format!("pipe(2), poll(2) of {count}"), with_process(echo, ask))
}

type PlainPipe = (Connection<u64, u64, Plain>, Connection<u64, u64, Plain>);

fn plain_pipe() -> PlainPipe {
    Pipe::builder().plain().duplex().expect("a pipe")
}
