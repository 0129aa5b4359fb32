//! Who gives orders to one worker, and takes its replies: a thread of the pool's process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::process::ExitStatus;
use crate::process::remote::Verdict;
use crate::trace;

use super::error::TaskError;
use super::giving::FAST;
use super::hand::Hand;
use super::injector::{Phase, Turn};
use super::shared::{Shared, lock};
use super::wire::{self, Minded, Reply};
use super::work::{End, Kill, Work, finish};

/// After this long nothing waits behind an order any more.
pub(super) const STUCK: Duration = Duration::from_millis(1);

/// How often who waits for a thread looks whether the pool has ended.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// A minder, and the worker that it has at the moment.
pub(super) struct Minder {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) worker: Option<Hand>,
    /// How long an order took, about.
    pub(super) pace: Duration,
    /// When the oldest order began.
    pub(super) began: Instant,
    /// What its worker had when that was lost to a borrower.
    pub(super) bereft: Minded,
}

impl Minder {
    pub(super) fn new(shared: &Arc<Shared>, index: usize) -> Self {
        let now = Instant::now();
        let shared = Arc::clone(shared);
        Self { shared, index, worker: None, pace: FAST, began: now, bereft: Vec::new() }
    }

    /// Gives orders and takes replies until there are no more.
    pub(super) fn run(self) {
        let shared = Arc::clone(&self.shared);
        let mut minder = Box::new(self);
        loop {
            let (woken, turn) = shared.injector.pop(minder);
            minder = woken;
            match turn {
                Turn::Serve(work) => minder.serve(work),
                Turn::Recover => minder.recover(),
                Turn::Retire => return minder.retire(),
            }
        }
    }

    /// Has an order done, and those that can be given ahead of time meanwhile.
    fn serve(&mut self, work: Arc<dyn Work>) {
        if work.is_cancelled() {
            return self.over(work, End::Failed(TaskError::Cancelled));
        }
        self.give(work);
        self.give_ahead();
        while wire::minded().0 > 0 {
            self.await_reply();
            self.give_ahead();
        }
        self.renew_if_old();
    }

    pub(super) fn receive(&mut self, limit: Option<Duration>) -> Heard {
        let Some(worker) = &mut self.worker else { return Heard::Death };
        let received = match limit {
            None => worker.connection.recv(),
            Some(limit) => worker.connection.recv_timeout(limit),
        };
        match received {
            Ok(Reply::In { number, verdict }) => Heard::Reply(number, verdict),
            Err(error) if error.is_timeout() => Heard::Nothing,
            // Whatever else: a worker that does not speak our language is of no use.
            Ok(Reply::Out { .. }) | Err(_) => Heard::Death,
        }
    }

    /// Takes the next reply, or finds that the worker is dead or too slow.
    fn await_reply(&mut self) {
        let limit = self.shared.plan.limit;
        let left = limit.map(|limit| limit.saturating_sub(self.began.elapsed()));
        let patience = if wire::minded().0 > 1 {
            Some(STUCK)
        } else if self.shared.plan.in_process {
            Some(left.map_or(GLANCE, |left| left.min(GLANCE)))
        } else {
            left
        };
        match self.receive(patience) {
            Heard::Reply(number, verdict) => {
                if !self.take_reply(number, verdict) {
                    self.lose(died);
                }
            }
            Heard::Nothing if patience != left => {
                self.take_back();
                // The worker may be a thread, which nobody can kill: it is left alone.
                if !self.shared.injector.phase().works() {
                    self.lose(|_, _| TaskError::Terminated);
                }
            }
            Heard::Nothing => {
                let limit = limit.unwrap_or_default();
                self.kill();
                self.lose(|_, _| TaskError::TimedOut { limit });
            }
            Heard::Death => self.lose(died),
        }
    }

    /// Ends the order that a reply is about. False if no worker that we can talk to says that.
    #[must_use]
    pub(super) fn take_reply(&mut self, number: u64, verdict: Option<Verdict>) -> bool {
        let end = verdict.map(ended);
        if end.is_some() != wire::is_minded(number) {
            // What it did was taken back from it, or it passes over what was not: its claim was
            // written over, and it cannot be told what to do any more.
            return false;
        }
        let (Some(work), Some(end)) = (wire::release(number), end) else { return true };
        work.is_with(None);
        self.pace = (self.pace * 7 + self.began.elapsed()) / 8;
        self.stand_still();
        if let Some(worker) = &mut self.worker {
            worker.has_done(number);
        }
        let end = if work.is_cancelled() { End::Failed(TaskError::Cancelled) } else { end };
        let is_condemned = self.is_condemned();
        if is_condemned {
            // It was cancelled when it was done. The worker is dead or dying.
            self.bury();
            if self.shared.injector.phase().works() {
                self.shared.injector.count_restart();
            }
        } else if let (_, Some(next)) = wire::minded() {
            self.begin(&next);
        }
        self.over(work, end);
        if is_condemned && wire::minded().0 == 0 {
            self.replace();
        }
        true
    }

    /// Has nothing wait behind an order that takes long: another worker may be idle.
    fn take_back(&mut self) {
        if let Some(worker) = &self.worker
            && wire::minded().0 > 1
        {
            let Ok(unbegun) = worker.take_back() else { return self.lose(died) };
            let orders = wire::release_from(unbegun);
            match wire::minded() {
                (1, Some(only)) => {
                    let victim = lock(&self.shared.victims[self.index]).clone();
                    only.is_with(victim.map(|victim| Arc::new(victim) as Arc<dyn Kill>));
                }
                (0, _) => self.stand_still(),
                _ => {}
            }
            self.put_back(orders);
        }
    }

    /// The worker is gone: what it had begun with it, the others go back into the line.
    pub(super) fn lose(&mut self, cause: impl Fn(u32, ExitStatus) -> TaskError) {
        let is_ours = self.is_condemned();
        self.kill();
        let (pid, status, unbegun) = self.bury();
        trace::note!(
            DEBUG,
            Gone {
                pool: self.shared.plan.name.clone(),
                worker: self.index + 1,
                pid: Some(pid).filter(|pid| *pid != std::process::id()),
                reason: if is_ours {
                    "its task was given up".to_owned()
                } else {
                    status.to_string()
                },
            }
        );
        self.stand_still();
        let mut orders = wire::release_from(unbegun);
        let mut lost = wire::release_all();
        if lost.is_empty() && orders.first().is_some_and(|work| !work.is_spared()) {
            lost.push(orders.remove(0));
        }
        if self.shared.injector.phase().works() {
            // Before anybody hears of it.
            self.shared.injector.count_restart();
        }
        let retries = self.shared.plan.retries;
        let mut again = Vec::new();
        lost.iter().chain(&orders).for_each(|work| work.is_with(None));
        for work in lost {
            let error = self.unwanted(&work).unwrap_or_else(|| cause(pid, status));
            if error.is_worker_dead() && work.is_retried(retries) {
                again.push(work);
            } else {
                self.over(work, End::Failed(error));
            }
        }
        again.append(&mut orders);
        self.put_back(again);
        if self.shared.injector.phase().works() && !self.has_died_too_often(is_ours) {
            self.replace();
        }
    }

    /// Puts orders that were not begun back into the line, or ends them with it.
    pub(super) fn put_back(&self, orders: Vec<Arc<dyn Work>>) {
        for work in self.shared.injector.put_back(orders) {
            self.shared.injector.discard(work, self.shared.why(self.shared.injector.phase()));
        }
    }

    /// Why nobody waits for an order any more.
    pub(super) fn unwanted(&self, work: &Arc<dyn Work>) -> Option<TaskError> {
        let phase = self.shared.injector.phase();
        if !phase.works() {
            return Some(self.shared.why(phase));
        }
        work.is_cancelled().then_some(TaskError::Cancelled)
    }

    /// Whether this death of a worker was one too many. One that `is_ours`, cancelled or timed out,
    /// says nothing about those that come after it.
    pub(super) fn has_died_too_often(&self, is_ours: bool) -> bool {
        let is_too_much = !is_ours && self.shared.is_too_much();
        if is_too_much {
            trace::note!(
                WARN,
                GaveUp {
                    pool: self.shared.plan.name.clone(),
                    worker: self.index + 1,
                    reason: "its workers die too often".to_owned(),
                }
            );
            self.shared.stop(Phase::Broken);
        }
        is_too_much
    }

    pub(super) fn over(&self, work: Arc<dyn Work>, end: End) {
        // Before anybody hears of it, so that who has the result finds it counted.
        self.shared.injector.over(matches!(end, End::Returned));
        finish(work, end);
    }

    /// An order is the oldest one of the worker from now on.
    pub(super) fn begin(&mut self, work: &Arc<dyn Work>) {
        self.began = Instant::now();
        lock(&self.shared.busy[self.index]).since = Some(self.began);
        let victim = lock(&self.shared.victims[self.index]).clone();
        let victim = victim.filter(|_| wire::minded().0 == 1);
        work.is_with(victim.map(|victim| Arc::new(victim) as Arc<dyn Kill>));
    }

    /// Whether the worker was killed for the sake of an order that it has, or had.
    pub(super) fn is_condemned(&self) -> bool {
        let victim = lock(&self.shared.victims[self.index]).clone();
        victim.is_some_and(|victim| victim.is_condemned())
    }

    pub(super) fn stand_still(&self) {
        let mut busy = lock(&self.shared.busy[self.index]);
        if let Some(since) = busy.since.take() {
            busy.total += since.elapsed();
        }
    }

    pub(super) fn kill(&self) {
        if let Some(victim) = &*lock(&self.shared.victims[self.index]) {
            victim.kill();
        }
    }

    /// Waits for the end of a worker that is dead or dying: who it was, how it ended, and the
    /// number of the first order that it had not begun.
    pub(super) fn bury(&mut self) -> (u32, ExitStatus, u64) {
        *lock(&self.shared.victims[self.index]) = None;
        match self.worker.take() {
            Some(worker) => worker.wait(),
            None => (0, ExitStatus::UNKNOWN, u64::MAX),
        }
    }
}

/// What a minder hears of its worker.
pub(super) enum Heard {
    Reply(u64, Option<Verdict>),
    Nothing,
    Death,
}

/// What became of an order that a worker did.
pub(super) fn ended(verdict: Verdict) -> End {
    match verdict {
        Verdict::Returned => End::Returned,
        Verdict::Panicked(panic) => End::panicked(panic),
        Verdict::Failed(error) => End::Failed(error.into()),
    }
}

pub(super) fn died(pid: u32, status: ExitStatus) -> TaskError {
    TaskError::WorkerDied { pid, status }
}

/// A worker that was found dead before it got its order.
pub(super) fn dead() -> TaskError {
    TaskError::WorkerDied { pid: 0, status: ExitStatus::UNKNOWN }
}
