//! Processes when something goes wrong: limits, deaths at the wrong moment, rude neighbours.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests kill, fork and limit")]
#![allow(missing_docs)]
#![cfg(not(multiproc_loom))]

mod common;

use std::ffi::{CStr, c_char};
use std::io::{BufRead, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{alone, children, ends_within, forbid, open_fds, server, until, watchdog};
use multiproc::{Connection, ErrorKind, JoinError, Nothing, Pipe, Process, StartMethod};
use serde::{Deserialize, Serialize};

fn double(n: u64) -> u64 {
    2 * n
}

fn for_ever(_: ()) {
    // The sleep is the work that this child has to do.
    std::thread::sleep(Duration::from_secs(3600));
}

/// Ends a new process before anything else in it runs, if a test wants that.
#[used]
#[unsafe(link_section = ".preinit_array")]
static DIE_EARLY: extern "C" fn(i32, *const *const c_char, *const *const c_char) = die_early;

extern "C" fn die_early(_: i32, _: *const *const c_char, mut environment: *const *const c_char) {
    unsafe {
        while !(*environment).is_null() {
            if CStr::from_ptr(*environment).to_bytes().starts_with(b"TEST_DIE_EARLY") {
                libc::_exit(7);
            }
            environment = environment.add(1);
        }
    }
}

#[test]
fn a_child_that_dies_before_it_starts() {
    alone("early", |()| {
        unsafe { std::env::set_var("TEST_DIE_EARLY", "1") };
        let exec = Process::builder().start_method(StartMethod::Spawn).spawn(double, 1);
        match exec.map(Process::join) {
            // It died before it was sent its job, or after.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn),
            Ok(Err(JoinError::NotStarted(status))) => assert_eq!(status.code(), Some(7)),
            Ok(other) => panic!("{other:?}"),
        }
        let error = Process::spawn(double, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert_eq!(error.to_string(), "fork server: ended before it answered: exit code 7");
        unsafe { std::env::remove_var("TEST_DIE_EARLY") };
        assert_eq!(Process::spawn(double, 1).unwrap().join().unwrap(), 2);
    });
}

#[test]
fn a_killed_server_is_replaced() {
    alone("server killed between", |()| {
        let first = Process::spawn(for_ever, ()).unwrap();
        let old = server().unwrap();
        let old_fd = common::pidfd(old);
        unsafe { libc::kill(old as i32, libc::SIGKILL) };
        assert!(ends_within(old_fd.as_fd(), Duration::from_secs(50)));
        assert_eq!(Process::spawn(double, 4).unwrap().join().unwrap(), 8);
        assert_ne!(server().unwrap(), old);
        assert!(first.is_alive());
        first.kill().unwrap();
        assert_eq!(first.join().unwrap_err().signal(), Some(libc::SIGKILL));
    });
}

fn say_and_double(n: u64) -> u64 {
    println!("{n}");
    2 * n
}

/// Starts and joins children whatever happens to the server; every attempt has another number.
fn persist(attempts: &mut u64) {
    let (read, write) = common::pipe();
    for _ in 0..300 {
        loop {
            *attempts += 1;
            let stdout = write.try_clone().unwrap();
            let child = Process::builder().stdout(stdout).spawn(say_and_double, *attempts);
            match child.map(Process::join) {
                Ok(Ok(result)) => break assert_eq!(result, 2 * *attempts),
                // Before it has a name of its own a child looks like the server.
                Ok(Err(error)) => assert_eq!(error.signal(), Some(libc::SIGKILL), "{error:?}"),
                // Twice in a row is no reason for a third try.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Spawn, "{error:?}"),
            }
        }
    }
    drop(write);
    let said: Vec<u64> = read.lines().map(|line| line.unwrap().parse().unwrap()).collect();
    assert!(said.len() >= 300);
    assert!(said.is_sorted_by(|a, b| a < b), "an attempt ran twice");
}

#[test]
fn a_server_killed_at_any_moment_loses_and_doubles_nothing() {
    alone("server killed during", |()| {
        let is_over = AtomicBool::new(false);
        let killed = std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                let mut killed = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(pid) = server() {
                        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
                        killed += 1;
                    }
                }
                killed
            });
            let outcome = std::panic::catch_unwind(|| persist(&mut 0));
            is_over.store(true, Ordering::Relaxed);
            outcome.unwrap();
            killer.join().unwrap()
        });
        assert!(killed > 0);
        until(|| children().iter().all(|(_, _, name)| name == "multiproc-fork"));
        until(|| children().iter().all(|(_, state, _)| *state != 'Z'));
    });
}

#[test]
fn nobody_stays_a_zombie_and_no_fd_stays_open() {
    alone("zombies", |()| {
        assert_eq!(Process::spawn(double, 1).unwrap().join().unwrap(), 2);
        let fds = open_fds();
        for n in 0..200 {
            drop(Process::spawn(double, n).unwrap());
        }
        until(|| multiproc::active_children().is_empty());
        until(|| children().iter().all(|(_, _, name)| name == "multiproc-fork"));
        until(|| open_fds() == fds);
        for n in 0..1000 {
            assert_eq!(Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
        }
        assert_eq!(open_fds(), fds);
        assert_eq!(children().len(), 1);
    });
}

#[test]
fn nothing_is_left_of_a_parent_that_is_killed_at_any_moment() {
    /// Everything that descends from it writes to the same pipe.
    fn spawn_and_spawn(_: ()) {
        let methods = [StartMethod::ForkServer, StartMethod::Spawn];
        for n in (0..=u64::MAX).map(|n| n % 2) {
            println!("next");
            let start = || Process::builder().start_method(methods[n as usize]);
            let _left = start().spawn(for_ever, ()).unwrap();
            assert_eq!(start().spawn(double, n).unwrap().join().unwrap(), 2 * n);
        }
    }
    let _watchdog = watchdog("parent killed");
    for lines in 0..30 {
        let (mut read, write) = common::pipe();
        let parent = Process::builder().stdout(write).spawn(spawn_and_spawn, ()).unwrap();
        for _ in 0..lines {
            assert_eq!(common::line(&mut read), "next");
        }
        parent.kill().unwrap();
        assert!(parent.join().is_err());
        // The end of the pipe is the end of all of them.
        let mut rest = String::new();
        read.read_to_string(&mut rest).unwrap();
    }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: 4096 };
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

#[test]
fn too_few_file_descriptors_are_a_clear_error() {
    alone("fds", |()| {
        // With and without a server: without one it needs more.
        for round in 0..2 {
            let fds = open_fds();
            for spare in 0..12 {
                limit(libc::RLIMIT_NOFILE, fds as u64 - 1 + spare);
                match Process::spawn(double, 1) {
                    Ok(child) => {
                        let result = child.join();
                        limit(libc::RLIMIT_NOFILE, 1024);
                        assert_eq!(result.unwrap(), 2);
                    }
                    Err(error) => {
                        limit(libc::RLIMIT_NOFILE, 1024);
                        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
                    }
                }
            }
            assert_eq!(Process::spawn(double, 1).unwrap().join().unwrap(), 2);
            if round == 1 {
                assert_eq!(open_fds(), fds);
            }
            until(|| children().iter().all(|(_, _, name)| name == "multiproc-fork"));
        }
    });
}

#[test]
fn too_few_processes_are_a_clear_error() {
    for most in 1..4_u64 {
        fn spawn_with(most: u64) -> String {
            unsafe {
                if libc::getuid() == 0 {
                    assert_eq!(libc::setuid(54_321 + most as u32), 0);
                }
                limit(libc::RLIMIT_NPROC, most);
            }
            Process::spawn(double, 1).map_or_else(|error| format!("{error:?}"), |_| String::new())
        }
        let _watchdog = watchdog("processes");
        let kind = Process::spawn(spawn_with, most).unwrap().join().unwrap();
        // One for itself, one for the monitor, one for the server.
        assert!(kind.starts_with("Error(Limit"), "{most}: {kind}");
    }
}

#[test]
fn rights_that_were_given_up_are_not_in_later_children() {
    fn user(_: ()) -> u32 {
        unsafe { libc::geteuid() }
    }
    alone("setuid", |()| {
        let before = Process::spawn(user, ()).unwrap().join().unwrap();
        assert_eq!(before, user(()));
        if before == 0 {
            assert_eq!(unsafe { libc::setuid(54_321) }, 0);
            assert_eq!(Process::spawn(user, ()).unwrap().join().unwrap(), 54_321);
            until(|| children().len() == 1);
        }
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_a_clear_error() {
    alone("exec", |()| {
        let empty = std::env::temp_dir().join(format!("multiproc-{}", std::process::id()));
        std::fs::create_dir(&empty).unwrap();
        if std::os::unix::fs::chroot(&empty).is_err() {
            return;
        }
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let error = Process::builder().start_method(method).spawn(double, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Spawn);
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
            // Whichever is missed first: a folder without anything has neither.
            let named = error.to_string();
            assert!(named.contains("/proc/self/exe") || named.contains("/dev/null"), "{error}");
        }
    });
    let _ = std::fs::read_dir(std::env::temp_dir()).map(|entries| {
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("multiproc-") {
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    });
}

#[test]
fn a_function_of_a_library_is_refused() {
    let getpid = libc::getpid as unsafe extern "C" fn() -> i32 as *const ();
    let foreign: fn(u32) -> u32 = unsafe { std::mem::transmute(getpid) };
    let error = Process::spawn(foreign, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image);
    assert!(error.to_string().contains("fn(u32) -> u32"), "{error}");
}

#[test]
fn values_that_the_codec_cannot_carry_are_clear_errors() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Undecodable {
        A { n: u32 },
    }
    fn take(_: Undecodable) {}
    fn give(n: u32) -> Undecodable {
        Undecodable::A { n }
    }
    #[derive(Debug, Deserialize)]
    struct Unencodable;
    impl Serialize for Unencodable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    fn give_unencodable(_: ()) -> Unencodable {
        Unencodable
    }
    let _watchdog = watchdog("codec");
    let codec = |error: JoinError, what: &str| {
        let JoinError::Error(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.to_string().contains(what), "{error}");
    };
    let child = Process::spawn(take, Undecodable::A { n: 1 }).unwrap();
    codec(child.join().unwrap_err(), "decode a");
    codec(Process::spawn(give, 1).unwrap().join().unwrap_err(), "Undecodable");
    codec(Process::spawn(give_unencodable, ()).unwrap().join().unwrap_err(), "encode a");
    let error = Process::spawn(drop, Unencodable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
}

/// Of all kinds but four, only the words came.
#[test]
fn what_went_wrong_in_a_child_keeps_its_kind() {
    #[derive(Deserialize)]
    struct Twice(Connection<Nothing, u64>);
    impl Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.0, &self.0).serialize(serializer)
        }
    }
    fn give(_: ()) -> Twice {
        Twice(Pipe::simplex().unwrap().1)
    }
    let _watchdog = watchdog("kind");
    let JoinError::Error(error) = Process::spawn(give, ()).unwrap().join().map(drop).unwrap_err()
    else {
        panic!("no error of the crate's")
    };
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(error.to_string(), "in the process: a connection that has moved elsewhere");
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

#[test]
fn ignored_sigchld_loses_no_result() {
    alone("sigchld", |()| {
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for n in 0..20 {
            assert_eq!(Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
        }
        let error = Process::spawn(exit_with, 3).unwrap().join().unwrap_err();
        assert!(is_status(&error, 3), "{error}");
    });
}

/// Linux keeps the status behind the pidfd, also of a child that was reaped, from 6.15 on.
fn is_status(error: &JoinError, code: i32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    error.code() == Some(code) || version < (6, 15) && matches!(error, JoinError::Lost)
}

#[test]
fn a_thread_that_waits_for_every_child_loses_no_result() {
    alone("waitpid(-1)", |()| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
                }
            });
            for n in 0..100 {
                assert_eq!(Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
                let exec = Process::builder().start_method(StartMethod::Spawn);
                if n % 10 == 0 {
                    assert_eq!(exec.spawn(double, n).unwrap().join().unwrap(), 2 * n);
                }
            }
            let error = Process::spawn(exit_with, 3).unwrap().join().unwrap_err();
            assert!(is_status(&error, 3), "{error}");
            is_over.store(true, Ordering::Relaxed);
            // The server is the last child; without it the wait ends.
            unsafe { libc::kill(server().unwrap() as i32, libc::SIGKILL) };
        });
    });
}

#[test]
fn a_variable_that_anybody_can_set_changes_nothing() {
    let _watchdog = watchdog("variable");
    for value in ["", "3", "0", "-1", "999999", "3:main", "x", "99999999999999"] {
        let output = std::process::Command::new("/proc/self/exe")
            .args(["--list", "--format", "terse"])
            .env("MULTIPROC_CONTROL", value)
            .output()
            .unwrap();
        assert!(output.status.success(), "{value}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("anybody_can_set"));
    }
}

/// The child aborted of them.
#[test]
fn a_variable_that_nobody_can_set_is_refused() {
    for (name, value) in [("", "1"), ("A=B", "1"), ("=A", "1"), ("A\0", "1"), ("A", "1\0")] {
        let error = Process::builder().env(name, value).spawn(double, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{name:?}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        let removed = Process::builder().env_remove(name).spawn(double, 1).unwrap();
        assert_eq!(removed.join().unwrap(), 2, "{name:?}");
    }
    alone("odd names", |()| {
        Process::spawn(double, 1).unwrap().join().unwrap();
        // The kernel takes what no call of the C library would.
        assert_eq!(unsafe { libc::putenv(c"=odd=1".as_ptr().cast_mut()) }, 0);
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let start = || Process::builder().start_method(method);
            assert_eq!(start().spawn(double, 1).unwrap().join().unwrap(), 2);
            assert_eq!(start().env_clear().spawn(double, 2).unwrap().join().unwrap(), 4);
        }
    });
}

fn many_and_nested(_: ()) {
    for n in 0..5 {
        assert_eq!(Process::spawn(double, n).unwrap().join().unwrap(), 2 * n);
    }
    let error = Process::spawn(exit_with, 3).unwrap().join().unwrap_err();
    assert!(matches!(error, JoinError::Exited(3)), "{error}");
    assert_eq!(children().len(), 1);
}

#[test]
fn a_kernel_without_clone3_changes_nothing() {
    alone("clone3", |()| {
        forbid(libc::SYS_clone3, None, libc::ENOSYS);
        many_and_nested(());
        Process::spawn(many_and_nested, ()).unwrap().join().unwrap();
    });
}

#[test]
fn a_filter_that_hides_the_thread_id_changes_nothing() {
    alone("tid address", |()| {
        const PR_GET_TID_ADDRESS: u32 = 40;
        forbid(libc::SYS_prctl, Some(PR_GET_TID_ADDRESS), libc::EINVAL);
        many_and_nested(());
        // A panic on the thread that takes the place of the main one is a panic like any other.
        let error = Process::spawn(|_: ()| -> u32 { panic!("elsewhere") }, ()).unwrap();
        assert_eq!(error.join().unwrap_err().panic().unwrap().message(), "elsewhere");
    });
}

/// A robust lock of the C library's, in memory that all copies share.
fn robust_lock(path: &str) -> *mut libc::pthread_mutex_t {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, libc::MAP_SHARED, fd, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    page.cast()
}

fn lock_and_die(path: String) {
    unsafe {
        assert_eq!(libc::pthread_mutex_lock(robust_lock(&path)), 0);
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
}

#[test]
fn the_c_library_of_a_child_knows_who_it_is() {
    let _watchdog = watchdog("robust");
    let path = format!("/dev/shm/multiproc-test-{}", std::process::id());
    std::fs::write(&path, [0; 4096]).unwrap();
    let lock = robust_lock(&path);
    unsafe {
        let mut attributes = std::mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
        libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(lock, &raw const attributes);
    }
    let error = Process::spawn(lock_and_die, path.clone()).unwrap().join().unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert_eq!(error.signal(), Some(libc::SIGKILL));
    // A wrong thread id, or a list of locks that the kernel does not know, would make this hang.
    assert_eq!(unsafe { libc::pthread_mutex_lock(lock) }, libc::EOWNERDEAD);
}
