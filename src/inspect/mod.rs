//! Room 7: looking at segments of shared memory, from any process of the same user.
//!
//! [`names`] lists what has names, [`name`] looks at one of them, and [`process`] at the segments
//! that a process has, with names and without. The example `inspect` prints what they tell, once a
//! second; all of it is `Serialize`, for tools that print something else.
//!
//! ```
//! use multiproc::inspect::{self, ObjectState};
//! use multiproc::{Name, Queue};
//!
//! let name = Name::new(&format!("jobs-{}", std::process::id()))?;
//! let mut jobs = Queue::<u64>::create(&name, 100)?;
//! jobs.send(1)?;
//! let segment = inspect::name(&name)?;
//! assert!(segment.label.unwrap().starts_with("Queue"));
//! assert!(matches!(segment.objects[0].state, ObjectState::Queue { depth: Some(1), .. }));
//! name.unlink()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Looking disturbs nobody.** Nothing is mapped, written, locked or entered. What there is to see
//! is copied by pread(2), which gives no memory to holes: the words that control an object, and no
//! more than 32 MiB of any. Who lives, the kernel is asked.
//!
//! **A picture may be torn.** Others go on while it is taken, so what it says of one object need
//! not be of one moment: a message can be on both sides of a pipe, or a lock awaited that is free.
//! An object that is taken down meanwhile is left out. Whatever bytes are there, the answer is one
//! that could be, or [`Damaged`](ObjectState::Damaged).
//!
//! **Who waits** is known where each waiter has a place of its own: at queues, pipes, conditions
//! and barriers. Of others there is a mark that somebody may wait, which stays until somebody was
//! to be woken in vain.
//!
//! **Since when** is not in shared memory at all. A [`History`] tells since when every look has
//! found the same.

mod history;
#[cfg(test)]
mod hostile;
mod info;
mod object;
mod queue;
mod state;
mod window;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::participants::Standing;
use crate::segment::{Entry, Name, PREFIX, Picture, ToName};
use crate::sys::{shm, stranger};

pub use history::{History, Rates};
pub use info::{Awaited, Held, Hold, ParticipantInfo, ParticipantState, SegmentInfo, Wait};
pub use state::{ObjectInfo, ObjectKind, ObjectState, Permits, PipeEnd, PipeUnit, Poison};

/// Looks at everything of this user's that has a name, in the order of the names.
///
/// What is no segment of this version of this crate is told to be damaged.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// let names = inspect::names()?;
/// assert!(names.iter().any(|segment| segment.name.as_deref() == Some(name.as_str())));
/// # name.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the folder of the names cannot be read.
pub fn names() -> Result<Vec<SegmentInfo>> {
    let found = shm::names(PREFIX).context(|| "list what has names".to_owned())?;
    let ours = found.into_iter().filter(|path| shm::is_ours(path));
    // One that has gone meanwhile is left out.
    Ok(ours.filter_map(|path| look_at(&path, Some(name_in(&path)))).collect())
}

/// Looks at what has this name.
///
/// # Examples
/// ```
/// # use multiproc::{Name, Queue, inspect};
/// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
/// let _jobs = Queue::<u64>::create(&name, 10)?;
/// assert_eq!(inspect::name(&name)?.objects.len(), 1);
/// name.unlink()?;
/// assert_eq!(inspect::name(&name).unwrap_err().kind(), multiproc::ErrorKind::NotFound);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if nothing has it. What is no segment of this version of this
/// crate is no error, but told to be damaged.
pub fn name(name: impl ToName) -> Result<SegmentInfo> {
    let name = name.to_name()?;
    look_at(&name.path(), Some(name.as_str().to_owned())).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("nothing has the name {:?}", name.as_str()))
    })
}

/// Looks at all segments that a process has, with names or without: those of its file descriptors.
///
/// # Examples
/// ```
/// use multiproc::{Event, inspect};
///
/// let event = Event::new()?;
/// let segments = inspect::process(std::process::id())?;
/// println!("{} segments", segments.len());
/// assert!(segments.iter().any(|segment| !segment.objects.is_empty()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is no such process; and if it is another user's, or
/// the system does not tell for another reason.
pub fn process(pid: u32) -> Result<Vec<SegmentInfo>> {
    let what = || format!("look at the memory of process {pid}");
    let Some(user) = stranger::user_of(pid).context(what)? else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no process {pid}")));
    };
    let files = stranger::files_of(pid)
        .context(|| format!("{}, which belongs to the user of number {user}", what()))?;
    let names = names_by_file();
    let mut segments: Vec<SegmentInfo> = Vec::new();
    for (called, door) in files {
        let is_known = |file| segments.iter().any(|segment| segment.file == file);
        let Ok(Some(memory)) =
            (if may_be_ours(&called) { shm::open_to_look(&door) } else { Ok(None) })
        else {
            continue;
        };
        let Ok(facts) = shm::facts_of(memory.as_fd()) else { continue };
        if is_known(facts.file) {
            continue;
        }
        let name = names.get(&facts.file).cloned();
        let segment = picture(memory, name);
        // A file in that folder may be anything.
        if segment.damage.is_none() || segment.name.is_some() || called.starts_with(MEMFD) {
            segments.push(segment);
        }
    }
    Ok(segments)
}

/// What the system calls memory that has no name.
const MEMFD: &str = "/memfd:multiproc (deleted)";

/// Whether a file that is called so can be a segment. One that was made without a name and given
/// one later is called by a number for ever, by who made it.
fn may_be_ours(called: &Path) -> bool {
    called == Path::new(MEMFD) || called.starts_with(shm::FOLDER)
}

/// The name behind the path of one, or what is there in its place.
fn name_in(path: &Path) -> String {
    let file = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Name::of_path(path).map_or_else(file, |name| name.as_str().to_owned())
}

/// The names of this user by the files that have them.
fn names_by_file() -> HashMap<(u64, u64), String> {
    let paths = shm::names(PREFIX).unwrap_or_default();
    let file_of = |path: &Path| {
        let memory = shm::open_to_look(path).ok()??;
        Some((shm::facts_of(memory.as_fd()).ok()?.file, name_in(path)))
    };
    paths.iter().filter_map(|path| file_of(path)).collect()
}

/// Looks at what has a name. `None` if nothing has it.
fn look_at(path: &Path, name: Option<String>) -> Option<SegmentInfo> {
    match shm::open_to_look(path) {
        Ok(memory) => Some(picture(memory?, name)),
        Err(cause) => Some(SegmentInfo { name, damage: Some(cause.to_string()), ..nothing() }),
    }
}

/// Of what nothing is known.
fn nothing() -> SegmentInfo {
    SegmentInfo {
        name: None,
        file: (0, 0),
        uuid: String::new(),
        size: 0,
        memory: 0,
        label: None,
        damage: None,
        deaths: 0,
        participants: Vec::new(),
        objects: Vec::new(),
    }
}

/// Takes a picture of memory, and says what is in it.
fn picture(memory: OwnedFd, name: Option<String>) -> SegmentInfo {
    let facts = shm::facts_of(memory.as_fd());
    let mut info = SegmentInfo { name, ..nothing() };
    if let Ok(facts) = facts {
        (info.file, info.size, info.memory) = (facts.file, facts.size, facts.memory);
    }
    match Picture::take(memory) {
        Ok(picture) => describe(&picture, &mut info),
        Err(error) => info.damage = Some(error.to_string()),
    }
    info
}

fn describe(picture: &Picture, info: &mut SegmentInfo) {
    info.uuid = format!("{:032x}", picture.uuid());
    info.label = picture.label();
    info.deaths = picture.deaths();
    info.participants = picture.entries().iter().map(participant).collect();
    let (spots, damage) = picture.spots();
    info.damage = damage;
    for spot in &spots {
        let object = object::look(picture, spot);
        if picture.is_still(spot) {
            info.objects.push(object);
        }
    }
}

fn participant(entry: &Entry) -> ParticipantInfo {
    let Entry { id, pid, standing, has_lease } = *entry;
    let state = match standing {
        Standing::Live if !has_lease => ParticipantState::Dead,
        Standing::Live if pid == 0 => ParticipantState::Parcel,
        Standing::Live => ParticipantState::Alive,
        Standing::Reaped { by } => ParticipantState::Buried { by },
        Standing::Reserved if id == crate::segment::NAME => ParticipantState::Name,
        Standing::Reserved => ParticipantState::Expected,
        Standing::Free | Standing::Corrupt => ParticipantState::Damaged,
    };
    let lives = state == ParticipantState::Alive;
    let stranger = lives.then(|| stranger::look(pid)).flatten();
    let is_stopped = stranger.as_ref().is_some_and(|stranger| stranger.is_stopped);
    ParticipantInfo {
        number: id,
        pid,
        state,
        program: stranger.map(|stranger| stranger.program),
        is_stopped,
    }
}

impl SegmentInfo {
    /// The participant of this number, if there is one.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Name, Queue, inspect};
    /// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
    /// let _jobs = Queue::<u64>::create(&name, 10)?;
    /// let segment = inspect::name(&name)?;
    /// let user = segment.objects[0].users.iter().find_map(|user| segment.participant(*user));
    /// println!("{:?}", user.unwrap().program);
    /// assert!(segment.participant(1023).is_none());
    /// # name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn participant(&self, number: u32) -> Option<&ParticipantInfo> {
        self.participants.iter().find(|participant| participant.number == number)
    }
}
