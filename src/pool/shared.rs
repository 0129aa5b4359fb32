//! What the threads of a pool share: the plan, the line, and whom to kill.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::process::family::Child;
use crate::sys::task;

use super::builder::Plan;
use super::error::TaskError;
use super::injector::{Injector, Phase};
pub(super) use super::signal::lock;
use super::work::{End, Kill, finish};

/// Which of the pools that this process has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(usize);

thread_local! {
    /// The pool that this thread is a minder of.
    static MINDS: Cell<Option<Identity>> = const { Cell::new(None) };
}

impl Identity {
    pub(super) fn new() -> Self {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: a number that nobody else has.
        Self(POOLS.fetch_add(1, Ordering::Relaxed))
    }

    /// This thread is a minder of this pool, for good.
    pub(super) fn mind(self) {
        MINDS.set(Some(self));
    }

    /// Whether this thread is a minder of this pool, and so runs a callback of one of its tasks:
    /// it must not wait for what it may have to do itself.
    pub(super) fn is_minded_here(self) -> bool {
        MINDS.get() == Some(self)
    }
}

/// What all minders of a pool share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) plan: Plan,
    pub(super) injector: Injector,
    /// The process of each worker, to be killed.
    pub(super) victims: Vec<Mutex<Option<Victim>>>,
    /// How long each worker was at work.
    pub(super) busy: Vec<Mutex<Busy>>,
    /// When workers were replaced because they died, the latest last.
    deaths: Mutex<Vec<Instant>>,
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
    pub(super) fn new(plan: Plan) -> Self {
        let workers = plan.workers;
        Self {
            identity: Identity::new(),
            injector: Injector::new(workers, plan.queue_bound),
            plan,
            victims: (0..workers).map(|_| Mutex::default()).collect(),
            busy: (0..workers).map(|_| Mutex::default()).collect(),
            deaths: Mutex::default(),
        }
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
        for work in self.injector.enter(phase) {
            finish(work, End::Failed(why(phase)));
        }
        self.kill_all();
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

/// Why a task ended that the pool did not get to.
pub(super) fn why(phase: Phase) -> TaskError {
    match phase {
        Phase::Interrupted => TaskError::Interrupted,
        Phase::Broken => {
            let what = "the workers of a pool die as fast as they are started";
            TaskError::Error(Error::new(ErrorKind::Worker, what))
        }
        _ => TaskError::Terminated,
    }
}
