//! Everything that a process keeps about its children; one per process, made anew after a fork.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::client::Server;
use super::exit::ExitStatus;
use super::monitor::Monitor;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::event::Event;
use crate::raw::wait_many::Post;
use crate::segment;
use crate::shim::lock;
use crate::sys::child::{self, Waited};
use crate::sys::fork;
use crate::sys::spawn::Born;
use crate::trace;

/// What a process knows of itself and its parent.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) name: String,
    /// The numbers of this process and its ancestors, `1:2`; empty for the first process.
    pub(crate) identity: String,
    pub(crate) is_daemon: bool,
    /// Pid and name of the process that started this one through this crate.
    pub(crate) parent: Option<(u32, String)>,
}

/// The family of this process, seen from it.
#[derive(Debug)]
pub(crate) struct Family {
    generation: u32,
    pub(crate) me: Me,
    born: AtomicUsize,
    keys: AtomicUsize,
    children: Mutex<BTreeMap<u64, Arc<Child>>>,
    pub(crate) monitor: Mutex<Option<Arc<Monitor>>>,
    pub(crate) server: Mutex<Option<Server>>,
}

/// A child that has not been forgotten yet.
#[derive(Debug)]
pub(crate) struct Child {
    key: u64,
    generation: u32,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) is_daemon: bool,
    /// Whether it runs a function of the user's, as against the fork server or a failed start.
    is_visible: AtomicBool,
    ended: Mutex<Option<ExitStatus>>,
    /// Set when it has ended, for those who wait for other things as well.
    end: Event,
    #[cfg(feature = "tracing")]
    since: std::time::Instant,
}

static FAMILY: AtomicPtr<Family> = AtomicPtr::new(std::ptr::null_mut());

/// The family of this process.
pub(crate) fn family() -> &'static Family {
    match latest() {
        Some(family) if family.generation == fork::generation() => family,
        stale => renew(stale, stale.map_or_else(Me::first, |family| family.me.clone())),
    }
}

/// Starts the family of a process that has just been made, and knows what it is.
pub(crate) fn begin(me: Me) {
    renew(latest(), me);
}

fn latest() -> Option<&'static Family> {
    // Acquire `family`: pairs with the exchange in `renew`.
    let known = FAMILY.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `Box::leak`, and nothing changes what is behind it.
    unsafe { known.as_ref() }
}

#[cold]
fn renew(stale: Option<&'static Family>, me: Me) -> &'static Family {
    let new = Box::into_raw(Box::new(Family {
        generation: fork::generation(),
        me,
        born: AtomicUsize::new(0),
        keys: AtomicUsize::new(1),
        children: Mutex::default(),
        monitor: Mutex::default(),
        server: Mutex::default(),
    }));
    let expected =
        stale.map_or(std::ptr::null_mut(), |family| std::ptr::from_ref(family).cast_mut());
    // Release `family`: whoever loads the pointer sees the fields. Acquire: so do we if we lose.
    match FAMILY.compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            if let Some(stale) = stale {
                stale.abandon();
            }
            // SAFETY: leaked on purpose; `FAMILY` points to it from now on, and nothing frees it.
            unsafe { &*new }
        }
        Err(winner) => {
            // SAFETY: `new` was never shared.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: not null, and came from `Box::into_raw` above in another thread.
            unsafe { &*winner }
        }
    }
}

impl Me {
    fn first() -> Self {
        Self {
            name: "MainProcess".to_owned(),
            identity: String::new(),
            is_daemon: false,
            parent: None,
        }
    }
}

impl Family {
    /// The number of the next child, from 1, and its identity.
    pub(crate) fn next_identity(&self) -> String {
        // Relaxed: only that no two get the same number matters.
        let number = self.born.fetch_add(1, Ordering::Relaxed) + 1;
        match self.me.identity.as_str() {
            "" => number.to_string(),
            mine => format!("{mine}:{number}"),
        }
    }

    /// Takes a child into the family: from now on it is reaped, whatever happens.
    pub(crate) fn adopt(
        &'static self,
        born: Born,
        name: String,
        is_daemon: bool,
    ) -> Result<Arc<Child>> {
        let monitor = self.monitor()?;
        // Relaxed: only that no two get the same key matters.
        let key = self.keys.fetch_add(1, Ordering::Relaxed) as u64;
        let child = Arc::new(Child {
            key,
            generation: self.generation,
            name,
            pid: born.pid,
            pidfd: born.pidfd,
            is_daemon,
            is_visible: AtomicBool::new(false),
            ended: Mutex::default(),
            end: Event::new(),
            #[cfg(feature = "tracing")]
            since: std::time::Instant::now(),
        });
        lock(&self.children).insert(key, Arc::clone(&child));
        if let Err(error) = monitor.watch(&child) {
            // Nobody would hear of its end, so it ends here.
            let _ = child::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            let _ = child::wait(child.pidfd.as_fd());
            lock(&self.children).remove(&key);
            return Err(error);
        }
        Ok(child)
    }

    /// The child that the monitor heard of by `key`.
    pub(crate) fn child(&self, key: u64) -> Option<Arc<Child>> {
        lock(&self.children).get(&key).cloned()
    }

    /// The children that run functions of the user's.
    pub(crate) fn visible_children(&self) -> Vec<Arc<Child>> {
        // Relaxed: whoever started the child knows it; for everybody else it may be a moment late.
        let is_visible = |child: &&Arc<Child>| child.is_visible.load(Ordering::Relaxed);
        lock(&self.children).values().filter(is_visible).cloned().collect()
    }

    /// The family of the process that this one was forked from: its fds are of no use here.
    ///
    /// What another thread held at the time of the fork stays locked for ever, and its fds open.
    fn abandon(&self) {
        if let Ok(mut server) = self.server.try_lock() {
            *server = None;
        }
        if let Ok(mut monitor) = self.monitor.try_lock()
            && let Some(monitor) = monitor.take()
        {
            monitor.abandon();
        }
        if let Ok(mut children) = self.children.try_lock() {
            children.clear();
        }
    }

    fn forget(&self, child: &Child) {
        if let Some(monitor) = lock(&self.monitor).as_ref() {
            monitor.unwatch(child);
        }
        lock(&self.children).remove(&child.key);
    }
}

impl Child {
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// It has its job: show it.
    pub(crate) fn show(&self) {
        // Relaxed: see `visible_children`.
        self.is_visible.store(true, Ordering::Relaxed);
    }

    /// Whether it is a child of this process, and not of one that this one was forked from.
    pub(crate) fn check_is_ours(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        let what = format!("process {}: it is a child of the process before the fork", self.name);
        Err(Error::new(ErrorKind::Forked, what))
    }

    /// How it ended, if that is known already.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *lock(&self.ended)
    }

    /// The same for [`Debug`](std::fmt::Debug), which never waits: a thread that a fork left behind
    /// can have the lock for ever. `None` as well while somebody has it.
    pub(super) fn ended_at_a_glance(&self) -> Option<ExitStatus> {
        self.ended.try_lock().ok().and_then(|ended| *ended)
    }

    /// Whether it is known that it has ended, and what it left behind is recovered.
    pub(crate) fn is_buried(&self) -> bool {
        self.end.is_set()
    }

    /// Reaps it if it has ended; whoever comes first does. Who hears of the end finds what it left
    /// behind recovered.
    pub(crate) fn try_reap(&self) -> Option<ExitStatus> {
        if self.generation != fork::generation() {
            return None;
        }
        let mut ended = lock(&self.ended);
        if let Some(status) = *ended {
            drop(ended);
            self.bury();
            return Some(status);
        }
        let status = match child::try_wait(self.pidfd.as_fd()) {
            Ok(Waited::Running) => return None,
            Ok(Waited::Ended(raw)) => ExitStatus::from_raw(raw),
            // An error here means that there is nothing to wait for.
            Ok(Waited::Lost) | Err(_) => ExitStatus::UNKNOWN,
        };
        *ended = Some(status);
        drop(ended);
        trace::note!(
            DEBUG,
            Ended {
                pid: self.pid,
                name: self.name.clone(),
                status: status.to_string(),
                lived: self.since.elapsed(),
            }
        );
        family().forget(self);
        self.bury();
        Some(status)
    }

    /// Recovers what it left behind, unless that is done. A thread that comes second does not wait
    /// for the first, which may be anywhere in here: it does the same, and goes on when every
    /// corpse is buried.
    fn bury(&self) {
        if !self.is_buried() {
            segment::recover_all();
            self.end.set();
        }
    }

    /// Where the monitor tells of its end.
    pub(crate) fn post(&self) -> Post<'_> {
        self.end.post(None)
    }

    /// Has the monitor watch it again, unless it has been reaped.
    pub(crate) fn watch_again(&self) {
        // Held over the watching: who reaps it sets this first, and unwatches after.
        let ended = lock(&self.ended);
        if ended.is_none()
            && let Ok(monitor) = family().monitor()
        {
            // It was watched before, so there is room for it.
            let _ = monitor.watch(self);
        }
    }

    pub(crate) fn signal(&self, signal: i32) -> std::io::Result<()> {
        match child::send_signal(self.pidfd.as_fd(), signal) {
            // It has ended and been reaped, which is what most signals are sent for.
            Err(cause) if cause.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
impl Child {
    /// What happens while another thread reaps it.
    pub(super) fn while_it_is_reaped<R>(&self, then: impl FnOnce() -> R) -> R {
        let _held = lock(&self.ended);
        then()
    }

    /// One that another thread has just reaped, and has not buried yet.
    pub(super) fn reaped() -> Self {
        let null = std::fs::File::open("/dev/null").unwrap();
        Self {
            key: 0,
            generation: fork::generation(),
            name: "reaped".to_owned(),
            pid: 0,
            pidfd: null.into(),
            is_daemon: false,
            is_visible: AtomicBool::new(true),
            ended: Mutex::new(Some(ExitStatus::UNKNOWN)),
            end: Event::new(),
            #[cfg(feature = "tracing")]
            since: std::time::Instant::now(),
        }
    }
}
