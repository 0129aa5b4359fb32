//! How a task ends: once, for its callbacks first, and then for those who wait.

use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use crate::error::{Error, ErrorKind};
use crate::raw::event::Event;

use super::error::TaskError;
use super::lending::Beacon;
use super::shared::{Identity, lock};
use super::signal::Signal;
use super::work::{Cancel, quietly};

/// What came of a task.
pub(super) type Outcome<R> = Result<R, TaskError>;

pub(super) type Callback<R> = Box<dyn FnOnce(&Outcome<R>) + Send>;

/// What a task's owner and its pool have in common.
pub(super) struct Core<R> {
    pub(super) state: Mutex<State<R>>,
    pub(super) changed: Signal,
    /// Set when it is over, if it is watched.
    pub(super) end: Event,
    pub(super) cancel: Mutex<Option<Weak<dyn Cancel>>>,
    /// Where whoever waits for it can do the pool's part.
    pub(super) beacon: Mutex<Option<Beacon>>,
    pub(super) pool: Identity,
}

pub(super) struct State<R> {
    pub(super) phase: Phase<R>,
    pub(super) succeeded: bool,
    pub(super) callbacks: Vec<Callback<R>>,
    pub(super) waker: Option<Waker>,
    /// Whether somebody waits for it among other things.
    pub(super) is_watched: bool,
}

pub(super) enum Phase<R> {
    /// The task is not over.
    Open,
    /// It is over, and callbacks look at the outcome.
    Shown,
    /// It is over.
    Over(Outcome<R>),
    /// It is over, and somebody has the outcome.
    Taken,
}

impl<R> Core<R> {
    /// A task of this pool.
    pub(super) fn new(pool: Identity) -> Arc<Self> {
        let state = State {
            phase: Phase::Open,
            succeeded: false,
            callbacks: Vec::new(),
            waker: None,
            is_watched: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Signal::new(),
            end: Event::new(),
            cancel: Mutex::new(None),
            beacon: Mutex::new(None),
            pool,
        })
    }

    /// By whom the task can be cancelled.
    pub(super) fn cancelled_by(&self, cancel: Weak<dyn Cancel>) {
        *lock(&self.cancel) = Some(cancel);
    }

    /// The end of the task. Only the first one counts; whether this was it.
    pub(super) fn settle(&self, outcome: Outcome<R>) -> bool {
        self.settle_after(outcome, || {})
    }

    /// The end of a task that is cancelled. What `pull` stops is stopped before callbacks run,
    /// which may take their time.
    pub(super) fn cancel(&self, pull: impl FnOnce()) -> bool {
        self.settle_after(Err(TaskError::Cancelled), pull)
    }

    pub(super) fn settle_after(&self, outcome: Outcome<R>, act: impl FnOnce()) -> bool {
        let mut state = lock(&self.state);
        let is_first = matches!(state.phase, Phase::Open);
        if is_first {
            state.succeeded = outcome.is_ok();
            state.phase = Phase::Shown;
            drop(state);
            act();
            self.show(outcome);
        }
        is_first
    }

    /// Shows the outcome to the callbacks, outside of the lock, and then to those who wait.
    pub(super) fn show(&self, outcome: Outcome<R>) {
        loop {
            let mut state = lock(&self.state);
            let callbacks = std::mem::take(&mut state.callbacks);
            if callbacks.is_empty() {
                state.phase = Phase::Over(outcome);
                let (waker, is_watched) = (state.waker.take(), state.is_watched);
                drop(state);
                self.changed.notify_all();
                if is_watched {
                    self.end.set();
                }
                waker.into_iter().for_each(Waker::wake);
                return;
            }
            drop(state);
            let _serving = self.pool.serve();
            callbacks.into_iter().for_each(|callback| call(callback, &outcome));
        }
    }
}

impl<R> State<R> {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_) | Phase::Taken)
    }

    /// The outcome, if it is there; once.
    pub(super) fn take(&mut self) -> Option<Outcome<R>> {
        match std::mem::replace(&mut self.phase, Phase::Taken) {
            Phase::Over(outcome) => Some(outcome),
            Phase::Taken => Some(Err(taken())),
            other => {
                self.phase = other;
                None
            }
        }
    }
}

/// A callback's panic is its own affair.
pub(super) fn call<R>(callback: Callback<R>, outcome: &Outcome<R>) {
    quietly(|| callback(outcome));
}

#[cold]
pub(super) fn taken() -> TaskError {
    Error::new(ErrorKind::Misuse, "the result of a task was taken already").into()
}
