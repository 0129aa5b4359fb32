//! Segments that strangers find by a name.
//!
//! ```text
//! make:  a file without a name -> header, label, objects -> link: from now on it can be found
//! open:  the file -> is it ours, whole, of this layout, and what the caller means? -> a lease
//!        -> has it its name still? then it is entered, else once more
//! ```
//!
//! **The name is a participant.** Number 0 of such a segment is set aside for nobody, and holds
//! every object: so it stays when all processes have gone. As long as the file has a name, number 0
//! lives; who asks after it when the name is gone finds it dead, and buries it like anybody else,
//! who held the object and, of a queue, an end of each kind. So `unlink` is a system call and no
//! protocol, and nothing depends on whether who calls it survives.
//!
//! **Replacing what nobody has.** Whoever holds all leases at once knows that nobody is there, and
//! keeps everybody out until the name is gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::participants::PARTICIPANTS_MAX;
use crate::sys::clock::Deadline;
use crate::sys::holder::Holder;
use crate::sys::{lease, shm};

use super::arena::{self, Request, Spec};
use super::courier::too_many;
use super::layout::{Geometry, LABEL_MAX};
use super::name::hash;
use super::{Name, Segment, Shared, registry};

/// The participant that the name is.
pub(crate) const NAME: u32 = 0;

/// The participant that is set aside for whoever comes to the other end of a pipe.
pub(crate) const GUEST: u32 = 1;

/// How long somebody who replaces the object may keep others out: he makes a few system calls.
const REPLACING: Duration = Duration::from_secs(1);

/// Where an object is made.
pub(crate) enum Site<'a> {
    /// Where there is room, for those whom a handle is sent to.
    Anywhere,
    /// Under a name, for those who look for what is labelled so.
    Named { name: &'a Name, label: &'a str },
}

impl Site<'_> {
    /// Whether what is made here can be found by its name.
    pub(crate) fn has_name(&self) -> bool {
        matches!(self, Self::Named { .. })
    }

    /// Makes an object here. `finish` completes one with a name before it can be found.
    pub(crate) fn make(
        &self,
        spec: &Spec<'_>,
        finish: impl FnOnce(&Shared) -> Result<()>,
    ) -> Result<Shared> {
        match self {
            Self::Anywhere => {
                let shared = arena::allocate(spec)?;
                finish(&shared)?;
                Ok(shared)
            }
            Self::Named { name, label } => {
                let plan = Plan { label, specs: &[spec], has_guest: false };
                let mut made = publish(name, &plan, |made| finish(&made[0]))?;
                made.pop().ok_or_else(|| arena::too_large(spec.bytes))
            }
        }
    }
}

/// What is to be found under a name.
pub(crate) struct Plan<'a> {
    pub(crate) label: &'a str,
    pub(crate) specs: &'a [&'a Spec<'a>],
    /// Whether participant [`GUEST`] is set aside.
    pub(crate) has_guest: bool,
}

/// Makes the objects of a plan, and gives them the name when `finish` has completed them.
///
/// # Errors
/// `Exists` if something has the name already.
pub(crate) fn publish(
    name: &Name,
    plan: &Plan<'_>,
    finish: impl FnOnce(&[Shared]) -> Result<()>,
) -> Result<Vec<Shared>> {
    let what = || format!("make an object of the name {:?}", name.as_str());
    // Asked first as well: what may be large is not made in vain.
    if !may_be_made(name).context(what)? {
        return Err(exists(name));
    }
    let (segment, made) = build(plan)?;
    finish(&made)?;
    // Last: what is to be replaced stays if there is no room for what replaces it.
    if name.replaces() {
        make_way(name)?;
    }
    if !registry::publish(&segment, &name.path()).context(what)? {
        return Err(exists(name));
    }
    Ok(made)
}

/// Whether nothing has the name, or what may be replaced.
fn may_be_made(name: &Name) -> io::Result<bool> {
    match shm::open(&name.path()) {
        Ok(None) => Ok(true),
        Ok(Some(memory)) if name.replaces() => {
            Ok(!lease::is_any_held_elsewhere(memory.as_fd(), PARTICIPANTS_MAX)?)
        }
        Ok(Some(_)) => Ok(false),
        Err(cause) if shm::is_shortage(&cause) => Err(cause),
        // What cannot be opened is not this user's to replace.
        Err(_) => Ok(false),
    }
}

fn build(plan: &Plan<'_>) -> Result<(Arc<Segment>, Vec<Shared>)> {
    // Dropped behind the gate: handles pass it when they go.
    let mut made = Vec::new();
    let _gate = registry::gate();
    let largest = plan.specs.iter().map(|spec| spec.bytes).max().unwrap_or(0);
    let geometry = Geometry::of_few(largest, plan.specs.len() as u32);
    let geometry = geometry.ok_or_else(|| arena::too_large(largest))?;
    let granules = geometry.granules(largest);
    let bytes = geometry.bytes(granules).checked_mul(plan.specs.len() as u64);
    let bytes = bytes.ok_or_else(|| arena::too_large(largest))?;
    let reserved = if plan.has_guest { GUEST + 1 } else { NAME + 1 };
    let segment = Arc::new(Segment::create_on(shm::create, geometry, bytes, reserved)?);
    for spec in plan.specs {
        let place = segment.take(&Request::new(granules, spec))?;
        let place = place.ok_or_else(|| arena::too_large(spec.bytes))?;
        (0..reserved).for_each(|id| segment.blocks()[place.index as usize].hold(id));
        made.push(Shared::first(Arc::clone(&segment), place));
    }
    // Of several, as far as the first is furnished: behind it the others have less than a block.
    let furnished = plan.specs.first().map_or(0, |spec| spec.furnished);
    let end = geometry.data_at() + furnished.min(geometry.bytes(granules));
    segment.label().write(&fitting(plan.label), end);
    Ok((segment, made))
}

/// The label as it fits: of one that is too long the rest is told apart by its hash.
fn fitting(label: &str) -> String {
    if label.len() <= LABEL_MAX {
        return label.to_owned();
    }
    let rest = format!("... {:016x}", hash(label.bytes()));
    let end = (0..=LABEL_MAX - rest.len()).rev().find(|end| label.is_char_boundary(*end));
    format!("{}{rest}", &label[..end.unwrap_or(0)])
}

/// Opens the one object of this name, if its label is the one expected.
///
/// # Errors
/// `NotFound`, `Mismatch`, `Corrupt`; also if what has the name is not this user's alone.
pub(crate) fn open(name: &Name, label: &str) -> Result<Shared> {
    let until = Deadline::after(REPLACING);
    // Bounded by the deadline: every turn finds another file, or one that somebody replaces.
    loop {
        let memory = find(name)?;
        let segment = match registry::of_memory(memory.as_fd()) {
            Some(segment) => segment,
            None => {
                let visited = visit(name, memory, label)?;
                let Some(me) = visited.join(visited.memory.as_fd(), std::process::id())? else {
                    wait_for_lease(name, &visited, until, too_many)?;
                    continue;
                };
                registry::add_or_find(enter(visited, me))
            }
        };
        check_label(name, &segment, label)?;
        let object = Shared::on(&segment, 0)?;
        if is_named(&segment) {
            return Ok(object);
        }
    }
}

/// Opens the two objects of this name as the one guest who is expected there.
///
/// # Errors
/// As [`open`], and `Exists` if the guest has come already.
pub(crate) fn open_as_guest(name: &Name, label: &str) -> Result<[Shared; 2]> {
    let until = Deadline::after(REPLACING);
    // Bounded, as above.
    loop {
        let visited = visit(name, find(name)?, label)?;
        // Asked before the lease: whoever has it for a moment, and is stopped, would look like him.
        let guest = &visited.entries()[GUEST as usize];
        let taken = || {
            let what = format!("the other end of the pipe {:?} is taken", name.as_str());
            Error::new(ErrorKind::Exists, what)
        };
        if guest.is_reserved() {
            let what = || "take a lease on a segment".to_owned();
            if !lease::hold(visited.memory.as_fd(), GUEST).context(what)? {
                wait_for_lease(name, &visited, until, taken)?;
                continue;
            }
        }
        if !guest.join_reserved(std::process::id()) {
            if is_named(&visited) {
                return Err(taken());
            }
            continue;
        }
        // Not the mapping that this process may have already: whoever is there is another one. When
        // it goes, it closes what nobody took (`Segment::drop`).
        let segment = enter(visited, GUEST);
        registry::add_guest(&segment);
        let objects = [Shared::on(&segment, 0)?, Shared::on(&segment, 1)?];
        if is_named(&segment) {
            return Ok(objects);
        }
    }
}

/// Whether the name is there still: then it held its objects while this process took hold of them.
fn is_named(segment: &Segment) -> bool {
    shm::is_named(segment.memory.as_fd()).is_ok_and(|is_named| is_named)
}

/// Waits a moment for whoever holds all leases, or has one for a moment.
///
/// # Errors
/// If it has taken too long: as somebody replaces the object and does not go on, as only he holds
/// the lease of the name, or `otherwise`.
fn wait_for_lease(
    name: &Name,
    visited: &Segment,
    until: Deadline,
    otherwise: impl FnOnce() -> Error,
) -> Result<()> {
    if !until.is_past() {
        std::thread::sleep(Duration::from_millis(1));
        return Ok(());
    }
    if !lease::is_held_elsewhere(visited.memory.as_fd(), NAME).unwrap_or(false) {
        return Err(otherwise());
    }
    let name = name.as_str();
    let what = format!("the name {name:?} is being replaced by a process that does not go on");
    Err(Error::new(ErrorKind::Exists, what))
}

/// Opens what has the name, or makes it: with `make`, which fails with `Exists` if somebody else
/// was faster.
pub(crate) fn open_or_make<T>(
    name: &Name,
    open: impl Fn() -> Result<T>,
    make: impl Fn() -> Result<T>,
) -> Result<T> {
    let until = Deadline::after(REPLACING);
    if name.replaces() {
        match make() {
            Err(error) if error.kind() == ErrorKind::Exists => {}
            done => return done,
        }
    }
    // Bounded by the deadline: names come and go no faster than that.
    loop {
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => return done,
        }
        match make() {
            Err(error) if error.kind() == ErrorKind::Exists && !until.is_past() => {}
            done => return done,
        }
    }
}

/// Takes the name away if no living process has the object.
///
/// # Errors
/// `Exists` if somebody has it.
pub(crate) fn make_way(name: &Name) -> Result<()> {
    let what = || format!("replace the object of the name {:?}", name.as_str());
    let Some(memory) = shm::open(&name.path()).context(what)? else { return Ok(()) };
    // A forked copy of this process lets go of it.
    let memory = Holder::new(memory);
    if !lease::hold_all(memory.as_fd(), PARTICIPANTS_MAX).context(what)? {
        let what = format!("replace the object of the name {:?}: it is in use", name.as_str());
        return Err(Error::new(ErrorKind::Exists, what));
    }
    // Whoever comes now finds no lease, waits, and looks again.
    if shm::is_name_of(&name.path(), memory.as_fd()) {
        shm::remove(&name.path()).context(what)?;
    }
    Ok(())
}

/// Finds what has the name.
fn find(name: &Name) -> Result<OwnedFd> {
    let found = shm::open(&name.path()).context(|| format!("open the name {:?}", name.as_str()))?;
    let nothing = || format!("nothing has the name {:?}", name.as_str());
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, nothing()))
}

/// Maps what has the name, if it is what is meant.
fn visit(name: &Name, memory: OwnedFd, label: &str) -> Result<Segment> {
    let what = || format!("open the name {:?}", name.as_str());
    let facts = shm::check_private(memory.as_fd()).context(what)?;
    let visited = Segment::visit(memory, facts.size)?.ok_or_else(|| {
        let what = format!(
            "what has the name {:?} is damaged, or nothing of this version of this crate",
            name.as_str()
        );
        Error::new(ErrorKind::Corrupt, what)
    })?;
    check_label(name, &visited, label)?;
    visited.furnish_again().context(what)?;
    Ok(visited)
}

fn check_label(name: &Name, segment: &Segment, wanted: &str) -> Result<()> {
    let found = segment.label().read().unwrap_or_default();
    if found == fitting(wanted) {
        return Ok(());
    }
    let what = format!(
        "the name {:?} is that of something else: {found}; this program asks for: {wanted}",
        name.as_str()
    );
    Err(Error::new(ErrorKind::Mismatch, what))
}

fn enter(visited: Segment, me: u32) -> Arc<Segment> {
    let segment = Arc::new(visited.into_participant(me));
    // Of those who died with nobody there, nobody has heard.
    segment.recover();
    segment
}

fn exists(name: &Name) -> Error {
    let state = match shm::open(&name.path()) {
        Ok(Some(memory)) => match lease::is_any_held_elsewhere(memory.as_fd(), PARTICIPANTS_MAX) {
            Ok(true) => "it is in use; `open` joins in, `open_or_create` does either",
            _ => "no living process has it: open it, or replace it by `Name::replace_stale`",
        },
        Ok(None) => "it was there a moment ago",
        Err(cause) if shm::is_shortage(&cause) => "it was there a moment ago",
        Err(cause) => {
            let what = format!("the name {:?} is taken by what is not ours", name.as_str());
            return Error::new(ErrorKind::Exists, what).because(cause);
        }
    };
    Error::new(ErrorKind::Exists, format!("the name {:?} is taken: {state}", name.as_str()))
}
