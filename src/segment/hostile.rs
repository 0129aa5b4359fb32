//! P2 for segments: whatever becomes of its header, tables and blocks while it is used, an
//! operation gives an error or an answer. No two blocks ever overlap by the account of one process,
//! and none leaves the mapping.
#![allow(unsafe_code)]

use std::sync::Arc;

use super::arena::Request;
use super::*;
use crate::raw::kind::Kind;
use crate::raw::participants::Participant;
use crate::raw::tape::Tape;
use crate::shim::AtomicU64;

/// So much room for blocks has a segment of a script.
const ROOM: u64 = 1 << 20;

/// Objects and couriers that a script has at once, at the most.
const MOST: usize = 24;

/// A segment, who is in it besides this process, and what they have.
struct World {
    segment: Arc<Segment>,
    /// This process once more, as another one would be.
    others: Vec<Arc<Segment>>,
    held: Vec<Shared>,
    couriers: Vec<Courier>,
}

impl World {
    fn new(tape: &mut Tape<'_>) -> Self {
        let geometry = match tape.byte() % 4 {
            0 => Geometry::of_one(ROOM).unwrap(),
            _ => Geometry::ARENA,
        };
        let segment = Segment::create(geometry, ROOM).unwrap();
        registry::add(&segment);
        Self { segment, others: Vec::new(), held: Vec::new(), couriers: Vec::new() }
    }

    /// This process, or what is another one to it.
    fn who(&self, number: u8) -> Arc<Segment> {
        let other = self.others.get(usize::from(number) % (self.others.len() + 1));
        Arc::clone(other.unwrap_or(&self.segment))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        let at = (at % self.segment.mapping.len()) & !7;
        // SAFETY: within the mapping by the line above, and aligned; every word of a segment is an
        // atomic, or bytes that nobody refers to.
        unsafe { self.segment.mapping.base().add(at).cast::<AtomicU64>().as_ref() }
    }

    /// Breaks a word, most often one that matters.
    fn break_memory(&self, tape: &mut Tape<'_>) {
        let (what, number, how) = (tape.byte(), tape.number(), tape.byte());
        let at = match what % 8 {
            0 => number % 24 * 8,
            1 | 2 => PARTICIPANTS_AT + number % 8 * size_of::<Participant>(),
            3 => BLOCKS_AT + number % 8 * size_of::<Block>(),
            4 => BLOCKS_AT + number % (8 * size_of::<Block>()),
            5 => self.segment.geometry.data_at() as usize + number % 64 * 8,
            6 => self.segment.geometry.data_at() as usize + number % 0x4000,
            _ => number * 17,
        };
        let word = self.word(at);
        let value = match how % 4 {
            0 | 1 => tape.word(),
            2 => word.load(Relaxed) ^ 1 << (tape.byte() % 64),
            _ => word.load(Relaxed).wrapping_add(1),
        };
        word.store(value, Relaxed);
    }

    fn take(&mut self, tape: &mut Tape<'_>) {
        let (who, size, kind) = (self.who(tape.byte()), tape.number() as u64, tape.byte());
        let bytes = if size % 5 == 0 { size * 16 } else { size % 3000 };
        let furnished = if kind & 16 == 0 { u64::MAX } else { bytes / 2 };
        let kind = Kind::from_number(1 + u32::from(kind) % 10).unwrap_or(Kind::Inert);
        let spec = Spec { kind, bytes, furnished, init: &|_, _| {} };
        let _gate = registry::gate();
        if let Ok(Some(place)) = who.take(&Request::new(who.geometry.granules(bytes), &spec))
            && self.held.len() < MOST
        {
            self.held.push(Shared::first(who, place));
        }
    }

    fn change_handles(&mut self, tape: &mut Tape<'_>) {
        let (what, number) = (tape.byte(), usize::from(tape.byte()));
        let count = self.held.len();
        match what % 5 {
            0 | 1 if count > 0 => drop(self.held.swap_remove(number % count)),
            2 if count > 0 && count < MOST => self.held.push(self.held[number % count].clone()),
            3 if count > 0 => {
                let shared = &self.held[number % count];
                let another = Shared::on(shared.segment(), shared.block());
                // Its own account of what it holds does not change, whatever the tables say.
                let another = another.expect("a block that is held is found again");
                assert_eq!((another.base(), another.len()), (shared.base(), shared.len()));
            }
            // A block that may be nobody's.
            4 => drop(Shared::on(&self.who(what / 5), tape.byte().into())),
            _ => {}
        }
    }

    fn travel(&mut self, tape: &mut Tape<'_>) {
        let (what, number) = (tape.byte(), usize::from(tape.byte()));
        let count = self.couriers.len();
        match what % 6 {
            0 | 1 if count < MOST => self.couriers.extend(Courier::new(&self.who(what / 6))),
            2 if count > 0 => {
                let courier = &self.couriers[number % count];
                self.held.iter().take(3).for_each(|shared| courier.hold(shared.block()));
                courier.hold(number as u32);
            }
            3 if count > 0 => drop(self.couriers.swap_remove(number % count)),
            // His parcel is lost, so he is dead.
            4 if count > 0 => self.couriers.swap_remove(number % count).send_off(),
            5 if count > 0 => {
                let courier = self.couriers.swap_remove(number % count);
                let lease = courier.lease().try_clone_to_owned().unwrap();
                let id = if number & 1 == 0 { courier.id() } else { number as u32 };
                courier.send_off();
                self.couriers.extend(registry::receive(self.segment.uuid, lease, id));
            }
            _ => {}
        }
    }

    fn come_and_go(&mut self, tape: &mut Tape<'_>) {
        let what = tape.byte();
        if what & 1 == 0
            && self.others.len() < 3
            && let Some(courier) = self.couriers.first()
            && let Ok(other) = Segment::enter(courier.lease())
        {
            assert_eq!(other.mapping.len(), self.segment.mapping.len());
            self.others.push(other);
        } else if what & 6 == 6 {
            self.others.pop();
        }
    }

    fn recover(&self, tape: &mut Tape<'_>) {
        let (who, number) = (self.who(tape.byte()), u32::from(tape.byte()));
        match number % 4 {
            0 => who.recover(),
            1 => drop(who.recover_one(number / 4)),
            2 => drop(who.suspect(number / 4 * 31)),
            _ => drop(who.pid_of(number / 4)),
        }
    }

    fn change_pages(&self, tape: &mut Tape<'_>) {
        let (number, offset, length) = (tape.number(), tape.word(), tape.word());
        let Some(shared) = self.held.get(number % self.held.len().max(1)) else { return };
        let is_within = offset.checked_add(length).is_some_and(|end| end <= shared.len());
        // What is discarded is zero afterwards, and takes no memory until somebody touches it.
        let done = if number & 256 == 0 {
            shared.furnish(offset, length)
        } else {
            shared.discard(offset, length)
        };
        assert!(is_within || done.is_err(), "{length} bytes from {offset} on");
    }

    /// Every process believes in blocks that are in its mapping and do not overlap.
    fn check(&self) {
        let mut places: Vec<(usize, usize)> = Vec::new();
        for shared in &self.held {
            let mapping = &shared.segment().mapping;
            let start = shared.base().as_ptr() as usize - mapping.base().as_ptr() as usize;
            let end = start + shared.len() as usize;
            assert!(shared.segment().geometry.data_at() as usize <= start);
            assert!(start < end && end <= mapping.len() && start.is_multiple_of(128));
            std::hint::black_box(shared.segment().kind_of(shared.block()));
            if Arc::ptr_eq(shared.segment(), &self.segment) {
                places.push((start, end));
            }
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "blocks overlap: {places:?}");
    }
}

/// Plays a script, from the making of a segment to its end.
pub(crate) fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let mut world = World::new(&mut tape);
    while !tape.is_over() {
        match tape.byte() % 16 {
            0..=4 => world.break_memory(&mut tape),
            5..=7 => world.take(&mut tape),
            8 | 9 => world.change_handles(&mut tape),
            10 | 11 => world.travel(&mut tape),
            12 => world.come_and_go(&mut tape),
            13 | 14 => world.recover(&mut tape),
            _ => world.change_pages(&mut tape),
        }
        world.check();
    }
}

#[cfg(test)]
mod proofs {
    use super::*;
    use crate::raw::wait::testing::Watchdog;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_segment_of_any_bytes_ends_well(
            script in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let _dog = Watchdog::new("a_segment_of_any_bytes_ends_well");
            play(&script);
        }
    }
}
