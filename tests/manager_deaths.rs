//! The server, or one of its clients, is killed or stopped, at named points and at random ones:
//! nobody hangs, and what goes on is whole.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    alone, assert_killed, die, ends_within, next, open_fds, pidfd, seed, storms, until, watched,
};
use multiproc::{
    Connection, Error, ErrorKind, Event, Lock, LockError, Manager, ManagerClient, Nothing, Pipe,
    Process, Proxy, Semaphore, Value,
};
use serde::{Deserialize, Serialize};

/// How long a process may take to end, which is less than the watchdog takes to bite.
const PATIENCE: Duration = Duration::from_secs(50);

#[derive(Debug, Serialize, Deserialize)]
struct Counter {
    begun: u64,
    done: u64,
}

impl Counter {
    fn hosted(manager: &ManagerClient) -> Proxy<Self> {
        manager.host(Self { begun: 0, done: 0 }).unwrap()
    }

    fn add(&mut self, (): ()) -> u64 {
        self.begun += 1;
        std::hint::black_box(&mut *self);
        self.done += 1;
        self.done
    }

    fn both(&self, (): ()) -> (u64, u64) {
        (self.begun, self.done)
    }

    fn wait(&mut self, (begun, go_on): (Event, Event)) {
        begun.set().unwrap();
        go_on.wait().unwrap();
    }

    fn watch(&self, (begun, go_on): (Event, Event)) {
        begun.set().unwrap();
        go_on.wait().unwrap();
    }
}

fn send_signal(pid: u32, signal: i32) {
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// Stops a process, and returns when it has stopped.
fn stop(pid: u32) {
    send_signal(pid, libc::SIGSTOP);
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    });
}

fn kind<R>(result: multiproc::Result<R>) -> ErrorKind {
    result.map_or_else(|error: Error| error.kind(), |_| panic!("it went well"))
}

/// Calls until it goes wrong: how, and how often it went well. The first are told of.
fn call_on((counter, mut line): (Proxy<Counter>, Connection<(), Nothing>)) -> (ErrorKind, u64) {
    let mut calls = 0;
    loop {
        match counter.call(Counter::add, ()) {
            Ok(_) => calls += 1,
            Err(error) => return (error.kind(), calls),
        }
        if calls == 10 {
            line.send(()).unwrap();
        }
    }
}

fn wait_in((counter, begun, go_on): (Proxy<Counter>, Event, Event)) -> ErrorKind {
    kind(counter.read(Counter::watch, (begun, go_on)))
}

#[test]
fn every_caller_hears_of_the_servers_death() {
    watched("every_caller_hears", || {
        let manager = Manager::start().unwrap();
        let counter = Counter::hosted(&manager);
        let (mut lines, mut children) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (there, here) = Pipe::simplex::<()>().unwrap();
            children.push(Process::spawn(call_on, (counter.clone(), there)).unwrap());
            lines.push(here);
        }
        lines.iter_mut().for_each(|line| line.recv().unwrap());
        let slow = Counter::hosted(&manager);
        let (begun, go_on) = (Event::new().unwrap(), Event::new().unwrap());
        let args = (slow.clone(), begun.clone(), go_on.clone());
        let sibling = Process::spawn(wait_in, args).unwrap();
        begun.wait().unwrap();
        begun.clear().unwrap();
        let calls = thread::scope(|scope| {
            let inside = scope.spawn(|| kind(slow.read(Counter::watch, (begun.clone(), go_on))));
            begun.wait().unwrap();
            let behind = scope.spawn(|| kind(slow.call(Counter::add, ())));
            send_signal(manager.pid(), libc::SIGKILL);
            let start = Instant::now();
            let kinds = [inside.join().unwrap(), behind.join().unwrap(), sibling.join().unwrap()];
            assert_eq!(kinds, [ErrorKind::Disconnected; 3]);
            for child in children {
                let (kind, calls) = child.join().unwrap();
                assert!(kind == ErrorKind::Disconnected && calls >= 10);
            }
            start.elapsed()
        });
        println!("all heard of it within {calls:?}");
        assert_eq!(manager.shutdown().unwrap_err().kind(), ErrorKind::Disconnected);
    });
}

fn hold(proxy: Proxy<Counter>) -> Proxy<Counter> {
    assert_eq!(kind(proxy.call(Counter::add, ())), ErrorKind::Disconnected);
    proxy
}

#[test]
fn what_is_left_of_a_dead_server_can_be_held() {
    watched("what_is_left_of_a_dead_server", || {
        let manager = Manager::start().unwrap();
        let (counter, new) = (Counter::hosted(&manager), Counter::hosted(&manager));
        let dead = pidfd(manager.pid());
        send_signal(manager.pid(), libc::SIGKILL);
        assert!(ends_within(dead.as_fd(), PATIENCE));
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(kind(counter.call(Counter::add, ())), ErrorKind::Disconnected);
            assert_eq!(kind(manager.host(1_u8)), ErrorKind::Disconnected);
            assert_eq!(kind(manager.debug_info()), ErrorKind::Disconnected);
            assert_eq!(kind(manager.lock()), ErrorKind::Disconnected);
        }
        println!("400 calls of a dead server take {:?}", start.elapsed());
        assert!(format!("{counter:?} {manager:?}").contains("Counter"));
        assert!(counter == counter.clone() && counter != new);
        let back = Process::spawn(hold, counter.clone()).unwrap().join().unwrap();
        assert_eq!(back, counter);
        let (mut out, mut inn) = Pipe::simplex().unwrap();
        out.send((back, manager.client())).unwrap();
        let (back, client) = inn.recv().unwrap();
        assert_eq!(back.id(), counter.id());
        assert_eq!(client, manager.client());
        until(|| !manager.is_alive());
        let again = Manager::start().unwrap();
        let living = Counter::hosted(&again);
        assert_eq!(living.call(Counter::add, ()).unwrap(), 1);
        assert_ne!(living, counter);
        assert_eq!(kind(back.call(Counter::add, ())), ErrorKind::Disconnected);
    });
}

/// Calls, and counts what went well where a death leaves it, a little late at the most.
fn work((counter, counted, seed): (Proxy<Counter>, Value<u64>, u64)) {
    let mut dice = seed;
    let threads = next(&mut dice) % 4 + 1;
    let until_death = AtomicUsize::new(next(&mut dice) as usize % 2000);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    if until_death.fetch_sub(1, Relaxed) == 0 {
                        die();
                    }
                    counter.call(Counter::add, ()).unwrap();
                    counted.update(|counted| *counted += 1).unwrap();
                }
            });
        }
    });
}

#[test]
fn clients_die_in_the_middle_of_calls() {
    fn body((): ()) {
        let first = seed();
        let manager = Manager::start().unwrap();
        let counter = Counter::hosted(&manager);
        let footprint = || (manager.run(|()| open_fds(), ()).unwrap(), threads(&manager));
        let (before, mut counted_all) = (footprint(), 0);
        for round in 0..10 * storms() as u64 {
            let counted = Value::new(0_u64).unwrap();
            let mut dice = first.wrapping_add(round << 32);
            let spawn = |_| {
                let args = (counter.clone(), counted.clone(), next(&mut dice));
                Process::spawn(work, args).unwrap()
            };
            let workers: Vec<_> = (0..3).map(spawn).collect();
            // One is killed from outside, at whatever instruction.
            until(|| counted.get().unwrap() > next(&mut dice) % 500);
            let _ = workers[0].kill();
            workers.into_iter().for_each(|worker| assert_killed(worker.join()));
            until(|| manager.debug_info().unwrap().clients.len() == 1);
            let (begun, done) = counter.read(Counter::both, ()).unwrap();
            assert_eq!(begun, done);
            counted_all += counted.get().unwrap();
            // Each thread had one call under way, or done and not counted.
            let at_most = counted_all + (round + 1) * 12;
            assert!((counted_all..=at_most).contains(&done), "{counted_all} <= {done}");
        }
        until(|| footprint() <= before);
        assert_eq!(manager.debug_info().unwrap().objects[0].holders, 1);
    }
    alone("clients_die", body);
}

fn threads(manager: &ManagerClient) -> usize {
    manager.run(|()| std::fs::read_dir("/proc/self/task").unwrap().count(), ()).unwrap()
}

type Locks = (Lock, Semaphore);

/// Has what a hosted object has, in the middle of a call.
fn hold_and_wait((locks, begun): (Proxy<Locks>, Event)) {
    let (lock, semaphore) = locks.read(|locks, ()| locks.clone(), ()).unwrap();
    let _guard = lock.lock().unwrap();
    let _permit = semaphore.acquire().unwrap();
    let wait = |_: &Locks, (begun, for_ever): (Event, Event)| {
        begun.set().unwrap();
        let _ = for_ever.wait_timeout(Duration::from_millis(100));
    };
    let for_ever = Event::new().unwrap();
    loop {
        locks.read(wait, (begun.clone(), for_ever.clone())).unwrap();
    }
}

#[test]
fn what_the_dead_client_held_is_free() {
    watched("what_the_dead_client_held", || {
        let manager = Manager::start().unwrap();
        let made = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
        let locks = manager.host(made.clone()).unwrap();
        let begun = Event::new().unwrap();
        let child = Process::spawn(hold_and_wait, (locks.clone(), begun.clone())).unwrap();
        begun.wait().unwrap();
        assert!(made.0.is_locked() && made.1.available() == 0);
        child.kill().unwrap();
        assert_killed(child.join());
        // Here, and in the server.
        assert!(matches!(made.0.lock(), Err(LockError::OwnerDied { .. })));
        made.0.clear_poison();
        let take = |locks: &Locks, ()| {
            drop(locks.0.lock().unwrap());
            drop(locks.1.acquire().unwrap());
        };
        locks.read(take, ()).unwrap();
    });
}

/// Calls for what is longer than its pipe, and tells when it begins.
fn call_for_much((counter, begun): (Proxy<Counter>, Event)) -> usize {
    let much = |_: &Counter, begun: Event| {
        begun.set().unwrap();
        vec![7_u8; 8 << 20]
    };
    counter.read(much, begun).unwrap().len()
}

#[test]
fn a_stopped_client_is_in_nobodys_way() {
    watched("a_stopped_client", || {
        let manager = Manager::start().unwrap();
        let counter = Counter::hosted(&manager);
        for kills in [false, true] {
            let begun = Event::new().unwrap();
            let child = Process::spawn(call_for_much, (counter.clone(), begun.clone())).unwrap();
            begun.wait().unwrap();
            stop(child.pid());
            for _ in 0..100 {
                counter.call(Counter::add, ()).unwrap();
            }
            if kills {
                child.kill().unwrap();
                // It may have had its answer.
                let _ = child.join();
            } else {
                send_signal(child.pid(), libc::SIGCONT);
                assert_eq!(child.join().unwrap(), 8 << 20);
            }
            until(|| manager.debug_info().unwrap().clients.len() == 1);
        }
    });
}

#[test]
fn a_stopped_server_lets_bounded_calls_go() {
    watched("a_stopped_server", || {
        let manager = Manager::start().unwrap();
        let counter = Counter::hosted(&manager);
        let hurried = counter.with_timeout(Duration::from_millis(20));
        assert_eq!(counter.call(Counter::add, ()).unwrap(), 1);
        stop(manager.pid());
        for _ in 0..5 {
            assert_eq!(kind(hurried.call(Counter::add, ())), ErrorKind::Timeout);
        }
        let hurried_client = manager.with_timeout(Duration::from_millis(20));
        assert_eq!(kind(hurried_client.run(|()| (), ())), ErrorKind::Timeout);
        assert_eq!(kind(hurried_client.host(1_u8)), ErrorKind::Timeout);
        // As many as the door has room for, and more.
        for _ in 0..400 {
            let none = counter.with_timeout(Duration::ZERO);
            assert_eq!(kind(none.call(Counter::add, ())), ErrorKind::Timeout);
        }
        send_signal(manager.pid(), libc::SIGCONT);
        // No answer is one to another question.
        let numbers: Vec<_> = (0..50).map(|n| manager.run(|n| n + 1, n).unwrap()).collect();
        assert_eq!(numbers, (1..51).collect::<Vec<_>>());
        until(|| manager.debug_info().unwrap().clients.len() == 1);
        // What was asked for in vain may be done; each at most once.
        let (begun, done) = counter.read(Counter::both, ()).unwrap();
        assert!(begun == done && (1..=406).contains(&done), "{done}");
        assert_eq!(counter.call(Counter::add, ()).unwrap(), done + 1);
    });
}

#[test]
fn a_late_answer_is_nobodys() {
    watched("a_late_answer", || {
        let manager = Manager::start().unwrap();
        let counter = Counter::hosted(&manager);
        let hurried = counter.with_timeout(Duration::from_millis(20));
        for n in 0..20 {
            let (begun, go_on) = (Event::new().unwrap(), Event::new().unwrap());
            let wait = hurried.call(Counter::wait, (begun, go_on.clone()));
            assert_eq!(kind(wait), ErrorKind::Timeout);
            go_on.set().unwrap();
            assert_eq!(counter.call(Counter::add, ()).unwrap(), n + 1);
        }
    });
}

fn stop_or_go((counter, mut line): (Proxy<Counter>, Connection<u64, Nothing>)) -> u64 {
    loop {
        match counter.call(Counter::add, ()) {
            Ok(number) => drop(line.try_send(number)),
            Err(error) if error.kind() == ErrorKind::Disconnected => return 1,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_storm_of_servers_leaves_no_caller_behind() {
    let first = seed();
    watched("a_storm_of_servers", || {
        let mut dice = first;
        for _ in 0..10 * storms() {
            let manager = Manager::start().unwrap();
            let counter = Counter::hosted(&manager);
            let (mut lines, mut children) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                let (there, here) = Pipe::simplex::<u64>().unwrap();
                children.push(Process::spawn(stop_or_go, (counter.clone(), there)).unwrap());
                lines.push(here);
            }
            let calls = next(&mut dice) % 3000;
            for _ in 0..calls {
                counter.call(Counter::add, ()).unwrap();
            }
            if calls.is_multiple_of(2) {
                // All of them are in the middle of something.
                lines.iter_mut().for_each(|line| assert!(line.recv().unwrap() > 0));
            }
            send_signal(manager.pid(), libc::SIGKILL);
            assert_eq!(kind(until_error(&counter)), ErrorKind::Disconnected);
            children.into_iter().for_each(|child| assert_eq!(child.join().unwrap(), 1));
        }
    });
}

/// Opens files until there can be no more. How many.
fn hoard(files: &mut Vec<File>, (): ()) -> usize {
    let few = libc::rlimit { rlim_cur: 100, rlim_max: 1000 };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    files.len()
}

fn count(files: Proxy<Vec<File>>) -> Result<usize, (ErrorKind, String)> {
    files.read(|files, ()| files.len(), ()).map_err(|error| (error.kind(), error.to_string()))
}

/// Its clients heard that it was gone.
#[test]
fn a_server_that_can_open_no_more_files_says_so() {
    watched("a_server_that_can_open_no_more_files_says_so", || {
        let manager = Manager::start().unwrap();
        let files = manager.host_with(|()| Vec::new(), ()).unwrap();
        let many = files.call(hoard, ()).unwrap();
        let ask = || Process::spawn(count, files.clone()).unwrap().join().unwrap();
        for _ in 0..3 {
            let (kind, text) = ask().unwrap_err();
            println!("{text}");
            assert_eq!(kind, ErrorKind::Limit, "{text}");
            assert!(text.contains("its server") && text.ends_with("(os error 24)"), "{text}");
        }
        // Whoever has a pipe goes on, and afterwards everybody does.
        assert_eq!(count(files.clone()), Ok(many));
        files.call(|files, ()| files.clear(), ()).unwrap();
        assert_eq!(ask(), Ok(0));
        // Those who are told are told the truth: this one is gone.
        manager.shutdown().unwrap();
        assert_eq!(ask().unwrap_err().0, ErrorKind::Disconnected);
    });
}

fn until_error(counter: &Proxy<Counter>) -> multiproc::Result<()> {
    loop {
        counter.call(Counter::add, ())?;
    }
}

/// Makes a manager and an orphan that uses it, says who they are, and waits for its death.
fn parent(mut out: Connection<[u32; 2], Nothing>) {
    let manager = Manager::start().unwrap();
    let counter = Counter::hosted(&manager);
    let child = Process::builder().daemon(false).spawn(orphan, counter.clone()).unwrap();
    out.send([manager.pid(), child.pid()]).unwrap();
    until_error(&counter).unwrap();
}

fn orphan(counter: Proxy<Counter>) {
    assert_eq!(kind(until_error(&counter)), ErrorKind::Disconnected);
}

#[test]
fn the_server_ends_with_its_owner() {
    watched("the_server_ends_with_its_owner", || {
        let (there, mut here) = Pipe::simplex().unwrap();
        let process = Process::spawn(parent, there).unwrap();
        let ends = here.recv().unwrap().map(pidfd);
        process.kill().unwrap();
        assert!(ends.iter().all(|end| ends_within(end.as_fd(), PATIENCE)));
        assert_killed(process.join());
    });
}
