//! Waiting at many places at once, for the first of several things of any kind.
//!
//! It is the protocol of [`wait`](super::wait), made at all places together:
//!
//! ```text
//! set a mark at every place
//! fence `parked` (heavy): one for all of them
//! look for everything
//! sleep on the words of all places, and on the death epochs of all their segments
//! take every mark back
//! look again; then pass every wake on that was spent on this thread
//! ```
//!
//! **Nothing is taken.** Whoever waits here only wants to know, and may then turn to something
//! else. So a wake that was spent on it is always passed on: otherwise another waiter would sleep
//! beside what this one was woken for. Two that wait here for one message are both told of it.
//!
//! **One mark each.** A thread waits at each place as any other would: at a seat it must be the
//! only one, and at a bench it has a slot of its own.
//!
//! **Suspicion.** A thread that was woken by one thing has learnt nothing about the others. So all
//! peers are asked after when nothing woke it, when an epoch changed, and when neither has been for
//! as long as a sleep lasts at the most.
//!
//! **What has no place**, such as an fd, is the business of the [`Rest`], which also does the
//! sleeping: this room has no threads and no fds.

use std::mem;
use std::time::Duration;

use crate::shim::{self, Futex, heavy_fence, kill_point, mutant};
use crate::sys::clock::Deadline;

use super::bell::Bell;
use super::bench::{Stool, WORDS_MAX};
use super::event::Event;
use super::seat::Seat;
use super::wait::{BACKSTOP, Fence, Place, SETTLE, Waited, epoch_of, linger};

/// Something that a thread waits for among other things.
pub(crate) trait Watched {
    /// Where its news are told.
    fn post(&self) -> Post<'_>;

    /// Whether it is there. Takes nothing that anybody else could have.
    fn is_ready(&mut self) -> bool;

    /// As [`is_ready`](Self::is_ready), for an answer that is given to somebody: looked for once
    /// more where looks as a rule only hear what others have found.
    fn is_surely_ready(&mut self) -> bool {
        self.is_ready()
    }

    /// Asks after those who should bring it, and recovers the dead.
    fn suspect(&mut self);
}

/// Where the news of one thing are told: a place, and on which terms one waits there.
pub(crate) struct Post<'a> {
    spot: Spot<'a>,
    epoch: Option<&'a Futex>,
    how: Fence,
}

/// A place of some kind.
pub(super) enum Spot<'a> {
    Seat(&'a Seat),
    Bench(Stool<'a, WORDS_MAX>),
    Bell(&'a Bell),
    Event(&'a Event),
}

impl<'a> Post<'a> {
    pub(super) fn new(spot: Spot<'a>, epoch: Option<&'a Futex>, how: Fence) -> Self {
        Self { spot, epoch, how }
    }

    fn place(&self) -> &dyn Place {
        match &self.spot {
            Spot::Seat(seat) => *seat,
            Spot::Bench(stool) => stool,
            Spot::Bell(bell) => *bell,
            Spot::Event(event) => *event,
        }
    }

    /// The word to sleep on, for as long as what it is of.
    fn futex(&self) -> &'a Futex {
        match &self.spot {
            Spot::Seat(seat) => seat.futex(),
            Spot::Bench(stool) => stool.token(),
            Spot::Bell(bell) => bell.futex(),
            Spot::Event(event) => event.futex(),
        }
    }
}

/// What has no place, and how to sleep.
pub(crate) trait Rest {
    /// Whether any of it is ready.
    fn is_ready(&mut self) -> bool;

    /// Sleeps while all words are as expected and nothing of the rest is ready, at most so long.
    fn sleep(&mut self, words: &[(&Futex, u32)], nap: Duration);
}

/// There is nothing but places.
pub(crate) struct NoRest;

impl Rest for NoRest {
    fn is_ready(&mut self) -> bool {
        false
    }

    fn sleep(&mut self, words: &[(&Futex, u32)], nap: Duration) {
        Futex::wait_many(words, nap);
    }
}

/// What this thread left at a place, and knows of its segment.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The value of the futex that means "not woken yet".
    unwoken: u32,
    /// Whether a wake was spent on this thread there.
    is_picked: bool,
    /// The death epoch, as of before the peers were asked after.
    epoch: u32,
}

/// Waits until something is ready, or the deadline. See [`wait`](super::wait::wait) for what is
/// asked of the looks and of suspicion.
pub(crate) fn wait_many(
    sources: &mut [&mut dyn Watched],
    deadline: Deadline,
    rest: &mut impl Rest,
) -> Waited {
    if linger(deadline, &mut || is_any_ready(sources, rest)) {
        return Waited::Ready;
    }
    settle(sources);
    let mut marks = vec![Mark::default(); sources.len()];
    renew_epochs(sources, &mut marks);
    if !mutant("many-suspect-first") {
        suspect(sources);
    }
    let mut trusted = Deadline::after(shim::TRUST);
    // Not bounded, but it waits: each round sleeps or takes what a waker left.
    loop {
        // First move: announce, everywhere.
        announce(sources, &mut marks);
        kill_point("many-announced");
        part(sources);
        // Second move: look again.
        let mut is_ready = !mutant("many-look-again") && is_any_ready(sources, rest);
        if !is_ready {
            sleep(sources, &marks, deadline, rest);
        }
        retract(sources, &mut marks);
        kill_point("many-retracted");
        is_ready = is_ready || is_any_ready(sources, rest);
        if !is_ready {
            let has_died = renew_epochs(sources, &mut marks);
            let is_woken = marks.iter().any(|mark| mark.is_picked);
            if (has_died || !is_woken || trusted.is_past()) && !mutant("many-suspect") {
                suspect(sources);
                trusted = Deadline::after(shim::TRUST);
                is_ready = is_any_ready(sources, rest);
            }
        }
        if is_ready || deadline.is_past() {
            leave(sources, &marks);
            return if is_ready { Waited::Ready } else { Waited::TimedOut };
        }
    }
}

fn is_any_ready(sources: &mut [&mut dyn Watched], rest: &mut impl Rest) -> bool {
    sources.iter_mut().any(|source| source.is_ready()) || rest.is_ready()
}

fn suspect(sources: &mut [&mut dyn Watched]) {
    sources.iter_mut().for_each(|source| source.suspect());
}

/// Has publishers fence for themselves where this process cannot do it for them.
fn settle(sources: &[&mut dyn Watched]) {
    let mut is_news = false;
    for source in sources {
        let post = source.post();
        is_news |= post.how == Fence::Full && post.place().demand_fences();
    }
    if is_news {
        std::thread::sleep(SETTLE);
    }
}

/// Notes the death epochs of all segments. Whether one of them has changed.
fn renew_epochs(sources: &[&mut dyn Watched], marks: &mut [Mark]) -> bool {
    let mut has_changed = false;
    for (source, mark) in sources.iter().zip(marks) {
        if let Some(epoch) = source.post().epoch {
            let before = mem::replace(&mut mark.epoch, epoch_of(epoch));
            has_changed |= before != mark.epoch;
        }
    }
    has_changed
}

fn announce(sources: &[&mut dyn Watched], marks: &mut [Mark]) {
    for (source, mark) in sources.iter().zip(marks) {
        mark.unwoken = source.post().place().announce();
    }
}

/// What keeps the publishers and this thread from missing each other: one heavy fence is enough for
/// all places, and subsumes the light ones.
fn part(sources: &[&mut dyn Watched]) {
    if sources.iter().any(|source| source.post().place().is_heavy()) {
        // Fence `parked`: meets the publishers'. All marks are before it, all looks after it.
        heavy_fence("parked");
    } else {
        sources.iter().for_each(|source| source.post().place().fence());
    }
}

fn sleep(sources: &[&mut dyn Watched], marks: &[Mark], deadline: Deadline, rest: &mut impl Rest) {
    let mut words: Vec<(&Futex, u32)> = Vec::with_capacity(sources.len() + 1);
    words.extend(sources.iter().zip(marks).map(|(source, mark)| {
        let futex = source.post().futex();
        (futex, mark.unwoken)
    }));
    for (source, mark) in sources.iter().zip(marks) {
        // Things of one segment have one epoch, and whoever noted it first noted the oldest.
        if let Some(epoch) = source.post().epoch
            && !words[sources.len()..].iter().any(|(known, _)| std::ptr::eq(*known, epoch))
            && !mutant("many-epoch")
        {
            words.push((epoch, mark.epoch));
        }
    }
    rest.sleep(&words, deadline.left_at_most(BACKSTOP));
}

fn retract(sources: &[&mut dyn Watched], marks: &mut [Mark]) {
    for (source, mark) in sources.iter().zip(marks) {
        if !mutant("many-retract") {
            mark.is_picked = source.post().place().retract(mark.unwoken);
        }
    }
}

/// Hands on every wake that was spent on this thread.
fn leave(sources: &[&mut dyn Watched], marks: &[Mark]) {
    for (source, mark) in sources.iter().zip(marks) {
        if mark.is_picked && !mutant("many-baton") {
            source.post().place().leave();
        }
    }
}
