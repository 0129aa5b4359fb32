//! What happens inside, told as events of the [`tracing`](https://docs.rs/tracing) crate.
//!
//! With the feature `tracing`, which is off by default, every process of the program tells what
//! becomes of its children, whom it buried, and each sleep and wake of its threads, to the
//! subscriber that is the global default of that process. Without the feature there is nothing: no
//! event, no counter, no look at the clock, and no dependency.
//!
//! ```toml
//! multiproc = { version = "0.1", features = ["tracing"] }
//! ```
//!
//! # Events
//!
#![doc = include_str!("events.md")]
//!
//! A sleep `ended` by `woken`; `time-out`, also of a sleep that is only one of several of a wait;
//! `death`, when somebody of the segment was buried (known of sleeps on two words alone, the
//! thread's own and the death epoch); `interrupted` by a signal; or `spurious`, when somebody woke
//! the thread and had changed nothing. `parks` and `wakes` are those of the process up to then, see
//! `wait_counts`.
//!
//! Between two processes that are both at work there is neither sleep nor wake, and so no event for
//! a message, however many there are.
//!
//! # Where they are told
//!
//! On a thread of its own, `multiproc-trace`, which the first event starts, in the order in which
//! things happened. So a subscriber may take its time, take locks, panic, or use this crate: it
//! runs where no thread is in the middle of anything. What it does through this crate on that
//! thread is not told again; it is counted. What *others* do because of it is told, so a subscriber
//! that sends events into a queue of this process had better filter `multiproc::wait`.
//!
//! It also means that events have no current span, and that a subscriber that is the default of one
//! thread only, by `with_default`, hears nothing. Up to 4096 events wait for a slow subscriber;
//! what comes on top is lost, and counted in `events lost`. Events from right before the end of the
//! process are told if `flush_events` waits for them.
//!
//! Whether somebody listens is asked of `LevelFilter::current()` alone, one load for each event: no
//! subscriber is asked on the thread to which it happened. Nothing is told in a signal handler, nor
//! in a child process before its function begins. A process that is forked by
//! [`Process::fork`](crate::Process::fork) has the subscriber that its parent has, and a thread of
//! its own for it; others have none before they set one.

#[cfg(all(feature = "tracing", not(multiproc_loom)))]
pub(crate) mod told;

#[cfg(all(feature = "tracing", not(multiproc_loom)))]
pub(crate) use told::{Quiet, Said, Tally};
#[cfg(all(feature = "tracing", not(multiproc_loom)))]
pub use told::{WaitCounts, flush_events, wait_counts};

/// Tells an [`Event`], whose fields are not looked at where nobody listens.
#[cfg_attr(multiproc_loom, allow(unused_macros, reason = "the models start nobody"))]
macro_rules! note {
    ($level:ident, $event:ident { $($fields:tt)* }) => {
        #[cfg(all(feature = "tracing", not(multiproc_loom)))]
        {
            if $crate::trace::told::wants($crate::trace::told::Level::$level) {
                $crate::trace::told::note($crate::trace::told::Event::$event { $($fields)* });
            }
        }
    };
}

/// Notes the time, by this name, for an event that says how long something took.
macro_rules! begin {
    ($start:ident) => {
        #[cfg(all(feature = "tracing", not(multiproc_loom)))]
        let $start = std::time::Instant::now();
    };
}

/// Counts and tells a sleep that began then, on so many words, and ended so.
macro_rules! slept {
    ($start:ident, $words:expr, $ending:expr) => {
        #[cfg(all(feature = "tracing", not(multiproc_loom)))]
        {
            $crate::trace::told::slept($ending, $start, $words);
        }
    };
}

/// Counts and tells a wake that was sent to the kernel.
macro_rules! woke {
    ($woken:expr) => {
        #[cfg(all(feature = "tracing", not(multiproc_loom)))]
        {
            $crate::trace::told::woke($woken);
        }
    };
}

pub(crate) use {begin, note, slept, woke};

/// What a dead participant left behind, counted where it is told. Nothing at all, here.
#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
#[derive(Debug)]
pub(crate) struct Tally;

#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
impl Tally {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn block(&mut self) {}

    #[inline(always)]
    pub(crate) fn freed(&mut self) {}

    #[inline(always)]
    pub(crate) fn locks(&mut self, _is_locked: impl FnOnce() -> bool) {}
}

/// What the kernel said of a sleep. Nothing at all, here.
#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said;

#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
impl Said {
    #[inline(always)]
    pub(crate) fn of(_done: i64) -> Self {
        Self
    }
}

/// Keeps this thread from telling anything. Nothing to do, here.
#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
#[derive(Debug)]
pub(crate) struct Quiet;

#[cfg(not(all(feature = "tracing", not(multiproc_loom))))]
impl Quiet {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn end(self) {}

    #[inline(always)]
    pub(crate) fn begin_here() {}

    #[inline(always)]
    pub(crate) fn end_here() {}
}
