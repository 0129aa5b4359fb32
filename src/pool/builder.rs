//! How a pool is to be made.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::process::{StartMethod, available_parallelism};

use super::entry;
use super::plan::{Init, Plan};
use super::{Pool, WORKERS_MAX};

/// How a pool is to be made; begun by [`Pool::builder`].
///
/// # Examples
/// ```
/// use multiproc::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::builder()
///     .workers(2)
///     .tasks_per_worker(100)
///     .task_timeout(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(pool.apply(str::len_of, "abc".to_owned()).unwrap(), 3);
/// # mod str { pub fn len_of(text: String) -> usize { text.len() } }
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "there is no pool before `build`"]
pub struct PoolBuilder {
    pub(super) plan: Plan,
    /// The first thing that was wrong; `build` tells.
    error: Option<Error>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        let plan = Plan {
            workers: available_parallelism(),
            initializer: None,
            tasks_per_worker: None,
            memory_per_worker: None,
            method: StartMethod::default(),
            is_pinned: false,
            name: "Worker".to_owned(),
            intensity: (10, Duration::from_secs(1)),
            is_lazy: false,
            limit: None,
            initializer_limit: None,
            retries: 0,
            queue_bound: usize::MAX,
            in_process: false,
            ctrl_c: false,
        };
        Self { plan, error: None }
    }

    /// How many workers there are: 1 to 1000. As many as there are CPUs, unless this is called.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// let pool = Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "processes")]
    pub fn workers(mut self, count: usize) -> Self {
        self.plan.workers = count;
        self
    }

    /// What each worker does first, also one that takes another's place. What it returns is the
    /// worker's state, see [`worker_state`](crate::worker_state).
    ///
    /// If it panics or ends its process, [`build`](Self::build) fails.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, worker_state};
    ///
    /// fn load(size: usize) -> Vec<u64> {
    ///     vec![7; size]
    /// }
    /// fn sum(_: ()) -> u64 {
    ///     worker_state(|table: &mut Vec<u64>| table.iter().sum()).unwrap()
    /// }
    /// let pool = Pool::builder().workers(1).initializer(load, 3).build()?;
    /// assert_eq!(pool.apply(sum, ())?, 21);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer<A, S>(mut self, f: fn(A) -> S, args: A) -> Self
    where
        A: Serialize + DeserializeOwned + Send + Sync + 'static,
        S: 'static,
    {
        match entry::state(f) {
            Ok(entry) => {
                self.plan.initializer = Some(Arc::new(Init { entry, arguments: Arc::new(args) }));
            }
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// After so many tasks a worker leaves, and a new one takes its place, which is there before
    /// the old one goes. Zero means never.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// fn pid(_: ()) -> u32 {
    ///     std::process::id()
    /// }
    /// let pool = Pool::builder().workers(1).tasks_per_worker(1).build()?;
    /// assert_ne!(pool.apply(pid, ())?, pool.apply(pid, ())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn tasks_per_worker(mut self, most: u64) -> Self {
        self.plan.tasks_per_worker = NonZeroU64::new(most);
        self
    }

    /// A worker that has more memory than this, in bytes, when a task is done is replaced.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// let pool = Pool::builder().workers(1).memory_per_worker(1 << 30).build()?;
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3); // less than 1 GiB: the worker stays
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn memory_per_worker(mut self, most: u64) -> Self {
        self.plan.memory_per_worker = Some(most);
        self
    }

    /// How worker processes are made.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Pool, StartMethod};
    ///
    /// let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.plan.method = method;
        self
    }

    /// Gives each worker a CPU of its own, as far as there are enough.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// fn cpus(_: ()) -> usize {
    ///     multiproc::available_parallelism()
    /// }
    /// let pool = Pool::builder().workers(1).pinned(true).build()?;
    /// assert_eq!(pool.apply(cpus, ())?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn pinned(mut self, is_pinned: bool) -> Self {
        self.plan.is_pinned = is_pinned;
        self
    }

    /// What the workers are called, before a dash and their number. `Worker` by default.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// fn name(_: ()) -> String {
    ///     multiproc::current().name().to_owned()
    /// }
    /// let pool = Pool::builder().workers(1).name("press").build()?;
    /// assert_eq!(pool.apply(name, ())?, "press-1");
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = name.into();
        self
    }

    /// So many deaths of workers within `period`, and the pool gives up: what it has not done
    /// fails. 10 within a second by default. Those that the pool killed, as a task was
    /// cancelled or took too long, do not count.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// # use std::time::Duration;
    /// let minute = Duration::from_secs(60);
    /// let pool = Pool::builder().workers(1).restarts(0, minute).build()?;
    /// assert!(pool.apply(|code| -> () { std::process::exit(code) }, 3).is_err());
    /// // One death was too many.
    /// assert!(pool.apply(u32::count_ones, 7).is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn restarts(mut self, most: usize, period: Duration) -> Self {
        self.plan.intensity = (most, period);
        self
    }

    /// Starts a worker when there is a task for it, not before.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// let pool = Pool::builder().workers(4).lazy(true).build()?;
    /// assert_eq!(pool.pids().len(), 0);
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3);
    /// assert_eq!(pool.pids().len(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn lazy(mut self, is_lazy: bool) -> Self {
        self.plan.is_lazy = is_lazy;
        self
    }

    /// How long a task may run. One that takes longer fails, and its worker is killed.
    ///
    /// The time begins when the task is given to its worker, and ends when the result is there. So
    /// a worker that does not even read its task, because somebody has stopped it, is killed after
    /// that time as well; the task is then given to another one, once.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Pool, TaskError};
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(50)).build()?;
    /// assert!(matches!(pool.apply(park, ()), Err(TaskError::TimedOut { .. })));
    /// assert_eq!(pool.apply(u32::count_ones, 7)?, 3); // by another worker
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.plan.limit = Some(limit);
        self
    }

    /// How long the initializer of a worker may run, once its process is started. One that
    /// takes longer has failed: its worker is killed, and [`build`](Self::build) gives a
    /// [`Timeout`](ErrorKind::Timeout). Without this it may take as long as it likes, whatever
    /// [`task_timeout`](Self::task_timeout) says.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{ErrorKind, Pool};
    /// # use std::time::Duration;
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let pool = Pool::builder().workers(1).initializer(park, ());
    /// let error = pool.initializer_timeout(Duration::from_millis(50)).build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// ```
    pub fn initializer_timeout(mut self, limit: Duration) -> Self {
        self.plan.initializer_limit = Some(limit);
        self
    }

    /// How often a task is given to another worker because the one that had it died: it was killed,
    /// or the function ended its process. 0 by default: the task fails at once with
    /// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), as it does after so many times.
    ///
    /// **Such a task runs more than once**, the first times in part, so what it changes outside of
    /// itself must bear that. Of `map` it is the whole chunk that is done again. Tasks that panic,
    /// take too long, or are cancelled are not given to anybody else, nor are those of
    /// [`map_array`](Pool::map_array) and [`map_slice`](Pool::map_slice). The deaths count as
    /// [`restarts`](Self::restarts).
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use multiproc::{Pool, Value};
    ///
    /// fn abort_once(visits: Value<AtomicU32>) -> u32 {
    ///     if visits.fetch_add(1, Ordering::Relaxed) == 0 {
    ///         std::process::abort();
    ///     }
    ///     42
    /// }
    ///
    /// let pool = Pool::builder().workers(2).retries(3).build()?;
    /// let visits = Value::atomic(0u32)?;
    /// assert_eq!(pool.apply(abort_once, visits.clone())?, 42);
    /// assert_eq!(visits.load(Ordering::Relaxed), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retries(mut self, most: u32) -> Self {
        self.plan.retries = most as usize;
        self
    }

    /// How many tasks may wait for a worker; who submits more waits for room. At least 1.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// let pool = Pool::builder().workers(1).queue_bound(10).build()?;
    /// let tasks: Result<Vec<_>, _> = (0..100).map(|n| pool.submit(u32::count_ones, n)).collect();
    /// assert_eq!(tasks?.pop().unwrap().get()?, 99_u32.count_ones());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn queue_bound(mut self, most: usize) -> Self {
        self.plan.queue_bound = most;
        self
    }

    /// Runs the workers as threads of this process, for a debugger. They cannot be killed:
    /// time-outs, cancelling and the end of the pool do not stop a task, which goes on unheard,
    /// and one that ends its process ends this one.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Pool;
    /// fn pid(_: ()) -> u32 {
    ///     std::process::id()
    /// }
    /// let pool = Pool::builder().workers(2).in_process(true).build()?;
    /// assert_eq!(pool.apply(pid, ())?, std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "ThreadPool")]
    #[doc(alias = "multiprocessing.dummy")]
    pub fn in_process(mut self, in_process: bool) -> Self {
        self.plan.in_process = in_process;
        self
    }

    /// Has the first `SIGINT` (Ctrl-C) interrupt the pool instead of ending the program: whoever
    /// waits for a task hears [`Interrupted`](crate::TaskError::Interrupted), the workers are
    /// killed, and the program goes on to its own end. The second one ends the program, as without
    /// this, unless another such pool was made in between.
    ///
    /// While there is such a pool, a handler of the program's own for `SIGINT` is set aside; it
    /// comes back with the end of the last of them. One that the program sets meanwhile stays, and
    /// the pools hear nothing any more. Without this, the program ends by the signal, and its
    /// workers with it; a program that has a handler can call [`Pool::interrupt`].
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Pool, TaskError};
    /// # fn park(_: ()) {
    /// #     std::thread::park();
    /// # }
    /// let pool = Pool::builder().workers(1).ctrl_c(true).build()?;
    /// let task = pool.submit(park, ())?;
    /// // Somebody presses Ctrl-C.
    /// # nix::sys::signal::raise(nix::sys::signal::SIGINT).unwrap();
    /// assert!(matches!(task.get(), Err(TaskError::Interrupted)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "KeyboardInterrupt")]
    pub fn ctrl_c(mut self, interrupts: bool) -> Self {
        self.plan.ctrl_c = interrupts;
        self
    }

    /// Makes the pool, and waits until every worker is ready for work.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Pool};
    ///
    /// assert_eq!(Pool::builder().workers(2).build()?.workers(), 2);
    /// assert_eq!(Pool::builder().workers(0).build().unwrap_err().kind(), ErrorKind::Limit);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Limit`](ErrorKind::Limit): not 1 to 1000 workers, or there can be no more processes.
    /// - [`Misuse`](ErrorKind::Misuse): there is a NUL in the name of the workers.
    /// - [`Image`](ErrorKind::Image): the initializer is not part of the program itself.
    /// - [`Worker`](ErrorKind::Worker): the initializer panicked.
    /// - [`Disconnected`](ErrorKind::Disconnected): the initializer ended its process.
    /// - [`Timeout`](ErrorKind::Timeout): the initializer took too long.
    /// - Those of [`Process::spawn`](crate::Process::spawn).
    pub fn build(self) -> Result<Pool> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Plan { workers, queue_bound, .. } = self.plan;
        if !(1..=WORKERS_MAX).contains(&workers) {
            let what = format!("a pool of {workers} workers: it has 1 to {WORKERS_MAX}");
            return Err(Error::new(ErrorKind::Limit, what));
        }
        if queue_bound == 0 {
            let what = "a pool in which no task may wait: `queue_bound` is at least 1";
            return Err(Error::new(ErrorKind::Limit, what));
        }
        if self.plan.name.contains('\0') {
            return Err(Error::new(ErrorKind::Misuse, "name workers with a NUL in their name"));
        }
        Pool::start(self.plan)
    }
}
