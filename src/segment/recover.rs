//! What the dead held goes back: idempotent, interruptible, without a panic.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use crate::raw::blocks::State;
use crate::raw::kind::Kind;
use crate::raw::lane::Lane;
use crate::raw::participants::{Participant, Reap};
use crate::raw::queue::{QueueAt, Store};
use crate::shim::Ordering::*;
use crate::sys::lease;

use super::{Segment, registry};

/// Recovers the dead of every segment of this process. Called when a child died, or a wait took
/// long.
pub(crate) fn recover_all() {
    for segment in registry::all() {
        segment.recover();
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
        let _turn = self.burying.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reap) = entry.claim(id, self.me(), |who| self.is_dead(who)) else { return false };
        self.bury(id, entry, &reap);
        true
    }

    /// Gives back what a claimed corpse held, takes over whom it was reaping, and frees its entry.
    fn bury(&self, id: u32, entry: &Participant, reap: &Reap) {
        self.sweep(id, true);
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
        // Last: a reaper that dies before this is followed by one who wakes again.
        entry.finish(reap);
    }

    /// Whether the kernel says that this participant is no more. When in doubt, it lives.
    fn is_dead(&self, id: u32) -> bool {
        id != self.me() && matches!(lease::is_held_elsewhere(self.memory.as_fd(), id), Ok(false))
    }

    /// Gives back all that participant `id` holds: as left behind if he died, else as closed.
    pub(super) fn sweep(&self, id: u32, died: bool) {
        for (index, block) in (0..).zip(self.blocks()) {
            match block.state() {
                State::Virgin => break,
                State::Free => {}
                State::Claimed { .. } => {
                    if block.inherit(id, self.me()) {
                        self.give_back(index);
                    }
                }
                State::Live => {
                    if block.is_held_by(id) {
                        self.sweep_object(index, block.kind(), id, died);
                    }
                    if block.release(id, self.me()) {
                        self.give_back(index);
                    }
                }
            }
        }
    }

    #[allow(unsafe_code)]
    fn sweep_object(&self, index: u32, kind: u32, id: u32, died: bool) {
        let Ok((at, length)) = self.locate(index) else { return };
        match Kind::from_number(kind) {
            Some(Kind::Lane) if length >= size_of::<Lane>() as u64 => {
                // SAFETY: mapped and in range (`locate`), 128-aligned as every block; a lane's
                // head is atomics, so any bytes are a valid one.
                let lane = unsafe { at.cast::<Lane>().as_ref() };
                lane.sweep(id, died);
            }
            Some(Kind::Queue) => {
                // SAFETY: mapped and in range (`locate`), 128-aligned as every block, and a
                // queue's, as its kind says.
                if let Ok(queue) = unsafe { QueueAt::new(at, length) } {
                    Store::new(queue, (self, index)).sweep(id, died, self.me());
                }
            }
            _ => {}
        }
    }
}
