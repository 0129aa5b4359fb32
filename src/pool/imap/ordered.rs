//! Results in the order of the inputs.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pool::error::TaskError;
use crate::pool::task::Task;
use crate::sys::clock::Deadline;

use super::{Source, patience, plus};

/// Results in the order of the inputs; made by [`Pool::imap`](crate::Pool::imap).
///
/// Dropped, it cancels what nobody will ask for.
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(1)?;
/// let mut ones = pool.imap(u32::count_ones, 0..);
/// assert_eq!(ones.next().unwrap()?, 0);
/// assert_eq!(ones.nth(6).unwrap()?, 3); // of 7
/// // What else was begun is cancelled here.
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "nothing is done before a result is asked for"]
pub struct Imap<'a, A, R, I> {
    source: Source<'a, A, R, I>,
    window: usize,
    tasks: VecDeque<Result<Task<R>, TaskError>>,
}

impl<'a, A, R, I> Imap<'a, A, R, I> {
    pub(super) fn new(source: Source<'a, A, R, I>, window: usize) -> Self {
        Self { source, window, tasks: VecDeque::new() }
    }
}

impl<A, R, I> Imap<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    /// Takes so many inputs ahead of the results that were asked for. At least one.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let inputs = std::cell::Cell::new(0);
    /// let mut ones = pool.imap(u32::count_ones, (0..100).inspect(|_| inputs.update(|n| n + 1)));
    /// ones = ones.window(10);
    /// assert_eq!(ones.next().unwrap()?, 0);
    /// assert!(inputs.get() <= 11);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn window(mut self, most: usize) -> Self {
        self.window = most.max(1);
        self
    }

    fn fill(&mut self, deadline: Deadline) {
        while self.tasks.len() < self.window
            && let Some(task) = self.source.next_until(patience(self.tasks.len(), deadline))
        {
            self.tasks.push_back(task);
        }
    }

    /// The next result, if it comes before `timeout` is over. How long the inputs take to be made
    /// is their own affair.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::TaskError;
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let mut results = pool.imap(park, [()]);
    /// let result = results.next_timeout(Duration::from_millis(10));
    /// assert!(matches!(result, Some(Err(TaskError::TimedOut { .. }))));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](TaskError::TimedOut) if it does not; it can be asked for again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        let deadline = Deadline::after(timeout);
        self.fill(deadline);
        let is_ready = match self.tasks.front() {
            Some(Ok(task)) => task.wait_timeout(deadline.left().unwrap_or(Duration::MAX)),
            Some(Err(_)) => true,
            None => self.source.held.is_none(),
        };
        if !is_ready {
            return Some(Err(TaskError::TimedOut { limit: timeout }));
        }
        Some(self.tasks.pop_front()?.and_then(Task::get))
    }
}

impl<A, R, I> Iterator for Imap<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill(Deadline::NEVER);
        Some(self.tasks.pop_front()?.and_then(Task::get))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        plus(self.source.size_hint(), self.tasks.len())
    }
}

impl<A, R, I> ExactSizeIterator for Imap<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: ExactSizeIterator<Item = A>,
{
}

impl<A, R, I> FusedIterator for Imap<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
}

impl<A, R, I> Drop for Imap<'_, A, R, I> {
    fn drop(&mut self) {
        for task in self.tasks.drain(..).flatten() {
            task.cancel();
        }
    }
}

impl<A, R, I> fmt::Debug for Imap<'_, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("ahead", &self.tasks.len()).finish_non_exhaustive()
    }
}
