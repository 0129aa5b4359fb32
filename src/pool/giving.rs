//! How a minder gives orders to its worker: one at a time, and to a fast one ahead of time.

use std::sync::Arc;
use std::time::Duration;

use super::error::TaskError;
use super::minder::{Minder, STUCK, dead, died};
use super::plan::Plan;
use super::wire::{self, Order, not_sent};
use super::work::{End, Work};

/// A worker that is so fast gets its next order before it has asked.
pub(super) const FAST: Duration = Duration::from_micros(200);

/// So many orders a fast worker has at the most.
const AHEAD: usize = 8;

impl Minder {
    /// Gives the worker, which has none, an order; starts the worker if there is none.
    pub(super) fn give(&mut self, work: Arc<dyn Work>) {
        // Bounded by the restart intensity.
        loop {
            if self.worker.is_none()
                && let Err(error) = self.hire()
            {
                if let Some(error) = self.unwanted(&work) {
                    return self.over(work, End::Failed(error));
                }
                let error = match error {
                    TaskError::Error(error) => return self.do_without(work, error),
                    failed => failed,
                };
                // The initializer has failed where it had done well before.
                self.shared.injector.count_restart();
                if self.has_died_too_often(false) {
                    return self.over(work, End::Failed(error));
                }
                continue;
            }
            let Some(worker) = &mut self.worker else { continue };
            let number = worker.number();
            wire::mind(number, Arc::clone(&work));
            self.begin(&work);
            match self.send(number, &work, self.shared.plan.limit) {
                Ok(()) => return,
                // Before it has read the order, or of it.
                Err(TaskError::WorkerDied { .. }) => return self.lose(died),
                // It does not read.
                Err(TaskError::TimedOut { limit }) => {
                    self.kill();
                    return self.lose(|_, _| TaskError::TimedOut { limit });
                }
                Err(error) => {
                    wire::release(number);
                    self.stand_still();
                    work.is_with(None);
                    return self.over(work, End::Failed(error));
                }
            }
        }
    }

    /// Gives a fast worker orders ahead of time, while more wait than others could take.
    pub(super) fn give_ahead(&mut self) {
        while self.pace < FAST && (1..AHEAD).contains(&wire::minded().0) {
            let is_slow = self.began.elapsed() >= STUCK;
            let Plan { limit, memory_per_worker, .. } = &self.shared.plan;
            // How large the worker is, is seen when it has nothing to do.
            let is_one_by_one = limit.is_some() || memory_per_worker.is_some();
            if is_slow || is_one_by_one || self.is_old_soon() {
                return;
            }
            let Some(work) = self.shared.injector.pop_spare(self.shared.plan.workers) else {
                return;
            };
            if let (1, Some(only)) = wire::minded() {
                // A worker that has more than one cannot be killed for one of them.
                only.is_with(None);
                if self.is_condemned() {
                    return self.put_back(vec![work]);
                }
            }
            if work.is_cancelled() {
                self.over(work, End::Failed(TaskError::Cancelled));
            } else if !self.give_unless_full(work) {
                return;
            }
        }
    }

    /// Gives the worker one order more, if it fits into the pipe: a worker that is about to send a
    /// long reply must not be waited for. False if it was not given.
    pub(super) fn give_unless_full(&mut self, work: Arc<dyn Work>) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let number = worker.number();
        wire::mind(number, Arc::clone(&work));
        let Err(refused) = worker.connection.try_send(Order::Out { number, work }) else {
            return true;
        };
        let Order::Out { work, .. } = refused.into_inner() else { return false };
        // Why, is found out when it is its turn.
        wire::release(number);
        self.put_back(vec![work]);
        false
    }

    /// Sends an order; within `limit`, if there is one.
    pub(super) fn send(
        &mut self,
        number: u64,
        work: &Arc<dyn Work>,
        limit: Option<Duration>,
    ) -> Result<(), TaskError> {
        let Some(worker) = &mut self.worker else { return Err(dead()) };
        let order = Order::Out { number, work: Arc::clone(work) };
        let sent = match limit {
            None => worker.connection.send(order),
            Some(limit) => worker.connection.send_timeout(order, limit),
        };
        let Err(refused) = sent else { return Ok(()) };
        match (refused.error(), limit) {
            (Some(error), _) => Err(not_sent(error).into()),
            (None, Some(limit)) if refused.is_timeout() => Err(TaskError::TimedOut { limit }),
            (None, _) => Err(dead()),
        }
    }
}
