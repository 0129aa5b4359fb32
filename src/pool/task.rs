//! A task, as whoever submitted it sees it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::raw::wait_many::{Post, Watched};
use crate::sys::clock::Deadline;

use super::error::TaskError;
use super::lending::{self, Beacon};
use super::outcome::{Core, Phase, State, call, taken};
use super::shared::lock;
use super::signal;

/// The result of a task that may still be on its way.
///
/// Dropping it does not cancel the task. A task can be awaited, by any executor.
///
/// # Examples
/// ```
/// use multiproc::Pool;
///
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = Pool::new(2)?;
/// let tasks: Vec<_> = (0..4).map(|n| pool.submit(double, n)).collect::<Result<_, _>>()?;
/// for (n, task) in tasks.into_iter().enumerate() {
///     assert_eq!(task.get()?, 2 * n as u32);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "AsyncResult")]
#[doc(alias = "Future")]
#[must_use = "only its task knows what a submitted function returned"]
pub struct Task<R> {
    core: Arc<Core<R>>,
}

impl<R> Task<R> {
    pub(super) fn new(core: Arc<Core<R>>) -> Self {
        Self { core }
    }

    /// Waits for the end of the task, and gives what its function returned.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// assert_eq!(pool.submit(u32::count_ones, 7)?.get()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - A [`TaskError`] if the function did not return, or its result did not arrive.
    /// - [`Misuse`](crate::ErrorKind::Misuse) in a callback of a task of the same pool, see
    ///   [`on_done`](Self::on_done), if this one is not over.
    /// - [`Forked`](crate::ErrorKind::Forked) in a process that was forked from that of the pool,
    ///   if the task was not over then.
    #[doc(alias = "result")]
    pub fn get(self) -> Result<R, TaskError> {
        self.reclaim();
        let is_over = self.wait_until(Deadline::NEVER);
        if !is_over {
            self.core.pool.may_wait()?;
        }
        lock(&self.core.state).take().unwrap_or_else(|| Err(taken()))
    }

    /// The task is one order of this pool, by which it can be cancelled.
    pub(super) fn of(self, pool: &Beacon) -> Self {
        *lock(&self.core.beacon) = Some(Arc::clone(pool));
        self
    }

    /// Does the part of the pool, if nobody has begun, and no callback is to be called.
    fn reclaim(&self) {
        let state = lock(&self.core.state);
        let is_open = matches!(state.phase, Phase::Open) && state.callbacks.is_empty();
        drop(state);
        if !is_open || self.core.pool.may_wait().is_err() {
            return;
        }
        let Some(pool) = lock(&self.core.beacon).take() else { return };
        let order = lock(&self.core.cancel).clone();
        if let Some(order) = order {
            lending::reclaim(&pool, order.as_ptr().cast());
        }
    }

    /// Waits for the end of the task, but not longer than `timeout`; `None` if it is not over.
    ///
    /// The result can be had once.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let mut task = pool.submit(park, ())?;
    /// assert!(task.get_timeout(Duration::from_millis(10))?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Option<R>, TaskError> {
        if !self.wait_until(Deadline::after(timeout)) {
            return Ok(None);
        }
        lock(&self.core.state).take().unwrap_or_else(|| Err(taken())).map(Some)
    }

    /// Waits for the end of the task, whatever it is.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(u32::count_ones, 7)?;
    /// task.wait();
    /// assert!(task.is_ready());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Panics
    /// Where [`get`](Self::get) says that this would never end.
    pub fn wait(&self) {
        if !self.wait_until(Deadline::NEVER)
            && let Err(error) = self.core.pool.may_wait()
        {
            panic!("{error}");
        }
    }

    /// Waits for the end of the task, but not longer than `timeout`. Whether it is over.
    ///
    /// A timeout that is for ever is over at once where [`get`](Self::get) would never end.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(park, ())?;
    /// assert!(!task.wait_timeout(Duration::from_millis(10)));
    /// task.cancel();
    /// assert!(task.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::after(timeout))
    }

    /// Whether to wait for it may never end here.
    pub(super) fn is_waited_for_in_vain(&self) -> bool {
        self.core.pool.may_wait().is_err()
    }

    /// Whether the task is over, by then. Does not wait for ever where that is in vain.
    pub(super) fn wait_until(&self, deadline: Deadline) -> bool {
        let is_futile = deadline.left().is_none() && self.is_waited_for_in_vain();
        let deadline = if is_futile { Deadline::after(Duration::ZERO) } else { deadline };
        let mut state = signal::linger(&self.core.state, deadline, State::is_over);
        while !state.is_over() {
            if deadline.is_past() {
                return false;
            }
            state = self.core.changed.wait(state, deadline);
        }
        true
    }

    /// Whether the task is over, so that [`get`](Self::get) does not wait.
    ///
    /// # Examples
    /// ```
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(park, ())?;
    /// assert!(!task.is_ready());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "ready")]
    #[doc(alias = "done")]
    pub fn is_ready(&self) -> bool {
        lock(&self.core.state).is_over()
    }

    /// Whether the task is over and its function has returned.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// fn fail(_: ()) {
    ///     panic!("out of cheese");
    /// }
    /// let task = pool.submit(fail, ())?;
    /// task.wait();
    /// assert!(task.is_ready() && !task.is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "successful")]
    pub fn is_ok(&self) -> bool {
        self.is_ready() && lock(&self.core.state).succeeded
    }

    /// Cancels the task: one that has not begun never does; of one that runs, the worker is killed,
    /// and another one takes its place. False if the task was over already.
    ///
    /// A task that was cancelled ends with [`TaskError::Cancelled`].
    ///
    /// # Examples
    /// ```
    /// # use multiproc::TaskError;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(park, ())?;
    /// assert!(task.cancel());
    /// assert!(matches!(task.get(), Err(TaskError::Cancelled)));
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3); // by another worker
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let cancel = lock(&self.core.cancel).as_ref().and_then(Weak::upgrade);
        cancel.is_some_and(|cancel| cancel.cancel())
    }

    /// Has `callback` called with the outcome when the task ends, or at once if it has ended. No
    /// lock is held meanwhile; a panic in it is caught and forgotten.
    ///
    /// The thread is one of the pool, or that of whoever ends the task: by
    /// [`cancel`](Self::cancel), by the end of the pool, or by this call. What is cancelled or
    /// ended is stopped before.
    ///
    /// It comes before anybody gets the result, so it should be short, and cannot wait for other
    /// tasks of the pool: it may be in the thread that would serve them. [`get`](Self::get) and its
    /// kin say so there, instead of waiting for ever. If somebody has the result already, see
    /// [`get_timeout`](Self::get_timeout), it is shown an error that says so.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let (ready, outcome) = std::sync::mpsc::channel();
    /// let task = pool.submit(u32::count_ones, 7)?;
    /// task.on_done(move |ones| ready.send(*ones.as_ref().unwrap()).unwrap());
    /// assert_eq!(outcome.recv().unwrap(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "error_callback")]
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(&Result<R, TaskError>) + Send + 'static) {
        let mut state = lock(&self.core.state);
        if let Phase::Taken = state.phase {
            drop(state);
            call(Box::new(callback), &Err(taken()));
            return;
        }
        state.callbacks.push(Box::new(callback));
        if let Phase::Over(_) = state.phase
            && let Phase::Over(outcome) = std::mem::replace(&mut state.phase, Phase::Shown)
        {
            drop(state);
            self.core.show(outcome);
        }
    }

    /// The task, for one who waits for its end.
    pub(crate) fn watched(&mut self) -> &mut dyn Watched {
        lock(&self.core.state).is_watched = true;
        self
    }
}

impl<R> Watched for Task<R> {
    fn post(&self) -> Post<'_> {
        self.core.end.post(None)
    }

    fn is_ready(&mut self) -> bool {
        Self::is_ready(self) || self.is_waited_for_in_vain()
    }

    fn suspect(&mut self) {
        // The pool minds its workers.
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// A task that is awaited.
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(1)?;
/// use std::future::IntoFuture;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let task = pool.submit(u32::count_ones, 7)?;
/// task.wait();
/// let mut future = pin!(task.into_future()); // in an async function: task.await
/// let Poll::Ready(ones) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
///     unreachable!("the task is over");
/// };
/// assert_eq!(ones?, 3);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
pub struct TaskFuture<R> {
    task: Option<Task<R>>,
}

impl<R> IntoFuture for Task<R> {
    type Output = Result<R, TaskError>;
    type IntoFuture = TaskFuture<R>;

    fn into_future(self) -> TaskFuture<R> {
        TaskFuture { task: Some(self) }
    }
}

impl<R> Future for TaskFuture<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &self.task else { return Poll::Ready(Err(taken())) };
        // A waker is the user's: it is cloned and dropped outside of the lock.
        let waker = context.waker().clone();
        let mut state = lock(&task.core.state);
        if let Some(outcome) = state.take() {
            drop(state);
            self.task = None;
            return Poll::Ready(outcome);
        }
        let earlier = state.waker.replace(waker);
        drop(state);
        drop(earlier);
        Poll::Pending
    }
}
