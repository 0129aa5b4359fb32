//! A lock between processes that its owner can take again.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, LockError, Result};
use crate::raw::mutex::{Leaving, Legacy, Mutex, Refusal};
use crate::segment::Site;
use crate::sys::clock::Deadline;
use crate::transfer::identity::fingerprint;

use super::Holder;
use super::guard::{Guard, sealed::Sealed};
use super::named::named_verbs;
use super::object::Object;
use super::owned::{self, Claim, Patience};

/// A lock that the thread that has it can take again: it is free when every guard is gone.
///
/// Otherwise it is a [`Lock`](crate::Lock): it guards whatever its users agree upon, its handles
/// travel, and it outlives its owner. The owner is a thread of a process. Another thread of the
/// same process waits like anybody else.
///
/// # Examples
/// ```
/// use multiproc::ReentrantLock;
///
/// fn count_down(lock: &ReentrantLock, n: u32) -> multiproc::Result<u32> {
///     let guard = lock.lock()?;
///     if n == 0 { Ok(guard.depth()) } else { count_down(lock, n - 1) }
/// }
///
/// let lock = ReentrantLock::new()?;
/// assert_eq!(count_down(&lock, 3)?, 4);
/// assert!(lock.who_holds().is_none());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "RLock")]
#[derive(Clone, PartialEq, Eq)]
pub struct ReentrantLock {
    object: Object<Mutex>,
}

/// One of the times that a thread has the lock. The last one that is dropped frees it.
///
/// It stays with its thread. In a child that was forked meanwhile its copy does nothing.
///
/// # Examples
/// ```
/// use multiproc::ReentrantLock;
///
/// let lock = ReentrantLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// // It is free when both are gone, in whichever order.
/// assert!(lock.is_locked());
/// drop(inner);
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
#[derive(Debug)]
pub struct ReentrantGuard<'a> {
    lock: &'a ReentrantLock,
    claim: Claim,
    _stays: PhantomData<*const ()>,
}

named_verbs!(ReentrantLock, "a lock");

impl ReentrantLock {
    /// Makes a lock, which is free. It takes 128 bytes of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ReentrantLock;
    ///
    /// assert!(!ReentrantLock::new()?.is_locked());
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

    pub(crate) fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }

    /// Takes the lock once more, or waits for it as long as it takes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new()?;
    /// let _outer = lock.lock()?;
    /// let inner = lock.lock()?;
    /// assert_eq!(inner.depth(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// an owner left the lock poisoned; not again for the levels above.
    /// [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), where the lock is damaged, and if a thread has it
    /// more often than `u32` can count.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<ReentrantGuard<'_>, LockError<ReentrantGuard<'_>>> {
        self.take(Some(Deadline::NEVER))
    }

    /// Takes the lock if it is free, or this thread's already.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, ReentrantLock};
    ///
    /// fn is_free(lock: ReentrantLock) -> bool {
    ///     lock.try_lock().is_ok()
    /// }
    ///
    /// let lock = ReentrantLock::new()?;
    /// let _guard = lock.lock()?;
    /// // It is this thread's, and nobody else's.
    /// assert!(lock.try_lock().is_ok());
    /// assert!(!Process::spawn(is_free, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ReentrantGuard<'_>, LockError<ReentrantGuard<'_>>> {
        self.take(None)
    }

    /// Takes the lock once more, or waits for it for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new()?;
    /// let _guard = lock.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = lock.lock_timeout(Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReentrantGuard<'_>, LockError<ReentrantGuard<'_>>> {
        self.take(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn take(
        &self,
        patience: Patience,
    ) -> Result<ReentrantGuard<'_>, LockError<ReentrantGuard<'_>>> {
        let me = match self.object.me() {
            Ok(me) => me,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let mutex = self.object.machine();
        let legacy = match owned::take(mutex, self.object.segment(), me, patience) {
            Ok(legacy) => {
                mutex.set_depth(1);
                legacy
            }
            // It is ours, and whoever had it before us was spoken of at the first level.
            Err(Refusal::Own) if mutex.deepen().is_some() => Legacy::NONE,
            Err(Refusal::Own) => return Err(LockError::Failed(too_deep())),
            Err(refusal) => return Err(owned::refused(refusal)),
        };
        let guard = ReentrantGuard { lock: self, claim: Claim::new(me), _stays: PhantomData };
        if legacy.is_none() { Ok(guard) } else { Err(owned::poisoned(mutex, legacy, guard)) }
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<Mutex> {
        &self.object
    }

    /// Who has the lock, if anybody has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new()?;
    /// let _levels = (lock.lock()?, lock.lock()?);
    /// let holder = lock.who_holds().unwrap();
    /// assert_eq!((holder.pid, holder.count), (std::process::id(), 2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn who_holds(&self) -> Option<Holder> {
        owned::holder_of(self.object.machine(), self.object.segment())
    }

    /// Whether somebody has the lock.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new()?;
    /// let guard = lock.lock()?;
    /// assert!(lock.is_locked());
    /// drop(guard);
    /// assert!(!lock.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "locked")]
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.object.machine().owner().is_some()
    }

    /// Whether an owner died or panicked, and nobody has called
    /// [`clear_poison`](Self::clear_poison) since.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, ReentrantLock};
    ///
    /// fn crash(lock: ReentrantLock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = ReentrantLock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// assert!(lock.is_poisoned());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.object.machine().legacy().is_none()
    }

    /// Tells everybody that all is well again. For whoever has the lock and has looked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{LockError, Process, ReentrantLock};
    ///
    /// fn crash(lock: ReentrantLock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = ReentrantLock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// let guard = lock.lock().or_else(LockError::recover)?;
    /// // Put in order what the lock guards.
    /// lock.clear_poison();
    /// drop(guard);
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.object.machine().clear();
    }
}

#[cold]
fn too_deep() -> Error {
    Error::new(ErrorKind::Limit, format!("a lock that one thread has {} times", u32::MAX))
}

impl ReentrantGuard<'_> {
    /// How often this thread has the lock, this time included.
    ///
    /// # Examples
    /// ```
    /// use multiproc::ReentrantLock;
    ///
    /// let lock = ReentrantLock::new()?;
    /// let outer = lock.lock()?;
    /// assert_eq!(outer.depth(), 1);
    /// let inner = lock.lock()?;
    /// // All guards of the thread count alike.
    /// assert_eq!((outer.depth(), inner.depth()), (2, 2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.lock.object.machine().depth()
    }
}

impl Drop for ReentrantGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.lock.object;
        let owner = self.claim.owner();
        if object.is_still(owner) {
            let (mutex, leaving) = (object.machine(), self.claim.leaving());
            if mutex.rise() == 0 {
                mutex.unlock(owner, leaving);
            } else if leaving == Leaving::Panicked {
                // A level below may catch it; what the lock guards may be torn all the same.
                mutex.say_panicked();
            }
        }
    }
}

impl Guard for ReentrantGuard<'_> {
    type Data = ();
}

impl<'a> Sealed<()> for ReentrantGuard<'a> {
    type Rest = (&'a ReentrantLock, u32);

    fn give_up(self) -> Self::Rest {
        let lock = self.lock;
        if !lock.object.is_still(self.claim.owner()) {
            // Forked meanwhile: how often the parent has the lock is no business of this process.
            return (lock, 1);
        }
        let depth = self.depth();
        // As if this guard were the last: nobody asks the others before the depth is back.
        lock.object.machine().set_depth(1);
        (lock, depth)
    }

    fn take_again((lock, depth): Self::Rest) -> Result<Self, LockError<Self>> {
        let taken = lock.lock();
        if taken.as_ref().map_or_else(LockError::is_poisoned, |_| true) {
            lock.object.machine().set_depth(depth);
        }
        taken
    }

    fn ask(&mut self, question: impl FnOnce(&mut ()) -> bool) -> bool {
        question(&mut ())
    }
}

impl fmt::Debug for ReentrantLock {
    /// What it looks like at this moment, without taking it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ReentrantLock");
        owned::describe(&mut debug, self.object.machine(), self.object.segment());
        debug.finish()
    }
}

impl Serialize for ReentrantLock {
    /// Puts a handle of the lock into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for ReentrantLock {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
