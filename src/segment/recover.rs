//! What the dead held goes back: idempotent, interruptible, without a panic.

use std::os::fd::AsFd;

use crate::raw::barrier::Barrier;
use crate::raw::blocks::State;
use crate::raw::condition::Condition;
use crate::raw::event::Event;
use crate::raw::kind::Kind;
use crate::raw::lane::Lane;
use crate::raw::mutex::{Mutex, Owner};
use crate::raw::participants::{Participant, Reap};
use crate::raw::queue::{QueueAt, Store};
use crate::raw::ranges::Ranges;
use crate::raw::rwlock::RwLock;
use crate::raw::semaphore::Semaphore;
use crate::shim::{Ordering::*, lock};
use crate::sys::{lease, shm};
use crate::trace::{self, Tally};

use super::arena::Place;
use super::{Segment, registry};

/// Recovers the dead of every segment of this process. Called when a child died, or a wait took
/// long.
pub(crate) fn recover_all() {
    // Each is had for its own turn alone: who lets go of it meanwhile is to leave it at once.
    for segment in registry::known() {
        if let Some(segment) = segment.upgrade() {
            segment.recover();
        }
    }
}

impl Segment {
    /// Recovers whoever is dead among the participants of this segment.
    pub(crate) fn recover(&self) {
        if !self.is_ours() {
            // Through an inherited description the parent's own lease looks free.
            return;
        }
        for (id, entry) in (0..).zip(self.participants()) {
            if entry.is_occupied() {
                self.recover_one(id);
            }
        }
    }

    /// Recovers participant `id` if it is dead. True if this call did it.
    pub(crate) fn recover_one(&self, id: u32) -> bool {
        let Some(entry) = self.participants().get(id as usize) else { return false };
        // Whoever is written down as our own reaper: we are alive.
        if !self.is_ours() || id == self.me() {
            return false;
        }
        if !entry.is_occupied() {
            return false;
        }
        let _gate = registry::gate();
        // Who comes second, of the threads of this process, goes on when the corpse is buried.
        let _turn = lock(&self.burying);
        let Some(reap) = entry.claim(id, self.me(), |who| self.is_dead(who)) else { return false };
        self.bury(id, entry, &reap);
        true
    }

    /// Recovers participant `id` if it is dead, for one who waits for it.
    pub(crate) fn suspect(&self, id: u32) -> Owner {
        let is_known = self.participants().get(id as usize).is_some_and(Participant::is_occupied);
        self.recover_one(id);
        if is_known { Owner::Known } else { Owner::Unknown }
    }

    /// Gives back what a claimed corpse held, takes over whom it was reaping, and frees its entry.
    fn bury(&self, id: u32, entry: &Participant, reap: &Reap) {
        trace::begin!(start);
        // A name that was taken away has closed what it had; only who lived can have died.
        let died = !reap.is_of_reserved();
        let _tally = self.sweep(id, died);
        // Bounded: every claim makes one reaper less of those that are dead. The corpses are below
        // the mark as it is now: the dead reaper saw them there.
        for (other, entry) in (0..).zip(self.participants()) {
            if entry.is_reaped_by(id)
                && let Some(reap) = entry.claim(other, self.me(), |who| who == id)
            {
                self.bury(other, entry, &reap);
            }
        }
        let epoch = self.death_epoch();
        // Release: who sees the new epoch sees what the sweep left. Paired by the reads in `wait`.
        epoch.word().fetch_add(1, Release);
        epoch.wake_all();
        if died {
            trace::note!(
                INFO,
                Buried {
                    segment: self.uuid,
                    participant: id,
                    pid: self.pid_of(id),
                    tally: _tally,
                    took: start.elapsed(),
                }
            );
        }
        // Last: a reaper that dies before this is followed by one who wakes again.
        entry.finish(reap);
    }

    /// Whether the kernel says that this participant is no more. When in doubt, it lives.
    fn is_dead(&self, id: u32) -> bool {
        let is_reserved =
            self.participants().get(id as usize).is_some_and(Participant::is_reserved);
        let memory = self.memory.as_fd();
        let lives = if is_reserved {
            // As long as somebody can find the segment, and come.
            shm::is_named(memory)
        } else {
            lease::is_held_elsewhere(memory, id)
        };
        id != self.me() && matches!(lives, Ok(false))
    }

    /// Gives back all that participant `id` holds: as left behind if he died, else as closed.
    pub(super) fn sweep(&self, id: u32, died: bool) -> Tally {
        let mut tally = Tally::new();
        for (index, block) in (0..).zip(self.blocks()) {
            match block.state() {
                State::Virgin => break,
                State::Free => {}
                State::Claimed { .. } => {
                    if block.inherit(id, self.me()) {
                        self.give_back(index);
                        tally.freed();
                    }
                }
                State::Live => {
                    if block.is_held_by(id)
                        && let Some(kind) = Kind::from_number(block.kind())
                        && let Ok(place) = self.place(index)
                    {
                        tally.block();
                        tally.locks(|| self.is_locked_by(&place, kind, id));
                        self.sweep_object(&place, index, kind, id, died);
                    }
                    if block.release(id, self.me()) {
                        self.give_back(index);
                        tally.freed();
                    }
                }
            }
        }
        tally
    }

    /// Whether participant `id` has this object locked, in such a way that it may be half written.
    #[allow(unsafe_code)]
    fn is_locked_by(&self, place: &Place, kind: Kind, id: u32) -> bool {
        if place.length < kind.least_bytes() {
            return false;
        }
        let owner = match kind {
            Kind::Mutex => {
                // SAFETY: as in `sweep_object`.
                let lock = unsafe { place.at.cast::<Mutex>().as_ref() };
                lock.owner().filter(|_| !lock.is_calm())
            }
            Kind::Array => {
                // SAFETY: as above.
                unsafe { place.at.cast::<Ranges>().as_ref() }.holder_of_all()
            }
            Kind::RwLock => {
                // SAFETY: as above.
                let lock = unsafe { place.at.cast::<RwLock>().as_ref() };
                lock.writer().owner().filter(|owner| lock.is_inside(*owner))
            }
            _ => None,
        };
        owner == Some(id)
    }

    /// Closes the sides of lanes that participant `id` has, also of those that it does not hold.
    pub(super) fn close_sides(&self, id: u32) {
        for (index, block) in (0..).zip(self.blocks()) {
            if block.state() == State::Live
                && block.kind() == Kind::Lane as u32
                && let Ok(place) = self.place(index)
            {
                self.sweep_object(&place, index, Kind::Lane, id, false);
            }
        }
    }

    /// Gives back what participant `id` has of one object.
    #[allow(unsafe_code)]
    pub(super) fn sweep_object(&self, place: &Place, index: u32, kind: Kind, id: u32, died: bool) {
        if place.length < kind.least_bytes() {
            return;
        }
        let (at, pid) = (place.at, self.pid_of(id));
        match kind {
            Kind::Inert => {}
            Kind::Lane => {
                // SAFETY: mapped and in range (`place`, `least_bytes`), 128-aligned as every block;
                // atomics, so any bytes are a valid one.
                unsafe { at.cast::<Lane>().as_ref() }.sweep(id, died);
            }
            Kind::Queue => {
                // SAFETY: as above, and a queue's, as its kind says.
                if let Ok(queue) = unsafe { QueueAt::new(at, place.length) } {
                    Store::new(queue, (self, index)).sweep(id, died, self.me());
                }
            }
            Kind::Mutex => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Mutex>().as_ref() }.sweep(id, pid, died);
            }
            Kind::Condition => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Condition>().as_ref() }.sweep(id);
            }
            Kind::Event => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Event>().as_ref() }.alarm();
            }
            Kind::Barrier => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Barrier>().as_ref() }.sweep(id, died);
            }
            Kind::Array => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Ranges>().as_ref() }.sweep(id, pid, died);
            }
            Kind::Semaphore => {
                // SAFETY: as a lane.
                unsafe { at.cast::<Semaphore>().as_ref() }.sweep(id, died);
            }
            Kind::RwLock => {
                // SAFETY: as a lane.
                unsafe { at.cast::<RwLock>().as_ref() }.sweep(id, pid, died);
            }
        }
    }
}
