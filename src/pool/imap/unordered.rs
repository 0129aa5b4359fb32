//! Results as they are ready.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pool::error::TaskError;
use crate::pool::task::Task;
use crate::pool::wait::{Late, ended_until};
use crate::sys::clock::Deadline;

use super::{Source, patience, plus};

/// Results as they are ready; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Dropped, it cancels what nobody will ask for.
///
/// # Examples
/// ```
/// # let pool = multiproc::Pool::new(2)?;
/// let mut results = pool.imap_unordered(u32::count_ones, [1, 3, 7]);
/// assert_eq!(results.len(), 3);
/// let (first, ones) = results.next().unwrap();
/// println!("number {first} was the first one, and has {} bits set", ones?);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "nothing is done before a result is asked for"]
pub struct ImapUnordered<'a, A, R, I> {
    source: Source<'a, A, R, I>,
    window: usize,
    /// The number of the next input.
    next: usize,
    tasks: Vec<(usize, Task<R>)>,
    sender: mpsc::Sender<usize>,
    ended: mpsc::Receiver<usize>,
}

impl<'a, A, R, I> ImapUnordered<'a, A, R, I> {
    pub(super) fn new(source: Source<'a, A, R, I>, window: usize) -> Self {
        let (sender, ended) = mpsc::channel();
        Self { source, window, next: 0, tasks: Vec::new(), sender, ended }
    }
}

impl<A, R, I> ImapUnordered<'_, A, R, I>
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
    /// let ones = pool.imap_unordered(u32::count_ones, 0..100).window(2);
    /// assert_eq!(ones.map(|(_, ones)| ones.unwrap()).sum::<u32>(), 316);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn window(mut self, most: usize) -> Self {
        self.window = most.max(1);
        self
    }

    /// The next result, with the number of its input, if one comes before `timeout` is over; `None`
    /// at the end. How long the inputs take to be made is their own affair.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::TaskError;
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let mut results = pool.imap_unordered(park, [()]);
    /// let late = results.next_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert!(matches!(late, TaskError::TimedOut { .. }));
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
        if let Some((number, error)) = self.fill(deadline) {
            return Ok(Some((number, Err(error))));
        }
        let Some(at) = self.wait_until(deadline)? else {
            return if self.source.held.is_some() { Err(Late) } else { Ok(None) };
        };
        let (number, task) = self.tasks.swap_remove(at);
        Ok(Some((number, task.get())))
    }

    /// Takes inputs ahead; the error of one that was not taken.
    fn fill(&mut self, deadline: Deadline) -> Option<(usize, TaskError)> {
        while self.tasks.len() < self.window
            && let patience = patience(self.tasks.len(), deadline)
            && let Some(task) = self.source.next_until(patience)
        {
            let number = self.next;
            self.next += 1;
            match task {
                Ok(task) => {
                    let sender = self.sender.clone();
                    task.on_done(move |_| _ = sender.send(number));
                    self.tasks.push((number, task));
                }
                Err(error) => return Some((number, error)),
            }
        }
        None
    }

    /// Waits for the end of a task: the place of one that has ended, or that is waited for in vain.
    fn wait_until(&self, deadline: Deadline) -> Result<Option<usize>, Late> {
        loop {
            let Some((number, task)) = self.tasks.first() else { return Ok(None) };
            let ended = ended_until(&self.ended, task, *number, deadline)?;
            // It may have been given up before it ended.
            let at = self.tasks.iter().position(|(known, _)| *known == ended);
            if at.is_some() {
                return Ok(at);
            }
        }
    }
}

impl<A, R, I> Iterator for ImapUnordered<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(Deadline::NEVER).ok().flatten()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        plus(self.source.size_hint(), self.tasks.len())
    }
}

impl<A, R, I> ExactSizeIterator for ImapUnordered<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: ExactSizeIterator<Item = A>,
{
}

impl<A, R, I> FusedIterator for ImapUnordered<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
}

impl<A, R, I> Drop for ImapUnordered<'_, A, R, I> {
    fn drop(&mut self) {
        for (_, task) in self.tasks.drain(..) {
            task.cancel();
        }
    }
}

impl<A, R, I> fmt::Debug for ImapUnordered<'_, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").field("ahead", &self.tasks.len()).finish_non_exhaustive()
    }
}
