//! What is told of the objects of a segment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::queue::{HandleInfo, QueueStats};

use super::info::{Hold, Wait};

/// One object, as it was a moment ago.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect::{self, ObjectKind}};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// let segment = inspect::name(&name)?;
/// let object = &segment.objects[0];
/// assert_eq!(object.kind, ObjectKind::Queue);
/// println!("{} bytes, used by {:?}", object.bytes, object.users);
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// In which block of the segment it is.
    pub block: u32,
    /// How many objects were in this block before it. Tells it from those.
    pub generation: u32,
    /// What it is.
    pub kind: ObjectKind,
    /// How many bytes of address space it takes.
    pub bytes: u64,
    /// The participants that have a handle of it.
    pub users: Vec<u32>,
    /// How it is.
    pub state: ObjectState,
    /// What of it is in whose hands.
    pub holds: Vec<Hold>,
    /// Who waits for it, as far as shared memory tells.
    pub waits: Vec<Wait>,
}

/// What an object is.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect::{self, ObjectKind}};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// let kind = inspect::name(&name)?.objects[0].kind;
/// assert_eq!((kind, kind.to_string().as_str()), (ObjectKind::Queue, "queue"));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ObjectKind {
    /// One direction of a pipe.
    Pipe,
    /// A [`Queue`](crate::Queue).
    Queue,
    /// A [`Lock`](crate::Lock).
    Lock,
    /// A [`ReentrantLock`](crate::ReentrantLock).
    ReentrantLock,
    /// A [`Value`](crate::Value), also an atomic one.
    Value,
    /// An [`Array`](crate::Array), also an atomic one.
    Array,
    /// A [`RwLock`](crate::RwLock).
    RwLock,
    /// A [`Semaphore`](crate::Semaphore).
    Semaphore,
    /// A [`Condition`](crate::Condition).
    Condition,
    /// An [`Event`](crate::Event).
    Event,
    /// A [`Barrier`](crate::Barrier).
    Barrier,
    /// Bytes of which nobody keeps book: a [`Segment`](crate::Segment), or what proxies of an
    /// object in a manager hold.
    Plain,
    /// Nothing that this version knows.
    Unknown,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Pipe => "pipe",
            Self::Queue => "queue",
            Self::Lock => "lock",
            Self::ReentrantLock => "reentrant lock",
            Self::Value => "value",
            Self::Array => "array",
            Self::RwLock => "rwlock",
            Self::Semaphore => "semaphore",
            Self::Condition => "condition",
            Self::Event => "event",
            Self::Barrier => "barrier",
            Self::Plain => "block",
            Self::Unknown => "unknown",
        };
        f.pad(name)
    }
}

/// How an object is.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect::{self, ObjectState}};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let mut jobs = Queue::create(&name, 10)?;
/// jobs.send(7_u64)?;
/// let ObjectState::Queue { depth, capacity, .. } = inspect::name(&name)?.objects[0].state else {
///     unreachable!("it is a queue");
/// };
/// assert_eq!((depth, capacity), (Some(1), Some(10)));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ObjectState {
    /// It is being made or torn down.
    Unfinished {
        /// By this participant; if that is dead, until somebody finds out.
        by: u32,
    },
    /// There is nothing to tell but who has it.
    Plain,
    /// Of a lock of any kind, a value or an array.
    Lock {
        /// What former owners left behind.
        poison: Option<Poison>,
        /// How many bytes of data go with it.
        data: u64,
    },
    /// Of a semaphore.
    Semaphore {
        /// How many permits nobody has.
        available: u32,
        /// How many there were in the beginning.
        began_with: u32,
        /// Whether permits belong to those who acquired them, and whether there are never more.
        permits: Permits,
    },
    /// Of a condition.
    Condition {
        /// How many threads have been signalled and not gone on yet.
        signalled: u32,
    },
    /// Of an event.
    Event {
        /// Whether it is set.
        is_set: bool,
    },
    /// Of a barrier.
    Barrier {
        /// How many come to it.
        parties: u32,
        /// How many are there.
        arrived: u32,
        /// Whether it is broken.
        is_broken: bool,
    },
    /// Of a queue.
    Queue {
        /// How many messages wait; `None` if that took too long to find out.
        depth: Option<u64>,
        /// How many fit, if it does not grow.
        capacity: Option<u64>,
        /// Whether it was closed.
        is_closed: bool,
        /// What has become of the messages; `None` as above.
        stats: Option<QueueStats>,
        /// Everybody who has a handle.
        handles: Vec<HandleInfo>,
    },
    /// Of one direction of a pipe.
    Pipe {
        /// The end that sends.
        writer: PipeEnd,
        /// The end that receives.
        reader: PipeEnd,
        /// What is counted below.
        unit: PipeUnit,
        /// How much fits.
        capacity: u64,
        /// How much was ever sent and received; `None` if that took too long to find out.
        sent_and_received: Option<(u64, u64)>,
    },
    /// Its words are none of its kind.
    Damaged,
}

/// What former owners of a lock left behind.
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, ObjectState, Poison};
/// use multiproc::{Lock, Name};
///
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let lock = Lock::create(&name)?;
/// let other = lock.clone();
/// let thread = std::thread::spawn(move || {
///     let _guard = other.lock().unwrap();
///     panic!("with the lock in its hands");
/// });
/// assert!(thread.join().is_err());
/// let state = &inspect::name(&name)?.objects[0].state;
/// assert!(matches!(state, ObjectState::Lock { poison: Some(Poison::Panicked), .. }));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Poison {
    /// One died.
    OwnerDied {
        /// Its process, as it said itself.
        pid: u32,
    },
    /// One panicked.
    Panicked,
}

/// Whose the permits of a semaphore are. See [`Semaphore`](crate::Semaphore).
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, ObjectState, Permits};
/// use multiproc::{Name, Semaphore};
///
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _seats = Semaphore::create(&name, 3)?;
/// let state = &inspect::name(&name)?.objects[0].state;
/// let ObjectState::Semaphore { available: 3, permits, .. } = state else { unreachable!() };
/// assert_eq!(*permits, Permits::Owned);
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Permits {
    /// Theirs who acquired them.
    Owned,
    /// The same, and there are never more of them.
    Bounded,
    /// Nobody's.
    Unowned,
}

/// One end of one direction of a pipe.
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, ObjectState};
/// use multiproc::Pipe;
///
/// let (_out, into) = Pipe::simplex::<u64>()?;
/// drop(into);
/// let mut states = inspect::process(std::process::id())?
///     .into_iter()
///     .flat_map(|segment| segment.objects)
///     .map(|object| object.state);
/// let Some(ObjectState::Pipe { writer, reader, .. }) = states.next() else { unreachable!() };
/// assert_eq!((writer.pid, writer.is_closed), (std::process::id(), false));
/// assert_eq!((reader.is_closed, reader.has_died), (true, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PipeEnd {
    /// The participant that has it.
    pub owner: Option<u32>,
    /// The process of that.
    pub pid: u32,
    /// Whether it was given up.
    pub is_closed: bool,
    /// Whether it was, because its owner died.
    pub has_died: bool,
}

/// In what a pipe counts.
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, ObjectState, PipeUnit};
/// use multiproc::Pipe;
///
/// let _ends = Pipe::builder().plain().simplex::<u64>()?;
/// let segments = inspect::process(std::process::id())?;
/// let state = &segments.iter().flat_map(|segment| &segment.objects).next().unwrap().state;
/// assert!(matches!(state, ObjectState::Pipe { unit: PipeUnit::Messages, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PipeUnit {
    /// In messages: it carries plain values.
    Messages,
    /// In bytes, with some for every message.
    Bytes,
}
