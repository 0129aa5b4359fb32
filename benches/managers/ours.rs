//! This crate's manager.

use std::hint::black_box;
use std::time::{Duration, Instant};

use multiproc::{Connection, Dict, Manager, Nothing, Pipe, Process, Proxy};

use super::KEYS;
use crate::support::crew::{Crew, Work};
use crate::support::{Contender, away};

/// What users host.
pub(crate) struct Thing;

impl Thing {
    fn change(&mut self, _: ()) {}

    fn look(&self, _: ()) {}
}

pub(crate) fn manager() -> Manager {
    Manager::start().expect("a manager")
}

pub(crate) fn dict(manager: &Manager) -> Dict<u64, u64> {
    let dict = manager.dict().expect("a server");
    for key in 0..KEYS {
        dict.insert(key, 0).expect("a server");
    }
    dict
}

pub(crate) fn thing(manager: &Manager) -> Proxy<Thing> {
    manager.host_with(|()| Thing, ()).expect("a server")
}

/// Row: one call after the other of what `make` makes in a server on the other CPU.
pub(crate) fn asking<T: 'static>(
    name: &str,
    make: impl FnOnce(&Manager) -> T,
    call: impl Fn(&T, u64) -> multiproc::Result<()> + 'static,
) -> Contender {
    let manager = away(manager);
    let object = make(&manager);
    Contender::repeat(name, move |number| {
        // Captured, so that its server is there.
        let _ = &manager;
        call(&object, number).expect("a server");
    })
}

/// `d[k] = v`.
pub(crate) fn insert(dict: &Dict<u64, u64>, number: u64) -> multiproc::Result<()> {
    dict.insert(number % KEYS, number).map(|before| assert!(before.is_some()))
}

/// `d[k]`.
pub(crate) fn get(dict: &Dict<u64, u64>, number: u64) -> multiproc::Result<()> {
    dict.get(&(number % KEYS)).map(|value| assert!(value.is_some()))
}

/// `d[k] += 1`, at once.
pub(crate) fn update(dict: &Dict<u64, u64>, number: u64) -> multiproc::Result<()> {
    let done = dict.update(&(number % KEYS), |sum, more: u64| *sum += more, 1);
    done.map(|done| assert!(done.is_some()))
}

pub(crate) fn call(thing: &Proxy<Thing>, _: u64) -> multiproc::Result<()> {
    thing.call(Thing::change, ())
}

pub(crate) fn read(thing: &Proxy<Thing>, _: u64) -> multiproc::Result<()> {
    thing.read(Thing::look, ())
}

/// A call with so many bytes of text.
pub(crate) fn text(size: usize) -> impl Fn(&Proxy<Thing>, u64) -> multiproc::Result<()> {
    let text = "x".repeat(size);
    move |thing, _| {
        let length = thing.call(|_, text: String| text.len(), text.clone())?;
        assert_eq!(length, text.len());
        Ok(())
    }
}

/// The same with bytes, which serde takes for a sequence of numbers.
pub(crate) fn bytes(size: usize) -> impl Fn(&Proxy<Thing>, u64) -> multiproc::Result<()> {
    let bytes = vec![1; size];
    move |thing, _| {
        let length = thing.call(|_, bytes: Vec<u8>| bytes.len(), bytes.clone())?;
        assert_eq!(length, bytes.len());
        Ok(())
    }
}

/// Row: so many processes that call one after the other, all of them what `make` makes.
pub(crate) fn crowd<T: Clone + Send + 'static>(
    name: &str,
    clients: usize,
    make: impl FnOnce(&Manager) -> T,
    call: fn(&T, u64) -> multiproc::Result<()>,
) -> Contender {
    // Until the bench ends: there is no better time, as the clients are others' to end.
    let manager: &'static Manager = Box::leak(Box::new(manager()));
    let object = make(manager);
    let works = (0..clients).map(|_| {
        let object = object.clone();
        let work: Work = Box::new(move |calls| {
            for number in 0..calls {
                call(&object, number).expect("a server");
            }
            0
        });
        work
    });
    Contender::crew(name, Crew::processes(Vec::new(), works.collect()))
}

/// Row: an object is made, and its only handle dropped.
pub(crate) fn host_and_drop(name: &str) -> Contender {
    asking(name, |manager| manager.client(), |client, number| client.host(number).map(drop))
}

/// Row: the same, where the server has so many others.
pub(crate) fn host_beside(name: &str, others: u64) -> Contender {
    let make = |manager: &Manager| {
        let others: Vec<_> = (0..others).map(|number| manager.host(number)).collect();
        (manager.client(), others)
    };
    asking(name, make, |(client, _), number| client.host(number).map(drop))
}

/// Row: from nothing to a server that has answered.
pub(crate) fn start(name: &str) -> Contender {
    making(name, manager)
}

fn speak(mut voice: Connection<u64, Nothing>) {
    voice.send(42).expect("somebody who listens");
}

/// Row: one process, until its first message is here.
pub(crate) fn one_process(name: &str) -> Contender {
    making(name, || {
        let (voice, mut ear) = Pipe::simplex().expect("a pipe");
        let process = Process::spawn(speak, voice).expect("a process");
        assert_eq!(ear.recv().expect("a process that speaks"), 42);
        process
    })
}

/// Row: something that is made, and whose end is not timed.
fn making<T>(name: &str, make: impl Fn() -> T + 'static) -> Contender {
    Contender::new(name, move |iterations| {
        let one = |_| {
            let start = Instant::now();
            let made = black_box(make());
            let time = start.elapsed();
            drop(made);
            time
        };
        (0..iterations).map(one).sum::<Duration>()
    })
}
