//! How a minder comes by its worker, and parts from one that is too old.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::sys::clock::Deadline;
use crate::trace;

use super::error::TaskError;
use super::hand::Hand;
use super::injector::Phase;
use super::minder::{GLANCE, Heard, Minder, ended};
use super::plan::Initial;
use super::shared::lock;
use super::wire;
use super::work::{End, Work};

/// How long who cannot start a worker leaves its order to others.
const PAUSE: Duration = Duration::from_millis(50);

impl Minder {
    /// Whether the worker is started when it is needed.
    pub(super) fn is_lazy(&self) -> bool {
        self.shared.plan.is_lazy
    }

    /// Starts the worker, and lets it run its initializer. There is none if that fails.
    pub(super) fn hire(&mut self) -> Result<(), TaskError> {
        trace::begin!(start);
        let hired = self.start();
        if hired.is_err() {
            self.bury();
        } else {
            trace::note!(
                DEBUG,
                Hired {
                    pool: self.shared.plan.name.clone(),
                    worker: self.index + 1,
                    pid: self.worker.as_ref().and_then(Hand::pid),
                    took: start.elapsed(),
                }
            );
        }
        hired
    }

    fn start(&mut self) -> Result<(), TaskError> {
        let worker = Hand::start(&self.shared.plan, self.index)?;
        let victim = worker.victim();
        *lock(&self.shared.victims[self.index]) = victim;
        if !self.shared.injector.phase().works() {
            // Nobody saw this one when all were killed.
            self.shared.kill_all();
        }
        self.worker = Some(worker);
        match &self.shared.plan.initializer {
            Some(initializer) => {
                let work = initializer.work();
                self.initialize(work)
            }
            None => Ok(()),
        }
    }

    fn initialize(&mut self, (work, outcome): Initial) -> Result<(), TaskError> {
        wire::mind(0, Arc::clone(&work));
        let limit = self.shared.plan.initializer_limit;
        let deadline = limit.map_or(Deadline::NEVER, Deadline::after);
        let sent = self.send(0, &work, limit);
        let heard = if sent.is_ok() { self.receive_first(deadline) } else { Heard::Death };
        wire::release(0);
        match (sent, heard) {
            (Err(error @ (TaskError::Error(_) | TaskError::TimedOut { .. })), _) => {
                return Err(error);
            }
            (_, Heard::Reply(_, verdict)) => {
                verdict.map(ended).into_iter().for_each(|end| work.end(end));
            }
            (_, Heard::Nothing) => {
                let phase = self.shared.injector.phase();
                let limit = limit.filter(|_| phase.works());
                return Err(
                    limit.map_or(self.shared.why(phase), |limit| TaskError::TimedOut { limit })
                );
            }
            (_, Heard::Death) => {
                let (pid, status, _) = self.bury();
                work.end(End::died(pid, status));
            }
        }
        outcome()
    }

    /// Waits for the reply to the first order, until the deadline or the end of the pool.
    fn receive_first(&mut self, deadline: Deadline) -> Heard {
        loop {
            let in_process = self.shared.plan.in_process;
            let left =
                if in_process { Some(deadline.left_at_most(GLANCE)) } else { deadline.left() };
            match self.receive(left) {
                Heard::Nothing if !deadline.is_past() && self.shared.injector.phase().works() => {}
                heard => return heard,
            }
        }
    }

    /// Starts a worker in the place of one that is gone, if somebody will need it. One that
    /// cannot be started is as good as dead; whether there can be any, who needs it finds out.
    pub(super) fn replace(&mut self) {
        let phase = self.shared.injector.phase();
        let is_likely = phase == Phase::Open && !self.is_lazy();
        let is_needed = is_likely || phase.works() && self.shared.injector.lengths().0 > 0;
        if is_needed && let Err(error) = self.hire() {
            self.shared.injector.count_restart();
            if !matches!(error, TaskError::Error(error) if may_pass(&error)) {
                self.has_died_too_often(false);
            }
        }
    }

    /// Does what is to be done where no worker can be started for an order. What may pass is not
    /// the end of the others: who has a worker does the order, and if nobody has one, it fails.
    pub(super) fn do_without(&mut self, work: Arc<dyn Work>, error: Error) {
        if !may_pass(&error) {
            trace::note!(
                WARN,
                GaveUp {
                    pool: self.shared.plan.name.clone(),
                    worker: self.index + 1,
                    reason: error.to_string(),
                }
            );
            self.shared.give_up(error);
            let error = self.shared.why(self.shared.injector.phase());
            return self.over(work, End::Failed(error));
        }
        if self.shared.pids().is_empty() {
            return self.over(work, End::Failed(error.into()));
        }
        self.put_back(vec![work]);
        thread::sleep(PAUSE);
    }

    /// Whether the worker has done its share with what it has now.
    pub(super) fn is_old_soon(&self) -> bool {
        let done = self.worker.as_ref().map_or(0, |worker| worker.done);
        let most = self.shared.plan.tasks_per_worker;
        most.is_some_and(|most| done + wire::minded().0 as u64 >= most.get())
    }

    /// Replaces a worker that has done its share, or has grown too large: the new one first.
    pub(super) fn renew_if_old(&mut self) {
        let Some(worker) = &self.worker else { return };
        let is_large =
            self.shared.plan.memory_per_worker.is_some_and(|most| most < worker.memory());
        if !is_large && !self.is_old_soon() {
            return;
        }
        let Some(old) = self.worker.take() else { return };
        *lock(&self.shared.victims[self.index]) = None;
        trace::note!(
            DEBUG,
            Gone {
                pool: self.shared.plan.name.clone(),
                worker: self.index + 1,
                pid: old.pid(),
                reason: if is_large { "too large" } else { "old" }.to_owned(),
            }
        );
        self.replace();
        old.dismiss();
    }

    pub(super) fn retire(mut self: Box<Self>) {
        *lock(&self.shared.victims[self.index]) = None;
        if let Some(worker) = self.worker.take() {
            worker.dismiss();
        }
    }
}

/// Whether a worker may be started later: somebody else had what there was of files, processes or
/// memory.
fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Limit | ErrorKind::Memory)
}
