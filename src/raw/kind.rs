//! What a block holds, as the sweep after a death must know it.

/// The kinds of objects that live in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Nothing that a dead participant could leave in disorder.
    Inert = 1,
    /// One direction of a pipe: [`Lane`](super::lane::Lane).
    Lane = 2,
    /// A queue: [`QueueAt`](super::queue::QueueAt).
    Queue = 3,
    /// What begins with a [`Mutex`](super::mutex::Mutex): a lock, or a value with its lock.
    Mutex = 4,
    /// What begins with [`Ranges`](super::ranges::Ranges): an array with its locks.
    Array = 5,
    /// A [`Semaphore`](super::semaphore::Semaphore).
    Semaphore = 6,
    /// A [`Condition`](super::condition::Condition).
    Condition = 7,
    /// An [`Event`](super::event::Event).
    Event = 8,
    /// A [`Barrier`](super::barrier::Barrier).
    Barrier = 9,
    /// A [`RwLock`](super::rwlock::RwLock).
    RwLock = 10,
}

impl Kind {
    /// The kind of this number, if it is one.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        let all = [
            Self::Inert,
            Self::Lane,
            Self::Queue,
            Self::Mutex,
            Self::Array,
            Self::Semaphore,
            Self::Condition,
            Self::Event,
            Self::Barrier,
            Self::RwLock,
        ];
        all.into_iter().find(|kind| *kind as u32 == number)
    }

    /// Whether what a participant has of it is only in the object, or expected of it there, so that
    /// it must be given back when the last handle of a living one goes.
    pub(crate) fn is_a_lock(self) -> bool {
        match self {
            Self::Mutex | Self::Array | Self::RwLock | Self::Semaphore | Self::Barrier => true,
            // Who waits has a handle.
            Self::Condition | Self::Event => false,
            Self::Inert | Self::Lane | Self::Queue => false,
        }
    }

    /// The bytes that every object of this kind begins with.
    pub(crate) fn least_bytes(self) -> u64 {
        match self {
            Self::Inert => 0,
            Self::Lane => super::lane::RING_AT as u64,
            #[cfg(not(multiproc_loom))]
            Self::Queue => super::queue::HEAD_BYTES,
            #[cfg(multiproc_loom)]
            Self::Queue => 0,
            Self::Mutex => size_of::<super::mutex::Mutex>() as u64,
            Self::Semaphore => size_of::<super::semaphore::Semaphore>() as u64,
            Self::Condition => size_of::<super::condition::Condition>() as u64,
            Self::Event => size_of::<super::event::Event>() as u64,
            Self::Barrier => size_of::<super::barrier::Barrier>() as u64,
            Self::Array => size_of::<super::ranges::Ranges>() as u64,
            Self::RwLock => size_of::<super::rwlock::RwLock>() as u64,
        }
    }
}
