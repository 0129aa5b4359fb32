//! Room 8: a pool of worker processes.
//!
//! The pool has one [`line`] of orders ([`injector`]) and a thread for each worker ([`minder`]),
//! which takes an order from the line, sends it over a pipe that it shares with nobody else, and
//! waits for the reply. So no worker and no task is in another's way: a worker that dies takes
//! along the one task that it was at. Who waits in `apply`, or comes for the result before a minder
//! has come for the order, borrows an idle minder, and does its part ([`lending`]). A worker is a
//! loop ([`worker`]); what crosses is in [`wire`].

mod builder;
mod claim;
mod entry;
mod error;
mod field;
mod giving;
mod hand;
mod hiring;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod imap;
mod injector;
mod interrupt;
mod lending;
mod line;
mod map;
mod minder;
mod outcome;
mod plan;
mod share;
mod shared;
mod signal;
mod slice;
mod start;
mod stats;
mod task;
mod wait;
mod wire;
mod work;
mod worker;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::PoolBuilder;
pub use error::TaskError;
pub use imap::{Imap, ImapUnordered};
pub use stats::PoolStats;
pub use task::{Task, TaskFuture};
pub use wait::{AsCompleted, as_completed, wait_all};
pub use worker::worker_state;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::transfer::codec::CodecError;

use injector::Phase;
use outcome::Core;
use shared::{Shared, lock};
use work::{Call, Work};

/// How many workers a pool can have.
///
/// # Examples
/// ```
/// use multiproc::{Pool, WORKERS_MAX};
///
/// assert!(Pool::new(WORKERS_MAX + 1).is_err());
/// ```
pub const WORKERS_MAX: usize = 1000;

/// A number of worker processes that call functions with arguments, and bring the results back.
///
/// A task is a function of the program and its argument, as with [`Process::spawn`]; several
/// arguments are a tuple. A worker takes one task after the other. Shared handles (pipes, locks,
/// values) may be in arguments and results.
///
/// **When a worker dies** the task that it was at fails with [`TaskError::WorkerDied`], or is done
/// again if the pool was made with [`retries`](PoolBuilder::retries); another worker takes its
/// place, and everything else goes on. A task that panics fails alone, with message and place.
///
/// Dropping a pool ends it: what is not done fails with [`TaskError::Terminated`], the workers are
/// killed. [`close`](Self::close) and [`join`](Self::join) let everything be done first.
///
/// [`Process::spawn`]: crate::Process::spawn
///
/// # Examples
/// ```
/// use multiproc::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = Pool::new(3)?;
/// assert_eq!(pool.apply(square, 7)?, 49);
/// assert_eq!(pool.map(square, 1..=4)?, [1, 4, 9, 16]);
/// let task = pool.submit(square, 9)?;
/// assert_eq!(task.get()?, 81);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool {
    shared: Arc<Shared>,
    minders: Mutex<Minders>,
    /// A minder is gone.
    gone: Condvar,
    _listening: Option<interrupt::Listening>,
}

/// The threads of a pool.
#[derive(Default)]
struct Minders {
    /// Those that nobody waits for yet.
    lives: Vec<JoinHandle<()>>,
    /// All that there ever were.
    ids: Vec<ThreadId>,
    /// How many threads wait for some of the others.
    joining: usize,
}

impl Pool {
    /// Makes a pool of `workers` workers: 1 to 1000.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::new(2)?;
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Begins to say what the pool is to be like.
    ///
    /// # Examples
    /// ```
    /// let pool = multiproc::Pool::builder().workers(2).name("press").build()?;
    /// assert_eq!(pool.map(u32::count_ones, [1, 3, 7])?, [1, 2, 3]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    fn minders(&self) -> std::sync::MutexGuard<'_, Minders> {
        lock(&self.minders)
    }

    /// Gives a worker `f(args)` to do, when there is one for it.
    ///
    /// Waits only if the pool was made with a [`queue_bound`](PoolBuilder::queue_bound), and not in
    /// a callback of one of its tasks.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// let (one, other) = (pool.submit(u32::count_ones, 1)?, pool.submit(u32::count_ones, 7)?);
    /// assert_eq!(one.get()? + other.get()?, 4);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Misuse`](ErrorKind::Misuse): the pool was closed.
    /// - [`Disconnected`](ErrorKind::Disconnected): the pool was terminated or interrupted.
    /// - [`Worker`](ErrorKind::Worker): the pool gave up, as its workers die as fast as they are
    ///   started; if none can be started, the kind says why.
    /// - [`Image`](ErrorKind::Image): the function is not part of the program itself.
    /// - [`Forked`](ErrorKind::Forked): this process was forked from that of the pool.
    #[doc(alias = "apply_async")]
    pub fn submit<A, R>(&self, f: fn(A) -> R, args: A) -> Result<Task<R>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Ok(self.submit_or_end(f, args)?)
    }

    fn submit_or_end<A, R>(&self, f: fn(A) -> R, args: A) -> Result<Task<R>, TaskError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let (task, call) = self.prepare(f, args)?;
        let task = task.of(&self.shared.beacon);
        self.push(call)?;
        Ok(task)
    }

    /// A task, and the order that is still to be put into the line.
    fn prepare<A, R>(&self, f: fn(A) -> R, args: A) -> Result<(Task<R>, Arc<dyn Work>)>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let core = Core::new(self.shared.identity);
        let call = Call::new(entry::one(f)?, args, &core);
        Ok((Task::new(core), call))
    }

    /// Has a worker do `f(args)`, and waits for the result.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3);
    /// assert_eq!(pool.apply(|(a, b): (u32, u32)| a * b, (6, 7))?, 42);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit), as a [`TaskError`], and of [`Task::get`]. In a callback
    /// of a task of this pool always [`Misuse`](ErrorKind::Misuse).
    pub fn apply<A, R>(&self, f: fn(A) -> R, args: A) -> Result<R, TaskError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.shared.identity.may_wait()?;
        let (task, call) = self.prepare(f, args)?;
        match self.shared.injector.borrow() {
            Some(minder) => minder.lend(call),
            None => self.push(call)?,
        }
        task.get()
    }

    /// Puts an order into the line, waiting for room; in a callback, without.
    fn push(&self, work: Arc<dyn Work>) -> Result<(), TaskError> {
        self.push_until(&work, Deadline::NEVER).map(drop)
    }

    /// Puts an order into the line if there is room before the deadline. Whether there was.
    fn push_until(&self, work: &Arc<dyn Work>, deadline: Deadline) -> Result<bool, TaskError> {
        let Shared { identity, injector, .. } = &*self.shared;
        identity.check_is_ours()?;
        let pushed = if identity.is_served_here() {
            // Who would make room may be this thread.
            injector.push_beyond(Arc::clone(work)).map(|()| true)
        } else {
            injector.push(work, deadline)
        };
        pushed.map_err(|phase| refusal(&self.shared, phase))
    }

    /// Whether this is the process of the pool. In one that was forked from it, nothing is done to
    /// what is the other's.
    fn is_ours(&self) -> bool {
        self.shared.identity.check_is_ours().is_ok()
    }

    /// Takes in no more tasks. Those that there are will be done.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(u32::count_ones, 7)?;
    /// pool.close();
    /// assert!(pool.submit(u32::count_ones, 7).is_err());
    /// assert_eq!(task.get()?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn close(&self) {
        if self.is_ours() {
            self.shared.injector.enter(Phase::Closed);
        }
    }

    /// Waits until everything is done and all workers have left.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(u32::count_ones, 7)?;
    /// pool.close();
    /// pool.join()?;
    /// assert!(task.is_ready() && pool.pids().is_empty());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Misuse`](ErrorKind::Misuse) if the pool is not closed: it would never end. Also in a
    ///   callback of one of its tasks, while there are others to be done.
    /// - [`Forked`](ErrorKind::Forked) in a process that was forked from that of the pool.
    pub fn join(&self) -> Result<()> {
        self.shared.identity.check_is_ours()?;
        if self.shared.injector.phase() == Phase::Open {
            let what = "join a pool that still takes in tasks: call `close` or `terminate` first";
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        let is_served_here = self.shared.identity.is_served_here();
        let deadline =
            if is_served_here { Deadline::after(Duration::ZERO) } else { Deadline::NEVER };
        if !self.shared.injector.drain(deadline) {
            let what = "join a pool in a callback of one of its tasks, before the others are done";
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        self.leave();
        Ok(())
    }

    /// Ends the pool: what is not done fails with [`TaskError::Terminated`], workers are killed.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::TaskError;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(park, ())?;
    /// pool.terminate();
    /// assert!(matches!(task.get(), Err(TaskError::Terminated)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn terminate(&self) {
        if self.is_ours() {
            self.shared.stop(Phase::Terminated);
        }
    }

    /// Ends the pool as [`terminate`](Self::terminate) does, but with [`TaskError::Interrupted`]:
    /// for a program that was told to stop, as by Ctrl-C. Workers take no notice of `SIGINT`
    /// themselves, by a handler that does nothing; programs that they execute hear of it.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::TaskError;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// # let pool = multiproc::Pool::new(1)?;
    /// let task = pool.submit(park, ())?;
    /// pool.interrupt();
    /// assert!(matches!(task.get(), Err(TaskError::Interrupted)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn interrupt(&self) {
        if self.is_ours() {
            self.shared.stop(Phase::Interrupted);
        }
    }

    /// Waits for the threads of the pool, whose workers have no more to do.
    fn leave(&self) {
        let me = thread::current().id();
        let mut minders = self.minders();
        let is_minder = minders.ids.contains(&me) || self.shared.identity.is_borrowed_here();
        let mut lives = std::mem::take(&mut minders.lives);
        if is_minder {
            // A callback may be what drops the pool, or joins it: it does not wait for its own
            // thread, nor for one that waits for it.
            let Some(own) = lives.iter().position(|life| life.thread().id() == me) else {
                minders.lives = lives;
                return;
            };
            minders.lives.push(lives.swap_remove(own));
        }
        minders.joining += 1;
        drop(minders);
        for life in lives {
            let _ = life.join();
        }
        let mut minders = self.minders();
        minders.joining -= 1;
        self.gone.notify_all();
        while !is_minder && minders.joining > 0 {
            minders = self.gone.wait(minders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What the pool is doing, and has done.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// for n in 0..3 {
    ///     pool.apply(u32::count_ones, n)?;
    /// }
    /// let stats = pool.stats();
    /// assert_eq!((stats.done, stats.failed, stats.busy.len()), (3, 0, 2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        PoolStats::of(&self.shared)
    }

    /// How many workers the pool has.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// assert_eq!(pool.workers(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.plan.workers
    }

    /// The process ids of the workers that there are at the moment.
    ///
    /// # Examples
    /// ```
    /// # let pool = multiproc::Pool::new(2)?;
    /// let pid = pool.apply(|_: ()| std::process::id(), ())?;
    /// assert!(pool.pids().contains(&pid));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.shared.pids()
    }
}

/// Why a pool takes no task.
fn refusal(shared: &Shared, phase: Phase) -> TaskError {
    if phase.works() {
        return Error::new(ErrorKind::Misuse, "submit a task to a pool that was closed").into();
    }
    shared.why(phase)
}

#[cold]
fn not_decoded<R>(cause: CodecError) -> Error {
    let what = format!("decode a {}, the result of a task", std::any::type_name::<R>());
    Error::new(ErrorKind::Codec, what).because(cause)
}

#[cold]
fn lost() -> Error {
    Error::new(ErrorKind::Corrupt, "a worker said that it is done, but not with what")
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_ours() {
            let minders = self.minders.get_mut().unwrap_or_else(PoisonError::into_inner);
            // There are no such threads here.
            std::mem::forget(std::mem::take(&mut minders.lives));
            return;
        }
        self.shared.stop(Phase::Terminated);
        self.leave();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
