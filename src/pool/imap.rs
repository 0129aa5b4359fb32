//! Results one after the other, while the inputs are still being made.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::clock::Deadline;

use super::Pool;
use super::error::TaskError;
use super::task::Task;
use super::work::Work;

/// So many inputs for each worker are taken ahead of the results that were asked for.
const WINDOW_A_WORKER: usize = 4;

impl Pool {
    /// Calls `f` with each of `inputs`, and gives the results one by one in the same order.
    ///
    /// Inputs are taken from their iterator as results are asked for, four for each worker ahead
    /// ([`window`](Imap::window)), so neither needs to fit into memory.
    ///
    /// In a callback of a task of this pool every result is [`Misuse`](crate::ErrorKind::Misuse).
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
        let source = Source::new(self, f, inputs.into_iter());
        Imap { source, window, tasks: VecDeque::new() }
    }

    /// As [`imap`](Self::imap), but the results come as they are ready, each with the number of its
    /// input.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// for (index, ones) in pool.imap_unordered(u32::count_ones, [1, 3, 7]) {
    ///     assert_eq!(ones?, index as u32 + 1);
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
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
            source: Source::new(self, f, inputs.into_iter()),
            window: self.workers() * WINDOW_A_WORKER,
            next: 0,
            tasks: Vec::new(),
            sender,
            ended,
        }
    }
}

/// Makes tasks of inputs, as there is room for them.
struct Source<'a, A, R, I> {
    pool: &'a Pool,
    f: fn(A) -> R,
    inputs: std::iter::Fuse<I>,
    /// For this one there was no room yet.
    held: Option<(Task<R>, Arc<dyn Work>)>,
}

impl<'a, A, R, I> Source<'a, A, R, I>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    I: Iterator<Item = A>,
{
    fn new(pool: &'a Pool, f: fn(A) -> R, inputs: I) -> Self {
        Self { pool, f, inputs: inputs.fuse(), held: None }
    }

    /// The next task, once it is in the line. `None` if there was no room for it until the
    /// deadline, or there is no more input.
    fn next_until(&mut self, deadline: Deadline) -> Option<Result<Task<R>, TaskError>> {
        let held = match self.held.take() {
            Some(held) => Ok(held),
            None => {
                let input = self.inputs.next()?;
                let is_allowed = self.pool.shared.identity.may_wait();
                is_allowed.and_then(|()| self.pool.prepare(self.f, input))
            }
        };
        let (task, work) = match held {
            Ok(held) => held,
            Err(error) => return Some(Err(error.into())),
        };
        match self.pool.push_until(&work, deadline) {
            Ok(true) => Some(Ok(task)),
            Ok(false) => {
                self.held = Some((task, work));
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl<A, R, I: Iterator<Item = A>> Source<'_, A, R, I> {
    fn size_hint(&self) -> (usize, Option<usize>) {
        plus(self.inputs.size_hint(), usize::from(self.held.is_some()))
    }
}

/// Until when to wait for room for one more, if so many tasks are in the line or done: where there
/// is a result to wait for, that is what is waited for.
fn patience(ahead: usize, deadline: Deadline) -> Deadline {
    if ahead == 0 { deadline } else { Deadline::after(Duration::ZERO) }
}

/// Results in the order of the inputs; made by [`Pool::imap`].
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

    /// Takes inputs ahead; the error of one that was not taken.
    fn fill(&mut self) -> Option<(usize, TaskError)> {
        while self.tasks.len() < self.window
            && let patience = patience(self.tasks.len(), Deadline::NEVER)
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
    fn wait(&self) -> Option<usize> {
        loop {
            let (number, task) = self.tasks.first()?;
            let ended = if task.is_waited_for_in_vain() {
                self.ended.try_recv().unwrap_or(*number)
            } else {
                self.ended.recv().ok()?
            };
            // It may have been given up before it ended.
            let at = self.tasks.iter().position(|(known, _)| *known == ended);
            if at.is_some() {
                return at;
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
        if let Some((number, error)) = self.fill() {
            return Some((number, Err(error)));
        }
        let at = self.wait()?;
        let (number, task) = self.tasks.swap_remove(at);
        Some((number, task.get()))
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
