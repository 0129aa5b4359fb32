//! P2 for those who look: whatever bytes a segment has, there is an answer, and soon. What a look
//! copies is its own, so an answer can lead out of the copy or hang, or it is right.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::*;
use crate::raw::chance::{Dice, Told};
use crate::sys::memfd;
use crate::{
    Array, Barrier, Condition, Event, Lock, Pipe, Plain, Queue, ReentrantLock, RwLock, Semaphore,
    Value,
};

/// So many images of each object are looked at.
const IMAGES: u64 = 150;

/// The bytes of a segment's file that are worth breaking: its tables, and what objects begin with.
const BYTES: usize = 0x12000 + 0x8000;

/// Objects of one kind each, in segments of their own, for one test, and what they are called.
fn seeds(test: &str) -> Vec<(&'static str, u64, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut seed = |kind: &'static str, make: &dyn Fn(&Name)| {
        let name = Name::new(&format!("{test}-{kind}-{}", std::process::id())).unwrap();
        make(&name);
        let memory = shm::open_to_look(&name.path()).unwrap().unwrap();
        let size = shm::facts_of(memory.as_fd()).unwrap().size;
        let mut bytes = vec![0; BYTES.min(size as usize)];
        File::from(memory).read_exact_at(&mut bytes, 0).unwrap();
        name.unlink().unwrap();
        seeds.push((kind, size, bytes));
    };
    seed("lock", &|name| Lock::create(name).unwrap().lock().map(std::mem::forget).unwrap());
    seed("reentrant", &|name| drop(ReentrantLock::create(name).unwrap()));
    seed("value", &|name| drop(Value::create(name, [1_u64; 9]).unwrap()));
    seed("array", &|name| {
        let array = Array::create_from_slice(name, &[7_u32; 500]).unwrap();
        std::mem::forget(array.lock_range(3..9).unwrap());
    });
    seed("rwlock", &|name| RwLock::create(name).unwrap().read().map(std::mem::forget).unwrap());
    seed("semaphore", &|name| Semaphore::create(name, 5).unwrap().acquire().unwrap().forget());
    seed("condition", &|name| drop(Condition::create(name).unwrap()));
    seed("event", &|name| drop(Event::create(name).unwrap()));
    seed("barrier", &|name| drop(Barrier::create(name, 3).unwrap()));
    seed("pipe", &|name| {
        let mut pipe = Pipe::create::<String, String>(name).unwrap();
        (0..9).for_each(|_| pipe.send("a message".to_owned()).unwrap());
    });
    seed("slots", &|name| {
        let mut pipe = Pipe::builder().plain().slots(64).create::<u64, u64>(name).unwrap();
        (0..9).for_each(|number| pipe.send(number).unwrap());
    });
    seed("queue", &|name| {
        let mut queue = Queue::<String>::create(name, 20).unwrap();
        (0..9).for_each(|_| queue.send("a message".to_owned()).unwrap());
        queue.recv().unwrap();
    });
    seed("wide", &|name| {
        let mut queue = Queue::builder().codec::<Plain>().create::<u64>(name, 20).unwrap();
        (0..9).for_each(|number| queue.send(number).unwrap());
    });
    seed("growing", &|name| {
        let mut queue = Queue::<u64>::create(name, None).unwrap();
        (0..9).for_each(|number| queue.send(number).unwrap());
    });
    seeds
}

/// Memory of this size that begins with these bytes.
fn image(size: u64, bytes: &[u8]) -> OwnedFd {
    let memory = File::from(memfd::create(c"hostile", size).unwrap());
    memory.write_all_at(bytes, 0).unwrap();
    memory.into()
}

/// Breaks a few words, most often ones that matter.
fn scramble(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..1 + dice.below(6) {
        let at = match dice.below(8) {
            0 => dice.below(24) * 8,
            1 => 0x1000 + dice.below(64) * 8,
            2 => 0x11000 + dice.below(48) * 8,
            3 => 0x12000 + dice.below(64) * 8,
            4..=6 => 0x12000 + dice.below(0x400) * 8,
            _ => dice.below(bytes.len() as u64 / 8) * 8,
        } as usize;
        let Some(word) = bytes.get_mut(at..at + 8) else { continue };
        let old = u64::from_le_bytes(word.try_into().unwrap());
        let new = match dice.below(6) {
            0 | 1 => old ^ 1 << dice.below(64),
            2 => dice.next(),
            3 => dice.below(2048),
            4 => old.wrapping_add(dice.below(3)).wrapping_sub(1),
            _ => u64::MAX,
        };
        word.copy_from_slice(&new.to_le_bytes());
    }
}

#[test]
fn whatever_a_segment_says_a_look_ends_and_gives_an_answer() {
    let mut kinds = Vec::new();
    for (number, (kind, size, bytes)) in (0..).zip(seeds("hostile-words")) {
        let whole = picture(image(size, &bytes), None);
        assert_eq!(whole.damage, None, "{kind}");
        assert!(!whole.objects.is_empty(), "{kind}");
        let is_right = |object: &ObjectInfo| object.state != ObjectState::Damaged;
        assert!(whole.objects.iter().all(is_right), "{kind}: {whole:?}");
        kinds.extend(whole.objects.iter().map(|object| object.kind));
        for round in 0..IMAGES {
            let _told = Told(kind, round);
            let mut dice = Dice::new(number << 32 | round);
            let mut broken = bytes.clone();
            scramble(&mut broken, &mut dice);
            let seen = picture(image(size, &broken), None);
            // It can be printed, too.
            assert!(!format!("{seen:?}").is_empty());
            let mut history = History::new();
            history.note(&[seen]);
        }
    }
    use ObjectKind::*;
    for kind in [
        Pipe,
        Queue,
        Lock,
        ReentrantLock,
        Value,
        Array,
        RwLock,
        Semaphore,
        Condition,
        Event,
        Barrier,
    ] {
        assert!(kinds.contains(&kind), "{kind}");
    }
}

#[test]
fn bytes_of_chance_behind_a_good_header_are_looked_at_as_well() {
    let seeds = seeds("hostile-chance");
    for round in 0..300 {
        let _told = Told("bytes of chance", round);
        let mut dice = Dice::new(round);
        let (_, size, bytes) = &seeds[dice.below(seeds.len() as u64) as usize];
        let mut broken = bytes.clone();
        // Something begins as it should, and the rest is anything.
        let whole = [0x200, 0x11000, 0x11000 + 192, 0x12000, 0x12040][dice.below(5) as usize];
        broken[whole..].chunks_exact_mut(8).for_each(|word| {
            let value = if dice.below(3) == 0 { 0 } else { dice.next() >> dice.below(60) };
            word.copy_from_slice(&value.to_le_bytes());
        });
        let seen = picture(image(*size, &broken), None);
        assert!(!format!("{seen:?}").is_empty());
    }
}

#[test]
fn what_is_no_segment_is_said_to_be_damaged() {
    let (_, size, bytes) = seeds("hostile-none").swap_remove(0);
    let damage = |size, bytes: &[u8]| {
        let seen = picture(image(size, bytes), Some("it".to_owned()));
        assert_eq!((seen.size, seen.objects.len()), (size, 0));
        seen.damage.unwrap()
    };
    assert!(damage(0, &[]).contains("nothing of this crate"));
    assert!(damage(4096, &[7; 4096]).contains("nothing of this crate"));
    assert!(damage(1 << 60, &[7; 4096]).contains("nothing of this crate"));
    assert!(damage(size - 4096, &bytes[..0x2000]).contains("says that it has"));
    let mut other = bytes;
    other[8] += 1;
    assert!(damage(size, &other).contains("layout"));
}
