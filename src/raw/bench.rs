//! The bench: a parking place for many threads, such as the receivers of a queue or a lock's
//! waiters.
//!
//! One bit marks each waiter, and each waiter sleeps on a token of its own, so a wake reaches
//! exactly one thread. Bits are idempotent: a janitor can take back exactly the mark of a dead
//! waiter, where a count would be wrong for ever.
//!
//! **The baton.** A wake that was spent on a waiter that does not use it would leave another one
//! asleep beside a message, so it notifies again when it got its message without the wake, or gives
//! up. Where it was killed instead, the janitor passes the baton by [`wake_everyone`].

use crate::shim::{AtomicU32, AtomicU64, Futex, Ordering, fence, kill_point, mutant};

use super::wait::{self, Fence, Place, Terms, Waited};

/// In the first word, in the place of slot 0, which is no waiter's: some waiter has no membarrier,
/// so publishers must use a full fence before they look for marks.
const FENCED: u64 = 1 << 0;

/// The owner of a waiter that is free.
const NOBODY: u32 = 0;

/// A parking place for the waiters 1 to `64 * N - 1` of a table. Zeroed memory is an empty bench.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Bench<const N: usize> {
    /// Bit `slot % 64` of word `slot / 64` is the mark of the waiter of this slot:
    ///
    /// | mark | the waiter                                  | set by     | cleared by      |
    /// |------|---------------------------------------------|------------|-----------------|
    /// | 0    | is away, or is owed a wake by the one who   |            | a waker, before |
    /// |      | cleared it (or by the janitor)              |            | it wakes; the   |
    /// | 1    | looks again, sleeps, or died                | the waiter | waiter; janitor |
    ///
    /// In the place of slot 0 is `FENCED`: set by a waiter, once, and cleared by nobody.
    parked: [AtomicU64; N],
    /// The slot to begin with when the next waiter is picked. A hint, so that low slots do not
    /// always win.
    turn: AtomicU64,
}

/// A thread that may park, on whatever bench: an entry of the segment's table of waiters.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Waiter {
    /// | value           | meaning to its sleeper                             | changed by |
    /// |-----------------|----------------------------------------------------|------------|
    /// | as it announced | not woken yet: sleep                               |            |
    /// | any other       | look again; perhaps in vain, if the waker was late | wakers, +1 |
    token: Futex,
    /// The participant whose thread this is, or `NOBODY`. A thread takes it from `NOBODY` by CAS;
    /// the thread, or the janitor after its death, puts `NOBODY` back.
    owner: AtomicU32,
}

impl<const N: usize> Bench<N> {
    /// Wakes one waiter if there is any. Call it after the Release store of what they wait for.
    #[inline]
    pub(crate) fn notify_one(&self, table: &[Waiter], how: Fence) {
        how.publish();
        if self.is_marked() {
            self.notify_marked(table);
        }
    }

    #[cold]
    fn notify_marked(&self, table: &[Waiter]) {
        // Fence `fenced`: meets the waiter's fence `parked`, which did not reach this process. The
        // message is before it, the marks are loaded after it.
        fence("fenced");
        if let Some(slot) = self.pick() {
            kill_point("notify-taken");
            wake(table, slot);
        }
    }

    /// Wakes all who wait. Call it after the Release store of what they wait for.
    #[cold]
    pub(crate) fn notify_all(&self, table: &[Waiter]) {
        // Fence `parked-all`: meets the waiter's fence `parked`. The message is before it, the
        // marks are taken after it.
        fence("parked-all");
        for (index, word) in self.parked.iter().enumerate() {
            // Relaxed: the fence orders it, and an RMW reads the newest marks.
            let mut marks = word.fetch_and(fenced_of(index), Ordering::Relaxed) & !fenced_of(index);
            kill_point("notify-taken");
            while marks != 0 {
                wake(table, index * 64 + marks.trailing_zeros() as usize);
                marks &= marks - 1;
            }
        }
    }

    /// Waits as waiter `me` of `table` until `ready` or the deadline, see [`wait::wait`].
    pub(crate) fn wait(
        &self,
        table: &[Waiter],
        me: usize,
        terms: Terms<'_>,
        ready: impl FnMut() -> bool,
        suspect: impl FnMut(),
    ) -> Waited {
        debug_assert!(0 < me && me < 64 * N);
        let place = Spot { bench: self, table, me, how: terms.how };
        wait::wait(&place, terms, ready, suspect)
    }

    /// Takes back the mark of a dead waiter. Idempotent; too late, it wakes the slot's new owner in
    /// vain.
    ///
    /// A mark that is gone may be a baton that died with the waiter: [`wake_everyone`] comes next.
    #[cold]
    pub(crate) fn strike(&self, table: &[Waiter], slot: usize) {
        if self.take(slot) && !mutant("strike-wake") {
            wake(table, slot);
        }
    }

    /// Sends all publishers through a full fence from now on, for a waiter without membarrier. True
    /// if that is news; publishers learn of it within a millisecond, so say it when attaching.
    pub(crate) fn demand_fences(&self) -> bool {
        // Relaxed, both: the bit carries no data, and asks for a fence that does.
        self.parked[0].load(Ordering::Relaxed) & FENCED == 0
            && self.parked[0].fetch_or(FENCED, Ordering::Relaxed) & FENCED == 0
    }

    /// Whether there is a mark, or `FENCED`, which demands a better look.
    #[inline]
    fn is_marked(&self) -> bool {
        // Relaxed: the fence `parked` lets it see the mark, or the waiter the message.
        self.parked.iter().fold(0, |marks, word| marks | word.load(Ordering::Relaxed)) != 0
    }

    /// Takes the next mark in turn. Bounded: no word is visited more than twice.
    fn pick(&self) -> Option<usize> {
        // Relaxed: any place to begin is right.
        let turn = self.turn.load(Ordering::Relaxed) % (64 * N as u64);
        let (first, bit) = (turn as usize / 64, turn % 64);
        // The first word comes twice: from the turn upwards, and in the end as a whole.
        let slot = (0..=N).find_map(|step| {
            let from = if step == 0 { u64::MAX << bit } else { u64::MAX };
            self.pick_of((first + step) % N, from)
        })?;
        self.turn.store(slot as u64 + 1, Ordering::Relaxed);
        Some(slot)
    }

    /// Takes the lowest mark within `mask` of one word. Bounded: each mark is tried once.
    fn pick_of(&self, index: usize, mask: u64) -> Option<usize> {
        // Relaxed: the fence before it orders it; what is new since then has looked after its mark.
        let mut marks = self.parked[index].load(Ordering::Relaxed) & mask & !fenced_of(index);
        while marks != 0 {
            let slot = index * 64 + marks.trailing_zeros() as usize;
            if self.take(slot) {
                return Some(slot);
            }
            marks &= marks - 1;
        }
        None
    }

    /// Takes a mark. True for exactly one of those who try.
    fn take(&self, slot: usize) -> bool {
        let mark = 1 << (slot % 64);
        // Relaxed: one word decides who got the mark, and the mark carries nothing.
        self.parked[slot / 64].fetch_and(!mark, Ordering::Relaxed) & mark != 0
    }

    /// A bench outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { parked: std::array::from_fn(|_| AtomicU64::new(0)), turn: AtomicU64::new(0) }
    }
}

impl Waiter {
    /// Takes a free waiter of `table` for a thread of participant `owner`. `None` if all are taken.
    pub(crate) fn claim(table: &[Self], owner: u32) -> Option<usize> {
        debug_assert!(owner != NOBODY);
        // Relaxed: an owner inherits nothing. What a late waker does to the token only wakes in
        // vain.
        (1..table.len()).find(|&slot| {
            let claim = (Ordering::Relaxed, Ordering::Relaxed);
            table[slot].owner.compare_exchange(NOBODY, owner, claim.0, claim.1).is_ok()
        })
    }

    /// The participant whose thread this is, or zero.
    pub(crate) fn owner(&self) -> u32 {
        // Relaxed: see `claim`.
        self.owner.load(Ordering::Relaxed)
    }

    /// Gives the waiter back: by its thread, or, after its marks were struck, by the janitor.
    pub(crate) fn release(&self) {
        // Relaxed: see `claim`.
        self.owner.store(NOBODY, Ordering::Relaxed);
    }

    /// A waiter outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { token: Futex::new(0), owner: AtomicU32::new(NOBODY) }
    }
}

/// Wakes every waiter of a segment, parked or picked: the janitor's remedy for wakes that died.
///
/// Idempotent. Each one looks again, takes what it finds, and otherwise parks anew.
#[cold]
pub(crate) fn wake_everyone(table: &[Waiter]) {
    // Fence `rescued`: meets the waiter's fence `parked`. What the dead published is before it, as
    // the janitor knows of the death; the owners and tokens are after it.
    fence("rescued");
    for slot in 1..table.len() {
        if table[slot].owner() != NOBODY {
            wake(table, slot);
        }
    }
}

/// Ends the sleep of one waiter, or the sleep that it is about to begin.
fn wake(table: &[Waiter], slot: usize) {
    // Whoever wrote a mark that no waiter has broke the segment, and hurts only itself.
    let Some(Waiter { token, .. }) = table.get(slot) else { return };
    // Relaxed: a waiter that reads the new token has its fence `parked` after it, and the waker's
    // fence is before it, so its second look finds the message.
    if !mutant("wake-token") {
        token.word().fetch_add(1, Ordering::Relaxed);
    }
    token.wake_one();
}

/// The bits of the word `index` that are no marks.
const fn fenced_of(index: usize) -> u64 {
    if index == 0 { FENCED } else { 0 }
}

/// One waiter's place on a bench.
struct Spot<'a, const N: usize> {
    bench: &'a Bench<N>,
    table: &'a [Waiter],
    me: usize,
    how: Fence,
}

impl<const N: usize> Place for Spot<'_, N> {
    fn futex(&self) -> &Futex {
        &self.table[self.me].token
    }

    fn demand_fences(&self) -> bool {
        self.bench.demand_fences()
    }

    fn announce(&self) -> u32 {
        // Relaxed, both: a wake that is in the token already shows its message to the second look,
        // and the heavy fence that follows orders the mark before that look.
        let unwoken = self.futex().word().load(Ordering::Relaxed);
        self.bench.parked[self.me / 64].fetch_or(1 << (self.me % 64), Ordering::Relaxed);
        unwoken
    }

    fn retract(&self) -> bool {
        !self.bench.take(self.me)
    }

    fn pass_on(&self) {
        self.bench.notify_one(self.table, self.how);
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Waiter>() == 64 && size_of::<Bench<8>>() == 72);

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::*;
    use crate::raw::wait::testing::{MODES, Watchdog, dawdle, terms};
    use crate::shim::yield_now;
    use crate::sys::clock::Deadline;
    use std::sync::atomic::Ordering::*;
    use std::thread;
    use std::time::Duration;

    fn table<const S: usize>() -> [Waiter; S] {
        std::array::from_fn(|_| Waiter::new())
    }

    fn mark<const N: usize>(bench: &Bench<N>, slot: usize) {
        bench.parked[slot / 64].fetch_or(1 << (slot % 64), Relaxed);
    }

    fn until_marked<const N: usize>(bench: &Bench<N>, count: u32) {
        let marks = |word: &AtomicU64| (word.load(Relaxed) & !FENCED).count_ones();
        while bench.parked.iter().map(marks).sum::<u32>() < count {
            yield_now();
        }
    }

    #[test]
    fn an_empty_bench_has_nobody_to_wake() {
        let (bench, table) = (Bench::<2>::new(), table::<128>());
        assert!(bench.pick().is_none());
        bench.notify_one(&table, Fence::Full);
        bench.notify_all(&table);
        wake_everyone(&table);
        assert!(table.iter().all(|waiter| waiter.token.word().load(Relaxed) == 0));
    }

    #[test]
    fn every_waiter_gets_its_turn() {
        let bench = Bench::<3>::new();
        (1..192).for_each(|slot| mark(&bench, slot));
        assert!(bench.demand_fences());
        for slot in 1..100 {
            assert_eq!(bench.pick(), Some(slot));
        }
        mark(&bench, 5);
        mark(&bench, 99);
        for slot in (100..192).chain([5, 99]) {
            assert_eq!(bench.pick(), Some(slot));
        }
        assert!(bench.pick().is_none());
    }

    #[test]
    fn a_struck_waiter_is_not_picked() {
        let (bench, table) = (Bench::<1>::new(), table::<4>());
        mark(&bench, 1);
        mark(&bench, 2);
        bench.strike(&table, 1);
        bench.strike(&table, 1);
        assert_eq!(table[1].token.word().load(Relaxed), 1);
        bench.notify_one(&table, Fence::Full);
        assert_eq!(table[2].token.word().load(Relaxed), 1);
    }

    #[test]
    fn a_released_waiter_can_be_claimed_again() {
        let table = table::<3>();
        assert_eq!(Waiter::claim(&table, 9), Some(1));
        assert_eq!(Waiter::claim(&table, 9), Some(2));
        assert_eq!(Waiter::claim(&table, 9), None);
        table[1].release();
        assert_eq!(Waiter::claim(&table, 8), Some(1));
        assert_eq!((table[1].owner(), table[2].owner()), (8, 9));
    }

    #[test]
    fn marks_of_no_waiter_harm_nobody() {
        let (bench, table) = (Bench::<2>::new(), table::<4>());
        for _ in 0..2 {
            bench.parked.iter().for_each(|word| word.store(u64::MAX, Relaxed));
            bench.turn.store(u64::MAX, Relaxed);
            (0..200).for_each(|_| bench.notify_one(&table, Fence::Full));
            bench.notify_all(&table);
        }
        assert!(bench.pick().is_none());
    }

    #[test]
    fn everyone_wakes_from_a_bench() {
        let _dog = Watchdog::new("everyone_wakes_from_a_bench");
        for how in MODES {
            for janitor in [false, true] {
                let (bench, table) = (Bench::<1>::new(), table::<4>());
                let (open, epoch) = (Futex::new(0), Futex::new(0));
                thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| {
                            let me = Waiter::claim(&table, 1).unwrap();
                            let terms = terms(&epoch, how, Deadline::NEVER);
                            let ready = || open.word().load(Acquire) == 1;
                            let waited = bench.wait(&table, me, terms, ready, || ());
                            assert_eq!(waited, Waited::Ready);
                        });
                    }
                    until_marked(&bench, 3);
                    open.word().store(1, Release);
                    if janitor { wake_everyone(&table) } else { bench.notify_all(&table) }
                });
            }
        }
    }

    /// Three take, one gives; some of the takers are impatient, and give up again and again.
    #[test]
    fn a_crowd_takes_each_message_once() {
        const MESSAGES: u32 = 30_000;
        let _dog = Watchdog::new("a_crowd_takes_each_message_once");
        for how in MODES {
            let (bench, table) = (Bench::<1>::new(), table::<4>());
            let (left, sent, epoch) = (Futex::new(0), Futex::new(0), Futex::new(0));
            let taken = AtomicU32::new(0);
            // Taking is a decrement, as a semaphore's.
            let take = || {
                let less = |left: u32| left.checked_sub(1);
                left.word().fetch_update(Acquire, Relaxed, less).is_ok()
            };
            thread::scope(|scope| {
                for patience in [None, Some(40), Some(200)] {
                    let (bench, table, epoch, taken, sent) =
                        (&bench, &table, &epoch, &taken, &sent);
                    scope.spawn(move || {
                        let me = Waiter::claim(table, 1).unwrap();
                        let mut took = 0;
                        loop {
                            let micros = patience.map(Duration::from_micros);
                            let deadline = micros.map_or(Deadline::NEVER, Deadline::after);
                            let terms = terms(epoch, how, deadline);
                            let mut got = false;
                            let ready = || {
                                got = take();
                                got || sent.word().load(Acquire) == 1
                            };
                            let waited = bench.wait(table, me, terms, ready, || ());
                            took += u32::from(got);
                            if waited == Waited::Ready && !got {
                                break;
                            }
                        }
                        taken.fetch_add(took, Relaxed);
                    });
                }
                for n in 1..=MESSAGES {
                    if n.is_multiple_of(8) {
                        dawdle(n);
                    }
                    left.word().fetch_add(1, Release);
                    bench.notify_one(&table, terms(&epoch, how, Deadline::NEVER).how);
                }
                sent.word().store(1, Release);
                bench.notify_all(&table);
            });
            assert_eq!(taken.into_inner() + left.word().load(Relaxed), MESSAGES);
        }
    }
}
