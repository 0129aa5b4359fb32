//! What there is to tell of segments, of those who are in them, and of the objects.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::queue::{HandleInfo, QueueStats};

/// A segment of shared memory, as it was a moment ago.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// let segment = inspect::name(&name)?;
/// assert_eq!(segment.name.as_deref(), Some(name.as_str()));
/// assert!(segment.memory <= segment.size && segment.damage.is_none());
/// println!("{} is in it", segment.label.unwrap());
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its name, if it has one. See [`Name`](crate::Name).
    pub name: Option<String>,
    /// Which file of the system it is: the numbers of its device, and of the file there.
    pub file: (u64, u64),
    /// The name by which processes know that they speak of the same segment; empty if it is
    /// damaged.
    pub uuid: String,
    /// How many bytes of address space it takes.
    pub size: u64,
    /// How many bytes of memory it takes.
    pub memory: u64,
    /// Of a segment with a name, what it says that is in it.
    pub label: Option<String>,
    /// What is wrong with it, if something is. What could be seen in spite of that is told.
    pub damage: Option<String>,
    /// How many deaths of participants were recovered from, which comes round after 2^32.
    pub deaths: u32,
    /// Who is in it.
    pub participants: Vec<ParticipantInfo>,
    /// The objects in it.
    pub objects: Vec<ObjectInfo>,
}

/// A participant of a segment: a process, or something that stands for one.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// let segment = inspect::name(&name)?;
/// let pids: Vec<u32> = segment.participants.iter().map(|one| one.pid).collect();
/// assert!(pids.contains(&std::process::id()));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Its number in this segment.
    pub number: u32,
    /// Its process id, as it said itself; 0 if it is no process.
    pub pid: u32,
    /// Where it stands.
    pub state: ParticipantState,
    /// What its program is called, if the system says so. A remark: process ids mean little to
    /// processes of another namespace.
    pub program: Option<String>,
    /// Whether its process is stopped, by a signal or a debugger; a remark, too.
    pub is_stopped: bool,
}

/// Where a participant stands.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect::{self, ParticipantState}};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let jobs = Queue::<u64>::create(&name, 10)?;
/// let count = |state| {
///     let segment = inspect::name(&name).unwrap();
///     segment.participants.iter().filter(|one| one.state == state).count()
/// };
/// assert_eq!((count(ParticipantState::Name), count(ParticipantState::Alive)), (1, 1));
/// drop(jobs);
/// assert_eq!((count(ParticipantState::Name), count(ParticipantState::Alive)), (1, 0));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ParticipantState {
    /// The kernel says that it lives: somebody holds its lease.
    Alive,
    /// The same of a parcel on its way, which holds what is in it.
    Parcel,
    /// It is dead, and nobody has given back yet what it held.
    Dead,
    /// It is dead, and what it held is being given back.
    Buried {
        /// By this participant.
        by: u32,
    },
    /// It stands for the name, which holds the objects while it exists.
    Name,
    /// It is set aside for somebody who has not come yet.
    Expected,
    /// The words of the segment are none.
    Damaged,
}

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

/// Something of an object that is in somebody's hands.
///
/// # Examples
/// ```
/// use multiproc::{Lock, inspect};
///
/// let lock = Lock::new()?;
/// let _guard = lock.lock()?;
/// let segments = inspect::process(std::process::id())?;
/// let mut holds = segments.iter().flat_map(|segment| &segment.objects).flat_map(|one| &one.holds);
/// let hold = holds.next().unwrap();
/// assert_eq!((hold.pid, hold.what.to_string().as_str()), (std::process::id(), "the lock"));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The participant that has it.
    pub participant: u32,
    /// Its process, as it said itself.
    pub pid: u32,
    /// What it has.
    pub what: Held,
}

/// What can be in somebody's hands.
///
/// # Examples
/// ```
/// use multiproc::{Semaphore, inspect::{self, Held}};
///
/// let seats = Semaphore::new(3)?;
/// let _permits = [seats.acquire()?, seats.acquire()?];
/// let segments = inspect::process(std::process::id())?;
/// let mut holds = segments.iter().flat_map(|segment| &segment.objects).flat_map(|one| &one.holds);
/// assert_eq!(holds.next().unwrap().what, Held::Permits { count: 2 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Held {
    /// A lock, or a value.
    Lock {
        /// How often; more than once only of a reentrant lock.
        levels: u32,
    },
    /// A lock for reading.
    Read {
        /// By how many threads.
        threads: u32,
    },
    /// A lock for writing.
    Write,
    /// Permits of a semaphore.
    Permits {
        /// How many.
        count: u32,
    },
    /// A whole array.
    All,
    /// A part of an array.
    Range {
        /// The first of the elements.
        start: u64,
        /// The one behind the last.
        end: u64,
    },
    /// A message of a queue, received and not let go of.
    Message,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock { levels: 0 | 1 } => f.write_str("the lock"),
            Self::Lock { levels } => write!(f, "the lock, {levels} times"),
            Self::Read { threads } => write!(f, "the lock for reading, {threads} threads"),
            Self::Write => f.write_str("the lock for writing"),
            Self::Permits { count } => write!(f, "{count} permits"),
            Self::All => f.write_str("the whole array"),
            Self::Range { start, end } => write!(f, "elements {start}..{end}"),
            Self::Message => f.write_str("a message"),
        }
    }
}

/// Somebody who waits.
///
/// # Examples
/// ```
/// # use multiproc::{Queue, inspect};
/// let jobs = Queue::<u64>::bounded(10)?;
/// for segment in inspect::process(std::process::id())? {
///     for wait in segment.objects.iter().flat_map(|object| &object.waits) {
///         println!("process {} waits for {}", wait.pid, wait.what);
/// #       unreachable!("nobody waits");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Wait {
    /// The participant, if shared memory says which. `None` if there is only a mark that somebody
    /// may wait: who waits for a lock, for example, the kernel alone knows.
    pub participant: Option<u32>,
    /// Its process, as it said itself; 0 if that is not known.
    pub pid: u32,
    /// What for.
    pub what: Awaited,
}

/// What can be waited for.
///
/// # Examples
/// ```
/// use multiproc::inspect::Awaited;
///
/// assert_eq!(Awaited::Message.to_string(), "a message");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Awaited {
    /// That a lock is free.
    Lock,
    /// That readers leave.
    Readers,
    /// A part of an array, or the whole.
    Elements,
    /// A permit.
    Permit,
    /// A signal.
    Signal,
    /// That an event is set.
    Event,
    /// The other parties of a barrier.
    Parties,
    /// A message.
    Message,
    /// Room for a message.
    Room,
    /// That all messages are said to be done.
    Tasks,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "the lock",
            Self::Readers => "the readers to leave",
            Self::Elements => "elements",
            Self::Permit => "a permit",
            Self::Signal => "a signal",
            Self::Event => "the event",
            Self::Parties => "the other parties",
            Self::Message => "a message",
            Self::Room => "room",
            Self::Tasks => "all tasks to be done",
        })
    }
}
