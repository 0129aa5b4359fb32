//! Models of the ends of a lane: closing, dying and handing over, against a peer that sleeps.
#![allow(unsafe_code)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::lane::{Geometry, Lane, Role};
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::{AtomicU32, Futex, Ordering::*, dies_at};
use crate::sys::clock::Deadline;

const WRITER: u32 = 1;
const READER: u32 = 2;
const COURIER: u32 = 3;

/// A lane whose ring is one word: 0 is empty.
struct Model {
    lane: Lane,
    ring: AtomicU32,
    epoch: Futex,
    cell: loom::cell::UnsafeCell<u32>,
    common: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Self> {
        let model = Self {
            lane: Lane::new(),
            ring: AtomicU32::new(0),
            epoch: Futex::new(0),
            cell: loom::cell::UnsafeCell::new(0),
            common: AtomicUsize::new(0),
        };
        model.lane.prepare(Geometry { slot: None, capacity: 0, fingerprint: 0 }, WRITER);
        assert!(model.lane.hand_over(Role::Reader, WRITER, READER));
        Arc::new(model)
    }

    fn send(&self) {
        // An RMW: loom misorders a plain store that races with one.
        self.ring.swap(1, Release);
        self.lane.side(Role::Reader).notify(Fence::Asymmetric);
    }

    /// Waits for a message, as an inlet does: flags first, then the ring. False at the end.
    fn receive(&self) -> bool {
        let mut outcome = None;
        let terms = Terms { epoch: &self.epoch, how: Fence::Asymmetric, deadline: Deadline::NEVER };
        let ready = || {
            race(&self.common);
            let is_closed = self.lane.other_side(Role::Reader).is_closed();
            if self.ring.swap(0, AcqRel) == 1 {
                outcome = Some(true);
            } else if is_closed {
                outcome = Some(false);
            }
            outcome.is_some()
        };
        let waited = self.lane.side(Role::Reader).seat.wait(terms, ready, || ());
        assert_eq!(waited, Waited::Ready);
        outcome.unwrap()
    }
}

/// The reader gets what was sent before the close, and then the end; it sleeps through neither.
#[test]
fn a_close_comes_after_what_was_sent() {
    model("a_close_comes_after_what_was_sent", 2, || {
        let model = Model::new();
        let reader = {
            let model = Arc::clone(&model);
            thread::spawn(move || (model.receive(), model.receive()))
        };
        model.send();
        race(&model.common);
        assert!(model.lane.close(Role::Writer, WRITER, false));
        assert_eq!(reader.join().unwrap(), (true, false));
        assert!(!model.lane.other_side(Role::Reader).has_died());
    });
}

/// The writer dies while it closes, after any of its steps; the sweep tells the reader.
#[test]
fn a_writer_that_dies_while_it_closes_is_swept() {
    for point in ["lane-flagged", "lane-closed", "raise-flagged"] {
        model("a_writer_that_dies_while_it_closes_is_swept", 2, move || {
            let model = Model::new();
            let reader = {
                let model = Arc::clone(&model);
                thread::spawn(move || model.receive())
            };
            assert!(dies_at(point, || model.lane.close(Role::Writer, WRITER, false)).is_none());
            race(&model.common);
            model.lane.sweep(WRITER, true);
            assert!(!reader.join().unwrap());
        });
    }
}

/// A writer dies between its message and the wake; the sweep wakes the reader, who reads it.
#[test]
fn a_writer_that_dies_before_its_wake_is_swept() {
    model("a_writer_that_dies_before_its_wake_is_swept", 2, || {
        let model = Model::new();
        let reader = {
            let model = Arc::clone(&model);
            thread::spawn(move || (model.receive(), model.receive()))
        };
        model.ring.swap(1, Release);
        race(&model.common);
        model.lane.sweep(WRITER, true);
        assert_eq!(reader.join().unwrap(), (true, false));
        assert!(model.lane.other_side(Role::Reader).has_died());
    });
}

/// Two reapers, one after the other in no order: the second finds nothing to do and does no harm.
#[test]
fn a_sweep_may_be_repeated() {
    model("a_sweep_may_be_repeated", 2, || {
        let model = Model::new();
        let second = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                race(&model.common);
                model.lane.sweep(WRITER, true);
            })
        };
        race(&model.common);
        model.lane.sweep(WRITER, true);
        second.join().unwrap();
        assert_eq!(model.lane.side(Role::Writer).owner(), None);
        assert_eq!(model.lane.side(Role::Reader).owner(), Some(READER));
        assert!(model.lane.side(Role::Writer).is_closed());
        assert!(!model.lane.side(Role::Reader).is_closed());
    });
}

/// What the last owner of a side did happens before what the next one does.
#[test]
fn a_side_is_handed_over_with_its_past() {
    model("a_side_is_handed_over_with_its_past", 3, || {
        let model = Model::new();
        let next = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                race(&model.common);
                if model.lane.hand_over(Role::Writer, COURIER, READER) {
                    model.cell.with_mut(|cell| {
                        // SAFETY: loom checks that the two owners exclude each other.
                        unsafe { *cell += 1 }
                    });
                }
            })
        };
        model.cell.with_mut(|cell| {
            // SAFETY: as above.
            unsafe { *cell += 1 }
        });
        race(&model.common);
        assert!(model.lane.hand_over(Role::Writer, WRITER, COURIER));
        next.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    expect_caught(&[
        ("side-handed/AcqRel", "raw::tests::loom_lane::a_side_is_handed_over_with_its_past"),
        ("lane-wake", "raw::tests::loom_lane::a_close_comes_after_what_was_sent"),
        ("lane-rescue", "raw::tests::loom_lane::a_writer_that_dies_while_it_closes_is_swept"),
    ]);
}
