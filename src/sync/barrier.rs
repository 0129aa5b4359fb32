//! A barrier between processes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{BarrierError, Error, ErrorKind, Result};
use crate::raw;
use crate::raw::barrier::{Failure, PARTIES_MAX, Party};
use crate::segment::{Name, Shared, Site, ToName};
use crate::sys::clock::Deadline;
use crate::transfer::{cargo, identity::fingerprint};

use super::named::{self, Nameable};
use super::object::Object;

/// Where a fixed number of threads, of any processes, wait until all of them are there.
///
/// Then all go on, and the barrier is ready for the next time. What each did before it came is seen
/// by all after it. A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that
/// one was sent to, are of the same barrier. A party is a call of [`wait`](Self::wait), not a
/// handle: each thread that waits counts.
///
/// **When it breaks.** If a party dies while it waits, or after it passed and before it comes
/// again, by `kill -9` or otherwise, the others would wait for ever; instead all of them get
/// [`BarrierError::Broken`]. So they do when the time of one of them is up, when the action of the
/// last one panics, and by [`abort`](Self::abort). A broken barrier lets nobody pass until it is
/// [`reset`](Self::reset). All parties agree: either every wait of one round passes, or none does.
///
/// A parent that supervises notices a death within a millisecond, everybody else within some tenths
/// of a second. A process that dies before it comes for the first time has told nobody that it
/// would: where that can be, wait with a time-out. One that has dropped its last handle is not
/// expected any more. A party that is stopped is not dead.
///
/// # Examples
/// ```
/// use multiproc::{Barrier, Process};
///
/// fn simulate((barrier, steps): (Barrier, u32)) -> multiproc::Result<()> {
///     for _ in 0..steps {
///         // Compute a step, then wait for the others to have done so.
///         barrier.wait()?;
///     }
///     Ok(())
/// }
///
/// let barrier = Barrier::new(2)?;
/// let child = Process::spawn(simulate, (barrier.clone(), 3))?;
/// for _ in 0..3 {
///     let round = barrier.wait()?;
///     if round.is_leader() {
///         assert_eq!(round.index(), 1);
///     }
/// }
/// child.join().unwrap()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Barrier {
    object: Object<raw::barrier::Barrier>,
    parties: u32,
}

/// What a party knows when all have come.
///
/// # Examples
/// ```
/// use multiproc::{Barrier, BarrierWait, Process};
///
/// fn meet(barrier: Barrier) -> multiproc::Result<usize> {
///     let round: BarrierWait = barrier.wait()?;
///     Ok(round.index())
/// }
///
/// let barrier = Barrier::new(2)?;
/// let child = Process::spawn(meet, barrier.clone())?;
/// let round = barrier.wait()?;
/// // One of them is 0, and the other is 1.
/// assert_eq!(round.index() + child.join().unwrap()?, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWait {
    index: u32,
    parties: u32,
}

impl BarrierWait {
    /// How many parties were there before this one: from 0 to one less than there are parties, and
    /// different for each of them.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(1)?;
    /// assert_eq!(barrier.wait()?.index(), 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Whether this party was the last one to come. True for exactly one.
    ///
    /// # Examples
    /// One of the parties does what is to be done once:
    /// ```
    /// use multiproc::{Barrier, Process, Value};
    ///
    /// fn step((barrier, rounds): (Barrier, Value<u64>)) -> multiproc::Result<()> {
    ///     if barrier.wait()?.is_leader() {
    ///         rounds.update(|rounds| *rounds += 1)?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let (barrier, rounds) = (Barrier::new(3)?, Value::new(0)?);
    /// let children = [(); 3].map(|()| Process::spawn(step, (barrier.clone(), rounds.clone())));
    /// for child in children {
    ///     child?.join().unwrap()?;
    /// }
    /// assert_eq!(rounds.get()?, 1);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.index + 1 == self.parties
    }
}

impl Nameable for Barrier {
    type Seed = usize;

    fn label(_name: &Name) -> String {
        "Barrier".to_owned()
    }

    fn make_at(site: &Site<'_>, parties: &usize) -> Result<Self> {
        let parties = u32::try_from(*parties).unwrap_or(u32::MAX);
        if !(1..=PARTIES_MAX).contains(&parties) {
            let what = format!("a barrier for {parties} parties: from 1 to {PARTIES_MAX}");
            return Err(Error::new(ErrorKind::Limit, what));
        }
        let prepare = |barrier: &raw::barrier::Barrier| barrier.prepare(parties);
        Ok(Self { object: Object::make(site, Self::fingerprint(), prepare)?, parties })
    }

    fn found_in(shared: Shared) -> Result<Self> {
        Self::on(Object::on(shared, Self::fingerprint())?)
    }

    fn check(&self, name: &Name, parties: &usize) -> Result<()> {
        if self.parties as usize == *parties {
            return Ok(());
        }
        let (found, name) = (self.parties, name.as_str());
        let what = format!("the barrier {name:?} is for {found} parties, and not for {parties}");
        Err(Error::new(ErrorKind::Mismatch, what))
    }
}

impl Barrier {
    /// Makes a barrier for so many parties. It takes 10 KiB of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, ErrorKind};
    ///
    /// assert_eq!(Barrier::new(3)?.parties(), 3);
    /// assert_eq!(Barrier::new(0).unwrap_err().kind(), ErrorKind::Limit);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are no parties, or more than 16383; if there is no shared memory left, or no file
    /// descriptor for it.
    pub fn new(parties: usize) -> Result<Self> {
        Self::make_at(&Site::Anywhere, &parties)
    }

    /// Makes a barrier that other programs find by its name. See [`Name`](crate::Name) for how long
    /// it stays.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("barrier-create-{}", std::process::id()))?;
    /// let _barrier = Barrier::create(&name, 2)?;
    /// assert_eq!(Barrier::create(&name, 2).unwrap_err().kind(), ErrorKind::Exists);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](ErrorKind::Exists) if something has the name; and as [`new`](Self::new).
    pub fn create(name: impl ToName, parties: usize) -> Result<Self> {
        named::create(name, &parties)
    }

    /// Opens a barrier that some program has made under this name.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("barrier-open-{}", std::process::id()))?;
    /// assert_eq!(Barrier::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// let _made = Barrier::create(&name, 2)?;
    /// // In another program:
    /// assert_eq!(Barrier::open(&name)?.parties(), 2);
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

    /// Opens a barrier of this name, or makes it if nothing has the name: of several programs that
    /// do so at once, all have the same one.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, ErrorKind, Name};
    ///
    /// let name = Name::new(&format!("barrier-either-{}", std::process::id()))?;
    /// let one = Barrier::open_or_create(&name, 2)?;
    /// // In another program, which may as well be the first:
    /// let other = Barrier::open_or_create(&name, 2)?;
    /// other.abort()?;
    /// assert!(one.is_broken());
    /// // All must mean the same.
    /// assert_eq!(Barrier::open_or_create(&name, 3).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Mismatch` also if it is one for another number of parties; and as [`open`](Self::open) and
    /// [`new`](Self::new).
    pub fn open_or_create(name: impl ToName, parties: usize) -> Result<Self> {
        named::open_or_create(name, &parties)
    }

    fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }

    fn on(object: Object<raw::barrier::Barrier>) -> Result<Self> {
        let parties = object.machine().parties().map_err(|_| written_over())?;
        Ok(Self { object, parties })
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<raw::barrier::Barrier> {
        &self.object
    }

    /// Waits until all parties are here.
    ///
    /// # Examples
    /// What each did before is seen by all after it:
    /// ```
    /// use multiproc::{Array, Barrier, Process};
    ///
    /// fn half((barrier, sums, number): (Barrier, Array<u64>, usize)) -> multiproc::Result<u64> {
    ///     sums.set(number, 10 + number as u64)?;
    ///     barrier.wait()?;
    ///     Ok(sums.get(1 - number)?)
    /// }
    ///
    /// let (barrier, sums) = (Barrier::new(2)?, Array::new(2, 0)?);
    /// let start = |number| Process::spawn(half, (barrier.clone(), sums.clone(), number));
    /// let [one, other] = [0, 1].map(start);
    /// assert_eq!((one?.join().unwrap()?, other?.join().unwrap()?), (11, 10));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Broken`](BarrierError::Broken), at once, if the barrier is broken or gets broken or reset
    /// meanwhile; [`Failed`](BarrierError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the barrier is damaged.
    pub fn wait(&self) -> Result<BarrierWait, BarrierError> {
        self.meet(Deadline::NEVER, None::<fn()>)
    }

    /// Waits until all parties are here, for so long at the most. When the time is up, it breaks
    /// the barrier.
    ///
    /// # Examples
    /// A party that gives up breaks the barrier, so that no other waits for it:
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// let error = barrier.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout());
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](BarrierError::TimedOut) if they did not come in time, and as
    /// [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWait, BarrierError> {
        self.meet(Deadline::after(timeout), None::<fn()>)
    }

    /// Waits until all parties are here, and runs `action` if this is the last one to come: before
    /// any of them goes on.
    ///
    /// Whoever comes last: so all parties bring the same action, and it runs once. It sees what all
    /// have done, and all see what it has done. If it panics, or its process dies, the barrier is
    /// broken. It must not wait at this barrier: it would wait for its own end.
    ///
    /// # Errors
    /// As [`wait`](Self::wait). Also the last one gets [`Broken`](BarrierError::Broken), though its
    /// action has run, if the barrier was broken or reset meanwhile.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// let (barrier, rounds) = (Barrier::new(2)?, AtomicU32::new(0));
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| {
    ///             barrier.wait_with(|| { rounds.fetch_add(1, Relaxed); }).unwrap();
    ///             assert_eq!(rounds.load(Relaxed), 1);
    ///         });
    ///     }
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        self.meet(Deadline::NEVER, Some(action))
    }

    fn meet(
        &self,
        deadline: Deadline,
        action: Option<impl FnOnce()>,
    ) -> Result<BarrierWait, BarrierError> {
        let me = self.object.me().map_err(BarrierError::Failed)?.participant;
        let (barrier, segment) = (self.object.machine(), self.object.segment());
        let parties = self.parties;
        // One party a time, as one dead is enough; each waiter begins with its neighbour.
        let mut suspected = me;
        let suspect = || {
            if let Some(next) = barrier.next_inside(suspected) {
                suspected = next;
                segment.recover_one(next);
            }
        };
        let party = Party { of: parties, participant: me };
        match barrier.wait(party, segment.terms(deadline), action, suspect) {
            Ok(index) => Ok(BarrierWait { index, parties }),
            Err(Failure::Broken) => Err(BarrierError::Broken),
            Err(Failure::TimedOut) => Err(BarrierError::TimedOut),
            Err(Failure::Corrupt) => Err(BarrierError::Failed(written_over())),
        }
    }

    /// Breaks the barrier, until it is reset, for all who wait and all who come.
    ///
    /// For a party that cannot come any more, so that the others need not wait for ever.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Barrier, Process};
    ///
    /// fn wait(barrier: Barrier) -> bool {
    ///     barrier.wait().is_err_and(|error| error.is_broken())
    /// }
    ///
    /// let barrier = Barrier::new(2)?;
    /// let child = Process::spawn(wait, barrier.clone())?;
    /// // Whether it waits already, or comes later.
    /// barrier.abort()?;
    /// assert!(child.join().unwrap());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a child that was forked without [`Process::fork`](crate::Process::fork).
    pub fn abort(&self) -> Result<()> {
        self.object.me()?;
        self.object.machine().abort();
        Ok(())
    }

    /// Makes the barrier as new: nobody waits, and it is not broken.
    ///
    /// Who waits meanwhile gets [`Broken`](BarrierError::Broken). If nobody does, and it is not
    /// broken, nothing happens.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(1)?;
    /// barrier.abort()?;
    /// assert!(barrier.wait().is_err());
    /// barrier.reset()?;
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`abort`](Self::abort).
    pub fn reset(&self) -> Result<()> {
        self.object.me()?;
        self.object.machine().reset();
        Ok(())
    }

    /// How many parties there are to be.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// assert_eq!(Barrier::new(3)?.parties(), 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties as usize
    }

    /// How many parties wait, as of a moment ago.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// assert_eq!(barrier.waiting(), 0);
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| barrier.wait());
    ///     while barrier.waiting() < 1 {
    ///         std::thread::yield_now();
    ///     }
    ///     barrier.wait()
    /// })?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "n_waiting")]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.object.machine().view().waiting as usize
    }

    /// Whether it is broken, as of a moment ago.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// assert!(!barrier.is_broken());
    /// barrier.abort()?;
    /// assert!(barrier.is_broken());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[doc(alias = "broken")]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.object.machine().view().is_broken
    }
}

#[cold]
fn written_over() -> Error {
    let what = "a barrier with more parties than it has: it was written over by something else";
    Error::new(ErrorKind::Corrupt, what)
}

impl fmt::Debug for Barrier {
    /// What it looks like at this moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.object.machine().view();
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &view.waiting)
            .field("is_broken", &view.is_broken)
            .finish()
    }
}

impl Serialize for Barrier {
    /// Puts a handle of the barrier into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::unpack(deserializer, Self::fingerprint())?;
        Self::on(object).map_err(|error| cargo::not_unpacked(error, serde::de::Error::custom))
    }
}
