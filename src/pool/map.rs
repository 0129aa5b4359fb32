//! One function for many arguments: in chunks, with the results in the order of the arguments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

use super::error::TaskError;
use super::outcome::Core;
use super::shared::lock;
use super::task::Task;
use super::work::{Cancel, Chunk, Sink};
use super::{Pool, entry};

/// So many chunks a worker gets, if nothing is said about their size: few enough to cost nothing,
/// and enough that the last ones end at about the same time. As in Python.
const CHUNKS_A_WORKER: usize = 4;

impl Pool {
    /// Calls `f` with each of `inputs`, and gives the results in the same order.
    ///
    /// The inputs are divided into four chunks a worker, each of which is one message.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// assert_eq!(pool.map(u32::count_ones, [1, 3, 7])?, [1, 2, 3]);
    /// // Several arguments are a tuple.
    /// fn power((base, exponent): (u32, u32)) -> u32 {
    ///     base.pow(exponent)
    /// }
    /// assert_eq!(pool.map(power, [(2, 10), (3, 2)])?, [1024, 9]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error that any of the calls has, at once; what was not begun is not done, and what
    /// was begun goes on to its end. Those of [`submit`](Self::submit), and in a callback of a task
    /// of this pool [`Misuse`](crate::ErrorKind::Misuse).
    #[doc(alias = "starmap")]
    pub fn map<A, R>(
        &self,
        f: fn(A) -> R,
        inputs: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.shared.identity.may_wait()?;
        let inputs: Vec<A> = inputs.into_iter().collect();
        let chunk = self.good_chunk(inputs.len());
        self.map_chunks(f, inputs, chunk)?.get()
    }

    fn good_chunk(&self, inputs: usize) -> usize {
        inputs.div_ceil(self.workers() * CHUNKS_A_WORKER).max(1)
    }

    /// As [`map`](Self::map), without waiting for the results: at most for room, as
    /// [`submit`](Self::submit) does.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// let ones = pool.map_async(u32::count_ones, [1, 3, 7])?;
    /// // Something else is done meanwhile.
    /// assert_eq!(ones.get()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit).
    #[doc(alias = "starmap_async")]
    pub fn map_async<A, R>(
        &self,
        f: fn(A) -> R,
        inputs: impl IntoIterator<Item = A>,
    ) -> Result<Task<Vec<R>>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let inputs: Vec<A> = inputs.into_iter().collect();
        let chunk = self.good_chunk(inputs.len());
        Ok(self.map_chunks(f, inputs, chunk)?)
    }

    /// As [`map`](Self::map), in chunks of `chunk` inputs, at least one.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// let ones = pool.map_chunked(u32::count_ones, 0..1000, 100)?; // ten messages
    /// assert_eq!(ones[999], 999_u32.count_ones());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`map`](Self::map).
    #[doc(alias = "chunksize")]
    pub fn map_chunked<A, R>(
        &self,
        f: fn(A) -> R,
        inputs: impl IntoIterator<Item = A>,
        chunk: usize,
    ) -> Result<Vec<R>, TaskError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.shared.identity.may_wait()?;
        self.map_chunks(f, inputs.into_iter().collect(), chunk.max(1))?.get()
    }

    fn map_chunks<A, R>(
        &self,
        f: fn(A) -> R,
        inputs: Vec<A>,
        chunk: usize,
    ) -> Result<Task<Vec<R>>, TaskError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let entry = entry::many(f)?;
        let core = Core::new(self.shared.identity);
        let gather = Arc::new(Gather {
            results: Mutex::new((0..inputs.len()).map(|_| None).collect()),
            left: Mutex::new(inputs.len()),
            chunks: Mutex::default(),
            has_failed: AtomicBool::new(false),
            core: Arc::clone(&core),
        });
        let cancel: Weak<Gather<R>> = Arc::downgrade(&gather);
        core.cancelled_by(cancel);
        if inputs.is_empty() {
            core.settle(Ok(Vec::new()));
        }
        let mut inputs = inputs.into_iter();
        let mut first = 0;
        loop {
            let items: Vec<A> = inputs.by_ref().take(chunk).collect();
            if items.is_empty() || gather.has_failed() {
                return Ok(Task::new(core));
            }
            let count = items.len();
            let sink: Arc<dyn Sink<R>> = Arc::clone(&gather) as _;
            let work = Chunk::new(entry, first, items, sink);
            let pull: Weak<dyn Pull> = Arc::downgrade(&(Arc::clone(&work) as Arc<dyn Pull>));
            lock(&gather.chunks).push(pull);
            if let Err(error) = self.push(work) {
                gather.stop();
                return Err(error);
            }
            first += count;
        }
    }
}

/// A chunk that may still be cancelled.
trait Pull: Send + Sync {
    fn pull(&self);
}

impl<A: Send, R: Send> Pull for Chunk<A, R> {
    fn pull(&self) {
        self.leash.pull();
    }
}

/// The results of a map, as they come.
struct Gather<R> {
    results: Mutex<Vec<Option<R>>>,
    left: Mutex<usize>,
    chunks: Mutex<Vec<Weak<dyn Pull>>>,
    has_failed: AtomicBool,
    core: Arc<Core<Vec<R>>>,
}

impl<R> Gather<R> {
    fn has_failed(&self) -> bool {
        // Relaxed: who comes too early does what nobody wants.
        self.has_failed.load(Ordering::Relaxed)
    }

    /// What was not begun is not done.
    fn stop(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

impl<R: Send> Sink<R> for Gather<R> {
    fn put(&self, first: usize, results: Vec<R>) {
        let count = results.len();
        let mut places = lock(&self.results);
        for (place, result) in places.iter_mut().skip(first).zip(results) {
            *place = Some(result);
        }
        drop(places);
        let mut left = lock(&self.left);
        *left -= count;
        if *left == 0 {
            drop(left);
            let results = std::mem::take(&mut *lock(&self.results));
            let results: Option<Vec<R>> = results.into_iter().collect();
            self.core.settle(results.ok_or_else(|| super::lost().into()));
        }
    }

    fn fail(&self, error: TaskError) {
        // Relaxed: see `has_failed`. Chunks that are not begun because of the first failure fail,
        // too, maybe before that is told.
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            self.core.settle(Err(error));
        }
    }

    fn wants_more(&self) -> bool {
        !self.has_failed()
    }
}

impl<R: Send> Cancel for Gather<R> {
    fn cancel(&self) -> bool {
        self.core.cancel(|| {
            self.stop();
            let chunks = std::mem::take(&mut *lock(&self.chunks));
            chunks.iter().filter_map(Weak::upgrade).for_each(|chunk| chunk.pull());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::Identity;
    use super::*;

    #[test]
    fn what_is_not_begun_because_of_a_failure_does_not_hide_it() {
        let core = Core::<Vec<u64>>::new(Identity::new());
        let gather = Gather {
            results: Mutex::default(),
            left: Mutex::new(2),
            chunks: Mutex::default(),
            has_failed: AtomicBool::new(false),
            core: Arc::clone(&core),
        };
        // As if somebody were in the middle of `fail`.
        gather.stop();
        gather.fail(TaskError::Cancelled);
        assert!(core.settle(Err(TaskError::Terminated)));
    }
}
