//! What a child does with its life: takes its job, makes its surroundings, runs, reports, exits.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;

use super::exit::Panic;
use super::family::{self, Me};
use super::job::{self, Job, Report};
use super::report;
use super::seal;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::sys::clone::Thread;
use crate::sys::{child as kernel, fork, image, letter, task};
use crate::trace::Quiet;

/// The exit code of a child whose function panicked, as of every Rust program that panics.
const PANICKED: i32 = 101;

/// The exit code of a child that could not do its job.
const FAILED: i32 = 1;

thread_local! {
    /// The last panic of this thread.
    static LAST_PANIC: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Does what can be done before a child is made of this process.
pub(crate) fn prepare() {
    let _ = image::main();
    let _ = fork::generation();
    listen_to_panics();
}

/// The life of a child that was made by exec or by the fork server.
pub(crate) fn main(control: OwnedFd, thread: &Thread, parent: u32) -> ! {
    let control = report::to(control);
    let Ok(Some(letter)) = letter::receive(control, Deadline::NEVER) else { kernel::leave(FAILED) };
    let work = move || {
        let Ok((job, arguments)) = job::decode::<Job<'_>>(&letter.bytes) else {
            kernel::leave(FAILED)
        };
        live(&job, arguments, letter.fds, parent)
    };
    if thread.is_repairable() {
        work();
    }
    // The C library has a wrong idea of this thread; of a new one it has a right one.
    match std::thread::Builder::new().spawn(work) {
        Ok(life) => drop(life.join()),
        Err(cause) => {
            report::failure(Error::new(ErrorKind::Limit, "start a thread").because(cause))
        }
    }
    kernel::leave(FAILED)
}

fn live(job: &Job<'_>, arguments: &[u8], fds: Vec<OwnedFd>, parent: u32) -> ! {
    // This may be another thread than the first.
    Quiet::begin_here();
    seal::inherit(job.secret);
    let fds = match settle(job, fds) {
        Ok(fds) => fds,
        Err(error) => {
            report::failure(error);
            leave(FAILED)
        }
    };
    family::begin(Me {
        name: job.name.clone().into_owned(),
        identity: job.identity.clone().into_owned(),
        is_daemon: job.is_daemon,
        parent: Some((parent, job.parent_name.clone().into_owned())),
    });
    listen_to_panics();
    perform(|| {
        Quiet::end_here();
        job.entry.call(arguments, fds, &mut report::deliver)
    })
}

/// The life of a child that was made by `fork`.
pub(crate) fn forked(control: OwnedFd, work: impl FnOnce() -> Result<()>) -> ! {
    report::to(control);
    listen_to_panics();
    perform(work)
}

/// Runs the work and reports what came of it.
fn perform(work: impl FnOnce() -> Result<()>) -> ! {
    report::say(&Report::Ready);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => leave(0),
        Ok(Err(error)) => {
            report::failure(error);
            leave(FAILED)
        }
        Err(payload) => {
            report::panic(&panic_of(payload.as_ref()));
            // What a payload does in its destructor is of no interest any more.
            std::mem::forget(payload);
            leave(PANICKED)
        }
    }
}

fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// Makes the surroundings that the job asks for, and gives back the fds of the arguments.
fn settle(job: &Job<'_>, fds: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
    let mut fds = fds.into_iter();
    let mut next = || {
        let missing = || Error::new(ErrorKind::Spawn, "start the process: an fd was lost");
        fds.next().ok_or_else(missing)
    };
    for (number, is_given) in (0..).zip(job.stdio) {
        if is_given {
            let file = next()?;
            task::replace_standard(number, file.as_fd()).context(|| format!("set fd {number}"))?;
        }
    }
    if job.has_directory {
        let directory = next()?;
        task::enter(directory.as_fd()).context(|| "enter the working directory".to_owned())?;
    }
    let fds = fds.collect();
    if let Some(mask) = job.umask {
        task::set_umask(mask);
    }
    for name in &job.environment.remove {
        // SAFETY: nothing of the program's has run in this process yet that could have a thread.
        unsafe { task::remove_variable(OsStr::from_bytes(name)) };
    }
    for (name, value) in &job.environment.set {
        // SAFETY: as above.
        unsafe { task::set_variable(OsStr::from_bytes(name), OsStr::from_bytes(value)) };
    }
    if !job.affinity.is_empty() {
        // CPUs can be taken away meanwhile; the child then runs where it may.
        let _ = task::set_affinity(&job.affinity);
    }
    kernel::set_command_name(&job.name);
    if !job.is_daemon {
        kernel::outlive_parent().context(|| "outlive the parent".to_owned())?;
    }
    // Last: from here on a signal of the terminal's is this process's own.
    task::replace_signal_mask(job.signal_mask).context(|| "set the signal mask".to_owned())?;
    Ok(fds)
}

/// Notes every panic on its way to the hook that was there before, which prints it.
fn listen_to_panics() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(info);
            print(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let trace = std::backtrace::Backtrace::capture();
    let is_traced = trace.status() == std::backtrace::BacktraceStatus::Captured;
    let panic = Panic {
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: is_traced.then(|| trace.to_string()),
    };
    if cfg!(panic = "abort") {
        // There is no later.
        report::panic(&panic);
    } else {
        // A panic in the last moments of a thread, when this is gone, is nobody's but the thread's.
        let _ = LAST_PANIC.try_with(|last| last.replace(Some(panic)));
    }
}

/// The panic that `payload` was caught from: the last one of this thread, if it said the same.
pub(crate) fn panic_of(payload: &(dyn Any + Send)) -> Panic {
    let message = message_of(payload);
    let last = LAST_PANIC.with_borrow_mut(Option::take);
    last.filter(|last| last.message == message).unwrap_or(Panic {
        message,
        location: None,
        backtrace: None,
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload.downcast_ref::<String>().map_or("a value that is no text", String::as_str).to_owned()
}
