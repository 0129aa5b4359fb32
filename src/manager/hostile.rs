//! P2 between a manager's server and its clients: whatever comes as a request, as a reply or at the
//! door is an error, or what it says. No request has the server run anything but a function that
//! this program named.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::Serialize;

use super::address::Found;
use super::entry;
use super::function::Changing;
use super::link::{self, Address, Family, Knock, Link, Reply, Request, Socket};
use super::server::{self, Asked, Server, Start};
use super::{Dict, Proxy};
use crate::channel::{Connection, Pipe};
use crate::error::Error;
use crate::process::Panic;
use crate::process::entry::Entry;
use crate::process::remote::Outcome;
use crate::process::seal::{Role, Sealed};
use crate::raw::tape::Tape;
use crate::sync::Event;
use crate::sys::clock::Deadline;
use crate::sys::{random, socket};
use crate::transfer;
use crate::transfer::codec::{CodecError, Serde};

type Words = HashMap<String, u64>;

fn add(number: &mut u64, more: u64) -> u64 {
    *number = number.wrapping_add(more);
    *number
}

fn count(words: &Words, word: String) -> Option<u64> {
    words.get(&word).copied()
}

fn double(number: u64) -> u64 {
    number.wrapping_mul(2)
}

/// As the collections call functions of their users.
fn update(words: &mut Words, (word, f, more): (String, Changing<u64, u64, u64>, u64)) -> u64 {
    f.pointer()(words.entry(word).or_default(), more)
}

/// A server without a process that has a number, 1, and a dictionary, 2.
fn server() -> Server {
    let number = random::uuid().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    let litter = Event::new().unwrap();
    let family = Family::Ours;
    let address = Address { server: number, door: Arc::new(ours), litter, family };
    let link = Link::to(number, || Ok(address));
    let start = Start { door: Socket(theirs), link: Found(link.unwrap()), connections: 1 };
    let server = Server::new(start);
    drop(server.host(7_u64).unwrap());
    drop(server.host(Words::from([("text".to_owned(), 3)])).unwrap());
    server
}

/// How many kinds of requests there are.
const KINDS: u8 = 5;

fn request(which: u8) -> Vec<u8> {
    match which % KINDS {
        0 => asking(1, entry::write(add), &35_u64),
        1 => asking(2, entry::read(count), &"text"),
        2 => asking(0, entry::free(double), &21_u64),
        3 => asking(2, entry::write(update), &("text", Changing::changing(add), 4_u64)),
        // Of an object of another type.
        _ => asking(2, entry::write(add), &35_u64),
    }
}

fn asking(key: u64, entry: crate::error::Result<Entry>, args: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = entry.and_then(|entry| Sealed::new(entry, Role::Call)).unwrap();
    Serde::serialize(&(key, name, args), &mut bytes).unwrap();
    bytes
}

/// What a server does with a request, and its client with the answer; whether there was anything to
/// be called.
fn ask(bytes: &[u8]) -> Result<bool, CodecError> {
    let asked = Asked::read(bytes)?;
    let is_call = asked.is_call();
    let mut answer = Vec::new();
    asked.obey(&server()).encode(&mut answer)?;
    hear(&answer);
    Ok(is_call)
}

fn reply(which: u8) -> Vec<u8> {
    let location = || Some("there".to_owned());
    let outcome = match which % 4 {
        0 => Outcome::Returned(Box::new(42_u64)),
        1 => Outcome::Returned(Box::new(vec![("text".to_owned(), 3_u64)])),
        2 => Outcome::Panicked(Panic {
            message: "oh".to_owned(),
            location: location(),
            backtrace: None,
        }),
        _ => Outcome::Failed(link::gone()),
    };
    let mut bytes = Vec::new();
    outcome.encode(&mut bytes).unwrap();
    bytes
}

/// What clients that wait for different things make of a reply.
fn hear(bytes: &[u8]) {
    fn say<R: std::fmt::Debug>(answer: Result<Result<R, Error>, CodecError>) {
        match answer {
            Ok(answer) => drop(std::hint::black_box(format!("{answer:?}"))),
            Err(cause) => drop(std::hint::black_box(cause.to_string())),
        }
    }
    say(link::decode::<u64>(bytes));
    say(link::decode::<Vec<(String, u64)>>(bytes));
    // No handle comes outside of a parcel.
    say(link::decode::<Dict<String, u64>>(bytes));
    say(link::decode::<Option<Proxy<u64>>>(bytes));
    // What is said through the door.
    say(Serde::deserialize::<Error>(bytes).map(Err::<(), _>));
}

/// What a server makes of a letter at its door.
fn knock(tape: &mut Tape<'_>, what: u8, which: u8) {
    let (mut ours, theirs) = Pipe::duplex::<Request, Reply>().unwrap();
    let parcel = transfer::pack(&Knock { pid: std::process::id(), line: theirs }).unwrap();
    let fds = parcel.fds().into_iter().map(|fd| fd.try_clone_to_owned().unwrap());
    let mut fds: Vec<OwnedFd> = fds.collect();
    let mut bytes = parcel.bytes().to_vec();
    parcel.commit();
    if what & 8 != 0 {
        // A letter that is whole, and any request behind it.
        let Knock { line, .. } = transfer::unpack(&bytes, fds).unwrap();
        let mut request = if what & 4 == 0 { request(which) } else { Vec::new() };
        tape.damage(&mut request);
        let sent = ours.send_as::<Request>(Deadline::NEVER, |message| {
            message.extend_from_slice(&request);
            Ok(())
        });
        assert!(sent.is_ok());
        drop(ours);
        return server::serve(&server(), line);
    }
    match which % 4 {
        0 => fds.clear(),
        1 => fds.extend(socket::pair().map(|(one, _)| one)),
        _ => {}
    }
    if what & 4 == 0 {
        tape.damage(&mut bytes);
    } else {
        bytes = tape.rest().to_vec();
    }
    match transfer::unpack::<Knock>(&bytes, fds) {
        Ok(Knock { line, .. }) => server::refuse(line, &link::gone()),
        Err(error) => drop(format!("{error} {error:?}")),
    }
    drop::<Connection<_, _>>(ours);
}

/// Plays a script: a request, a reply or a knock, as it should be, damaged, or of any bytes.
pub(crate) fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let (what, which) = (tape.byte(), tape.byte());
    let is_request = match what & 3 {
        0 => true,
        1 => false,
        _ => return knock(&mut tape, what, which),
    };
    let mut bytes = if is_request { request(which) } else { reply(which) };
    if what & 4 == 0 {
        tape.damage(&mut bytes);
    } else {
        bytes = tape.rest().to_vec();
    }
    if is_request {
        let _ = ask(&bytes);
    } else {
        hear(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The words of a request lie in shared memory, as those of an order of a pool do.
    #[test]
    fn a_request_whose_name_was_written_over_calls_nothing() {
        for which in 0..KINDS {
            let whole = request(which);
            assert!(ask(&whole).unwrap(), "a request of kind {which}");
            // The number of the object is one byte, and the name is behind it.
            let mut sealed = Vec::new();
            let name = Sealed::new(entry::free(double).unwrap(), Role::Call).unwrap();
            Serde::serialize(&name, &mut sealed).unwrap();
            for bit in 8..8 * (sealed.len() - 4) {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!ask(&bytes).unwrap_or(false), "bit {bit} of a request of kind {which}");
            }
        }
    }

    /// The name of the user's function that a collection is to call is among the arguments.
    #[test]
    fn a_function_among_the_arguments_that_was_written_over_is_not_called() {
        let whole = request(3);
        let text = whole.windows(4).position(|bytes| bytes == b"text").unwrap() + 4;
        for bit in 8 * text..8 * (whole.len() - 5) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!ask(&bytes).unwrap_or(false), "bit {bit}");
        }
    }

    /// A function among the arguments has a sealed name, too. Copied over that of the call, it was
    /// taken for one, and its mark was called as a thunk.
    #[test]
    fn a_sealed_name_of_another_role_over_that_of_a_request_calls_nothing() {
        let mut argument = Vec::new();
        Serde::serialize(&Changing::changing(add), &mut argument).unwrap();
        let mut task = Vec::new();
        let name = Sealed::new(entry::free(double).unwrap(), Role::Task).unwrap();
        Serde::serialize(&(name, 21_u64), &mut task).unwrap();
        for other in [argument, task] {
            // Behind the number of the object, where the name of the call should be.
            let bytes = [vec![1], other].concat();
            assert!(!ask(&bytes).unwrap(), "{bytes:?}");
        }
    }

    #[test]
    fn requests_of_no_object_or_of_one_of_another_type_are_errors() {
        let answer = |bytes: &[u8]| {
            let mut answer = Vec::new();
            Asked::read(bytes).unwrap().obey(&server()).encode(&mut answer).unwrap();
            link::decode::<u64>(&answer).unwrap()
        };
        assert_eq!(answer(&request(0)).unwrap(), 42);
        for bytes in [request(4), asking(3, entry::write(add), &1_u64)] {
            assert_eq!(answer(&bytes).unwrap_err().kind(), crate::ErrorKind::Corrupt);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn requests_replies_and_knocks_of_any_bytes_end_well(
            script in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            play(&script);
        }
    }
}
