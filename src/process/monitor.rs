//! The one thread that a process with children has for them.
//!
//! It makes everything that is made by exec, because the kernel ties a child's life to the *thread*
//! that made it (prctl(2), `PR_SET_PDEATHSIG`), and this thread lives as long as the process. And
//! it hears of the end of every child, so that none stays a zombie, joined or not.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, mpsc};

use super::family::{Child, Family};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::lock;
use crate::sys::epoll::{BELL, Watch};
use crate::sys::task;

/// Enough for what runs on it: system calls, and the recovery of shared memory.
const STACK: usize = 256 << 10;

type Order = Box<dyn FnOnce() + Send>;

/// The outside of the thread.
#[derive(Debug)]
pub(crate) struct Monitor {
    watch: Watch,
    orders: Mutex<Orders>,
}

/// What is to be run on the thread; `None` when it is there no more.
struct Orders(Option<Vec<Order>>);

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} orders", self.0.as_ref().map_or(0, Vec::len))
    }
}

impl Family {
    /// The monitor of this process; the first call starts it.
    pub(crate) fn monitor(&'static self) -> Result<Arc<Monitor>> {
        let mut place = lock(&self.monitor);
        if let Some(monitor) = place.as_ref() {
            return Ok(Arc::clone(monitor));
        }
        let what = || "start the thread that watches child processes".to_owned();
        let watch = Watch::new().context(what)?;
        let monitor = Arc::new(Monitor { watch, orders: Mutex::new(Orders(Some(Vec::new()))) });
        let inside = Arc::clone(&monitor);
        std::thread::Builder::new()
            .name("multiproc-monitor".to_owned())
            .stack_size(STACK)
            .spawn(move || inside.run(self))
            .context(what)?;
        *place = Some(Arc::clone(&monitor));
        Ok(monitor)
    }
}

impl Monitor {
    /// Hears of the child's end from now on.
    pub(crate) fn watch(&self, child: &Child) -> Result<()> {
        self.watch.add(child.pidfd.as_fd(), child.key()).context(|| format!("watch {}", child.name))
    }

    /// Leaves the child's end to somebody else.
    pub(crate) fn unwatch(&self, child: &Child) {
        self.watch.remove(child.pidfd.as_fd());
    }

    /// Runs something on the monitor's thread and waits for what comes of it.
    pub(crate) fn run_there<T, F>(&self, what: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = mpsc::sync_channel(1);
        let order = move || {
            // The asker waits for this and for nothing else; it cannot be gone.
            let _ = reply.send(what());
        };
        let what = "ask the thread that watches child processes";
        self.order(Box::new(order)).context(|| what.to_owned())?;
        answer.recv().map_err(|cause| Error::new(ErrorKind::Spawn, what).because(cause))
    }

    /// Leaves an order for the thread. Whoever closes files that are not its own may have closed
    /// those by which it hears of any.
    fn order(&self, order: Order) -> io::Result<()> {
        let mut orders = lock(&self.orders);
        let list = orders.0.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        list.push(order);
        let rung = self.watch.ring();
        if rung.is_err() {
            list.pop();
        }
        rung
    }

    /// This is the copy of the thread's outside in a forked process, which has no such thread.
    pub(crate) fn abandon(self: Arc<Self>) {
        self.watch.abandon();
        // The thread's own reference is gone with it, so this is never dropped.
        std::mem::forget(self);
    }

    fn run(&self, family: &Family) {
        // Signals of the program's are for the program's own threads.
        let _ = task::replace_signal_mask(task::EVERY_PROGRAM_SIGNAL);
        loop {
            let heard = self.watch.wait(|key| match key {
                BELL => self.obey(),
                key => {
                    if let Some(child) = family.child(key) {
                        child.try_reap();
                    }
                }
            });
            if heard.is_err() {
                // Only a set that somebody else has closed can do that, and there would be no end
                // to it.
                lock(&self.orders).0 = None;
                return;
            }
        }
    }

    fn obey(&self) {
        let orders = lock(&self.orders).0.as_mut().map(std::mem::take);
        for order in orders.into_iter().flatten() {
            order();
        }
    }
}
