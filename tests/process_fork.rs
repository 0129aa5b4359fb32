//! Copies of a live process.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "fork is the subject")]
#![allow(missing_docs)]
#![cfg(not(multiproc_loom))]

mod common;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{alone, children, open_fds, until};
use multiproc::{ErrorKind, JoinError, Process};

fn double(n: u64) -> u64 {
    2 * n
}

/// A counter that all copies share.
fn shared() -> &'static AtomicUsize {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    unsafe { &*page.cast::<AtomicUsize>() }
}

#[test]
fn f1_fork_once() {
    alone("f1", |()| {
        let me = std::process::id();
        let returns = shared();
        let child = unsafe {
            Process::fork(|| {
                returns.fetch_add(1, Ordering::Relaxed);
                (std::process::id(), std::os::unix::process::parent_id())
            })
        }
        .unwrap();
        returns.fetch_add(1, Ordering::Relaxed);
        let pid = child.pid();
        assert_eq!(child.join().unwrap(), (pid, me));
        assert_eq!(returns.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn f2_each_has_its_own_counter() {
    alone("f2", |()| {
        let counter = Cell::new(0);
        let add = || {
            counter.set(counter.get() + 1);
            counter.get()
        };
        let child = unsafe { Process::fork(add) }.unwrap();
        assert_eq!((add(), child.join().unwrap()), (1, 1));
    });
}

#[test]
fn f3_forks_counted() {
    alone("f3", |()| {
        let count = shared();
        // Twice in a row: both processes come to the second fork.
        let second = || {
            let child = unsafe { Process::fork(|| count.fetch_add(1, Ordering::Relaxed)) }.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            child.join().unwrap();
        };
        let first = unsafe { Process::fork(second) }.unwrap();
        second();
        first.join().unwrap();
        assert_eq!(count.swap(0, Ordering::Relaxed), 4);
        // Twice in the parent only.
        let forks = [(); 2]
            .map(|()| unsafe { Process::fork(|| count.fetch_add(1, Ordering::Relaxed)) }.unwrap());
        count.fetch_add(1, Ordering::Relaxed);
        forks.into_iter().for_each(|child| assert!(child.join().is_ok()));
        assert_eq!(count.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_fork_reports_panics_exits_and_signals() {
    alone("fork ends", |()| {
        let panics = unsafe { Process::fork(|| -> u32 { panic!("in a copy") }) }.unwrap();
        let error = panics.join().unwrap_err();
        let panic = error.panic().unwrap();
        assert_eq!(panic.message(), "in a copy");
        assert!(panic.location().unwrap().starts_with("tests/process_fork.rs:"));
        let exits = unsafe { Process::fork(|| std::process::exit(3)) }.unwrap();
        assert!(matches!(Process::<()>::join(exits).unwrap_err(), JoinError::Exited(3)));
        let dies = unsafe { Process::fork(|| libc::raise(libc::SIGKILL)) }.unwrap();
        assert!(matches!(dies.join().unwrap_err(), JoinError::Signaled(9)));
    });
}

#[test]
fn a_fork_loses_nothing_to_ignored_sigchld_and_leaves_no_zombie() {
    alone("fork sigchld", |()| {
        for disposition in [libc::SIG_IGN, libc::SIG_DFL] {
            unsafe { libc::signal(libc::SIGCHLD, disposition) };
            for n in 0..50 {
                let child = unsafe { Process::fork(|| n + 1) }.unwrap();
                assert_eq!(child.join().unwrap(), n + 1);
                drop(unsafe { Process::fork(|| n) }.unwrap());
            }
        }
        until(|| children().is_empty());
    });
}

#[test]
fn a_copy_is_a_process_of_its_own() {
    alone("copy", |()| {
        let name = multiproc::current().name().to_owned();
        let mut sibling = Process::spawn(double, 5).unwrap();
        let fds = open_fds();
        let child = unsafe {
            Process::fork(|| {
                let parent = multiproc::parent().unwrap();
                assert_eq!(parent.name(), name);
                assert!(multiproc::current().name().ends_with(":2"));
                assert!(multiproc::current().is_daemon());
                assert!(multiproc::active_children().is_empty());
                // Not this process's to join; and trying takes nothing from the one whose it is.
                let error = sibling.join_timeout(std::time::Duration::MAX).unwrap_err();
                let JoinError::Error(error) = error else { panic!("{error}") };
                assert_eq!(error.kind(), ErrorKind::Forked);
                let child = Process::spawn(double, 21).unwrap();
                assert!(child.name().ends_with(":2:1"), "{}", child.name());
                child.join().unwrap()
            })
        };
        assert_eq!(child.unwrap().join().unwrap(), 42);
        assert_eq!(sibling.join().unwrap(), 10);
        until(|| children().iter().all(|(_, _, name)| name == "multiproc-fork"));
        assert!(open_fds() < fds);
    });
}
