//! Handles on unusual roads: through forks, out of parcels that fail, at limits, and back again.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::result_large_err,
    reason = "forks and limits"
)]
#![allow(missing_docs)]
#![cfg(not(multiproc_loom))]

mod common;

use std::cell::RefCell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{alone, open_fds, seed, watched};
use multiproc::{
    Codec, CodecError, Connection, ErrorKind, Framed, Nothing, Pipe, Plain, Process, RecvError,
    SendError, Serde,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Out = Connection<u8, Nothing>;
type In = Connection<Nothing, u8>;

fn kind_of_recv<T>(result: Result<T, RecvError>) -> Option<ErrorKind> {
    result.err()?.error().map(multiproc::Error::kind)
}

fn kind_of_send<T>(result: &Result<(), SendError<T>>) -> Option<ErrorKind> {
    result.as_ref().err()?.error().map(multiproc::Error::kind)
}

fn assert_closed(inn: &mut In) {
    assert!(inn.recv().unwrap_err().is_disconnected());
}

fn assert_joined(mut out: Out, inn: &mut In) {
    out.send(42).unwrap();
    assert_eq!(inn.recv().unwrap(), 42);
    drop(out);
    assert_closed(inn);
}

/// Runs `body` in a copy of this process that was made behind the library's back.
fn in_a_bare_fork(body: impl FnOnce()) {
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ended = catch_unwind(AssertUnwindSafe(body));
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the copy failed");
}

#[test]
fn an_inherited_handle_says_forked_and_the_parent_keeps_it() {
    alone("inherited", |()| {
        let (mut here, mut there) = Pipe::duplex::<u8, u8>().unwrap();
        let (mut plain, mut slots) = Pipe::builder().plain().slots(4).simplex::<u8>().unwrap();
        there.send(1).unwrap();
        plain.send(2).unwrap();
        let mut all = Some((here, plain));
        in_a_bare_fork(|| {
            let (mut here, mut plain) = all.take().unwrap();
            assert_eq!(kind_of_send(&here.send(9)), Some(ErrorKind::Forked));
            assert_eq!(kind_of_send(&plain.send(9)), Some(ErrorKind::Forked));
            assert_eq!(kind_of_recv(here.recv()), Some(ErrorKind::Forked));
            assert_eq!(kind_of_recv(here.poll(Duration::ZERO)), Some(ErrorKind::Forked));
        });
        (here, plain) = all.take().unwrap();
        here.send(3).unwrap();
        plain.send(4).unwrap();
        assert_eq!((here.recv().unwrap(), there.recv().unwrap()), (1, 3));
        assert_eq!((slots.recv().unwrap(), slots.recv().unwrap()), (2, 4));
        drop((here, plain));
        assert!(!there.recv().unwrap_err().is_peer_dead());
        assert!(!slots.recv().unwrap_err().is_peer_dead());
    });
}

#[test]
fn an_inherited_handle_cannot_be_sent_away() {
    alone("not to give", |()| {
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let mut place = Some(out);
        in_a_bare_fork(|| {
            let (mut own, mut arrives) = Pipe::simplex::<Out>().unwrap();
            let unsent = own.send(place.take().unwrap());
            assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Forked));
            drop(unsent);
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            own.send(out).unwrap();
            assert_joined(arrives.recv().unwrap(), &mut inn);
        });
        assert_joined(place.take().unwrap(), &mut inn);
    });
}

#[test]
fn a_copy_uses_what_it_captured_and_closes_it_at_the_end() {
    alone("captured", |()| {
        let (mut here, mut there) = Pipe::duplex::<u8, u8>().unwrap();
        let answer = move || {
            let number = there.recv().unwrap();
            there.send(number + 1).unwrap();
            number
        };
        let child = unsafe { Process::fork(answer) }.unwrap();
        here.send(1).unwrap();
        assert_eq!(here.recv().unwrap(), 2);
        let end = here.recv().unwrap_err();
        assert!(end.is_disconnected() && !end.is_peer_dead());
        assert_eq!(child.join().unwrap(), 1);
    });
}

/// The copy must not close the side under its parent's number: by then it is the copy's own.
#[test]
fn what_a_copy_drops_unused_is_closed_while_it_lives() {
    alone("dropped in a copy", |()| {
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let drops = move || {
            told.recv().unwrap();
            drop(out);
            told.recv().unwrap_err().is_disconnected()
        };
        let child = unsafe { Process::fork(drops) }.unwrap();
        // Its parent has dropped what the copy captured.
        tell.send(()).unwrap();
        assert_closed(&mut inn);
        drop(tell);
        assert!(child.join().unwrap());
    });
}

#[test]
fn what_a_copy_captured_travels_on() {
    alone("sent by a copy", |()| {
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let (mut on, mut arrives) = Pipe::simplex::<Out>().unwrap();
        let sends = move || {
            told.recv().unwrap();
            on.send(out).unwrap();
        };
        let child = unsafe { Process::fork(sends) }.unwrap();
        tell.send(()).unwrap();
        child.join().unwrap();
        assert_joined(arrives.recv().unwrap(), &mut inn);
    });
}

#[test]
fn copies_that_die_at_once_close_what_they_captured() {
    alone("short-lived copies", |()| {
        for _ in 0..100 {
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            let dies = move || {
                let _kept = &out;
                unsafe { libc::raise(libc::SIGKILL) }
            };
            let child = unsafe { Process::fork(dies) }.unwrap();
            assert_closed(&mut inn);
            assert_eq!(child.join().unwrap_err().signal(), Some(libc::SIGKILL));
        }
    });
}

/// Panics when it is dropped in the process that made it.
struct PanicsAtHome(u32);

impl Drop for PanicsAtHome {
    fn drop(&mut self) {
        assert!(self.0 != std::process::id(), "at home");
    }
}

#[test]
fn a_capture_that_panics_on_its_way_out_bequeaths_nothing_more() {
    alone("bequest", |()| {
        let bomb = PanicsAtHome(std::process::id());
        let (mut tell, mut told) = Pipe::simplex::<()>().unwrap();
        let waits = move || {
            let _bomb = &bomb;
            let _ = told.recv();
        };
        let forked = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Process::fork(waits) })));
        assert!(forked.is_err());
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        drop(out);
        assert_closed(&mut inn);
        // The child was adopted all the same: it is known, and reaped when it ends.
        assert_eq!(multiproc::active_children().len(), 1);
        tell.send(()).unwrap();
        while !multiproc::active_children().is_empty() {
            std::thread::yield_now();
        }
    });
}

#[test]
fn both_ends_of_a_pipe_cross_in_one_parcel() {
    type Ends = (Connection<u8, u8>, Connection<u8, u8>);
    fn both((mut here, mut there): Ends) -> Ends {
        here.send(1).unwrap();
        assert_eq!(there.recv().unwrap(), 1);
        there.send(2).unwrap();
        (here, there)
    }
    watched("both_ends", || {
        let (mut here, there) = Pipe::duplex().unwrap();
        here.send(0).unwrap();
        let (first, mut second) = (here, there);
        assert_eq!(second.recv().unwrap(), 0);
        let (mut here, mut there) = Process::spawn(both, (first, second)).unwrap().join().unwrap();
        assert_eq!(here.recv().unwrap(), 2);
        drop(here);
        assert!(there.recv().unwrap_err().is_disconnected());
    });
}

/// A reader whose parcel has the writer in it too, where nobody takes it out.
struct Stowaway(In, Option<Out>);

impl Serialize for Stowaway {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(&self.1).unwrap();
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stowaway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(In::deserialize(deserializer)?, None))
    }
}

#[test]
fn of_both_ends_in_one_parcel_the_one_that_nobody_takes_is_closed() {
    fn reader(mut reader: Stowaway) -> bool {
        reader.0.recv().unwrap_err().is_disconnected()
    }
    watched("stowaway", || {
        let (out, inn) = Pipe::simplex().unwrap();
        assert!(Process::spawn(reader, Stowaway(inn, Some(out))).unwrap().join().unwrap());
        // And to somebody who is in the segment already.
        let (mut here, mut there) = Pipe::simplex::<Stowaway>().unwrap();
        let (out, inn) = Pipe::simplex().unwrap();
        here.send(Stowaway(inn, Some(out))).unwrap();
        assert!(reader(there.recv().unwrap()));
    });
}

/// Dropped as soon as it has arrived.
#[derive(Debug)]
struct Dropped<T>(Option<T>);

impl<T: Serialize> Serialize for Dropped<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().unwrap().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Dropped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self(None))
    }
}

#[test]
fn of_both_ends_in_one_parcel_the_first_may_go_before_the_second_is_taken() {
    fn second((_, mut inn): (Dropped<Out>, In)) -> bool {
        inn.recv().unwrap_err().is_disconnected()
    }
    watched("first goes", || {
        let (out, inn) = Pipe::simplex().unwrap();
        assert!(Process::spawn(second, (Dropped(Some(out)), inn)).unwrap().join().unwrap());
    });
}

thread_local! {
    static BESIDE: RefCell<Option<(Connection<Out, Nothing>, Out)>> = const { RefCell::new(None) };
}

/// Sends another handle on another pipe while it is packed itself.
#[derive(Deserialize)]
struct Busy(Out);

impl Serialize for Busy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some((mut on, other)) = BESIDE.take() {
            on.send(other).unwrap();
        }
        self.0.serialize(serializer)
    }
}

#[test]
fn a_parcel_is_packed_in_the_middle_of_another() {
    watched("nested", || {
        let (outer, mut outer_inn) = Pipe::simplex::<u8>().unwrap();
        let (inner, mut inner_inn) = Pipe::simplex::<u8>().unwrap();
        let (on, mut beside) = Pipe::simplex::<Out>().unwrap();
        let (mut here, mut there) = Pipe::simplex::<Busy>().unwrap();
        BESIDE.set(Some((on, inner)));
        here.send(Busy(outer)).unwrap();
        assert_joined(there.recv().unwrap().0, &mut outer_inn);
        assert_joined(beside.recv().unwrap(), &mut inner_inn);
    });
}

#[test]
fn a_handle_goes_into_a_parcel_once() {
    #[derive(Deserialize)]
    struct Twice(Out, #[serde(skip)] ());
    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.0, &self.0).serialize(serializer)
        }
    }
    watched("twice", || {
        let (mut here, _there) = Pipe::simplex::<Twice>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let unsent = here.send(Twice(out, ()));
        assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Misuse));
        assert_joined(unsent.unwrap_err().into_inner().0, &mut inn);
    });
}

/// A codec that panics when it is told to, with the handle packed or taken already.
#[derive(Debug)]
struct Shaky;

thread_local! {
    static PANICS: RefCell<bool> = const { RefCell::new(false) };
}

impl Framed for Shaky {}
impl Codec<Out> for Shaky {
    fn encode(value: &Out, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        <Serde as Codec<Out>>::encode(value, bytes)?;
        assert!(!PANICS.take(), "while packing");
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Out, CodecError> {
        let value = <Serde as Codec<Out>>::decode(bytes)?;
        assert!(!PANICS.take(), "while unpacking");
        Ok(value)
    }
}

#[test]
fn a_codec_that_panics_leaves_everything_usable() {
    watched("shaky", || {
        let (mut here, mut there) = Pipe::builder().codec::<Shaky>().simplex::<Out>().unwrap();
        for _ in 0..3 {
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            PANICS.set(true);
            assert!(catch_unwind(AssertUnwindSafe(|| here.send(out))).is_err());
            assert_closed(&mut inn);
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            here.send(out).unwrap();
            PANICS.set(true);
            assert!(catch_unwind(AssertUnwindSafe(|| there.recv())).is_err());
            assert_closed(&mut inn);
            let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
            here.send(out).unwrap();
            assert_joined(there.recv().unwrap(), &mut inn);
        }
    });
}

/// Decodes the handle, and then refuses if it was told to.
#[derive(Debug, Serialize)]
struct Fussy(Out, bool);

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (out, refuses) = <(Out, bool)>::deserialize(deserializer)?;
        if refuses { Err(serde::de::Error::custom("refused")) } else { Ok(Self(out, refuses)) }
    }
}

#[test]
fn a_handle_in_a_message_that_cannot_be_decoded_is_closed() {
    watched("fussy", || {
        let (mut here, mut there) = Pipe::simplex::<Fussy>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        here.send(Fussy(out, true)).unwrap();
        assert_eq!(kind_of_recv(there.recv()), Some(ErrorKind::Codec));
        assert_closed(&mut inn);
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        here.send(Fussy(out, false)).unwrap();
        assert_joined(there.recv().unwrap().0, &mut inn);
    });
}

/// The reason of a failure belongs to the parcel that it happened to.
#[test]
fn an_error_does_not_outlive_its_parcel() {
    watched("stale reason", || {
        let (out, _inn) = Pipe::simplex::<u8>().unwrap();
        serde_json::to_string(&out).unwrap_err();
        let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
        here.send_bytes(&[3, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!(kind_of_recv(there.recv()), Some(ErrorKind::Codec));
    });
}

#[test]
fn a_batch_does_not_swallow_the_error_behind_it() {
    watched("batch", || {
        let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
        here.send("first".to_owned()).unwrap();
        here.send_bytes(&[3, 0xff, 0xff, 0xff]).unwrap();
        here.send("last".to_owned()).unwrap();
        let mut batch = Vec::new();
        assert_eq!(there.recv_batch(&mut batch, 9).unwrap(), 1);
        assert!(there.poll(Duration::ZERO).unwrap());
        assert_eq!(kind_of_recv(there.recv_batch(&mut batch, 9)), Some(ErrorKind::Codec));
        assert_eq!(there.recv_batch(&mut batch, 9).unwrap(), 1);
        assert_eq!(batch, ["first", "last"]);
        assert_eq!(there.recv_batch(&mut batch, 0).unwrap(), 0);
        here.send_batch(&mut Vec::new()).unwrap();
    });
}

/// The new owner never heard of it.
#[test]
fn a_connection_with_something_to_tell_does_not_move() {
    watched("owed", || {
        let (mut carrier, mut carried) = Pipe::simplex::<Connection<Nothing, String>>().unwrap();
        let (mut here, mut there) = Pipe::simplex::<String>().unwrap();
        here.send("first".to_owned()).unwrap();
        here.send_bytes(&[3, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!(there.recv_batch(&mut Vec::new(), 9).unwrap(), 1);
        let unsent = carrier.send(there);
        assert_eq!(kind_of_send(&unsent), Some(ErrorKind::Misuse));
        let mut there = unsent.unwrap_err().into_inner();
        assert_eq!(kind_of_recv(there.recv()), Some(ErrorKind::Codec));
        here.send("last".to_owned()).unwrap();
        drop(here);
        // That there will be no more, the new owner hears as well.
        assert_eq!(there.recv_batch(&mut Vec::new(), 9).unwrap(), 1);
        carrier.send(there).unwrap();
        assert!(carried.recv().unwrap().recv().unwrap_err().is_disconnected());
    });
}

/// Each refusal left a letter in the socket, until there was no room for those with a message.
#[test]
fn handles_that_found_no_room_do_not_clog_the_pipe() {
    watched("clogged", || {
        let (mut here, mut there) = Pipe::builder().capacity(256).simplex::<Option<Out>>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        while here.try_send(None).is_ok() {}
        let mut message = Some(out);
        for _ in 0..1000 {
            let unsent = here.try_send(message).unwrap_err();
            assert!(unsent.is_full(), "{unsent}");
            message = unsent.into_inner();
        }
        while there.try_recv().is_ok() {}
        here.send_timeout(message, Duration::from_secs(30)).unwrap();
        assert_joined(there.recv().unwrap().unwrap(), &mut inn);
    });
}

#[test]
fn a_long_message_with_handles_that_was_given_up_leaves_nothing() {
    watched("given up", || {
        let (mut here, mut there) =
            Pipe::builder().capacity(512).simplex::<(Vec<u8>, Out)>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        let mut message = (vec![7; 10_000], out);
        for _ in 0..1000 {
            let unsent = here.send_timeout(message, Duration::ZERO).unwrap_err();
            assert!(unsent.is_timeout(), "{unsent}");
            message = unsent.into_inner();
            assert!(there.try_recv().unwrap_err().is_empty());
        }
        let sender = std::thread::spawn(move || here.send(message).unwrap());
        let (bytes, out) = there.recv().unwrap();
        assert_eq!(bytes, vec![7; 10_000]);
        assert_joined(out, &mut inn);
        sender.join().unwrap();
    });
}

/// The socket of a duplex pipe lives as long as the other half.
#[test]
fn an_unread_handle_is_closed_with_the_half_that_would_have_read_it() {
    watched("unread", || {
        let (mut here, there) = Pipe::duplex::<Out, u8>().unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        here.send(out).unwrap();
        let (mut tx, rx) = there.split();
        drop(rx);
        assert_closed(&mut inn);
        tx.send(1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
    });
}

/// Calls `body` when this process can open only so many more files.
fn with_fds_left<R>(left: usize, body: impl FnOnce() -> R) -> R {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let highest = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let highest = highest.filter_map(|fd| fd.file_name().to_string_lossy().parse::<u64>().ok());
    let lowered = libc::rlimit { rlim_cur: highest.max().unwrap() + 1 + left as u64, ..limit };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const lowered) }, 0);
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len() - left);
    let result = body();
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    result
}

#[test]
fn without_fds_pipes_and_parcels_fail_whole_and_work_again() {
    alone("out of fds", |()| {
        let (mut here, mut there) = Pipe::simplex::<Connection<u8, u8>>().unwrap();
        let fds = open_fds();
        let mut left = 0;
        let (mut end, mut other) = loop {
            match with_fds_left(left, Pipe::duplex::<u8, u8>) {
                Ok(made) => break made,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Limit, "{error}"),
            }
            left += 1;
            assert_eq!(open_fds(), fds);
        };
        assert!(left > 0);
        assert_eq!(open_fds(), fds + 2);
        let mut refusals = 0;
        end = loop {
            match with_fds_left(refusals, || here.send(end)) {
                Ok(()) => break there.recv().unwrap(),
                Err(unsent) => {
                    assert_eq!(unsent.error().unwrap().kind(), ErrorKind::Limit, "{unsent}");
                    end = unsent.into_inner();
                }
            }
            refusals += 1;
            assert_eq!(open_fds(), fds + 2);
            end.send(1).unwrap();
            assert_eq!(other.recv().unwrap(), 1);
        };
        assert!(refusals > 0);
        end.send(2).unwrap();
        assert_eq!(other.recv().unwrap(), 2);
        assert_eq!(open_fds(), fds + 2);
        drop((end, other));
        // Where there is no room for all that arrives, nothing of it stays, and the next is fine.
        for left in 0.. {
            let (end, mut other) = Pipe::duplex::<u8, u8>().unwrap();
            here.send(end).unwrap();
            let received = with_fds_left(left, || there.recv());
            assert_eq!(open_fds(), fds + 1 + usize::from(received.is_ok()));
            if received.is_ok() {
                assert!(left > 1);
                break;
            }
            assert_eq!(kind_of_recv(received), Some(ErrorKind::Limit));
            assert!(other.recv().unwrap_err().is_disconnected());
        }
        assert_eq!(open_fds(), fds);
    });
}

#[test]
fn a_message_beyond_memory_is_an_error_and_the_next_one_arrives() {
    const LARGE: usize = 256 << 20;
    fn writer(mut out: Connection<(), ()>) {
        out.send_bytes(&vec![1; LARGE]).unwrap();
        out.send_bytes(b"next").unwrap();
    }
    alone("out of memory", |()| {
        let (mut here, there) = Pipe::duplex::<(), ()>().unwrap();
        let process = Process::spawn(writer, there).unwrap();
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        let limit = libc::rlimit {
            rlim_cur: pages * 4096 + LARGE as u64 / 2,
            rlim_max: libc::RLIM_INFINITY,
        };
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        assert_eq!(kind_of_recv(here.recv_bytes()), Some(ErrorKind::Memory));
        assert_eq!(here.recv_bytes().unwrap(), b"next");
        assert!(here.recv_bytes().unwrap_err().is_disconnected());
        process.join().unwrap();
    });
}

#[test]
fn a_result_brings_a_connection_home() {
    fn maker(first: u8) -> (In, Connection<Nothing, u64, Plain>) {
        let (mut out, inn) = Pipe::simplex().unwrap();
        out.send(first).unwrap();
        let (mut plain, slots) = Pipe::builder().plain().slots(2).simplex().unwrap();
        plain.send(7).unwrap();
        (inn, slots)
    }
    watched("result", || {
        let (mut inn, mut slots) = Process::spawn(maker, 5).unwrap().join().unwrap();
        assert_eq!(inn.iter().collect::<Vec<_>>(), [5]);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn a_connection_goes_down_three_generations() {
    fn descend((left, mut both): (u32, Connection<u32, u32>)) {
        if left > 0 {
            let child = Process::builder().daemon(false).spawn(descend, (left - 1, both)).unwrap();
            return child.join().unwrap();
        }
        while let Ok(number) = both.recv() {
            both.send(number + 1).unwrap();
        }
    }
    watched("three generations", || {
        let (mut here, there) = Pipe::duplex().unwrap();
        here.send(1).unwrap();
        let child = Process::builder().daemon(false).spawn(descend, (2, there)).unwrap();
        assert_eq!(here.recv().unwrap(), 2);
        here.send(10).unwrap();
        assert_eq!(here.recv().unwrap(), 11);
        drop(here);
        child.join().unwrap();
    });
}

#[test]
fn two_thousand_moves_leave_nothing() {
    type Ball = Connection<u32, u32>;
    fn mirror(mut both: Connection<(Ball, usize), Ball>) -> usize {
        let before = open_fds();
        while let Ok(mut ball) = both.recv() {
            let number = ball.recv().unwrap();
            ball.send(number + 1).unwrap();
            both.send((ball, open_fds())).unwrap();
        }
        open_fds().saturating_sub(before)
    }
    alone("two thousand moves", |()| {
        let (mut here, there) = Pipe::duplex::<Ball, (Ball, usize)>().unwrap();
        let process = Process::spawn(mirror, there).unwrap();
        let (mut ball, mut other) = Pipe::duplex::<u32, u32>().unwrap();
        let fds = open_fds();
        let mut theirs = None;
        // More than there are participants or blocks in a segment.
        for round in 0..2000 {
            other.send(round).unwrap();
            here.send(ball).unwrap();
            let (back, open) = here.recv().unwrap();
            ball = back;
            assert_eq!(other.recv().unwrap(), round + 1);
            assert_eq!((open, open_fds()), (*theirs.get_or_insert(open), fds));
        }
        drop(here);
        assert_eq!(process.join().unwrap(), 0);
        ball.send(3).unwrap();
        assert_eq!(other.recv().unwrap(), 3);
    });
}

/// Each side of every ball is in the hands of a process that is killed, or on its way to it.
#[test]
fn jugglers_killed_at_random_leave_nothing() {
    type Ball = Connection<u32, u32>;
    fn juggle(mut both: Connection<Ball, Ball>) {
        let mut hand: Vec<Ball> = Vec::new();
        while let Ok(ball) = both.recv() {
            let (left, right) = Pipe::duplex().unwrap();
            hand.extend([ball, left]);
            drop(right);
            if both.send(hand.swap_remove(0)).is_err() {
                return;
            }
            hand.truncate(1);
        }
    }
    alone("jugglers", |()| {
        drop(Pipe::duplex::<u32, u32>().unwrap());
        Process::spawn(drop::<u8>, 1).unwrap().join().unwrap();
        let room = room();
        let fds = open_fds();
        let seed = seed() as u32;
        for round in 0..100_u32 {
            let (mut here, there) = Pipe::duplex::<Ball, Ball>().unwrap();
            let process = Process::spawn(juggle, there).unwrap();
            let last = seed.wrapping_mul(round + 1) % 64;
            let mut others = Vec::new();
            for number in 0.. {
                let (ball, other) = Pipe::duplex().unwrap();
                others.push(other);
                if here.send(ball).is_err() {
                    break;
                }
                if number == last {
                    process.kill().unwrap();
                }
                if number % 3 != 0 && here.recv().is_err() {
                    break;
                }
            }
            assert_eq!(process.join().unwrap_err().signal(), Some(libc::SIGKILL));
            drop(here);
            for mut other in others {
                assert!(other.recv().unwrap_err().is_disconnected());
            }
        }
        assert!(open_fds() <= fds, "{} fds, {fds} before", open_fds());
        assert_eq!(self::room(), room);
    });
}

/// How many pipes there is room for before there must be another segment.
fn room() -> usize {
    let fds = open_fds();
    let pipe = || Pipe::duplex::<u8, u8>().unwrap();
    let mut pipes = vec![pipe()];
    while open_fds() == fds + 2 * pipes.len() {
        pipes.push(pipe());
    }
    pipes.len()
}
