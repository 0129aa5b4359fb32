//! A condition between processes: waiting, with a lock in one's hands, for what others do.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, LockError, Result};
use crate::raw::Corrupt;
use crate::raw::condition::{Condition as Machine, Enlisted, Full, Signal, WAITERS_MAX};
use crate::segment::Site;
use crate::sys::clock::Deadline;
use crate::transfer::identity::fingerprint;

use super::guard::Guard;
use super::named::named_verbs;
use super::object::Object;

/// A place where threads of several processes wait until something has changed that a lock guards.
///
/// Who waits gives its guard away, and the lock is free meanwhile. Who changes something takes the
/// lock, changes it, and then [notifies](Self::notify_one) one of those who wait, some, or all; for
/// the notification itself the lock is not needed. All who wait should come with one lock, which
/// may be any: a [`Lock`](crate::Lock), or a [`ReentrantLock`](crate::ReentrantLock).
///
/// A notification reaches exactly as many of those who wait at that time as it says, and does
/// nothing for those who come later. Who has waited longest is first, unless 131072 others came and
/// gave up meanwhile; the lock then goes to whoever comes first. 1024 threads can wait at once.
///
/// **When a waiter dies** that was notified, and does not have its lock again yet, another one is
/// notified in its place. If the process that sees to it dies as well, one more may be: nothing
/// else makes [`wait`](Self::wait) return without a notification. A notifier that dies in the
/// middle has notified some and not the others. A waiter that is stopped, and not dead, keeps its
/// notification.
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// are of the same condition.
///
/// # Examples
/// ```
/// use multiproc::{Condition, Lock, Process, Queue};
///
/// /// Waits until there is work, and says what it got.
/// fn work((lock, ready, mut jobs): (Lock, Condition, Queue<u32>)) -> multiproc::Result<u32> {
///     let _guard = ready.wait_while(lock.lock()?, |_| jobs.is_empty())?;
///     Ok(jobs.recv().unwrap())
/// }
///
/// let (lock, ready, mut jobs) = (Lock::new()?, Condition::new()?, Queue::bounded(8)?);
/// let worker = Process::spawn(work, (lock.clone(), ready.clone(), jobs.clone()))?;
/// let guard = lock.lock()?;
/// jobs.send(7).unwrap();
/// drop(guard);
/// ready.notify_one()?;
/// assert_eq!(worker.join().unwrap()?, 7);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "Condvar")]
#[derive(Clone, PartialEq, Eq)]
pub struct Condition {
    object: Object<Machine>,
}

named_verbs!(Condition, "a condition");

impl Condition {
    /// Makes a condition for which nobody waits. It takes 5 KiB of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Condition;
    ///
    /// let condition = Condition::new()?;
    /// // Nobody waits for it.
    /// assert!(!condition.notify_one()?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no shared memory left, or no file descriptor for it.
    pub fn new() -> Result<Self> {
        Self::make_at(&Site::Anywhere)
    }

    fn make_at(site: &Site<'_>) -> Result<Self> {
        Ok(Self { object: Object::make(site, Self::fingerprint(), |_| ())? })
    }

    fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<Machine> {
        &self.object
    }

    /// Gives up the lock, waits until this thread is notified, and takes the lock again.
    ///
    /// What was true before need not be true any more: others had the lock meanwhile, and perhaps
    /// between the notification and this return. So look again, or say what you wait for by
    /// [`wait_while`](Self::wait_while).
    ///
    /// Of a [`ReentrantLock`](crate::ReentrantLock) all levels are given up, and taken again.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Process, Value};
    ///
    /// fn finish((left, changed): (Value<u32>, Condition)) -> multiproc::Result<()> {
    ///     left.set(0)?;
    ///     changed.notify_one()?;
    ///     Ok(())
    /// }
    ///
    /// let (left, changed) = (Value::new(1u32)?, Condition::new()?);
    /// let mut guard = left.lock()?;
    /// let child = Process::spawn(finish, (left.clone(), changed.clone()))?;
    /// while *guard > 0 {
    ///     guard = changed.wait(guard)?;
    /// }
    /// drop(guard);
    /// child.join().unwrap()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// the lock was left poisoned meanwhile; [`Failed`](LockError::Failed), and then the guard is
    /// dropped, if 1024 threads wait already, in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock or the condition is damaged.
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, LockError<G>> {
        let woken = self.wait_until(guard, Deadline::NEVER);
        woken.map(|(guard, _)| guard).map_err(|error| error.map(|(guard, _)| guard))
    }

    /// As [`wait`](Self::wait), for so long at the most. Says whether the thread was notified; if
    /// not, the time was up.
    ///
    /// It may take longer if somebody else has the lock then.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::{Condition, Lock};
    ///
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// let (_guard, is_notified) = changed.wait_timeout(lock.lock()?, Duration::from_millis(1))?;
    /// assert!(!is_notified);
    /// // The lock is in this thread's hands again.
    /// assert!(lock.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<G: Guard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, bool), LockError<(G, bool)>> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits as long as `condition` holds, and asks it each time that this thread is notified.
    ///
    /// It is asked with the lock in hand, and given what the lock guards: the data, or `()` where
    /// it has none. Python's `wait_for` waits until its condition holds; this is its opposite.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Process, Value};
    ///
    /// fn work((left, changed): (Value<u32>, Condition)) -> multiproc::Result<()> {
    ///     left.update(|left| *left -= 1)?;
    ///     changed.notify_all()?;
    ///     Ok(())
    /// }
    ///
    /// let (left, changed) = (Value::new(3u32)?, Condition::new()?);
    /// let workers = [(); 3].map(|()| Process::spawn(work, (left.clone(), changed.clone())));
    /// let guard = changed.wait_while(left.lock()?, |left| *left > 0)?;
    /// assert_eq!(*guard, 0);
    /// drop(guard);
    /// for worker in workers {
    ///     worker?.join().unwrap()?;
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait); of a lock that is poisoned the condition is not asked.
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: Guard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> Result<G, LockError<G>> {
        while guard.ask(&mut condition) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Self::wait_while), for so long at the most. Says whether the wait came to
    /// its end; if not, the time was up, and `condition` held still.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::{Condition, Value};
    ///
    /// const SOON: Duration = Duration::from_millis(1);
    ///
    /// let (left, changed) = (Value::new(3u32)?, Condition::new()?);
    /// let (guard, is_done) = changed.wait_timeout_while(left.lock()?, SOON, |left| *left > 0)?;
    /// assert!(!is_done);
    /// assert_eq!(*guard, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait_while`](Self::wait_while); with a poisoned guard comes `false`.
    #[doc(alias = "wait_for")]
    pub fn wait_timeout_while<G: Guard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> Result<(G, bool), LockError<(G, bool)>> {
        let deadline = Deadline::after(timeout);
        while guard.ask(&mut condition) {
            if deadline.is_past() {
                return Ok((guard, false));
            }
            let woken = self.wait_until(guard, deadline);
            (guard, _) = woken.map_err(|error| error.map(|(guard, _)| (guard, false)))?;
        }
        Ok((guard, true))
    }

    /// Notifies the thread that has waited longest. False if nobody waits.
    ///
    /// Python's `notify` needs the lock; this does not. What was done before it is seen by the
    /// thread that it wakes.
    ///
    /// # Examples
    /// What is notified is the thread that waits; nothing is kept for one that comes later:
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::{Condition, Lock};
    ///
    /// let (lock, changed) = (Lock::new()?, Condition::new()?);
    /// assert!(!changed.notify_one()?);
    /// let (_guard, is_notified) = changed.wait_timeout(lock.lock()?, Duration::from_millis(1))?;
    /// assert!(!is_notified);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a child that was forked without [`Process::fork`](crate::Process::fork).
    pub fn notify_one(&self) -> Result<bool> {
        self.notify(1).map(|notified| notified == 1)
    }

    /// Notifies the `n` threads that have waited longest, or all if they are fewer. Says how many.
    ///
    /// # Examples
    /// There is work for two:
    /// ```
    /// use multiproc::{Condition, Process, Value};
    ///
    /// fn work((jobs, changed): (Value<u32>, Condition)) -> multiproc::Result<()> {
    ///     let mut jobs = changed.wait_while(jobs.lock()?, |jobs| *jobs == 0)?;
    ///     *jobs -= 1;
    ///     Ok(())
    /// }
    ///
    /// let (jobs, changed) = (Value::new(0)?, Condition::new()?);
    /// let workers = [(); 2].map(|()| Process::spawn(work, (jobs.clone(), changed.clone())));
    /// jobs.set(2)?;
    /// // A worker that has not come yet will see that there is work, and not wait.
    /// changed.notify(2)?;
    /// for worker in workers {
    ///     worker?.join().unwrap()?;
    /// }
    /// assert_eq!(jobs.get()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`notify_one`](Self::notify_one).
    pub fn notify(&self, n: usize) -> Result<usize> {
        self.object.me()?;
        Ok(self.object.machine().notify(n))
    }

    /// Notifies all threads that wait. Says how many.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Condition, Process, Value};
    ///
    /// fn start((go, changed): (Value<u8>, Condition)) -> multiproc::Result<()> {
    ///     let _guard = changed.wait_while(go.lock()?, |go| *go == 0)?;
    ///     Ok(())
    /// }
    ///
    /// let (go, changed) = (Value::new(0)?, Condition::new()?);
    /// let runners = [(); 3].map(|()| Process::spawn(start, (go.clone(), changed.clone())));
    /// go.set(1)?;
    /// changed.notify_all()?;
    /// for runner in runners {
    ///     runner?.join().unwrap()?;
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`notify_one`](Self::notify_one).
    pub fn notify_all(&self) -> Result<usize> {
        self.notify(usize::MAX)
    }

    /// A wait, and whether it ended by a notification.
    fn wait_until<G: Guard>(
        &self,
        guard: G,
        deadline: Deadline,
    ) -> Result<(G, bool), LockError<(G, bool)>> {
        let enlisted = self.enlist().map_err(LockError::Failed)?;
        let rest = guard.give_up();
        let (machine, segment) = (self.object.machine(), self.object.segment());
        let suspect = || {
            machine.suspects().for_each(|owner| {
                segment.recover_one(owner);
            });
        };
        let ended = machine.wait(enlisted, segment.terms(deadline), suspect);
        let guard = G::take_again(rest);
        // Not before the lock is ours: until then the signal is another's if we die.
        let is_notified = self.accept(ended).map_err(LockError::Failed)?;
        match guard {
            Ok(guard) => Ok((guard, is_notified)),
            Err(error) => Err(error.map(|guard| (guard, is_notified))),
        }
    }

    /// Whether a wait ended by a signal, which is used up then.
    fn accept(&self, ended: Result<Option<Signal>, Corrupt>) -> Result<bool> {
        let Some(signal) = ended.map_err(written_over)? else { return Ok(false) };
        self.object.machine().accept(signal).map_err(written_over)?;
        Ok(true)
    }

    fn enlist(&self) -> Result<Enlisted> {
        let me = self.object.me()?.participant;
        let machine = self.object.machine();
        let enlisted = machine.enlist(me).or_else(|Full| {
            // Some of them may be dead.
            self.object.segment().recover();
            machine.enlist(me)
        });
        enlisted.map_err(|Full| {
            let what = format!("a condition for which {WAITERS_MAX} threads wait already");
            Error::new(ErrorKind::Limit, what)
        })
    }
}

#[cold]
fn written_over(_: Corrupt) -> Error {
    let what = "a condition whose waiters were written over by something else";
    Error::new(ErrorKind::Corrupt, what)
}

impl fmt::Debug for Condition {
    /// What it looks like at this moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.object.machine().waiting()).finish()
    }
}

impl Serialize for Condition {
    /// Puts a handle of the condition into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Condition {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
