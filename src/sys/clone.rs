//! A copy of a single-threaded process that becomes its *sibling*: a child of its parent.
//!
//! The C library does not see this fork, so the two things that its own fork would do for the new
//! process are done here: the thread id that it keeps for its locks is stored at its place by the
//! kernel, and the list of robust locks is registered again.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "the word belongs to sys; nothing is modelled on it")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::mapping::Mapping;
use super::memfd;
use super::spawn::Born;

/// `PR_GET_TID_ADDRESS`, which libc does not name: where the kernel clears the tid at thread exit.
const PR_GET_TID_ADDRESS: i32 = 40;

/// What the C library knows of the calling thread, learned once before any copy is made.
#[derive(Debug)]
pub(crate) struct Thread {
    /// Where it keeps the thread id; 0 if that could not be made certain.
    tid_address: usize,
    robust_head: usize,
    robust_length: usize,
}

/// A word that the process that makes copies shares with its parent: the pid of the last copy.
///
/// The kernel stores it before the copy runs, and in one step with the making, so that a copy is
/// known even if the process that made it is killed before it can tell.
#[derive(Debug)]
pub(crate) struct Record(Mapping);

const RECORD_SIZE: usize = 4096;

impl Record {
    /// Makes a record, and the memory to send to the other process.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let memory = memfd::create(c"multiproc-record", RECORD_SIZE as u64)?;
        memfd::reserve(memory.as_fd(), 0, RECORD_SIZE as u64)?;
        Ok((Self(Mapping::new(memory.as_fd(), RECORD_SIZE)?), memory))
    }

    /// Opens the record of the parent, for this process and not for its copies.
    pub(crate) fn open(memory: BorrowedFd<'_>) -> io::Result<Self> {
        if memfd::sealed_size(memory)? < RECORD_SIZE as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mapping = Mapping::new(memory, RECORD_SIZE)?;
        // SAFETY: advice on a mapping of our own, which nobody in a copy refers to.
        let done = unsafe {
            libc::madvise(mapping.base().as_ptr().cast(), RECORD_SIZE, libc::MADV_DONTFORK)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(mapping)) }
    }

    /// Forgets the last copy.
    pub(crate) fn clear(&self) {
        // Relaxed: ordered by the packets that the two processes exchange.
        self.word().store(0, Ordering::Relaxed);
    }

    /// The copy that was made since the last [`clear`](Self::clear).
    pub(crate) fn pid(&self) -> Option<u32> {
        // Relaxed: see `clear`.
        Some(self.word().load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped as long as `self`, aligned to a page, and only ever used as an atomic.
        unsafe { self.0.base().cast::<AtomicU32>().as_ref() }
    }
}

/// Which of the two processes returned.
#[derive(Debug)]
pub(crate) enum Side {
    /// The one that asked.
    Original(Born),
    /// The new one.
    Copy,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

impl Thread {
    /// Looks at the calling thread.
    pub(crate) fn of_caller() -> Self {
        let mut address: *mut libc::pid_t = std::ptr::null_mut();
        // SAFETY: the kernel stores one pointer.
        let known = unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut address) } == 0;
        // SAFETY: gettid takes nothing.
        let tid = unsafe { libc::gettid() };
        // SAFETY: where the kernel will write at thread exit is mapped and aligned; it is glibc's
        // own copy of the tid only if it holds the tid, which is what is asked.
        let is_tid = known && !address.is_null() && unsafe { address.read() } == tid;
        let (mut head, mut length) = (0_usize, 0_usize);
        // SAFETY: the kernel stores two words for the calling thread.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
        Self {
            tid_address: if is_tid { address.addr() } else { 0 },
            robust_head: head,
            robust_length: length,
        }
    }

    /// Whether a copy's own thread can be used for everything; otherwise it should start another.
    pub(crate) fn is_repairable(&self) -> bool {
        self.tid_address != 0
    }

    /// Makes the copy, and records it. Returns twice.
    ///
    /// The `record` is not there in the copy.
    ///
    /// # Safety
    ///
    /// - The process has one thread, the one that `self` describes.
    pub(crate) unsafe fn sibling(&self, record: &Record) -> io::Result<Side> {
        let mut pidfd: i32 = -1;
        let mut flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID;
        if self.is_repairable() {
            flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
        }
        let arguments = CloneArgs {
            flags: flags as u64,
            pidfd: (&raw mut pidfd).expose_provenance() as u64,
            child_tid: self.tid_address as u64,
            parent_tid: record.0.base().as_ptr().expose_provenance() as u64,
            ..CloneArgs::default()
        };
        // SAFETY: without CLONE_VM both processes go on with memory of their own, like after fork;
        // one thread means that no lock is held by anybody who is not there in the copy.
        let mut pid = unsafe {
            libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>())
        };
        if pid < 0 && refused(&io::Error::last_os_error()) {
            // That call has one place for pidfd and record: there is no record then.
            flags &= !libc::CLONE_PARENT_SETTID;
            // SAFETY: as above; the arguments of clone(2) on x86-64 in their order: flags, stack
            // (none: go on with the same), where the pidfd goes, where the tid goes, tls.
            pid = unsafe {
                let tid = self.tid_address;
                libc::syscall(libc::SYS_clone, flags as u64, 0, &raw mut pidfd, tid, 0)
            };
        }
        match pid {
            ..0 => Err(io::Error::last_os_error()),
            0 => {
                self.register_robust_list();
                Ok(Side::Copy)
            }
            _ if pidfd < 0 => {
                // SAFETY: signals the copy, which nobody else knows of; the kernel told no more.
                unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
                Err(io::Error::from_raw_os_error(libc::ENOSYS))
            }
            _ => {
                // SAFETY: CLONE_PIDFD stored a new fd of ours.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                Ok(Side::Original(Born { pid: pid as u32, pidfd }))
            }
        }
    }

    fn register_robust_list(&self) {
        if self.robust_head != 0 {
            // SAFETY: the head is glibc's, of this very thread, and lives as long as the thread.
            unsafe {
                libc::syscall(libc::SYS_set_robust_list, self.robust_head, self.robust_length)
            };
        }
    }
}

/// A kernel without clone3, or a filter that refuses it: clone(2) can say all that is said here.
fn refused(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}
