//! One function for all elements of an array: no element is a message, workers take them out of
//! shared memory and put the results there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::array::Array;
use crate::error::{Error, ErrorKind, Result};
use crate::process::entry::Entry;
use crate::sync::Data;
use crate::transfer::codec::{CodecError, Serde};

use super::error::TaskError;
use super::field::Field;
use super::outcome::Core;
use super::shared::lock;
use super::task::Task;
use super::work::{Cancel, End, Kill, Leash, Work};
use super::{Pool, entry};

/// A map that was begun, to be stopped or waited for.
type Begun<A, R> = (Arc<Map<A, R>>, Task<Array<R>>);

impl Pool {
    /// Calls `f` with each element of an array, and gives the results in a new array, in the same
    /// order.
    ///
    /// Nothing is encoded, and no element costs more than the call: workers copy some elements at a
    /// time out of the array that they share with the caller, call `f` for each, and copy the
    /// results into the new one. Many elements are claimed at once at the beginning, few at the
    /// end, so that no worker is left with much to do when the others are done.
    ///
    /// `f` runs without any lock. What others change in the array meanwhile is seen or not, for
    /// each element; elements that somebody has a guard of are waited for.
    ///
    /// A [`task_timeout`](crate::PoolBuilder::task_timeout) is for all that one worker has to do of
    /// it. There are no [`retries`](crate::PoolBuilder::retries).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Pool};
    ///
    /// fn celsius(fahrenheit: f32) -> f64 {
    ///     (f64::from(fahrenheit) - 32.0) / 1.8
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// let days = Array::from_slice(&[32.0, 50.0, 68.0])?;
    /// let days = pool.map_array(celsius, &days)?;
    /// assert_eq!(days.to_vec()?, [0.0, 10.0, 20.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - The first error that any worker has, at once: a panic of `f`, the death of the worker.
    ///   Others do not begin any more elements.
    /// - [`Error`](TaskError::Error) of kind [`Deadlock`](ErrorKind::Deadlock) if this thread has a
    ///   guard of the array, and [`Poisoned`](ErrorKind::Poisoned) if the array is.
    /// - [`Error`](TaskError::Error) of kind [`Misuse`](ErrorKind::Misuse) in a callback of a task
    ///   of this pool.
    /// - Those of [`submit`](Self::submit) and of [`Array::new`].
    pub fn map_array<A, R>(&self, f: fn(A) -> R, inputs: &Array<A>) -> Result<Array<R>, TaskError>
    where
        A: Data + Send + Sync,
        R: Data + Send + Sync,
    {
        self.shared.identity.may_wait()?;
        self.map_array_or_end(f, inputs)?.get()
    }

    /// As [`map_array`](Self::map_array), without waiting for the results: at most for room, as
    /// [`submit`](Self::submit) does.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Array, Pool};
    /// # let pool = Pool::new(2)?;
    /// let ones = pool.map_array_async(u32::count_ones, &Array::from_slice(&[1, 3, 7])?)?;
    /// assert_eq!(ones.get()?.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit) and of [`Array::new`];
    /// [`Deadlock`](ErrorKind::Deadlock) if this thread has a guard of the array.
    pub fn map_array_async<A, R>(&self, f: fn(A) -> R, inputs: &Array<A>) -> Result<Task<Array<R>>>
    where
        A: Data + Send + Sync,
        R: Data + Send + Sync,
    {
        Ok(self.map_array_or_end(f, inputs)?)
    }

    fn map_array_or_end<A, R>(
        &self,
        f: fn(A) -> R,
        inputs: &Array<A>,
    ) -> Result<Task<Array<R>>, TaskError>
    where
        A: Data + Send + Sync,
        R: Data + Send + Sync,
    {
        let entry = entry::share(f)?;
        if inputs.is_own() {
            let what = "map an array that this thread has a guard of, for which workers would wait";
            return Err(Error::new(ErrorKind::Deadlock, what).into());
        }
        let results = Array::zeros(inputs.len())?;
        Ok(self.share_out(entry, inputs.clone(), results, inputs.len())?.1)
    }

    /// Gives orders for the first `length` elements of these arrays, one for each worker.
    pub(super) fn share_out<A, R>(
        &self,
        entry: Entry,
        inputs: Array<A>,
        results: Array<R>,
        length: usize,
    ) -> Result<Begun<A, R>, TaskError>
    where
        A: Data + Send + Sync,
        R: Data + Send + Sync,
    {
        let count = self.workers().min(length);
        let core = Core::new(self.shared.identity);
        let map = Arc::new(Map {
            entry,
            field: Field::new(inputs, results, length, count)?,
            progress: Mutex::new(Progress { done: 0, orders: count }),
            leashes: (0..count).map(|_| Leash::default()).collect(),
            has_failed: AtomicBool::new(false),
            core: Arc::clone(&core),
        });
        let cancel: Weak<Map<A, R>> = Arc::downgrade(&map);
        core.cancelled_by(cancel);
        if count == 0 {
            core.settle(Ok(map.field.results.clone()));
        }
        for index in 0..count {
            if let Err(error) = self.push(Share::new(&map, index)) {
                map.stop();
                return Err(error);
            }
        }
        Ok((map, Task::new(core)))
    }
}

/// A map over an array, in the pool.
pub(super) struct Map<A, R> {
    entry: Entry,
    field: Field<A, R>,
    progress: Mutex<Progress>,
    /// Of each order.
    leashes: Vec<Leash>,
    has_failed: AtomicBool,
    core: Arc<Core<Array<R>>>,
}

/// How far a map is.
struct Progress {
    /// How many elements are done, as the replies say.
    done: u64,
    /// How many orders are not over.
    orders: usize,
}

impl<A, R> Map<A, R> {
    /// Nobody begins any more elements, or orders.
    pub(super) fn stop(&self) {
        self.field.exhaust();
        // Relaxed: who comes too early for this finds that there is nothing to do.
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// An order is over, in which so many elements were done.
    ///
    /// The map is over when all elements are done. An order that nobody has begun by then finds
    /// nothing to do.
    fn count(&self, done: u64) {
        let length = self.field.length();
        let mut progress = lock(&self.progress);
        progress.done = progress.done.saturating_add(done);
        progress.orders -= 1;
        let (all, orders) = (progress.done, progress.orders);
        drop(progress);
        if all == length {
            self.core.settle(Ok(self.field.results.clone()));
        } else if all > length || orders == 0 {
            self.fail(super::lost().into());
        }
    }

    fn fail(&self, error: TaskError) {
        self.field.exhaust();
        // Relaxed: see `stop`. Orders that are not begun because of the first failure fail, too,
        // maybe before that is told.
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            self.core.settle(Err(error));
        }
    }
}

impl<A, R> Cancel for Map<A, R>
where
    A: Send + Sync,
    R: Send + Sync,
{
    fn cancel(&self) -> bool {
        self.core.cancel(|| {
            self.stop();
            self.leashes.iter().for_each(Leash::pull);
        })
    }
}

/// What one worker is to do of a map: as much as it can get.
struct Share<A, R> {
    map: Arc<Map<A, R>>,
    index: usize,
    /// How many elements it has done.
    done: Mutex<Option<u64>>,
    is_over: AtomicBool,
}

impl<A, R> Share<A, R> {
    fn new(map: &Arc<Map<A, R>>, index: usize) -> Arc<Self> {
        let (done, is_over) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { map: Arc::clone(map), index, done, is_over })
    }

    fn leash(&self) -> &Leash {
        &self.map.leashes[self.index]
    }
}

impl<A, R> Work for Share<A, R>
where
    A: Send + Sync,
    R: Send + Sync,
{
    fn entry(&self) -> Entry {
        self.map.entry
    }

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Serde::serialize(&self.map.field, bytes)
    }

    fn accept(&self, bytes: &[u8]) -> Result<()> {
        let done: Result<u64> = Serde::deserialize(bytes).map_err(super::not_decoded::<u64>)?;
        *lock(&self.done) = Some(done?);
        Ok(())
    }

    fn end(&self, end: End) {
        // Relaxed: a second end would be of the same thread.
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let done = lock(&self.done).take();
        match (end, done) {
            (End::Returned, Some(done)) => self.map.count(done),
            (End::Returned, None) => self.map.fail(super::lost().into()),
            (End::Failed(error), _) => self.map.fail(error),
        }
    }

    fn is_cancelled(&self) -> bool {
        // Relaxed: see `stop`.
        self.leash().is_cancelled() || self.map.has_failed.load(Ordering::Relaxed)
    }

    fn is_with(&self, killer: Option<Arc<dyn Kill>>) {
        self.leash().is_with(killer);
    }

    fn is_spared(&self) -> bool {
        self.leash().is_spared()
    }

    fn is_retried(&self, _most: usize) -> bool {
        // What the dead worker had claimed nobody knows.
        false
    }
}
