//! Waiting for several tasks at once.

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
#[derive(Debug)]
pub struct AsCompleted<R> {
    tasks: Vec<Option<Task<R>>>,
    ended: mpsc::Receiver<usize>,
    /// All tasks before this one were given.
    first: usize,
    left: usize,
}

impl<R> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let place = self.tasks.get(self.first)?;
            let index = match place {
                Some(task) if task.is_waited_for_in_vain() => {
                    self.ended.try_recv().unwrap_or(self.first)
                }
                Some(_) => self.ended.recv().ok()?,
                None => {
                    self.first += 1;
                    continue;
                }
            };
            // It may have been given before it ended.
            if let Some(task) = self.tasks.get_mut(index)?.take() {
                self.left -= 1;
                return Some((index, task.get()));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

/// Waits until one of the tasks is over, but not longer than `timeout`: which one. `None` also if
/// there are no tasks, and at once if the timeout is for ever where that would never end, as in a
/// callback of their pool.
#[doc(alias = "FIRST_COMPLETED")]
pub fn wait_any<R: 'static>(tasks: &[Task<R>], timeout: Duration) -> Option<usize> {
    let deadline = Deadline::after(timeout);
    let (sender, ended) = mpsc::channel();
    let hear = |(index, task): (usize, &Task<R>)| {
        let sender = sender.clone();
        task.hear(Box::new(move |_| _ = sender.send(index)))
    };
    let tickets: Vec<_> = tasks.iter().enumerate().map(hear).collect();
    drop(sender);
    let is_futile = tasks.iter().all(Task::is_waited_for_in_vain);
    let first = match deadline.left() {
        None if is_futile => ended.try_recv().ok(),
        None => ended.recv().ok(),
        Some(left) => ended.recv_timeout(left).ok(),
    };
    tasks.iter().zip(tickets).for_each(|(task, ticket)| task.hear_no_more(ticket));
    // Callbacks of others may still look at it.
    first.filter(|&index| tasks[index].wait_until(deadline))
}

/// Waits until all of the tasks are over, but not longer than `timeout`. Whether they are. As with
/// [`Task::wait_timeout`], a timeout that is for ever may be over at once.
#[doc(alias = "ALL_COMPLETED")]
pub fn wait_all<R>(tasks: &[Task<R>], timeout: Duration) -> bool {
    let deadline = Deadline::after(timeout);
    tasks.iter().all(|task| task.wait_timeout(deadline.left().unwrap_or(Duration::MAX)))
}

#[cfg(test)]
mod tests {
    use super::super::shared::Identity;
    use super::super::task::Core;
    use super::*;

    #[test]
    fn who_waited_for_any_leaves_nothing_behind() {
        let core = Core::<u64>::new(Identity::new());
        let task = Task::new(std::sync::Arc::clone(&core));
        let (sender, heard) = mpsc::channel();
        task.on_done(move |_| sender.send(()).unwrap());
        for _ in 0..10 {
            assert_eq!(wait_any(std::slice::from_ref(&task), Duration::ZERO), None);
        }
        assert_eq!(core.callbacks(), 1);
        assert!(core.settle(Ok(1)));
        assert_eq!(wait_any(std::slice::from_ref(&task), Duration::ZERO), Some(0));
        heard.recv().unwrap();
    }

    #[test]
    fn who_waits_for_any_does_not_wait_for_callbacks() {
        let core = Core::<u64>::new(Identity::new());
        let tasks = [Task::new(std::sync::Arc::clone(&core))];
        let (go, gone) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let any = scope.spawn(|| {
                let any = wait_any(&tasks, Duration::from_secs(1));
                go.send(()).unwrap();
                any
            });
            while core.callbacks() == 0 {
                std::thread::yield_now();
            }
            tasks[0].on_done(move |_| gone.recv().unwrap());
            assert!(core.settle(Ok(1)));
            assert_eq!(any.join().unwrap(), None);
        });
        assert_eq!(wait_any(&tasks, Duration::ZERO), Some(0));
    }
}
