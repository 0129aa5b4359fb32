//! Calls within calls: objects that call others, themselves and one another, and what begins or
//! ends a manager where it is least expected.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "forks and kills")]

mod common;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use common::{alone, ends_within, next, pidfd, seed, storms, until, watched};
use multiproc::{
    Barrier, CONNECTIONS_MAX, ErrorKind, Event, Manager, ManagerClient, Pool, Process, Proxy, Value,
};
use serde::{Deserialize, Serialize};

/// An object that knows others.
#[derive(Default, Serialize, Deserialize)]
struct Node {
    number: u64,
    others: Vec<Proxy<Node>>,
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Way {
    Call,
    Read,
}

impl Node {
    fn hosted(manager: &ManagerClient) -> Proxy<Self> {
        manager.host_with(|()| Self::default(), ()).unwrap()
    }

    fn know(&mut self, other: Proxy<Self>) {
        self.others.push(other);
    }

    fn forget(&mut self, (): ()) {
        self.others.clear();
    }

    fn add(&mut self, (): ()) -> u64 {
        self.number += 1;
        self.number
    }

    fn number(&self, (): ()) -> u64 {
        self.number
    }

    /// Passes through all that follow one another, each in its own way, meeting others on the first
    /// one. The number of the last.
    fn pass(&self, (ways, meeting): Walk) -> Result<u64, ErrorKind> {
        if let Some(meeting) = meeting {
            meeting.wait().unwrap();
        }
        let Some((way, rest)) = ways.split_first() else { return Ok(self.number) };
        go(&self.others[0], *way, (rest.to_vec(), None))
    }

    fn pass_and_change(&mut self, walk: Walk) -> Result<u64, ErrorKind> {
        let passed = self.pass(walk);
        self.number += 1;
        passed
    }
}

type Walk = (Vec<Way>, Option<Barrier>);

fn go(node: &Proxy<Node>, way: Way, walk: Walk) -> Result<u64, ErrorKind> {
    let passed = match way {
        Way::Call => node.call(Node::pass_and_change, walk),
        Way::Read => node.read(Node::pass, walk),
    };
    passed.unwrap_or_else(|error| Err(error.kind()))
}

/// Objects each of which knows the next one, and the last one the first.
fn circle(manager: &ManagerClient, length: usize) -> Vec<Proxy<Node>> {
    let nodes: Vec<_> = (0..length).map(|_| Node::hosted(manager)).collect();
    for (at, node) in nodes.iter().enumerate() {
        node.call(Node::know, nodes[(at + 1) % length].clone()).unwrap();
    }
    nodes
}

#[test]
fn an_object_calls_another_in_place() {
    watched("an_object_calls_another", || {
        let manager = Manager::start().unwrap();
        let nodes = circle(&manager, 4);
        nodes[3].call(Node::add, ()).unwrap();
        for way in [Way::Call, Way::Read] {
            let number = nodes[3].read(Node::number, ()).unwrap();
            assert_eq!(go(&nodes[0], way, (vec![way; 3], None)), Ok(number));
        }
        // No call went over a pipe, where it would have been a client's.
        assert_eq!(manager.debug_info().unwrap().clients, [std::process::id()]);
    });
}

#[test]
fn an_object_that_calls_itself_hears_of_it() {
    watched("an_object_that_calls_itself", || {
        let manager = Manager::start().unwrap();
        for length in 1..4 {
            let nodes = circle(&manager, length);
            for first in [Way::Call, Way::Read] {
                for last in [Way::Call, Way::Read] {
                    let ways = [vec![Way::Call; length - 1], vec![last]].concat();
                    assert_eq!(go(&nodes[0], first, (ways, None)), Err(ErrorKind::Deadlock));
                }
            }
            let error = nodes[0].call(Node::call_first, ()).unwrap().unwrap();
            assert!(length > 1 || error.contains("Node"), "{error}");
            // It heard of it as a value, and went on.
            nodes.iter().for_each(|node| assert!(node.call(Node::add, ()).unwrap() > 0));
        }
    });
}

impl Node {
    fn call_first(&mut self, (): ()) -> Option<String> {
        Some(self.others[0].call(Node::add, ()).err().map_or_else(String::new, |e| e.to_string()))
    }
}

/// As many clients as there are objects go around the circle at once, from an object each.
fn go_around(nodes: &[Proxy<Node>], ways: &[Vec<Way>]) -> Vec<Result<u64, ErrorKind>> {
    let meeting = Barrier::new(ways.len()).unwrap();
    thread::scope(|scope| {
        let clients: Vec<_> = ways
            .iter()
            .enumerate()
            .map(|(at, ways)| {
                let (meeting, node) = (meeting.clone(), &nodes[at % nodes.len()]);
                scope.spawn(move || go(node, ways[0], (ways[1..].to_vec(), Some(meeting))))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn circles_end_with_one_deadlock_at_least() {
    use Way::{Call, Read};
    watched("circles_end", || {
        let manager = Manager::start().unwrap();
        for length in [2, 3] {
            let nodes = circle(&manager, length);
            for _ in 0..200 * storms() {
                let ends = go_around(&nodes, &vec![vec![Call, Call]; length]);
                let is_deadlock = |end: &&Result<u64, _>| **end == Err(ErrorKind::Deadlock);
                // Each is in one object when it goes on, so one at least must give up.
                assert!(ends.iter().filter(is_deadlock).count() >= 1, "{ends:?}");
                assert!(ends.iter().all(|end| end.is_ok() || is_deadlock(&end)), "{ends:?}");
            }
            // A reader in each, who wants to change the next.
            for _ in 0..200 {
                let ends = go_around(&nodes, &vec![vec![Read, Call]; length]);
                assert!(ends.contains(&Err(ErrorKind::Deadlock)), "{ends:?}");
            }
            // Those who only look are in nobody's way.
            for _ in 0..200 {
                let ends = go_around(&nodes, &vec![vec![Read, Read]; length]);
                assert!(ends.iter().all(Result::is_ok), "{ends:?}");
            }
        }
    });
}

#[test]
fn who_waits_in_no_circle_has_no_deadlock() {
    watched("who_waits_in_no_circle", || {
        let manager = Manager::start().unwrap();
        let nodes = [(); 3].map(|()| Node::hosted(&manager));
        // Both go through the last one, which goes nowhere.
        for node in &nodes[..2] {
            node.call(Node::know, nodes[2].clone()).unwrap();
        }
        thread::scope(|scope| {
            for (at, way) in [(0, Way::Call), (1, Way::Call), (0, Way::Read), (1, Way::Read)] {
                let node = &nodes[at];
                scope.spawn(move || {
                    for _ in 0..500 {
                        assert!(go(node, way, (vec![Way::Call], None)).is_ok());
                    }
                });
            }
        });
        assert_eq!(nodes[2].read(Node::number, ()).unwrap(), 2000);
    });
}

/// One is in the first object and looks at the second, one looks at the second and wants to be in
/// the first: they make no circle, whoever wants to change the second meanwhile. That one had the
/// reader behind it wait, and a reader that had just got in was still taken for one that waits.
#[test]
fn readers_that_meet_make_no_circle() {
    use Way::{Call, Read};
    watched("readers_that_meet", || {
        let manager = Manager::start().unwrap();
        let nodes = circle(&manager, 2);
        thread::scope(|scope| {
            let pairs = [(0, vec![Call, Read]), (1, vec![Read, Call])];
            for (at, ways) in [pairs.clone(), pairs, [(); 2].map(|()| (1, vec![Call]))].concat() {
                let node = &nodes[at];
                scope.spawn(move || {
                    for _ in 0..1000 * storms() {
                        let passed = go(node, ways[0], (ways[1..].to_vec(), None));
                        assert!(passed.is_ok(), "{ways:?}: {passed:?}");
                    }
                });
            }
        });
    });
}

#[test]
fn circles_of_readers_and_writers_end() {
    watched("circles_of_readers_and_writers", || {
        let first = seed();
        let (manager, mut dice) = (Manager::start().unwrap(), first);
        let mut ends_of = [0_usize; 2];
        for length in [2, 3, 4] {
            let nodes = circle(&manager, length);
            for _ in 0..100 * storms() {
                thread::scope(|scope| {
                    let clients: Vec<_> = (0..4)
                        .map(|_| {
                            let at = next(&mut dice) as usize % length;
                            let steps = next(&mut dice) as usize % length + 1;
                            let mut way = || [Way::Call, Way::Read][next(&mut dice) as usize % 2];
                            let ways: Vec<_> = (0..steps).map(|_| way()).collect();
                            let node = &nodes[at];
                            scope.spawn(move || go(node, ways[0], (ways[1..].to_vec(), None)))
                        })
                        .collect();
                    for client in clients {
                        match client.join().unwrap() {
                            Ok(_) => ends_of[0] += 1,
                            Err(kind) => {
                                assert_eq!(kind, ErrorKind::Deadlock);
                                ends_of[1] += 1;
                            }
                        }
                    }
                });
            }
            nodes.iter().for_each(|node| assert!(node.call(Node::add, ()).unwrap() > 0));
        }
        println!("{} calls went through, {} would have waited for ever", ends_of[0], ends_of[1]);
    });
}

#[test]
fn objects_call_objects_of_another_manager() {
    watched("objects_of_another_manager", || {
        let (one, other) = (Manager::start().unwrap(), Manager::start().unwrap());
        let (here, there) = (Node::hosted(&one), Node::hosted(&other));
        there.call(Node::add, ()).unwrap();
        here.call(Node::know, there.clone()).unwrap();
        assert_eq!(go(&here, Way::Call, (vec![Way::Call], None)), Ok(1));
        assert_eq!(there.read(Node::number, ()).unwrap(), 2);
        assert_eq!(one.run(Node::number_of, there.clone()).unwrap(), 2);
        // An object is there as long as one in another manager's server has a proxy.
        drop(there);
        assert_eq!(other.debug_info().unwrap().objects.len(), 1);
        assert_eq!(go(&here, Way::Read, (vec![Way::Read], None)), Ok(2));
        here.call(Node::forget, ()).unwrap();
        until(|| other.debug_info().unwrap().objects.is_empty());

        let there = Node::hosted(&other);
        here.call(Node::know, there).unwrap();
        other.shutdown().unwrap();
        let end = go(&here, Way::Call, (vec![Way::Call], None));
        assert_eq!(end, Err(ErrorKind::Disconnected));
        assert_eq!(here.call(Node::add, ()).unwrap(), 3);
    });
}

impl Node {
    fn number_of(node: Proxy<Self>) -> u64 {
        node.read(Self::number, ()).unwrap()
    }
}

/// A panic in an object that another one calls is an error there, as it is everywhere.
fn survive((node, manager): (Proxy<Node>, ManagerClient)) -> [ErrorKind; 2] {
    let panics = |_: &mut Node, ()| -> u64 { panic!("in place") };
    let runs = manager.run(|()| -> u64 { panic!("in the server") }, ()).unwrap_err();
    [node.call(panics, ()).unwrap_err().kind(), runs.kind()]
}

#[test]
fn a_panic_in_place_is_an_error() {
    watched("a_panic_in_place", || {
        let manager = Manager::start().unwrap();
        let args = (Node::hosted(&manager), manager.client());
        assert_eq!(manager.run(survive, args.clone()).unwrap(), [ErrorKind::Worker; 2]);
        assert_eq!(survive(args), [ErrorKind::Worker; 2]);
    });
}

fn add_to(node: Proxy<Node>) -> u64 {
    node.call(Node::add, ()).unwrap()
}

fn add_and_give_back((node, n): (Proxy<Node>, u64)) -> Proxy<Node> {
    (0..n).for_each(|_| assert!(add_to(node.clone()) > 0));
    node
}

/// A manager in a task: its objects are called by the task alone, or go with it.
fn with_manager(node: Proxy<Node>) -> (u64, Proxy<Node>) {
    let manager = Manager::start().unwrap();
    let mine = Node::hosted(&manager);
    (add_to(mine.clone()) + add_to(mine.clone()) + add_to(node), mine)
}

#[test]
fn proxies_go_to_tasks_and_come_back() {
    watched("proxies_go_to_tasks", || {
        let manager = Manager::start().unwrap();
        let node = Node::hosted(&manager);
        let pool = Pool::new(2).unwrap();
        let nodes = pool.map(add_and_give_back, (0..20).map(|n| (node.clone(), n))).unwrap();
        assert!(nodes.iter().all(|back| *back == node));
        assert_eq!(node.read(Node::number, ()).unwrap(), 190);
        let (number, dead) = pool.apply(with_manager, node.clone()).unwrap();
        assert_eq!(number, 1 + 2 + 191);
        assert_eq!(dead.call(Node::add, ()).unwrap_err().kind(), ErrorKind::Disconnected);
        assert_eq!(add_to(node), 192);
    });
}

impl Node {
    fn start_others(&mut self, (): ()) -> u64 {
        let other = self.others[0].clone();
        let child = Process::spawn(add_to, other.clone()).unwrap().join().unwrap();
        let pool = Pool::new(2).unwrap();
        let tasks: u64 = pool.map(add_to, vec![other; 3]).unwrap().into_iter().sum();
        let (inner, _) = with_manager(self.others[0].clone());
        self.number = child + tasks + inner;
        self.number
    }
}

#[test]
fn a_hosted_function_starts_processes_pools_and_managers() {
    watched("a_hosted_function_starts", || {
        let manager = Manager::start().unwrap();
        let nodes = circle(&manager, 2);
        let sum = nodes[0].call(Node::start_others, ()).unwrap();
        assert_eq!(sum, 1 + (2 + 3 + 4) + (1 + 2 + 5));
        manager.shutdown().unwrap();
    });
}

/// In a forked copy of a server, until it is killed.
fn fork_in_server(event: Event) -> u32 {
    let child = unsafe {
        Process::fork(move || {
            event.set().unwrap();
            loop {
                thread::park();
            }
        })
    };
    let child: Process<()> = child.unwrap();
    let pid = child.pid();
    std::mem::forget(child);
    pid
}

#[test]
fn a_forked_child_of_a_server_does_not_keep_it_alive() {
    watched("a_forked_child_of_a_server", || {
        let manager = Manager::start().unwrap();
        let node = Node::hosted(&manager);
        let event = Event::new().unwrap();
        let child = pidfd(manager.run(fork_in_server, event.clone()).unwrap());
        event.wait().unwrap();
        assert_eq!(add_to(node.clone()), 1);
        unsafe { libc::kill(manager.pid() as i32, libc::SIGKILL) };
        thread::scope(|scope| {
            // On the pipe that there is, and on new ones.
            for node in [&node; 4] {
                let call = || node.call(Node::add, ()).map_err(|error| error.kind());
                scope.spawn(move || until(|| call() == Err(ErrorKind::Disconnected)));
            }
        });
        assert!(ends_within(child.as_fd(), Duration::from_secs(5)));
    });
}

#[test]
fn a_forked_client_has_proxies_of_its_own() {
    fn body((): ()) {
        let manager = Manager::start().unwrap();
        let node = Node::hosted(&manager);
        assert_eq!(add_to(node.clone()), 1);
        let both = (node.clone(), manager.client());
        let child = unsafe {
            Process::fork(|| {
                assert!(add_to(both.0.clone()) > 1);
                let new = Node::hosted(&both.1);
                assert_eq!(add_to(new.clone()), 1);
                drop(both);
                new
            })
        }
        .unwrap();
        // On the parent's own pipe, at the same time.
        (0..100).for_each(|_| assert!(add_to(node.clone()) > 1));
        let new = child.join().unwrap();
        assert_eq!(add_to(new), 2);
        assert_eq!(node.read(Node::number, ()).unwrap(), 102);
        until(|| manager.debug_info().unwrap().objects.len() == 1);
        // A copy that ends, well or not, ends no server.
        let copies = [|| (), || std::process::exit(0), || common::die()];
        for copy in copies {
            let _ = unsafe { Process::fork(copy) }.unwrap().join();
            assert!(add_to(node.clone()) > 102);
        }
        drop(node);
        until(|| manager.debug_info().unwrap().objects.is_empty());
        manager.shutdown().unwrap();
    }
    alone("a_forked_client", body);
}

/// What a fork copies without anybody's passing it on.
static KEPT: Mutex<Option<(Manager, Proxy<Node>)>> = Mutex::new(None);

/// Takes what the parent keeps, and drops the last that this copy has of it.
fn drop_kept() -> ErrorKind {
    let (manager, node) = KEPT.lock().unwrap().take().unwrap();
    drop(node);
    manager.shutdown().unwrap_err().kind()
}

#[test]
fn a_forked_copy_takes_nothing_from_its_parent() {
    fn body((): ()) {
        let manager = Manager::start().unwrap();
        let node = Node::hosted(&manager);
        *KEPT.lock().unwrap() = Some((manager, node));
        for turn in 1..4 {
            let add =
                |kept: &Option<(Manager, Proxy<Node>)>| add_to(kept.as_ref().unwrap().1.clone());
            assert_eq!(add(&KEPT.lock().unwrap()), turn);
            let child = unsafe { Process::fork(drop_kept) }.unwrap();
            assert_eq!(child.join().unwrap(), ErrorKind::Forked);
        }
        let (manager, _node) = KEPT.lock().unwrap().take().unwrap();
        manager.shutdown().unwrap();
    }
    alone("a_forked_copy", body);
}

#[test]
fn handles_are_keys() {
    watched("handles_are_keys", || {
        let managers = [(); 2].map(|()| Manager::start().unwrap());
        let nodes: Vec<_> = managers.iter().map(|manager| Node::hosted(manager)).collect();
        let seen = managers[0].set().unwrap();
        // Of the same number, but of different managers.
        assert_eq!(nodes[0].id(), nodes[1].id());
        for node in &nodes {
            assert!(!seen.contains(node).unwrap());
            assert!(seen.insert(node.clone()).unwrap());
            assert!(!seen.insert(node.clone()).unwrap());
        }
        assert!(seen.snapshot().unwrap().contains(&nodes[1]));
    });
}

/// Waits until it is told to go on, after it counted who waits.
fn queue_up(_: &Node, (count, go_on): (Value<usize>, Event)) {
    count.update(|count| *count += 1).unwrap();
    go_on.wait().unwrap();
}

/// As many calls as there can be, and some more; then `end`, which lets them go.
fn fill(manager: Manager, end: impl FnOnce(Manager, &Event)) {
    let node = Node::hosted(&manager);
    let (count, go_on) = (Value::new(0_usize).unwrap(), Event::new().unwrap());
    thread::scope(|scope| {
        for args in (0..CONNECTIONS_MAX).map(|_| (count.clone(), go_on.clone())) {
            let node = &node;
            scope.spawn(move || {
                let end = node.read(queue_up, args).map_err(|error| error.kind());
                assert!(end.is_ok() || end == Err(ErrorKind::Disconnected), "{end:?}");
            });
        }
        until(|| count.get().unwrap() == CONNECTIONS_MAX);
        for _ in 0..3 {
            let error = node.call(Node::add, ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
            assert_eq!(manager.host(1_u8).unwrap_err().kind(), ErrorKind::Limit);
        }
        end(manager, &go_on);
    });
}

#[test]
fn too_many_calls_at_once_are_refused() {
    fn body((): ()) {
        fill(Manager::start().unwrap(), |manager, go_on| {
            go_on.set().unwrap();
            // Pipes that nobody uses are given up.
            until(|| manager.debug_info().is_ok_and(|info| info.clients.len() <= 17));
            assert_eq!(add_to(Node::hosted(&manager)), 1);
            manager.shutdown().unwrap();
        });
        // It hears that it is to end, full as it is.
        let gone = Value::new(0_u64).unwrap();
        let manager = Manager::start().unwrap();
        let _object = manager.host_with(parting, (Ending::Well, gone.clone())).unwrap();
        fill(manager, |manager, _| manager.shutdown().unwrap());
        assert_eq!(gone.get().unwrap(), 1);
    }
    alone("too_many_calls", body);
}

#[test]
fn a_manager_has_as_many_pipes_as_it_was_told() {
    watched("a_manager_has_as_many_pipes_as_it_was_told", || {
        for most in [0, CONNECTIONS_MAX + 1] {
            let error = Manager::builder().connections(most).start().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        }
        let manager = Manager::builder().connections(1).start().unwrap();
        let (inside, go_on) = (Event::new().unwrap(), Event::new().unwrap());
        let one = thread::spawn({
            let (client, events) = (manager.client(), (inside.clone(), go_on.clone()));
            move || {
                let wait = |(inside, go_on): (Event, Event)| {
                    inside.set().unwrap();
                    go_on.wait().unwrap();
                };
                client.run(wait, events)
            }
        });
        inside.wait().unwrap();
        assert_eq!(manager.debug_info().unwrap_err().kind(), ErrorKind::Limit);
        go_on.set().unwrap();
        one.join().unwrap().unwrap();
        assert_eq!(manager.debug_info().unwrap().clients.len(), 1);
    });
}

/// Something that is dropped in its own way.
#[derive(Serialize, Deserialize)]
struct Parting {
    way: Ending,
    gone: Value<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize, PartialEq)]
enum Ending {
    Well,
    Panic,
    Hang,
}

fn parting((way, gone): (Ending, Value<u64>)) -> Parting {
    Parting { way, gone }
}

impl Drop for Parting {
    fn drop(&mut self) {
        self.gone.update(|gone| *gone += 1).unwrap();
        assert!(self.way != Ending::Panic, "as it is dropped");
        if self.way == Ending::Hang {
            loop {
                thread::park();
            }
        }
    }
}

#[test]
fn a_shutdown_drops_what_there_is() {
    watched("a_shutdown_drops", || {
        for (ways, is_explicit) in [
            (vec![Ending::Well; 3], true),
            (vec![Ending::Well; 3], false),
            (vec![Ending::Well, Ending::Panic, Ending::Well], true),
            (vec![Ending::Well, Ending::Well, Ending::Hang], true),
            (vec![Ending::Well, Ending::Well, Ending::Hang], false),
        ] {
            let manager = Manager::start().unwrap();
            let end = pidfd(manager.pid());
            let gone = Value::new(0_u64).unwrap();
            let host = |way| manager.host_with(parting, (way, gone.clone())).unwrap();
            let objects: Vec<_> = ways.iter().map(|way| host(*way)).collect();
            if is_explicit {
                let is_killed = ways.contains(&Ending::Hang);
                let error = manager.shutdown().err().map(|error| error.kind());
                assert_eq!(error, is_killed.then_some(ErrorKind::Disconnected));
            } else {
                drop(manager);
            }
            assert!(ends_within(end.as_fd(), Duration::ZERO), "it is over when this returns");
            assert_eq!(gone.get().unwrap(), 3);
            drop(objects);
        }
    });
}

#[test]
fn an_object_that_panics_as_it_is_dropped_keeps_no_other_one() {
    watched("an_object_that_panics_as_it_is_dropped", || {
        let manager = Manager::start().unwrap();
        let gone = Value::new(0_u64).unwrap();
        for _ in 0..3 {
            drop(manager.host_with(parting, (Ending::Panic, gone.clone())).unwrap());
            drop(manager.host_with(parting, (Ending::Well, gone.clone())).unwrap());
        }
        until(|| gone.get().unwrap() == 6 && manager.debug_info().unwrap().objects.is_empty());
        manager.shutdown().unwrap();
    });
}

#[test]
fn a_shutdown_ends_calls() {
    watched("a_shutdown_ends_calls", || {
        for is_explicit in [true, false] {
            let manager = Manager::start().unwrap();
            let node = Node::hosted(&manager);
            let (begun, for_ever) = (Event::new().unwrap(), Event::new().unwrap());
            let wait = |_: &mut Node, (begun, for_ever): (Event, Event)| {
                begun.set().unwrap();
                for_ever.wait().unwrap();
            };
            thread::scope(|scope| {
                let args = (begun.clone(), for_ever.clone());
                let inside = scope.spawn(|| node.call(wait, args).unwrap_err().kind());
                begun.wait().unwrap();
                let behind = scope.spawn(|| node.call(Node::add, ()).unwrap_err().kind());
                if is_explicit {
                    manager.shutdown().unwrap();
                } else {
                    drop(manager);
                }
                let kinds = [inside.join().unwrap(), behind.join().unwrap()];
                assert_eq!(kinds, [ErrorKind::Disconnected; 2]);
            });
        }
    });
}

#[test]
fn a_panic_past_a_manager_ends_it() {
    watched("a_panic_past_a_manager", || {
        let unwinds = || {
            let manager = Manager::start().unwrap();
            let (node, pid) = (Node::hosted(&manager), pidfd(manager.pid()));
            assert_eq!(add_to(node.clone()), 1);
            std::panic::resume_unwind(Box::new((node, pid)));
        };
        let payload = std::panic::catch_unwind(unwinds).unwrap_err();
        let (node, end) = *payload.downcast::<(Proxy<Node>, std::os::fd::OwnedFd)>().unwrap();
        assert!(ends_within(end.as_fd(), Duration::ZERO));
        assert_eq!(node.call(Node::add, ()).unwrap_err().kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn managers_are_many_and_know_their_own() {
    watched("managers_are_many", || {
        let managers: Vec<_> = (0..6).map(|_| Manager::start().unwrap()).collect();
        let nodes: Vec<_> = managers.iter().map(|manager| Node::hosted(manager)).collect();
        for (times, node) in nodes.iter().enumerate() {
            (0..times).for_each(|_| assert!(add_to(node.clone()) > 0));
        }
        let back = Process::spawn(|nodes: Vec<Proxy<Node>>| nodes, nodes.clone()).unwrap().join();
        assert_eq!(back.unwrap(), nodes);
        let numbers: BTreeSet<_> = nodes.iter().map(|node| Node::number_of(node.clone())).collect();
        assert_eq!(numbers, (0..6).collect());
    });
}
