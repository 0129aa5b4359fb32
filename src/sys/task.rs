//! What a process has around it and hands to its children: signal mask, CPUs, directory, stdio.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::number::above_standard;

/// A signal mask with every signal in it; the kernel leaves out the two that cannot be blocked.
pub(crate) const EVERY_SIGNAL: u64 = u64::MAX;

/// Every signal but the two that the C library keeps for itself: with them it has a thread
/// cancelled, and every thread take part in setuid(2), for which it waits.
pub(crate) const EVERY_PROGRAM_SIGNAL: u64 = EVERY_SIGNAL & !(signal_bit(32) | signal_bit(33));

/// The bit of `signal` in a signal mask.
pub(crate) const fn signal_bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The signals that are blocked in the calling thread, bit n - 1 for signal n.
pub(crate) fn signal_mask() -> io::Result<u64> {
    change_signal_mask(None)
}

/// Sets the mask of the calling thread and gives the one that it had.
pub(crate) fn replace_signal_mask(mask: u64) -> io::Result<u64> {
    change_signal_mask(Some(mask))
}

fn change_signal_mask(mask: Option<u64>) -> io::Result<u64> {
    let mut before = 0_u64;
    let new = mask.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads and writes 8 bytes, which is the size of its set of 64 signals.
    let done = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, &raw mut before, 8)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(before) }
}

/// Ignores `SIGPIPE`, as every Rust program does before `main`.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: sets a disposition that runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The signal that nobody can refuse.
pub(crate) const KILL: i32 = libc::SIGKILL;

/// How much memory a process has touched and still has, in bytes, as far as it is known.
pub(crate) fn memory_of(pid: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident * 4096)
}

/// Keeps `SIGINT` from the calling thread, and from the processes that it starts until they choose
/// otherwise. Gives the mask that it had.
pub(crate) fn block_interrupts() -> io::Result<u64> {
    replace_signal_mask(signal_mask()? | signal_bit(libc::SIGINT))
}

/// Room for 8192 CPUs, the most that Linux can be built for on this machine.
const CPU_WORDS: usize = 128;

/// The mask of one CPU.
pub(crate) fn only_cpu(cpu: usize) -> Vec<u64> {
    let mut words = vec![0; cpu / 64 + 1];
    words[cpu / 64] = 1 << (cpu % 64);
    words
}

/// The CPUs that the calling thread may use, one bit each.
pub(crate) fn affinity() -> io::Result<Vec<u64>> {
    let mut words = [0_u64; CPU_WORDS];
    let size = size_of_val(&words);
    // SAFETY: the kernel writes at most `size` bytes.
    let bytes = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, words.as_mut_ptr()) };
    if bytes < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(words[..(bytes as usize).div_ceil(8).min(CPU_WORDS)].to_vec())
}

/// Lets the calling thread use these CPUs only.
pub(crate) fn set_affinity(words: &[u64]) -> io::Result<()> {
    // SAFETY: the kernel reads the bytes of the slice.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(words), words.as_ptr())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the umask of the process.
pub(crate) fn set_umask(mask: u32) {
    nix::sys::stat::umask(Mode::from_bits_truncate(mask));
}

/// Opens a directory for nothing but going there.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    above_standard(open(path, flags, Mode::empty())?)
}

/// Makes an open directory the working directory.
pub(crate) fn enter(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::fchdir(directory)?)
}

/// One of the process's own fds 0, 1 and 2, if it is open and another program would inherit it.
///
/// Where a program has closed its standard streams, the numbers are those of the next files that it
/// opens, which are its own affair, as are ours: a lease must not live on in a child.
pub(crate) fn standard(fd: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: F_GETFD touches no memory, and says whether the fd is open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: open, just asked; 0, 1 and 2 are everybody's, and those who close them know it.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Puts a copy of `file` at 0, 1 or 2, where it stays open over an exec.
pub(crate) fn replace_standard(fd: RawFd, file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: acts on the process's own table of fds; touches no memory.
    let done = unsafe { libc::dup2(file.as_raw_fd(), fd) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Real, effective and saved user and group ids of the calling thread.
pub(crate) fn credentials() -> [u32; 6] {
    let [mut ru, mut eu, mut su, mut rg, mut eg, mut sg] = [0; 6];
    // SAFETY: the kernel writes three words; it fails for bad addresses only.
    unsafe { libc::getresuid(&raw mut ru, &raw mut eu, &raw mut su) };
    // SAFETY: as above.
    unsafe { libc::getresgid(&raw mut rg, &raw mut eg, &raw mut sg) };
    [ru, eu, su, rg, eg, sg]
}

/// Whether the process has one thread.
///
/// For one thread this asks the kernel for nothing at all; with two it is an error (unshare(2)).
pub(crate) fn is_alone() -> bool {
    // SAFETY: either changes nothing or fails.
    let done = unsafe { libc::unshare(libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM) };
    if done == 0 {
        return true;
    }
    if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        return false;
    }
    // A filter forbids the question; the directory has an entry per thread.
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Whether the program runs with more rights than its caller (`AT_SECURE`).
pub(crate) fn is_privileged() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The value of an environment variable, before anything of Rust's has run.
pub(crate) fn early_variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: called while the process has one thread, so that nobody changes the environment.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: getenv's strings end with 0; this one is in the block that the kernel made.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// Takes a variable out of the environment.
///
/// # Safety
///
/// - The process has one thread.
pub(crate) unsafe fn remove_variable(name: &OsStr) {
    // SAFETY: promised by the caller.
    unsafe { std::env::remove_var(name) };
}

/// Puts a variable into the environment.
///
/// # Safety
///
/// - The process has one thread.
pub(crate) unsafe fn set_variable(name: &OsStr, value: &OsStr) {
    // SAFETY: promised by the caller.
    unsafe { std::env::set_var(name, value) };
}

/// Takes over an fd that was inherited by number, if it is a packet socket of this user's.
///
/// # Safety
///
/// - Nobody else in this process uses the fd.
pub(crate) unsafe fn inherited_socket(fd: RawFd) -> Option<OwnedFd> {
    use nix::sys::socket::{SockType, getsockopt, sockopt};
    if fd < 0 || standard(fd).is_none() {
        return None;
    }
    // SAFETY: open, just asked, and left alone by everybody else.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let kind = getsockopt(&socket, sockopt::SockType).ok()?;
    let peer = getsockopt(&socket, sockopt::PeerCredentials).ok()?;
    // SAFETY: geteuid takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    if kind != SockType::SeqPacket || domain(socket)? != libc::AF_UNIX || peer.uid() != own {
        return None;
    }
    // SAFETY: it is the socket that the parent left here for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    close_on_exec(socket.as_fd()).ok()?;
    Some(socket)
}

fn domain(socket: BorrowedFd<'_>) -> Option<i32> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`.
    let done = unsafe {
        let place = (&raw mut value).cast();
        let fd = socket.as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, place, &raw mut length)
    };
    (done == 0).then_some(value)
}

fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}
