//! Objects with a name: who makes, opens, replaces or unlinks one dies, and nobody else is kept
//! from it.

use multiproc::{Connection, Event, Name, Pipe, Queue, Receiver, Segment, Sender, Value};

use crate::stepping::{Fate, Gate, Operation, alone, begin, end};

/// The name of a test, which has one process.
fn name(test: &str) -> Name {
    Name::new(&format!("steps-{test}-{}", std::process::id())).unwrap()
}

/// The same for a victim, who is told.
fn told(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// Nothing is left of a name but what somebody may open, use and take away.
fn is_usable(name: &Name) -> u64 {
    let value = Value::<u64>::open_or_create(name, 0).unwrap();
    value.update(|value| *value += 10).unwrap();
    let found = Value::<u64>::open(name).unwrap().get().unwrap() - 10;
    drop(value);
    let fresh = name.clone().replace_stale();
    drop(Value::create(&fresh, 5_u64).unwrap());
    assert!(name.unlink().unwrap());
    found
}

#[test]
fn making_an_object_with_a_name() {
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let value = Value::create(told(&name), 1_u64).unwrap();
        end();
        drop(value);
    }
    fn check(name: String, fate: Fate) {
        let found = is_usable(&told(&name));
        assert!(found == 1 || found == 0 && !fate.is_done(), "{found}");
    }
    alone("making_an_object_with_a_name", |()| {
        let make = || {
            let name = name("make");
            (name.to_string(), name.to_string())
        };
        Operation::new("name: create a value", make, victim, check).try_all();
    });
}

#[test]
fn making_a_queue_with_a_name() {
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let mut queue = Queue::<u64>::create(told(&name), None).unwrap();
        queue.send(7).unwrap();
        end();
    }
    fn check(name: String, fate: Fate) {
        let name = told(&name);
        let mut queue = Queue::<u64>::open_or_create(&name, None).unwrap();
        let sent = queue.try_recv().ok();
        assert!(sent == Some(7) || sent.is_none() && !fate.is_done());
        queue.send(8).unwrap();
        assert_eq!(Receiver::<u64>::open(&name).unwrap().recv().unwrap(), 8);
        assert_eq!(queue.stats().lost, 0);
        assert!(name.unlink().unwrap());
    }
    alone("making_a_queue_with_a_name", |()| {
        let make = || {
            let name = name("queue");
            (name.to_string(), name.to_string())
        };
        Operation::new("name: create a queue", make, victim, check).try_all();
    });
}

#[test]
fn opening_and_leaving_an_object_with_a_name() {
    type Kept = (String, Value<u64>);
    fn make() -> (String, Kept) {
        let name = name("open");
        let value = Value::create(&name, 1_u64).unwrap();
        (name.to_string(), (name.to_string(), value))
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let value = Value::<u64>::open(told(&name)).unwrap();
        value.set(2).unwrap();
        drop(value);
        end();
    }
    fn check((name, value): Kept, fate: Fate) {
        let found = value.get().unwrap();
        assert!(found == 2 || found == 1 && !fate.is_done());
        drop(value);
        assert_eq!(is_usable(&told(&name)), found);
    }
    alone("opening_and_leaving_an_object_with_a_name", |()| {
        Operation::new("name: open, set and leave a value", make, victim, check).try_all();
    });
}

#[test]
fn opening_and_leaving_a_queue_with_a_name() {
    type Kept = (String, Queue<u64>);
    fn make() -> (String, Kept) {
        let name = name("ends");
        let queue = Queue::<u64>::create(&name, 4).unwrap();
        (name.to_string(), (name.to_string(), queue))
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let mut sender = Sender::<u64>::open(told(&name)).unwrap();
        sender.send(7).unwrap();
        drop(sender);
        end();
    }
    fn check((name, mut queue): Kept, fate: Fate) {
        let sent = queue.try_recv().ok();
        assert!(sent == Some(7) || sent.is_none() && !fate.is_done());
        assert!(queue.try_recv().unwrap_err().is_empty(), "somebody may come");
        let name = told(&name);
        queue.send(1).unwrap();
        assert_eq!(Receiver::<u64>::open(&name).unwrap().recv().unwrap(), 1);
        assert!(name.unlink().unwrap());
        queue.close();
    }
    alone("opening_and_leaving_a_queue_with_a_name", |()| {
        Operation::new("name: open, send and leave a queue", make, victim, check).try_all();
    });
}

/// Either nobody has come, and somebody else can, or the guest has come and is dead.
#[test]
fn coming_to_a_pipe() {
    type Kept = (String, Connection<u64, u64>);
    fn make() -> (String, Kept) {
        let name = name("pipe");
        let here = Pipe::create::<u64, u64>(&name).unwrap();
        (name.to_string(), (name.to_string(), here))
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let mut there = Pipe::open::<u64, u64>(told(&name)).unwrap();
        there.send(7).unwrap();
        end();
    }
    fn check((name, mut here): Kept, fate: Fate) {
        let name = told(&name);
        if let Ok(mut there) = Pipe::open::<u64, u64>(&name) {
            assert!(!fate.is_done());
            there.send(1).unwrap();
            here.send(2).unwrap();
            assert_eq!((here.recv().unwrap(), there.recv().unwrap()), (1, 2));
        } else {
            let sent = here.recv();
            assert!(sent.as_ref().is_ok_and(|n| *n == 7) || !fate.is_done(), "{sent:?}");
            assert!(here.recv().unwrap_err().is_peer_dead());
            assert!(here.send(1).unwrap_err().is_disconnected());
        }
        drop(here);
        // Used up, and nobody has it: the next two begin anew.
        let mut here = Pipe::open_or_create::<u64>(&name).unwrap();
        let mut there = Pipe::open_or_create::<u64>(&name).unwrap();
        here.send(1).unwrap();
        assert_eq!(there.recv().unwrap(), 1);
        assert!(name.unlink().unwrap());
    }
    alone("coming_to_a_pipe", |()| {
        Operation::new("name: come to a pipe and send", make, victim, check).try_all();
    });
}

#[test]
fn taking_a_name_away() {
    type Kept = (String, Receiver<u64>);
    fn make() -> (String, Kept) {
        let name = name("unlink");
        drop(Queue::<u64>::create(&name, 4).unwrap());
        (name.to_string(), (name.to_string(), Receiver::open(&name).unwrap()))
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        told(&name).unlink().unwrap();
        end();
    }
    fn check((name, mut last): Kept, fate: Fate) {
        let name = told(&name);
        if let Ok(mut sender) = Sender::<u64>::open(&name) {
            assert!(!fate.is_done());
            sender.send(7).unwrap();
            assert_eq!(last.recv().unwrap(), 7);
            assert!(name.unlink().unwrap());
        }
        // No other end is left, and nobody can come.
        assert!(last.recv().unwrap_err().is_disconnected());
    }
    alone("taking_a_name_away", |()| {
        Operation::new("name: unlink", make, victim, check).try_all();
    });
}

#[test]
fn replacing_what_nobody_has() {
    fn make() -> (String, String) {
        let name = name("replace");
        drop(Value::create(&name, 3_u64).unwrap());
        (name.to_string(), name.to_string())
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let value = Value::create(told(&name).replace_stale(), 4_u64).unwrap();
        end();
        drop(value);
    }
    fn check(name: String, fate: Fate) {
        let found = is_usable(&told(&name));
        assert!(found == 4 || [3, 0].contains(&found) && !fate.is_done(), "{found}");
    }
    alone("replacing_what_nobody_has", |()| {
        Operation::new("name: replace a value", make, victim, check).try_all();
    });
}

/// Who looks and cleans takes leases for a moment.
#[test]
fn listing_and_making_way() {
    fn make() -> (String, (String, Event)) {
        let name = name("list");
        let event = Event::create(&name).unwrap();
        (name.to_string(), (name.to_string(), event))
    }
    fn victim((name, gate): (String, Gate)) {
        begin(gate);
        let is_listed = |info: &multiproc::NameInfo| info.name.as_str() == name && info.is_in_use;
        assert!(Segment::list().unwrap().iter().any(is_listed));
        assert!(Event::create(told(&name).replace_stale()).is_err());
        end();
    }
    fn check((name, event): (String, Event), _: Fate) {
        event.set().unwrap();
        let name = told(&name);
        assert!(Event::open(&name).unwrap().is_set());
        assert!(name.unlink().unwrap());
    }
    alone("listing_and_making_way", |()| {
        Operation::new("name: list, and replace in vain", make, victim, check).try_all();
    });
}
