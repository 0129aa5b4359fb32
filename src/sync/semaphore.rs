//! A semaphore between processes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::raw::semaphore::{self as raw, PERMITS_MAX, Plan, Refusal};
use crate::raw::wait::Waited;
use crate::raw::wait_many::{Post, Watched};
use crate::segment::{Site, ToName};
use crate::sys::clock::Deadline;
use crate::transfer::cargo;
use crate::transfer::identity::fingerprint;

use super::Holder;
use super::named::{self, Nameable};
use super::object::Object;
use super::owned::{self, Patience};
use super::permits::Permits;

/// A number of permits that processes and their threads take and give back: so many can be where
/// only so many may be.
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// are of the same semaphore. A permit goes to whoever comes first when there is one; there is no
/// line.
///
/// **Permits have owners.** A permit belongs to the process that acquired it, whichever of its
/// threads did. When the process dies, by `kill -9` or otherwise, its permits come back, and those
/// who wait for them go on; so they do when it drops its last handle of the semaphore. A parent
/// that supervises notices a death within a millisecond, everybody else who waits within a tenth of
/// a second. A process that is stopped is not dead.
///
/// **Three manners** of semaphores differ in who may [`release`](Self::release):
///
/// | made by | a process that has no permit | a dead owner's permits |
/// |---|---|---|
/// | [`new`](Self::new) | adds one | come back |
/// | [`bounded`](Self::bounded) | gets an error | come back |
/// | [`unowned`](Self::unowned) | may release for another | are lost |
///
/// # Examples
/// Two processes at a time, of five:
/// ```
/// use multiproc::{Process, Semaphore};
///
/// fn work(desks: Semaphore) -> multiproc::Result<()> {
///     let _desk = desks.acquire()?;
///     // At most one other process is here.
///     Ok(())
/// }
///
/// let desks = Semaphore::bounded(2)?;
/// let workers = (0..5).map(|_| Process::spawn(work, desks.clone()));
/// for worker in workers.collect::<multiproc::Result<Vec<_>>>()? {
///     worker.join().unwrap()?;
/// }
/// assert_eq!(desks.available(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Semaphore {
    pub(super) object: Object<raw::Semaphore>,
    pub(super) plan: Plan,
}

/// One permit of a [`Semaphore`]. Dropped, it is given back.
///
/// It stays with its thread, but belongs to the process. In a child that was forked meanwhile its
/// copy does nothing: the permit is the parent's.
///
/// # Examples
/// ```
/// use multiproc::Semaphore;
///
/// let desks = Semaphore::bounded(2)?;
/// let desk = desks.acquire()?;
/// assert_eq!(desks.available(), 1);
/// drop(desk);
/// assert_eq!(desks.available(), 2);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use = "the permit is given back as soon as it is dropped"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    /// The participant that acquired it; a whole word, as with the guards of locks.
    owner: u64,
    _stays: PhantomData<*const ()>,
}

impl Semaphore {
    /// Makes a semaphore with so many permits, and any number more: who calls
    /// [`release`](Self::release) without having a permit adds one.
    ///
    /// It takes 10 KiB of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let semaphore = Semaphore::new(0)?;
    /// semaphore.release()?;
    /// let _permit = semaphore.acquire()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Limit`](ErrorKind::Limit) if there are more than 2^23 - 1 permits; and if there is no
    /// shared memory left, or no file descriptor for it.
    pub fn new(permits: u32) -> Result<Self> {
        Self::make_at(&Site::Anywhere, &Permits::Owned(permits))
    }

    /// Makes a semaphore that never has more than so many permits: who calls
    /// [`release`](Self::release) without having a permit gets an error.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Semaphore};
    ///
    /// let desks = Semaphore::bounded(2)?;
    /// let desk = desks.acquire()?;
    /// drop(desk);
    /// // This process has none that it could give back.
    /// assert_eq!(desks.release().unwrap_err().kind(), ErrorKind::Misuse);
    /// assert_eq!(desks.available(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[doc(alias = "BoundedSemaphore")]
    pub fn bounded(permits: u32) -> Result<Self> {
        Self::make_at(&Site::Anywhere, &Permits::Bounded(permits))
    }

    /// Makes a semaphore whose permits belong to nobody, so that one process can acquire them and
    /// another [`release`](Self::release) them.
    ///
    /// What a process acquired is lost when it dies, unless another one releases it: this manner
    /// cannot know whose it was.
    ///
    /// # Examples
    /// A child tells its parent that it is ready, again and again:
    /// ```
    /// use multiproc::{Process, Semaphore};
    ///
    /// fn get_ready(steps: Semaphore) -> multiproc::Result<()> {
    ///     (0..3).try_for_each(|_| steps.release())
    /// }
    ///
    /// let steps = Semaphore::unowned(0)?;
    /// let child = Process::spawn(get_ready, steps.clone())?;
    /// for _ in 0..3 {
    ///     steps.acquire()?.forget();
    /// }
    /// child.join().unwrap()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn unowned(permits: u32) -> Result<Self> {
        Self::make_at(&Site::Anywhere, &Permits::Unowned(permits))
    }

    /// Makes a semaphore that other programs find by its name. See [`Name`](crate::Name) for how
    /// long it stays. A number is one of owned permits, as of [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Permits, Semaphore};
    ///
    /// let name = Name::new(&format!("semaphore-create-{}", std::process::id()))?;
    /// let desks = Semaphore::create(&name, Permits::Bounded(2))?;
    /// assert_eq!(desks.available(), 2);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    pub fn create(name: impl ToName, permits: impl Into<Permits>) -> Result<Self> {
        named::create(name, &permits.into())
    }

    /// Opens a semaphore that some program has made under this name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Semaphore};
    ///
    /// let name = Name::new(&format!("semaphore-open-{}", std::process::id()))?;
    /// let desks = Semaphore::create(&name, 2)?;
    /// // In another program:
    /// let same = Semaphore::open(&name)?;
    /// let _desk = same.acquire()?;
    /// assert_eq!(desks.available(), 1);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing has the name, [`Mismatch`](ErrorKind::Mismatch)
    /// if something else has it, [`Corrupt`](ErrorKind::Corrupt) if it is damaged.
    pub fn open(name: impl ToName) -> Result<Self> {
        named::open(name)
    }

    /// Opens a semaphore of this name, or makes it if nothing has the name: of several programs
    /// that do so at once, all have the same one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Semaphore};
    ///
    /// let name = Name::new(&format!("semaphore-either-{}", std::process::id()))?;
    /// let one = Semaphore::open_or_create(&name, 2)?;
    /// // In another program, which may as well be the first:
    /// let other = Semaphore::open_or_create(&name, 2)?;
    /// let _desk = one.acquire()?;
    /// assert_eq!(other.available(), 1);
    /// // All must mean the same.
    /// assert_eq!(Semaphore::open_or_create(&name, 3).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Mismatch` also if it is made for other permits; and as [`open`](Self::open) and
    /// [`new`](Self::new).
    pub fn open_or_create(name: impl ToName, permits: impl Into<Permits>) -> Result<Self> {
        named::open_or_create(name, &permits.into())
    }

    pub(super) fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }

    pub(super) fn on(object: Object<raw::Semaphore>) -> Result<Self> {
        let corrupt = |_| Error::new(ErrorKind::Corrupt, "a semaphore of no known manner");
        let plan = object.machine().plan().map_err(corrupt)?;
        Ok(Self { object, plan })
    }

    /// Takes a permit, waiting for it as long as it takes.
    ///
    /// # Examples
    /// The permits of a process that died come back:
    /// ```
    /// use multiproc::{Process, Semaphore};
    ///
    /// fn crash(desks: Semaphore) {
    ///     let _desk = desks.acquire().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let desks = Semaphore::bounded(1)?;
    /// Process::spawn(crash, desks.clone())?.join().unwrap_err();
    /// let _desk = desks.acquire()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Forked`](ErrorKind::Forked) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork).
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>> {
        // Only a deadline could end it without a permit.
        self.take(Some(Deadline::NEVER))?.ok_or_else(endless)
    }

    /// Takes a permit if there is one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(1)?;
    /// let desk = desks.try_acquire()?;
    /// assert!(desk.is_some());
    /// assert!(desks.try_acquire()?.is_none());
    /// drop(desk);
    /// assert!(desks.try_acquire()?.is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<Permit<'_>>> {
        self.take(None)
    }

    /// Takes a permit, waiting for it for so long at the most. `None` if there was none in time.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(1)?;
    /// let _desk = desks.acquire()?;
    /// assert!(desks.acquire_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>> {
        self.take(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn take(&self, patience: Patience) -> Result<Option<Permit<'_>>> {
        let me = self.object.me()?.participant;
        let (machine, manner) = (self.object.machine(), self.plan.manner);
        let is_taken = match patience {
            None => machine.try_acquire(me, manner) || self.try_again(me),
            Some(deadline) => {
                let terms = || self.object.segment().terms(deadline);
                machine.acquire(me, manner, terms, || self.suspect()) == Waited::Ready
            }
        };
        let permit = || Permit { semaphore: self, owner: me.into(), _stays: PhantomData };
        Ok(is_taken.then(permit))
    }

    /// Who only ever tries must find out as well that others are dead.
    #[cold]
    fn try_again(&self, me: u32) -> bool {
        owned::is_time_to_suspect() && {
            self.suspect();
            self.object.machine().try_acquire(me, self.plan.manner)
        }
    }

    /// Recovers the dead among those who have permits.
    #[cold]
    fn suspect(&self) {
        for (participant, _) in self.object.machine().holders() {
            self.object.segment().recover_one(participant);
        }
    }

    /// Gives back a permit that this process acquired and [forgot](Permit::forget), or adds one
    /// where the [manner](Self) of the semaphore allows it; wakes one who waits.
    ///
    /// It is not needed after the drop of a [`Permit`], which gives it back by itself. Called while
    /// one is alive it gives that one back, and the drop adds another where the manner allows it:
    /// as with Python's `release`, what is released is a number and not a permit of one's own.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(1)?;
    /// desks.acquire()?.forget();
    /// assert_eq!(desks.available(), 0);
    /// desks.release()?;
    /// assert_eq!(desks.available(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Misuse`](ErrorKind::Misuse) if the semaphore is [bounded](Self::bounded) and this process
    /// has no permit; [`Limit`](ErrorKind::Limit) if there were more than 2^23 - 1 permits;
    /// [`Forked`](ErrorKind::Forked) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork).
    #[inline]
    pub fn release(&self) -> Result<()> {
        let me = self.object.me()?.participant;
        self.object.machine().release(me, self.plan.manner).map_err(|refusal| match refusal {
            Refusal::NotHeld => not_held(),
            Refusal::Full => too_many(),
        })
    }

    /// How many permits nobody has. Another process may take them meanwhile.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(3)?;
    /// let _desk = desks.acquire()?;
    /// assert_eq!(desks.available(), 2);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> u32 {
        self.object.machine().available()
    }

    /// Who has permits, and how many; nobody, if they are [without owners](Self::unowned).
    ///
    /// # Examples
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(3)?;
    /// assert!(desks.who_holds().is_empty());
    /// let _desks = (desks.acquire()?, desks.acquire()?);
    /// let holder = desks.who_holds()[0];
    /// assert_eq!((holder.pid, holder.count), (std::process::id(), 2));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn who_holds(&self) -> Vec<Holder> {
        let segment = self.object.segment();
        let holders = self.object.machine().holders();
        holders.map(|(participant, count)| Holder::new(segment, participant, count)).collect()
    }

    /// The semaphore, for one who waits until there is a permit.
    pub(crate) fn watched(&mut self) -> Result<&mut dyn Watched> {
        self.object.me()?;
        Ok(self)
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<raw::Semaphore> {
        &self.object
    }
}

impl Watched for Semaphore {
    fn post(&self) -> Post<'_> {
        self.object.machine().post(self.object.segment().death_epoch())
    }

    fn is_ready(&mut self) -> bool {
        self.available() > 0
    }

    fn suspect(&mut self) {
        Self::suspect(self);
    }
}

impl Permit<'_> {
    /// Keeps the permit for the process, after this thread is done with it: somebody calls
    /// [`release`](Semaphore::release) later.
    ///
    /// # Examples
    /// One thread takes the desk, another one leaves it:
    /// ```
    /// use multiproc::Semaphore;
    ///
    /// let desks = Semaphore::bounded(1)?;
    /// desks.acquire()?.forget();
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| desks.release()).join().unwrap()
    /// })?;
    /// assert_eq!(desks.available(), 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.semaphore.object;
        let owner = self.owner as u32;
        if object.is_still(owner) {
            // A refusal means that the process has released more than it acquired.
            let _ = object.machine().release(owner, self.semaphore.plan.manner);
        }
    }
}

#[cold]
fn not_held() -> Error {
    let what = "release a permit of a bounded semaphore: this process has none; for permits that \
                another process acquired use `Semaphore::unowned`";
    Error::new(ErrorKind::Misuse, what)
}

#[cold]
pub(super) fn too_many() -> Error {
    Error::new(ErrorKind::Limit, format!("a semaphore with more than {PERMITS_MAX} permits"))
}

#[cold]
fn endless() -> Error {
    Error::new(ErrorKind::Timeout, "an endless wait for a permit that ended")
}

impl fmt::Debug for Semaphore {
    /// What it looks like at this moment, without taking a permit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = self.who_holds();
        let held_by: Vec<_> = holders.iter().map(|holder| (holder.pid, holder.count)).collect();
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("manner", &self.plan.manner)
            .field("began_with", &self.plan.permits)
            .field("held_by", &held_by)
            .finish()
    }
}

impl Serialize for Semaphore {
    /// Puts a handle of the semaphore into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::unpack(deserializer, Self::fingerprint())?;
        Self::on(object).map_err(|error| cargo::not_unpacked(error, serde::de::Error::custom))
    }
}
