//! Readiness as an fd: what a loop of `poll(2)` sees of things that have no fd.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "processes are forked")]

mod common;

use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use common::{alone, assert_killed, watched};
use multiproc::{
    Connection, ErrorKind, Event, Pipe, Plain, Pool, Process, Queue, Readiness, Semaphore, Waitable,
};

/// Which of the fds are readable within so many milliseconds; -1 is for ever.
fn poll(fds: &[&dyn AsFd], timeout: i32) -> Vec<bool> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let done = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    assert!(done >= 0);
    polled.iter().map(|fd| fd.revents != 0).collect()
}

fn is_readable<S: Waitable + Send>(readiness: &Readiness<S>) -> bool {
    poll(&[readiness], 0) == [true]
}

fn wait<S: Waitable + Send>(readiness: &Readiness<S>) {
    assert_eq!(poll(&[readiness], -1), [true]);
}

/// How many threads of this process are called so.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.flatten().filter(|found| found.trim() == name).count()
}

const LOOKOUT: &str = "multiproc-looko";

fn echo(mut connection: Connection<u64, u64>) {
    while let Ok(number) = connection.recv() {
        connection.send(number).unwrap();
    }
}

#[test]
fn an_fd_tells_of_messages_until_they_are_taken() {
    watched("an_fd_tells_of_messages", || {
        let (here, there) = Pipe::duplex::<u64, u64>().unwrap();
        let child = Process::spawn(echo, there).unwrap();
        let mut here = Readiness::new(here).unwrap();
        assert!(!is_readable(&here));
        for number in 0..200 {
            let mut connection = here.get().unwrap();
            (0..3).for_each(|_| connection.send(number).unwrap());
            drop(connection);
            let mut come = 0;
            while come < 3 {
                wait(&here);
                assert!(is_readable(&here), "it stays so");
                let mut connection = here.get().unwrap();
                // One at a time: what is left is told of again.
                match connection.try_recv() {
                    Ok(echoed) => assert_eq!(echoed, number),
                    Err(error) => panic!("{error}"),
                }
                come += 1;
            }
            assert!(!is_readable(&here));
        }
        let connection = here.into_inner().unwrap();
        drop(connection);
        child.join().unwrap();
    });
}

#[test]
fn the_end_of_a_peer_is_told() {
    watched("the_end_of_a_peer", || {
        let (here, there) = Pipe::duplex::<u64, u64>().unwrap();
        let child = Process::spawn(echo, there).unwrap();
        let mut here = Readiness::new(here).unwrap();
        child.kill().unwrap();
        wait(&here);
        assert!(here.get().unwrap().try_recv().unwrap_err().is_disconnected());
        assert!(is_readable(&here), "an end stays");
        assert_killed(child.join());
    });
}

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn one_thread_serves_all_kinds_and_ends_with_the_last() {
    alone("one_thread_serves_all", |()| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(square, 2).unwrap(), 4);
        assert_eq!(threads(LOOKOUT), 0);
        let before = common::open_fds();
        for _ in 0..3 {
            let queue = Queue::builder().codec::<Plain>().bounded::<u64>(4).unwrap();
            let (event, semaphore) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
            let mut other = queue.clone();
            let queue = Readiness::new(queue).unwrap();
            let mut set = Readiness::new(event.clone()).unwrap();
            let mut permits = Readiness::new(semaphore.clone()).unwrap();
            common::until(|| threads(LOOKOUT) == 1);
            assert_eq!(poll(&[&queue, &set, &permits], 20), [false; 3]);
            other.send(1).unwrap();
            assert_eq!(poll(&[&queue, &set, &permits], -1), [true, false, false]);
            event.set().unwrap();
            wait(&set);
            event.clear().unwrap();
            assert!(!set.get().unwrap().is_set());
            assert!(!is_readable(&set));
            semaphore.release().unwrap();
            wait(&permits);
            drop(permits.get().unwrap().try_acquire().unwrap().unwrap());
            assert!(is_readable(&permits), "the permit was given back");
            let task = Readiness::new(pool.submit(square, 3).unwrap()).unwrap();
            wait(&task);
            assert_eq!(task.into_inner().unwrap().get().unwrap(), 9);
            drop((queue, set));
            common::until(|| threads(LOOKOUT) == 1);
            drop(permits);
            common::until(|| threads(LOOKOUT) == 0);
        }
        assert_eq!(common::open_fds(), before);
    });
}

#[test]
fn what_is_dropped_is_closed_at_once() {
    watched("what_is_dropped_is_closed", || {
        let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
        let there = Readiness::new(there).unwrap();
        drop(there);
        assert!(here.try_recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn who_forgets_a_guard_is_told() {
    watched("who_forgets_a_guard", || {
        let mut event = Readiness::new(Event::new().unwrap()).unwrap();
        std::mem::forget(event.get().unwrap());
        assert_eq!(event.get().unwrap_err().kind(), ErrorKind::Misuse);
        drop(event);
    });
}

#[test]
fn what_cannot_be_waited_for_has_no_fd() {
    let (sender, _receiver) = Pipe::simplex::<u64>().unwrap();
    assert_eq!(Readiness::new(sender).unwrap_err().kind(), ErrorKind::Misuse);
}

fn send_all((mut queue, count): (Queue<u64, Plain>, u64)) {
    (0..count).for_each(|message| queue.send(message).unwrap());
}

/// Two loops and a plain receiver on one queue: every message is received once, and in the end
/// everybody hears of it.
#[test]
fn loops_and_receivers_share_a_queue() {
    watched("loops_and_receivers_share_a_queue", || {
        const COUNT: u64 = 3000;
        let queue = Queue::builder().codec::<Plain>().bounded::<u64>(8).unwrap();
        let child = Process::spawn(send_all, (queue.clone(), COUNT)).unwrap();
        let take = |queue: Queue<u64, Plain>| {
            let mut queue = Readiness::new(queue).unwrap();
            let mut taken = Vec::new();
            loop {
                wait(&queue);
                let mut queue = queue.get().unwrap();
                loop {
                    match queue.try_recv() {
                        Ok(message) => taken.push(message),
                        Err(error) if error.is_empty() => break,
                        Err(_) => return taken,
                    }
                }
            }
        };
        let mut all = thread::scope(|scope| {
            let mine = [queue.clone(), queue.clone()];
            let loops = mine.map(|queue| scope.spawn(move || take(queue)));
            let mut other = queue.clone();
            let receiver = scope.spawn(move || other.iter().collect::<Vec<u64>>());
            child.join().unwrap();
            common::until(|| queue.is_empty());
            queue.close();
            let taken = loops.into_iter().map(|taken| taken.join().unwrap());
            let taken: Vec<Vec<u64>> = taken.chain([receiver.join().unwrap()]).collect();
            println!("{:?}", taken.iter().map(Vec::len).collect::<Vec<_>>());
            taken.concat()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..COUNT));
    });
}

#[test]
fn hundreds_are_told_of() {
    watched("hundreds_are_told_of", || {
        let pipes = (0..200).map(|_| Pipe::simplex::<u64>().unwrap());
        let (mut senders, connections): (Vec<_>, Vec<_>) = pipes.unzip();
        let mut connections: Vec<_> =
            connections.into_iter().map(|one| Readiness::new(one).unwrap()).collect();
        for index in [0, 100, 127, 128, 199] {
            senders[index].send(index as u64).unwrap();
            let fds: Vec<&dyn AsFd> = connections.iter().map(|one| one as _).collect();
            let readable = poll(&fds, -1);
            assert!(readable.iter().enumerate().all(|(at, is)| *is == (at == index)));
            let message = connections[index].get().unwrap().try_recv().unwrap();
            assert_eq!(message, index as u64);
        }
    });
}

/// The thread is the parent's, and so is what it has.
#[test]
fn a_forked_copy_is_of_no_use_and_no_harm() {
    alone("a_forked_copy_is_of_no_use", |()| {
        let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
        let mut there = Readiness::new(there).unwrap();
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let is_refused = there.get().is_err_and(|error| error.kind() == ErrorKind::Forked);
            drop(there);
            unsafe { libc::_exit(i32::from(!is_refused)) };
        }
        let mut status = -1;
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
        here.send(7).unwrap();
        wait(&there);
        assert_eq!(there.get().unwrap().try_recv().unwrap(), 7);

        let inherited = Readiness::new(Event::new().unwrap()).unwrap();
        let child = unsafe {
            Process::fork(move || {
                let mut inherited = inherited;
                let is_refused = inherited.get().is_err();
                drop(inherited);
                // One of its own has a thread of its own.
                let event = Event::new().unwrap();
                let mut mine = Readiness::new(event.clone()).unwrap();
                event.set().unwrap();
                wait(&mine);
                is_refused && mine.get().unwrap().is_set()
            })
        }
        .unwrap();
        assert!(child.join().unwrap());
    });
}
