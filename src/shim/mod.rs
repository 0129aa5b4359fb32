//! Room 1: the loom switch, and the only door to atomics, cells and fences.
//!
//! With `--cfg multiproc_loom` everything here is loom's, and the algorithms of `raw` that stand on
//! it can be explored. Otherwise it is what the machine has, and costs nothing.

#[cfg(not(multiproc_loom))]
mod real;
#[cfg(not(multiproc_loom))]
pub(crate) use real::*;

#[cfg(multiproc_loom)]
mod model;
#[cfg(multiproc_loom)]
pub(crate) use model::*;

use std::sync::PoisonError;
pub(crate) use std::sync::atomic::Ordering;

/// Takes a lock under which nothing of the user's runs: a panic in between leaves the data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
