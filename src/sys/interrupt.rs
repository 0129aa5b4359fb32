//! `SIGINT` as bytes in a pipe, as long as somebody wants it so.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::fcntl::OFlag;

/// Nobody wants to hear of it.
const NOBODY: i32 = -1;

/// Where the handler writes.
static EAR: AtomicI32 = AtomicI32::new(NOBODY);

/// Takes `SIGINT` instead of whoever took it before. One at a time.
pub(crate) struct Interrupts {
    before: libc::sigaction,
    _ear: OwnedFd,
}

/// Reads the signals that came.
pub(crate) struct Signals(std::fs::File);

impl Signals {
    /// Waits for a signal. False when there will be none.
    pub(crate) fn wait(&mut self) -> bool {
        // Not bounded, but it waits.
        loop {
            match self.0.read(&mut [0]) {
                Ok(count) => return count == 1,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

extern "C" fn note(_signal: libc::c_int) {
    // Relaxed: set before the handler is, and a number all the same.
    let ear = EAR.load(Ordering::Relaxed);
    // SAFETY: errno is the thread's; write(2) may be called in a handler; a number that is no fd
    // any more is refused.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(ear, [1_u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

impl Interrupts {
    /// Takes over, for the first signal; the next one ends the program, as it would have.
    pub(crate) fn take() -> io::Result<(Self, Signals)> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        EAR.store(write.as_raw_fd(), Ordering::Relaxed);
        Ok((Self { before: handle()?, _ear: write }, Signals(read.into())))
    }

    /// Takes the next signal, too, if there was one.
    pub(crate) fn take_again(&self) -> io::Result<()> {
        handle().map(drop)
    }
}

/// Has the next `SIGINT` noted. What was done with it before.
fn handle() -> io::Result<libc::sigaction> {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND;
    let mut before = MaybeUninit::uninit();
    // SAFETY: both are valid for the call, and the handler does what a handler may.
    let done = unsafe { libc::sigaction(libc::SIGINT, &raw const action, before.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded and filled it.
    Ok(unsafe { before.assume_init() })
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // SAFETY: what the kernel gave us is what it gets back. The pipe is closed after this.
        unsafe { libc::sigaction(libc::SIGINT, &raw const self.before, std::ptr::null_mut()) };
        EAR.store(NOBODY, Ordering::Relaxed);
    }
}
