//! A courier is a participant like any process, so most of what happens between processes can be
//! tried in one.
#![allow(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::arena::Request;
use super::layout::{ENTRIES_A_PAGE, OBJECT_MAX};
use super::*;
use crate::process::Process;
use crate::raw::kind::Kind;
use crate::raw::queue::Pages;
use crate::raw::wait::testing::Watchdog;
use crate::shim::AtomicU64;
use crate::transfer::cargo;

fn inert(bytes: u64, furnished: u64) -> Spec<'static> {
    Spec { kind: Kind::Inert, bytes, furnished, init: &|_, _| {} }
}

fn object(bytes: u64) -> Shared {
    allocate(&inert(bytes, u64::MAX)).unwrap()
}

/// A segment of one's own, as other tests use the common arena at the same time.
fn large() -> Shared {
    object(17 << 20)
}

/// How much memory a segment takes.
fn paid(segment: &Segment) -> u64 {
    let memory = std::fs::File::from(segment.memory.as_fd().try_clone_to_owned().unwrap());
    memory.metadata().unwrap().blocks() * 512
}

#[test]
fn a_thousand_small_objects_share_one_segment() {
    let objects: Vec<Shared> = (0..1000).map(|_| object(8)).collect();
    let mut segments: Vec<u128> = objects.iter().map(|object| object.segment().uuid()).collect();
    segments.sort_unstable();
    segments.dedup();
    assert!(segments.len() <= 2, "{} segments", segments.len());
}

#[test]
fn a_freed_block_is_zeroed_and_used_again() {
    for bytes in [100, 100 << 10] {
        let first = object(bytes);
        let (segment, block) = (Arc::clone(first.segment()), first.block());
        // SAFETY: the block is ours and at least that long.
        unsafe { first.base().as_ptr().write_bytes(0xff, bytes as usize) };
        drop(first);
        let mut others = Vec::new();
        let again = loop {
            let next = object(bytes);
            if Arc::ptr_eq(next.segment(), &segment) && next.block() == block {
                break next;
            }
            others.push(next);
            assert!(others.len() < 100, "the block is never used again");
        };
        // SAFETY: as above.
        let content = unsafe { std::slice::from_raw_parts(again.base().as_ptr(), bytes as usize) };
        assert!(content.iter().all(|byte| *byte == 0));
    }
}

/// Whoever wrote over the tables of one arena had all objects to come refused.
#[test]
fn a_broken_arena_is_one_without_room() {
    /// In use, and of no size: nobody knows where the next block begins.
    const BROKEN: u64 = 2;
    let arena = Segment::create(Geometry::ARENA, 1 << 20).unwrap();
    // SAFETY: the word of the first block, mapped and aligned; an atomic.
    let word = unsafe { arena.mapping.base().add(BLOCKS_AT).cast::<AtomicU64>().as_ref() };
    word.store(BROKEN, Relaxed);
    registry::add_arena(&arena);
    assert!(!Arc::ptr_eq(object(8).segment(), &arena));
}

#[test]
fn the_last_of_several_handles_frees() {
    let first = large();
    let segment = Arc::clone(first.segment());
    let second = first.clone();
    drop(first);
    assert_eq!(segment.live_blocks(), 1);
    drop(second);
    assert_eq!(segment.live_blocks(), 0);
}

#[test]
fn a_courier_keeps_what_everybody_else_dropped() {
    let object = large();
    let segment = Arc::clone(object.segment());
    let courier = Courier::new(&segment).unwrap();
    courier.hold(object.block());
    drop(object);
    assert_eq!(segment.live_blocks(), 1);
    segment.recover();
    assert_eq!(segment.live_blocks(), 1, "a living courier was recovered");
    drop(courier);
    assert_eq!(segment.live_blocks(), 0);
}

#[test]
fn a_lost_courier_is_recovered_once() {
    let object = large();
    let segment = Arc::clone(object.segment());
    let courier = Courier::new(&segment).unwrap();
    let id = courier.id();
    assert_eq!(segment.pid_of(id), 0, "a parcel has no process");
    courier.hold(object.block());
    drop(object);
    // The message is lost: the kernel closes the last copy of the lease.
    courier.send_off();
    assert_eq!(segment.live_blocks(), 1);
    let epoch = segment.death_epoch().word().load(Relaxed);
    assert!(segment.recover_one(id));
    assert!(!segment.recover_one(id));
    assert_eq!(segment.live_blocks(), 0);
    assert_eq!(segment.death_epoch().word().load(Relaxed), epoch + 1);
}

#[test]
fn a_parcel_that_arrives_at_home_finds_the_same_mapping() {
    let object = large();
    let segment = Arc::clone(object.segment());
    let courier = Courier::new(&segment).unwrap();
    courier.hold(object.block());
    let lease = courier.lease().try_clone_to_owned().unwrap();
    let id = courier.id();
    courier.send_off();
    let courier = receive(segment.uuid(), lease, id).unwrap();
    assert!(Arc::ptr_eq(courier.segment(), &segment));
    let second = Shared::on(courier.segment(), object.block()).unwrap();
    drop(courier);
    drop(object);
    assert_eq!(segment.live_blocks(), 1);
    drop(second);
    assert_eq!(segment.live_blocks(), 0);
}

#[test]
fn foreign_memory_is_refused() {
    let memory = memfd::create(c"foreign", 1 << 20).unwrap();
    let error = receive(1, memory, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let tiny = memfd::create(c"tiny", 4096).unwrap();
    assert_eq!(receive(2, tiny, 0).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn what_is_no_sealed_memory_is_refused() {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(receive(3, file.into(), 0).unwrap_err().kind(), ErrorKind::Corrupt);
    let (socket, _peer) = sys::socket::pair().unwrap();
    assert_eq!(receive(3, socket, 0).unwrap_err().kind(), ErrorKind::Corrupt);
    let unsealed = memfd::create_unsealed(c"open", 1 << 20).unwrap();
    assert_eq!(receive(3, unsealed, 0).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// The number in a parcel was believed, and with the parcel that participant's part ended.
#[test]
fn a_courier_without_his_lease_is_refused() {
    let object = large();
    let segment = Arc::clone(object.segment());
    let (mine, other) = (segment.me(), large());
    let courier = Courier::new(&segment).unwrap();
    courier.hold(object.block());
    for id in [mine, courier.id(), courier.id() + 1, PARTICIPANTS_MAX, u32::MAX] {
        for memory in [&segment, other.segment()] {
            let lease = memfd::reopen(memory.memory.as_fd()).unwrap();
            let error = receive(segment.uuid(), lease, id).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
    drop(object);
    assert_eq!(segment.live_blocks(), 1);
    assert!(segment.participants()[mine as usize].is_occupied());
}

/// A word said "free" of a block in use, and two objects of one process lay in the same memory.
#[test]
fn what_is_held_here_is_never_given_out_again() {
    let held = object(100);
    let segment = Arc::clone(held.segment());
    let offset = BLOCKS_AT + held.block() as usize * size_of::<Block>();
    // SAFETY: the table is mapped; this is what a broken participant could do.
    let word =
        unsafe { segment.mapping.base().add(offset).cast::<crate::shim::AtomicU64>().as_ref() };
    let live = word.load(Relaxed);
    for broken in [0, live | 1] {
        word.store(broken, Relaxed);
        let others: Vec<Shared> = (0..5).map(|_| object(100)).collect();
        assert!(others.iter().all(|other| other.base() != held.base()));
    }
    word.store(live, Relaxed);
}

#[test]
fn more_participants_than_entries_is_an_error() {
    let object = large();
    let segment = object.segment();
    let couriers: Vec<Courier> =
        (1..PARTICIPANTS_MAX).map(|_| Courier::new(segment).unwrap()).collect();
    assert_eq!(Courier::new(segment).unwrap_err().kind(), ErrorKind::Limit);
    drop(couriers);
    assert!(Courier::new(segment).is_ok());
}

#[test]
fn no_walk_goes_beyond_those_who_entered() {
    let object = large();
    let segment = object.segment();
    assert_eq!(segment.participants().len(), 1);
    let mut couriers: Vec<Courier> = (0..100).map(|_| Courier::new(segment).unwrap()).collect();
    assert_eq!(segment.participants().len(), 101);
    // The last one is lost, and found although all others have left.
    couriers.pop().unwrap().send_off();
    drop(couriers);
    assert_eq!(segment.participants().len(), 101);
    assert!(segment.participants()[100].is_occupied());
    segment.recover();
    assert!(!segment.participants()[100].is_occupied());
    // Numbers are used again, so the mark stays where it is.
    let next = Courier::new(segment).unwrap();
    assert_eq!((next.id(), segment.participants().len()), (1, 101));
}

#[test]
fn a_scribbled_mark_is_no_way_out_of_the_table() {
    let object = large();
    let segment = object.segment();
    for broken in [0, PARTICIPANTS_MAX + 1, u32::MAX] {
        segment.header().entered.store(broken, Relaxed);
        segment.recover();
        assert!(!segment.recover_one(7));
        assert!(segment.participants().len() <= PARTICIPANTS_MAX as usize);
        let courier = Courier::new(segment).unwrap();
        assert_eq!(courier.id(), 1);
        assert!(segment.participants()[1].is_occupied());
    }
}

#[test]
fn scribbled_sizes_are_corrupt_and_never_out_of_range() {
    // An arena of the test's own.
    let segment = Segment::create(Geometry::ARENA, 1 << 20).unwrap();
    let blocks = segment.geometry.blocks();
    // SAFETY: the table is mapped; this is what a broken participant could do.
    let words = unsafe {
        let table = segment.mapping.base().add(BLOCKS_AT).as_ptr();
        std::slice::from_raw_parts_mut(table, blocks as usize * size_of::<Block>())
    };
    for seed in 1..50_u64 {
        let mut state = seed;
        for byte in words.iter_mut() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        segment.books().offsets.clear();
        let end = segment.mapping.base().as_ptr() as u64 + segment.mapping.len() as u64;
        for block in 0..blocks + 2 {
            if let Ok((at, length)) = segment.locate(block) {
                assert!(at.as_ptr() as u64 + length <= end);
            }
        }
    }
    // Nothing more to be done with this one.
    words.fill(0);
}

#[test]
fn an_object_beyond_the_largest_block_is_an_error() {
    for bytes in [OBJECT_MAX + 1, u64::MAX] {
        let error = allocate(&inert(bytes, u64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().ends_with("objects end at 281474959933440"), "{error}");
    }
    // More than there is memory, and more than there are addresses.
    for bytes in [1 << 46, OBJECT_MAX] {
        let error = allocate(&inert(bytes, u64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
    }
}

#[test]
fn the_segment_of_one_object_wastes_less_than_a_granule() {
    for bytes in [0, 1, 17 << 20, (1 << 36) - 4096, (1 << 36) - 4095, 1 << 36, OBJECT_MAX] {
        let geometry = Geometry::of_one(bytes).unwrap();
        let granules = geometry.granules(bytes);
        assert!((1..1 << 24).contains(&granules));
        let size = geometry.bytes(granules);
        assert!(bytes <= size && size - bytes <= 4096.max(bytes >> 23), "{bytes}: {size}");
    }
    assert_eq!(Geometry::of_one(OBJECT_MAX + 1), None);
}

#[test]
fn a_segment_pays_for_what_is_used() {
    let object = large();
    let segment = object.segment();
    // The header, a page of participants, a page of blocks.
    assert_eq!(paid(segment), object.len() + 3 * PAGE);
    assert_eq!(object.len(), 17 << 20);
    let mut couriers: Vec<Courier> =
        (1..ENTRIES_A_PAGE).map(|_| Courier::new(segment).unwrap()).collect();
    assert_eq!(paid(segment), object.len() + 3 * PAGE);
    couriers.push(Courier::new(segment).unwrap());
    assert_eq!(paid(segment), object.len() + 4 * PAGE);
    segment.recover();
    drop(couriers);
    assert_eq!(paid(segment), object.len() + 4 * PAGE);
}

#[test]
fn a_header_that_cannot_be_true_is_refused() {
    let object = large();
    let segment = object.segment();
    let courier = Courier::new(segment).unwrap();
    let header = segment.header();
    let enters = || Segment::enter(courier.lease());
    assert_eq!(enters().unwrap().geometry, segment.geometry);
    for (word, values) in [
        (&header.granule_shift, [0, 6, 25, u32::MAX]),
        (&header.blocks, [0, 1025, 1 << 31, u32::MAX]),
        (&header.abi, [0, 1, layout::ABI - 1, layout::ABI + 1]),
    ] {
        let whole = word.load(Relaxed);
        for broken in values {
            word.store(broken, Relaxed);
            assert_eq!(enters().unwrap_err().kind(), ErrorKind::Corrupt, "{broken}");
            // Who is in already has a copy.
            assert_eq!(segment.locate(0).unwrap(), (object.base(), object.len()));
            assert_eq!(segment.blocks().len(), 1);
        }
        word.store(whole, Relaxed);
    }
    enters().unwrap();
    // Tables that are longer than the segment.
    let small = Segment::create(Geometry::of_one(1).unwrap(), 4096).unwrap();
    let courier = Courier::new(&small).unwrap();
    small.header().blocks.store(1024, Relaxed);
    assert_eq!(Segment::enter(courier.lease()).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// The number of a dead reaper may be somebody else's by the time anybody looks for its corpses.
#[test]
fn a_reapers_own_corpses_are_not_forgotten_with_it() {
    let object = large();
    let segment = Arc::clone(object.segment());
    let couriers: Vec<Courier> = (0..3).map(|_| Courier::new(&segment).unwrap()).collect();
    let [reaper, first, second] = [0, 1, 2].map(|index: usize| couriers[index].id());
    couriers[2].hold(object.block());
    drop(object);
    couriers.into_iter().for_each(Courier::send_off);
    // The second dies while it reaps a corpse, and the reaper while it reaps the second.
    let _ = segment.participants()[second as usize].claim(second, first, |_| true).unwrap();
    let _ = segment.participants()[first as usize].claim(first, reaper, |_| true).unwrap();
    assert!(segment.recover_one(reaper));
    let next = Courier::new(&segment).unwrap();
    assert_eq!(next.id(), reaper);
    assert!(!segment.participants()[first as usize].is_occupied());
    assert!(!segment.participants()[second as usize].is_occupied());
    assert_eq!(segment.live_blocks(), 0);
}

const GIB: u64 = 1 << 30;

fn sparse(furnished: u64, total: u64) -> Shared {
    allocate(&inert(total, furnished)).unwrap()
}

fn write(object: &Shared, offset: u64, length: u64, byte: u8) {
    assert!(offset + length <= object.len());
    // SAFETY: within the block, by the line above; nobody else uses the object.
    unsafe { object.base().add(offset as usize).write_bytes(byte, length as usize) };
}

fn read(object: &Shared, offset: u64, length: u64) -> Vec<u8> {
    assert!(offset + length <= object.len());
    // SAFETY: as in `write`.
    let bytes = unsafe {
        let first = object.base().add(offset as usize);
        std::slice::from_raw_parts(first.as_ptr(), length as usize)
    };
    bytes.to_vec()
}

#[test]
fn a_sparse_object_costs_what_is_furnished() {
    for total in [64 * GIB - PAGE, 64 * GIB, 64 * GIB + 1, 3 * 1024 * GIB] {
        let object = sparse(10_000, total);
        assert!(total <= object.len() && object.len() <= total + (1 << 20));
        assert_eq!(paid(object.segment()), (3 + 3) * PAGE);
        write(&object, 0, 10_000, 7);
        assert_eq!(paid(object.segment()), (3 + 3) * PAGE);
    }
}

#[test]
fn pages_come_and_go_where_they_are_asked_for() {
    let object = sparse(PAGE, 64 * GIB);
    let before = paid(object.segment());
    let far = 40 * GIB + 100;
    object.furnish(far, 16 * PAGE).unwrap();
    // It begins and ends within pages.
    assert_eq!(paid(object.segment()), before + 17 * PAGE);
    assert_eq!(read(&object, far, 16 * PAGE), vec![0; 16 * PAGE as usize]);
    write(&object, far, 16 * PAGE, 7);
    object.furnish(far + PAGE, PAGE).unwrap();
    assert_eq!(read(&object, far, 16 * PAGE), vec![7; 16 * PAGE as usize]);

    object.discard(far, 16 * PAGE).unwrap();
    assert_eq!(paid(object.segment()), before + 2 * PAGE);
    assert_eq!(read(&object, far, PAGE - 100), vec![7; PAGE as usize - 100]);
    assert_eq!(read(&object, far + 16 * PAGE - 100, 100), [7; 100]);
    // Less than a page is none.
    object.discard(far, PAGE - 101).unwrap();
    assert_eq!(paid(object.segment()), before + 2 * PAGE);

    object.furnish(far, 16 * PAGE).unwrap();
    assert_eq!(paid(object.segment()), before + 17 * PAGE);
    assert_eq!(read(&object, far + PAGE, 14 * PAGE), vec![0; 14 * PAGE as usize]);
    object.discard(40 * GIB, 17 * PAGE).unwrap();
    assert_eq!(paid(object.segment()), before);
}

#[test]
fn no_range_leaves_its_block() {
    let object = sparse(PAGE, 64 * GIB);
    let (segment, end) = (object.segment(), object.len());
    let before = paid(segment);
    for (offset, length) in
        [(0, end + 1), (end, 1), (end + 1, 0), (1, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)]
    {
        assert_eq!(object.furnish(offset, length).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(object.discard(offset, length).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    for block in [1, 1024, u32::MAX] {
        let block = (&**segment, block);
        assert_eq!(block.furnish(0, PAGE).unwrap_err().kind(), ErrorKind::Corrupt);
        block.discard(0, PAGE);
    }
    assert_eq!(paid(segment), before);
    // The last byte, and none at all.
    object.furnish(end - 1, 1).unwrap();
    assert_eq!(paid(segment), before + PAGE);
    object.discard(end - PAGE, PAGE).unwrap();
    object.furnish(end, 0).unwrap();
    object.discard(end, 0).unwrap();
    object.discard(0, end).unwrap();
    // The first page of the block is gone now, the tables are not.
    assert_eq!(paid(segment), before - PAGE);
    assert_eq!(segment.live_blocks(), 1);
}

#[test]
fn more_pages_than_there_is_memory_are_an_error() {
    let object = sparse(PAGE, 8192 * GIB);
    let before = paid(object.segment());
    assert_eq!(object.furnish(0, 8192 * GIB).unwrap_err().kind(), ErrorKind::Memory);
    assert_eq!(paid(object.segment()), before);
    let error = allocate(&inert(8192 * GIB, 8192 * GIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Memory);
}

/// Takes the one block of a segment.
fn take_sparse(segment: &Arc<Segment>) -> Shared {
    let spec = inert(64 * GIB, 10_000);
    let request = Request::new(segment.geometry.granules(64 * GIB), &spec);
    Shared::first(Arc::clone(segment), segment.take(&request).unwrap().unwrap())
}

#[test]
fn a_freed_sparse_block_leaves_neither_pages_nor_bytes() {
    let geometry = Geometry::of_one(64 * GIB).unwrap();
    let segment = Segment::create(geometry, 64 * GIB).unwrap();
    let empty = paid(&segment);
    for _ in 0..3 {
        let object = take_sparse(&segment);
        assert_eq!(read(&object, 0, 3 * PAGE), vec![0; 3 * PAGE as usize]);
        write(&object, 0, 3 * PAGE, 7);
        object.furnish(50 * GIB, 1 << 20).unwrap();
        assert_eq!(read(&object, 50 * GIB, 1 << 20), vec![0; 1 << 20]);
        write(&object, 50 * GIB, 1 << 20, 7);
        assert_eq!(paid(&segment), empty + 3 * PAGE + (1 << 20));
        drop(object);
        assert_eq!(paid(&segment), empty);
    }
    // And so it is after a death.
    let object = take_sparse(&segment);
    object.furnish(50 * GIB, 1 << 20).unwrap();
    let courier = Courier::new(&segment).unwrap();
    courier.hold(object.block());
    drop(object);
    courier.send_off();
    assert_eq!(paid(&segment), empty + 3 * PAGE + (1 << 20));
    segment.recover();
    assert_eq!((paid(&segment), segment.live_blocks()), (empty, 0));
}

/// A lock of the segment that is taken outside the gate may be shut for ever in a forked child.
#[test]
fn pages_come_and_go_without_a_lock() {
    let _dog = Watchdog::new("pages_come_and_go_without_a_lock");
    let object = sparse(PAGE, GIB);
    let books = object.segment().books();
    object.furnish(PAGE, PAGE).unwrap();
    object.discard(PAGE, PAGE).unwrap();
    drop(books);
}

/// A handle that travels, as those of the rooms above.
struct Passed(Shared);

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        cargo::put_block(&self.0, None).map_err(failed)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        let arrival = cargo::take_block(u32::deserialize(deserializer)?).map_err(failed)?;
        Ok(Self(arrival.shared))
    }
}

#[test]
fn two_processes_furnish_for_each_other() {
    fn peer(Passed(object): Passed) -> Vec<u8> {
        let seen = read(&object, 40 * GIB, PAGE);
        object.furnish(50 * GIB, PAGE).unwrap();
        write(&object, 50 * GIB, PAGE, 8);
        object.discard(40 * GIB, PAGE).unwrap();
        seen
    }
    let object = sparse(PAGE, 64 * GIB);
    let before = paid(object.segment());
    object.furnish(40 * GIB, PAGE).unwrap();
    write(&object, 40 * GIB, PAGE, 7);
    let process = Process::spawn(peer, Passed(object.clone())).unwrap();
    assert_eq!(process.join().unwrap(), vec![7; PAGE as usize]);
    assert_eq!(paid(object.segment()), before + PAGE);
    assert_eq!(read(&object, 50 * GIB, PAGE), vec![8; PAGE as usize]);
}
