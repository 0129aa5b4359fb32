//! What a call costs without a manager: a thread that has the map, and an echo of the kernel's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Sender, bounded, unbounded};

use super::KEYS;
use crate::support::peer::with_process;
use crate::support::{Contender, away};

/// As long as a request of `Dict::insert`.
const REQUEST: usize = 32;

type Map = Arc<Mutex<HashMap<u64, u64>>>;

/// A key, its value, and where the answer goes.
type Errand = (u64, u64, Sender<Option<u64>>);

/// A thread that has a map, and what it is asked through.
fn server() -> Sender<Errand> {
    let (sender, errands) = unbounded::<Errand>();
    let map = Map::default();
    thread::spawn(move || {
        for (key, value, answer) in errands {
            let before = map.lock().expect("a map").insert(key, value);
            answer.send(before).expect("somebody who waits");
        }
    });
    sender
}

/// Row: a map behind a thread and a channel, with one more channel for the answers.
pub(crate) fn thread_insert(name: &str) -> Contender {
    let errands = away(server);
    let (sender, answers) = bounded(1);
    Contender::repeat(name, move |number| {
        errands.send((number % KEYS, number, sender.clone())).expect("a thread");
        answers.recv().expect("a thread");
    })
}

/// Row: so many bytes to another process, and back.
pub(crate) fn socket_echo(name: &str) -> Contender {
    let (mut here, mut there) = UnixStream::pair().expect("sockets");
    let echo = move |iterations| {
        let mut bytes = [0; REQUEST];
        for _ in 0..iterations {
            there.read_exact(&mut bytes).expect("a request");
            there.write_all(&bytes).expect("somebody who waits");
        }
    };
    let ask = move |iterations| {
        let mut bytes = [1; REQUEST];
        for _ in 0..iterations {
            here.write_all(&bytes).expect("an echo");
            here.read_exact(&mut bytes).expect("an echo");
        }
    };
    Contender::new(name, with_process(echo, ask))
}
