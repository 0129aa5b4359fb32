//! The segments of this process: each is mapped once, however many handles stand on it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use crate::error::{Error, ErrorKind, Result};
use crate::shim::lock;
use crate::sys::shm;

use super::{Courier, Segment};

/// Everything mapped by this process.
static SEGMENTS: Mutex<Vec<Weak<Segment>>> = Mutex::new(Vec::new());

/// Where small objects go: the newest arena is kept, older ones live as long as what is in them.
static ARENAS: Mutex<Arenas> = Mutex::new(Arenas { newest: None, older: Vec::new() });

/// Held for writing across a fork, so that no lock of this room is taken in the child's copy.
static GATE: RwLock<()> = RwLock::new(());

struct Arenas {
    newest: Option<Arc<Segment>>,
    older: Vec<Weak<Segment>>,
}

/// Entered by whatever takes a lock of this room.
pub(super) fn gate() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Shut around a fork.
pub(super) fn shut_gate() -> RwLockWriteGuard<'static, ()> {
    GATE.write().unwrap_or_else(PoisonError::into_inner)
}

/// The segments of this process. Who has them all keeps no lease of any of them from ending.
pub(super) fn known() -> Vec<Weak<Segment>> {
    let _gate = gate();
    lock(&SEGMENTS).clone()
}

/// All live segments of this process.
pub(super) fn all() -> Vec<Arc<Segment>> {
    known().iter().filter_map(Weak::upgrade).collect()
}

/// The segment of this memory, if this process is in it.
pub(super) fn of_memory(memory: BorrowedFd<'_>) -> Option<Arc<Segment>> {
    all().into_iter().find(|segment| segment.is_ours() && segment.is_in(memory))
}

/// Gives memory its name and notes the segment in one step, so that no thread of this process
/// enters it once more in between. False if something has the name already.
pub(super) fn publish(segment: &Arc<Segment>, path: &Path) -> io::Result<bool> {
    let _gate = gate();
    let mut segments = lock(&SEGMENTS);
    let is_published = shm::publish(segment.memory.as_fd(), path)?;
    if is_published {
        segments.push(Arc::downgrade(segment));
    }
    Ok(is_published)
}

/// Notes a segment that was entered by its name; gives the one of this memory that another thread
/// was faster to enter, if one was.
pub(super) fn add_or_find(entered: Arc<Segment>) -> Arc<Segment> {
    let _gate = gate();
    let mut segments = lock(&SEGMENTS);
    let known = segments
        .iter()
        .filter_map(Weak::upgrade)
        .find(|segment| segment.is_ours() && segment.is_in(entered.memory.as_fd()));
    match known {
        // What is dropped now has nothing but its entry.
        Some(known) => known,
        None => {
            segments.retain(|segment| segment.strong_count() > 0);
            segments.push(Arc::downgrade(&entered));
            entered
        }
    }
}

/// Notes a segment that was entered as a guest: another one than what this process may have.
pub(super) fn add_guest(segment: &Arc<Segment>) {
    let _gate = gate();
    add(segment);
}

/// The gate is already passed.
pub(super) fn add(segment: &Arc<Segment>) {
    let mut segments = lock(&SEGMENTS);
    segments.retain(|segment| segment.strong_count() > 0);
    segments.push(Arc::downgrade(segment));
}

/// The arenas that an object may go to, the newest first. None of another fork's.
pub(super) fn arenas() -> Vec<Arc<Segment>> {
    let mut arenas = lock(&ARENAS);
    arenas.older.retain(|segment| segment.strong_count() > 0);
    let older = arenas.older.iter().filter_map(Weak::upgrade);
    arenas.newest.iter().cloned().chain(older).filter(|segment| segment.is_ours()).collect()
}

pub(super) fn add_arena(segment: &Arc<Segment>) {
    add(segment);
    let mut arenas = lock(&ARENAS);
    if let Some(full) = arenas.newest.replace(Arc::clone(segment)) {
        arenas.older.push(Arc::downgrade(&full));
    }
}

/// Lets the next object begin a new arena.
#[cfg(fuzzing)]
pub(crate) fn forget_arenas() {
    let mut arenas = lock(&ARENAS);
    let newest = arenas.newest.take();
    arenas.older.clear();
    drop(arenas);
    // Its drop may be the last, and takes other locks.
    drop(newest);
}

/// Takes in a segment that came with a parcel: the mapped one if it is mapped already.
///
/// Returns the courier that has held its objects on the way, and holds them as long as he is kept.
pub(crate) fn receive(uuid: u128, lease: OwnedFd, id: u32) -> Result<Courier> {
    let _gate = gate();
    let mut segments = lock(&SEGMENTS);
    let known = segments
        .iter()
        .filter_map(Weak::upgrade)
        .find(|segment| segment.uuid == uuid && segment.is_ours() && segment.is_in(lease.as_fd()));
    let segment = match known {
        Some(segment) => segment,
        None => {
            let segment = Segment::enter(lease.as_fd())?;
            segments.retain(|segment| segment.strong_count() > 0);
            segments.push(Arc::downgrade(&segment));
            segment
        }
    };
    if segment.uuid != uuid || !segment.is_lease(lease.as_fd(), id) {
        let what = "a segment that is not the one announced, or came without its courier's lease";
        return Err(Error::new(ErrorKind::Corrupt, what));
    }
    Ok(Courier::arrived(&segment, id, lease))
}
