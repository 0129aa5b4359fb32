//! Deadlines: points on `CLOCK_MONOTONIC`, which is the clock that futexes and polls are told.

use std::time::{Duration, Instant};

/// A point in time after which nobody waits any more, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for ever.
    pub(crate) const NEVER: Self = Self(None);

    /// `timeout` from now. A time-out too long for the clock is for ever.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Whether the time is up.
    pub(crate) fn is_past(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// What is left; `None` means for ever.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// What is left, but `cap` at the most.
    pub(crate) fn left_at_most(self, cap: Duration) -> Duration {
        self.left().map_or(cap, |left| left.min(cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_beyond_the_clock_is_for_ever() {
        assert!(Deadline::after(Duration::MAX).left().is_none());
        assert!(!Deadline::after(Duration::MAX).is_past());
    }

    #[test]
    fn zero_is_past_at_once() {
        assert!(Deadline::after(Duration::ZERO).is_past());
        assert_eq!(Deadline::after(Duration::ZERO).left(), Some(Duration::ZERO));
    }
}
