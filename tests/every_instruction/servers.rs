//! The server of a manager: in a call, at its door, as it lets go of an object, and as it ends.
//!
//! One of its threads is stepped through, and the whole server killed. Some process is in a call
//! that does not end, another one makes a call meanwhile, and this one has calls to make later.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it asks for an exit handler")]

use std::sync::Mutex;
use std::thread;

use multiproc::{
    Connection, Dict, Error, ErrorKind, Manager, ManagerClient, Nothing, Pipe, Process, Proxy,
    Result,
};

use crate::common::{children, until};
use crate::stepping::{Call, Cue, Gate, Say, alone, breakpoint, latecomer, sibling, try_points};
use crate::tracing::{Tracee, thread_named};

type Counts = Dict<u32, u32>;

/// What the server has from the beginning, and who is there.
struct House {
    manager: Manager,
    counts: Counts,
    /// Is in a call until the server is gone.
    guest: Process<Result<()>>,
    stay: Connection<(), Nothing>,
}

impl House {
    fn new() -> Self {
        fn stay((mut say, mut gate): (Say, Gate)) {
            say.send(()).unwrap();
            let _ = gate.recv();
        }
        fn guest(((client, gate), say): ((ManagerClient, Gate), Say)) -> Result<()> {
            client.run(stay, (say, gate))
        }
        let manager = Manager::start().unwrap();
        let counts = manager.dict_from([(0, 7)]).unwrap();
        let (stay, gate) = Pipe::simplex().unwrap();
        let guest = sibling(guest, (manager.client(), gate));
        Self { manager, counts, guest, stay }
    }

    /// Whoever calls hears that the server is gone, nobody is left, and another one can be started.
    fn check_is_gone(self) {
        assert!(is_gone(&self.counts.get(&0).unwrap_err()));
        assert!(is_gone(&self.manager.list::<u32>().unwrap_err()));
        assert!(is_gone(&self.manager.debug_info().unwrap_err()));
        assert!(!self.manager.is_alive());
        assert!(is_gone(&self.manager.shutdown().unwrap_err()));
        assert!(is_gone(&self.guest.join().unwrap().unwrap_err()));
        nobody_is_left();
    }
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::Disconnected
}

fn nobody_is_left() {
    let next = Manager::start().unwrap();
    let counts: Counts = next.dict().unwrap();
    assert_eq!(counts.insert(1, 2).unwrap(), None);
    next.shutdown().unwrap();
    assert!(is_gone(&counts.get(&1).unwrap_err()));
    until(|| children().iter().all(|(.., name)| name == "multiproc-fork"));
}

/// Somebody who has made so many calls, makes one more when told to, and stays until told to go.
struct Client {
    call: Option<Call>,
    process: Process<Result<Option<u32>>>,
    stay: Connection<(), Nothing>,
}

impl Client {
    fn new(house: &House, calls: u32) -> Self {
        type Given = (Counts, u32, Say, Gate);
        fn client(((counts, calls, mut say, mut gate), cue): (Given, Cue)) -> Result<Option<u32>> {
            for _ in 0..calls {
                assert_eq!(counts.get(&0)?, Some(7));
            }
            say.send(()).unwrap();
            cue.wait();
            let answer = counts.insert(1, 1);
            // Its pipe is there until the end.
            let _ = gate.recv();
            answer
        }
        let (say, mut is_ready) = Pipe::simplex::<()>().unwrap();
        let (stay, gate) = Pipe::simplex().unwrap();
        let (call, process) = latecomer(client, (house.counts.clone(), calls, say, gate));
        is_ready.recv().unwrap();
        Self { call: Some(call), process, stay }
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns when it waits for its answer. False if that has been before.
    fn call(&mut self) -> bool {
        self.call.take().map(Call::make).is_some()
    }

    /// It has its answer, or hears that there is none.
    fn check_has_heard(self) {
        // If the server was killed before there was a call to serve.
        self.call.into_iter().for_each(Call::tell);
        drop(self.stay);
        match self.process.join().unwrap() {
            Ok(before) => assert_eq!(before, None),
            Err(error) => assert!(is_gone(&error), "{error}"),
        }
    }
}

/// The thread of that name, which may not have given itself the name yet.
fn find_thread(server: u32, name: &str) -> u32 {
    until(|| thread_named(server, name).is_some());
    thread_named(server, name).unwrap()
}

/// Kills the server on the way of one of its threads from a wait through a call to the next one.
fn try_call(name: &'static str, calls: u32, thread: fn(u32, u32) -> u32) {
    try_points(name, true, |point, at| {
        let house = House::new();
        let mut client = Client::new(&house, calls);
        let server = house.manager.pid();
        let tracee = Tracee::seize_thread(server, thread(server, client.pid()))?;
        let fate = tracee.step_from_sleep(point, || client.call());
        at.is(fate);
        client.check_has_heard();
        house.check_is_gone();
        Some(fate)
    });
}

#[test]
fn a_call_that_is_served() {
    alone("a_call_that_is_served", |()| {
        try_call("manager's server: a call", 3, |server, client| {
            find_thread(server, &format!("manager-{client}"))
        });
    });
}

/// Who opens it also starts a thread.
#[test]
fn a_knock_at_the_door() {
    alone("a_knock_at_the_door", |()| {
        try_call("manager's server: a knock at the door", 0, |server, _| server);
    });
}

/// The thread that the knock has started, from its first instruction to its second wait.
#[test]
fn the_first_call_that_is_served() {
    alone("the_first_call_that_is_served", |()| {
        try_points("manager's server: the first call of a pipe", false, |point, at| {
            let house = House::new();
            let mut client = Client::new(&house, 0);
            let call = || assert!(client.call());
            let tracee = Tracee::seize_newborn(house.manager.pid(), call)?;
            let fate = tracee.step_from_birth(point);
            at.is(fate);
            client.check_has_heard();
            house.check_is_gone();
            Some(fate)
        });
    });
}

/// Hosts something whose end can be heard.
fn host_witness(manager: &Manager) -> (Proxy<Witness>, Connection<Nothing, ()>) {
    let (say, hear) = Pipe::simplex().unwrap();
    (manager.host_with(Mutex::new, say).unwrap(), hear)
}

type Witness = Mutex<Say>;

/// The thread that looks for objects that nobody has any more.
#[test]
fn an_object_that_is_let_go() {
    alone("an_object_that_is_let_go", |()| {
        try_points("manager's server: lets go of an object", true, |point, at| {
            let house = House::new();
            let (witness, mut hear) = host_witness(&house.manager);
            let server = house.manager.pid();
            let tracee = Tracee::seize_thread(server, find_thread(server, "manager-litter"))?;
            let mut witness = Some(witness);
            let fate = tracee.step_from_sleep(point, || witness.take().is_some());
            at.is(fate);
            assert!(hear.recv().unwrap_err().is_disconnected());
            house.check_is_gone();
            Some(fate)
        });
    });
}

/// From the wait at the door, through the ends of its objects and its last word, to the exit.
#[test]
fn a_shutdown() {
    extern "C" fn exits() {
        breakpoint();
    }
    fn tell_of_exit((): ()) {
        assert_eq!(unsafe { libc::atexit(exits) }, 0);
    }
    alone("a_shutdown", |()| {
        try_points("manager's server: shuts down", true, |point, at| {
            let House { manager, counts, guest, stay } = House::new();
            let (_witness, mut hear) = host_witness(&manager);
            manager.run(tell_of_exit, ()).unwrap();
            // It has two seconds for it.
            let tracee = Tracee::seize(manager.pid())?.on_notice();
            let (mut manager, mut end) = (Some(manager), None);
            let fate = tracee.step_from_sleep(point, || {
                let manager = manager.take();
                end = manager.map(|manager| thread::spawn(|| manager.shutdown()));
                end.is_some()
            });
            at.is(fate);
            // Its last word may be said before it is killed.
            let end = end.map(|end| end.join().unwrap());
            assert!(
                end.is_none_or(|end| end.is_ok() || !fate.is_done() && is_gone(&end.unwrap_err()))
            );
            drop(manager);
            assert!(hear.recv().unwrap_err().is_disconnected());
            assert!(is_gone(&counts.get(&0).unwrap_err()));
            assert!(is_gone(&guest.join().unwrap().unwrap_err()));
            drop(stay);
            nobody_is_left();
            Some(fate)
        });
    });
}
