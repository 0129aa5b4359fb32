//! Handles on unusual roads: through forks, out of parcels that fail, at limits, and back again.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "forks and limits")]
#![allow(missing_docs)]
#![cfg(not(multiproc_loom))]

mod common;

use std::cell::RefCell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{alone, open_fds, watched};
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
