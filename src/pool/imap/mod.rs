//! Results one after the other, while the inputs are still being made.

mod ordered;
mod unordered;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::clock::Deadline;

use super::Pool;
use super::error::TaskError;
use super::task::Task;
use super::work::Work;

pub use ordered::Imap;
pub use unordered::ImapUnordered;

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
        Imap::new(source, window)
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
        let window = self.workers() * WINDOW_A_WORKER;
        ImapUnordered::new(Source::new(self, f, inputs.into_iter()), window)
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

fn plus((least, most): (usize, Option<usize>), more: usize) -> (usize, Option<usize>) {
    (least.saturating_add(more), most.and_then(|most| most.checked_add(more)))
}
