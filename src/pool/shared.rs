//! What the threads of a pool share: the plan, the line, and whom to kill.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::process::family::Child;
use crate::sys::{fork, task};

use super::error::TaskError;
use super::injector::{Injector, Phase};
use super::lending::Beacon;
use super::plan::Plan;
use super::work::Kill;
pub(super) use crate::shim::lock;

/// Which of the pools that this process has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    number: usize,
    /// Of the process that made it; a copy in a process forked from it has no threads.
    generation: u32,
}

thread_local! {
    /// The pools that this thread does something for at the moment, the latest last, and whether
    /// it has borrowed a minder for that.
    static SERVED: RefCell<Vec<(Identity, bool)>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread does something for a pool.
pub(super) struct Serving(PhantomData<*const ()>);

impl Drop for Serving {
    fn drop(&mut self) {
        // A thread that is about to end may have no such list any more.
        let _ = SERVED.try_with(|served| served.borrow_mut().pop());
    }
}

impl Identity {
    pub(super) fn new() -> Self {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: a number that nobody else has.
        let number = POOLS.fetch_add(1, Ordering::Relaxed);
        Self { number, generation: fork::generation() }
    }

    /// This thread does the pool's part from now on: as its minder, or with what is the user's in
    /// its hands. To be dropped in the reverse order.
    pub(super) fn serve(self) -> Serving {
        let _ = SERVED.try_with(|served| served.borrow_mut().push((self, false)));
        Serving(PhantomData)
    }

    /// As [`serve`](Self::serve), with a minder that is somebody else's.
    pub(super) fn borrow(self) -> Serving {
        let _ = SERVED.try_with(|served| served.borrow_mut().push((self, true)));
        Serving(PhantomData)
    }

    /// Whether this thread has borrowed a minder of the pool, whose own thread waits for it.
    pub(super) fn is_borrowed_here(self) -> bool {
        SERVED.try_with(|served| served.borrow().contains(&(self, true))).unwrap_or(false)
    }

    /// Whether this thread does the pool's part, and so is in a callback of one of its tasks: it
    /// must not wait for what it may have to do itself.
    pub(super) fn is_served_here(self) -> bool {
        SERVED
            .try_with(|served| served.borrow().iter().any(|(known, _)| *known == self))
            .unwrap_or(false)
    }

    /// Whether this is the process of the pool, and not one that was forked from it.
    pub(super) fn check_is_ours(self) -> Result<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(forked()) }
    }

    /// Whether this thread may wait for a task as long as it takes.
    pub(super) fn may_wait(self) -> Result<()> {
        self.check_is_ours()?;
        if self.is_served_here() { Err(in_a_callback()) } else { Ok(()) }
    }
}

#[cold]
fn forked() -> Error {
    let what = "use a pool, which belongs to the process that this one was forked from";
    Error::new(ErrorKind::Forked, what)
}

#[cold]
fn in_a_callback() -> Error {
    let what = "wait in a callback of a pool for another task of it, which may never be done";
    Error::new(ErrorKind::Misuse, what)
}

/// What all minders of a pool share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) beacon: Beacon,
    pub(super) plan: Plan,
    pub(super) injector: Injector,
    /// The process of each worker, to be killed.
    pub(super) victims: Vec<Mutex<Option<Victim>>>,
    /// How long each worker was at work.
    pub(super) busy: Vec<Mutex<Busy>>,
    /// When workers were replaced because they died, the latest last.
    deaths: Mutex<Vec<Instant>>,
    /// Why no worker can be started, if that was the end of the pool.
    cause: OnceLock<Arc<Error>>,
}

/// How long a worker was at work, and since when it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    pub(super) total: Duration,
    pub(super) since: Option<Instant>,
}

/// A worker's process, as somebody who can be killed.
#[derive(Clone)]
pub(super) struct Victim {
    child: Arc<Child>,
    /// Whether it was: then it gets no more orders, even if it seems to be well.
    is_condemned: Arc<AtomicBool>,
}

impl Victim {
    pub(super) fn new(child: Arc<Child>) -> Self {
        Self { child, is_condemned: Arc::default() }
    }

    /// Whether somebody has killed it.
    pub(super) fn is_condemned(&self) -> bool {
        // Relaxed: see `kill`.
        self.is_condemned.load(Ordering::Relaxed)
    }
}

impl Kill for Victim {
    fn kill(&self) {
        // Relaxed: who gives it its next order has been at the leash of the last one, see `Leash`.
        self.is_condemned.store(true, Ordering::Relaxed);
        let _ = self.child.signal(task::KILL);
    }
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let workers = plan.workers;
        Arc::new_cyclic(|this| Self {
            beacon: Arc::new(Weak::clone(this)),
            identity: Identity::new(),
            injector: Injector::new(workers, plan.queue_bound),
            plan,
            victims: (0..workers).map(|_| Mutex::default()).collect(),
            busy: (0..workers).map(|_| Mutex::default()).collect(),
            deaths: Mutex::default(),
            cause: OnceLock::new(),
        })
    }

    /// Kills every worker: for those whose work is not wanted any more.
    pub(super) fn kill_all(&self) {
        for victim in &self.victims {
            if let Some(victim) = lock(victim).clone() {
                victim.kill();
            }
        }
    }

    /// Ends everything that is not done.
    pub(super) fn stop(&self, phase: Phase) {
        // Each of them may be what the callback of another one would wait for.
        let _serving = self.identity.serve();
        let waiting = self.injector.enter(phase);
        // Before callbacks, which may take their time.
        self.kill_all();
        for work in waiting {
            self.injector.discard(work, self.why(phase));
        }
    }

    /// Ends everything, as no worker can be started.
    pub(super) fn give_up(&self, error: Error) {
        let _ = self.cause.set(Arc::new(error));
        self.stop(Phase::Broken);
    }

    /// Why a task ended that the pool did not get to.
    #[cold]
    pub(super) fn why(&self, phase: Phase) -> TaskError {
        match (phase, self.cause.get()) {
            (Phase::Interrupted, _) => TaskError::Interrupted,
            (Phase::Broken, Some(cause)) => {
                let what = "the pool has ended, as it cannot start a worker";
                TaskError::Error(Error::new(cause.kind(), what).because(Arc::clone(cause)))
            }
            (Phase::Broken, None) => {
                let what = "the workers of a pool die as fast as they are started";
                TaskError::Error(Error::new(ErrorKind::Worker, what))
            }
            _ => TaskError::Terminated,
        }
    }

    /// The processes of the workers that there are.
    pub(super) fn pids(&self) -> Vec<u32> {
        let victims = self.victims.iter().filter_map(|victim| lock(victim).clone());
        victims.map(|victim| victim.child.pid).collect()
    }

    /// How long each worker was at work.
    pub(super) fn busy(&self) -> Vec<Busy> {
        self.busy.iter().map(|busy| *lock(busy)).collect()
    }

    /// Whether workers die faster than the pool puts up with.
    pub(super) fn is_too_much(&self) -> bool {
        let (most, period) = self.plan.intensity;
        let mut deaths = lock(&self.deaths);
        let now = Instant::now();
        deaths.retain(|death| now.duration_since(*death) < period);
        deaths.push(now);
        deaths.len() > most
    }
}
