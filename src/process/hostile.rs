//! P2 for the words of parent, fork server and child: whatever bytes and fds come in their place
//! are an error, or what they say. Nothing here is called, or waits.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};

use super::client;
use super::entry::Entry;
use super::job::{self, Birth, Environment, Hello, Job, MAGIC, MAKE_CHILD, Made, Report, Role};
use super::server::{self, Request};
use super::wait::{self, Last};
use crate::error::{Error, ErrorKind};
use crate::raw::tape::Tape;
use crate::sys::clock::Deadline;
use crate::sys::letter::Letter;
use crate::sys::{memfd, socket};
use crate::transfer;

/// More fds than this no packet of a script has.
const FDS: usize = 20;

fn double(number: u64) -> u64 {
    number.wrapping_mul(2)
}

fn job() -> Vec<u8> {
    let environment = Environment {
        remove: vec![Cow::Borrowed(b"GONE".as_slice())],
        set: vec![(Cow::Borrowed(b"KEY".as_slice()), Cow::Borrowed(b"value".as_slice()))],
    };
    let job = Job {
        entry: Entry::of(double).unwrap(),
        secret: 1,
        name: Cow::Borrowed("Process-1"),
        identity: Cow::Borrowed("1"),
        parent_name: Cow::Borrowed("MainProcess"),
        parent: std::process::id(),
        is_daemon: true,
        stdio: [true, true, false],
        has_directory: false,
        umask: Some(0o22),
        signal_mask: 0,
        affinity: vec![3],
        environment,
    };
    let mut bytes = job::encode(&job).unwrap();
    bytes.extend(transfer::pack(&21_u64).unwrap().bytes());
    bytes
}

fn report(which: u8) -> Vec<u8> {
    let report = match which % 4 {
        0 => Report::Ready,
        1 => Report::Returned,
        2 => Report::Panicked {
            message: Cow::Borrowed("oh"),
            location: Some("there".to_owned()),
            backtrace: None,
        },
        _ => Report::Failed(Error::new(ErrorKind::Memory, "no memory")),
    };
    let mut bytes = job::encode(&report).unwrap();
    bytes.extend(transfer::pack(&"result").unwrap().bytes());
    bytes
}

fn greeting(which: u8) -> Vec<u8> {
    let pid = std::process::id();
    let birth = Birth { magic: MAGIC, fingerprint: 1, parent: pid, role: Role::Child };
    let hello = Hello { magic: MAGIC, pid, is_alone: true };
    let bytes = if which & 1 == 0 { job::encode(&birth) } else { job::encode(&hello) };
    bytes.unwrap()
}

/// What a child makes of its job, up to the call.
fn take_job(bytes: &[u8]) {
    let Ok((job, arguments)) = job::decode::<Job<'_>>(bytes) else { return };
    std::hint::black_box(format!("{job:?}"));
    let _ = job.entry.resolve();
    let _ = transfer::unpack::<u64>(arguments, Vec::new());
}

/// What a parent makes of a report.
fn take_report(bytes: Vec<u8>) {
    match wait::understand(Letter { bytes, fds: Vec::new() }) {
        Ok(Last::Returned(letter, at)) => {
            let _ = transfer::unpack::<String>(&letter.bytes[at..], letter.fds);
        }
        Ok(Last::Trouble(error)) => drop(format!("{error} {error:?}")),
        Ok(Last::Nothing | Last::Ready) | Err(_) => {}
    }
}

/// What server and client make of packets with any number of fds.
fn take_packets(bytes: &[u8], fds: usize, is_request: bool) {
    let (here, there) = socket::pair().unwrap();
    let file = memfd::holding(b"no pidfd, and no socket").unwrap();
    let fds: Vec<BorrowedFd<'_>> = vec![file.as_fd(); fds];
    socket::send(here.as_fd(), &[bytes], &fds, Deadline::NEVER).unwrap();
    drop(here);
    if is_request {
        let request = server::next_request(there.as_fd());
        let is_whole = bytes == MAKE_CHILD && !fds.is_empty();
        assert_eq!(is_whole, matches!(request, Request::Child(_)), "{request:?}");
        return;
    }
    match client::read_answer(there.as_fd(), Deadline::NEVER) {
        Ok(born) => assert!(born.is_none() || bytes.len() == Made::SIZE && !fds.is_empty()),
        Err(cause) => drop(cause.to_string()),
    }
}

/// Plays a script: words as they should be, damaged, or of any bytes.
pub(crate) fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let (what, which) = (tape.byte(), tape.byte());
    let mut bytes = match what % 5 {
        0 => job(),
        1 => report(which),
        2 => greeting(which),
        3 => MAKE_CHILD.to_vec(),
        _ => Made { errno: i32::from(which) - 2, pid: 1 }.to_bytes().to_vec(),
    };
    if what < 0xc0 {
        tape.damage(&mut bytes);
    } else {
        bytes = tape.rest().to_vec();
    }
    match what % 5 {
        0 => take_job(&bytes),
        1 => take_report(bytes),
        2 => {
            let _ = (job::decode::<Birth>(&bytes), job::decode::<Hello>(&bytes));
        }
        3 => take_packets(&bytes, usize::from(which) % FDS, true),
        _ => take_packets(&bytes, usize::from(which) % FDS, false),
    }
}

#[cfg(test)]
mod proofs {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn words_of_any_bytes_end_well(script in prop::collection::vec(any::<u8>(), 0..200)) {
            play(&script);
        }
    }

    #[test]
    fn words_as_they_should_be_are_understood() {
        (0..5).for_each(|what| (0..40).for_each(|which| play(&[what, which])));
        let last = wait::understand(Letter { bytes: report(1), fds: Vec::new() }).unwrap();
        assert!(matches!(last, Last::Returned(..)));
    }
}
