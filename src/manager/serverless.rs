//! What Python's managers make as well, and needs no server here: objects in shared memory.

use crate::array::Array;
use crate::error::Result;
use crate::queue::Queue;
use crate::sync::{Barrier, Condition, Data, Event, Lock, ReentrantLock, RwLock, Semaphore};
use crate::transfer::codec::{Codec, Serde};
use crate::value::Value;

use super::Carried;
use super::client::ManagerClient;

/// What is shared without a server, made in the server: so that it has the life of a handle that is
/// kept there, in a dictionary or a namespace.
impl ManagerClient {
    /// Makes a [`Value`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let sum = manager.value(1_u64)?;
    /// assert_eq!(sum.update(|sum| { *sum += 2; *sum })?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Value::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn value<T: Data + Carried>(&self, value: T) -> Result<Value<T>> {
        self.run(Value::new, value)?
    }

    /// Makes an [`Array`] of these elements.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let numbers = manager.array(vec![1, 2, 3])?;
    /// assert_eq!(numbers.lock()?.iter().sum::<i32>(), 6);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Array::from_slice`] and of [`Proxy::call`](super::Proxy::call).
    pub fn array<T: Data + Carried>(&self, elements: Vec<T>) -> Result<Array<T>> {
        self.run(|elements: Vec<T>| Array::from_slice(&elements), elements)?
    }

    /// Makes a [`Queue`] for `capacity` messages.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let mut jobs = manager.queue(10)?;
    /// jobs.send("sweep".to_owned())?;
    /// assert_eq!(jobs.recv()?, "sweep");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Queue::bounded`] and of [`Proxy::call`](super::Proxy::call).
    pub fn queue<T: 'static>(&self, capacity: usize) -> Result<Queue<T>>
    where
        Serde: Codec<T>,
    {
        self.run(Queue::bounded, capacity)?
    }

    /// Makes a [`Queue`] without bound.
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let mut jobs = manager.unbounded_queue()?;
    /// (0..1000).try_for_each(|job| jobs.send(job))?;
    /// assert_eq!(jobs.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Queue::unbounded`] and of [`Proxy::call`](super::Proxy::call).
    pub fn unbounded_queue<T: 'static>(&self) -> Result<Queue<T>>
    where
        Serde: Codec<T>,
    {
        self.run(|()| Queue::unbounded(), ())?
    }

    /// Makes a [`Lock`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let printer = manager.lock()?;
    /// let _mine = printer.lock()?;
    /// assert!(printer.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Lock::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn lock(&self) -> Result<Lock> {
        self.run(|()| Lock::new(), ())?
    }

    /// Makes a [`ReentrantLock`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let printer = manager.reentrant_lock()?;
    /// let (_once, twice) = (printer.lock()?, printer.lock()?);
    /// assert_eq!(twice.depth(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ReentrantLock::new`] and of [`Proxy::call`](super::Proxy::call).
    #[doc(alias = "RLock")]
    pub fn reentrant_lock(&self) -> Result<ReentrantLock> {
        self.run(|()| ReentrantLock::new(), ())?
    }

    /// Makes a [`RwLock`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let table = manager.rw_lock()?;
    /// let _readers = (table.read()?, table.clone());
    /// assert!(table.try_write().is_err());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`RwLock::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn rw_lock(&self) -> Result<RwLock> {
        self.run(|()| RwLock::new(), ())?
    }

    /// Makes a [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let seats = manager.semaphore(2)?;
    /// let _mine = seats.acquire()?;
    /// assert_eq!(seats.available(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Semaphore::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn semaphore(&self, permits: u32) -> Result<Semaphore> {
        self.run(Semaphore::new, permits)?
    }

    /// Makes a bounded [`Semaphore`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let seats = manager.bounded_semaphore(2)?;
    /// assert!(seats.release().is_err()); // there were never more than two
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Semaphore::bounded`] and of [`Proxy::call`](super::Proxy::call).
    #[doc(alias = "BoundedSemaphore")]
    pub fn bounded_semaphore(&self, permits: u32) -> Result<Semaphore> {
        self.run(Semaphore::bounded, permits)?
    }

    /// Makes a [`Condition`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let condition = manager.condition()?;
    /// condition.notify_all()?; // nobody waits
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Condition::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn condition(&self) -> Result<Condition> {
        self.run(|()| Condition::new(), ())?
    }

    /// Makes an [`Event`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let ready = manager.event()?;
    /// ready.set()?;
    /// assert!(ready.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Event::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn event(&self) -> Result<Event> {
        self.run(|()| Event::new(), ())?
    }

    /// Makes a [`Barrier`].
    ///
    /// # Examples
    /// ```
    /// # let manager = multiproc::Manager::start()?;
    /// let start = manager.barrier(1)?;
    /// assert!(start.wait()?.is_leader());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Barrier::new`] and of [`Proxy::call`](super::Proxy::call).
    pub fn barrier(&self, parties: usize) -> Result<Barrier> {
        self.run(Barrier::new, parties)?
    }
}
