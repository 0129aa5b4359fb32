//! Single elements, and copies of all: in one step.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::error::{Error, ErrorKind, LockError};
use crate::raw::mutex::{Leaving, Legacy, Me};
use crate::raw::ranges::Span;
use crate::sync::Data;
use crate::sync::owned;
use crate::sys::clock::Deadline;

use super::Array;

/// One element that nobody else has, and the mutex, which is free again when this is dropped.
struct Visit<'a, T: Data> {
    array: &'a Array<T>,
    me: Me,
    element: NonNull<T>,
}

impl<T: Data> Visit<'_, T> {
    #[inline]
    fn read(&self) -> T {
        // SAFETY: an element of the array (`visit`); nobody changes it meanwhile; any bytes are a
        // `T`.
        unsafe { self.element.read() }
    }

    /// Whoever dies in here may leave half of the new element.
    #[inline]
    fn write(&self, value: T) {
        self.array.object.machine().mutex().be_busy(self.me);
        // SAFETY: as above, and nobody reads it meanwhile.
        unsafe { self.element.write(value) };
    }
}

impl<T: Data> Drop for Visit<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let object = &self.array.object;
        if object.is_still(self.me.participant) {
            object.machine().unlock(self.me.participant, Leaving::Done);
        }
    }
}

/// Of one element, when nobody has it, or the whole, or a part that it is in.
impl<T: Data> Array<T> {
    /// Waits until nobody has the element, and keeps others away from it.
    #[inline]
    fn visit<G>(&self, index: usize) -> Result<(Visit<'_, T>, Legacy), LockError<G>> {
        if self.length <= index {
            return Err(LockError::Failed(self.no_such(index)));
        }
        let caller = match self.caller(Some(Deadline::NEVER)) {
            Ok(caller) => caller,
            Err(error) => return Err(LockError::Failed(error)),
        };
        let span = Span { start: index as u64, end: index as u64 + 1 };
        match self.object.machine().enter(&caller, span, self.length as u64) {
            Ok(legacy) => {
                // SAFETY: `index` is less than `length`.
                let element = unsafe { self.first().add(index) };
                Ok((Visit { array: self, me: caller.me, element }, legacy))
            }
            Err(refusal) => Err(owned::refused(refusal)),
        }
    }

    #[cold]
    fn no_such(&self, index: usize) -> Error {
        let what = format!("element {index} of an array of {}", self.length);
        Error::new(ErrorKind::Bounds, what)
    }

    #[inline]
    fn poisoned<G>(&self, legacy: Legacy, value: G) -> LockError<G> {
        owned::poisoned(self.object.machine().mutex(), legacy, value)
    }

    /// Reads an element.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, ErrorKind};
    ///
    /// let array = Array::from_slice(&[1.5f64, 2.5])?;
    /// assert_eq!(array.get(1)?, 2.5);
    /// let error = array.get(2).unwrap_err();
    /// assert_eq!(error.error().unwrap().kind(), ErrorKind::Bounds);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Failed`](LockError::Failed) of kind [`Bounds`](ErrorKind::Bounds) if there is no such
    /// element; [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) with the
    /// element, if the owner of a guard, or who wrote an element, may have left some half changed;
    /// [`WouldDeadlock`](LockError::WouldDeadlock) if this thread has the element; and as
    /// [`lock`](Self::lock).
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, LockError<T>> {
        let (visit, legacy) = self.visit(index)?;
        let value = visit.read();
        if legacy.is_none() { Ok(value) } else { Err(self.poisoned(legacy, value)) }
    }

    /// Writes an element.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, Process};
    ///
    /// fn mark((done, worker): (Array<u8>, usize)) -> multiproc::Result<()> {
    ///     Ok(done.set(worker, 1)?)
    /// }
    ///
    /// let done = Array::new(3, 0u8)?;
    /// let workers = [0, 2].map(|worker| Process::spawn(mark, (done.clone(), worker)));
    /// for worker in workers {
    ///     worker?.join().unwrap()?;
    /// }
    /// assert_eq!(done.to_vec()?, [1, 0, 1]);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); then nothing is changed. The value that comes with
    /// [`OwnerDied`](LockError::OwnerDied) and [`Panicked`](LockError::Panicked) is the new one.
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), LockError<T>> {
        let (visit, legacy) = self.visit(index)?;
        if !legacy.is_none() {
            return Err(self.poisoned(legacy, value));
        }
        visit.write(value);
        Ok(())
    }

    /// Changes an element as `change` does, in one step: whoever is killed in `change` has changed
    /// nothing, and neither has a `change` that panics.
    ///
    /// Others who come for the array, or any part of it, wait until `change` is done.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::Array;
    /// let counts = Array::new(26, 0u32)?;
    /// for letter in "hello world".bytes().filter(u8::is_ascii_lowercase) {
    ///     counts.update(usize::from(letter - b'a'), |count| *count += 1)?;
    /// }
    /// assert_eq!(counts.get(11)?, 3);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); then `change` is not called.
    #[inline]
    pub fn update<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, LockError<()>> {
        let (visit, legacy) = self.visit(index)?;
        if !legacy.is_none() {
            return Err(self.poisoned(legacy, ()));
        }
        let mut value = visit.read();
        let result = change(&mut value);
        visit.write(value);
        Ok(result)
    }

    /// Copies all elements, as they are when nobody has any.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Array, LockError};
    ///
    /// let array = Array::from_slice(&[1, 2, 3])?;
    /// let mut copy = array.to_vec()?;
    /// copy.push(4);
    /// assert_eq!(array.len(), 3);
    /// // Who has a part of it would wait for itself.
    /// let _part = array.lock_range(..1)?;
    /// assert!(matches!(array.to_vec(), Err(LockError::WouldDeadlock)));
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`lock`](Self::lock), with the copy in the place of the guard.
    pub fn to_vec(&self) -> Result<Vec<T>, LockError<Vec<T>>> {
        match self.lock() {
            Ok(guard) => Ok(guard.to_vec()),
            Err(error) => Err(error.map(|guard| guard.to_vec())),
        }
    }
}
