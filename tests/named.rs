//! Objects that programs find by a name: made once, found by all, kept without anybody, taken over
//! from the dead, and refused where two programs mean different things.
//!
//! Children that get nothing but a name are strangers to the object, as another program would be.

mod common;
#[path = "common/own.rs"]
mod own;

use std::fs::OpenOptions;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{assert_killed, die, wait_until_asleep, watched};
use multiproc::{
    Array, Barrier, Condition, ErrorKind, Event, Lock, LockError, Name, Permits, Pipe, Process,
    Queue, Receiver, ReentrantLock, RwLock, Semaphore, Sender, Value,
};
use own::Own;

#[test]
fn a_stranger_finds_a_value_by_its_name() {
    fn add(name: String) {
        Value::<u64>::open(name).unwrap().update(|value| *value += 1).unwrap();
    }
    watched("a_stranger_finds_a_value_by_its_name", || {
        let own = Own::new("value");
        let value = Value::create(&own, 41_u64).unwrap();
        Process::spawn(add, own.text()).unwrap().join().unwrap();
        assert_eq!(value.get().unwrap(), 42);
    });
}

#[test]
fn every_lock_and_its_kin_can_have_a_name() {
    fn use_all(name: String) {
        let of = |kind: &str| format!("{name}-{kind}");
        assert!(matches!(Lock::open(of("lock")).unwrap().try_lock(), Err(LockError::WouldBlock)));
        let reentrant = ReentrantLock::open(of("reentrant")).unwrap();
        assert!(matches!(reentrant.try_lock(), Err(LockError::WouldBlock)));
        let rwlock = RwLock::open(of("rwlock")).unwrap();
        assert!(rwlock.try_read().is_ok() && rwlock.try_write().is_err());
        Semaphore::open(of("semaphore")).unwrap().release().unwrap();
        Event::open(of("event")).unwrap().set().unwrap();
        Condition::open(of("condition")).unwrap().notify_all().unwrap();
        Array::<u16>::open(of("array")).unwrap().set(2, 7).unwrap();
        let atomics = Array::<u32>::open_atomics(of("atomics")).unwrap();
        atomics[1].fetch_add(5, Relaxed);
        Barrier::open(of("barrier")).unwrap().wait().unwrap();
    }
    watched("every_lock_and_its_kin_can_have_a_name", || {
        let all = Own::new("all");
        let own = |kind: &str| Own(Name::new(&format!("{}-{kind}", all.text())).unwrap());
        let names: Vec<Own> = ["lock", "reentrant", "rwlock", "semaphore", "event", "condition"]
            .into_iter()
            .chain(["array", "atomics", "barrier"])
            .map(own)
            .collect();
        let [lock, reentrant, rwlock, semaphore, event, condition, array, atomics, barrier] =
            names.try_into().ok().unwrap();
        let (lock, reentrant) =
            (Lock::create(&lock).unwrap(), ReentrantLock::create(&reentrant).unwrap());
        let rwlock = RwLock::create(&rwlock).unwrap();
        let semaphore = Semaphore::create(&semaphore, Permits::Unowned(0)).unwrap();
        let (event, _condition) =
            (Event::create(&event).unwrap(), Condition::create(&condition).unwrap());
        let array = Array::create_from_slice(&array, &[1_u16, 2, 3]).unwrap();
        let atomics = Array::create_atomics(&atomics, 3, 2_u32).unwrap();
        let barrier = Barrier::create(&barrier, 2).unwrap();
        let _guards = (lock.lock().unwrap(), reentrant.lock().unwrap(), rwlock.read().unwrap());
        let child = Process::spawn(use_all, all.text()).unwrap();
        barrier.wait().unwrap();
        semaphore.acquire().unwrap().forget();
        assert!(event.is_set());
        assert_eq!(array.get(2).unwrap(), 7);
        assert_eq!(atomics[1].load(Relaxed), 7);
        child.join().unwrap();
    });
}

#[test]
fn of_many_who_make_it_one_does_and_all_have_it() {
    fn join_in(name: String) -> bool {
        // A failed `create` is somebody else's.
        let made = Value::create(&name, 100_u64).is_ok();
        Value::<u64>::open_or_create(&name, 100).unwrap().update(|value| *value += 1).unwrap();
        made
    }
    watched("of_many_who_make_it_one_does_and_all_have_it", || {
        for round in 0..20 {
            let own = Own::new(&format!("race-{round}"));
            let children: Vec<_> =
                (0..6).map(|_| Process::spawn(join_in, own.text()).unwrap()).collect();
            let made = children.into_iter().map(|child| child.join().unwrap());
            assert!(made.filter(|made| *made).count() <= 1);
            assert_eq!(Value::<u64>::open(&own).unwrap().get().unwrap(), 106);
        }
    });
}

#[test]
fn what_is_there_is_not_made_again() {
    let own = Own::new("exists");
    let event = Event::create(&own).unwrap();
    let error = Event::create(&own).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains("in use"), "{error}");
    drop(event);
    let error = Event::create(&own).unwrap_err();
    assert!(error.to_string().contains("replace_stale"), "{error}");
    assert_eq!(Event::open("nothing-has-this-name").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn two_meanings_of_a_name_are_shown_both() {
    let own = Own::new("mismatch");
    let _queue = Queue::<(u32, String)>::create(&own, 10).unwrap();
    let error = Queue::<(u32, u64)>::open(&own).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let said = error.to_string();
    assert!(said.contains("u64") && said.contains("tring"), "{said}");
    let error = Queue::<(u32, String), Plainly>::open(&own).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let error = Lock::open(&own).unwrap_err();
    assert!(error.to_string().contains("Lock") && error.to_string().contains("Queue"), "{error}");
    let error = Value::<u64>::open_or_create(&own, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

/// A codec of somebody's own.
enum Plainly {}

impl multiproc::Codec<(u32, String)> for Plainly {
    fn encode(value: &(u32, String), bytes: &mut Vec<u8>) -> Result<(), multiproc::CodecError> {
        bytes.extend_from_slice(value.1.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<(u32, String), multiproc::CodecError> {
        Ok((0, String::from_utf8(bytes.to_vec())?))
    }
}

#[test]
fn what_users_say_of_their_types_counts_but_for_the_layout() {
    let own = Own::new("identity");
    let name = own.0.clone().identity("com.example.celsius 1");
    let _value = Value::create(&name, 20.5_f64).unwrap();
    assert_eq!(Value::<[u32; 3]>::open(&name).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(Value::<u64>::open(&name).unwrap().get().unwrap(), 20.5_f64.to_bits());
    assert_eq!(Value::<f64>::open(&own).unwrap_err().kind(), ErrorKind::Mismatch);
    let other = own.0.clone().identity("com.example.celsius 2");
    assert_eq!(Value::<f64>::open(other).unwrap_err().kind(), ErrorKind::Mismatch);
    // What has a lock for one must not have none for another.
    assert_eq!(Value::<u64>::open_atomic(&name).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn messages_wait_for_programs_that_come_later() {
    fn put(name: String) {
        let mut jobs: Sender<String> = Queue::open(name).unwrap();
        jobs.send("A".to_owned()).unwrap();
        jobs.send("B".to_owned()).unwrap();
        die()
    }
    fn take(name: String) -> Vec<String> {
        let mut jobs: Receiver<String> = Queue::open(name).unwrap();
        (0..2).map(|_| jobs.recv().unwrap()).collect()
    }
    watched("messages_wait_for_programs_that_come_later", || {
        let own = Own::new("jobs");
        drop(Queue::<String>::create(&own, 10).unwrap());
        for _ in 0..3 {
            assert_killed(Process::spawn(put, own.text()).unwrap().join());
            assert_eq!(Process::spawn(take, own.text()).unwrap().join().unwrap(), ["A", "B"]);
        }
        let queue: Queue<String> = Queue::open(&own).unwrap();
        assert_eq!(queue.stats().lost, 0);
        assert_eq!(queue.info().handles.len(), 2, "the name's handle and ours");
    });
}

#[test]
fn nobody_hears_that_all_have_gone_before_the_name_has() {
    fn wait(name: String) -> bool {
        let mut jobs: Receiver<u64> = Queue::open(name).unwrap();
        jobs.recv().unwrap_err().is_disconnected()
    }
    watched("nobody_hears_that_all_have_gone_before_the_name_has", || {
        let own = Own::new("last");
        let mut queue = Queue::<u64>::create(&own, 10).unwrap();
        assert!(queue.recv_timeout(Duration::from_millis(300)).unwrap_err().is_timeout());
        drop(queue);
        let child = Process::spawn(wait, own.text()).unwrap();
        wait_until_asleep(child.pid());
        // No other end is left but the name's.
        assert!(own.0.unlink().unwrap());
        assert!(child.join().unwrap());
    });
}

#[test]
fn a_name_that_is_gone_does_not_part_those_who_have_it() {
    fn echo(name: String) {
        let mut numbers: Queue<u64> = Queue::open(&name).unwrap();
        Event::open(format!("{name}-opened")).unwrap().set().unwrap();
        assert_eq!(numbers.recv().unwrap(), 7);
    }
    watched("a_name_that_is_gone_does_not_part_those_who_have_it", || {
        let own = Own::new("gone");
        let of_event = Own(Name::new(&format!("{}-opened", own.text())).unwrap());
        let mut numbers = Queue::<u64>::create(&own, 10).unwrap();
        let opened = Event::create(&of_event).unwrap();
        let child = Process::spawn(echo, own.text()).unwrap();
        opened.wait().unwrap();
        own.0.unlink().unwrap();
        assert_eq!(Queue::<u64>::open(&own).map(drop).unwrap_err().kind(), ErrorKind::NotFound);
        let _another = Queue::<u64>::create(&own, 10).unwrap();
        numbers.send(7).unwrap();
        child.join().unwrap();
    });
}

#[test]
fn the_next_one_hears_that_an_owner_died_with_nobody_else_there() {
    fn hold(name: String) {
        let lock = Lock::open(name).unwrap();
        let _guard = lock.lock().unwrap();
        die()
    }
    watched("the_next_one_hears_that_an_owner_died", || {
        let own = Own::new("died");
        drop(Lock::create(&own).unwrap());
        assert_killed(Process::spawn(hold, own.text()).unwrap().join());
        let lock = Lock::open(&own).unwrap();
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied { .. })));
    });
}

#[test]
fn what_nobody_has_is_replaced_if_that_is_asked_for() {
    fn leave(name: String) {
        Value::<u64>::open(name).unwrap().set(5).unwrap();
        die()
    }
    watched("what_nobody_has_is_replaced_if_that_is_asked_for", || {
        let own = Own::new("stale");
        let first = Value::create(&own, 1_u64).unwrap();
        let fresh = own.0.clone().replace_stale();
        assert_eq!(Value::create(&fresh, 2_u64).unwrap_err().kind(), ErrorKind::Exists);
        let second = Value::<u64>::open_or_create(&fresh, 2).unwrap();
        assert_eq!(second.get().unwrap(), 1, "it was in use");
        assert_killed(Process::spawn(leave, own.text()).unwrap().join());
        drop((first, second));
        assert_eq!(Value::<u64>::open_or_create(&own, 2).unwrap().get().unwrap(), 5);
        assert_eq!(Value::<u64>::open_or_create(&fresh, 2).unwrap().get().unwrap(), 2);
    });
}

#[test]
fn those_who_open_what_is_replaced_have_the_one_or_the_other() {
    fn open((name, opened, stop): (String, Value<AtomicU64>, Event)) {
        while !stop.is_set() {
            match Value::<u64>::open(&name) {
                Ok(value) => {
                    assert!(value.get().unwrap() < 1000);
                    opened.fetch_add(1, Relaxed);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
    }
    watched("those_who_open_what_is_replaced_have_the_one_or_the_other", || {
        let own = Own::new("replaced");
        let fresh = own.0.clone().replace_stale();
        let (opened, stop) = (Value::atomic(0_u64).unwrap(), Event::new().unwrap());
        let spawn = |_| Process::spawn(open, (own.text(), opened.clone(), stop.clone())).unwrap();
        let children: Vec<_> = (0..2).map(spawn).collect();
        let mut replaced = 0_u64;
        while replaced < 100 || opened.load(Relaxed) < 100 {
            match Value::create(&fresh, replaced % 1000) {
                Ok(_) => replaced += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Exists, "{error}"),
            }
        }
        stop.set().unwrap();
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

#[test]
fn a_pipe_has_two_ends_and_each_is_taken_once() {
    fn guest(name: String) {
        let mut there = Pipe::open::<String, u64>(&name).unwrap();
        let third = Pipe::open::<String, u64>(&name).map(drop).unwrap_err();
        assert_eq!(third.kind(), ErrorKind::Exists);
        while let Ok(number) = there.recv() {
            there.send(number.to_string()).unwrap();
        }
    }
    watched("a_pipe_has_two_ends_and_each_is_taken_once", || {
        let own = Own::new("pipe");
        let mut here = Pipe::create::<u64, String>(&own).unwrap();
        here.send(1).unwrap();
        let wrong = Pipe::open::<u64, String>(&own).map(drop).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Mismatch);
        let child = Process::spawn(guest, own.text()).unwrap();
        here.send(2).unwrap();
        assert_eq!((here.recv().unwrap(), here.recv().unwrap()), ("1".into(), "2".into()));
        let third = Pipe::open::<String, u64>(&own).map(drop).unwrap_err();
        assert_eq!(third.kind(), ErrorKind::Exists);
        drop(here);
        child.join().unwrap();
    });
}

#[test]
fn both_sides_of_a_named_pipe_hear_of_a_death_and_of_a_name_that_goes() {
    fn come_and_die(name: String) {
        let mut there = Pipe::open::<u64, u64>(name).unwrap();
        there.send(3).unwrap();
        die()
    }
    watched("both_sides_of_a_named_pipe_hear_of_a_death", || {
        let own = Own::new("pipe-death");
        let mut here =
            Pipe::builder().slots(2).codec::<multiproc::Serde>().create::<u64, u64>(&own).unwrap();
        assert_killed(Process::spawn(come_and_die, own.text()).unwrap().join());
        assert_eq!(here.recv().unwrap(), 3);
        assert!(here.recv().unwrap_err().is_peer_dead());
        assert!(here.send(1).unwrap_err().is_disconnected());
        drop(here);
        // Used up, so it is made anew; and nobody can come any more.
        let mut here = Pipe::open_or_create::<u64>(&own).unwrap();
        own.0.unlink().unwrap();
        let error = here.recv().unwrap_err();
        assert!(error.is_disconnected() && !error.is_peer_dead(), "{error}");
    });
}

#[test]
fn the_first_two_who_want_a_pipe_are_its_ends() {
    fn greet(name: String) -> String {
        let mut end = Pipe::open_or_create::<String>(&name).unwrap();
        end.send(format!("from {}", std::process::id())).unwrap();
        end.recv().unwrap()
    }
    watched("the_first_two_who_want_a_pipe_are_its_ends", || {
        for round in 0..10 {
            let own = Own::new(&format!("pair-{round}"));
            let (one, other) = (
                Process::spawn(greet, own.text()).unwrap(),
                Process::spawn(greet, own.text()).unwrap(),
            );
            let pids = (one.pid(), other.pid());
            assert_eq!(one.join().unwrap(), format!("from {}", pids.1));
            assert_eq!(other.join().unwrap(), format!("from {}", pids.0));
        }
    });
}

#[test]
fn a_handle_of_what_has_a_name_crosses_as_any_other() {
    fn child((mut queue, value, lock): (Queue<u64>, Value<u64>, Lock)) {
        let _guard = lock.lock().unwrap();
        queue.send(value.get().unwrap()).unwrap();
    }
    watched("a_handle_of_what_has_a_name_crosses_as_any_other", || {
        let (own, of_value, of_lock) =
            (Own::new("cross"), Own::new("cross-v"), Own::new("cross-l"));
        let mut queue = Queue::<u64>::create(&own, 2).unwrap();
        let (value, lock) =
            (Value::create(&of_value, 9_u64).unwrap(), Lock::create(&of_lock).unwrap());
        let handles = (queue.clone(), value.clone(), lock.clone());
        let process = Process::spawn(child, handles).unwrap();
        assert_eq!(queue.recv().unwrap(), 9);
        process.join().unwrap();
    });
}

#[test]
fn a_damaged_file_is_an_error_and_nothing_else() {
    let own = Own::new("damaged");
    drop(Value::create(&own, 1_u64).unwrap());
    let whole = std::fs::read(own.path()).unwrap();
    let expect = |what: &str, kind: ErrorKind| {
        let error = Value::<u64>::open(&own).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    };
    for length in [0, 1, 100, 4095, 4096, 0x11000, whole.len() as u64 - 4096] {
        OpenOptions::new().write(true).open(own.path()).unwrap().set_len(length).unwrap();
        expect(&format!("cut to {length}"), ErrorKind::Corrupt);
        std::fs::write(own.path(), &whole).unwrap();
    }
    std::fs::write(own.path(), &whole).unwrap();
    assert_eq!(Value::<u64>::open(&own).unwrap().get().unwrap(), 1);
    for (at, what) in
        [(0, "magic"), (8, "version"), (16, "size"), (40, "shape"), (0x11000, "block")]
    {
        let mut broken = whole.clone();
        broken[at] ^= 0xff;
        std::fs::write(own.path(), &broken).unwrap();
        let error = Value::<u64>::open(&own).map(drop);
        assert!(error.is_err(), "{what}");
    }
    // Bytes of any kind.
    std::fs::write(own.path(), vec![0xa5; whole.len()]).unwrap();
    expect("filled", ErrorKind::Corrupt);
    std::fs::remove_file(own.path()).unwrap();
    std::fs::create_dir(own.path()).unwrap();
    assert!(Value::<u64>::open(&own).is_err());
    assert!(Value::create(&own, 1_u64).is_err());
    std::fs::remove_dir(own.path()).unwrap();
}

#[test]
fn a_maker_that_fails_or_dies_leaves_no_name() {
    fn fail(name: String) {
        // More than there is.
        let error = Array::<u64>::create(&name, 1 << 50, 0).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Memory | ErrorKind::Os | ErrorKind::Limit),
            "{error}"
        );
        let error = Queue::builder().handles(0).create::<u64>(&name, 1).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
    let own = Own::new("failed");
    Process::spawn(fail, own.text()).unwrap().join().unwrap();
    assert!(!own.is_taken());
    Value::create(&own, 1_u64).map(drop).unwrap();
}

/// Ranges of one array would be other bytes than those of the same numbers of another one.
#[test]
fn arrays_of_one_name_count_the_same_elements() {
    let own = Own::new("elements");
    let name = own.0.clone().identity("com.example.samples");
    let _bytes = Array::create(&name, 16, 0_u8).unwrap();
    assert_eq!(Array::<u64>::open(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    assert!(Array::<i8>::open(&name).is_ok());
}

/// Two of them would be two processes to a lock.
#[test]
fn threads_that_open_a_name_at_once_are_one_participant() {
    fn open_at_once(name: String) {
        let start = std::sync::Barrier::new(4);
        let open = || {
            start.wait();
            ReentrantLock::open(&name).unwrap()
        };
        let locks = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let guards: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
        assert_eq!(locks[0].who_holds().unwrap().count, guards.len() as u32);
    }
    watched("threads_that_open_a_name_at_once_are_one_participant", || {
        for round in 0..20 {
            let own = Own::new(&format!("threads-{round}"));
            drop(ReentrantLock::create(&own).unwrap());
            Process::spawn(open_at_once, own.text()).unwrap().join().unwrap();
        }
    });
}
