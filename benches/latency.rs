//! How long a message is on its way: half of a round trip between two pinned processes.
//!
//! Pipes and sockets sleep in the kernel for every message; the floor and what spins do not.
//! Compare within a class.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use support::peer::with_process;
use support::{Contender, Table, floor, pin, start};

fn main() {
    let rounds = start("latency", 300);
    pin();
    Table::new("One message, one way, spinning")
        .over(floor())
        .row(multiproc_plain_spinning())
        .row(multiproc_bytes_spinning())
        .run(rounds);
    Table::new("One message, one way, blocking")
        .over(floor())
        .row(os_pipe())
        .row(unix_socket())
        .row(multiproc_plain_blocking())
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
fn multiproc_plain_spinning() -> Option<Contender> {
    None
}

/// Row: `Pipe` of byte messages, 256 bytes, both ends spinning.
fn multiproc_bytes_spinning() -> Option<Contender> {
    None
}

/// Row: `Pipe` of plain `u64`, `send` and `recv` as a user calls them.
fn multiproc_plain_blocking() -> Option<Contender> {
    None
}
