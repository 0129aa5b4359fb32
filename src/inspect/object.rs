//! What one object says of itself, by the state machine in a copy of it.

use crate::raw::blocks::State;
use crate::raw::kind::Kind;
use crate::raw::lane::{Geometry, Lane, Role};
use crate::raw::mutex::Mutex;
use crate::raw::semaphore::Manner;
use crate::raw::{barrier, condition, event, ranges, rwlock, semaphore};
use crate::segment::{Picture, Spot};
use crate::sync::{Lock, ReentrantLock};
use crate::value::Body;

use super::info::{Awaited, Held, Hold, Wait};
use super::queue;
use super::state::{ObjectInfo, ObjectKind, ObjectState, Permits, PipeEnd, PipeUnit, Poison};
use super::window::Window;

/// How often a ring is looked at that changes meanwhile.
const LOOKS: usize = 3;

/// What was found out about one object.
pub(super) struct Report<'a> {
    picture: &'a Picture,
    pub(super) kind: ObjectKind,
    holds: Vec<Hold>,
    waits: Vec<Wait>,
}

/// Looks at the object in a block.
pub(super) fn look(picture: &Picture, spot: &Spot) -> ObjectInfo {
    let window = Window::new(picture, spot);
    let kind = Kind::from_number(spot.kind);
    let mut report = Report {
        picture,
        kind: kind.map_or(ObjectKind::Unknown, plain_kind),
        holds: Vec::new(),
        waits: Vec::new(),
    };
    let state = match (spot.state, kind) {
        (State::Claimed { owner }, _) => {
            report.kind = ObjectKind::Unknown;
            Some(ObjectState::Unfinished { by: owner })
        }
        (_, None) => None,
        (_, Some(Kind::Inert)) => Some(ObjectState::Plain),
        (_, Some(Kind::Lane)) => report.pipe(&window),
        (_, Some(Kind::Queue)) => queue::look(&mut report, &window),
        (_, Some(Kind::Mutex)) => report.lock(&window),
        (_, Some(Kind::Array)) => report.array(&window),
        (_, Some(Kind::Semaphore)) => report.semaphore(&window),
        (_, Some(Kind::Condition)) => report.condition(&window),
        (_, Some(Kind::Event)) => report.event(&window),
        (_, Some(Kind::Barrier)) => report.barrier(&window),
        (_, Some(Kind::RwLock)) => report.rwlock(&window),
    };
    ObjectInfo {
        block: spot.index,
        generation: spot.generation,
        kind: report.kind,
        bytes: spot.length,
        users: picture.users_of(spot),
        state: state.unwrap_or(ObjectState::Damaged),
        holds: report.holds,
        waits: report.waits,
    }
}

/// What blocks of a kind are, as far as the kind tells.
fn plain_kind(kind: Kind) -> ObjectKind {
    match kind {
        Kind::Inert => ObjectKind::Plain,
        Kind::Lane => ObjectKind::Pipe,
        Kind::Queue => ObjectKind::Queue,
        Kind::Mutex => ObjectKind::Lock,
        Kind::Array => ObjectKind::Array,
        Kind::Semaphore => ObjectKind::Semaphore,
        Kind::Condition => ObjectKind::Condition,
        Kind::Event => ObjectKind::Event,
        Kind::Barrier => ObjectKind::Barrier,
        Kind::RwLock => ObjectKind::RwLock,
    }
}

fn poison_of(mutex: &Mutex) -> Option<Poison> {
    let legacy = mutex.legacy();
    if legacy.died() {
        return Some(Poison::OwnerDied { pid: mutex.victim().1 });
    }
    legacy.panicked().then_some(Poison::Panicked)
}

impl Report<'_> {
    /// Notes that a participant has something.
    pub(super) fn holds(&mut self, participant: u32, what: Held) {
        self.holds.push(Hold { participant, pid: self.picture.pid_of(participant), what });
    }

    /// Notes that a participant waits.
    pub(super) fn waits(&mut self, participant: u32, what: Awaited) {
        let pid = self.picture.pid_of(participant);
        self.waits.push(Wait { participant: Some(participant), pid, what });
    }

    /// Notes that somebody waits, or may do so.
    fn somebody_waits(&mut self, what: Awaited) {
        self.waits.push(Wait { participant: None, pid: 0, what });
    }

    fn mutex(&mut self, mutex: &Mutex) {
        if let Some(owner) = mutex.owner() {
            // Who has it once may not count.
            self.holds(owner, Held::Lock { levels: mutex.depth().max(1) });
        }
        if mutex.is_awaited() {
            self.somebody_waits(Awaited::Lock);
        }
    }

    /// A lock that is one, or a value: by the type that its maker wrote down.
    fn lock(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let glance = window.machine::<Mutex>()?;
        self.mutex(glance.machine);
        let mut data = 0;
        if glance.fingerprint == ReentrantLock::fingerprint() {
            self.kind = ObjectKind::ReentrantLock;
        } else if glance.fingerprint != Lock::fingerprint() {
            self.kind = ObjectKind::Value;
            data = window.machine::<Body>()?.data;
        }
        Some(ObjectState::Lock { poison: poison_of(glance.machine), data })
    }

    fn array(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let glance = window.machine::<ranges::Ranges>()?;
        let ranges = glance.machine;
        if let Some(owner) = ranges.holder_of_all() {
            self.holds(owner, Held::All);
        }
        for (owner, span) in ranges.holders() {
            self.holds(owner, Held::Range { start: span.start, end: span.end });
        }
        if ranges.is_awaited() || ranges.mutex().is_awaited() {
            self.somebody_waits(Awaited::Elements);
        }
        Some(ObjectState::Lock { poison: poison_of(ranges.mutex()), data: glance.data })
    }

    fn rwlock(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let lock = window.machine::<rwlock::RwLock>()?.machine;
        match lock.writer().owner() {
            Some(owner) if lock.is_inside(owner) => self.holds(owner, Held::Write),
            Some(owner) => self.waits(owner, Awaited::Readers),
            None => {}
        }
        for reader in 0..self.picture.entered() {
            let threads = lock.readers_of(reader);
            if threads > 0 {
                self.holds(reader, Held::Read { threads });
            }
        }
        if lock.writer().is_awaited() {
            self.somebody_waits(Awaited::Lock);
        }
        Some(ObjectState::Lock { poison: poison_of(lock.writer()), data: 0 })
    }

    fn semaphore(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let semaphore = window.machine::<semaphore::Semaphore>()?.machine;
        let plan = semaphore.plan().ok()?;
        // Brings the books of the copy up to date.
        for (participant, count) in semaphore.holders() {
            self.holds(participant, Held::Permits { count });
        }
        if semaphore.is_awaited() {
            self.somebody_waits(Awaited::Permit);
        }
        let permits = match plan.manner {
            Manner::Owned => Permits::Owned,
            Manner::Bounded => Permits::Bounded,
            Manner::Unowned => Permits::Unowned,
        };
        let available = semaphore.available();
        Some(ObjectState::Semaphore { available, began_with: plan.permits, permits })
    }

    fn condition(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let condition = window.machine::<condition::Condition>()?.machine;
        condition.waiters().for_each(|waiter| self.waits(waiter, Awaited::Signal));
        Some(ObjectState::Condition { signalled: condition.suspects().count() as u32 })
    }

    fn event(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let event = window.machine::<event::Event>()?.machine;
        if event.is_awaited() {
            self.somebody_waits(Awaited::Event);
        }
        Some(ObjectState::Event { is_set: event.is_set() })
    }

    fn barrier(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let barrier = window.machine::<barrier::Barrier>()?.machine;
        let (parties, view) = (barrier.parties().ok()?, barrier.view());
        if view.waiting > 0 {
            barrier.arrived().for_each(|party| self.waits(party, Awaited::Parties));
        }
        let (arrived, is_broken) = (view.waiting, view.is_broken);
        Some(ObjectState::Barrier { parties, arrived, is_broken })
    }

    fn pipe(&mut self, window: &Window<'_>) -> Option<ObjectState> {
        let (lane, _) = window.lane()?;
        let Geometry { slot, capacity, .. } = lane.geometry();
        let writer = self.end(lane, Role::Writer, Awaited::Room);
        let reader = self.end(lane, Role::Reader, Awaited::Message);
        let count = || match slot {
            Some(_) => {
                let (sent, received) = window.cursors()?.counts();
                (sent.wrapping_sub(received) <= capacity).then_some((sent, received))
            }
            None => window.frames(capacity),
        };
        Some(ObjectState::Pipe {
            writer,
            reader,
            unit: if slot.is_some() { PipeUnit::Messages } else { PipeUnit::Bytes },
            capacity,
            sent_and_received: (0..LOOKS).find_map(|_| count()),
        })
    }

    fn end(&mut self, lane: &Lane, role: Role, awaited: Awaited) -> PipeEnd {
        let side = lane.side(role);
        let owner = side.owner();
        if let Some(owner) = owner.filter(|_| side.is_awaiting() && !side.is_closed()) {
            self.waits(owner, awaited);
        }
        let pid = owner.map_or(0, |owner| self.picture.pid_of(owner));
        PipeEnd { owner, pid, is_closed: side.is_closed(), has_died: side.has_died() }
    }
}
