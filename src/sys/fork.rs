//! Notices that this process is a fork of the one that made a handle.
//!
//! One page is marked `MADV_WIPEONFORK`: the kernel gives a forked child a page of zeros in its
//! place, so a single load tells, without a system call, and also when the fork was made behind
//! our back. The first look in a child takes a number that no ancestor had: how many of them have
//! looked. A pid would not do, as those of dead ancestors, and of other namespaces, come again.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which process this is among those that came from one another by `fork`. Never 0.
pub(crate) fn generation() -> u32 {
    let page = page();
    // Relaxed: a process sees its own page; the kernel wipes it before the child's first
    // instruction.
    match page.load(Ordering::Relaxed) {
        0 => renew(page),
        known => known,
    }
}

/// The generation of this process, for a check that costs one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(&'static AtomicU32);

impl Watch {
    pub(crate) fn new() -> Self {
        generation();
        Self(page())
    }

    /// What [`generation`] returned last in this process; 0 in a fork that has not asked yet.
    #[inline(always)]
    pub(crate) fn now(self) -> u32 {
        // Relaxed: as in `generation`.
        self.0.load(Ordering::Relaxed)
    }
}

/// Copies the process; `None` in the copy.
///
/// # Safety
///
/// - What the copy goes on to use is not in the middle of a change by another thread.
pub(crate) unsafe fn fork() -> std::io::Result<Option<u32>> {
    // SAFETY: promised by the caller.
    match unsafe { libc::fork() } {
        ..0 => Err(std::io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as u32)),
    }
}

/// The word in the wiped page.
fn page() -> &'static AtomicU32 {
    static PAGE: OnceLock<&'static AtomicU32> = OnceLock::new();
    PAGE.get_or_init(map)
}

#[cold]
fn renew(page: &AtomicU32) -> u32 {
    /// The number of this process, or of its last ancestor that has one: a fork copies it.
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    // Relaxed, all: of the threads that come at once, one writes the page and the others take what
    // it wrote, which is not more than the depth. A fork in between copies a depth that no handle
    // knows of yet.
    let mine = DEPTH.load(Ordering::Relaxed) + 1;
    DEPTH.fetch_max(mine, Ordering::Relaxed);
    match page.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => mine,
        Err(theirs) => theirs,
    }
}

#[cold]
fn map() -> &'static AtomicU32 {
    const SIZE: usize = 4096;
    // SAFETY: a new private anonymous mapping, placed by the kernel, aliases nothing.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        // Without the page no fork is noticed; a static word keeps everything else going.
        static UNWIPED: AtomicU32 = AtomicU32::new(0);
        return &UNWIPED;
    }
    // SAFETY: advice on a mapping of our own; a kernel below 4.14 refuses, and forks go unnoticed.
    unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) };
    // SAFETY: the mapping is zeroed, aligned, writable and never unmapped.
    unsafe { &*page.cast::<AtomicU32>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_another_generation() {
        let mine = generation();
        assert_eq!(mine, generation());
        // SAFETY: the child calls nothing but async-signal-safe functions before it leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let own = generation();
            // More than one more, where threads came for the parent's first look at once.
            let is_new = own > mine && own == generation();
            // SAFETY: leaves at once, running nothing of the parent's.
            unsafe { libc::_exit(i32::from(is_new)) };
        }
        let mut status = 0;
        // SAFETY: our own child, waited for once.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 1);
    }
}
