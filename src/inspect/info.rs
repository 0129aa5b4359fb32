//! What there is to tell of segments, of those who are in them, and of the objects.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::ObjectInfo;

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
            Self::Read { threads: 1 } => f.write_str("the lock for reading"),
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
