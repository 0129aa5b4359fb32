//! One process steps through another: ptrace(2), on the same CPU, so that a step costs two switches
//! and no more.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it traces processes")]

use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use crate::common::until;
use crate::stepping::{Fate, Point};

/// How often the tracer looks whether a child sleeps that has not come to its next stop.
const GLANCE: Duration = Duration::from_millis(4);

/// A child that was found asleep so often is.
const GLANCES: usize = 2;

/// Longer than a child takes for anything.
const LONG: Duration = Duration::from_secs(30);

/// A thread of another process, which this thread traces.
pub(crate) struct Tracee {
    process: i32,
    thread: i32,
    /// Whether somebody else kills it when it takes too long, which is an end like any other.
    is_on_notice: bool,
}

enum Stop {
    Breakpoint,
    Step,
    /// This thread asked for it, or it has just been born.
    Asked,
    /// It has made a thread or a process, which is traced as well.
    Birth,
    Asleep,
    /// A signal is about to be delivered.
    Signal(i32),
    Gone,
}

impl Tracee {
    /// Traces the first thread of a child from now on. Nothing where that is denied.
    pub(crate) fn seize(pid: u32) -> Option<Self> {
        Self::seize_thread(pid, pid)
    }

    /// Traces a thread of a child from now on. Nothing where that is denied.
    pub(crate) fn seize_thread(pid: u32, thread: u32) -> Option<Self> {
        Self::seize_with(pid, thread, 0)
    }

    /// Traces what the first thread of a child makes next, once it is told to: a thread or a
    /// process, which has run no instruction yet. Nothing where that is denied.
    pub(crate) fn seize_newborn(pid: u32, tell: impl FnOnce()) -> Option<Self> {
        let births = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK;
        let parent = Self::seize_with(pid, pid, births)?;
        tell();
        assert!(matches!(parent.wait(false), Stop::Birth), "no birth");
        let mut born = 0_u64;
        let at = (&raw mut born).expose_provenance();
        parent.ask(libc::PTRACE_GETEVENTMSG, at).unwrap();
        parent.ask(libc::PTRACE_DETACH, 0).unwrap();
        let thread = born as i32;
        let is_thread = Path::new(&format!("/proc/{pid}/task/{thread}")).exists();
        let process = if is_thread { pid as i32 } else { thread };
        let newborn = Self { process, thread, is_on_notice: false };
        assert!(matches!(newborn.wait(false), Stop::Asked), "it does not begin");
        // What it makes itself is not traced.
        newborn.ask(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_EXITKILL as usize).unwrap();
        stay_on_one_cpu(thread);
        Some(newborn)
    }

    fn seize_with(pid: u32, thread: u32, options: i32) -> Option<Self> {
        let tracee = Self { process: pid as i32, thread: thread as i32, is_on_notice: false };
        match tracee.ask(libc::PTRACE_SEIZE, (libc::PTRACE_O_EXITKILL | options) as usize) {
            Ok(()) => {
                stay_on_one_cpu(tracee.thread);
                Some(tracee)
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                assert_eq!(unsafe { libc::kill(tracee.process, libc::SIGKILL) }, 0);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whoever it works for kills it when it takes too long, as each step of it takes its time.
    pub(crate) fn on_notice(self) -> Self {
        Self { is_on_notice: true, ..self }
    }

    /// Goes to the breakpoint where it begins, and then on to the point; kills it there. `wake` is
    /// called when it sleeps on the way: whether it was woken.
    pub(crate) fn step(self, point: Point, wake: impl FnMut() -> bool) -> Fate {
        let _glances = Glances::new();
        loop {
            match self.wait(false) {
                Stop::Breakpoint => break,
                // Of a child that it had before.
                Stop::Signal(libc::SIGCHLD) => {
                    self.ask(libc::PTRACE_CONT, libc::SIGCHLD as usize).unwrap();
                }
                _ => panic!("no beginning"),
            }
        }
        self.go(point, wake)
    }

    /// As [`step`](Self::step), of one who sleeps, and whose next work begins when it is woken.
    pub(crate) fn step_from_sleep(self, point: Point, wake: impl FnMut() -> bool) -> Fate {
        let _glances = Glances::new();
        until(|| self.is_asleep());
        self.ask(libc::PTRACE_INTERRUPT, 0).unwrap();
        assert!(matches!(self.wait(false), Stop::Asked), "it is not interrupted");
        self.go(point, wake)
    }

    /// As [`step`](Self::step), of one who is at its beginning.
    pub(crate) fn step_from_birth(self, point: Point) -> Fate {
        let _glances = Glances::new();
        self.go(point, || false)
    }

    fn go(self, point: Point, mut wake: impl FnMut() -> bool) -> Fate {
        let most = if let Point::After(steps) = point { steps } else { usize::MAX };
        let mut was_woken = false;
        for steps in 0..most {
            let is_there = self.ask_if_there(libc::PTRACE_SINGLESTEP);
            let mut stop = if is_there { self.wait(true) } else { Stop::Gone };
            if matches!(stop, Stop::Asleep) {
                if point == Point::Asleep || was_woken || !wake() {
                    self.kill();
                    return Fate::Asleep(steps);
                }
                was_woken = true;
                if point == Point::Woken {
                    self.kill();
                    return Fate::Woken(steps);
                }
                stop = self.wait(false);
            }
            match stop {
                Stop::Step => {}
                Stop::Breakpoint if self.ask_if_there(libc::PTRACE_DETACH) => {
                    return Fate::Done(steps);
                }
                Stop::Breakpoint | Stop::Gone if self.is_on_notice => return Fate::Killed(steps),
                Stop::Signal(signal) => panic!("signal {signal} after {steps} instructions"),
                _ => panic!("the victim ended after {steps} instructions"),
            }
        }
        self.kill();
        Fate::Killed(most)
    }

    /// Asks for something, and says whether there was somebody to do it.
    fn ask_if_there(&self, request: libc::c_uint) -> bool {
        match self.ask(request, 0) {
            Ok(()) => true,
            Err(error) if is_gone(&error) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(&self, request: libc::c_uint, data: usize) -> io::Result<()> {
        let done = unsafe { libc::ptrace(request, self.thread, 0, data) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn kill(&self) {
        let is_killed = unsafe { libc::kill(self.process, libc::SIGKILL) } == 0;
        assert!(is_killed || self.is_on_notice);
        // Its process ends for others when nobody traces a thread of it any more.
        while self.thread != self.process && !matches!(self.wait(false), Stop::Gone) {}
    }

    /// Waits for the next stop, or a sleep in the kernel if that is one.
    fn wait(&self, may_sleep: bool) -> Stop {
        let began = Instant::now();
        let mut asleep = 0;
        loop {
            let mut status = 0;
            let waited = unsafe { libc::waitpid(self.thread, &raw mut status, libc::__WALL) };
            if waited == self.thread {
                return self.stop_of(status);
            }
            let error = io::Error::last_os_error();
            if is_gone(&error) {
                return Stop::Gone;
            }
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "{error}");
            asleep = if self.is_asleep() { asleep + 1 } else { 0 };
            if may_sleep && asleep == GLANCES {
                return Stop::Asleep;
            }
            assert!(began.elapsed() < LONG, "the victim does not come to its next stop");
        }
    }

    fn is_asleep(&self) -> bool {
        is_asleep(self.process as u32, self.thread as u32)
    }

    fn stop_of(&self, status: i32) -> Stop {
        if !libc::WIFSTOPPED(status) {
            return Stop::Gone;
        }
        if libc::WSTOPSIG(status) != libc::SIGTRAP {
            return Stop::Signal(libc::WSTOPSIG(status));
        }
        match status >> 16 {
            0 => {}
            libc::PTRACE_EVENT_STOP => return Stop::Asked,
            _ => return Stop::Birth,
        }
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let at = info.as_mut_ptr();
        let done = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.thread, 0, at) };
        if done != 0 && is_gone(&io::Error::last_os_error()) {
            return Stop::Gone;
        }
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        let is_breakpoint = unsafe { info.assume_init() }.si_code == libc::SI_KERNEL;
        if is_breakpoint { Stop::Breakpoint } else { Stop::Step }
    }
}

/// Whether an error says that the tracee is dead, or even buried by somebody else.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ECHILD))
}

/// Interrupts the system calls of this thread now and then, as long as it is there.
struct Glances {
    timer: libc::timer_t,
}

impl Glances {
    fn new() -> Self {
        extern "C" fn nothing(_: libc::c_int) {}
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as *const () as usize;
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR2;
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = null_mut();
        let glance = libc::timespec { tv_sec: 0, tv_nsec: GLANCE.subsec_nanos().into() };
        let often = libc::itimerspec { it_interval: glance, it_value: glance };
        unsafe {
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, null_mut()), 0);
            let clock = libc::CLOCK_MONOTONIC;
            assert_eq!(libc::timer_create(clock, &raw mut event, &raw mut timer), 0);
            assert_eq!(libc::timer_settime(timer, 0, &raw const often, null_mut()), 0);
        }
        Self { timer }
    }
}

impl Drop for Glances {
    fn drop(&mut self) {
        assert_eq!(unsafe { libc::timer_delete(self.timer) }, 0);
    }
}

/// Whether a thread of a process sleeps in the kernel.
pub(crate) fn is_asleep(pid: u32, thread: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().unwrap().starts_with('S'))
}

/// The thread of a process that has this name, if there is one.
pub(crate) fn thread_named(pid: u32, name: &str) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut tasks = tasks.flatten().map(|task| task.path());
    let has_name = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    tasks.find(has_name)?.file_name()?.to_str()?.parse().ok()
}

/// Keeps a thread, or this one (0), on the CPU on which this one is.
pub(crate) fn stay_on_one_cpu(thread: i32) {
    let cpu = unsafe { libc::sched_getcpu() };
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    unsafe {
        libc::CPU_SET(cpu as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(thread, size_of_val(&set), &raw const set), 0);
    }
}
