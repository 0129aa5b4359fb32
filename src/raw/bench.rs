//! The bench: a parking place for many threads, such as the receivers of a queue or a lock's
//! waiters.
//!
//! One bit marks each waiter, and each waiter sleeps on a token of its own, so a wake reaches
//! exactly one thread. Bits are idempotent: a janitor can take back exactly the mark of a dead
//! waiter, where a count would be wrong for ever.
//!
//! **One look.** A publisher who finds nobody has loaded one word, however many waiters there can
//! be: before a later word gets its first mark, the first word says for good that it may have some.
//!
//! **The baton.** A wake that was spent on a waiter that does not use it would leave another one
//! asleep beside a message, so it notifies again when it got its message without the wake, or gives
//! up. Where it was killed instead, the janitor passes the baton by [`wake_everyone`].

use crate::shim::{AtomicU32, AtomicU64, Futex, Ordering, fence, kill_point, mutant};

use super::wait::{self, Fence, Place, Terms, Waited};
use super::wait_many::{Post, Spot};

/// How many words a bench can have at the most.
#[cfg(not(multiproc_loom))]
pub(super) const WORDS_MAX: usize = 16;
#[cfg(multiproc_loom)]
pub(super) const WORDS_MAX: usize = 2;

/// The first slot that can be a waiter's: in the places of those below, the first word of a bench
/// has what it says of all words.
pub(crate) const FIRST: usize = WORDS_MAX;

/// In the first word: some waiter has no membarrier, so publishers must use a full fence before
/// they look for marks.
const FENCED: u64 = 1 << 0;

/// In the first word: word `index`, one of the later ones, may have marks.
const fn in_use(index: usize) -> u64 {
    debug_assert!(0 < index && index < WORDS_MAX);
    1 << index
}

/// The bits of word `index` that are no marks.
const fn no_marks(index: usize) -> u64 {
    if index == 0 { (1 << FIRST) - 1 } else { 0 }
}

/// The owner of a waiter that is free.
const NOBODY: u32 = 0;

/// A parking place for the waiters `FIRST` to `64 * N - 1` of a table, in at most `WORDS_MAX`
/// words. Zeroed memory is an empty bench.
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
    /// In the places of slots below `FIRST`, so in the first word alone:
    ///
    /// | bit  | name     | tells publishers                    | set by          | cleared by |
    /// |------|----------|-------------------------------------|-----------------|------------|
    /// | 0    | `FENCED` | look at the marks behind a full     | a waiter, once  | nobody     |
    /// |      |          | fence                               |                 |            |
    /// | 1-15 | `in_use` | the word of this number has marks,  | a waiter of the | nobody     |
    /// |      |          | or had some                         | word, before    |            |
    /// |      |          |                                     | its mark        |            |
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
    /// The participant whose thread this is, or `NOBODY`. A thread stores itself, as the slot is
    /// its own by a record elsewhere; the thread, or the janitor after its death, puts `NOBODY`
    /// back.
    owner: AtomicU32,
}

impl<const N: usize> Bench<N> {
    /// Wakes one waiter if there is any. Call it after the Release store of what they wait for.
    #[inline]
    pub(crate) fn notify_one(&self, table: &[Waiter], how: Fence) {
        how.publish();
        // Relaxed: the fence `parked` lets it see the mark and its word in use, or the waiter the
        // message.
        let first = self.parked[0].load(Ordering::Relaxed);
        if first != 0 {
            self.notify_marked(table, first);
        }
    }

    /// Whether anybody waits. Call it after the Release store of what they may wait for.
    #[inline]
    pub(crate) fn is_awaited(&self, how: Fence) -> bool {
        how.publish();
        // Relaxed: as in `notify_one`; `FENCED` asks for the fence that this needs as well.
        if self.parked[0].load(Ordering::Relaxed) == 0 {
            return false;
        }
        fence("fenced");
        true
    }

    /// Whether this waiter sleeps, or is about to, for those who look.
    pub(crate) fn is_marked_at(&self, slot: usize) -> bool {
        let word = self.parked.get(slot / 64);
        // Relaxed: a remark.
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (slot % 64) & 1 == 1)
    }

    #[cold]
    fn notify_marked(&self, table: &[Waiter], first: u64) {
        if first & FENCED != 0 {
            // Fence `fenced`: meets the waiter's fence `parked`, which did not reach this process.
            // The message is before it, the marks are loaded after it.
            fence("fenced");
        }
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
            let mut marks = word.fetch_and(no_marks(index), Ordering::Relaxed) & !no_marks(index);
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
        wait::wait(&self.stool(table, me, terms.how), terms, ready, suspect)
    }

    /// Where waiter `me` of `table` waits that waits for other things as well.
    pub(crate) fn stool<'a>(&'a self, table: &'a [Waiter], me: usize, how: Fence) -> Stool<'a, N> {
        const { assert!(0 < N && N <= WORDS_MAX) };
        debug_assert!(FIRST <= me && me < 64 * N);
        Stool { bench: self, table, me, how }
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

    /// Says of a word that it may have marks. Idempotent.
    fn put_in_use(&self, index: usize) {
        if index == 0 || mutant("bench-in-use") {
            return;
        }
        // Relaxed, both: the heavy fence that follows orders it before the second look, no matter
        // which waiter set the bit. The load spares the publishers' word the RMW.
        if self.parked[0].load(Ordering::Relaxed) & in_use(index) == 0 {
            self.parked[0].fetch_or(in_use(index), Ordering::Relaxed);
        }
    }

    /// Takes the next mark in turn. Bounded: no word is visited more than twice.
    fn pick(&self) -> Option<usize> {
        // Relaxed: as in `notify_one`, for the fence `fenced` as well.
        let words = self.parked[0].load(Ordering::Relaxed);
        // Relaxed: any place to begin is right.
        let turn = self.turn.load(Ordering::Relaxed) % (64 * N as u64);
        let (first, bit) = (turn as usize / 64, turn % 64);
        // The first word comes twice: from the turn upwards, and in the end as a whole.
        let slot = (0..=N).find_map(|step| {
            let index = (first + step) % N;
            if index > 0 && words & in_use(index) == 0 {
                return None;
            }
            let from = if step == 0 { u64::MAX << bit } else { u64::MAX };
            self.pick_of(index, from)
        })?;
        self.turn.store(slot as u64 + 1, Ordering::Relaxed);
        Some(slot)
    }

    /// Takes the lowest mark within `mask` of one word. Bounded: each mark is tried once.
    fn pick_of(&self, index: usize, mask: u64) -> Option<usize> {
        // Relaxed: the fence before it orders it; what is new since then has looked after its mark.
        let mut marks = self.parked[index].load(Ordering::Relaxed) & mask & !no_marks(index);
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
        FIRST <= slot && self.parked[slot / 64].fetch_and(!mark, Ordering::Relaxed) & mark != 0
    }

    /// A bench outside of any segment.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { parked: std::array::from_fn(|_| AtomicU64::new(0)), turn: AtomicU64::new(0) }
    }
}

impl Waiter {
    /// Says that a thread of participant `owner` waits here from now on. For a slot that is the
    /// caller's by a record of its own, which also orders this behind the last `release`.
    pub(crate) fn enter(&self, owner: u32) {
        debug_assert!(owner != NOBODY);
        // Relaxed: an owner inherits nothing. Before it sleeps, the fence `parked` shows it to the
        // janitor.
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// The participant whose thread this is, or zero.
    pub(crate) fn owner(&self) -> u32 {
        // Relaxed: see `enter`.
        self.owner.load(Ordering::Relaxed)
    }

    /// Gives the waiter back: by its thread, or, after its marks were struck, by the janitor.
    pub(crate) fn release(&self) {
        // Relaxed: see `enter`.
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
    for slot in FIRST..table.len() {
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
    let _ = token.wake_one();
}

/// One waiter's place on a bench.
pub(crate) struct Stool<'a, const N: usize> {
    bench: &'a Bench<N>,
    table: &'a [Waiter],
    me: usize,
    how: Fence,
}

impl<'a> Stool<'a, WORDS_MAX> {
    /// The word that its waiter sleeps on.
    pub(super) fn token(&self) -> &'a Futex {
        &self.table[self.me].token
    }

    /// The stool, in a segment with this epoch.
    pub(crate) fn post(self, epoch: &'a Futex) -> Post<'a> {
        let how = self.how;
        Post::new(Spot::Bench(self), Some(epoch), how)
    }
}

impl<const N: usize> Place for Stool<'_, N> {
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
        self.bench.put_in_use(self.me / 64);
        kill_point("announce-in-use");
        self.bench.parked[self.me / 64].fetch_or(1 << (self.me % 64), Ordering::Relaxed);
        unwoken
    }

    fn retract(&self, _unwoken: u32) -> bool {
        !self.bench.take(self.me)
    }

    fn pass_on(&self) {
        self.bench.notify_one(self.table, self.how);
    }
}

#[cfg(not(multiproc_loom))]
const _: () = assert!(size_of::<Waiter>() == 64 && size_of::<Bench<16>>() == 136);

#[cfg(all(test, not(multiproc_loom)))]
#[path = "tests/bench.rs"]
mod tests;
