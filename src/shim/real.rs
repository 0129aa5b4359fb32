//! The machine's own atomics.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "shim is the door")]

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sys;

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

/// An ordering and the label of the edge it is one end of: its partner carries the same label.
///
/// Models weaken it by its label to see that it is needed (`MULTIPROC_MUTANT="label/Release"`).
#[inline(always)]
pub(crate) const fn at(ordering: Ordering, _label: &'static str) -> Ordering {
    ordering
}

/// Whether the models want the step of this name left out. Never, in a real build.
#[inline(always)]
pub(crate) const fn mutant(_name: &'static str) -> bool {
    false
}

/// A point where the models kill a participant. Nothing, in a real build.
#[inline(always)]
pub(crate) const fn kill_point(_name: &'static str) {}

/// A sequentially consistent fence with the label of the one it meets.
#[inline(always)]
pub(crate) fn fence(_label: &'static str) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// The publisher's half of an asymmetric fence: stops the compiler; [`heavy_fence`] does the rest.
#[inline(always)]
pub(crate) fn light_fence(_label: &'static str) {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// The sleeper's half: a full fence here and in every running thread of every registered process.
#[cold]
pub(crate) fn heavy_fence(_label: &'static str) {
    std::sync::atomic::fence(Ordering::SeqCst);
    sys::barrier::heavy();
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// Whether [`heavy_fence`] reaches the publishers, here.
pub(crate) fn has_heavy_fence() -> bool {
    sys::barrier::is_available()
}

/// A word that threads of several processes sleep on.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Futex(AtomicU32);

impl Futex {
    /// A word outside of any segment.
    #[cfg(test)]
    pub(crate) const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// The word itself.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Sleeps while the word is `expected` and `other`'s is `other_expected`, at most for
    /// `timeout`.
    pub(crate) fn wait_or(
        &self,
        expected: u32,
        other: &Futex,
        other_expected: u32,
        timeout: Option<Duration>,
    ) {
        sys::futex::wait_two((&self.0, expected), (&other.0, other_expected), timeout);
    }

    /// Wakes one sleeper.
    pub(crate) fn wake_one(&self) {
        sys::futex::wake(&self.0, 1);
    }

    /// Wakes all sleepers.
    pub(crate) fn wake_all(&self) {
        sys::futex::wake(&self.0, i32::MAX);
    }
}

/// How long a look at a word that another core may write pays. Zero where there is one CPU alone.
pub(crate) fn spin_budget() -> Duration {
    static BUDGET: OnceLock<Duration> = OnceLock::new();
    *BUDGET.get_or_init(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        // About what a futex call costs: spinning longer than the sleep it saves is a loss.
        if cpus > 1 { Duration::from_micros(2) } else { Duration::ZERO }
    })
}

/// Looks at a word between two looks at the clock: 32 of them take about 0.3 us.
pub(crate) const LOOKS: u32 = 32;

/// How long it pays to let others run instead of going to sleep: a wake-up costs 20 to 50 us.
pub(crate) const YIELD_BUDGET: Duration = Duration::from_micros(20);

/// Waits between two looks at a word that another core is about to write.
///
/// `lfence` keeps the loop from loading ahead and losing the line again: 0.94 to 1.07 times the
/// core-to-core floor, against 1.25 to 1.32 of a bare loop and 1.7 of `pause`.
#[inline(always)]
pub(crate) fn poll_pause() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE2.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::spin_loop();
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// Asks for the line at this address in a state to be written, before it is: a hint, and no access.
#[inline(always)]
pub(crate) fn fetch_for_writing(at: *const u8) {
    // SAFETY: a prefetch never faults, whatever the address, and changes no register or flag.
    // Processors without it take the instruction for none (AMD64 Architecture, vol. 3, PREFETCHW).
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
