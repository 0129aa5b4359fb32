//! The event: a flag that any number of threads wait for.
//!
//! **One word.** Flag, generation and mark are in the word that the waiters sleep on, so what a
//! setter changes is what a waiter announced itself in, and neither can miss the other. No fence is
//! needed.
//!
//! **No set is lost.** A wait ends when the flag is set, and also when the generation is not the
//! one at its beginning: a set that is cleared at once ends every wait that began before it, no
//! matter how late its thread gets to run. Generations come round after 2^30 sets: a thread that is
//! stopped for exactly so many, and then finds the flag cleared, waits for the next.
//!
//! **Deaths.** Nobody owns anything here. A setter that dies before it wakes the sleepers has
//! changed the word already: whoever wakes them, they find it.

use crate::shim::{Futex, Ordering, at, kill_point, mutant};

use super::wait::{self, Fence, Place, Terms, Waited};
use super::wait_many::{Post, Spot};

/// The flag.
const SET: u32 = 1 << 0;
/// A thread may sleep here.
const MARK: u32 = 1 << 1;
/// One time that the flag was set: the bits above the mark count them.
const GENERATION: u32 = 1 << 2;

/// A flag to wait for. Zeroed memory is one that is not set.
///
/// ```text
/// word:  31        2     1     0
///       [ generation | MARK | SET ]
/// ```
///
/// | from                 | to                      | by                                        |
/// |----------------------|-------------------------|-------------------------------------------|
/// | `n`, marked or not   | `n + 1` and `SET`       | who sets it; wakes all if it was marked   |
/// | `n` and `SET`        | `n`                     | who clears it                             |
/// | `n`                  | `n` and `MARK`          | a waiter, before it looks again and sleeps |
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Event(Futex);

/// When a wait began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u32);

impl Event {
    /// Sets the flag and wakes all waiters. False if it was set already.
    pub(crate) fn set(&self) -> bool {
        // Relaxed: the exchange below decides. Not bounded, but a refusal is somebody's success.
        let mut seen = self.0.word().load(Ordering::Relaxed);
        loop {
            let is_news = seen & SET == 0;
            // Also a set that is no news changes the word, to what it is: whoever clears the flag
            // after it finds what was done before it.
            if !is_news && mutant("event-old-set") {
                return false;
            }
            let new = if is_news { raised(seen) } else { seen };
            // AcqRel `event-changed`: who finds the flag set finds what was done before; and this
            // thread finds what was done before the flag was cleared.
            let order = at(Ordering::AcqRel, "event-changed");
            match self.0.word().compare_exchange(seen, new, order, Ordering::Relaxed) {
                Ok(_) if is_news => break,
                Ok(_) => return false,
                Err(now) => seen = now,
            }
        }
        kill_point("event-set");
        if seen & MARK != 0 && !mutant("event-wake") {
            self.0.wake_all();
        }
        true
    }

    /// Clears the flag. Waits that began before it was set end all the same.
    pub(crate) fn clear(&self) {
        // AcqRel `event-changed`: as in `set`, the other way round.
        self.0.word().fetch_and(!SET, at(Ordering::AcqRel, "event-changed"));
    }

    /// Whether the flag is set.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.now().0 & SET != 0
    }

    /// Whether somebody may wait for it, for those who look.
    pub(crate) fn is_awaited(&self) -> bool {
        // Relaxed: a remark.
        self.0.word().load(Ordering::Relaxed) & MARK != 0
    }

    /// The moment that a wait can begin with.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        // Acquire `event-changed`: pairs with the AcqRel of `set` and `clear`.
        Moment(self.0.word().load(at(Ordering::Acquire, "event-changed")))
    }

    /// Waits until the flag is set, or was set since `began`. See [`wait::wait`] for `suspect`.
    pub(crate) fn wait(&self, began: Moment, terms: Terms<'_>, suspect: impl FnMut()) -> Waited {
        let ready = || self.now().is_set_since(began);
        wait::wait(self, terms, ready, suspect)
    }

    /// Wakes all waiters, marked or not: the janitor's remedy for a setter that died.
    ///
    /// Idempotent. Each one looks again, and otherwise sleeps anew. The word need not change for
    /// it: whoever is about to sleep compares it with what it was before the dead changed it.
    #[cold]
    pub(crate) fn alarm(&self) {
        if !mutant("event-alarm") {
            self.0.wake_all();
        }
    }

    /// Where a thread waits that waits for other things as well. An event of this process alone has
    /// no epoch.
    pub(crate) fn post<'a>(&'a self, epoch: Option<&'a Futex>) -> Post<'a> {
        Post::new(Spot::Event(self), epoch, Fence::Full)
    }

    /// An event outside of any segment.
    pub(crate) fn new() -> Self {
        Self(Futex::new(0))
    }
}

impl Moment {
    /// Before the first set of an event.
    #[cfg(all(test, multiproc_loom))]
    pub(crate) const ZERO: Self = Self(0);

    /// Whether the flag is set now, or was set between the two moments.
    pub(crate) fn is_set_since(self, began: Self) -> bool {
        self.0 & SET != 0 || self.0 / GENERATION != began.0 / GENERATION
    }
}

/// The word of an event that is set, one generation later, with nobody to wake.
fn raised(seen: u32) -> u32 {
    let next = if mutant("event-generation") { seen } else { seen.wrapping_add(GENERATION) };
    next & !MARK | SET
}

impl Place for Event {
    fn futex(&self) -> &Futex {
        &self.0
    }

    fn demand_fences(&self) -> bool {
        false
    }

    fn announce(&self) -> u32 {
        let mark = if mutant("event-mark") { 0 } else { MARK };
        // Relaxed: the second look loads the same word, so it finds this state or a later one.
        self.0.word().fetch_or(mark, Ordering::Relaxed) | mark
    }

    fn is_heavy(&self) -> bool {
        false
    }

    fn fence(&self) {
        // None: mark and flag are in one word.
    }

    fn retract(&self, unwoken: u32) -> bool {
        // Relaxed: a remark. The mark stays for the others.
        self.0.word().load(Ordering::Relaxed) != unwoken
    }

    fn pass_on(&self) {}
}

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;
    use crate::raw::wait::testing::{Watchdog, dawdle, terms};
    use crate::sys::clock::Deadline;
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    fn wait_for(event: &Event, epoch: &Futex, timeout: Duration) -> Waited {
        let deadline = Deadline::after(timeout);
        event.wait(event.now(), terms(epoch, Fence::Full, deadline), || ())
    }

    #[test]
    fn a_set_event_is_not_waited_for() {
        let (event, epoch) = (Event::new(), Futex::new(0));
        assert_eq!(wait_for(&event, &epoch, Duration::ZERO), Waited::TimedOut);
        assert!(!event.is_set());
        assert!(event.set());
        assert!(!event.set(), "it was set already");
        assert!(event.is_set());
        assert_eq!(wait_for(&event, &epoch, Duration::ZERO), Waited::Ready);
        event.clear();
        event.clear();
        assert!(!event.is_set());
        assert_eq!(wait_for(&event, &epoch, Duration::from_millis(2)), Waited::TimedOut);
    }

    #[test]
    fn generations_come_round() {
        let (event, epoch) = (Event::new(), Futex::new(0));
        event.0.word().store(!(SET | MARK), Ordering::Relaxed);
        let began = event.now();
        assert!(event.set());
        event.clear();
        assert_eq!(event.0.word().load(Ordering::Relaxed), 0);
        let deadline = Deadline::after(Duration::ZERO);
        let waited = event.wait(began, terms(&epoch, Fence::Full, deadline), || ());
        assert_eq!(waited, Waited::Ready);
    }

    /// Three wait for each set; the setter clears it at once and waits until all have seen it.
    #[test]
    fn a_pulse_ends_every_wait() {
        const ROUNDS: u32 = 3_000;
        let _dog = Watchdog::new("a_pulse_ends_every_wait");
        let (event, epoch) = (Event::new(), Futex::new(0));
        let (began, ended) = (AtomicU32::new(0), AtomicU32::new(0));
        let until = |count: &AtomicU32, n| {
            while count.load(Ordering::Acquire) < n {
                crate::shim::yield_now();
            }
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for n in 1..=ROUNDS {
                        let moment = event.now();
                        began.fetch_add(1, Ordering::AcqRel);
                        let terms = terms(&epoch, Fence::Full, Deadline::NEVER);
                        assert_eq!(event.wait(moment, terms, || ()), Waited::Ready);
                        ended.fetch_add(1, Ordering::AcqRel);
                        until(&ended, 3 * n);
                    }
                });
            }
            for n in 1..=ROUNDS {
                until(&began, 3 * n);
                dawdle(n);
                assert!(event.set());
                event.clear();
                until(&ended, 3 * n);
            }
        });
    }
}
