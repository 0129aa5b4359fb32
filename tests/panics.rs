//! A program in which panics are what they were built to be: the end of a call, or with
//! `panic = "abort"` the end of a process. The others go on. `.ci/run` builds it both ways:
//!
//! ```sh
//! cargo test --test panics
//! cargo rustc --test panics -- -C panic=abort    # and run what it made
//! ```
#![allow(missing_docs)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "nobody needs a core")]
#![cfg_attr(multiproc_loom, no_main)]
#![cfg(not(multiproc_loom))]

use multiproc::{
    Connection, Dict, ErrorKind, Lock, LockError, Manager, Pipe, Pool, Process, Proxy, StartMethod,
    TaskError,
};

/// Whether a panic ends the process.
const ABORTS: bool = cfg!(panic = "abort");

fn panic(number: u64) -> u64 {
    assert!(number != 7, "the end of {number}");
    2 * number
}

fn a_child_that_panics() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Process::builder().start_method(method).spawn(panic, 7).unwrap();
        let error = child.join().unwrap_err();
        if ABORTS {
            assert_eq!(error.signal(), Some(libc::SIGABRT), "{error}");
        } else {
            assert_eq!(error.panic().unwrap().message(), "the end of 7");
        }
    }
}

fn one_that_others_wait_for() {
    fn panic_with((lock, mut end): (Lock, Connection<u64, u64>)) {
        let guard = lock.lock().unwrap();
        end.send(1).unwrap();
        let _ = end.recv();
        panic(7);
        drop(guard);
    }
    let (lock, (mut here, there)) = (Lock::new().unwrap(), Pipe::duplex().unwrap());
    let child = Process::spawn(panic_with, (lock.clone(), there)).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    here.send(2).unwrap();
    let end = here.recv().unwrap_err();
    assert!(end.is_disconnected() && end.is_peer_dead() == ABORTS, "{end}");
    match lock.lock() {
        Err(LockError::OwnerDied { .. }) if ABORTS => {}
        Err(LockError::Panicked { .. }) if !ABORTS => {}
        other => panic!("{other:?}"),
    }
    child.join().unwrap_err();
}

fn a_worker_of_a_pool() {
    let pool = Pool::new(2).unwrap();
    let error = pool.apply(panic, 7).unwrap_err();
    match &error {
        TaskError::WorkerDied { status, .. } if ABORTS => {
            assert_eq!(status.signal(), Some(libc::SIGABRT));
        }
        TaskError::Panicked(_) if !ABORTS => {}
        other => panic!("{other}"),
    }
    assert!(pool.map(panic, 5..10).is_err());
    assert_eq!(pool.map(panic, 0..3).unwrap(), [0, 2, 4]);
    assert!((pool.stats().restarted >= 2) == ABORTS);
}

fn a_server_of_a_manager() {
    fn fall(number: &mut u64, by: u64) -> u64 {
        *number -= panic(by);
        *number
    }
    fn ask(numbers: Dict<u64, u64>) -> Result<usize, ErrorKind> {
        numbers.len().map_err(|error| error.kind())
    }
    let manager = Manager::start().unwrap();
    let number: Proxy<u64> = manager.host(100).unwrap();
    let numbers = manager.dict().unwrap();
    numbers.insert(1, 2).unwrap();
    assert_eq!(number.call(fall, 1).unwrap(), 98);
    let error = number.call(fall, 7).unwrap_err();
    let expected = if ABORTS { ErrorKind::Disconnected } else { ErrorKind::Worker };
    assert_eq!(error.kind(), expected, "{error}");
    let heard = Process::spawn(ask, numbers.clone()).map(|child| child.join().unwrap());
    if ABORTS {
        assert_eq!(ask(numbers), Err(ErrorKind::Disconnected));
        assert!(heard.is_err() || heard.is_ok_and(|heard| heard == Err(ErrorKind::Disconnected)));
        assert_eq!(manager.shutdown().unwrap_err().kind(), ErrorKind::Disconnected);
    } else {
        assert_eq!(heard.unwrap(), Ok(1));
        manager.shutdown().unwrap();
    }
    // The next one knows nothing of it.
    assert_eq!(Manager::start().unwrap().host(7_u64).unwrap().call(fall, 1).unwrap(), 5);
}

fn main() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }, 0);
    a_child_that_panics();
    one_that_others_wait_for();
    a_worker_of_a_pool();
    a_server_of_a_manager();
    println!("panics {}: everybody else went on", if ABORTS { "abort" } else { "unwind" });
}
