//! The machine's own atomics.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "shim is the door")]

use std::cell::Cell;
#[cfg(target_arch = "x86_64")]
use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sys;

pub(crate) use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

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

/// What stands before it is done before what stands behind it, in the eyes of whoever comes after
/// this process was killed in between: it dies between two instructions, and the compiler moves no
/// access across. Costs nothing, and orders nothing between the living.
#[inline(always)]
pub(crate) fn program_order() {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// A sequentially consistent fence with the label of the one it meets.
#[inline(always)]
pub(crate) fn fence(_label: &'static str) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// A sequentially consistent fence behind a read-modify-write, which on x86-64 is one already.
#[inline(always)]
pub(crate) fn fence_after_rmw(_label: &'static str) {
    #[cfg(target_arch = "x86_64")]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(target_arch = "x86_64"))]
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

    /// Sleeps while each of the words is what is expected of it, at most for `timeout`.
    pub(crate) fn wait_many(words: &[(&Self, u32)], timeout: Duration) {
        let words: Vec<_> = words.iter().map(|(futex, expected)| (&futex.0, *expected)).collect();
        sys::vigil::keep(&words, &[], timeout);
    }

    /// Wakes one sleeper. False if there was none.
    pub(crate) fn wake_one(&self) -> bool {
        sys::futex::wake(&self.0, 1) > 0
    }

    /// Wakes all sleepers.
    pub(crate) fn wake_all(&self) {
        sys::futex::wake(&self.0, i32::MAX);
    }
}

thread_local! {
    /// How many waits of this thread in a row were over only when others had been let run.
    static SPUN_IN_VAIN: Cell<u32> = const { Cell::new(0) };
}

/// After so many such waits the peer is taken to be behind this thread, on the same CPU.
const VAIN_ENOUGH: u32 = 4;

/// And every so many waits it is found out whether it still is.
const VAIN_AGAIN: u32 = 32;

/// How long a look at a word that another core may write pays. Zero where there is one CPU alone,
/// and where this thread has lately spun in vain: a peer that waits for this CPU does not come
/// before it has it.
pub(crate) fn spin_budget() -> Duration {
    static BUDGET: OnceLock<Duration> = OnceLock::new();
    let vain = SPUN_IN_VAIN.get();
    if VAIN_ENOUGH <= vain && !vain.is_multiple_of(VAIN_AGAIN) {
        return Duration::ZERO;
    }
    *BUDGET.get_or_init(|| {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        // About what a futex call costs: spinning longer than the sleep it saves is a loss.
        if cpus > 1 { Duration::from_micros(2) } else { Duration::ZERO }
    })
}

/// Remembers that what was waited for came while this thread spun.
pub(crate) fn came_while_spinning() {
    SPUN_IN_VAIN.set(0);
}

/// Remembers that what was waited for came after others had been let run.
pub(crate) fn came_after_yield() {
    SPUN_IN_VAIN.set(SPUN_IN_VAIN.get().wrapping_add(1));
}

/// Looks at a word between two looks at the clock: 32 of them take about 0.3 us.
pub(crate) const LOOKS: u32 = 32;

/// Looks at a word that its owner is about to write, before others are let run.
///
/// With the looks of above, two processes that want a lock for a few nanoseconds took 2.2 to 3.0
/// times as long for it as `parking_lot` does between threads; with these, 1.3. See
/// benches/locks.rs.
pub(crate) const BACK_OFFS: u32 = 3;

/// Waits before one of these looks: 2, 4, then 8 times the least that a processor can pause.
pub(crate) fn back_off(look: u32) {
    (0..2_u32 << look).for_each(|_| std::hint::spin_loop());
}

/// How long it pays to let others run instead of going to sleep: a wake-up costs 20 to 50 us.
pub(crate) const YIELD_BUDGET: Duration = Duration::from_micros(20);

/// How long news of one thing keep a thread that waits for many from asking after the others.
pub(crate) const TRUST: Duration = Duration::from_millis(100);

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

/// Copies bytes that threads and processes may be changing meanwhile, in words of any size.
///
/// It is assembly, as [`Wide`] is: Rust's model has no accesses of two sizes to the same bytes, but
/// the processor has. Of what is changed meanwhile, a part may be copied. What stands before the
/// copy is done before it, and what stands behind it, behind: within the copy there is no order
/// (AMD64 Architecture, vol. 2, 7.1 and 7.2).
///
/// 64 KiB of the cache took 2.4 us, eight bytes 5 ns; atomic words 3.9 us and 3 ns.
///
/// # Safety
/// - `count` bytes can be read at `from`, and written at `to`.
/// - Rust refers to none of them, but to atomics, and to those on one side that nobody else has.
#[inline]
pub(crate) unsafe fn copy_shared(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: accesses `count` bytes on both sides, as the caller lets it; the direction flag is
    // clear where assembly begins (Rust reference, inline assembly), and no flag is changed.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") count => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    for index in 0..count {
        // SAFETY: within the bytes, by the caller's word; any byte is an `AtomicU8`.
        let (from, to) =
            unsafe { (&*from.add(index).cast::<AtomicU8>(), &*to.add(index).cast::<AtomicU8>()) };
        // Relaxed, both: who copies what when is the callers' business.
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Two words that are changed as one, where the machine can do that.
///
/// A reference to one is only made where [`is_available`](Self::is_available) says yes.
///
/// All that reaches the words is assembly, also what loads one of them: Rust's model has no
/// accesses of two sizes to the same bytes, but the processor has. An aligned load of eight bytes
/// finds what some exchange of all sixteen left there, and no load is done before one that
/// precedes it (AMD64 Architecture, vol. 2, 7.2 and 7.3.2).
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Wide(UnsafeCell<[u64; 2]>);

// SAFETY: the words are only reached by instructions that are atomic between threads.
#[cfg(target_arch = "x86_64")]
unsafe impl Sync for Wide {}

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// The top bit of a half.
    pub(crate) const TOP: u64 = 1 << 63;

    /// Whether this machine changes two words as one: all of x86-64 but its very first.
    pub(crate) fn is_available() -> bool {
        std::arch::is_x86_feature_detected!("cmpxchg16b")
    }

    /// The first word. Every load of x86-64 is at least Acquire.
    #[inline(always)]
    pub(crate) fn first(&self, _ordering: Ordering) -> u64 {
        self.load::<0>()
    }

    /// The second word, no older than what a load before this one found in the first.
    #[inline(always)]
    pub(crate) fn second(&self, _ordering: Ordering) -> u64 {
        self.load::<8>()
    }

    /// Changes both words if they are as expected; if not, says what they are. A full fence.
    #[inline(always)]
    pub(crate) fn compare_exchange(
        &self,
        expected: (u64, u64),
        new: (u64, u64),
        _success: Ordering,
        _failure: Ordering,
    ) -> Result<(), (u64, u64)> {
        let (first, second);
        // SAFETY: `self` is 16 bytes that may be written, aligned to as many, and the machine has
        // the instruction, or there were no `self`. The compiler keeps rbx for itself and finds in
        // it what it left there; the address is in a register that can be no alias of it.
        unsafe {
            core::arch::asm!(
                "xchg rbx, {new_first}",
                "lock cmpxchg16b [rdi]",
                "mov rbx, {new_first}",
                new_first = inout(reg) new.0 => _,
                in("rdi") self.0.get(),
                in("rcx") new.1,
                inout("rax") expected.0 => first,
                inout("rdx") expected.1 => second,
                options(nostack),
            );
        }
        if (first, second) == expected { Ok(()) } else { Err((first, second)) }
    }

    /// Loads the word at this offset, 0 or 8.
    #[inline(always)]
    fn load<const OFFSET: usize>(&self) -> u64 {
        const { assert!(OFFSET == 0 || OFFSET == 8) };
        let word;
        // SAFETY: the eight bytes at the offset are aligned and within `self`. Nothing says that
        // the instruction leaves memory alone, so the compiler moves no access across it.
        unsafe {
            core::arch::asm!(
                "mov {word}, [{base} + {offset}]",
                base = in(reg) self.0.get(),
                offset = const OFFSET,
                word = lateout(reg) word,
                options(nostack, preserves_flags),
            );
        }
        word
    }
}

/// No other machine has one.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug)]
pub(crate) enum Wide {}

#[cfg(not(target_arch = "x86_64"))]
impl Wide {
    /// The top bit of a half.
    pub(crate) const TOP: u64 = 1 << 63;

    pub(crate) fn is_available() -> bool {
        false
    }

    pub(crate) fn first(&self, _ordering: Ordering) -> u64 {
        match *self {}
    }

    pub(crate) fn second(&self, _ordering: Ordering) -> u64 {
        match *self {}
    }

    pub(crate) fn compare_exchange(
        &self,
        _expected: (u64, u64),
        _new: (u64, u64),
        _success: Ordering,
        _failure: Ordering,
    ) -> Result<(), (u64, u64)> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spins_in_vain_spins_seldom() {
        came_while_spinning();
        let usual = spin_budget();
        let budgets: Vec<_> = (0..4 * VAIN_AGAIN)
            .map(|_| {
                let budget = spin_budget();
                came_after_yield();
                budget
            })
            .collect();
        let (first, later) = budgets.split_at(VAIN_ENOUGH as usize);
        assert!(first.iter().all(|budget| *budget == usual));
        let spun = later.iter().filter(|budget| **budget == usual).count();
        // On one CPU nobody spins at all.
        assert!(spun == 3 || usual.is_zero(), "{spun}");
        came_while_spinning();
        assert_eq!(spin_budget(), usual);
    }
}
