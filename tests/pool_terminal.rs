//! Ctrl-C in a terminal, while a program's pool is busy: the program ends, and all that it started.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests look at the kernel")]

mod common;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::ptr;
use std::time::{Duration, Instant};

use multiproc::{Pool, TaskError};

use common::tasks::for_ever;

/// What a terminal sends when Ctrl and C are pressed.
const CTRL_C: &[u8] = &[3];

/// The program in the terminal: its two workers are busy, and six tasks wait for them.
fn program(asks_for_it: bool) {
    let pool = Pool::builder().workers(2).ctrl_c(asks_for_it).build().unwrap();
    let tasks: Vec<_> = (0..8).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    common::until(|| pool.stats().running == 2);
    println!("busy");
    let ends = tasks.into_iter().map(|task| task.get().unwrap_err());
    let interrupted = ends.filter(|end| matches!(end, TaskError::Interrupted)).count();
    pool.join().unwrap();
    println!("interrupted: {interrupted} of 8, workers left: {}", pool.pids().len());
}

/// A new terminal, and the end of it where somebody sits and reads.
fn terminal() -> (File, File) {
    let (mut keyboard, mut screen) = (0, 0);
    let (name, look, size) = (ptr::null_mut(), ptr::null(), ptr::null());
    let opened = unsafe { libc::openpty(&raw mut keyboard, &raw mut screen, name, look, size) };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    for fd in [keyboard, screen] {
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    unsafe { (File::from_raw_fd(keyboard), File::from_raw_fd(screen)) }
}

/// Starts the program in a session of its own, in front of the terminal.
fn start(screen: File, argument: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(argument).env("RUST_BACKTRACE", "1");
    command.stdin(screen.try_clone().unwrap()).stdout(screen.try_clone().unwrap()).stderr(screen);
    let take_terminal = || {
        let done = unsafe {
            // Whoever started the tests may have ignored it.
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    unsafe { command.pre_exec(take_terminal) };
    command.spawn().unwrap()
}

/// The processes of a session that have not ended.
fn members(session: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let is_member = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        // After the state come the parent, the group, and the session.
        fields.next() != Some("Z") && fields.nth(2) == Some(&session.to_string())
    };
    pids.filter(is_member).collect()
}

/// All that the program says from now on, without what the terminal makes of it.
fn rest(screen: &mut BufReader<File>) -> String {
    let mut said = String::new();
    let mut line = Vec::new();
    // Nobody writes any more: a terminal says so with an error.
    while matches!(screen.read_until(b'\n', &mut line), Ok(1..)) {
        said.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    said.push_str(&String::from_utf8_lossy(&line));
    said.replace("^C", "").replace('\r', "")
}

/// Presses Ctrl-C when the program is busy. What it says then, and how it ends.
fn press_ctrl_c(argument: &str) -> (String, std::process::ExitStatus) {
    let (mut keyboard, slave) = terminal();
    let mut screen = BufReader::new(keyboard.try_clone().unwrap());
    let mut child = start(slave, argument);
    assert_eq!(common::line(&mut screen), "busy");
    let all: Vec<_> = members(child.id()).into_iter().map(common::pidfd).collect();
    assert!(all.len() >= 3, "{} processes", all.len());
    let start = Instant::now();
    keyboard.write_all(CTRL_C).unwrap();
    for process in &all {
        // Our own child is a zombie, which counts as ended.
        let left = Duration::from_secs(1).saturating_sub(start.elapsed());
        assert!(common::ends_within(process.as_fd(), left), "running after {:?}", start.elapsed());
    }
    println!("{argument}: {} processes ended in {:?}", all.len(), start.elapsed());
    let said = rest(&mut screen);
    let status = child.wait().unwrap();
    assert_eq!(members(child.id()), [0; 0]);
    (said, status)
}

/// The program goes on to its own end, and says what became of its tasks.
fn o6_ctrl_c_interrupts_the_pool() {
    let (said, status) = press_ctrl_c("asks-for-it");
    assert_eq!(said, "interrupted: 8 of 8, workers left: 0\n");
    assert!(status.success(), "{status}");
}

/// The signal ends the program, and nobody says anything.
fn o6_ctrl_c_ends_the_program() {
    let (said, status) = press_ctrl_c("does-not");
    assert_eq!(said, "");
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("asks-for-it") => return program(true),
        Some("does-not") => return program(false),
        _ => {}
    }
    let _watchdog = common::watchdog("pool_terminal");
    o6_ctrl_c_interrupts_the_pool();
    o6_ctrl_c_ends_the_program();
}
