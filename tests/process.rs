//! Processes, as a user of the crate sees them.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests kill, fork and limit")]
#![allow(missing_docs)]
#![cfg(not(multiproc_loom))]

mod common;

use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{alone, ends_within, is_running, line, open_fds, pidfd, pipe, until, watchdog};
use multiproc::{ErrorKind, JoinError, Process, StartMethod, Stdio};
use serde::{Deserialize, Serialize};

fn double(n: u64) -> u64 {
    2 * n
}

fn seconds(time: f64) {
    // The sleep is the work that this child has to do.
    std::thread::sleep(Duration::from_secs_f64(time));
}

fn for_ever(_: ()) {
    seconds(3600.0);
}

fn pid_and_parent(_: ()) -> (u32, u32) {
    (std::process::id(), std::os::unix::process::parent_id())
}

#[test]
fn p1_one_child_with_an_argument() {
    fn say(name: String) -> u32 {
        println!("child {name}");
        std::process::id()
    }
    let _watchdog = watchdog("p1");
    let (mut read, write) = pipe();
    let mut parent = std::fs::File::from(write.try_clone().unwrap());
    writeln!(parent, "parent").unwrap();
    let child = Process::builder().stdout(write).spawn(say, "bob".to_owned()).unwrap();
    let pid = child.pid();
    assert_eq!(child.join().unwrap(), pid);
    assert_ne!(pid, std::process::id());
    writeln!(parent, "end").unwrap();
    assert_eq!([line(&mut read), line(&mut read), line(&mut read)], ["parent", "child bob", "end"]);
}

#[derive(Debug, Serialize, Deserialize)]
struct Steps {
    count: u32,
    pause: f64,
    label: Option<String>,
}

fn step(steps: Steps) -> u32 {
    for n in 0..steps.count {
        println!("{} {n}", steps.label.as_deref().unwrap_or("step"));
        seconds(steps.pause);
    }
    steps.count
}

#[test]
fn p2_arguments_by_struct_all_steps() {
    let _watchdog = watchdog("p2 all");
    let (read, write) = pipe();
    let steps = Steps { count: 5, pause: 0.01, label: None };
    let child = Process::builder().stdout(write).spawn(step, steps).unwrap();
    assert_eq!(child.join().unwrap(), 5);
    let lines: Vec<_> = read.lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["step 0", "step 1", "step 2", "step 3", "step 4"]);
}

#[test]
fn p2_terminated_early() {
    let _watchdog = watchdog("p2 early");
    let (mut read, write) = pipe();
    let steps = Steps { count: 5, pause: 3600.0, label: Some("slow".to_owned()) };
    let child = Process::builder().stdout(write).spawn(step, steps).unwrap();
    assert_eq!(line(&mut read), "slow 0");
    child.terminate().unwrap();
    let error = child.join().unwrap_err();
    assert_eq!(error.signal(), Some(libc::SIGTERM));
    assert_eq!(error.to_string(), "process was killed by SIGTERM");
    let mut rest = String::new();
    read.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn p3_two_workers_at_once() {
    // The names of the first process's children are in `init_main`.
    alone("p3", |()| {
        let start = Instant::now();
        let one = Process::spawn(seconds, 1.0).unwrap();
        let two = Process::builder().name("worker two").spawn(seconds, 2.0).unwrap();
        let three = Process::spawn(double, 1).unwrap();
        let identity = three.name().strip_suffix(":3").unwrap().to_owned();
        assert_eq!(one.name(), format!("{identity}:1"));
        assert_eq!(two.name(), "worker two");
        assert!(one.pid() != two.pid() && one.is_alive() && two.is_alive());
        let sentinels = [&one, &two].map(|child| child.as_fd().try_clone_to_owned().unwrap());
        one.join().unwrap();
        two.join().unwrap();
        assert!(sentinels.iter().all(|sentinel| !is_running(sentinel)));
        let took = start.elapsed().as_secs_f64();
        assert!((2.0..2.9).contains(&took), "{took}");
    });
}

#[test]
fn p4_join_with_a_timeout() {
    let _watchdog = watchdog("p4");
    let start = Instant::now();
    let mut child = Process::spawn(seconds, 2.0).unwrap();
    assert!(child.join_timeout(Duration::from_secs(1)).unwrap().is_none());
    assert!((1.0..1.9).contains(&start.elapsed().as_secs_f64()));
    assert!(child.is_alive());
    assert!(child.join_timeout(Duration::from_secs(50)).unwrap().is_some());
    assert!((2.0..2.9).contains(&start.elapsed().as_secs_f64()));
    assert!(!child.is_alive());
    let error = child.join().unwrap_err();
    assert!(matches!(error, JoinError::Error(error) if error.kind() == ErrorKind::Misuse));
}

#[test]
fn p5_a_type_that_is_a_process() {
    #[derive(Serialize, Deserialize)]
    struct Download {
        site: String,
        pages: Vec<u32>,
    }
    impl Download {
        fn start(self) -> multiproc::Result<Process<String>> {
            Process::spawn(Self::run, self)
        }

        fn run(self) -> String {
            format!("{}: {} pages", self.site, self.pages.len())
        }
    }
    let _watchdog = watchdog("p5");
    let child = Download { site: "here".to_owned(), pages: vec![1, 2] }.start().unwrap();
    assert_eq!(child.join().unwrap(), "here: 2 pages");
}

fn end_by(way: u32) -> u32 {
    match way {
        0 => panic!("the reactor is gone: {way}"),
        1 => std::process::exit(3),
        2 => unsafe { libc::abs(libc::kill(libc::getpid(), libc::SIGKILL)) as u32 },
        3 => std::panic::panic_any(5_u8),
        4 => unsafe { libc::_exit(4) },
        5 => std::process::abort(),
        other => other,
    }
}

#[test]
fn p6_how_a_child_can_end() {
    let _watchdog = watchdog("p6");
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let end = |way| {
            let builder = Process::builder().start_method(method).stderr(Stdio::Null);
            let mut child = builder.spawn(end_by, way).unwrap();
            let result = child.join_timeout(Duration::MAX).map(Option::unwrap);
            (result, child.exit_status().unwrap().exit_code().unwrap())
        };
        let (error, code) = end(0);
        let JoinError::Panicked(panic) = error.unwrap_err() else { panic!() };
        assert_eq!((panic.message(), code), ("the reactor is gone: 0", 101));
        let location = panic.location().unwrap();
        assert!(location.starts_with("tests/process.rs:"), "{location}");
        assert_eq!(panic.backtrace().is_some(), std::env::var_os("RUST_BACKTRACE").is_some());
        let (error, code) = end(1);
        assert!(matches!(error.unwrap_err(), JoinError::Exited(3)) && code == 3);
        let (error, code) = end(2);
        assert!(matches!(error.unwrap_err(), JoinError::Signaled(9)) && code == -9);
        let (error, code) = end(3);
        assert_eq!(error.unwrap_err().panic().unwrap().message(), "a value that is no text");
        assert_eq!(code, 101);
        assert!(matches!(end(4).0.unwrap_err(), JoinError::Exited(4)));
        assert!(matches!(end(5).0.unwrap_err(), JoinError::Signaled(libc::SIGABRT)));
        let (result, code) = end(77);
        assert_eq!((result.unwrap(), code), (77, 0));
    }
}

/// Starts daemons, one of them with a daemon of its own, says who they are, and waits or returns.
fn parent_of_daemons((method, waits): (u8, bool)) {
    fn daemon_with_daemon(_: ()) {
        let inner = Process::spawn(for_ever, ()).unwrap();
        println!("{}", inner.pid());
        for_ever(());
    }
    let method = if method == 0 { StartMethod::ForkServer } else { StartMethod::Spawn };
    let start = move || Process::builder().start_method(method);
    let plain = [(); 3].map(|()| start().spawn(for_ever, ()).unwrap());
    // From a thread that ends at once: the daemons must not end with it.
    let threads = std::thread::spawn(move || start().spawn(for_ever, ()).unwrap());
    let nested = start().spawn(daemon_with_daemon, ()).unwrap();
    let threads = threads.join().unwrap();
    for child in plain.iter().chain([&threads, &nested]) {
        println!("{}", child.pid());
    }
    if waits {
        for_ever(());
    }
}

fn watch_daemons(arguments: (u8, bool), end: fn(&Process<()>)) {
    let (mut read, write) = pipe();
    let parent = Process::builder().stdout(write).spawn(parent_of_daemons, arguments).unwrap();
    let daemons: Vec<_> = (0..6).map(|_| pidfd(line(&mut read).parse().unwrap())).collect();
    assert!(!arguments.1 || daemons.iter().all(is_running));
    end(&parent);
    let _ = parent.join();
    for daemon in daemons {
        assert!(ends_within(daemon.as_fd(), Duration::from_secs(1)), "a daemon is left");
    }
}

#[test]
fn p7_daemons_end_with_a_parent_that_is_killed() {
    let _watchdog = watchdog("p7 killed");
    for method in [0, 1] {
        watch_daemons((method, true), |parent| parent.kill().unwrap());
    }
}

#[test]
fn p7_daemons_end_with_a_parent_that_exits() {
    let _watchdog = watchdog("p7 exits");
    let (mut read, write) = pipe();
    fn parent(_: ()) {
        let child = Process::spawn(for_ever, ()).unwrap();
        println!("{}", child.pid());
        // Until the watcher has seen that it runs.
        let _ = std::io::stdin().read_line(&mut String::new());
    }
    let (stdin, go) = pipe();
    let stdin = stdin.into_inner();
    let parent = Process::builder().stdin(stdin).stdout(write).spawn(parent, ()).unwrap();
    let daemon = pidfd(line(&mut read).parse().unwrap());
    assert!(is_running(&daemon));
    drop(go);
    parent.join().unwrap();
    assert!(ends_within(daemon.as_fd(), Duration::from_secs(1)));
}

#[test]
fn one_that_is_no_daemon_outlives_its_parent() {
    fn orphan(_: ()) {
        let parent = multiproc::parent().unwrap();
        assert!(parent.is_alive() && !multiproc::current().is_daemon());
        println!("{}", std::process::id());
        until(|| !parent.is_alive());
        println!("alone");
        for_ever(());
    }
    fn parent(_: ()) -> u32 {
        let child = Process::builder().daemon(false).spawn(orphan, ()).unwrap();
        assert!(!child.is_daemon());
        // Not before it has looked at its parent.
        let _ = std::io::stdin().read_line(&mut String::new());
        child.pid()
    }
    let _watchdog = watchdog("no daemon");
    let (mut read, write) = pipe();
    let (stdin, go) = pipe();
    let stdin = stdin.into_inner();
    let parent = Process::builder().stdin(stdin).stdout(write).spawn(parent, ()).unwrap();
    let pid: u32 = line(&mut read).parse().unwrap();
    let orphan = pidfd(pid);
    drop(go);
    assert_eq!(parent.join().unwrap(), pid);
    assert_eq!(line(&mut read), "alone");
    assert!(is_running(&orphan));
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

#[test]
fn p8_all_attributes() {
    let _watchdog = watchdog("p8");
    fn attributes(_: ()) -> (String, u32, bool, Option<(u32, String)>) {
        let me = multiproc::current();
        let parent = multiproc::parent().map(|parent| (parent.pid(), parent.name().to_owned()));
        let _ = std::io::stdin().read_line(&mut String::new());
        (me.name().to_owned(), me.pid(), me.is_daemon(), parent)
    }
    let (stdin, go) = pipe();
    let stdin = stdin.into_inner();
    let mut child =
        Process::builder().name("all of it").stdin(stdin).spawn(attributes, ()).unwrap();
    let pid = child.pid();
    assert_eq!((child.name(), child.is_daemon()), ("all of it", true));
    assert!(child.exit_status().is_none() && child.is_alive() && is_running(child.as_fd()));
    let listed = multiproc::active_children();
    let listed = listed.iter().find(|listed| listed.pid() == pid).unwrap();
    assert_eq!((listed.name(), listed.is_daemon()), ("all of it", true));
    drop(go);
    assert!(ends_within(child.as_fd(), Duration::from_secs(50)));
    let seen = child.join_timeout(Duration::MAX).unwrap().unwrap();
    let parent = (std::process::id(), "MainProcess".to_owned());
    assert_eq!(seen, ("all of it".to_owned(), pid, true, Some(parent)));
    let status = child.exit_status().unwrap();
    assert!(
        status.success() && status.exit_code() == Some(0) && status.to_string() == "exit code 0"
    );
    // Also after it was reaped.
    assert!(!is_running(child.as_fd()) && !child.is_alive());
    assert!(multiproc::active_children().iter().all(|listed| listed.pid() != pid));
    child.kill().unwrap();
}

#[test]
fn generics_units_tuples_and_nothing_at_all() {
    fn largest<T: Ord + Clone>(values: Vec<T>) -> Option<T> {
        values.iter().max().cloned()
    }
    let _watchdog = watchdog("generics");
    let words = vec!["pear".to_owned(), "apple".to_owned()];
    assert_eq!(Process::spawn(largest, words).unwrap().join().unwrap(), Some("pear".to_owned()));
    assert_eq!(Process::spawn(largest, vec![3_u8, 7]).unwrap().join().unwrap(), Some(7));
    assert_eq!(Process::spawn(largest::<i64>, vec![]).unwrap().join().unwrap(), None);
    Process::spawn(drop, ()).unwrap().join().unwrap();
    let pair = Process::spawn(|(a, b): (u32, String)| (b, a), (1, "x".to_owned())).unwrap();
    assert_eq!(pair.join().unwrap(), ("x".to_owned(), 1));
}

#[test]
fn fifty_megabytes_each_way() {
    fn add_one(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        bytes
    }
    let _watchdog = watchdog("large");
    let bytes: Vec<u8> = (0..50 << 20).map(|n: u32| (n >> 10) as u8).collect();
    let child = Process::spawn(add_one, bytes.clone()).unwrap();
    // The child ends although nobody reads its result yet.
    assert!(ends_within(child.as_fd(), Duration::from_secs(50)));
    let back = child.join().unwrap();
    assert!(
        back.len() == bytes.len() && back.iter().zip(&bytes).all(|(b, a)| *b == a.wrapping_add(1))
    );
}

#[test]
fn children_of_children_of_children() {
    fn descend(depth: u32) -> Vec<String> {
        let mut names = vec![multiproc::current().name().to_owned()];
        if depth > 0 {
            names.extend(Process::spawn(descend, depth - 1).unwrap().join().unwrap());
        }
        names
    }
    let _watchdog = watchdog("nested");
    let child = Process::spawn(descend, 3).unwrap();
    let first = child.name().to_owned();
    let names = child.join().unwrap();
    assert_eq!(
        names,
        [first.clone(), format!("{first}:1"), format!("{first}:1:1"), format!("{first}:1:1:1")]
    );
}

#[test]
fn the_basics_by_exec() {
    let _watchdog = watchdog("exec");
    let spawn = || Process::builder().start_method(StartMethod::Spawn);
    assert_eq!(spawn().spawn(double, 21).unwrap().join().unwrap(), 42);
    let (pid, parent) = spawn().spawn(pid_and_parent, ()).unwrap().join().unwrap();
    assert!(pid != parent && parent == std::process::id());
    fn nested(n: u64) -> u64 {
        let exec = Process::builder().start_method(StartMethod::Spawn).spawn(double, n).unwrap();
        Process::spawn(double, exec.join().unwrap()).unwrap().join().unwrap()
    }
    assert_eq!(spawn().spawn(nested, 3).unwrap().join().unwrap(), 12);
    let big = vec![7_u8; 1 << 20];
    assert_eq!(spawn().spawn(|v: Vec<u8>| v.len(), big).unwrap().join().unwrap(), 1 << 20);
    let child = spawn().spawn(for_ever, ()).unwrap();
    child.kill().unwrap();
    assert_eq!(child.join().unwrap_err().signal(), Some(libc::SIGKILL));
}

#[test]
fn many_threads_spawn_at_once() {
    let _watchdog = watchdog("threads");
    std::thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || {
                for n in 0..10 {
                    let child = Process::spawn(double, 100 * thread + n).unwrap();
                    assert_eq!(child.join().unwrap(), 200 * thread + 2 * n);
                }
            });
        }
    });
}

#[test]
fn a_dropped_process_is_left_alone_or_killed() {
    let _watchdog = watchdog("drop");
    let watch = |child: Process<()>| child.as_fd().try_clone_to_owned().unwrap();
    let left = Process::spawn(for_ever, ()).unwrap();
    let pid = left.pid();
    let left = watch(left);
    assert!(is_running(&left));
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    assert!(ends_within(left.as_fd(), Duration::from_secs(50)));
    let killed = watch(Process::builder().kill_on_drop(true).spawn(for_ever, ()).unwrap());
    assert!(ends_within(killed.as_fd(), Duration::from_secs(50)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    directory: String,
    umask: u32,
    variables: Vec<Option<String>>,
    blocked: bool,
    cpus: u32,
    fds: Vec<String>,
}
/// What a child finds around it.
fn look(_: ()) -> Seen {
    let name =
        |fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).map(|f| f.display().to_string());
    let mut set = unsafe { std::mem::zeroed() };
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
    Seen {
        directory: std::env::current_dir().unwrap().display().to_string(),
        umask: unsafe { libc::umask(0) },
        variables: ["ADDED", "CHANGED", "PATH", "GIVEN", "MULTIPROC_CONTROL"]
            .map(|name| std::env::var(name).ok().filter(|value| name != "PATH" || value.is_empty()))
            .to_vec(),
        blocked: unsafe { libc::sigismember(&raw const set, libc::SIGUSR2) } == 1,
        cpus: {
            let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            unsafe { libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus) };
            unsafe { libc::CPU_COUNT(&cpus) as u32 }
        },
        // Nothing but these, a control socket, and the directory that is being read.
        fds: (0..3).map(|fd| name(fd).unwrap()).chain([open_fds().to_string()]).collect(),
    }
}

#[test]
fn surroundings_are_those_of_the_moment() {
    alone("surroundings", |()| {
        let some = |text: &str| Some(text.to_owned());
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let start = || Process::builder().start_method(method);
            // The fork server is older than everything that follows.
            let before = start().spawn(look, ()).unwrap().join().unwrap();
            assert!(before.variables[4].is_none());
            assert_eq!(before.blocked, method == StartMethod::Spawn);
            assert_eq!(before.fds[0], "/dev/null");
            let out = std::fs::File::create("/dev/full").unwrap();
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, libc::SIGUSR2);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
                let mut cpus: libc::cpu_set_t = std::mem::zeroed();
                libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus);
                let first = (0..1024).find(|cpu| libc::CPU_ISSET(*cpu, &cpus)).unwrap();
                libc::CPU_ZERO(&mut cpus);
                libc::CPU_SET(first, &mut cpus);
                libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus);
                libc::umask(0o027);
                std::env::set_var("ADDED", "1");
                std::env::set_var("CHANGED", "now");
                libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&out), 1);
            }
            std::env::set_current_dir("/usr").unwrap();
            let after = start().env("GIVEN", "2").spawn(look, ()).unwrap().join().unwrap();
            assert_eq!((after.directory.as_str(), after.umask, after.cpus), ("/usr", 0o027, 1));
            assert_eq!(after.variables, [some("1"), some("now"), None, some("2"), None]);
            assert!(after.blocked);
            let expected =
                ["/dev/null", "/dev/full", before.fds[2].as_str(), before.fds[3].as_str()];
            assert_eq!(after.fds, expected);
            assert_eq!(after.fds[3], "5");
            let given = start().current_dir("bin").umask(0o077).env_clear().env("CHANGED", "3");
            let given =
                given.stdin(std::fs::File::open("/etc/passwd").unwrap()).stdout(Stdio::Null);
            let given = given.spawn(look, ()).unwrap().join().unwrap();
            assert!(given.directory == "/usr/bin" && given.umask == 0o077);
            assert_eq!(given.variables, [None, some("3"), None, None, None]);
            assert_eq!(given.fds[..2], ["/etc/passwd", "/dev/null"]);
            std::env::set_current_dir("/").unwrap();
            unsafe { std::env::remove_var("ADDED") };
        }
        let error = Process::builder().current_dir("/nowhere").spawn(look, ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    });
}
