//! What an inspector tells of states that real processes have made: the same from inside, and from
//! a process that has nothing of it; and that nothing is changed by a look.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests look at the kernel")]

mod common;
#[path = "common/own.rs"]
mod own;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use common::{assert_killed, until, watched};
use multiproc::inspect::{
    self, Awaited, Held, ObjectInfo, ObjectKind, ObjectState, ParticipantState, Poison, SegmentInfo,
};
use multiproc::{
    Array, Barrier, Condition, ErrorKind, Event, Lock, Name, Permits, Pipe, Plain, Process, Queue,
    ReentrantLock, RwLock, Semaphore, Value,
};
use own::Own;

/// What this process sees, if a stranger to it sees the same.
fn seen_by_both(own: &Own) -> Result<SegmentInfo, String> {
    fn look(name: String) -> String {
        serde_json::to_string(&inspect::name(name).unwrap()).unwrap()
    }
    let mine = inspect::name(own).unwrap();
    let theirs = Process::spawn(look, own.text()).unwrap().join().unwrap();
    assert_eq!((mine.name.as_deref(), &mine.damage), (Some(own.0.as_str()), &None));
    let is_same = serde_json::to_string(&mine).unwrap() == theirs;
    if is_same { Ok(mine) } else { Err(format!("{mine:?} here, there {theirs}")) }
}

/// What this process sees, and a stranger as well, while nothing changes.
fn seen(own: &Own) -> SegmentInfo {
    seen_by_both(own).unwrap()
}

/// The only object of a name.
fn object(own: &Own) -> ObjectInfo {
    let [object] = seen(own).objects.try_into().unwrap();
    object
}

/// Who has what of it, by process ids.
fn held(object: &ObjectInfo) -> Vec<(u32, Held)> {
    object.holds.iter().map(|hold| (hold.pid, hold.what.clone())).collect()
}

/// Who waits for what, by process ids; 0 where that is not known.
fn awaited(object: &ObjectInfo) -> Vec<(u32, Awaited)> {
    object.waits.iter().map(|wait| (wait.pid, wait.what)).collect()
}

/// Looks until both see that somebody waits there. Who does wakes every tenth of a second, and
/// waits for nothing at that moment.
fn until_awaited(own: &Own) -> Vec<(u32, Awaited)> {
    let mut found = Vec::new();
    until(|| {
        let both = seen_by_both(own);
        found = both.map_or_else(|_| Vec::new(), |segment| awaited(&segment.objects[0]));
        !found.is_empty()
    });
    found
}

fn state_of(own: &Own, pid: u32) -> Option<ParticipantState> {
    let segment = inspect::name(own).unwrap();
    segment.participants.iter().find(|person| person.pid == pid).map(|person| person.state)
}

#[test]
fn who_holds_what_is_told() {
    fn hold((name, ready, done): (String, Event, Event)) {
        let of = |kind: &str| format!("{name}-{kind}");
        let lock = Lock::open(of("lock")).unwrap();
        let reentrant = ReentrantLock::open(of("reentrant")).unwrap();
        let value = Value::<u64>::open(of("value")).unwrap();
        let array = Array::<u16>::open(of("array")).unwrap();
        let rwlock = RwLock::open(of("rwlock")).unwrap();
        let semaphore = Semaphore::open(of("semaphore")).unwrap();
        let _guards = (lock.lock().unwrap(), reentrant.lock().unwrap(), reentrant.lock().unwrap());
        let _more = (value.lock().unwrap(), rwlock.read().unwrap());
        let _ranges = (array.lock_range(2..5).unwrap(), array.lock_range(7..9).unwrap());
        let _permits = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        ready.set().unwrap();
        done.wait().unwrap();
    }
    watched("who_holds_what_is_told", || {
        let all = Own::new("held");
        let own = |kind: &str| Own(Name::new(&format!("{}-{kind}", all.text())).unwrap());
        let names = ["lock", "reentrant", "value", "array", "rwlock", "semaphore"].map(own);
        let [lock, reentrant, value, array, rwlock, semaphore] = &names;
        Lock::create(lock).unwrap();
        ReentrantLock::create(reentrant).unwrap();
        Value::create(value, 7_u64).unwrap();
        Array::create_from_slice(array, &[0_u16; 100]).unwrap();
        RwLock::create(rwlock).unwrap();
        Semaphore::create(semaphore, Permits::Bounded(5)).unwrap();
        for name in &names {
            let object = object(name);
            assert!(object.holds.is_empty() && object.waits.is_empty(), "{object:?}");
        }
        let (ready, done) = (Event::new().unwrap(), Event::new().unwrap());
        let handles = (all.text(), ready.clone(), done.clone());
        let child = Process::spawn(hold, handles).unwrap();
        ready.wait().unwrap();
        let pid = child.pid();
        let expect = |own: &Own, kind: ObjectKind, what: &[Held]| {
            let object = object(own);
            let what: Vec<_> = what.iter().map(|what| (pid, what.clone())).collect();
            assert_eq!((object.kind, held(&object)), (kind, what));
            assert_eq!(state_of(own, pid), Some(ParticipantState::Alive));
            object.state
        };
        expect(lock, ObjectKind::Lock, &[Held::Lock { levels: 1 }]);
        expect(reentrant, ObjectKind::ReentrantLock, &[Held::Lock { levels: 2 }]);
        let state = expect(value, ObjectKind::Value, &[Held::Lock { levels: 1 }]);
        assert!(matches!(state, ObjectState::Lock { poison: None, data: 16.. }), "{state:?}");
        let ranges = [Held::Range { start: 2, end: 5 }, Held::Range { start: 7, end: 9 }];
        let state = expect(array, ObjectKind::Array, &ranges);
        assert!(matches!(state, ObjectState::Lock { poison: None, data: 200 }), "{state:?}");
        expect(rwlock, ObjectKind::RwLock, &[Held::Read { threads: 1 }]);
        let state = expect(semaphore, ObjectKind::Semaphore, &[Held::Permits { count: 2 }]);
        let ObjectState::Semaphore { available, began_with, permits } = state else { panic!() };
        assert_eq!((available, began_with, permits), (3, 5, inspect::Permits::Bounded));
        done.set().unwrap();
        child.join().unwrap();
        assert!(names.iter().all(|name| object(name).holds.is_empty()));
    });
}

/// Opens what has this name, and waits for something at it.
fn wait_at((name, what): (String, Awaited)) {
    match what {
        Awaited::Message => drop(Queue::<u64>::open(name).unwrap().recv()),
        Awaited::Room => drop(Queue::<u64>::open(name).unwrap().send(2)),
        Awaited::Lock => drop(Lock::open(name).unwrap().lock()),
        Awaited::Permit => drop(Semaphore::open(name).unwrap().acquire().unwrap()),
        Awaited::Event => Event::open(name).unwrap().wait().unwrap(),
        Awaited::Readers => drop(RwLock::open(name).unwrap().write()),
        Awaited::Elements => drop(Array::<u16>::open(name).unwrap().lock_range(3..4)),
        Awaited::Parties => drop(Barrier::open(name).unwrap().wait()),
        Awaited::Signal => {
            let lock = Lock::new().unwrap();
            let guard = lock.lock().unwrap();
            drop(Condition::open(name).unwrap().wait(guard).unwrap());
        }
        other => panic!("nobody waits for {other:?} here"),
    }
}

/// Has a child wait at what has this name until `end`, and sees it wait; `has_place` if it is known
/// who waits.
fn told(own: &Own, what: Awaited, has_place: bool, end: impl FnOnce()) {
    let child = Process::spawn(wait_at, (own.text(), what)).unwrap();
    let pid = if has_place { child.pid() } else { 0 };
    assert_eq!(until_awaited(own), [(pid, what)]);
    end();
    child.join().unwrap();
    // The mark in common stays until somebody rings for nobody.
    assert!(!has_place || awaited(&object(own)).is_empty());
}

#[test]
fn who_waits_in_a_place_of_its_own_is_told() {
    watched("who_waits_in_a_place_of_its_own_is_told", || {
        let own = Own::new("queue-waits");
        let mut queue = Queue::<u64>::create(&own, 1).unwrap();
        told(&own, Awaited::Message, true, || queue.send(1).unwrap());
        queue.send(1).unwrap();
        told(&own, Awaited::Room, true, || assert_eq!(queue.recv().unwrap(), 1));

        let own = Own::new("rwlock-waits");
        let rwlock = RwLock::create(&own).unwrap();
        let guard = rwlock.read().unwrap();
        told(&own, Awaited::Readers, true, || drop(guard));

        let own = Own::new("barrier-waits");
        let barrier = Barrier::create(&own, 2).unwrap();
        told(&own, Awaited::Parties, true, || {
            let state = object_of(&own, 0).state;
            let wanted = ObjectState::Barrier { parties: 2, arrived: 1, is_broken: false };
            assert_eq!(state, wanted);
            barrier.wait().unwrap();
        });

        let own = Own::new("condition-waits");
        let condition = Condition::create(&own).unwrap();
        told(&own, Awaited::Signal, true, || assert_eq!(condition.notify_all().unwrap(), 1));
    });
}

#[test]
fn that_somebody_waits_is_told_where_it_is_not_known_who() {
    watched("that_somebody_waits_is_told_where_it_is_not_known_who", || {
        let own = Own::new("lock-waits");
        let lock = Lock::create(&own).unwrap();
        let guard = lock.lock().unwrap();
        told(&own, Awaited::Lock, false, || drop(guard));

        let own = Own::new("semaphore-waits");
        let semaphore = Semaphore::create(&own, Permits::Unowned(0)).unwrap();
        told(&own, Awaited::Permit, false, || semaphore.release().unwrap());

        let own = Own::new("array-waits");
        let array = Array::create(&own, 9, 1_u16).unwrap();
        let guard = array.lock_range(0..9).unwrap();
        told(&own, Awaited::Elements, false, || drop(guard));

        let own = Own::new("event-waits");
        let event = Event::create(&own).unwrap();
        told(&own, Awaited::Event, false, || {
            assert_eq!(object_of(&own, 0).state, ObjectState::Event { is_set: false });
            event.set().unwrap();
            assert_eq!(object_of(&own, 0).state, ObjectState::Event { is_set: true });
        });
    });
}

/// Who could bury the dead one is stopped, and whoever looks does not do it.
#[test]
fn a_dead_owner_is_told_to_be_dead_until_it_is_buried() {
    fn hold(name: String) {
        let lock = Lock::open(name).unwrap();
        let _guard = lock.lock().unwrap();
        loop {
            std::thread::park();
        }
    }
    fn guard_it(name: String) {
        let _lock = Lock::open(&name).unwrap();
        assert_killed(Process::spawn(hold, name).unwrap().join());
    }
    watched("a_dead_owner_is_told_to_be_dead_until_it_is_buried", || {
        let own = Own::new("dead");
        drop(Lock::create(&own).unwrap());
        let parent = Process::spawn(guard_it, own.text()).unwrap();
        let holds = || inspect::name(&own).unwrap().objects[0].holds.clone();
        until(|| !holds().is_empty());
        let dead = holds()[0].pid;
        let kill = |pid: u32, signal| assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
        kill(parent.pid(), libc::SIGSTOP);
        let is_stopped = || {
            let segment = inspect::name(&own).unwrap();
            segment.participants.iter().any(|person| person.is_stopped)
        };
        until(is_stopped);
        kill(dead, libc::SIGKILL);
        until(|| state_of(&own, dead) == Some(ParticipantState::Dead));
        // However often somebody looks.
        for _ in 0..10 {
            let segment = seen(&own);
            let object = &segment.objects[0];
            assert_eq!(held(object), [(dead, Held::Lock { levels: 1 })]);
            let person = segment.participant(object.holds[0].participant).unwrap();
            assert_eq!((person.state, segment.deaths), (ParticipantState::Dead, 0));
            assert_eq!(state_of(&own, parent.pid()), Some(ParticipantState::Alive));
        }
        kill(parent.pid(), libc::SIGCONT);
        parent.join().unwrap();
        let segment = seen(&own);
        assert_eq!((state_of(&own, dead), segment.deaths), (None, 1));
        assert!(segment.objects[0].holds.is_empty());
        let died = Some(Poison::OwnerDied { pid: dead });
        assert_eq!(segment.objects[0].state, ObjectState::Lock { poison: died, data: 0 });
    });
}

#[test]
fn a_pipe_is_told_with_both_its_ends_and_what_is_in_it() {
    fn come(name: String) {
        let mut pipe = Pipe::builder().plain().open::<u64, u64>(name).unwrap();
        assert_eq!(pipe.recv().unwrap(), 0);
        common::die();
    }
    let sides = |object: &ObjectInfo| {
        let ObjectState::Pipe { writer, reader, capacity, sent_and_received, .. } = &object.state
        else {
            panic!("no pipe: {object:?}");
        };
        let has_died = (writer.has_died, reader.has_died);
        (writer.pid, reader.pid, *capacity, sent_and_received.unwrap(), has_died)
    };
    watched("a_pipe_is_told_with_both_its_ends_and_what_is_in_it", || {
        let (own, me) = (Own::new("pipe"), std::process::id());
        let mut here = Pipe::builder().plain().slots(8).create::<u64, u64>(&own).unwrap();
        (0..4).for_each(|number| here.send(number).unwrap());
        let segment = seen(&own);
        assert_eq!(segment.participants[1].state, ParticipantState::Expected);
        assert_eq!(sides(&segment.objects[0]), (me, 0, 8, (4, 0), (false, false)));
        assert_eq!(sides(&segment.objects[1]), (0, me, 8, (0, 0), (false, false)));
        let child = Process::spawn(come, own.text()).unwrap();
        let pid = child.pid();
        assert_killed(child.join());
        assert!(here.recv().is_err());
        let segment = seen(&own);
        assert_eq!(segment.participants.iter().find(|person| person.pid == pid), None);
        let (writer, _, _, counts, has_died) = sides(&segment.objects[0]);
        assert_eq!((writer, counts, has_died), (me, (4, 1), (false, true)));
        assert_eq!(sides(&segment.objects[1]).4, (true, false));
    });
}

#[test]
fn the_bytes_in_a_pipe_of_frames_are_counted_record_by_record() {
    let own = Own::new("frames");
    let mut here = Pipe::builder().capacity(1 << 20).create::<String, String>(&own).unwrap();
    let mut there = Pipe::open::<String, String>(&own).unwrap();
    let fill = || {
        let ObjectState::Pipe { sent_and_received, unit, capacity, .. } = object_of(&own, 0).state
        else {
            panic!("no pipe");
        };
        assert_eq!((unit, capacity), (inspect::PipeUnit::Bytes, 1 << 20));
        sent_and_received.map(|(sent, received)| sent - received).unwrap()
    };
    assert_eq!(fill(), 0);
    for round in 0..50 {
        // 8 bytes of header and what the codec needs, in granules of 16.
        let sizes = [1, 100, 5000, 70_000].map(|size| size + round);
        sizes.iter().for_each(|size| here.send("x".repeat(*size)).unwrap());
        let payload: usize = sizes.iter().sum();
        let fill = fill() as usize;
        assert!(fill >= payload && fill < payload + (1 << 17), "{fill} for {payload}");
        sizes.iter().for_each(|size| assert_eq!(there.recv().unwrap().len(), *size));
    }
    assert_eq!(fill(), 0);
}

fn object_of(own: &Own, number: usize) -> ObjectInfo {
    inspect::name(own).unwrap().objects.swap_remove(number)
}

/// What a queue says of itself, and what is seen of it from outside.
macro_rules! assert_told {
    ($own:expr, $queue:expr) => {{
        let ObjectState::Queue { depth, capacity, is_closed, stats, handles } =
            object_of(&$own, 0).state
        else {
            panic!("no queue");
        };
        let info = $queue.info();
        assert_eq!(depth, Some(info.depth as u64));
        assert_eq!((capacity, is_closed), (info.capacity.map(|it| it as u64), info.is_closed));
        assert_eq!((stats, handles), (Some(info.stats), info.handles));
    }};
}

#[test]
fn a_queue_is_told_from_outside_as_it_tells_itself() {
    watched("a_queue_is_told_from_outside_as_it_tells_itself", || {
        let mut state = common::seed();
        for capacity in [Some(1), Some(100), Some(200_000), None] {
            let own = Own::new("queue");
            let mut words = Queue::<String>::create(&own, capacity).unwrap();
            let other = Own::new("wide");
            let mut wide =
                Queue::builder().codec::<Plain>().create::<u64>(&other, capacity).unwrap();
            for _ in 0..20 {
                for _ in 0..common::next(&mut state) % 3000 {
                    let _ = (words.try_send("a word".to_owned()), wide.try_send(7));
                }
                assert_told!(own, words);
                assert_told!(other, wide);
                for _ in 0..common::next(&mut state) % 3000 {
                    let _ = (words.try_recv(), wide.try_recv());
                }
                assert_told!(own, words);
                assert_told!(other, wide);
            }
            let long = "long ".repeat(1000);
            let _ = words.try_send(long.clone());
            assert_told!(own, words);
            words.close();
            assert_told!(own, words);
        }
    });
}

#[test]
fn a_message_in_hands_is_told_and_so_is_one_that_was_lost() {
    fn keep((name, ready): (String, Event)) {
        let mut queue = Queue::<String>::open(name).unwrap();
        let _message = queue.recv_guard().unwrap();
        ready.set().unwrap();
        loop {
            std::thread::park();
        }
    }
    watched("a_message_in_hands_is_told_and_so_is_one_that_was_lost", || {
        let (own, ready) = (Own::new("hands"), Event::new().unwrap());
        let mut queue = Queue::<String>::create(&own, 10).unwrap();
        queue.send("one".to_owned()).unwrap();
        queue.send("two".to_owned()).unwrap();
        let child = Process::spawn(keep, (own.text(), ready.clone())).unwrap();
        ready.wait().unwrap();
        assert_eq!(held(&object(&own)), [(child.pid(), Held::Message)]);
        assert_told!(own, queue);
        child.kill().unwrap();
        assert_killed(child.join());
        until(|| state_of(&own, 0) == Some(ParticipantState::Name) && queue.stats().lost == 1);
        let object = object(&own);
        assert!(object.holds.is_empty());
        assert!(matches!(object.state, ObjectState::Queue { stats: Some(stats), .. }
            if (stats.sent, stats.lost, stats.in_flight) == (2, 1, 1)));
    });
}

/// What is in a file, but for its holes.
fn contents(file: &File) -> Vec<(i64, Vec<u8>)> {
    let size = file.metadata().unwrap().len() as i64;
    let seek = |at, whence| unsafe { libc::lseek(file.as_raw_fd(), at, whence) };
    let (mut contents, mut at) = (Vec::new(), 0);
    while at < size {
        let begin = seek(at, libc::SEEK_DATA);
        if begin < 0 {
            break;
        }
        at = seek(begin, libc::SEEK_HOLE);
        let mut bytes = vec![0; (at - begin) as usize];
        file.read_exact_at(&mut bytes, begin as u64).unwrap();
        contents.push((begin, bytes));
    }
    contents
}

#[test]
fn looking_changes_nothing_and_takes_no_memory() {
    let own = Own::new("still");
    let mut queue = Queue::<String>::create(&own, None).unwrap();
    (0..1000).for_each(|_| queue.send("a message".to_owned()).unwrap());
    let file = File::open(own.path()).unwrap();
    let facts = || {
        let facts = file.metadata().unwrap();
        (facts.len(), facts.blocks(), facts.mtime_nsec(), facts.ctime_nsec())
    };
    let (before, bytes) = (facts(), contents(&file));
    assert!(before.0 > 60 << 30 && before.1 * 512 < 16 << 20, "{before:?}");
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let memory = resident();
    for _ in 0..10 {
        let segment = seen(&own);
        assert_eq!((segment.size, segment.memory), (before.0, before.1 * 512));
        assert!(segment.label.unwrap().starts_with("Queue"));
        let depth = &segment.objects[0].state;
        assert!(matches!(depth, ObjectState::Queue { depth: Some(1000), .. }), "{depth:?}");
        inspect::process(std::process::id()).unwrap();
    }
    assert_eq!(facts(), before);
    assert!(contents(&file) == bytes);
    // Other tests of this process take some as well.
    assert!(resident() < memory + (256 << 20));
}

#[test]
fn what_has_no_name_is_found_by_the_process_that_has_it() {
    fn have((lock, ready, done): (Lock, Event, Event)) {
        let queue = Queue::<String>::unbounded().unwrap();
        let (_here, _there) = Pipe::duplex::<u64, u64>().unwrap();
        let _guard = lock.lock().unwrap();
        ready.set().unwrap();
        done.wait().unwrap();
        drop(queue);
    }
    watched("what_has_no_name_is_found_by_the_process_that_has_it", || {
        let own = Own::new("process");
        let lock = Lock::create(&own).unwrap();
        let (ready, done) = (Event::new().unwrap(), Event::new().unwrap());
        let handles = (lock.clone(), ready.clone(), done.clone());
        let child = Process::spawn(have, handles).unwrap();
        ready.wait().unwrap();
        let segments = inspect::process(child.pid()).unwrap();
        let named = segments.iter().find(|segment| segment.name == Some(own.text())).unwrap();
        assert_eq!(held(&named.objects[0]), [(child.pid(), Held::Lock { levels: 1 })]);
        let objects = || segments.iter().flat_map(|segment| &segment.objects);
        for kind in [ObjectKind::Queue, ObjectKind::Pipe, ObjectKind::Event] {
            assert!(objects().any(|object| object.kind == kind), "{kind}");
        }
        let is_mine = |segment: &&SegmentInfo| segment.uuid == named.uuid;
        assert_eq!(segments.iter().filter(is_mine).count(), 1);
        // The maker's own file is called by a number, and is the same.
        let mine = inspect::process(std::process::id()).unwrap();
        assert!(mine.iter().any(|segment| segment.name == Some(own.text())));
        done.set().unwrap();
        child.join().unwrap();
    });
}

#[test]
fn a_process_that_is_none_or_another_users_is_a_clear_error() {
    fn look_as_another_user(pid: u32) -> String {
        if unsafe { libc::geteuid() } == 0 {
            assert_eq!(unsafe { libc::setuid(65534) }, 0);
        }
        inspect::process(pid).unwrap_err().to_string()
    }
    watched("a_process_that_is_none_or_another_users_is_a_clear_error", || {
        let error = inspect::process(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("there is no process 4294967295"), "{error}");
        let child = Process::spawn(look_as_another_user, 1).unwrap();
        let error = child.join().unwrap();
        assert!(error.contains("belongs to the user of number 0"), "{error}");
        let error = inspect::name("nothing-has-this-name").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn what_is_foreign_or_cut_off_is_listed_as_damaged() {
    let own = |kind: &str| Own::new(&format!("list-{kind}"));
    let (good, cut, text, fifo) = (own("good"), own("cut"), own("text"), own("fifo"));
    let _kept = (Lock::create(&good).unwrap(), drop(Value::create(&cut, 1_u8).unwrap()));
    let file = OpenOptions::new().write(true).open(cut.path()).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5000).unwrap();
    std::fs::write(text.path(), "nothing of yours").unwrap();
    let path = std::ffi::CString::new(fifo.path()).unwrap();
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let list = inspect::names().unwrap();
    let damage = |own: &Own| {
        let found = list.iter().find(|segment| segment.name == Some(own.text())).unwrap();
        found.damage.clone().unwrap_or_default()
    };
    assert_eq!(damage(&good), "");
    assert!(damage(&cut).contains("says that it has"), "{}", damage(&cut));
    assert!(damage(&text).contains("nothing of this crate"), "{}", damage(&text));
    assert!(damage(&fifo).contains("no regular file"), "{}", damage(&fifo));
}

/// Objects come and go, messages pass, locks change hands, while somebody looks on.
#[test]
fn what_changes_meanwhile_is_never_told_to_be_damaged() {
    fn act((name, done): (String, Event)) {
        let mut queue = Queue::<String>::open(format!("{name}-queue")).unwrap();
        let value = Value::<[u64; 9]>::open(format!("{name}-value")).unwrap();
        let mut number = 0;
        while !done.is_set() {
            number += 1;
            let _ = queue.try_send("x".repeat(number % 2000));
            let _ = queue.try_recv();
            value.update(|value| value[number % 9] += 1).unwrap();
            let (mut here, mut there) = Pipe::duplex::<String, u64>().unwrap();
            let (lock, semaphore) = (Lock::new().unwrap(), Semaphore::new(3).unwrap());
            let _held = (lock.lock().unwrap(), semaphore.acquire().unwrap());
            here.send("x".repeat(number % 500)).unwrap();
            there.recv().unwrap();
        }
    }
    watched("what_changes_meanwhile_is_never_told_to_be_damaged", || {
        let all = Own::new("busy");
        let own = |kind: &str| Own(Name::new(&format!("{}-{kind}", all.text())).unwrap());
        let (queue, value) = (own("queue"), own("value"));
        let _queue = Queue::<String>::create(&queue, 64).unwrap();
        let _value = Value::create(&value, [0_u64; 9]).unwrap();
        let done = Event::new().unwrap();
        let child = Process::spawn(act, (all.text(), done.clone())).unwrap();
        let mut pipes = 0;
        for round in 0.. {
            let segments = inspect::process(child.pid()).unwrap();
            for segment in &segments {
                assert_eq!(segment.damage, None);
                let broken = |object: &&ObjectInfo| object.state == ObjectState::Damaged;
                assert_eq!(segment.objects.iter().find(broken).map(|it| it.kind), None);
                let is_pipe = |object: &&ObjectInfo| object.kind == ObjectKind::Pipe;
                pipes += segment.objects.iter().filter(is_pipe).count();
            }
            if round >= 300 && pipes >= 10 {
                break;
            }
        }
        done.set().unwrap();
        child.join().unwrap();
    });
}
