//! Children by pidfd: signals, waiting, and what can be known of one that somebody else reaped.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::number::above_standard;

/// What waiting for a child found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It runs, or is stopped.
    Running,
    /// It has ended with this status, in the encoding of waitpid(2).
    Ended(i32),
    /// It has ended and somebody else took its status.
    Lost,
}

/// Opens a pidfd for a child that has not been reaped, or for the process itself.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two words and touches no memory.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this fd for us.
    above_standard(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Sends `signal` to the process behind `pidfd`; never to another one that got its pid.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the one that kill(2) would send.
    let done =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reaps the child behind `pidfd` if it has ended; never blocks.
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Waited> {
    wait_for(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, libc::WNOHANG).map(|waited| {
        match waited {
            Waited::Lost => exit_info(pidfd).map_or(Waited::Lost, Waited::Ended),
            known => known,
        }
    })
}

/// Reaps the child behind `pidfd`, waiting for its end.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Waited> {
    wait_for(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, 0)
}

/// Reaps a child of which only the pid is known, and which is about to end.
pub(crate) fn wait_pid(pid: u32) -> io::Result<Waited> {
    wait_for(libc::P_PID, pid, 0)
}

/// Whether the process behind `pidfd` is a child of this one that has not been reaped.
pub(crate) fn is_child(pidfd: BorrowedFd<'_>) -> bool {
    let look = libc::WNOHANG | libc::WNOWAIT;
    let waited = wait_for(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, look);
    matches!(waited, Ok(Waited::Running | Waited::Ended(_)))
}

fn wait_for(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<Waited> {
    // SAFETY: all zeros is a valid siginfo_t, and says "nobody" in its pid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: waitid writes one siginfo_t. __WALL: a child of any exit signal is meant.
        let done =
            unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::__WALL | flags) };
        if done == 0 {
            return Ok(status_of(&info));
        }
        let cause = io::Error::last_os_error();
        match cause.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(Waited::Lost),
            _ => return Err(cause),
        }
    }
}

fn status_of(info: &libc::siginfo_t) -> Waited {
    // SAFETY: waitid filled the SIGCHLD form of the union, or left it zeroed.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Waited::Running;
    }
    match info.si_code {
        libc::CLD_EXITED => Waited::Ended((status & 0xff) << 8),
        libc::CLD_DUMPED => Waited::Ended(status | 0x80),
        _ => Waited::Ended(status),
    }
}

/// `struct pidfd_info` as first published, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;

/// Asks for, and confirms, `exit_code`: the status of a process that has been reaped.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The status that the kernel keeps behind a pidfd after the reaping (Linux 6.15 and later).
fn exit_info(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the size of `info`; the kernel writes no more than that.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (done == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// Has the kernel kill this process when the thread that made it ends.
pub(crate) fn die_with_parent() -> io::Result<()> {
    parent_death_signal(libc::SIGKILL)
}

/// Takes [`die_with_parent`] back.
pub(crate) fn outlive_parent() -> io::Result<()> {
    parent_death_signal(0)
}

fn parent_death_signal(signal: i32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one word and touches no memory.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Names the calling thread for ps(1) and top(1); the kernel keeps 15 bytes.
pub(crate) fn set_command_name(name: &str) {
    let mut buffer = [0_u8; 16];
    let kept = name.len().min(15);
    buffer[..kept].copy_from_slice(&name.as_bytes()[..kept]);
    // SAFETY: PR_SET_NAME reads up to 16 bytes; the last one is 0.
    unsafe { libc::prctl(libc::PR_SET_NAME, buffer.as_ptr()) };
}

/// The pid of the process that would reap this one.
pub(crate) fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// Leaves at once: no exit handlers, no flushing.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit may be called anywhere.
    unsafe { libc::_exit(code) }
}

/// The exit code in a raw status, if it is of a process that exited.
pub(crate) fn exit_code(raw: i32) -> Option<i32> {
    libc::WIFEXITED(raw).then(|| libc::WEXITSTATUS(raw))
}

/// The signal in a raw status, if it is of a process that one killed.
pub(crate) fn end_signal(raw: i32) -> Option<i32> {
    libc::WIFSIGNALED(raw).then(|| libc::WTERMSIG(raw))
}

/// Whether a raw status tells of a core dump.
pub(crate) fn has_dumped_core(raw: i32) -> bool {
    libc::WIFSIGNALED(raw) && libc::WCOREDUMP(raw)
}

/// The name of a signal, if it has one.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(signal).ok().map(nix::sys::signal::Signal::as_str)
}
