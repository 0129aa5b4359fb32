//! What a queue says of itself, by its control words in a copy.

use crate::queue::{CLOSED, handles_of, stats_of};
use crate::raw::queue::{Awaited as Bench, QueueAt, Store};
use crate::raw::swap::handle::{self, HandleTable, State};
use crate::raw::swap::recover::Rings;
use crate::shim::Ordering::Relaxed;

use super::info::{Awaited, Held};
use super::object::Report;
use super::state::ObjectState;
use super::window::{NoPages, Window};

/// The messages of a queue that has grown by more rings are not counted.
const RINGS_COUNTED: u32 = 4096;

pub(super) fn look(report: &mut Report<'_>, window: &Window<'_>) -> Option<ObjectState> {
    let at = window.queue().ok()?;
    let is_whole = at.slots().into_iter().all(|span| fetch(window, span)) && rings(window, &at);
    let store = Store::new(at, NoPages);
    let totals = if is_whole { store.totals().ok() } else { None };
    for number in 0..at.handles() {
        let State::Live { participant, .. } = handle::state(&at, number) else { continue };
        if store.is_holding(number) {
            report.holds(participant, Held::Message);
        }
        if let Some(bench) = at.awaited_by(number) {
            report.waits(participant, awaited(bench));
        }
    }
    let picture = window.picture();
    Some(ObjectState::Queue {
        depth: totals.map(|(sent, popped)| sent.saturating_sub(popped)),
        capacity: (!at.plan.grows()).then_some(at.plan.shape.slots().into()),
        // Relaxed: a remark.
        is_closed: at.head().state.flags.load(Relaxed) & CLOSED != 0,
        stats: totals.map(|totals| stats_of(&store, totals)),
        handles: handles_of(&store, |participant| picture.pid_of(participant)),
    })
}

/// Copies the entries of the rings that the queue has, and what rings begin with. False if these
/// are too many.
fn rings(window: &Window<'_>, at: &QueueAt) -> bool {
    // The table ends with the first ring that never was, which is copied as well.
    let store = Store::new(*at, NoPages);
    for number in 0..store.rings() {
        if number == RINGS_COUNTED || !fetch(window, at.ring_entry_span(number)) {
            return false;
        }
        if store.rings_used() <= number {
            return true;
        }
        if number > 0
            && let Some(span) = at.later_span(number)
            && !fetch(window, span)
        {
            return false;
        }
    }
    true
}

fn fetch(window: &Window<'_>, span: std::ops::Range<usize>) -> bool {
    window.fetch(span.start as u64, (span.end - span.start) as u64)
}

fn awaited(bench: Bench) -> Awaited {
    match bench {
        Bench::Message => Awaited::Message,
        Bench::Room | Bench::Memory => Awaited::Room,
        Bench::Tasks => Awaited::Tasks,
    }
}
