//! A copy of this very process, for those who know what they do.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::AtDrop;
use super::client::start_error;
use super::family::{self, Me, family};
use super::{Process, Started, child, report, seal};
use crate::error::{Context, Result};
use crate::sys::clock::Deadline;
use crate::sys::spawn::Born;
use crate::sys::{child as kernel, fork, socket};
use crate::trace::{self, Quiet};
use crate::{segment, transfer};

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Copies this process with fork(2), and calls `f` in the copy.
    ///
    /// The copy has everything that this process has in memory, so `f` may capture; it has only one
    /// of its threads, the caller's. It ends when `f` does; result, panic and exit are told as with
    /// [`spawn`](Self::spawn). It is a daemon, and dies with the *thread* that forked it, not only
    /// with the process. What this process has buffered for its standard output is in the copy too,
    /// and is written by both unless it is flushed before. Copying takes time for the memory that
    /// this process uses; `spawn` does not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multiproc::Process;
    /// let words = vec!["captured", "by", "reference"];
    /// // SAFETY: no other thread of this program is in the middle of anything.
    /// let child = unsafe { Process::fork(|| words.len()) }?;
    /// assert_eq!(child.join().unwrap(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Kind [`Limit`](crate::ErrorKind::Limit) or [`Memory`](crate::ErrorKind::Memory) if there can
    /// be no further process or file descriptor.
    ///
    /// # Safety
    ///
    /// - No other thread holds a lock, or is changing a static, that `f` or an exit handler comes
    ///   to use; malloc is safe to use with glibc.
    /// - Nothing that is owned once in the world, a temporary directory that is removed on drop or
    ///   memory that a device writes to, is dropped or used by both copies.
    #[doc(alias = "os.fork")]
    pub unsafe fn fork<F: FnOnce() -> R>(f: F) -> Result<Self> {
        let what = || "fork a process".to_owned();
        trace::begin!(start);
        let family = family();
        drop(family.monitor()?);
        let identity = family.next_identity();
        let name = format!("Process-{identity}");
        let parent = std::process::id();
        let (mine, theirs) = socket::pair().context(what)?;
        // Before there are two who could each make one.
        seal::secret().context(what)?;
        let segments = segment::before_fork()?;
        // Also in the copy, until its function begins.
        let quiet = Quiet::new();
        // SAFETY: promised by the caller.
        let pid = match unsafe { fork::fork() } {
            Ok(Some(pid)) => pid,
            Ok(None) => {
                drop(mine);
                let entered = segments.in_child();
                let armed = kernel::die_with_parent();
                let is_ready = entered.is_ok() && armed.is_ok();
                if !is_ready || kernel::parent_pid() != parent || !may_go(&theirs) {
                    kernel::leave(1);
                }
                let parent = Some((parent, family.me.name.clone()));
                family::begin(Me { name, identity, is_daemon: true, parent });
                child::forked(theirs, || {
                    quiet.end();
                    let result = f();
                    report::deliver(transfer::pack(&result)?)
                })
            }
            Err(cause) => {
                segments.failed();
                return Err(start_error("fork a process", cause));
            }
        };
        // What the copy uses on is the copy's: ends of pipes are handed to it, not closed.
        // A capture that panics when it is dropped does so when the child is accounted for.
        let heirs = segments.in_parent();
        quiet.end();
        let bequeathed = catch_unwind(AssertUnwindSafe(|| segment::bequeath(f, heirs)));
        drop(theirs);
        let pidfd = match kernel::open(pid) {
            Ok(pidfd) => pidfd,
            Err(cause) => {
                drop(mine);
                let _ = kernel::wait_pid(pid);
                return Err(start_error("open a pidfd of a forked process", cause));
            }
        };
        let child = family.adopt(Born { pid, pidfd }, name, true)?;
        socket::send(mine.as_fd(), &[&GO], &[], Deadline::NEVER).context(what)?;
        child.show();
        trace::note!(
            DEBUG,
            Started { pid, name: child.name.clone(), method: "fork", took: start.elapsed() }
        );
        if let Err(panic) = bequeathed {
            resume_unwind(panic);
        }
        Ok(Started { child, socket: mine, at_drop: AtDrop::LeaveAlone }.into())
    }
}

/// The word that a forked child waits for: its parent has a pidfd of it, and will hear of its end.
const GO: [u8; 1] = [1];

/// Whether the parent could do all that it must before the child runs.
fn may_go(control: &OwnedFd) -> bool {
    let mut word = [0; GO.len()];
    let received = socket::receive(control.as_fd(), &mut word, Deadline::NEVER);
    received.is_ok_and(|packet| packet.length == GO.len()) && word == GO
}
