//! Locks of all kinds, each in the same two words.
#![allow(unsafe_code, reason = "the yardsticks stand below the crate")]

use std::mem::MaybeUninit;
use std::sync::Arc;

use multiproc::{Lock, ReentrantLock};
use raw_sync::locks::{LockImpl, LockInit, Mutex as RawSyncMutex};

use crate::support::memory::SharedBytes;

/// Something that one has at a time.
pub(crate) trait Exclusion: Clone + Send + 'static {
    /// Whether it works between processes.
    const CROSSES: bool;

    fn new() -> Self;

    /// Does something that nobody does at the same time.
    fn with(&self, critical: impl FnOnce());
}

impl Exclusion for Lock {
    const CROSSES: bool = true;

    fn new() -> Self {
        Self::new().expect("a lock")
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.lock().expect("a lock");
        critical();
    }
}

impl Exclusion for ReentrantLock {
    const CROSSES: bool = true;

    fn new() -> Self {
        Self::new().expect("a lock")
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.lock().expect("a lock");
        critical();
    }
}

pub(crate) type Std = Arc<std::sync::Mutex<()>>;

impl Exclusion for Std {
    const CROSSES: bool = false;

    fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.lock().expect("a lock");
        critical();
    }
}

pub(crate) type ParkingLot = Arc<parking_lot::Mutex<()>>;

impl Exclusion for ParkingLot {
    const CROSSES: bool = false;

    fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.lock();
        critical();
    }
}

pub(crate) type ParkingLotReentrant = Arc<parking_lot::ReentrantMutex<()>>;

impl Exclusion for ParkingLotReentrant {
    const CROSSES: bool = false;

    fn new() -> Self {
        Self::default()
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.lock();
        critical();
    }
}

/// `pthread_mutex_t` in shared memory, with `PTHREAD_PROCESS_SHARED`; `ROBUST` if its owner may
/// die.
#[derive(Clone, Copy)]
pub(crate) struct Pthread<const ROBUST: bool>(*mut libc::pthread_mutex_t);

// SAFETY: a mutex of pthreads may be used by any thread, and its memory stays for ever.
unsafe impl<const ROBUST: bool> Send for Pthread<ROBUST> {}

impl<const ROBUST: bool> Exclusion for Pthread<ROBUST> {
    const CROSSES: bool = true;

    fn new() -> Self {
        Self::many(1)[0]
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        // SAFETY: initialised by `at`, and never unmapped.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0) }, 0);
        critical();
        // SAFETY: as above; locked by this thread.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0) }, 0);
    }
}

impl<const ROBUST: bool> Pthread<ROBUST> {
    /// So many, each on a cache line of its own, in one piece of memory.
    pub(crate) fn many(count: usize) -> Vec<Self> {
        const LINE: usize = 128;
        let memory = SharedBytes::new(count * LINE).address();
        // SAFETY: each 128 bytes within the memory, which nobody uses yet.
        (0..count).map(|number| unsafe { Self::at(memory.add(number * LINE).cast()) }).collect()
    }

    /// Makes one.
    ///
    /// # Safety
    ///
    /// `mutex` is memory of the right size and alignment, shared, never unmapped and nobody's.
    unsafe fn at(mutex: *mut libc::pthread_mutex_t) -> Self {
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` is written by `init` before it is used; `mutex` is as the caller
        // promises.
        let done = unsafe {
            libc::pthread_mutexattr_init(attributes)
                | libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
                | libc::pthread_mutexattr_setrobust(
                    attributes,
                    if ROBUST { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED },
                )
                | libc::pthread_mutex_init(mutex, attributes)
        };
        assert_eq!(done, 0);
        Self(mutex)
    }
}

/// The mutex of the crate raw_sync.
#[derive(Clone, Copy)]
pub(crate) struct RawSync(&'static dyn LockImpl);

// SAFETY: it is an address of a mutex of pthreads, which any thread may use.
unsafe impl Send for RawSync {}

impl Exclusion for RawSync {
    const CROSSES: bool = true;

    fn new() -> Self {
        let memory = SharedBytes::new(RawSyncMutex::size_of(None)).address();
        // SAFETY: memory of its own, large enough and never unmapped; the data are not touched.
        let made = unsafe { RawSyncMutex::new(memory, std::ptr::null_mut()) };
        Self(Box::leak(made.expect("a lock").0))
    }

    #[inline]
    fn with(&self, critical: impl FnOnce()) {
        let _guard = self.0.lock().expect("a lock");
        critical();
    }
}
