//! A client of a manager, in a call.

use multiproc::{Dict, Manager, ManagerClient};

use crate::common::until;
use crate::stepping::{Fate, Gate, Operation, alone, begin, end};

type Counts = Dict<u32, u32>;

/// The server has nobody but this process as a client, and does what it is asked for.
fn is_well(manager: Manager, counts: &Counts) {
    until(|| manager.debug_info().unwrap().clients.iter().all(|pid| *pid == std::process::id()));
    assert_eq!(manager.debug_info().unwrap().objects.len(), 1);
    assert_eq!(counts.update(&0, |count, more| *count += more, 5).unwrap(), Some(()));
    assert_eq!(counts.get(&0).unwrap(), Some(12));
    manager.shutdown().unwrap();
}

fn make() -> (Counts, (Manager, Counts)) {
    let manager = Manager::start().unwrap();
    let counts = manager.dict_from([(0, 7)]).unwrap();
    (counts.clone(), (manager, counts))
}

#[test]
fn a_call() {
    fn victim((counts, gate): (Counts, Gate)) {
        assert_eq!(counts.get(&0).unwrap(), Some(7));
        begin(gate);
        assert_eq!(counts.insert(1, 1).unwrap(), None);
        end();
    }
    fn check((manager, counts): (Manager, Counts), fate: Fate) {
        until(|| manager.debug_info().unwrap().clients.len() == 1);
        let is_there = counts.contains_key(&1).unwrap();
        assert!(is_there || !fate.is_done());
        assert_eq!(counts.len().unwrap(), 1 + usize::from(is_there));
        is_well(manager, &counts);
    }
    alone("a_call", |()| Operation::new("manager: a call", make, victim, check).try_all());
}

/// With it comes the pipe, and a thread in the server.
#[test]
fn the_first_call() {
    fn victim((counts, gate): (Counts, Gate)) {
        begin(gate);
        assert_eq!(counts.remove(&1).unwrap(), None);
        end();
    }
    fn check((manager, counts): (Manager, Counts), _: Fate) {
        is_well(manager, &counts);
    }
    alone("the_first_call", |()| {
        Operation::new("manager: the first call", make, victim, check).try_all();
    });
}

/// The object goes with the dead.
#[test]
fn drop_of_the_last_proxy() {
    fn victim((manager, gate): (ManagerClient, Gate)) {
        let list = manager.list_from([1, 2, 3]).unwrap();
        begin(gate);
        drop(list);
        end();
    }
    fn check(manager: Manager, _: Fate) {
        until(|| manager.debug_info().unwrap().objects.is_empty());
        manager.shutdown().unwrap();
    }
    fn make() -> (ManagerClient, Manager) {
        let manager = Manager::start().unwrap();
        (manager.client(), manager)
    }
    alone("drop_of_the_last_proxy", |()| {
        Operation::new("manager: drop of the last proxy", make, victim, check).try_all();
    });
}
