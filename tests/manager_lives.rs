//! A hosted object lives as long as anybody has a proxy of it, in whatever process, object or
//! parcel, and not longer.
#![allow(unsafe_code, reason = "tests look at the kernel")]

mod common;

use std::collections::{HashMap, VecDeque};
use std::thread;
use std::time::Duration;

use common::{alone, assert_killed, die, next, open_fds, seed, storms, until, watched};
use multiproc::{
    Connection, Dict, Event, Manager, ManagerClient, Nothing, Pipe, Process, Proxy, Value,
};
use serde::{Deserialize, Serialize};

/// Says when it is dropped in the server, and how many there are.
#[derive(Debug, Serialize, Deserialize)]
struct Guest {
    gone: Event,
    count: Value<i64>,
}

/// What came with the request and is now an object; the one that went into the request is nobody.
fn move_in((gone, count): (Event, Value<i64>)) -> Guest {
    count.update(|count| *count += 1).unwrap();
    Guest { gone, count }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.count.update(|count| *count -= 1).unwrap();
        self.gone.set().unwrap();
    }
}

struct House {
    manager: Manager,
    gone: Event,
    count: Value<i64>,
}

impl House {
    fn new() -> Self {
        let manager = Manager::start().unwrap();
        Self { manager, gone: Event::new().unwrap(), count: Value::new(0).unwrap() }
    }

    fn guest(&self) -> Proxy<Guest> {
        self.gone.clear().unwrap();
        let guest = self.manager.host_with(move_in, (self.gone.clone(), self.count.clone()));
        let guest = guest.unwrap();
        self.assert_there(&guest);
        guest
    }

    /// Whoever sweeps has looked by the time that a later object is gone.
    fn sweep(&self) {
        let (gone, count) = (Event::new().unwrap(), Value::new(0).unwrap());
        drop(self.manager.host_with(move_in, (gone.clone(), count)).unwrap());
        gone.wait().unwrap();
    }

    fn assert_there(&self, guest: &Proxy<Guest>) {
        self.sweep();
        assert!(!self.gone.is_set());
        assert!(guest.read(|guest, ()| !guest.gone.is_set(), ()).unwrap());
        assert_eq!(self.count.get().unwrap(), 1);
    }

    fn assert_still_there(&self) {
        self.sweep();
        assert!(!self.gone.is_set());
    }

    /// They are taken off the list before they are dropped.
    fn assert_empty(&self) {
        until(|| self.manager.debug_info().unwrap().objects.is_empty());
        until(|| self.count.get().unwrap() == 0);
    }

    fn assert_gone(&self) {
        self.gone.wait().unwrap();
        self.assert_empty();
    }
}

#[test]
fn an_object_goes_with_its_last_proxy() {
    watched("an_object_goes_with_its_last_proxy", || {
        let house = House::new();
        let guest = house.guest();
        let other = guest.clone();
        drop(guest);
        house.assert_there(&other);
        let bounded = other.with_timeout(Duration::from_secs(600));
        drop(other);
        house.assert_there(&bounded);
        thread::spawn(move || drop(bounded)).join().unwrap();
        house.assert_gone();
    });
}

/// Keeps a proxy until it is told otherwise.
fn keep((guest, mut line): (Proxy<Guest>, Connection<(), ()>)) {
    line.send(()).unwrap();
    line.recv().unwrap();
    drop(guest);
    line.send(()).unwrap();
    line.recv().unwrap();
}

#[test]
fn the_last_proxy_may_be_in_another_process() {
    watched("the_last_proxy_may_be_in_another_process", || {
        let house = House::new();
        let guest = house.guest();
        let (mut line, theirs) = Pipe::duplex().unwrap();
        let child = Process::spawn(keep, (guest.clone(), theirs)).unwrap();
        drop(guest);
        line.recv().unwrap();
        house.assert_still_there();
        line.send(()).unwrap();
        line.recv().unwrap();
        house.assert_gone();
        line.send(()).unwrap();
        child.join().unwrap();
    });
}

#[test]
fn the_death_of_the_last_holder_lets_go() {
    watched("the_death_of_the_last_holder_lets_go", || {
        let house = House::new();
        for has_called in [false, true] {
            let guest = house.guest();
            let (mut line, theirs) = Pipe::duplex().unwrap();
            let child = Process::spawn(call_and_keep, ((guest.clone(), theirs), has_called));
            drop(guest);
            line.recv().unwrap();
            house.assert_still_there();
            let child = child.unwrap();
            child.kill().unwrap();
            assert_killed(child.join());
            house.assert_gone();
        }
    });
}

fn call_and_keep((args, calls): ((Proxy<Guest>, Connection<(), ()>), bool)) {
    if calls {
        assert!(!args.0.read(|guest, ()| guest.gone.is_set(), ()).unwrap());
    }
    keep(args);
}

fn make_and_die((manager, gone, count): (ManagerClient, Event, Value<i64>)) {
    let _guest = manager.host_with(move_in, (gone, count)).unwrap();
    die()
}

#[test]
fn the_death_of_the_maker_lets_go() {
    watched("the_death_of_the_maker_lets_go", || {
        let house = House::new();
        let args = (house.manager.client(), house.gone.clone(), house.count.clone());
        assert_killed(Process::spawn(make_and_die, args).unwrap().join());
        house.assert_gone();
    });
}

fn send_and_die((mut out, guest): (Connection<Proxy<Guest>, Nothing>, Proxy<Guest>)) {
    out.send(guest).unwrap();
    die()
}

#[test]
fn a_parcel_keeps_an_object_until_it_is_lost() {
    watched("a_parcel_keeps_an_object", || {
        let house = House::new();
        let guest = house.guest();
        let (out, mut inn) = Pipe::simplex::<Proxy<Guest>>().unwrap();
        assert_killed(Process::spawn(send_and_die, (out, guest)).unwrap().join());
        house.assert_still_there();
        let guest = inn.recv().unwrap();
        house.assert_there(&guest);

        let (mut out, inn) = Pipe::simplex::<Proxy<Guest>>().unwrap();
        out.send(guest).unwrap();
        house.assert_still_there();
        drop(inn);
        house.assert_gone();
    });
}

/// Another object, or a process, that has a proxy.
#[derive(Default, Serialize, Deserialize)]
struct Shelf {
    guests: VecDeque<Proxy<Guest>>,
}

#[test]
fn an_object_lives_in_another_one() {
    watched("an_object_lives_in_another_one", || {
        let house = House::new();
        let shelf = house.manager.host(Shelf::default()).unwrap();
        let guest = house.guest();
        shelf.call(|shelf, guest| shelf.guests.push_back(guest), guest).unwrap();
        house.assert_still_there();
        let guest = shelf.call(|shelf, ()| shelf.guests.pop_front(), ()).unwrap().unwrap();
        house.assert_there(&guest);
        shelf.call(|shelf, guest| shelf.guests.push_back(guest), guest).unwrap();
        house.assert_still_there();
        shelf.call(|shelf, ()| shelf.guests.clear(), ()).unwrap();
        house.gone.wait().unwrap();

        let guest = house.guest();
        shelf.call(|shelf, guest| shelf.guests.push_back(guest), guest).unwrap();
        house.assert_still_there();
        drop(shelf);
        house.assert_gone();
    });
}

#[test]
fn a_dictionary_keeps_what_is_in_it() {
    watched("a_dictionary_keeps_what_is_in_it", || {
        let house = House::new();
        let dict: Dict<String, Proxy<Guest>> = house.manager.host(HashMap::new()).unwrap();
        dict.insert("guest".to_owned(), house.guest()).unwrap();
        house.assert_still_there();
        let guest = dict.get("guest").unwrap().unwrap();
        house.assert_there(&guest);
        drop(guest);
        house.assert_still_there();
        dict.call(|dict, ()| dict.clear(), ()).unwrap();
        house.gone.wait().unwrap();
        // A chain of objects goes link by link, however long.
        let last: Proxy<Shelf> = house.manager.host(Shelf::default()).unwrap();
        last.call(|shelf, guest| shelf.guests.push_back(guest), house.guest()).unwrap();
        let chain = (0..50).fold(last.clone(), |next, _| {
            let link = house.manager.host(Link { guests: None, next: None }).unwrap();
            link.call(|link, next| link.guests = Some(next), next).unwrap();
            let shelf = house.manager.host(Shelf::default()).unwrap();
            link.call(|link, shelf| link.next = Some(shelf), shelf.clone()).unwrap();
            shelf
        });
        drop((last, chain, dict));
        house.assert_gone();
    });
}

#[derive(Serialize, Deserialize)]
struct Link {
    guests: Option<Proxy<Shelf>>,
    next: Option<Proxy<Shelf>>,
}

fn greet((mut inn, rounds): (Connection<Nothing, Proxy<Guest>>, usize)) {
    for _ in 0..rounds {
        let guest = inn.recv().unwrap();
        assert!(guest.read(|guest, ()| !guest.gone.is_set(), ()).unwrap());
    }
}

#[test]
fn a_proxy_on_its_way_keeps_its_object_while_the_sender_drops_his() {
    const ROUNDS: usize = 1000;
    watched("a_proxy_on_its_way", || {
        let house = House::new();
        let (mut out, inn) = Pipe::simplex::<Proxy<Guest>>().unwrap();
        let child = Process::spawn(greet, (inn, ROUNDS)).unwrap();
        for _ in 0..ROUNDS {
            let (gone, count) = (Event::new().unwrap(), house.count.clone());
            out.send(house.manager.host_with(move_in, (gone, count)).unwrap()).unwrap();
        }
        child.join().unwrap();
        house.assert_empty();
    });
}

/// Descriptors, bytes of shared memory, and threads of this process.
fn footprint((): ()) -> [usize; 3] {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let length = |line: &str| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        address(to) - address(from)
    };
    let shared = maps.lines().filter(|line| line.contains("/memfd:multiproc")).map(length).sum();
    [open_fds(), shared, std::fs::read_dir("/proc/self/task").unwrap().count()]
}

fn round(house: &House) {
    let args = || (house.gone.clone(), house.count.clone());
    let guests: Vec<_> =
        (0..1000).map(|_| house.manager.host_with(move_in, args()).unwrap()).collect();
    assert_eq!(house.count.get().unwrap(), 1000);
    let half = Process::spawn(drop::<Vec<Proxy<Guest>>>, guests[..500].to_vec()).unwrap();
    half.join().unwrap();
    assert_eq!(house.count.get().unwrap(), 1000);
    drop(guests);
    house.assert_empty();
}

#[test]
fn a_thousand_objects_leave_nothing() {
    alone("a_thousand_objects", |()| {
        let house = House::new();
        round(&house);
        let both = || [footprint(()), house.manager.run(footprint, ()).unwrap()].concat();
        let before = both();
        for _ in 0..3 {
            round(&house);
            // A child's memory goes when its end was noticed.
            until(|| both().iter().zip(&before).all(|(now, before)| now <= before));
        }
        println!("here and there: {before:?}");
    });
}

/// Does with proxies what it is told by its dice, and ends well or not.
fn juggle((manager, mut line, seed): (ManagerClient, Connection<Load, Load>, u64)) {
    let (mut dice, mut mine) = (seed, Vec::new());
    let (gone, count) = line.recv().unwrap().fresh.unwrap();
    loop {
        match next(&mut dice) % 8 {
            0 | 1 => mine.push(manager.host_with(move_in, (gone.clone(), count.clone())).unwrap()),
            2 => drop(mine.pop()),
            3 => mine.extend(mine.first().cloned()),
            4 if mine.len() < 50 => {
                let _ = line.try_send(Load { fresh: None, guests: mine.clone() });
            }
            5 => mine.extend(line.try_recv().map_or_else(|_| Vec::new(), |load| load.guests)),
            6 => mine.truncate(5),
            _ if next(&mut dice).is_multiple_of(64) => die(),
            _ if next(&mut dice).is_multiple_of(64) => return,
            _ => mine.iter().for_each(|guest| {
                assert!(guest.read(|guest, ()| guest.count.get().unwrap() > 0, ()).unwrap());
            }),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Load {
    fresh: Option<(Event, Value<i64>)>,
    guests: Vec<Proxy<Guest>>,
}

#[test]
fn a_storm_of_proxies_leaves_no_object() {
    let first = seed();
    watched("a_storm_of_proxies", || {
        let house = House::new();
        for round in 0..5 * storms() as u64 {
            let (mut one, other) = Pipe::duplex().unwrap();
            let (mut two, another) = Pipe::duplex().unwrap();
            let fresh = || Some((house.gone.clone(), house.count.clone()));
            one.send(Load { fresh: fresh(), guests: Vec::new() }).unwrap();
            two.send(Load { fresh: fresh(), guests: Vec::new() }).unwrap();
            let spawn =
                |line, dice| Process::spawn(juggle, (house.manager.client(), line, dice)).unwrap();
            let children = [spawn(other, first + round), spawn(another, first ^ round)];
            // What one sends the other gets, by way of this process.
            until(|| {
                let _ = one.try_recv().map(|load| two.try_send(load).is_ok());
                let _ = two.try_recv().map(|load| one.try_send(load).is_ok());
                children.iter().all(|child| !child.is_alive())
            });
            children.into_iter().for_each(|child| assert!(is_expected(&child.join())));
            drop((one, two));
            house.assert_empty();
        }
    });
}

fn is_expected(end: &Result<(), multiproc::JoinError>) -> bool {
    end.as_ref().map_or_else(|end| end.signal() == Some(libc::SIGKILL), |()| true)
}
