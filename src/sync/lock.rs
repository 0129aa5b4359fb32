//! A lock between processes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{LockError, Result};
use crate::raw::mutex::Mutex;
use crate::segment::Site;
use crate::sys::clock::Deadline;
use crate::transfer::identity::fingerprint;

use super::Holder;
use super::guard::{Guard, sealed::Sealed};
use super::named::named_verbs;
use super::object::Object;
use super::owned::{self, Claim, Patience};

/// A lock that processes and their threads take in turn, and that outlives its owner.
///
/// It guards whatever its users agree upon: a file, a device, a queue's order. For data in shared
/// memory take [`Value`](crate::Value) or [`Array`](crate::Array), which have a lock each.
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// are of the same lock. It is given to whoever comes first when it becomes free; there is no line.
///
/// **When the owner dies**, by `kill -9` or otherwise, whoever has the lock next is told so by
/// [`LockError::OwnerDied`], with the guard inside. A parent that supervises notices within a
/// millisecond, everybody else within a tenth of a second. An owner that is stopped is not dead.
///
/// **When the owner panics** the lock is poisoned in the same way, as with [`std::sync::Mutex`].
///
/// # Examples
/// ```
/// use multiproc::{Lock, Process};
///
/// fn append(lock: Lock) -> multiproc::Result<()> {
///     let _guard = lock.lock()?;
///     // Nobody else is here.
///     Ok(())
/// }
///
/// let lock = Lock::new()?;
/// let child = Process::spawn(append, lock.clone())?;
/// let guard = lock.lock()?;
/// assert_eq!(lock.who_holds().unwrap().pid, std::process::id());
/// drop(guard);
/// child.join().unwrap()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "Mutex")]
#[derive(Clone, PartialEq, Eq)]
pub struct Lock {
    object: Object<Mutex>,
}

/// The right to be where nobody else is. Dropped, it frees the lock.
///
/// It stays with the thread that took the lock. In a child that was forked meanwhile its copy does
/// nothing: the lock is the parent's.
///
/// # Examples
/// ```
/// use multiproc::{Lock, LockGuard};
///
/// fn append<'a>(lock: &'a Lock, line: &str) -> multiproc::Result<LockGuard<'a>> {
///     let guard = lock.lock()?;
///     println!("{line}");
///     Ok(guard)
/// }
///
/// let lock = Lock::new()?;
/// let guard = append(&lock, "first")?;
/// assert!(lock.is_locked());
/// drop(guard);
/// assert!(!lock.is_locked());
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
#[derive(Debug)]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    claim: Claim,
    _stays: PhantomData<*const ()>,
}

named_verbs!(Lock, "a lock");

impl Lock {
    /// Makes a lock, which is free. It takes 128 bytes of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Lock;
    ///
    /// assert!(!Lock::new()?.is_locked());
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

    /// Takes the lock, waiting for it as long as it takes.
    ///
    /// # Examples
    /// Whoever comes after an owner that died is told so, and has the lock:
    /// ```
    /// use multiproc::{Lock, LockError, Process};
    ///
    /// fn crash(lock: Lock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = Lock::new()?;
    /// let child = Process::spawn(crash, lock.clone())?;
    /// let its_pid = child.pid();
    /// child.join().unwrap_err();
    /// if let Err(LockError::OwnerDied { guard, pid, .. }) = lock.lock() {
    ///     assert_eq!(pid, its_pid);
    ///     lock.clear_poison();
    ///     drop(guard);
    /// }
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// an owner left the lock poisoned; [`WouldDeadlock`](LockError::WouldDeadlock) if this thread
    /// has it already; [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(Some(Deadline::NEVER))
    }

    /// Takes the lock if it is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Lock, Process};
    ///
    /// fn is_free(lock: Lock) -> bool {
    ///     lock.try_lock().is_ok()
    /// }
    ///
    /// let lock = Lock::new()?;
    /// let guard = lock.lock()?;
    /// assert!(!Process::spawn(is_free, lock.clone())?.join().unwrap());
    /// drop(guard);
    /// assert!(Process::spawn(is_free, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(None)
    }

    /// Takes the lock, waiting for it for so long at the most.
    ///
    /// # Examples
    /// A thread that has the lock need not wait for the end of the time:
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::{Lock, LockError};
    ///
    /// let lock = Lock::new()?;
    /// let _guard = lock.lock_timeout(Duration::from_secs(1))?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = lock.lock_timeout(Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// assert!(matches!(lock.lock_timeout(Duration::MAX), Err(LockError::WouldDeadlock)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(Some(Deadline::after(timeout)))
    }

    // Always inlined: a call with its result in memory costs 1.7 ns of 11.9, see benches/locks.rs.
    #[inline(always)]
    fn take(&self, patience: Patience) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        let me = match self.object.me() {
            Ok(me) => me,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let mutex = self.object.machine();
        match owned::take(mutex, self.object.segment(), me, patience) {
            Ok(legacy) => {
                let guard = LockGuard { lock: self, claim: Claim::new(me), _stays: PhantomData };
                if legacy.is_none() {
                    Ok(guard)
                } else {
                    Err(owned::poisoned(mutex, legacy, guard))
                }
            }
            Err(refusal) => Err(owned::refused(refusal)),
        }
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<Mutex> {
        &self.object
    }

    /// Who has the lock, if anybody has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Lock;
    ///
    /// let lock = Lock::new()?;
    /// assert_eq!(lock.who_holds(), None);
    /// let _guard = lock.lock()?;
    /// assert_eq!(lock.who_holds().unwrap().pid, std::process::id());
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
    /// use multiproc::Lock;
    ///
    /// let lock = Lock::new()?;
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
    /// use multiproc::{Lock, Process};
    ///
    /// fn crash(lock: Lock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = Lock::new()?;
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
    /// use multiproc::{Lock, LockError, Process};
    ///
    /// fn crash(lock: Lock) {
    ///     let _guard = lock.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = Lock::new()?;
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

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.lock.object;
        let owner = self.claim.owner();
        if object.is_still(owner) {
            object.machine().unlock(owner, self.claim.leaving());
        }
    }
}

impl Guard for LockGuard<'_> {
    type Data = ();
}

impl<'a> Sealed<()> for LockGuard<'a> {
    type Rest = &'a Lock;

    fn give_up(self) -> Self::Rest {
        self.lock
    }

    fn take_again(lock: Self::Rest) -> Result<Self, LockError<Self>> {
        lock.lock()
    }

    fn ask(&mut self, question: impl FnOnce(&mut ()) -> bool) -> bool {
        question(&mut ())
    }
}

impl fmt::Debug for Lock {
    /// What it looks like at this moment, without taking it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Lock");
        owned::describe(&mut debug, self.object.machine(), self.object.segment());
        debug.finish()
    }
}

impl Serialize for Lock {
    /// Puts a handle of the lock into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Lock {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
