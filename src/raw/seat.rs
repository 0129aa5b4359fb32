//! The seat: a parking place for one thread, such as the receiving side of a pipe.
//!
//! It is one word. The sleeper sleeps on the word that holds its own mark, so a mark that is taken
//! and a flag that is raised both end the sleep, and there is no token to reset or to lose.

use crate::shim::{Futex, Ordering, at, fence, kill_point, mutant};

use super::wait::{self, Fence, Place, Terms, Waited};
use super::wait_many::{Post, Spot};

/// The waiter sleeps, or is about to.
const PARKED: u32 = 1 << 0;

/// The waiter has no membarrier: publishers must use a full fence before they look for `PARKED`.
const FENCED: u32 = 1 << 1;

/// A parking place for at most one thread at a time. Zeroed memory is an empty seat.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Seat {
    /// | bits | name     | set by                   | cleared by                            |
    /// |------|----------|--------------------------|---------------------------------------|
    /// | 0    | `PARKED` | the waiter               | a waker before it wakes; the waiter   |
    /// | 1    | `FENCED` | a waiter, once           | nobody: later fences are only slower  |
    /// | 2-31 | flags    | [`raise`](Seat::raise)   | nobody                                |
    ///
    /// | `PARKED` | the waiter                                                               |
    /// |----------|--------------------------------------------------------------------------|
    /// | 0        | is away, or owes its wake to the one who cleared it (or to the janitor)  |
    /// | 1        | looks again, sleeps, or died: the next publisher wakes it, once          |
    word: Futex,
}

impl Seat {
    /// The `n`th flag of the object above, of thirty.
    pub(crate) const fn flag(n: u32) -> u32 {
        assert!(n < 30);
        1 << (n + 2)
    }

    /// The flags raised so far.
    ///
    /// Who sees a flag sees all that was done before it was raised; a message too, so look once
    /// more.
    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        // Acquire `seat-flags`: pairs with Release `seat-flags` in `raise`.
        self.word.word().load(at(Ordering::Acquire, "seat-flags")) & !(PARKED | FENCED)
    }

    /// Whether the waiter sleeps, or is about to, for those who look.
    pub(crate) fn is_parked(&self) -> bool {
        // Relaxed: a remark.
        self.word.word().load(Ordering::Relaxed) & PARKED != 0
    }

    /// Raises flags for good and wakes the waiter, whoever has taken its mark. Idempotent.
    ///
    /// Without flags it is the janitor's rescue of a waiter whose waker died half way.
    #[cold]
    pub(crate) fn raise(&self, flags: u32) {
        let word = self.word.word();
        // Release `seat-flags`: pairs with Acquire `seat-flags` in `flags`.
        word.fetch_or(flags & !(PARKED | FENCED), at(Ordering::Release, "seat-flags"));
        kill_point("raise-flagged");
        // Relaxed: the word alone decides who sleeps. It changes here for a waiter about to sleep
        // even where the flags were up already.
        let old = word.fetch_and(!PARKED, Ordering::Relaxed);
        // Even without a mark: a waker that died may have taken it, and left the waiter asleep.
        if old & PARKED != 0 || !mutant("raise-unmarked") {
            let _ = self.word.wake_one();
        }
    }

    /// Wakes the waiter if there is one. Call it after the Release store of what it waits for.
    #[inline]
    pub(crate) fn notify(&self, how: Fence) {
        how.publish();
        // Relaxed: the fence `parked` lets it see the mark, or the waiter the message.
        if self.word.word().load(Ordering::Relaxed) & (PARKED | FENCED) != 0 {
            self.notify_marked();
        }
    }

    #[cold]
    fn notify_marked(&self) {
        let word = self.word.word();
        // Fence `fenced`: meets the waiter's fence `parked`, which did not reach this process. The
        // message is before it, the mark is loaded after it.
        fence("fenced");
        // Relaxed, both: see `notify`. The load spares a seat that is only `FENCED` the RMW.
        if word.load(Ordering::Relaxed) & PARKED == 0 {
            return;
        }
        let old = word.fetch_and(!PARKED, Ordering::Relaxed);
        kill_point("notify-taken");
        if old & PARKED != 0 && !mutant("notify-wake") {
            let _ = self.word.wake_one();
        }
    }

    /// Sends all publishers through a full fence from now on, for a waiter without membarrier. True
    /// if that is news; publishers learn of it within a millisecond, so say it when attaching.
    pub(crate) fn demand_fences(&self) -> bool {
        let word = self.word.word();
        // Relaxed, both: the bit carries no data, and asks for a fence that does.
        word.load(Ordering::Relaxed) & FENCED == 0
            && word.fetch_or(FENCED, Ordering::Relaxed) & FENCED == 0
    }

    /// Waits until `ready` or the deadline, see [`wait::wait`]. `ready` must heed the flags.
    pub(crate) fn wait(
        &self,
        terms: Terms<'_>,
        ready: impl FnMut() -> bool,
        suspect: impl FnMut(),
    ) -> Waited {
        wait::wait(self, terms, ready, suspect)
    }

    /// Where a thread waits that waits for other things as well.
    pub(crate) fn post<'a>(&'a self, epoch: &'a Futex, how: Fence) -> Post<'a> {
        Post::new(Spot::Seat(self), Some(epoch), how)
    }

    /// A seat outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { word: Futex::new(0) }
    }
}

impl Place for Seat {
    fn futex(&self) -> &Futex {
        &self.word
    }

    fn demand_fences(&self) -> bool {
        Self::demand_fences(self)
    }

    fn announce(&self) -> u32 {
        // Relaxed: the heavy fence that follows orders the mark before the second look.
        self.word.word().fetch_or(PARKED, Ordering::Relaxed) | PARKED
    }

    fn retract(&self, _unwoken: u32) -> bool {
        // Relaxed: a look that comes too early for the message only starts another round.
        self.word.word().fetch_and(!PARKED, Ordering::Relaxed) & PARKED == 0
    }

    fn pass_on(&self) {
        // Nobody else waits here, and the message stays for this thread's next wait.
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Seat>() == 4);

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;
    use crate::raw::wait::BACKSTOP;
    use crate::raw::wait::testing::{MODES, Watchdog, dawdle, terms, used};
    use crate::shim::yield_now;
    use crate::sys::clock::Deadline;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering::*};
    use std::thread;
    use std::time::{Duration, Instant};

    const CLOSED: u32 = Seat::flag(0);
    const DIED: u32 = Seat::flag(29);

    fn until_parked(seat: &Seat) {
        while seat.word.word().load(Relaxed) & PARKED == 0 {
            yield_now();
        }
    }

    #[test]
    fn a_parked_waiter_uses_no_cpu() {
        for how in MODES {
            let (seat, epoch) = (Seat::new(), Futex::new(0));
            let before = used();
            let deadline = Deadline::after(Duration::from_secs(1));
            let waited = seat.wait(terms(&epoch, how, deadline), || false, || ());
            let after = used();
            assert_eq!(waited, Waited::TimedOut);
            // Ten sleeps by the backstop, one for the news of FENCED, and some by membarrier's
            // lock.
            assert!(after.1 - before.1 < 30, "{how:?}: {} sleeps", after.1 - before.1);
            let cpu = after.0 - before.0;
            assert!(cpu < Duration::from_millis(20), "{how:?}: {cpu:?} of CPU");
        }
    }

    #[test]
    fn no_wait_times_out_early() {
        let (seat, epoch) = (Seat::new(), Futex::new(0));
        for how in MODES {
            for micros in [0, 1, 15, 30, 5_000, 500_000] {
                let (time, start) = (Duration::from_micros(micros), Instant::now());
                let deadline = Deadline::after(time);
                let mut suspected = 0;
                let waited = seat.wait(terms(&epoch, how, deadline), || false, || suspected += 1);
                assert_eq!(waited, Waited::TimedOut);
                assert!(start.elapsed() >= time);
                assert!(suspected >= if time > BACKSTOP { 3 } else { 2 });
            }
        }
        assert_eq!(seat.word.word().load(Relaxed) & PARKED, 0);
    }

    #[test]
    fn what_is_there_is_not_waited_for() {
        let (seat, epoch) = (Seat::new(), Futex::new(0));
        let past = Deadline::after(Duration::ZERO);
        let waited = seat.wait(terms(&epoch, MODES[0], past), || true, || unreachable!());
        assert_eq!(waited, Waited::Ready);
    }

    #[test]
    fn a_flag_wakes_the_sleeper_and_stays() {
        let _dog = Watchdog::new("a_flag_wakes_the_sleeper_and_stays");
        for how in MODES {
            let (seat, epoch) = (Seat::new(), Futex::new(0));
            thread::scope(|scope| {
                scope.spawn(|| {
                    let terms = terms(&epoch, how, Deadline::NEVER);
                    assert_eq!(seat.wait(terms, || seat.flags() != 0, || ()), Waited::Ready);
                });
                until_parked(&seat);
                seat.raise(CLOSED);
            });
            seat.raise(DIED);
            assert_eq!(seat.flags(), CLOSED | DIED);
            // No mark is left, so a publisher has nothing to wake.
            assert_eq!(seat.word.word().load(Relaxed) & PARKED, 0);
        }
    }

    #[test]
    fn a_bumped_epoch_makes_a_sleeper_suspect() {
        let _dog = Watchdog::new("a_bumped_epoch_makes_a_sleeper_suspect");
        let (seat, epoch) = (Seat::new(), Futex::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                let suspected = Cell::new(0);
                let suspect = || suspected.set(suspected.get() + 1);
                let terms = terms(&epoch, MODES[0], Deadline::NEVER);
                // Once before the first sleep, and once for the epoch.
                assert_eq!(seat.wait(terms, || suspected.get() == 2, suspect), Waited::Ready);
            });
            until_parked(&seat);
            epoch.word().fetch_add(1, Release);
            epoch.wake_all();
        });
    }

    #[test]
    fn a_broken_word_harms_nobody() {
        let (seat, epoch) = (Seat::new(), Futex::new(0));
        for how in MODES {
            seat.word.word().store(u32::MAX, Relaxed);
            seat.notify(how);
            seat.raise(CLOSED);
            let past = Deadline::after(Duration::ZERO);
            assert_eq!(seat.wait(terms(&epoch, how, past), || false, || ()), Waited::TimedOut);
        }
    }

    /// Each message is sent a random few microseconds late, so that the peer spins, yields or
    /// parks.
    #[test]
    fn ping_pong_loses_no_wake() {
        const ROUNDS: u32 = 5_000;
        let _dog = Watchdog::new("ping_pong_loses_no_wake");
        for how in MODES {
            let (seats, epoch) = ([Seat::new(), Seat::new()], Futex::new(0));
            let balls = [Futex::new(0), Futex::new(0)];
            let stalls = AtomicUsize::new(0);
            let hit = |side: usize, n: u32| {
                if n.is_multiple_of(8) {
                    dawdle(n);
                }
                balls[side].word().store(n, Release);
                seats[side].notify(terms(&epoch, how, Deadline::NEVER).how);
            };
            let catch = |side: usize, n: u32| {
                let mut suspected = 0;
                let terms = terms(&epoch, how, Deadline::NEVER);
                let ready = || balls[side].word().load(Acquire) == n;
                let start = Instant::now();
                assert_eq!(seats[side].wait(terms, ready, || suspected += 1), Waited::Ready);
                if suspected > 1 && start.elapsed() >= BACKSTOP {
                    stalls.fetch_add(1, Relaxed);
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| (1..=ROUNDS).for_each(|n| (catch(0, n), hit(1, n)).1));
                (1..=ROUNDS).for_each(|n| (hit(0, n), catch(1, n)).1);
            });
            // The backstop hides a lost wake, but takes its time. A busy machine may stall as well.
            let stalls = stalls.into_inner();
            println!("{how:?}: {stalls} stalls");
            assert!(stalls < 5, "{how:?}: {stalls} messages came with the backstop");
        }
    }
}
