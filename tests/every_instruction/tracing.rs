//! One process steps through another: ptrace(2), on the same CPU, so that a step costs two switches
//! and no more.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it traces processes")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use crate::stepping::{Fate, Point};

/// How often the tracer looks whether a child sleeps that has not come to its next stop.
const GLANCE: Duration = Duration::from_millis(4);

/// A child that was found asleep so often is.
const GLANCES: usize = 2;

/// Longer than a child takes for anything.
const LONG: Duration = Duration::from_secs(30);

/// A process that this thread traces.
pub(crate) struct Tracee {
    pid: i32,
}

enum Stop {
    Breakpoint,
    Step,
    Asleep,
    Gone,
}

impl Tracee {
    /// Traces a child from now on. Nothing where that is denied.
    pub(crate) fn seize(pid: u32) -> Option<Self> {
        let tracee = Self { pid: pid as i32 };
        match tracee.ask(libc::PTRACE_SEIZE, libc::PTRACE_O_EXITKILL as usize) {
            Ok(()) => {
                stay_on_one_cpu(tracee.pid);
                Some(tracee)
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                tracee.kill();
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Goes to the beginning, and then on to the point; kills it there. `wake` is called when it
    /// sleeps on the way: whether it was woken.
    pub(crate) fn step(self, point: Point, mut wake: impl FnMut() -> bool) -> Fate {
        let _glances = Glances::new();
        let most = if let Point::After(steps) = point { steps } else { usize::MAX };
        assert!(matches!(self.wait(false), Stop::Breakpoint), "no beginning");
        let mut was_woken = false;
        for steps in 0..most {
            self.ask(libc::PTRACE_SINGLESTEP, 0).unwrap();
            let mut stop = self.wait(true);
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
                Stop::Breakpoint => {
                    self.ask(libc::PTRACE_DETACH, 0).unwrap();
                    return Fate::Done(steps);
                }
                Stop::Asleep | Stop::Gone => panic!("the victim ended after {steps} instructions"),
            }
        }
        self.kill();
        Fate::Killed(most)
    }

    fn ask(&self, request: libc::c_uint, data: usize) -> io::Result<()> {
        let done = unsafe { libc::ptrace(request, self.pid, 0, data) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn kill(&self) {
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
    }

    /// Waits for the next stop, or a sleep in the kernel if that is one.
    fn wait(&self, may_sleep: bool) -> Stop {
        let began = Instant::now();
        let mut asleep = 0;
        loop {
            let mut status = 0;
            let waited = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
            if waited == self.pid {
                return self.stop_of(status);
            }
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "{error}");
            asleep = if self.is_asleep() { asleep + 1 } else { 0 };
            if may_sleep && asleep == GLANCES {
                return Stop::Asleep;
            }
            assert!(began.elapsed() < LONG, "the victim does not come to its next stop");
        }
    }

    fn is_asleep(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    }

    fn stop_of(&self, status: i32) -> Stop {
        if !libc::WIFSTOPPED(status) {
            return Stop::Gone;
        }
        if libc::WSTOPSIG(status) != libc::SIGTRAP {
            panic!("the victim had signal {}", libc::WSTOPSIG(status));
        }
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let at = info.as_mut_ptr();
        let done = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid, 0, at) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        let is_breakpoint = unsafe { info.assume_init() }.si_code == libc::SI_KERNEL;
        if is_breakpoint { Stop::Breakpoint } else { Stop::Step }
    }
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

/// Keeps a thread, or this one (0), on the CPU on which this one is.
pub(crate) fn stay_on_one_cpu(thread: i32) {
    let cpu = unsafe { libc::sched_getcpu() };
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    unsafe {
        libc::CPU_SET(cpu as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(thread, size_of_val(&set), &raw const set), 0);
    }
}
