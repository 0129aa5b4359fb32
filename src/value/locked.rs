//! Values with a lock: what is done to them in one step.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::time::Duration;

use crate::error::{Error, ErrorKind, LockError, Result};
use crate::raw::kind::Kind;
use crate::raw::mutex::{Leaving, Legacy, Me, Mutex};
use crate::raw::twin::{Twin, Which};
use crate::segment::Site;
use crate::sync::object::{Extent, Machine, Object};
use crate::sync::owned::{self, Patience};
use crate::sync::{Data, Holder};
use crate::sys::clock::Deadline;

use super::Value;

/// What a block of a value begins with. The two copies are behind it, as near as can be: whoever
/// takes the lock has them in its cache.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Body {
    pub(crate) mutex: Mutex,
    pub(super) twin: Twin,
}

// SAFETY: atomics alone, and a mutex first, as `Kind::Mutex` says of its blocks.
unsafe impl Machine for Body {
    const KIND: Kind = Kind::Mutex;
    const LINE: u64 = 16;
}

impl<T> Value<T> {
    /// Where the first copy is, behind where data begins.
    const FIRST_AT: usize = {
        assert!(align_of::<T>() <= 128, "data in shared memory is aligned to 128 at the most");
        let begin = Object::<Body>::DATA_AT as usize;
        begin.next_multiple_of(align_of::<T>()) - begin
    };

    /// How many bytes of data such a value has.
    pub(super) const BYTES: u64 = (Self::FIRST_AT + 2 * size_of::<T>()) as u64;

    /// Where a copy is, given where data begins.
    #[inline]
    fn copy_behind(data: NonNull<u8>, which: Which) -> NonNull<T> {
        // SAFETY: the data of a value is `BYTES` long, see `make` and `deserialize`.
        unsafe { data.add(Self::FIRST_AT).cast::<T>().add(which as usize) }
    }

    /// Where a copy is: aligned, and in memory that is the value's as long as the handle.
    #[inline]
    pub(super) fn copy(&self, which: Which) -> NonNull<T> {
        Self::copy_behind(self.object.data().0, which)
    }

    /// Makes a value of which `bytes` are the first copy, whatever type it is to be of.
    pub(super) fn make<B: Data>(site: &Site<'_>, bytes: B) -> Result<Self> {
        const { assert!(size_of::<B>() == size_of::<T>() && align_of::<B>() == align_of::<T>()) };
        let extent = Extent::of(Self::BYTES);
        let object = Object::make_with(site, Self::fingerprint(), extent, |_, data| {
            let first = Self::copy_behind(data, Which::First).cast::<B>();
            // SAFETY: in range and aligned, see `copy`, and nobody else sees it yet.
            unsafe { first.write(bytes) };
        });
        Ok(Self::on(object?))
    }
}

/// The lock, held by one that leaves a whole value whenever it ends: free again when dropped.
struct Visit<'a, T> {
    value: &'a Value<T>,
    owner: u32,
    /// The copy that is to count when this one leaves.
    next: Option<Which>,
}

impl<T: Data> Visit<'_, T> {
    /// The value as it is.
    #[inline]
    fn read(&self) -> T {
        let active = self.value.object.machine().twin.active();
        // SAFETY: with the lock nobody changes it; any bytes are a `T`.
        unsafe { self.value.copy(active).read() }
    }

    /// Lets `change` have the copy that does not count, beside the one that does.
    #[inline]
    fn write<R>(mut self, change: impl FnOnce(NonNull<T>, NonNull<T>) -> R) -> R {
        let active = self.value.object.machine().twin.active();
        let spare = active.other();
        let result = change(self.value.copy(active), self.value.copy(spare));
        self.next = Some(spare);
        result
    }
}

impl<T> Drop for Visit<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.value.object;
        if object.is_still(self.owner) {
            let Body { mutex, twin } = object.machine();
            if let Some(next) = self.next {
                twin.let_count(next);
            }
            mutex.unlock(self.owner, Leaving::Done);
        }
    }
}

impl<T: Data> Value<T> {
    /// Makes a value. It takes 48 bytes of shared memory and twice its size, in steps of 128.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let matrix = Value::new([[1.0f64, 0.0], [0.0, 1.0]])?;
    /// assert_eq!(matrix.get()?[1], [0.0, 1.0]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no shared memory left, or no file descriptor for it.
    pub fn new(value: T) -> Result<Self> {
        Self::make(&Site::Anywhere, value)
    }

    /// Takes the mutex, for what leaves a whole value at every instruction.
    #[inline]
    fn visit<G>(&self, patience: Patience) -> Result<(Visit<'_, T>, Legacy), LockError<G>> {
        let me = self.me()?;
        let legacy = self.take(me.calmly(), patience)?;
        Ok((Visit { value: self, owner: me.participant, next: None }, legacy))
    }

    /// This thread.
    #[inline]
    pub(super) fn me<G>(&self) -> Result<Me, LockError<G>> {
        self.object.me().map_err(LockError::Failed)
    }

    /// Takes the mutex.
    #[inline]
    pub(super) fn take<G>(&self, me: Me, patience: Patience) -> Result<Legacy, LockError<G>> {
        let mutex = &self.object.machine().mutex;
        owned::take(mutex, self.object.segment(), me, patience).map_err(owned::refused)
    }

    #[inline]
    fn poisoned<G>(&self, legacy: Legacy, value: G) -> LockError<G> {
        owned::poisoned(&self.object.machine().mutex, legacy, value)
    }

    #[inline]
    fn get_until(&self, patience: Patience) -> Result<T, LockError<T>> {
        let (visit, legacy) = self.visit(patience)?;
        let value = visit.read();
        if legacy.is_none() { Ok(value) } else { Err(self.poisoned(legacy, value)) }
    }

    #[inline]
    fn replace_until(&self, value: T, patience: Patience) -> Result<T, LockError<T>> {
        let (visit, legacy) = self.visit(patience)?;
        if !legacy.is_none() {
            return Err(self.poisoned(legacy, value));
        }
        Ok(visit.write(|active, spare| {
            // SAFETY: both are whole `T`s in reach of whoever has the lock; see `Visit`.
            unsafe {
                spare.write(value);
                active.read()
            }
        }))
    }

    #[inline]
    fn update_until<R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
        patience: Patience,
    ) -> Result<R, LockError<()>> {
        let (visit, legacy) = self.visit(patience)?;
        if !legacy.is_none() {
            return Err(self.poisoned(legacy, ()));
        }
        Ok(visit.write(|active, mut spare| {
            // SAFETY: two whole `T`s, one behind the other; with the lock they are this thread's.
            unsafe { spare.copy_from_nonoverlapping(active, 1) };
            // SAFETY: as above; any bytes are a `T`. Nothing else refers to it: who has the lock
            // cannot take it again.
            change(unsafe { spare.as_mut() })
        }))
    }

    /// Who has the lock, if anybody has.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// assert_eq!(total.who_holds(), None);
    /// let _guard = total.lock()?;
    /// assert_eq!(total.who_holds().unwrap().pid, std::process::id());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn who_holds(&self) -> Option<Holder> {
        owned::holder_of(&self.object.machine().mutex, self.object.segment())
    }

    /// Whether somebody has the lock.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let guard = total.lock()?;
    /// assert!(total.is_locked());
    /// drop(guard);
    /// assert!(!total.is_locked());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.object.machine().mutex.owner().is_some()
    }

    /// Whether the owner of a guard died or panicked, and nobody has called
    /// [`clear_poison`](Self::clear_poison) since.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, Value};
    ///
    /// fn crash(total: Value<u64>) {
    ///     let _guard = total.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let total = Value::new(7u64)?;
    /// Process::spawn(crash, total.clone())?.join().unwrap_err();
    /// assert!(total.lock().unwrap_err().is_owner_dead());
    /// assert!(total.is_poisoned());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.object.machine().mutex.legacy().is_none()
    }

    /// Tells everybody that all is well again. For whoever has the lock and has looked.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{LockError, Process, Value};
    ///
    /// fn crash(total: Value<u64>) {
    ///     *total.lock().unwrap() = u64::MAX;
    ///     let _guard = total.lock().unwrap();
    ///     std::process::exit(1);
    /// }
    ///
    /// let total = Value::new(7u64)?;
    /// Process::spawn(crash, total.clone())?.join().unwrap_err();
    /// let mut guard = total.lock().or_else(LockError::recover)?;
    /// *guard = 0;
    /// total.clear_poison();
    /// drop(guard);
    /// assert_eq!(total.get()?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn clear_poison(&self) {
        self.object.machine().mutex.clear();
    }
}

/// In one step, which is done whole or not at all.
impl<T: Data> Value<T> {
    /// Reads the value.
    ///
    /// # Examples
    /// A thread that has the value would wait for itself:
    /// ```
    /// use multiproc::{LockError, Value};
    ///
    /// let total = Value::new(7u64)?;
    /// let mut guard = total.lock()?;
    /// *guard += 1;
    /// assert!(matches!(total.get(), Err(LockError::WouldDeadlock)));
    /// drop(guard);
    /// assert_eq!(total.get()?, 8);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the value, if
    /// the owner of a guard may have left it half changed;
    /// [`WouldDeadlock`](LockError::WouldDeadlock) if this thread has the lock;
    /// [`Failed`](LockError::Failed) in a child that was forked without
    /// [`Process::fork`](crate::Process::fork), and where the lock is damaged.
    #[inline]
    pub fn get(&self) -> Result<T, LockError<T>> {
        self.get_until(Some(Deadline::NEVER))
    }

    /// Reads the value if the lock is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert!(total.try_get().unwrap_err().is_held()));
    /// });
    /// drop(guard);
    /// assert_eq!(total.try_get()?, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`get`](Self::get).
    #[inline]
    pub fn try_get(&self) -> Result<T, LockError<T>> {
        self.get_until(None)
    }

    /// Reads the value, waiting for the lock for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Value;
    ///
    /// const SOON: Duration = Duration::from_millis(1);
    ///
    /// let total = Value::new(7u64)?;
    /// assert_eq!(total.get_timeout(SOON)?, 7);
    /// let _guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert!(total.get_timeout(SOON).unwrap_err().is_timeout()));
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, LockError<T>> {
        self.get_until(Some(Deadline::after(timeout)))
    }

    /// Puts a value in the place of the one that is there.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Process, Value};
    ///
    /// fn measure(temperature: Value<f64>) -> multiproc::Result<()> {
    ///     Ok(temperature.set(21.5)?)
    /// }
    ///
    /// let temperature = Value::new(0.0)?;
    /// Process::spawn(measure, temperature.clone())?.join().unwrap()?;
    /// assert_eq!(temperature.get()?, 21.5);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); then nothing is changed. The value that comes with
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) is the new one.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError<T>> {
        self.replace_until(value, Some(Deadline::NEVER)).map(drop)
    }

    /// As [`set`](Self::set), if the lock is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert!(total.try_set(8).unwrap_err().is_held()));
    /// });
    /// assert_eq!(*guard, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`set`](Self::set).
    #[inline]
    pub fn try_set(&self, value: T) -> Result<(), LockError<T>> {
        self.replace_until(value, None).map(drop)
    }

    /// As [`set`](Self::set), waiting for the lock for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let error = total.set_timeout(8, Duration::from_millis(1)).unwrap_err();
    ///         assert!(error.is_timeout());
    ///     });
    /// });
    /// assert_eq!(*guard, 7);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as [`set`](Self::set).
    pub fn set_timeout(&self, value: T, timeout: Duration) -> Result<(), LockError<T>> {
        self.replace_until(value, Some(Deadline::after(timeout))).map(drop)
    }

    /// Puts a value in the place of the one that is there, and gives that.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// assert_eq!(total.replace(0)?, 7);
    /// assert_eq!(total.replace(3)?, 0);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    #[inline]
    pub fn replace(&self, value: T) -> Result<T, LockError<T>> {
        self.replace_until(value, Some(Deadline::NEVER))
    }

    /// Changes the value as `change` does, in one step: whoever is killed in the middle has changed
    /// nothing, and neither has a `change` that panics.
    ///
    /// `change` has a copy of the value in its hands; others wait meanwhile. Large data is copied
    /// once for it: change it in place through [`lock`](Self::lock) where that is too much.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Value;
    /// let position = Value::new([0.0, 0.0])?;
    /// let before = position.update(|[x, y]| {
    ///     let before = (*x, *y);
    ///     *x += 1.5;
    ///     *y -= 0.5;
    ///     before
    /// })?;
    /// assert_eq!(before, (0.0, 0.0));
    /// assert_eq!(position.get()?, [1.5, -0.5]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); then `change` is not called.
    #[doc(alias = "transact")]
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        self.update_until(change, Some(Deadline::NEVER))
    }

    /// As [`update`](Self::update), if the lock is free.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let doubled = total.try_update(|total| {
    ///     *total *= 2;
    ///     *total
    /// })?;
    /// assert_eq!(doubled, 14);
    /// // Somebody has it.
    /// let _guard = total.lock()?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert!(total.try_update(|_| unreachable!()).is_err()));
    /// });
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WouldBlock`](LockError::WouldBlock) if it is not, and as [`update`](Self::update).
    #[inline]
    pub fn try_update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        self.update_until(change, None)
    }

    /// As [`update`](Self::update), waiting for the lock for so long at the most.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Value;
    ///
    /// let total = Value::new(7u64)?;
    /// let before = total.update_timeout(Duration::from_secs(1), std::mem::take)?;
    /// assert_eq!((before, total.get()?), (7, 0));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](LockError::TimedOut) if it was not free in time, and as
    /// [`update`](Self::update).
    pub fn update_timeout<R>(
        &self,
        timeout: Duration,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, LockError<()>> {
        self.update_until(change, Some(Deadline::after(timeout)))
    }
}

#[cold]
pub(super) fn wrong_size() -> Error {
    Error::new(ErrorKind::Corrupt, "a value of another size than its type")
}
