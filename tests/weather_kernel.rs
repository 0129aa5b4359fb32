//! Hostile weather: kernels, containers and filters that do not have everything, or refuse it.
//! Either there is another way, or an error says what is missing; nothing hangs or crashes.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "filters system calls")]

mod common;

use common::tour::Luggage;
use common::{forbid_with, tour};
use multiproc::Process;

/// A system call, or those with one argument; how a kernel says that it does not have it; and what
/// an error says then, if there is one.
struct Missing {
    name: &'static str,
    call: libc::c_long,
    argument: Option<(u32, u32)>,
    errno: i32,
    says: Option<&'static str>,
}

const fn missing(name: &'static str, call: libc::c_long, errno: i32) -> Missing {
    Missing { name, call, argument: None, errno, says: None }
}

impl Missing {
    /// Only where the argument at `place` is this one.
    const fn with(mut self, place: u32, argument: i32) -> Self {
        self.argument = Some((place, argument as u32));
        self
    }

    const fn says(mut self, what: &'static str) -> Self {
        self.says = Some(what);
        self
    }
}

const SEGMENT: &str = "make a segment";
const MEMORY: &str = "bytes of shared memory";
const EXECUTE: &str = "execute /proc/self/exe: ";
const SERVER: &str = "fork server: ended before it answered";

const ALL: [Missing; 22] = [
    missing("clone3", libc::SYS_clone3, libc::ENOSYS),
    missing("membarrier", libc::SYS_membarrier, libc::ENOSYS),
    missing("membarrier, by a filter", libc::SYS_membarrier, libc::EPERM),
    missing("futex_waitv", libc::SYS_futex_waitv, libc::ENOSYS),
    missing("futex_waitv, by a filter", libc::SYS_futex_waitv, libc::EPERM),
    missing("pidfd_open", libc::SYS_pidfd_open, libc::ENOSYS),
    missing("sched_setaffinity", libc::SYS_sched_setaffinity, libc::EPERM),
    missing("unshare", libc::SYS_unshare, libc::EPERM),
    // The C library has no threads then.
    missing("clone3, by a filter", libc::SYS_clone3, libc::EPERM).says("start the thread"),
    missing("memfd_create", libc::SYS_memfd_create, libc::ENOSYS).says(SEGMENT),
    missing("seals", libc::SYS_fcntl, libc::EPERM).with(1, libc::F_ADD_SEALS).says(SEGMENT),
    missing("leases", libc::SYS_fcntl, libc::EINVAL).with(1, libc::F_OFD_SETLK).says(SEGMENT),
    missing("fallocate", libc::SYS_fallocate, libc::EOPNOTSUPP).says(MEMORY),
    missing("memory", libc::SYS_fallocate, libc::ENOSPC).says(MEMORY),
    missing("madvise", libc::SYS_madvise, libc::ENOSYS).says(SEGMENT),
    missing("pidfd_send_signal", libc::SYS_pidfd_send_signal, libc::ENOSYS).says("signal 9 to"),
    missing("sched_getaffinity", libc::SYS_sched_getaffinity, libc::EPERM)
        .says("with sched_getaffinity: "),
    missing("close_range", libc::SYS_close_range, libc::ENOSYS).says("with close_range: "),
    missing("clone", libc::SYS_clone, libc::EPERM).says("make a process with clone: "),
    missing("execve", libc::SYS_execve, libc::EPERM).says(EXECUTE),
    // The server has nobody yet to whom it could say more.
    missing("seals to look at", libc::SYS_fcntl, libc::EPERM)
        .with(1, libc::F_GET_SEALS)
        .says(SERVER),
    missing("prctl", libc::SYS_prctl, libc::EPERM).says(SERVER),
];

fn tour_without(index: usize) -> Result<(), Vec<String>> {
    let missing = &ALL[index];
    let luggage = Luggage::new().unwrap();
    forbid_with(missing.call, missing.argument, missing.errno);
    // What is there already needs nothing.
    luggage.use_all().unwrap();
    let result = tour::all();
    luggage.use_all().unwrap();
    result
}

#[test]
fn what_a_kernel_does_not_have_is_done_without_or_named() {
    let _watchdog = common::watchdog("what_a_kernel_does_not_have");
    for (index, missing) in ALL.iter().enumerate() {
        let Missing { name, errno, says, .. } = missing;
        let result = Process::spawn(tour_without, index).unwrap().join();
        println!("without {name}: {result:?}");
        match (result.unwrap(), says) {
            (Ok(()), None) => {}
            (Err(errors), Some(says)) => {
                let number = format!("(os error {errno})");
                let is_named = |error: &String| {
                    error.contains(says) && (*says == SERVER || error.ends_with(&number))
                };
                assert!(errors.iter().any(is_named), "without {name}: {errors:?}");
            }
            other => panic!("without {name}: {other:?}"),
        }
    }
    // Whoever has everything goes on.
    tour::all().unwrap();
}
