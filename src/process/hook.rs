//! How a process of this program finds out, before `main`, that it is somebody's child.
//!
//! The C library calls [`before_main`] as it calls every initialiser of the program. An ordinary
//! process pays one `getenv`. A process that was started by this crate goes to work from there and
//! never comes to `main`, so that tests, benches and programs need no set-up; or, if its parent
//! had called [`init`], it goes on to the same call in its own `main`, and works from there.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::job::{self, Birth, MAGIC, Role};
use super::{child, server};
use crate::shim::lock;
use crate::sys::clock::Deadline;
use crate::sys::{child as kernel, clone, image, letter, task};
use crate::trace::Quiet;

/// Whether children of this process are to run inside `main`.
static IN_MAIN: AtomicBool = AtomicBool::new(false);

/// Whether [`before_main`] was here.
static HAS_RUN: AtomicBool = AtomicBool::new(false);

/// The control socket of a child on its way to `init`.
static WAITING: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// How long the first letter may take: it was in the socket before this process was started.
const FIRST_LETTER: Duration = Duration::from_secs(10);

// The C library calls each entry of this section once, before `main`, with arguments that a
// function without parameters may ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    const NAME: &CStr = c"MULTIPROC_CONTROL";
    // Relaxed: the process has one thread, or starts others afterwards.
    HAS_RUN.store(true, Ordering::Relaxed);
    if let Some(value) = task::early_variable(NAME) {
        started(value);
    }
}

/// Lets child processes run inside `main` instead of before it.
///
/// Nothing needs this call: without it, a child process runs its function before `main`, on a
/// thread without a name, and never enters `main`. With it, as the first thing in `main`, a child
/// runs its function from here, with everything set up that Rust sets up for `main`, and with the
/// program's other initialisers done; and it never comes back from this call. In the first process
/// it returns at once. Python calls this `freeze_support`.
///
/// A program that calls it must come to it in its children too: what `main` does before is done
/// again in each of them, and a `main` that does not call it again would run whole.
///
/// # Examples
///
/// ```standalone_crate
/// fn main() -> multiproc::Result<()> {
///     multiproc::init();
///     let child = multiproc::Process::spawn(u32::count_ones, 7)?;
///     assert_eq!(child.join().unwrap(), 3);
///     Ok(())
/// }
/// ```
#[doc(alias = "freeze_support")]
pub fn init() {
    // Relaxed: read by this thread, or by threads that it starts.
    IN_MAIN.store(true, Ordering::Relaxed);
    let waiting = lock(&WAITING).take();
    if let Some(control) = waiting {
        work(control);
    }
}

pub(crate) fn is_in_main() -> bool {
    // Relaxed: see `init`.
    IN_MAIN.load(Ordering::Relaxed)
}

/// Whether this process is to become somebody's child, and an initialiser of the program that came
/// before the crate's is still at work. A process that is started from there comes to the same
/// place, so that each would start another.
pub(crate) fn is_ahead() -> bool {
    // Relaxed: see `before_main`.
    !HAS_RUN.load(Ordering::Relaxed) && std::env::var_os(job::VARIABLE).is_some()
}

/// The variable is there. Anybody can set it, so nothing is believed that the socket does not show.
#[cold]
fn started(value: &CStr) {
    let Ok(text) = value.to_str() else { return };
    let (number, place) = text.split_once(':').unwrap_or((text, ""));
    let Ok(number) = number.parse() else { return };
    let goes_to_main = place == job::IN_MAIN;
    if task::is_privileged() {
        return;
    }
    // SAFETY: no code of the program has run yet that could have opened this fd for itself.
    let Some(control) = (unsafe { task::inherited_socket(number) }) else { return };
    // SAFETY: before `main`; initialisers that start threads and let them read the environment
    // would be in conflict with every program that changes it at its start.
    unsafe { task::remove_variable(OsStr::new(job::VARIABLE)) };
    if goes_to_main {
        *lock(&WAITING) = Some(control);
    } else {
        work(control);
    }
}

/// Does what this process was started for.
fn work(control: OwnedFd) -> ! {
    // An initialiser of the program's may have set a subscriber before this.
    Quiet::begin_here();
    let Some((birth, fds)) = first_letter(&control) else { kernel::leave(1) };
    // Armed first and checked then: a parent that died in between is seen by one of the two.
    if kernel::die_with_parent().is_err() || kernel::parent_pid() != birth.parent {
        kernel::leave(1);
    }
    task::ignore_broken_pipes();
    match birth.role {
        Role::Server => server::serve(control, fds.into_iter().next(), birth.parent),
        Role::Child => child::main(control, &clone::Thread::of_caller(), birth.parent),
    }
}

fn first_letter(control: &OwnedFd) -> Option<(Birth, Vec<OwnedFd>)> {
    let letter = letter::receive(control.as_fd(), Deadline::after(FIRST_LETTER)).ok()??;
    let (birth, _) = job::decode::<Birth>(&letter.bytes).ok()?;
    let is_ours = birth.magic == MAGIC && birth.fingerprint == image::main().fingerprint();
    is_ours.then_some((birth, letter.fds))
}
