//! Hostile weather: programs that live in strange places, or treat their processes strangely.
//!
//! `MULTIPROC_STORMS=10` starts ten thousand processes where otherwise a thousand are.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests close, kill and fork")]

mod common;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::tour::{self, Luggage};
use common::{alone, assert_killed, children, open_fds, storms, watchdog};
use multiproc::{
    Connection, Event, JoinError, Lock, LockError, Pipe, Pool, Process, Readiness, StartMethod,
};

fn double(number: u64) -> u64 {
    2 * number
}

/// Set in the environment of a program that is one of these tests, run again somewhere else.
const ELSEWHERE: &str = "MULTIPROC_TEST_ELSEWHERE";

fn is_elsewhere() -> bool {
    std::env::var_os(ELSEWHERE).is_some()
}

/// Runs one test of this file again.
fn again(mut command: Command, test: &str) -> Output {
    let run = command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    run.env(ELSEWHERE, "1").output().unwrap()
}

fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

/// Children of the first process there is: who is orphaned becomes its child as well.
#[test]
fn a_program_can_be_the_first_of_its_namespace() {
    fn orphan(_: ()) {
        let stays = Process::builder().daemon(false).spawn(double, 1).unwrap();
        drop(stays);
        common::die();
    }
    let _watchdog = watchdog("first of its namespace");
    if !is_elsewhere() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc"]);
        match unshare.args(["--", "true"]).output() {
            Ok(output) if output.status.success() => {}
            other => return println!("skipped: no namespaces here: {other:?}"),
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--"]);
        unshare.arg(std::env::current_exe().unwrap());
        return assert_passed(&again(unshare, "a_program_can_be_the_first_of_its_namespace"));
    }
    assert_eq!(std::process::id(), 1);
    tour::all().unwrap();
    for _ in 0..20 {
        assert_killed(Process::spawn(orphan, ()).unwrap().join());
    }
    tour::all().unwrap();
    // SIGTERM has no default action for it, but for its children.
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(double, 0..4).unwrap(), [0, 2, 4, 6]);
    pool.terminate();
}

fn copy_of_this_program() -> PathBuf {
    let name = format!("multiproc-weather-{}", std::process::id());
    let copy = std::env::temp_dir().join(name);
    std::fs::copy("/proc/self/exe", &copy).unwrap();
    copy
}

/// As when a program is updated, or built again, while it runs.
#[test]
fn a_program_whose_file_is_gone_goes_on() {
    let _watchdog = watchdog("deleted executable");
    if !is_elsewhere() {
        let copy = copy_of_this_program();
        let output = again(Command::new(&copy), "a_program_whose_file_is_gone_goes_on");
        let was_there = std::fs::remove_file(copy).is_ok();
        assert_passed(&output);
        // The program put something else in its own place.
        return assert!(was_there);
    }
    let file = std::env::current_exe().unwrap();
    std::fs::remove_file(&file).unwrap();
    tour::all().unwrap();
    std::fs::write(&file, "something else").unwrap();
    tour::all().unwrap();
    // Whoever has no server yet needs the program most.
    unsafe { libc::kill(common::server().unwrap() as i32, libc::SIGKILL) };
    tour::all().unwrap();
}

/// Nobody needs a core of what is to abort.
fn without_cores() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }, 0);
}

/// A program built with `panic = "abort"`: the hook has run, and then that is the end.
fn abort_at_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        std::process::abort();
    }));
}

#[test]
fn a_panic_that_aborts_is_a_death_like_any_other() {
    fn panic(_: ()) -> u64 {
        abort_at_panics();
        panic!("the end of this process");
    }
    fn panic_with((lock, mut end): (Lock, Connection<u64, u64>)) {
        abort_at_panics();
        let _guard = lock.lock().unwrap();
        end.send(1).unwrap();
        panic!("the end of this process");
    }
    alone("panics abort", |()| {
        without_cores();
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let child = Process::builder().start_method(method).spawn(panic, ()).unwrap();
            let error = child.join().unwrap_err();
            assert!(matches!(error, JoinError::Signaled(libc::SIGABRT)), "{error:?}");
        }
        let (lock, (mut here, there)) = (Lock::new().unwrap(), Pipe::duplex().unwrap());
        let child = Process::spawn(panic_with, (lock.clone(), there)).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        assert!(here.recv().unwrap_err().is_peer_dead());
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied { .. })));
        assert!(child.join().is_err());
        let pool = Pool::new(2).unwrap();
        assert!(pool.apply(panic, ()).unwrap_err().is_worker_dead());
        assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    });
}

/// A child is its process's, and not the thread's that started it (PR_SET_PDEATHSIG is that
/// thread's).
#[test]
fn a_thread_that_starts_a_process_may_end_at_once() {
    alone("thread that ends", |()| {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            for _ in 0..20 {
                let start = move || {
                    let (here, there) = Pipe::duplex::<u64, u64>().unwrap();
                    let start = Process::builder().start_method(method);
                    (here, start.spawn(echo, there).unwrap())
                };
                let (mut here, child) = thread::spawn(start).join().unwrap();
                here.send(7).unwrap();
                assert_eq!(here.recv().unwrap(), 7);
                drop(here);
                child.join().unwrap();
            }
        }
    });
}

fn echo(mut both: Connection<u64, u64>) {
    while let Ok(number) = both.recv() {
        both.send(number).unwrap();
    }
}

#[test]
fn processes_of_processes_of_processes_can_do_everything() {
    fn descend(depth: u32) {
        tour::all().unwrap();
        if depth > 0 {
            Process::spawn(descend, depth - 1).unwrap().join().unwrap();
        }
    }
    alone("three deep", |()| Process::spawn(descend, 2).unwrap().join().unwrap());
}

#[test]
fn a_thousand_processes_are_as_good_as_the_first() {
    alone("a thousand processes", |()| {
        tour::all().unwrap();
        let luggage = Luggage::new().unwrap();
        let fds = open_fds();
        for number in 0..1000 * storms() as u64 {
            assert_eq!(Process::spawn(double, number).unwrap().join().unwrap(), 2 * number);
        }
        assert_eq!(open_fds(), fds);
        assert_eq!(children().len(), 1);
        luggage.use_all().unwrap();
    });
}

/// Other threads start processes, allocate and have locks of all kinds at the moment of the fork.
#[test]
fn a_fork_among_busy_threads_works() {
    alone("fork among threads", |()| {
        let is_over = AtomicBool::new(false);
        let luggage = Luggage::new().unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        luggage.use_all().unwrap();
                        assert_eq!(Process::spawn(double, 4).unwrap().join().unwrap(), 8);
                    }
                });
            }
            let forks = std::panic::catch_unwind(|| {
                for number in 0..100 {
                    let copy = unsafe { Process::fork(|| number + 1) }.unwrap();
                    assert_eq!(copy.join().unwrap(), number + 1);
                }
            });
            is_over.store(true, Ordering::Relaxed);
            forks.unwrap();
        });
        luggage.use_all().unwrap();
    });
}

fn close_all_from(first: u32) {
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }, 0);
}

/// As a program does that makes itself a daemon. A child that does it has taken leave of everybody.
#[test]
fn a_child_that_closes_everything_harms_only_itself() {
    fn close_and_go_on((luggage, mut both): (Luggage, Connection<u64, u64>)) -> u64 {
        luggage.use_all().unwrap();
        both.send(1).unwrap();
        close_all_from(3);
        // What needs no file goes on, or fails; what needs one fails.
        let _ = both.try_send(2);
        let _ = luggage.use_all();
        let _ = Process::spawn(double, 1).map(Process::join);
        let _ = Pool::new(1).map(drop);
        unsafe { libc::_exit(0) }
    }
    alone("child closes all", |()| {
        let luggage = Luggage::new().unwrap();
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
            // Others may have had its locks since it lost its leases.
            let job = (Luggage::new().unwrap(), there);
            let start = Process::builder().start_method(method);
            let child = start.spawn(close_and_go_on, job).unwrap();
            assert_eq!(here.recv().unwrap(), 1);
            while here.recv().is_ok() {}
            let end = child.join();
            println!("a child that closed everything: {end:?}");
            assert!(end.is_err());
        }
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

/// A process that closes the files under its own objects hears of it and ends when it wants to.
///
/// Where Rust looks after its files, in debug builds, that is sooner than it thinks.
#[test]
fn a_parent_that_closes_everything_hears_of_it() {
    fn close_and_go_on(_: ()) {
        let luggage = Luggage::new().unwrap();
        let child = Process::spawn(double, 1).unwrap();
        close_all_from(3);
        child.join().unwrap_err();
        let _ = luggage.use_all();
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let start = Process::builder().start_method(method);
            println!("spawn: {}", start.spawn(double, 2).unwrap_err());
        }
        println!("pipe: {}", Pipe::duplex::<u64, u64>().map(drop).unwrap_err());
        println!("pool: {}", Pool::new(1).map(drop).unwrap_err());
        unsafe { libc::_exit(0) }
    }
    alone("parent closes all", |()| {
        without_cores();
        let error = Process::spawn(close_and_go_on, ()).unwrap().join().unwrap_err();
        let is_abort = cfg!(debug_assertions) && error.signal() == Some(libc::SIGABRT);
        assert!(error.code() == Some(0) || is_abort, "{error:?}");
        tour::all().unwrap();
    });
}

/// The thread that makes children by exec could not hear that it was asked to, and whoever asked
/// waited for ever.
#[test]
fn a_monitor_whose_files_are_closed_is_not_waited_for() {
    fn close_and_spawn(_: ()) {
        tour::all().unwrap();
        for fd in 3..100 {
            let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
            if link.to_string_lossy().starts_with("anon_inode:[event") {
                assert_eq!(unsafe { libc::close(fd) }, 0);
            }
        }
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let start = Process::builder().start_method(method);
            let error = start.spawn(double, 2).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        }
        unsafe { libc::_exit(0) }
    }
    alone("monitor closed", |()| {
        let error = Process::spawn(close_and_spawn, ()).unwrap().join().unwrap_err();
        assert_eq!(error.code(), Some(0), "{error}");
    });
}

/// The first files that it made were numbers 0, 1 and 2, and what it printed went into a segment.
#[test]
fn a_program_without_standard_streams_keeps_its_files_to_itself() {
    fn streams(_: ()) -> Vec<String> {
        let link = |fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        (0..3).map(|fd| link(fd).to_string_lossy().into_owned()).collect()
    }
    fn closed(_: ()) -> Vec<Vec<String>> {
        (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        let luggage = Luggage::new().unwrap();
        let readiness = Readiness::new(Event::new().unwrap()).unwrap();
        tour::all().unwrap();
        println!("{}", "nobody hears this ".repeat(1000));
        eprintln!("{}", "nor this ".repeat(1000));
        luggage.use_all().unwrap();
        let ours = (0..3).filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
        assert_eq!(ours.collect::<Vec<_>>(), [] as [std::path::PathBuf; 0]);
        drop(readiness);
        let methods = [StartMethod::ForkServer, StartMethod::Spawn];
        let start = |method| Process::builder().start_method(method).spawn(streams, ());
        methods.map(|method| start(method).unwrap().join().unwrap()).into()
    }
    alone("no streams", |()| {
        for streams in Process::spawn(closed, ()).unwrap().join().unwrap() {
            println!("{streams:?}");
            assert!(streams.iter().all(|stream| !stream.contains("multiproc")), "{streams:?}");
        }
        // A program that was started like that, by a shell or by another one.
        let mut command = Command::new("/proc/self/exe");
        unsafe {
            command.pre_exec(|| {
                libc::close(0);
                libc::close(2);
                Ok(())
            });
        }
        assert_passed(&again(command, "processes_of_processes_of_processes_can_do_everything"));
    });
}
