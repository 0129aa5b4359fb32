//! Descriptions that hold leases, and how a copy of the process lets go of them.
//!
//! A lease belongs to an open file description, and fork(2) copies fds but not descriptions: as
//! long as a child has them, its dead parent looks alive. So the child, before anything else in it
//! runs, puts a fresh description of the same memory under each of the numbers (pthread_atfork(3)).
//! Children that call exec need nothing of it: the fds close by themselves.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// As many descriptions are let go of in a forked child; others keep its parent looking alive.
const HOLDERS_MAX: usize = 1024;

const NONE: RawFd = -1;

/// The numbers of the descriptions. Process-private; read by a child that can take no lock.
static HOLDERS: [AtomicI32; HOLDERS_MAX] = [const { AtomicI32::new(NONE) }; HOLDERS_MAX];

/// An fd whose description holds a lease.
#[derive(Debug)]
pub(crate) struct Holder {
    fd: OwnedFd,
    place: Option<usize>,
}

impl Holder {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        static ATFORK: Once = Once::new();
        ATFORK.call_once(|| {
            // SAFETY: the handler lives as long as the program, and does only what a forked child
            // of a process with threads may do.
            unsafe { libc::pthread_atfork(None, None, Some(let_go_of_all)) };
        });
        let raw = fd.as_raw_fd();
        // Relaxed, here and below: a fork copies memory as the forking thread sees it; for another
        // thread's holder that is being made or dropped, before and after are both right.
        let is_free = |place: &AtomicI32| {
            place.compare_exchange(NONE, raw, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let place = HOLDERS.iter().position(is_free);
        Self { fd, place }
    }

    /// Lets this description be inherited: its lease is the child's.
    pub(crate) fn leave_to_child(&mut self) {
        if let Some(place) = self.place.take() {
            HOLDERS[place].store(NONE, Ordering::Relaxed);
        }
    }
}

impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Before the number is free for somebody else.
        self.leave_to_child();
    }
}

extern "C" fn let_go_of_all() {
    for place in &HOLDERS {
        let raw = place.load(Ordering::Relaxed);
        if raw != NONE {
            let_go(raw);
        }
    }
}

/// Puts a new description of the same memory under this number. Only async-signal-safe calls.
///
/// Where there can be no more fds, it is the one of number 0, which is open then, as all numbers
/// are: what counts is that the old one is let go. Whoever uses the memory of a holder has looked
/// whether it is inherited.
fn let_go(raw: RawFd) {
    let path = own_path(raw);
    // SAFETY: the path ends with a zero; open, dup3 and close are async-signal-safe, and `raw`
    // stays owned by the holder that the child has a copy of.
    unsafe {
        let fresh = libc::open(path.as_ptr().cast(), libc::O_RDWR | libc::O_CLOEXEC);
        if fresh >= 0 {
            libc::dup3(fresh, raw, libc::O_CLOEXEC);
            libc::close(fresh);
        } else {
            libc::dup3(0, raw, libc::O_CLOEXEC);
        }
    }
}

/// `/proc/self/fd/N` with a zero behind it, without an allocation.
fn own_path(raw: RawFd) -> [u8; 32] {
    const FOLDER: &[u8] = b"/proc/self/fd/";
    let mut path = [0; 32];
    path[..FOLDER.len()].copy_from_slice(FOLDER);
    let digits = raw.max(1).ilog10() as usize + 1;
    let mut rest = raw;
    for place in path[FOLDER.len()..FOLDER.len() + digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{lease, memfd};

    /// Whether a lease of a process at its limit of fds is free when that process drops it, though
    /// a child lives that it has forked.
    fn is_let_go_at_the_limit() -> bool {
        let memory = memfd::create(c"holder", 4096).unwrap();
        let holder = Holder::new(memfd::reopen(memory.as_fd()).unwrap());
        assert!(lease::hold(holder.as_fd(), 5).unwrap());
        let (ready, tell) = nix::unistd::pipe().unwrap();
        // SAFETY: fds of this process alone, which ends soon.
        let child = unsafe {
            let highest = tell.as_raw_fd();
            while libc::dup(2) < highest {}
            let most = libc::dup(2) as libc::rlim_t + 1;
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
            assert_eq!(libc::dup(2), -1);
            libc::fork()
        };
        if child == 0 {
            let _ = nix::unistd::write(&tell, b"!");
            // SAFETY: waits for the end, and does nothing else.
            unsafe { libc::pause() };
        }
        assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
        drop(holder);
        let is_free = !lease::is_held_elsewhere(memory.as_fd(), 5).unwrap();
        // SAFETY: our own child, waited for once.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        is_free
    }

    #[test]
    fn a_child_lets_go_though_there_can_be_no_more_fds() {
        // SAFETY: the C library sees to it that the copy can allocate; it uses nothing else that
        // other threads may be in the middle of.
        let process = unsafe { libc::fork() };
        if process == 0 {
            let is_free = std::panic::catch_unwind(is_let_go_at_the_limit).unwrap_or(false);
            // SAFETY: leaves at once, running nothing of the parent's.
            unsafe { libc::_exit(i32::from(is_free)) };
        }
        let mut status = 0;
        // SAFETY: our own child, waited for once.
        unsafe { libc::waitpid(process, &raw mut status, 0) };
        assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 1));
    }

    #[test]
    fn the_path_of_an_fd_is_written_without_help() {
        for raw in [0, 7, 10, 99, 100, 12_345, i32::MAX] {
            let expected = format!("/proc/self/fd/{raw}\0");
            assert_eq!(&own_path(raw)[..expected.len()], expected.as_bytes());
        }
    }
}
