//! A second process of this program, by a new `exec` of its own image.
//!
//! This is what posix_spawn(3) does, a child that borrows the parent's memory until it executes,
//! with two things that it cannot do: the pidfd is made with the child, so that no other thread can
//! reap it first; and the child may share working directory and umask with its parent for ever.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::number::rather_above_standard;
use super::{child, task};

/// The file that is executed: right also when it has been replaced or removed meanwhile.
pub(crate) const IMAGE: &CStr = c"/proc/self/exe";

/// The fd of the control socket in the new process.
pub(crate) const CONTROL: RawFd = 3;

/// Enough for a handful of system call wrappers.
const STACK: usize = 64 << 10;

/// Whether the new process has a working directory and a umask of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// It starts with copies.
    Copied,
    /// It sees every later change of the parent's, so that copies made from it are always current.
    Shared,
}

/// A child that has just been made.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// What the child needs; lives in the parent, which sleeps until the child has done with it.
struct Plan {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    control: RawFd,
    /// The step that failed, and its errno, which is 0 if none did.
    failure: (Step, c_int),
}

/// What can fail on the way to a new program, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Affinity,
    SignalMask,
    Clone,
    Control,
    CloseRange,
    Streams,
    Execute,
}

/// Why there is no new program.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) cause: io::Error,
}

impl Step {
    /// Makes what went wrong in this step a failure of it.
    pub(crate) fn failed(self) -> impl FnOnce(io::Error) -> Failure {
        move |cause| Failure { step: self, cause }
    }

    /// What was to be done.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Affinity => "ask for the CPUs of a new process with sched_getaffinity",
            Self::SignalMask => "block signals while a process is made",
            Self::Clone => "make a process with clone",
            Self::Control => "give a new process its socket",
            Self::CloseRange => "close the files of a new process with close_range",
            Self::Streams => "give a new process /dev/null for its standard streams",
            Self::Execute => "execute /proc/self/exe",
        }
    }
}

/// Executes [`IMAGE`] in a child. It has `control` at [`CONTROL`], /dev/null at 0, 1 and 2, no
/// other fd, and every signal blocked.
pub(crate) fn exec(
    arguments: &[CString],
    environment: &[CString],
    control: BorrowedFd<'_>,
    surroundings: Surroundings,
) -> Result<Born, Failure> {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    let mut plan = Plan {
        path: IMAGE.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        control: control.as_raw_fd(),
        failure: (Step::Execute, 0),
    };
    // A handler of this process must not run in the child while both use the same memory.
    let mask = task::replace_signal_mask(task::EVERY_SIGNAL).map_err(Step::SignalMask.failed())?;
    let born = vfork(&mut plan, surroundings);
    task::replace_signal_mask(mask).map_err(Step::SignalMask.failed())?;
    let born = born.map_err(Step::Clone.failed())?;
    // SAFETY: a plain read; volatile because the child wrote it behind the compiler's back.
    match unsafe { (&raw const plan.failure).read_volatile() } {
        (_, 0) => Ok(born),
        (step, failure) => {
            child::wait(born.pidfd.as_fd()).map_err(step.failed())?;
            Err(step.failed()(io::Error::from_raw_os_error(failure)))
        }
    }
}

fn vfork(plan: &mut Plan, surroundings: Surroundings) -> io::Result<Born> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: c_int = -1;
    let shared = match surroundings {
        Surroundings::Copied => 0,
        Surroundings::Shared => libc::CLONE_FS,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | shared;
    // SAFETY: the child runs `become_program` on a stack of its own, aligned by its element type;
    // CLONE_VFORK keeps this frame, the stack and the plan alive and still until it is done.
    let pid = unsafe {
        libc::clone(
            become_program,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            (plan as *mut Plan).cast(),
            &raw mut pidfd,
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pidfd < 0 {
        // A kernel that does not know CLONE_PIDFD takes no notice of it.
        // SAFETY: ends and reaps the child, which nobody else knows of.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    // SAFETY: CLONE_PIDFD stored a new fd of ours.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Born { pid: pid as u32, pidfd: rather_above_standard(pidfd) })
}

/// The child, between its first instruction and the new program: async-signal-safe calls only.
extern "C" fn become_program(plan: *mut c_void) -> c_int {
    // SAFETY: the parent sleeps in `vfork`; nobody else touches the plan.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    plan.failure = match arrange_fds(plan.control) {
        Ok(()) => {
            // SAFETY: three null-terminated structures that outlive the call, see `exec`.
            unsafe { libc::execve(plan.path, plan.arguments, plan.environment) };
            (Step::Execute, errno())
        }
        Err(failure) => failure,
    };
    child::leave(127)
}

fn arrange_fds(control: RawFd) -> Result<(), (Step, c_int)> {
    // The table of fds is a copy: whatever the parent had at CONTROL and above it keeps.
    if control == CONTROL {
        // SAFETY: clears close-on-exec of an open fd; touches no memory.
        check(Step::Control, unsafe { libc::fcntl(CONTROL, libc::F_SETFD, 0) })?;
    } else {
        // SAFETY: acts on this process's own table of fds; touches no memory.
        check(Step::Control, unsafe { libc::dup2(control, CONTROL) })?;
    }
    // SAFETY: as above; there is nothing above CONTROL that this child needs.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, CONTROL + 1, u32::MAX, 0) };
    check(Step::CloseRange, closed as c_int)?;
    // SAFETY: the path is a literal.
    let null = check(Step::Streams, unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
    for standard in 0..CONTROL {
        // SAFETY: acts on this process's own table of fds; touches no memory.
        check(Step::Streams, unsafe { libc::dup2(null, standard) })?;
    }
    if null > CONTROL {
        // SAFETY: `null` was opened above and is used no more.
        unsafe { libc::close(null) };
    }
    Ok(())
}

fn check(step: Step, result: c_int) -> Result<c_int, (Step, c_int)> {
    if result < 0 { Err((step, errno())) } else { Ok(result) }
}

fn errno() -> c_int {
    // SAFETY: errno of the calling thread; the parent thread whose it is sleeps.
    unsafe { *libc::__errno_location() }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}
