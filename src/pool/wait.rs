//! Waiting for several tasks at once.

use std::iter::FusedIterator;
use std::sync::mpsc;
use std::time::Duration;

use crate::sys::clock::Deadline;

use super::error::TaskError;
use super::task::Task;

/// Gives tasks in the order in which they end, with their place among those that were given.
///
/// Those that are not over where [`Task::get`] would never end, as in a callback of their pool,
/// come with the error that it gives.
///
/// # Examples
/// ```
/// use multiproc::{Pool, as_completed};
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = Pool::new(2)?;
/// let tasks = (0..4).map(|n| pool.submit(square, n)).collect::<Result<Vec<_>, _>>()?;
/// let mut sum = 0;
/// for (n, result) in as_completed(tasks) {
///     assert_eq!(result?, (n * n) as u64);
///     sum += n;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<R: 'static>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let (sender, ended) = mpsc::channel();
    let mut left = 0;
    let tasks = tasks.into_iter().enumerate().map(|(index, task)| {
        let sender = sender.clone();
        // Nobody may be there to hear it any more.
        task.on_done(move |_| _ = sender.send(index));
        left += 1;
        Some(task)
    });
    let tasks = tasks.collect();
    AsCompleted { tasks, ended, first: 0, left }
}

/// Tasks in the order in which they end; made by [`as_completed`].
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(2)?;
/// let tasks = [1, 3, 7].map(|n| pool.submit(u32::count_ones, n).unwrap());
/// let mut left = multiproc::as_completed(tasks);
/// assert_eq!(left.len(), 3);
/// left.next();
/// assert_eq!(left.len(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "no task is waited for before a result is asked for"]
pub struct AsCompleted<R> {
    tasks: Vec<Option<Task<R>>>,
    ended: mpsc::Receiver<usize>,
    /// All tasks before this one were given.
    first: usize,
    left: usize,
}

impl<R> AsCompleted<R> {
    /// The next task that ends, if one does before `timeout` is over; `None` if all were given.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let mut left = multiproc::as_completed([pool.submit(park, ())?]);
    /// assert!(left.next_timeout(Duration::from_millis(10)).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](TaskError::TimedOut) if none does; it can be asked for again. What became of a
    /// task is in the item.
    pub fn next_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<<Self as Iterator>::Item>, TaskError> {
        let next = self.next_until(Deadline::after(timeout));
        next.map_err(|late| late.after(timeout))
    }

    fn next_until(&mut self, deadline: Deadline) -> Result<Option<<Self as Iterator>::Item>, Late> {
        while let Some(place) = self.tasks.get(self.first) {
            let Some(task) = place else {
                self.first += 1;
                continue;
            };
            let index = ended_until(&self.ended, task, self.first, deadline)?;
            // It may have been given before it ended.
            if let Some(task) = self.tasks.get_mut(index).and_then(Option::take) {
                self.left -= 1;
                return Ok(Some((index, task.get())));
            }
        }
        Ok(None)
    }
}

/// Nothing ended until the deadline.
#[derive(Debug)]
pub(super) struct Late;

impl Late {
    pub(super) fn after(self, limit: Duration) -> TaskError {
        TaskError::TimedOut { limit }
    }
}

/// Waits until some task says that it has ended: its number; or that of `task`, `number`, if it is
/// waited for in vain.
pub(super) fn ended_until<R>(
    ended: &mpsc::Receiver<usize>,
    task: &Task<R>,
    number: usize,
    deadline: Deadline,
) -> Result<usize, Late> {
    match deadline.left() {
        Some(left) => ended.recv_timeout(left).map_err(|_| Late),
        None if task.is_waited_for_in_vain() => Ok(ended.try_recv().unwrap_or(number)),
        // A task says so in any case, at the latest when its pool goes.
        None => ended.recv().map_err(|_| Late),
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER).ok().flatten()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

impl<R> FusedIterator for AsCompleted<R> {}

/// Waits until all of the tasks are over, but not longer than `timeout`. Whether they are. As with
/// [`Task::wait_timeout`], a timeout that is for ever may be over at once.
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(2)?;
/// let tasks = [1, 3, 7].map(|n| pool.submit(u32::count_ones, n).unwrap());
/// assert!(multiproc::wait_all(&tasks, std::time::Duration::from_secs(60)));
/// assert!(tasks.iter().all(|task| task.is_ok()));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "ALL_COMPLETED")]
pub fn wait_all<R>(tasks: &[Task<R>], timeout: Duration) -> bool {
    let deadline = Deadline::after(timeout);
    tasks.iter().all(|task| task.wait_timeout(deadline.left().unwrap_or(Duration::MAX)))
}
