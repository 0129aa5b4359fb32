//! Results one after the other, while the inputs are still being made.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Pool;
use super::error::TaskError;
use super::task::Task;

/// So many inputs for each worker are taken ahead of the results that were asked for.
const WINDOW_A_WORKER: usize = 4;

impl Pool {
    /// Calls `f` with each of `inputs`, and gives the results one by one in the same order.
    ///
    /// Inputs are taken from their iterator as results are asked for, four for each worker ahead
    /// ([`window`](Imap::window)), so neither needs to fit into memory.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// let all: Result<Vec<_>, _> = pool.imap(square, 0..5).collect();
    /// assert_eq!(all?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<A, R, I>(&self, f: fn(A) -> R, inputs: I) -> Imap<'_, A, R, I::IntoIter>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        let window = self.workers() * WINDOW_A_WORKER;
        Imap { pool: self, f, inputs: inputs.into_iter().fuse(), window, tasks: VecDeque::new() }
    }

    /// As [`imap`](Self::imap), but the results come as they are ready, each with the number of its
    /// input.
    pub fn imap_unordered<A, R, I>(
        &self,
        f: fn(A) -> R,
        inputs: I,
    ) -> ImapUnordered<'_, A, R, I::IntoIter>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        let (sender, ended) = mpsc::channel();
        ImapUnordered {
            pool: self,
            f,
            inputs: inputs.into_iter().fuse(),
            window: self.workers() * WINDOW_A_WORKER,
            next: 0,
            tasks: Vec::new(),
            sender,
            ended,
        }
    }
}

/// Results in the order of the inputs; made by [`Pool::imap`].
///
/// Dropped, it cancels what nobody will ask for.
#[must_use = "nothing is done before a result is asked for"]
pub struct Imap<'a, A, R, I> {
    pool: &'a Pool,
    f: fn(A) -> R,
    inputs: std::iter::Fuse<I>,
    window: usize,
    tasks: VecDeque<Result<Task<R>, TaskError>>,
}

impl<A, R, I> Imap<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    /// Takes so many inputs ahead of the results that were asked for. At least one.
    pub fn window(mut self, most: usize) -> Self {
        self.window = most.max(1);
        self
    }

    fn fill(&mut self) {
        while self.tasks.len() < self.window
            && let Some(input) = self.inputs.next()
        {
            let task = self.pool.submit(self.f, input).map_err(TaskError::from);
            self.tasks.push_back(task);
        }
    }

    /// The next result, if it comes before `timeout` is over.
    ///
    /// # Errors
    /// [`TimedOut`](TaskError::TimedOut) if it does not; it can be asked for again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.fill();
        if let Ok(task) = self.tasks.front()?
            && !task.wait_timeout(timeout)
        {
            return Some(Err(TaskError::TimedOut { limit: timeout }));
        }
        self.next()
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
        self.fill();
        Some(self.tasks.pop_front()?.and_then(Task::get))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        plus(self.inputs.size_hint(), self.tasks.len())
    }
}

fn plus((least, most): (usize, Option<usize>), more: usize) -> (usize, Option<usize>) {
    (least.saturating_add(more), most.and_then(|most| most.checked_add(more)))
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

/// Results as they are ready; made by [`Pool::imap_unordered`].
///
/// Dropped, it cancels what nobody will ask for.
#[must_use = "nothing is done before a result is asked for"]
pub struct ImapUnordered<'a, A, R, I> {
    pool: &'a Pool,
    f: fn(A) -> R,
    inputs: std::iter::Fuse<I>,
    window: usize,
    /// The number of the next input.
    next: usize,
    tasks: Vec<(usize, Task<R>)>,
    sender: mpsc::Sender<usize>,
    ended: mpsc::Receiver<usize>,
}

impl<A, R, I> ImapUnordered<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    /// Takes so many inputs ahead of the results that were asked for. At least one.
    pub fn window(mut self, most: usize) -> Self {
        self.window = most.max(1);
        self
    }

    /// Takes inputs ahead; the error of one that was not taken.
    fn fill(&mut self) -> Option<(usize, TaskError)> {
        while self.tasks.len() < self.window
            && let Some(input) = self.inputs.next()
        {
            let number = self.next;
            self.next += 1;
            match self.pool.submit(self.f, input) {
                Ok(task) => {
                    let sender = self.sender.clone();
                    task.on_done(move |_| _ = sender.send(number));
                    self.tasks.push((number, task));
                }
                Err(error) => return Some((number, error.into())),
            }
        }
        None
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
        if let Some((number, error)) = self.fill() {
            return Some((number, Err(error)));
        }
        if self.tasks.is_empty() {
            return None;
        }
        let number = self.ended.recv().ok()?;
        let at = self.tasks.iter().position(|(known, _)| *known == number)?;
        let (_, task) = self.tasks.swap_remove(at);
        Some((number, task.get()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        plus(self.inputs.size_hint(), self.tasks.len())
    }
}

impl<A, R, I> ExactSizeIterator for ImapUnordered<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: ExactSizeIterator<Item = A>,
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
