//! What the tests of processes share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests look at the kernel")]

pub mod tasks;
pub mod tour;

pub mod ledger;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use multiproc::{JoinError, Process};

/// Ends the whole test binary with a message if a test hangs for a minute, or for as many as storms
/// take longer.
#[derive(Debug)]
pub struct Watchdog(#[allow(dead_code, reason = "dropping it is its use")] Sender<()>);

pub fn watchdog(test: &'static str) -> Watchdog {
    let (alive, heard) = channel::<()>();
    let patience = Duration::from_secs(60) * storms() as u32;
    std::thread::spawn(move || {
        if heard.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs. Who waits for what:");
            report_waits();
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// Says of each thread of this process, and of its children, where in the kernel it waits.
pub fn report_waits() {
    let children = multiproc::active_children();
    let pids = children.iter().map(multiproc::ChildInfo::pid).chain([std::process::id()]);
    for pid in pids {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let (name, wait, call) = (read("comm"), read("wchan"), read("syscall"));
            eprintln!("  {pid} {} waits in {wait}: {}", name.trim(), call.trim());
        }
    }
}

/// Runs a test under the watchdog.
pub fn watched(test: &'static str, body: impl FnOnce()) {
    let _watchdog = watchdog(test);
    body();
}

/// Runs a test in a process of its own: what it changes, counts and forks concerns nobody else.
pub fn alone(test: &'static str, body: fn(())) {
    let _watchdog = watchdog(test);
    if let Err(error) = Process::builder().name(test).spawn(body, ()).unwrap().join() {
        panic!("{test}: {error}");
    }
}

/// A pipe whose reading end gives lines.
pub fn pipe() -> (BufReader<File>, OwnedFd) {
    let mut fds = [0; 2];
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    let (read, write) = unsafe { (File::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    (BufReader::new(read), write)
}

pub fn line(reader: &mut BufReader<File>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A pidfd of any process, so that it can be watched whatever becomes of its number.
pub fn pidfd(pid: u32) -> OwnedFd {
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(raw >= 0, "pidfd_open({pid}): {}", std::io::Error::last_os_error());
    unsafe { OwnedFd::from_raw_fd(raw as i32) }
}

/// Whether the process behind a pidfd ends before the time is up.
pub fn ends_within(pidfd: BorrowedFd<'_>, time: Duration) -> bool {
    let mut polled = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    unsafe { libc::poll(&raw mut polled, 1, time.as_millis() as i32) == 1 }
}

pub fn is_running(pidfd: impl AsFd) -> bool {
    !ends_within(pidfd.as_fd(), Duration::ZERO)
}

/// State and command of every child of this process, by its number.
pub fn children() -> Vec<(u32, char, String)> {
    let mine = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let mut rest = stat[close + 2..].split(' ');
        let state = rest.next().unwrap().chars().next().unwrap();
        if rest.next() == Some(&mine) {
            found.push((pid, state, stat[open + 1..close].to_owned()));
        }
    }
    found
}

pub fn server() -> Option<u32> {
    let is_server =
        |(_, state, name): &(u32, char, String)| *state != 'Z' && name == "multiproc-fork";
    children().into_iter().find(is_server).map(|(pid, ..)| pid)
}

pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Looks again until something is so; the watchdog ends it if it never is.
pub fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// How many times as long random tests take as they must: `MULTIPROC_STORMS`.
pub fn storms() -> usize {
    std::env::var("MULTIPROC_STORMS").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// What random tests begin with, and print: `MULTIPROC_SEED`, which repeats one, or something new,
/// of 32 bits.
pub fn seed() -> u64 {
    let seed = std::env::var("MULTIPROC_SEED").ok().and_then(|seed| seed.parse().ok());
    // Not the process id: it is the same whenever a container is started.
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    println!("MULTIPROC_SEED={seed}");
    seed
}

/// Numbers from a seed, the same every time.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 24
}

/// Has the kernel answer one system call, or one of its first arguments, with an error from now on.
pub fn forbid(call: libc::c_long, argument: Option<u32>, errno: i32) {
    forbid_with(call, argument.map(|argument| (0, argument)), errno);
}

/// As [`forbid`], of the call or of those whose argument of that place, from 0 on, is this.
pub fn forbid_with(call: libc::c_long, argument: Option<(u32, u32)>, errno: i32) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let skips = if argument.is_some() { 3 } else { 1 };
    let mut filter = vec![step(load, 0, 0, 0), step(equal, 0, skips, call as u32)];
    if let Some((place, argument)) = argument {
        filter.extend([step(load, 0, 0, 16 + 8 * place), step(equal, 0, 1, argument)]);
    }
    filter.push(step(give, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    filter.push(step(give, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let done = libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

/// This process ends here as `kill -9` would end it.
pub fn die() -> ! {
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("nothing survives SIGKILL")
}

pub fn assert_killed<R: std::fmt::Debug>(end: Result<R, JoinError>) {
    assert_eq!(end.unwrap_err().signal(), Some(libc::SIGKILL));
}

/// Looks until the process sleeps in the kernel.
pub fn wait_until_asleep(pid: u32) {
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    });
}
