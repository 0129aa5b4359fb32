//! `fork`: the child gets an entry of its own in every segment, and holds what its parent holds.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::{Arc, RwLockWriteGuard};

use crate::error::{Context, Result};
use crate::shim::Ordering::*;
use crate::sys;

use super::{Courier, Segment, registry};

/// What stands ready for a child that is about to be forked.
pub(crate) struct Fork {
    couriers: Vec<Courier>,
    gate: RwLockWriteGuard<'static, ()>,
}

/// Makes ready for a fork: an entry for the child in each segment, holding what this process holds.
pub(crate) fn before_fork() -> Result<Fork> {
    let segments: Vec<Arc<Segment>> =
        registry::all().into_iter().filter(|segment| segment.is_ours()).collect();
    let sent_for = |segment| Courier::new(segment).map(Courier::leave_to_child);
    let couriers = segments.iter().map(sent_for).collect::<Result<Vec<_>>>()?;
    let gate = registry::shut_gate();
    for courier in &couriers {
        for block in courier.segment().books().holds.keys() {
            courier.hold(*block);
        }
    }
    Ok(Fork { couriers, gate })
}

impl Fork {
    /// In the parent: the child answers for itself now. While the couriers are kept, so are the
    /// child's leases, and what is handed to it comes to light even if it is dead already.
    pub(crate) fn in_parent(self) -> Vec<Courier> {
        drop(self.gate);
        let mut couriers = self.couriers;
        couriers.iter_mut().for_each(Courier::let_go);
        couriers
    }

    /// In the parent, when there is no child after all.
    pub(crate) fn failed(self) {
        drop(self.gate);
        drop(self.couriers);
    }

    /// In the child: becomes the participants that were made ready.
    pub(crate) fn in_child(self) -> Result<()> {
        drop(self.gate);
        for courier in self.couriers {
            let segment = Arc::clone(courier.segment());
            segment.be_reborn(courier)?;
        }
        Ok(())
    }
}

impl Segment {
    /// Makes an inherited segment this process's own: the lease in place of the parent's.
    fn be_reborn(&self, courier: Courier) -> Result<()> {
        let (id, lease) = courier.into_lease();
        // The number stays, the description behind it changes: the parent's lease must end with it.
        sys::memfd::replace(self.memory.as_fd(), lease.as_fd())
            .context(|| "take over the lease of a forked segment".to_owned())?;
        // Relaxed, both: a forked child has one thread.
        self.me.store(id, Relaxed);
        self.generation.store(sys::fork::generation(), Relaxed);
        self.entries()[id as usize].adopt(std::process::id());
        Ok(())
    }
}

thread_local! {
    /// While the parent drops what a forked child has got: who the child is in each segment.
    static HEIR: RefCell<Vec<Courier>> = const { RefCell::new(Vec::new()) };
}

/// The child that gets what is being dropped now, as a participant of this segment.
pub(crate) fn heir_in(segment: &Arc<Segment>) -> Option<u32> {
    HEIR.with_borrow(|heir| {
        heir.iter().find(|child| Arc::ptr_eq(child.segment(), segment)).map(Courier::id)
    })
}

/// Drops `inherited`, handing the handles in it to a forked child instead of closing them.
pub(crate) fn bequeath<T>(inherited: T, child: Vec<Courier>) {
    let _bequest = Bequest { before: HEIR.replace(child) };
    drop(inherited);
}

/// Ends with the drop of what is bequeathed, also if that panics.
struct Bequest {
    before: Vec<Courier>,
}

impl Drop for Bequest {
    fn drop(&mut self) {
        HEIR.set(std::mem::take(&mut self.before));
    }
}
