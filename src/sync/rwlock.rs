//! A lock between processes for many readers or one writer.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{LockError, Result};
use crate::raw::mutex::{Legacy, Refusal};
use crate::raw::rwlock as raw;
use crate::segment::Site;
use crate::sys::clock::Deadline;
use crate::transfer::identity::fingerprint;

use super::Holder;
use super::named::named_verbs;
use super::object::Object;
use super::owned::{self, Claim, Patience};

/// A lock that any number of processes and threads have for reading, or one for writing, and that
/// outlives them.
///
/// It guards whatever its users agree upon: a file, several [`Value`](crate::Value)s that belong
/// together, memory of their own. There is no data in it.
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// are of the same lock. Readers of different processes do not disturb each other's caches.
///
/// **Writers go first.** As soon as one waits, new readers wait behind it, so readers that come all
/// the time cannot keep it out; writers that come all the time can keep readers out. For the same
/// reason a thread that reads must not read again, nor write: it could wait for a writer that waits
/// for it. That is not noticed; the calls with a time-out end.
///
/// **When a reader dies**, by `kill -9` or otherwise, what it had is given back, and nobody need
/// know: it changed nothing. A process that is stopped is not dead: where it reads it keeps writers
/// out, and where it writes, or waits to, everybody.
///
/// **When the writer dies**, whoever comes next, to read or to write, is told so by
/// [`LockError::OwnerDied`], with the guard inside, until somebody calls
/// [`clear_poison`](Self::clear_poison). A writer that died while it waited for readers leaves
/// nothing to tell. A parent that supervises notices a death within a millisecond, everybody else
/// within a tenth of a second.
///
/// **When the writer panics** the lock is poisoned in the same way, as with [`std::sync::RwLock`].
///
/// # Examples
/// Many processes read a file that some replace:
/// ```
/// use std::path::PathBuf;
///
/// use multiproc::{Process, RwLock};
///
/// fn read((lock, path): (RwLock, PathBuf)) -> multiproc::Result<String> {
///     let _guard = lock.read()?;
///     // Other readers may be here, but nobody who writes.
///     Ok(std::fs::read_to_string(path).unwrap())
/// }
///
/// let path = std::env::temp_dir().join(format!("greeting-{}", std::process::id()));
/// let lock = RwLock::new()?;
/// let guard = lock.write()?;
/// let child = Process::spawn(read, (lock.clone(), path.clone()))?;
/// std::fs::write(&path, "good ").unwrap();
/// std::fs::write(&path, "good morning").unwrap();
/// drop(guard);
/// assert_eq!(child.join().unwrap()?, "good morning");
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RwLock {
    object: Object<raw::RwLock>,
}

/// The right to read, beside others who read. Dropped, it is given back.
///
/// It stays with the thread that took the lock. In a child that was forked meanwhile its copy does
/// nothing: the right is the parent's.
///
/// # Examples
/// ```
/// use multiproc::RwLock;
///
/// let lock = RwLock::new()?;
/// let _reading = lock.read()?;
/// std::thread::scope(|threads| {
///     // Another one may read as well, but not write.
///     threads.spawn(|| {
///         assert!(lock.try_read().is_ok());
///         assert!(lock.try_write().unwrap_err().is_held());
///     });
/// });
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
#[derive(Debug)]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
    /// The participant that reads; a whole word, as with the guards of locks.
    reader: u64,
    _stays: PhantomData<*const ()>,
}

/// The right to write, alone. Dropped, it is given back.
///
/// It stays with the thread that took the lock. In a child that was forked meanwhile its copy does
/// nothing: the right is the parent's.
///
/// # Examples
/// ```
/// use multiproc::RwLock;
///
/// let lock = RwLock::new()?;
/// let _writing = lock.write()?;
/// std::thread::scope(|threads| {
///     // Nobody else may even read.
///     threads.spawn(|| assert!(lock.try_read().unwrap_err().is_held()));
/// });
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the lock is free again as soon as its guard is dropped"]
#[derive(Debug)]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
    claim: Claim,
    _stays: PhantomData<*const ()>,
}

/// Who has an [`RwLock`], as it was a moment ago.
///
/// # Examples
/// ```
/// use multiproc::{RwHolders, RwLock};
///
/// let lock = RwLock::new()?;
/// assert!(matches!(lock.who_holds(), RwHolders::Nobody));
/// let reading = lock.read()?;
/// assert!(matches!(lock.who_holds(), RwHolders::Readers(readers) if readers.len() == 1));
/// drop(reading);
/// let _writing = lock.write()?;
/// assert!(matches!(lock.who_holds(), RwHolders::Writer(_)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RwHolders {
    /// Nobody reads, and nobody writes.
    Nobody,
    /// These processes read, each with so many guards. A writer may wait for them.
    Readers(Vec<Holder>),
    /// This process writes.
    Writer(Holder),
}

named_verbs!(RwLock, "a lock");

impl RwLock {
    /// Makes a lock, which is free. It takes 5 KiB of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::RwLock;
    ///
    /// let lock = RwLock::new()?;
    /// assert!(lock.try_write().is_ok());
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

    /// Takes the lock for reading, waiting as long as somebody writes, or waits to write.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, RwLock};
    ///
    /// fn read(lock: RwLock) -> multiproc::Result<()> {
    ///     let _guard = lock.read()?;
    ///     Ok(())
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// let _guard = lock.read()?;
    /// // The child reads meanwhile.
    /// Process::spawn(read, lock.clone())?.join().unwrap()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// a writer left the lock poisoned; [`WouldDeadlock`](LockError::WouldDeadlock) if this thread
    /// writes; [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[inline]
    pub fn read(&self) -> Result<ReadGuard<'_>, LockError<ReadGuard<'_>>> {
        self.take_to_read(Some(Deadline::NEVER))
    }

    /// Takes the lock for reading if nobody writes, or waits to write.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, RwLock};
    ///
    /// fn can_read(lock: RwLock) -> bool {
    ///     lock.try_read().is_ok()
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// let guard = lock.write()?;
    /// assert!(!Process::spawn(can_read, lock.clone())?.join().unwrap());
    /// drop(guard);
    /// assert!(Process::spawn(can_read, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if somebody does, and as [`read`](Self::read).
    #[inline]
    pub fn try_read(&self) -> Result<ReadGuard<'_>, LockError<ReadGuard<'_>>> {
        self.take_to_read(None)
    }

    /// Takes the lock for reading, waiting for it for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::RwLock;
    ///
    /// let lock = RwLock::new()?;
    /// let _guard = lock.write()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = lock.read_timeout(Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if there were writers all the time, and as
    /// [`read`](Self::read).
    pub fn read_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReadGuard<'_>, LockError<ReadGuard<'_>>> {
        self.take_to_read(Some(Deadline::after(timeout)))
    }

    /// Takes the lock for writing, waiting as long as others have it, and keeping new readers out
    /// meanwhile.
    ///
    /// A thread that reads must drop its guard first: it would wait for itself, for ever. That is
    /// not noticed, as readers are counted by process; [`write_timeout`](Self::write_timeout) says
    /// that somebody had the lock.
    ///
    /// # Examples
    /// Whoever comes after a writer that died is told so, and has the lock:
    /// ```
    /// use multiproc::{LockError, Process, RwLock};
    ///
    /// fn crash(lock: RwLock) {
    ///     let _guard = lock.write().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// if let Err(LockError::OwnerDied { guard, .. }) = lock.write() {
    ///     lock.clear_poison();
    ///     drop(guard);
    /// }
    /// assert!(lock.write().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the guard, if
    /// a writer before left the lock poisoned; [`WouldDeadlock`](LockError::WouldDeadlock) if this
    /// thread writes already; [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[inline]
    pub fn write(&self) -> Result<WriteGuard<'_>, LockError<WriteGuard<'_>>> {
        self.take_to_write(Some(Deadline::NEVER))
    }

    /// Takes the lock for writing if nobody has it.
    ///
    /// While it looks, other calls that do not wait may find the lock taken.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, RwLock};
    ///
    /// fn can_write(lock: RwLock) -> bool {
    ///     lock.try_write().is_ok()
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// let guard = lock.read()?;
    /// assert!(!Process::spawn(can_write, lock.clone())?.join().unwrap());
    /// drop(guard);
    /// assert!(Process::spawn(can_write, lock.clone())?.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if somebody has it, and as [`write`](Self::write).
    #[inline]
    pub fn try_write(&self) -> Result<WriteGuard<'_>, LockError<WriteGuard<'_>>> {
        self.take_to_write(None)
    }

    /// Takes the lock for writing, waiting for it for so long at the most, and keeping new readers
    /// out meanwhile.
    ///
    /// # Examples
    /// A reader keeps it from writing, until the time is up:
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::RwLock;
    ///
    /// let lock = RwLock::new()?;
    /// let _guard = lock.read()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = lock.write_timeout(Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if somebody had it all the time, and as
    /// [`write`](Self::write).
    pub fn write_timeout(
        &self,
        timeout: Duration,
    ) -> Result<WriteGuard<'_>, LockError<WriteGuard<'_>>> {
        self.take_to_write(Some(Deadline::after(timeout)))
    }

    #[inline(always)]
    fn take_to_read(&self, patience: Patience) -> Result<ReadGuard<'_>, LockError<ReadGuard<'_>>> {
        let me = match self.object.me() {
            Ok(me) => me,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let (machine, segment) = (self.object.machine(), self.object.segment());
        let taken = match patience {
            None => owned::try_twice(segment, || machine.try_read(me)),
            Some(deadline) => {
                machine.read(me, || segment.terms(deadline), |owner| segment.suspect(owner))
            }
        };
        let reader = u64::from(me.participant);
        let guard = || ReadGuard { lock: self, reader, _stays: PhantomData };
        self.hand_out(taken, guard)
    }

    #[inline(always)]
    fn take_to_write(
        &self,
        patience: Patience,
    ) -> Result<WriteGuard<'_>, LockError<WriteGuard<'_>>> {
        let me = match self.object.me() {
            Ok(me) => me,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let (machine, segment) = (self.object.machine(), self.object.segment());
        let bound = || segment.entered();
        let taken = match patience {
            None => owned::try_twice(segment, || machine.try_write(me, bound)),
            Some(deadline) => {
                machine.write(me, bound, || segment.terms(deadline), |who| segment.suspect(who))
            }
        };
        let guard = || WriteGuard { lock: self, claim: Claim::new(me), _stays: PhantomData };
        self.hand_out(taken, guard)
    }

    #[inline(always)]
    fn hand_out<G>(
        &self,
        taken: Result<Legacy, Refusal>,
        guard: impl FnOnce() -> G,
    ) -> Result<G, LockError<G>> {
        match taken {
            Ok(legacy) if legacy.is_none() => Ok(guard()),
            Ok(legacy) => Err(owned::poisoned(self.object.machine().writer(), legacy, guard())),
            Err(refusal) => Err(owned::refused(refusal)),
        }
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<raw::RwLock> {
        &self.object
    }

    /// Who has the lock.
    ///
    /// A process that looks whether it may read counts as a reader meanwhile.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{RwHolders, RwLock};
    ///
    /// let lock = RwLock::new()?;
    /// let _guard = lock.write()?;
    /// let RwHolders::Writer(writer) = lock.who_holds() else { unreachable!() };
    /// assert_eq!(writer.pid, std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn who_holds(&self) -> RwHolders {
        let (machine, segment) = (self.object.machine(), self.object.segment());
        let writer = machine.writer().owner().filter(|writer| machine.is_inside(*writer));
        if let Some(writer) = writer {
            return RwHolders::Writer(Holder::new(segment, writer, 1));
        }
        let counts = (0..segment.entered().min(raw::SEATS as u32))
            .map(|reader| (reader, machine.readers_of(reader)));
        let readers: Vec<_> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(reader, count)| Holder::new(segment, reader, count))
            .collect();
        if readers.is_empty() { RwHolders::Nobody } else { RwHolders::Readers(readers) }
    }

    /// Whether a writer died or panicked, and nobody has called
    /// [`clear_poison`](Self::clear_poison) since.
    ///
    /// # Examples
    /// By a writer that died; a reader changes nothing that could be half done:
    /// ```
    /// use multiproc::{Process, RwLock};
    ///
    /// fn crash_reading(lock: RwLock) {
    ///     let _guard = lock.read().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// fn crash_writing(lock: RwLock) {
    ///     let _guard = lock.write().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// Process::spawn(crash_reading, lock.clone())?.join().unwrap_err();
    /// assert!(!lock.is_poisoned());
    /// Process::spawn(crash_writing, lock.clone())?.join().unwrap_err();
    /// assert!(lock.is_poisoned());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.object.machine().writer().legacy().is_none()
    }

    /// Tells everybody that all is well again. For whoever has the lock and has looked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{LockError, Process, RwLock};
    ///
    /// fn crash(lock: RwLock) {
    ///     let _guard = lock.write().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let lock = RwLock::new()?;
    /// Process::spawn(crash, lock.clone())?.join().unwrap_err();
    /// let guard = lock.write().or_else(LockError::recover)?;
    /// // Put in order what the lock guards.
    /// lock.clear_poison();
    /// drop(guard);
    /// assert!(lock.read().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.object.machine().writer().clear();
    }
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.lock.object;
        let reader = self.reader as u32;
        if object.is_still(reader) {
            object.machine().unlock_read(reader);
        }
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.lock.object;
        let writer = self.claim.owner();
        if object.is_still(writer) {
            object.machine().unlock_write(writer, self.claim.leaving());
        }
    }
}

impl fmt::Debug for RwLock {
    /// What it looks like at this moment, without taking it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writer = self.object.machine().writer();
        let mut debug = f.debug_struct("RwLock");
        match self.who_holds() {
            RwHolders::Nobody => debug.field("held_by", &format_args!("nobody")),
            RwHolders::Writer(writer) => debug.field("written_by", &writer.pid),
            RwHolders::Readers(readers) => {
                let readers: Vec<_> = readers.iter().map(|it| (it.pid, it.count)).collect();
                debug.field("read_by", &readers);
                debug.field("is_wanted_to_write", &writer.owner().is_some())
            }
        };
        debug.field("is_awaited", &writer.is_awaited());
        debug.field("is_poisoned", &self.is_poisoned());
        debug.finish()
    }
}

impl Serialize for RwLock {
    /// Puts a handle of the lock into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for RwLock {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
