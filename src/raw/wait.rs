//! The one waiting layer: spin, yield, then park on a futex word of one's own.
//!
//! Before it sleeps, a waiter makes two moves: it announces itself, then it looks again. A
//! publisher makes the mirror image of them, and a fence between the two moves of each side keeps
//! both from missing the other:
//!
//! ```text
//! publisher                          waiter
//!   store the message                  set its mark
//!   fence `parked` (light or full)     fence `parked` (heavy)
//!   load the marks                     look for the message
//! ```
//!
//! These fences are the only order that the layer needs, so marks and tokens are `Relaxed`: of two
//! fences one is first, and whoever comes second sees all that was before the first.
//!
//! **Which fence.** The heavy fence is membarrier(2), which runs a full fence on every core that
//! runs a registered process; a publisher that is not running has had its fence from the scheduler.
//! So the publisher pays nothing, see [`Fence::Asymmetric`]. A publisher that could not register
//! fences for itself; a waiter that cannot issue the barrier sets `FENCED` beside the marks, which
//! sends every publisher through a slow path with a full fence.
//!
//! **What a place does.** Marks and sleep differ between [`Seat`](super::seat),
//! [`Bench`](super::bench), [`Bell`](super::bell), [`Event`](super::event) and
//! [`Mutex`](super::mutex); [`Place`] is what this file asks of them. At a seat and on a bench a
//! waker takes the mark before it wakes, so one message costs one system call, however long the
//! woken thread takes to run. The others have one mark for all, and the kernel knows who sleeps
//! there; what their publishers change, they change by a read-modify-write, so they need no
//! membarrier.
//!
//! **Deaths.** A waker may die between its store and its wake, and a woken thread before it acts.
//! The janitor who notices bumps the death epoch, on which every sleeper waits as well, and wakes
//! the places of the segment for those whose kernel cannot wait on two words. Should both fail,
//! each sleep ends after [`BACKSTOP`].
//!
//! **What no model shows.** That membarrier amounts to two full fences: models take them for
//! granted, or the light one for nothing; `one_of_two_sees_the_other` tries it. That the news of
//! `FENCED` arrives within [`SETTLE`]: models begin with it. That the epoch ends a sleep: a model
//! sleeps on one word.

use std::mem;
use std::time::{Duration, Instant};

use crate::shim::{
    self, Futex, Ordering, at, fence, heavy_fence, kill_point, light_fence, mutant, poll_pause,
};
use crate::sys::clock::Deadline;

/// How a publisher and a waiter make sure that one of them sees the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// The publisher's half is free, and the waiter's half is membarrier. Needs [`Fence::best`] in
    /// every process that publishes, because it registers the process.
    Asymmetric,
    /// Each side fences for itself.
    Full,
}

impl Fence {
    /// The cheapest fence that this process is allowed.
    pub(crate) fn best() -> Self {
        if shim::has_heavy_fence() { Self::Asymmetric } else { Self::Full }
    }

    /// The publisher's fence, after its store and before it loads the marks.
    #[inline(always)]
    pub(super) fn publish(self) {
        // Either meets the fence `parked` of `wait`: the message is before it, the marks are after.
        match self {
            Self::Asymmetric => light_fence("parked"),
            Self::Full => fence("parked"),
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wait that timed out has not got what it waited for"]
pub(crate) enum Waited {
    /// `ready` said so.
    Ready,
    /// The deadline passed, and after that `ready` still said no.
    TimedOut,
}

/// On which terms a thread waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// The segment's death epoch: bumped, and all its sleepers woken, when a death was recovered.
    pub(crate) epoch: &'a Futex,
    /// The fence that this process can use.
    pub(crate) how: Fence,
    /// When to give up.
    pub(crate) deadline: Deadline,
}

/// Where a thread parks.
pub(super) trait Place {
    /// The word that this thread sleeps on.
    fn futex(&self) -> &Futex;

    /// Sends all publishers through a full fence from now on. True if that is news to them.
    fn demand_fences(&self) -> bool;

    /// Sets the mark of this thread, and gives the value of the futex that means "not woken yet".
    fn announce(&self) -> u32;

    /// Whether the fence between the mark and the second look is the heavy one, which does for all
    /// places at once.
    fn is_heavy(&self) -> bool {
        true
    }

    /// What keeps the publisher and this thread from missing each other: between the mark and the
    /// second look.
    fn fence(&self) {
        // Fence `parked`: meets the publisher's. The mark is before it, the second look after it.
        heavy_fence("parked");
    }

    /// Takes the mark back, of one that was told `unwoken`. True if a wake was spent on this
    /// thread, as far as can be known: then nobody needs to be suspected.
    fn retract(&self, unwoken: u32) -> bool;

    /// Hands a wake that this thread does not use to another waiter.
    fn pass_on(&self);

    /// Hands a wake to another waiter, of a thread that has found what it was woken for and leaves
    /// it there.
    fn leave(&self) {
        self.pass_on();
    }

    /// Looks for as long as it is cheaper than to sleep. True if `ready` said so.
    fn linger(&self, deadline: Deadline, ready: &mut impl FnMut() -> bool) -> bool
    where
        Self: Sized,
    {
        linger(deadline, ready)
    }
}

/// The longest sleep. A waiter that all wakers and janitors forgot costs ten wake-ups a second.
pub(crate) const BACKSTOP: Duration = Duration::from_millis(100);

/// Who looks again and again without waiting asks the kernel about the others after so many looks
/// in vain; it takes 0.4 us each.
pub(crate) const SUSPECT_EVERY: u32 = 64;

/// How long the news of `FENCED` may take to reach a publisher that is past its light fence. The
/// publisher's store buffer drains within microseconds; what is slower than this meets the
/// backstop.
pub(super) const SETTLE: Duration = Duration::from_millis(1);

/// At most this many yields, which take 0.4 us each where nobody else wants the CPU.
const YIELDS: u32 = 50;

/// Waits until `ready` or the deadline.
///
/// `ready` takes what it waits for; where it only looks and the caller then leaves the thing, the
/// caller must notify again, as the wake was spent on it. `suspect` is called before the first
/// sleep, and when a sleep ended without a waker (the backstop, the deadline, a death somewhere).
/// It may probe the peers and recover the dead; `ready` is asked again after it. Neither may panic:
/// the mark would stay.
pub(super) fn wait(
    place: &impl Place,
    terms: Terms<'_>,
    mut ready: impl FnMut() -> bool,
    mut suspect: impl FnMut(),
) -> Waited {
    if place.linger(terms.deadline, &mut ready) {
        return Waited::Ready;
    }
    if terms.how == Fence::Full && place.demand_fences() {
        std::thread::sleep(SETTLE);
    }
    let mut epoch = epoch_of(terms.epoch);
    // A death from before this wait will not bump the epoch again.
    if !mutant("wait-suspect-first") {
        suspect();
    }
    // Not bounded, but it waits: each round sleeps or takes what a waker left.
    loop {
        // First move: announce.
        let unwoken = place.announce();
        kill_point("wait-announced");
        place.fence();
        // Second move: look again.
        let early = !mutant("wait-look-again") && ready();
        if !early {
            let nap = terms.deadline.left_at_most(BACKSTOP);
            place.futex().wait_or(unwoken, terms.epoch, epoch, Some(nap));
        }
        let picked = place.retract(unwoken);
        kill_point("wait-retracted");
        if early {
            // This thread got its message without a wake, so the wake was meant for another one.
            if picked && !mutant("wait-baton-early") {
                place.pass_on();
            }
            return Waited::Ready;
        }
        if ready() {
            return Waited::Ready;
        }
        let before = mem::replace(&mut epoch, epoch_of(terms.epoch));
        if (!picked || before != epoch) && !mutant("wait-suspect") {
            suspect();
            if ready() {
                return Waited::Ready;
            }
        }
        if terms.deadline.is_past() {
            if picked && !mutant("wait-baton-late") {
                place.pass_on();
            }
            return Waited::TimedOut;
        }
    }
}

/// The death epoch, behind which everything is visible that the recovery did before it bumped it.
pub(super) fn epoch_of(epoch: &Futex) -> u32 {
    // Acquire `epoch-bumped`: pairs with the Release of whoever bumps the epoch. A sleep that takes
    // the new epoch for granted must not have suspected on the state from before the recovery.
    epoch.word().load(at(Ordering::Acquire, "epoch-bumped"))
}

/// Looks some times in a row. True if `ready` said so.
#[inline]
fn look(ready: &mut impl FnMut() -> bool) -> bool {
    for look in 0..shim::LOOKS {
        if look > 0 {
            poll_pause();
        }
        if ready() {
            return true;
        }
    }
    false
}

/// Spins, then gives way. True if `ready` said so.
pub(super) fn linger(deadline: Deadline, ready: &mut impl FnMut() -> bool) -> bool {
    // The first looks do without the clock, which costs as much as an answer takes to come.
    if look(ready) {
        shim::came_while_spinning();
        return true;
    }
    let (start, budget) = (Instant::now(), shim::spin_budget());
    while start.elapsed() < budget {
        if look(ready) {
            shim::came_while_spinning();
            return true;
        }
    }
    let has_come = give_way(start, deadline, ready);
    if has_come {
        shim::came_after_yield();
    }
    has_come
}

/// Lets others run for as long as it is cheaper than to sleep. True if `ready` said so.
pub(super) fn give_way(
    start: Instant,
    deadline: Deadline,
    ready: &mut impl FnMut() -> bool,
) -> bool {
    for _ in 0..YIELDS {
        if shim::YIELD_BUDGET <= start.elapsed() || deadline.is_past() {
            return false;
        }
        shim::yield_now();
        if ready() {
            return true;
        }
    }
    false
}

#[cfg(all(test, not(multiproc_loom)))]
pub(crate) mod testing {
    //! What the tests of both places need.

    use super::*;
    use std::sync::mpsc;

    pub(crate) const MODES: [Fence; 2] = [Fence::Asymmetric, Fence::Full];

    /// Terms on a death epoch of one's own.
    pub(crate) fn terms(epoch: &Futex, how: Fence, deadline: Deadline) -> Terms<'_> {
        // Asymmetric fences need a registered process, and a machine that has them.
        let how = if Fence::best() == Fence::Full { Fence::Full } else { how };
        Terms { epoch, how, deadline }
    }

    /// Ends the process when the test hangs.
    pub(crate) struct Watchdog(
        #[expect(dead_code, reason = "its drop is the sign")] mpsc::Sender<()>,
    );

    impl Watchdog {
        pub(crate) fn new(test: &'static str) -> Self {
            let (alive, ended) = mpsc::channel();
            std::thread::spawn(move || {
                let ended = ended.recv_timeout(Duration::from_secs(120));
                if ended == Err(mpsc::RecvTimeoutError::Timeout) {
                    eprintln!("{test}: nobody woke somebody");
                    std::process::abort();
                }
            });
            Self(alive)
        }
    }

    /// What this thread has used so far: its CPU time, and how often it went to sleep.
    pub(crate) fn used() -> (Duration, u64) {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let nanos = times.split_whitespace().next().unwrap().parse().unwrap();
        (Duration::from_nanos(nanos), sleeps.unwrap().trim().parse().unwrap())
    }

    /// Keeps the CPU busy for some microseconds that vary with `n`, so that the peer parks
    /// sometimes.
    pub(crate) fn dawdle(n: u32) {
        let start = Instant::now();
        let time = Duration::from_micros(u64::from(n.wrapping_mul(2_654_435_769) >> 26));
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

#[cfg(all(test, not(multiproc_loom)))]
mod tests {
    use super::testing::{MODES, Watchdog};
    use super::*;
    use std::sync::atomic::Ordering::*;

    /// Words of one line would travel together, and never be seen in the wrong order.
    #[repr(align(128))]
    struct Line(Futex);

    /// Waits until the other side is in round `n` too; spins, so that both then run side by side.
    fn meet(Line(mine): &Line, Line(theirs): &Line, n: u32) {
        mine.word().store(n, Release);
        for spins in 0_u32.. {
            if n <= theirs.word().load(Acquire) {
                return;
            }
            if spins % 1024 == 1023 {
                shim::yield_now();
            }
        }
    }

    /// What no model can show: that membarrier makes a fence of the publisher's plain accesses.
    #[test]
    fn one_of_two_sees_the_other() {
        const ROUNDS: u32 = 10_000;
        let _dog = Watchdog::new("one_of_two_sees_the_other");
        for how in MODES {
            if how == Fence::Asymmetric && Fence::best() == Fence::Full {
                continue;
            }
            let lines = [0; 4].map(|zero| Line(Futex::new(zero)));
            let [Line(message), Line(mark), publisher, waiter] = &lines;
            let publish = |n| {
                // The mark of before is in the cache, so that the load need not wait for anything.
                assert!(mark.word().load(Relaxed) < n);
                meet(publisher, waiter, n);
                message.word().store(n, Release);
                how.publish();
                mark.word().load(Relaxed) == n
            };
            let park = |n| {
                meet(waiter, publisher, n);
                (0..n % 64).for_each(|_| std::hint::black_box(()));
                mark.word().swap(n, Relaxed);
                heavy_fence("parked");
                message.word().load(Relaxed) == n
            };
            let (saw_mark, saw_message) = std::thread::scope(|scope| {
                let publisher = scope.spawn(|| (1..=ROUNDS).map(publish).collect::<Vec<_>>());
                let waiter = (1..=ROUNDS).map(park).collect::<Vec<_>>();
                (publisher.join().unwrap(), waiter)
            });
            let missed = saw_mark.iter().zip(&saw_message).filter(|saw| !*saw.0 && !*saw.1).count();
            assert_eq!(missed, 0, "{how:?}: both missed each other");
        }
    }
}
