//! The line of a pool: who waits for an order, for room for one, or for the end.
//!
//! It knows nothing of what an order is, so that a model can have it as it is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::shim::{self, Mutex, MutexGuard, mutant};
use crate::sys::clock::Deadline;

use super::signal::{self, Signal};

/// How often who waits for room looks for what was cancelled.
const GLANCE: Duration = Duration::from_millis(20);

/// What becomes of a pool's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No more is taken in; what there is is done.
    Closed,
    /// What is not done will not be.
    Terminated,
    /// As `Terminated`, because of a signal.
    Interrupted,
    /// As `Terminated`, because workers die as fast as they are started, or cannot be.
    Broken,
}

impl Phase {
    /// Whether what waits is still to be done.
    pub(super) fn works(self) -> bool {
        matches!(self, Self::Open | Self::Closed)
    }
}

/// Who takes orders from a line.
pub(super) trait Taker {
    /// Its place among those of the line.
    fn index(&self) -> usize;

    /// Whether somebody else can do its part now.
    fn can_be_lent(&self) -> bool;

    /// Whether somebody who had borrowed it has left it something to do.
    fn is_bereft(&self) -> bool;
}

/// What a taker is woken for.
pub(super) enum Turn<T> {
    /// An order.
    Serve(T),
    /// What a borrower has left it.
    Recover,
    /// There will be no more orders.
    Retire,
}

/// A taker's place.
struct Place<M> {
    /// The taker, if it has nothing to do.
    taker: Option<M>,
    /// How often somebody came for it with an order that was in the line.
    reclaims: usize,
    /// Whether its thread is awake, and looks again before it sleeps.
    is_awake: bool,
}

struct State<T, M> {
    waiting: VecDeque<T>,
    phase: Phase,
    /// How many orders were taken out and are not over.
    running: usize,
    places: Vec<Place<M>>,
    /// How many of them are awake.
    awake: usize,
    /// How many takers are with somebody who borrowed them.
    lent: usize,
}

/// Orders that wait, and how many are being done; and who has nothing to do.
pub(super) struct Line<T, M> {
    state: Mutex<State<T, M>>,
    /// Something waits, or the phase changed.
    filled: Signal,
    /// There is room, or the phase changed.
    emptied: Signal,
    bound: usize,
}

impl<T, M: Taker> State<T, M> {
    /// Whether there is something for the taker of this index, and it is in its place.
    fn has_turn(&self, index: usize) -> bool {
        let has_news = !self.waiting.is_empty() || !self.phase.works() || self.is_finished();
        let taker = self.places[index].taker.as_ref();
        taker.is_some_and(|taker| has_news || taker.is_bereft())
    }

    /// Whether those who are awake anyway will take all that waits.
    fn is_looked_for(&self) -> bool {
        if self.awake < self.waiting.len() {
            return false;
        }
        let looks = |place: &&Place<M>| {
            let is_free = place.taker.as_ref().is_some_and(|taker| !taker.is_bereft());
            place.is_awake && (is_free || mutant("line-looks"))
        };
        self.waiting.len() <= self.places.iter().filter(looks).count()
    }

    /// Lends a taker that can be lent.
    fn lend(&mut self) -> Option<M> {
        let can_be_lent =
            |place: &&mut Place<M>| place.taker.as_ref().is_some_and(Taker::can_be_lent);
        let taker = self.places.iter_mut().find(can_be_lent)?.taker.take()?;
        self.running += 1;
        self.lent += 1;
        Some(taker)
    }

    /// Notes whether the thread of this taker looks again before it sleeps.
    fn note_awake(&mut self, index: usize, is_awake: bool) {
        self.places[index].is_awake = is_awake;
        if is_awake { self.awake += 1 } else { self.awake -= 1 }
    }

    /// Whether everything is done. What others run may be put back.
    fn is_finished(&self) -> bool {
        let runs = self.running > 0 && !mutant("line-leave");
        self.phase == Phase::Closed && self.waiting.is_empty() && !runs
    }

    /// What there is for the taker of this index, once.
    fn take_turn(&mut self, index: usize) -> Option<(M, Turn<T>)> {
        if !self.has_turn(index) {
            return None;
        }
        let taker = self.places[index].taker.take()?;
        if taker.is_bereft() {
            return Some((taker, Turn::Recover));
        }
        let order = if self.phase.works() { self.waiting.pop_front() } else { None };
        self.running += usize::from(order.is_some());
        Some((taker, order.map_or(Turn::Retire, Turn::Serve)))
    }

    /// Takes out what nobody wants.
    fn take_unwanted(&mut self, is_unwanted: impl FnMut(&T) -> bool) -> VecDeque<T> {
        let (unwanted, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_unwanted);
        self.waiting = waiting;
        unwanted
    }
}

impl<T, M: Taker> Line<T, M> {
    /// A line in which `bound` orders may wait, for so many takers.
    pub(super) fn new(takers: usize, bound: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            phase: Phase::Open,
            running: 0,
            places: (0..takers)
                .map(|_| Place { taker: None, reclaims: 0, is_awake: false })
                .collect(),
            awake: 0,
            lent: 0,
        };
        Self { state: Mutex::new(state), filled: Signal::new(), emptied: Signal::new(), bound }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, M>> {
        shim::lock(&self.state)
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Puts an order at the end of the line, waiting for room until the deadline. False if there
    /// was none; the phase, if it is not taken at all. While there is no room, what is unwanted is
    /// discarded.
    pub(super) fn push(
        &self,
        order: T,
        deadline: Deadline,
        is_unwanted: impl Fn(&T) -> bool,
        discard: impl Fn(VecDeque<T>),
    ) -> Result<bool, Phase> {
        let mut state = self.lock();
        while state.phase == Phase::Open && state.waiting.len() >= self.bound {
            let unwanted = state.take_unwanted(&is_unwanted);
            if !unwanted.is_empty() {
                drop(state);
                discard(unwanted);
                state = self.lock();
                continue;
            }
            if deadline.is_past() {
                return Ok(false);
            }
            // Who cancels tells nobody, so it is looked for.
            let glance = Deadline::after(deadline.left_at_most(GLANCE));
            state = self.emptied.wait(state, glance);
        }
        self.append(state, order).map(|()| true)
    }

    /// As [`push`](Self::push), for who must not wait: there is room for it.
    pub(super) fn push_beyond(&self, order: T) -> Result<(), Phase> {
        self.append(self.lock(), order)
    }

    fn append(&self, mut state: MutexGuard<'_, State<T, M>>, order: T) -> Result<(), Phase> {
        if state.phase != Phase::Open {
            return Err(state.phase);
        }
        state.waiting.push_back(order);
        let is_lent = state.lent > 0 && !mutant("line-lent");
        let is_looked_for = state.is_looked_for();
        drop(state);
        if is_looked_for {
            return Ok(());
        }
        if is_lent {
            // One wake-up could be that of a taker that is lent.
            self.filled.notify_all();
        } else {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts orders back to the front, in this order: they were taken and not begun. Gives them back
    /// if they are not to be done any more.
    #[must_use]
    pub(super) fn put_back(&self, orders: Vec<T>) -> Vec<T> {
        let mut state = self.lock();
        state.running -= orders.len();
        if !state.phase.works() {
            drop(state);
            self.emptied.notify_all();
            return orders;
        }
        orders.into_iter().rev().for_each(|order| state.waiting.push_front(order));
        drop(state);
        if !mutant("line-put-back") {
            self.filled.notify_all();
        }
        Vec::new()
    }

    /// Lays a taker down until it has something to do, and gives it what it is.
    pub(super) fn pop(&self, taker: M) -> (M, Turn<T>) {
        let index = taker.index();
        let mut state = self.lock();
        state.places[index].taker = Some(taker);
        let mut seen = None;
        // Not bounded, but it waits.
        loop {
            if let Some((taker, turn)) = state.take_turn(index) {
                drop(state);
                if !mutant("line-room") {
                    self.emptied.notify_one();
                }
                return (taker, turn);
            }
            let reclaims = state.places[index].reclaims;
            if seen == Some(reclaims) {
                state = self.filled.wait(state, Deadline::NEVER);
                continue;
            }
            // Whoever came before the taker's own thread is likely to come again.
            seen = Some(reclaims);
            state.note_awake(index, true);
            drop(state);
            let has_turn = |state: &State<T, M>| state.has_turn(index);
            state = signal::linger(&self.state, Deadline::NEVER, has_turn);
            state.note_awake(index, mutant("line-awake"));
        }
    }

    /// Lends a taker to somebody who has an order for it, unless there are older ones.
    pub(super) fn borrow(&self) -> Option<M> {
        let mut state = self.lock();
        if state.phase != Phase::Open || !state.waiting.is_empty() {
            return None;
        }
        state.lend()
    }

    /// Takes an order back that is in front of all others, with a taker that is lent for it.
    pub(super) fn reclaim(&self, is_it: impl FnOnce(&T) -> bool) -> Option<(M, T)> {
        let mut state = self.lock();
        if !state.phase.works() || !state.waiting.front().is_some_and(is_it) {
            return None;
        }
        let taker = state.lend()?;
        let order = state.waiting.pop_front()?;
        let reclaims = &mut state.places[taker.index()].reclaims;
        *reclaims = reclaims.wrapping_add(1);
        drop(state);
        if !mutant("line-reclaim") {
            self.emptied.notify_one();
        }
        Some((taker, order))
    }

    /// Takes back a taker that was lent.
    pub(super) fn give_back(&self, taker: M) {
        let index = taker.index();
        let mut state = self.lock();
        state.lent -= 1;
        state.places[index].taker = Some(taker);
        let has_turn = state.has_turn(index);
        drop(state);
        if has_turn && !mutant("line-give-back") {
            // One wake-up could be that of another taker, whose turn it is not.
            self.filled.notify_all();
        }
    }

    /// Takes one order more, if so many wait that nobody is idle without it.
    pub(super) fn pop_spare(&self, workers: usize) -> Option<T> {
        let mut state = self.lock();
        if !state.phase.works() || state.waiting.len() < workers {
            return None;
        }
        let order = state.waiting.pop_front()?;
        state.running += 1;
        drop(state);
        self.emptied.notify_one();
        Some(order)
    }

    /// An order that was taken is about to be over.
    pub(super) fn over(&self) {
        let mut state = self.lock();
        state.running -= 1;
        let is_last = state.phase != Phase::Open && state.running == 0;
        drop(state);
        if is_last && !mutant("line-last") {
            self.filled.notify_all();
            self.emptied.notify_all();
        }
    }

    /// Goes on to a later phase. What waited, if it is not to be done any more.
    pub(super) fn enter(&self, phase: Phase) -> VecDeque<T> {
        let mut state = self.lock();
        if state.phase.works() && state.phase != phase {
            state.phase = phase;
        }
        let dropped =
            if state.phase.works() { VecDeque::new() } else { std::mem::take(&mut state.waiting) };
        drop(state);
        if !mutant("line-enter") {
            self.filled.notify_all();
            self.emptied.notify_all();
        }
        dropped
    }

    /// Waits until nothing waits or runs, or the deadline.
    pub(super) fn drain(&self, deadline: Deadline) -> bool {
        let mut state = self.lock();
        while state.running > 0 || state.phase.works() && !state.waiting.is_empty() {
            if deadline.is_past() {
                return false;
            }
            state = self.emptied.wait(state, deadline);
        }
        true
    }

    /// How many orders wait, and how many run.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.running)
    }
}
