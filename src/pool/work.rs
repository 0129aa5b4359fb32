//! What a worker can be given to do: one call, or a chunk of many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::process::entry::Entry;
use crate::process::remote::not_encoded;
use crate::process::{ExitStatus, Panic};
use crate::transfer::codec::{CodecError, Serde};

use super::error::TaskError;
use super::outcome::Core;
use super::shared::lock;

/// How an order ended.
#[derive(Debug)]
pub(super) enum End {
    /// The function returned, and the value was accepted.
    Returned,
    Failed(TaskError),
}

impl End {
    pub(super) fn died(pid: u32, status: ExitStatus) -> Self {
        Self::Failed(TaskError::WorkerDied { pid, status })
    }

    pub(super) fn panicked(panic: Panic) -> Self {
        Self::Failed(TaskError::Panicked(panic))
    }
}

/// An order, before anybody knows of which types it is.
pub(super) trait Work: Send + Sync {
    /// The name of what is to be called.
    fn entry(&self) -> Entry;

    /// Appends the arguments.
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Keeps the result in these bytes until the end.
    fn accept(&self, bytes: &[u8]) -> Result<()>;

    /// The order is over. Only the first end counts.
    fn end(&self, end: End);

    /// Whether nobody wants it any more.
    fn is_cancelled(&self) -> bool;

    /// It is with a worker from now on, who is killed by this if it is cancelled.
    fn is_with(&self, killer: Option<Arc<dyn Kill>>);

    /// Its worker died before it had begun; whether it is given to another one. Once: it may be
    /// what workers die of as they read it.
    fn is_spared(&self) -> bool;

    /// Its worker died of it, or with it; whether it is given to another one, where that may happen
    /// `most` times.
    fn is_retried(&self, most: usize) -> bool;
}

/// Somebody who can end a worker.
pub(super) trait Kill: Send + Sync {
    fn kill(&self);
}

/// Somebody who can cancel a task.
pub(super) trait Cancel: Send + Sync {
    /// False if it was over already.
    fn cancel(&self) -> bool;
}

/// Runs what is the user's; how it panics is of no interest.
pub(super) fn quietly(act: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(act)) {
        // Its destructor is the user's, too.
        std::mem::forget(payload);
    }
}

/// Ends an order, and lets it go. Callbacks and destructors of the user's run in it.
pub(super) fn finish(work: Arc<dyn Work>, end: End) {
    quietly(move || {
        work.end(end);
        drop(work);
    });
}

/// Who wants an order no more, and where it is.
#[derive(Default)]
pub(super) struct Leash {
    is_cancelled: AtomicBool,
    killer: Mutex<Option<Arc<dyn Kill>>>,
    was_spared: AtomicBool,
    retries: AtomicUsize,
}

impl Leash {
    /// Has it not run, or not to its end.
    pub(super) fn pull(&self) {
        // Under the lock: either the worker is seen here, or he sees this.
        let killer = lock(&self.killer);
        // Relaxed: the lock orders it.
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(killer) = &*killer {
            killer.kill();
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        // Relaxed: who comes too early for this is seen under the lock.
        self.is_cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn is_spared(&self) -> bool {
        // Relaxed: the line orders the turns of its minders.
        !self.was_spared.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_retried(&self, most: usize) -> bool {
        // Relaxed: as above.
        self.retries.fetch_add(1, Ordering::Relaxed) < most
    }

    pub(super) fn is_with(&self, killer: Option<Arc<dyn Kill>>) {
        let mut own = lock(&self.killer);
        if let Some(killer) = &killer
            && self.is_cancelled()
        {
            killer.kill();
        }
        *own = killer;
    }
}

/// One call of one function.
pub(super) struct Call<A, R> {
    entry: Entry,
    /// Kept until the end, as another worker may get them. Locked, as they need not be `Sync`.
    arguments: Mutex<Option<A>>,
    result: Mutex<Option<R>>,
    core: Arc<Core<R>>,
    leash: Leash,
}

impl<A, R> Call<A, R>
where
    A: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    pub(super) fn new(entry: Entry, arguments: A, core: &Arc<Core<R>>) -> Arc<Self> {
        let call = Arc::new(Self {
            entry,
            arguments: Mutex::new(Some(arguments)),
            result: Mutex::new(None),
            core: Arc::clone(core),
            leash: Leash::default(),
        });
        let cancel: Weak<Self> = Arc::downgrade(&call);
        core.cancelled_by(cancel);
        call
    }
}

impl<A, R> Cancel for Call<A, R>
where
    A: Send + 'static,
    R: Send + 'static,
{
    fn cancel(&self) -> bool {
        self.core.cancel(|| self.leash.pull())
    }
}

impl<A, R> Work for Call<A, R>
where
    A: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    fn entry(&self) -> Entry {
        self.entry
    }

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        match &*lock(&self.arguments) {
            Some(arguments) => Serde::serialize(arguments, bytes)
                .map_err(|cause| not_encoded::<A>("argument", &cause)),
            None => Err("a task that is over".into()),
        }
    }

    fn accept(&self, bytes: &[u8]) -> Result<()> {
        let value = Serde::deserialize(bytes).map_err(|cause| super::not_decoded::<R>(cause))?;
        *lock(&self.result) = Some(value);
        Ok(())
    }

    fn end(&self, end: End) {
        let result = lock(&self.result).take();
        let (outcome, unwanted) = match (end, result) {
            (End::Returned, Some(result)) => (Ok(result), None),
            (End::Returned, None) => (Err(super::lost().into()), None),
            (End::Failed(error), result) => (Err(error), result),
        };
        let arguments = lock(&self.arguments).take();
        self.core.settle(outcome);
        // Last, as that is the user's.
        drop((arguments, unwanted));
    }

    fn is_cancelled(&self) -> bool {
        self.leash.is_cancelled()
    }

    fn is_with(&self, killer: Option<Arc<dyn Kill>>) {
        self.leash.is_with(killer);
    }

    fn is_spared(&self) -> bool {
        self.leash.is_spared()
    }

    fn is_retried(&self, most: usize) -> bool {
        self.leash.is_retried(most)
    }
}

/// Where the results of a chunk go.
pub(super) trait Sink<R>: Send + Sync {
    /// The results of the items from `first` on.
    fn put(&self, first: usize, results: Vec<R>);

    /// The items of a chunk have no results, because of this.
    fn fail(&self, error: TaskError);

    /// Whether what is still to be done is wanted.
    fn wants_more(&self) -> bool;
}

/// Calls of one function, for items in a row.
pub(super) struct Chunk<A, R> {
    entry: Entry,
    first: usize,
    count: usize,
    items: Mutex<Option<Vec<A>>>,
    results: Mutex<Option<Vec<R>>>,
    sink: Arc<dyn Sink<R>>,
    pub(super) leash: Leash,
}

impl<A, R> Chunk<A, R> {
    pub(super) fn new(
        entry: Entry,
        first: usize,
        items: Vec<A>,
        sink: Arc<dyn Sink<R>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            entry,
            first,
            count: items.len(),
            items: Mutex::new(Some(items)),
            results: Mutex::new(None),
            sink,
            leash: Leash::default(),
        })
    }
}

impl<A, R> Work for Chunk<A, R>
where
    A: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    fn entry(&self) -> Entry {
        self.entry
    }

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        match &*lock(&self.items) {
            Some(items) => Serde::serialize(items, bytes)
                .map_err(|cause| not_encoded::<Vec<A>>("list of arguments", &cause)),
            None => Err("a task that is over".into()),
        }
    }

    fn accept(&self, bytes: &[u8]) -> Result<()> {
        let results: Vec<R> =
            Serde::deserialize(bytes).map_err(|cause| super::not_decoded::<R>(cause))?;
        if results.len() != self.count {
            return Err(super::lost());
        }
        *lock(&self.results) = Some(results);
        Ok(())
    }

    fn end(&self, end: End) {
        // Dropped last, as that is the user's.
        let items = lock(&self.items).take();
        if items.is_none() {
            return;
        }
        let results = lock(&self.results).take();
        match (end, results) {
            (End::Returned, Some(results)) => self.sink.put(self.first, results),
            (End::Returned, None) => self.sink.fail(super::lost().into()),
            (End::Failed(error), _) => self.sink.fail(error),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.leash.is_cancelled() || !self.sink.wants_more()
    }

    fn is_with(&self, killer: Option<Arc<dyn Kill>>) {
        self.leash.is_with(killer);
    }

    fn is_spared(&self) -> bool {
        self.leash.is_spared()
    }

    fn is_retried(&self, most: usize) -> bool {
        self.leash.is_retried(most)
    }
}
