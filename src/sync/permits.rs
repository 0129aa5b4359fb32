//! What a semaphore begins with.

use crate::raw::semaphore::{Manner, Plan};

/// How many permits a semaphore is made with, and whose they are: see
/// [`Semaphore`](super::Semaphore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permits {
    /// As of [`Semaphore::new`](super::Semaphore::new).
    Owned(u32),
    /// As of [`Semaphore::bounded`](super::Semaphore::bounded).
    Bounded(u32),
    /// As of [`Semaphore::unowned`](super::Semaphore::unowned).
    Unowned(u32),
}

impl From<u32> for Permits {
    fn from(permits: u32) -> Self {
        Self::Owned(permits)
    }
}

impl Permits {
    pub(super) fn plan(self) -> Plan {
        let (manner, permits) = match self {
            Self::Owned(permits) => (Manner::Owned, permits),
            Self::Bounded(permits) => (Manner::Bounded, permits),
            Self::Unowned(permits) => (Manner::Unowned, permits),
        };
        Plan { manner, permits }
    }
}
