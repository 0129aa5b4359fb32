//! `SIGINT` as a number that grows, as long as somebody wants it so.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{futex, task};

/// How many signals were heard. A word, and no fd: it is there as long as a handler may run, and a
/// forked child has one of its own.
static HEARD: AtomicU32 = AtomicU32::new(0);

/// Takes `SIGINT` instead of whoever took it before. One at a time.
pub(crate) struct Interrupts {
    before: libc::sigaction,
    is_over: Arc<AtomicBool>,
}

/// Hears of the signals that come.
pub(crate) struct Signals {
    seen: u32,
    is_over: Arc<AtomicBool>,
}

impl Signals {
    /// Waits for a signal. False when there will be none.
    pub(crate) fn wait(&mut self) -> bool {
        // Not bounded, but it waits.
        loop {
            // Acquire: pairs with the Release in `tell`, in front of which the end is said.
            let heard = HEARD.load(Ordering::Acquire);
            if heard != self.seen {
                self.seen = heard;
                return !self.is_over.load(Ordering::Relaxed);
            }
            futex::wait(&HEARD, heard, None);
        }
    }
}

/// Wakes all who listen.
fn tell() {
    // Release: see `Signals::wait`.
    HEARD.fetch_add(1, Ordering::Release);
    // A handler may be anywhere in this thread, also where something is told.
    futex::wake_untold(&HEARD, i32::MAX);
}

extern "C" fn note(_signal: libc::c_int) {
    // SAFETY: errno is the thread's.
    let errno = unsafe { *libc::__errno_location() };
    // An atomic and a system call: what a handler may do.
    tell();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

impl Interrupts {
    /// Takes over, for the first signal; the next one ends the program, as it would have.
    pub(crate) fn take() -> io::Result<(Self, Signals)> {
        // Relaxed: what comes from now on is heard.
        let seen = HEARD.load(Ordering::Relaxed);
        let is_over = Arc::new(AtomicBool::new(false));
        let signals = Signals { seen, is_over: Arc::clone(&is_over) };
        Ok((Self { before: handle()?, is_over }, signals))
    }

    /// Takes the next signal, too, if there was one, or somebody else has taken it over.
    pub(crate) fn take_again(&mut self) -> io::Result<()> {
        let before = handle()?;
        if !is_ours(&before) && !is_spent(&before) {
            self.before = before;
        }
        Ok(())
    }
}

/// Has `SIGINT`, which a terminal sends to every process of a job, change nothing in this one, and
/// lets it come.
///
/// A handler that does nothing, as programs that this process executes begin without handlers, but
/// would go on ignoring what it ignores.
pub(crate) fn pass_over() {
    // Whoever ignored it before had a reason, for all that come after.
    if exchange(None).is_ok_and(|now| now.sa_sigaction != libc::SIG_IGN) {
        // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        let _ = exchange(Some(&action));
    }
    if let Ok(mask) = task::signal_mask() {
        let _ = task::replace_signal_mask(mask & !task::signal_bit(libc::SIGINT));
    }
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Whether this is what `handle` makes of `SIGINT`.
fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == note as extern "C" fn(libc::c_int) as libc::sighandler_t
}

/// Whether this is what the kernel makes of it as it comes.
fn is_spent(action: &libc::sigaction) -> bool {
    action.sa_sigaction == libc::SIG_DFL
}

/// Has the next `SIGINT` noted. What was done with it before.
fn handle() -> io::Result<libc::sigaction> {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND;
    exchange(Some(&action))
}

/// What is done with `SIGINT`; from now on, if there is one, this.
fn exchange(action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let action = action.map_or(std::ptr::null(), std::ptr::from_ref);
    let mut before = MaybeUninit::uninit();
    // SAFETY: both are valid for the call, or null. A handler is one of ours, which do what
    // a handler may, or one that the kernel gave us.
    let done = unsafe { libc::sigaction(libc::SIGINT, action, before.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded and filled it.
    Ok(unsafe { before.assume_init() })
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // A handler that the program has set meanwhile stays.
        if exchange(None).is_ok_and(|now| is_ours(&now) || is_spent(&now)) {
            let _ = exchange(Some(&self.before));
        }
        // Relaxed: ordered by the Release in `tell`.
        self.is_over.store(true, Ordering::Relaxed);
        tell();
    }
}
