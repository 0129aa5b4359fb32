//! Waiting for the first of several things: each kind, all of them together, and who else waits.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "processes are forked")]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{alone, assert_killed, die, storms, watched};
use multiproc::{
    Connection, ErrorKind, Event, Nothing, Pipe, Plain, Pool, Process, Queue, Readable, Receiver,
    Semaphore, Sender, Waitable, wait_any, wait_any_of,
};

const FOR_EVER: Duration = Duration::MAX;

/// Longer than a sleep that nobody ends.
const A_WHILE: Duration = Duration::from_millis(250);

/// Whether this one is ready, at a look.
fn is_ready(source: &mut dyn Waitable) -> bool {
    let ready = wait_any(&mut [source], Duration::ZERO).unwrap();
    assert!(ready.is_empty() || ready == [0]);
    !ready.is_empty()
}

fn wait(source: &mut dyn Waitable) {
    assert_eq!(wait_any(&mut [source], FOR_EVER).unwrap(), [0]);
}

fn stay(stop: Event) {
    stop.wait().unwrap();
}

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn a_connection_is_ready_with_a_message_and_at_its_end() {
    watched("a_connection_is_ready", || {
        let (mut here, mut there) = Pipe::duplex::<String, u64>().unwrap();
        assert!(!is_ready(&mut here) && !is_ready(&mut there));
        here.send("hello".to_owned()).unwrap();
        wait(&mut there);
        assert!(is_ready(&mut there), "it only looks");
        assert_eq!(there.recv().unwrap(), "hello");
        assert!(!is_ready(&mut there));
        drop(here);
        wait(&mut there);
        assert!(there.recv().unwrap_err().is_disconnected());

        let (mut here, mut there) = Pipe::builder().plain().slots(2).simplex::<u64>().unwrap();
        assert!(!is_ready(&mut there));
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait(&mut there));
            here.send(7).unwrap();
            waits.join().unwrap();
        });
        assert_eq!(there.recv().unwrap(), 7);
        assert!(!is_ready(&mut there));
    });
}

/// The pipe holds a part of it alone, so the look has to make room.
#[test]
fn a_message_longer_than_its_pipe_is_ready_when_it_is_whole() {
    watched("a_message_longer_than_its_pipe", || {
        let (mut here, mut there) = Pipe::builder().capacity(256).simplex::<String>().unwrap();
        let long = "long".repeat(100_000);
        thread::scope(|scope| {
            scope.spawn(|| here.send(long.clone()).unwrap());
            wait(&mut there);
            assert_eq!(there.try_recv().unwrap(), long);
        });
    });
}

#[test]
fn a_queue_is_ready_with_a_message_and_at_its_end() {
    fn check<C: multiproc::Codec<u64>>(mut queue: Queue<u64, C>) {
        assert!(!is_ready(&mut queue));
        let mut other = queue.clone();
        for round in 0..100 {
            other.send(round).unwrap();
            wait(&mut queue);
            assert!(is_ready(&mut queue) && is_ready(&mut other), "it only looks");
            assert_eq!(queue.recv().unwrap(), round);
            assert!(!is_ready(&mut queue) && !is_ready(&mut other));
        }
        (0..100).for_each(|round| assert!(other.try_send(round).is_ok() || queue.is_full()));
        while is_ready(&mut queue) {
            queue.try_recv().unwrap();
        }
        assert!(queue.is_empty());
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait(&mut queue));
            other.close();
            waits.join().unwrap();
        });
        assert!(queue.recv().unwrap_err().is_disconnected());
    }
    watched("a_queue_is_ready", || {
        check(Queue::bounded(3).unwrap());
        check(Queue::unbounded().unwrap());
        check(Queue::builder().codec::<Plain>().bounded(3).unwrap());
        check(Queue::builder().redeliver(true).bounded(3).unwrap());
        let (sender, mut receiver) = Queue::<()>::builder().channel::<u64>(1).unwrap();
        assert!(!is_ready(&mut receiver));
        drop(sender);
        wait(&mut receiver);
    });
}

fn die_with_a_message(mut queue: Receiver<u64>) {
    let _message = queue.recv_guard().unwrap();
    die();
}

#[test]
fn a_message_of_a_dead_receiver_is_ready_for_the_next() {
    watched("a_message_of_a_dead_receiver", || {
        let queue = Queue::builder().redeliver(true).channel::<u64>(4).unwrap();
        let (mut sender, mut receiver) = queue;
        sender.send(7).unwrap();
        let child = Process::spawn(die_with_a_message, receiver.try_clone().unwrap()).unwrap();
        assert_killed(child.join());
        wait(&mut receiver);
        assert_eq!(receiver.try_recv().unwrap(), 7);
        assert!(!is_ready(&mut receiver));
    });
}

#[test]
fn an_event_is_ready_when_it_is_set_or_was_meanwhile() {
    watched("an_event_is_ready", || {
        let mut event = Event::new().unwrap();
        assert!(!is_ready(&mut event));
        event.set().unwrap();
        assert!(is_ready(&mut event));
        event.clear().unwrap();
        assert!(!is_ready(&mut event));
        // No set is lost, however short.
        let pulse = event.clone();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    pulse.set().unwrap();
                    pulse.clear().unwrap();
                    thread::yield_now();
                }
            });
            (0..100).for_each(|_| wait(&mut event));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn a_semaphore_is_ready_when_it_has_a_permit() {
    watched("a_semaphore_is_ready", || {
        let mut semaphore = Semaphore::new(1).unwrap();
        wait(&mut semaphore);
        let other = semaphore.clone();
        let permit = other.acquire().unwrap();
        assert!(!is_ready(&mut semaphore));
        drop(permit);
        wait(&mut semaphore);
        other.acquire().unwrap().forget();
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait(&mut semaphore));
            other.release().unwrap();
            waits.join().unwrap();
        });
        assert_eq!(semaphore.available(), 1, "it only looks");
    });
}

#[test]
fn a_process_is_ready_when_it_has_ended() {
    watched("a_process_is_ready", || {
        let stop = Event::new().unwrap();
        let mut children = [(); 3].map(|()| Process::spawn(stay, stop.clone()).unwrap());
        assert_eq!(wait_any_of(&mut children, Duration::ZERO).unwrap(), []);
        children[1].kill().unwrap();
        assert_eq!(wait_any_of(&mut children, FOR_EVER).unwrap(), [1]);
        stop.set().unwrap();
        let mut ready = Vec::new();
        while ready.len() < 3 {
            ready = wait_any_of(&mut children, FOR_EVER).unwrap();
        }
        assert_eq!(ready, [0, 1, 2]);
        let [first, second, mut third] = children;
        first.join().unwrap();
        assert_killed(second.join());
        assert!(third.join_timeout(Duration::ZERO).unwrap().is_some());
        assert!(is_ready(&mut third), "to join it once more does not wait either");
    });
}

#[test]
fn a_task_is_ready_when_it_is_over_and_its_callbacks_have_run() {
    watched("a_task_is_ready", || {
        let pool = Pool::new(1).unwrap();
        let mut task = pool.submit(square, 3).unwrap();
        wait(&mut task);
        assert_eq!(task.get().unwrap(), 9);
        let mut task = pool.submit(square, 4).unwrap();
        let (called, calls) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        task.on_done(move |_| {
            called.send(()).unwrap();
            gone.recv().unwrap();
        });
        calls.recv().unwrap();
        assert_eq!(wait_any(&mut [&mut task], Duration::from_millis(20)).unwrap(), []);
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait(&mut task));
            go.send(()).unwrap();
            waits.join().unwrap();
        });
        assert_eq!(task.get().unwrap(), 16);
        let mut tasks: Vec<_> = (0..50).map(|n| pool.submit(square, n).unwrap()).collect();
        let mut sum = 0;
        while !tasks.is_empty() {
            for index in wait_any_of(&mut tasks, FOR_EVER).unwrap().into_iter().rev() {
                sum += tasks.swap_remove(index).get().unwrap();
            }
        }
        assert_eq!(sum, (0..50).map(square).sum());
    });
}

#[test]
fn an_fd_is_ready_when_it_is_readable() {
    watched("an_fd_is_ready", || {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("door");
        let mut listener = Readable(UnixListener::bind(&place).unwrap());
        assert!(!is_ready(&mut listener));
        let mut client = UnixStream::connect(&place).unwrap();
        wait(&mut listener);
        let (served, _) = listener.0.accept().unwrap();
        assert!(!is_ready(&mut Readable(&served)));
        client.write_all(b"!").unwrap();
        wait(&mut Readable(&served));
        assert_eq!((&served).read(&mut [0; 8]).unwrap(), 1);
        assert!(!is_ready(&mut Readable(&served)));
        drop(client);
        wait(&mut Readable(&served));
    });
}

/// One of each, none of which is ready.
struct All {
    sender: Connection<u64, Nothing>,
    connection: Connection<Nothing, u64>,
    queue: Queue<u64>,
    event: Event,
    semaphore: Semaphore,
    stop: Event,
    process: Process<()>,
    gate: Event,
    task: multiproc::Task<()>,
    _pool: Pool,
    client: UnixStream,
    stream: UnixStream,
}

impl All {
    fn new() -> Self {
        let (sender, connection) = Pipe::simplex().unwrap();
        let (stop, gate) = (Event::new().unwrap(), Event::new().unwrap());
        let process = Process::spawn(stay, stop.clone()).unwrap();
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(stay, gate.clone()).unwrap();
        let (client, stream) = UnixStream::pair().unwrap();
        let (event, semaphore) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
        let queue = Queue::bounded(4).unwrap();
        Self {
            sender,
            connection,
            queue,
            event,
            semaphore,
            stop,
            process,
            gate,
            task,
            _pool: pool,
            client,
            stream,
        }
    }

    fn wait(&mut self, has_fd: bool, timeout: Duration) -> Vec<usize> {
        let Self { connection, queue, event, semaphore, process, task, stream, .. } = self;
        let mut stream = Readable(&*stream);
        let mut sources: Vec<&mut dyn Waitable> =
            vec![connection, queue, event, semaphore, process, task];
        if has_fd {
            sources.push(&mut stream);
        }
        wait_any(&mut sources, timeout).unwrap()
    }

    /// Makes the one of this index ready.
    fn poke(&mut self, index: usize) {
        match index {
            0 => self.sender.send(1).unwrap(),
            1 => self.queue.send(1).unwrap(),
            2 => self.event.set().unwrap(),
            3 => self.semaphore.release().unwrap(),
            4 => self.stop.set().unwrap(),
            5 => self.gate.set().unwrap(),
            _ => self.client.write_all(b"!").unwrap(),
        }
    }
}

/// Looks until a thread of this process sleeps in the kernel.
fn until_asleep(thread: libc::pid_t) {
    common::until(|| {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    });
}

/// Does something after the caller has gone to sleep.
fn soon(what: impl FnOnce() + Send) -> impl FnOnce() + Send {
    let sleeper = unsafe { libc::gettid() };
    move || {
        until_asleep(sleeper);
        what();
    }
}

#[test]
fn whatever_comes_ends_a_wait_for_everything() {
    watched("whatever_comes", || {
        for has_fd in [false, true] {
            for index in 0..6 + usize::from(has_fd) {
                let mut all = All::new();
                assert_eq!(all.wait(has_fd, Duration::ZERO), []);
                assert_eq!(all.wait(has_fd, Duration::from_millis(2)), []);
                let (mut sender, mut queue) = (None, all.queue.clone());
                if index == 0 {
                    let (other, connection) = Pipe::simplex().unwrap();
                    (sender, all.connection) = (Some(other), connection);
                }
                let (event, semaphore) = (all.event.clone(), all.semaphore.clone());
                let (stop, gate) = (all.stop.clone(), all.gate.clone());
                let mut client = all.client.try_clone().unwrap();
                let poke = soon(move || match index {
                    0 => sender.as_mut().unwrap().send(1).unwrap(),
                    1 => queue.send(1).unwrap(),
                    2 => event.set().unwrap(),
                    3 => semaphore.release().unwrap(),
                    4 => stop.set().unwrap(),
                    5 => gate.set().unwrap(),
                    _ => client.write_all(b"!").unwrap(),
                });
                thread::scope(|scope| {
                    scope.spawn(poke);
                    // A pipe whose other end is dropped is ready all the same.
                    assert_eq!(all.wait(has_fd, FOR_EVER), [index], "{has_fd}");
                });
            }
        }
    });
}

#[test]
fn all_that_are_ready_are_told_in_order() {
    watched("all_that_are_ready", || {
        let mut all = All::new();
        let mut told = Vec::new();
        for index in [5, 1, 6, 3, 0, 2, 4] {
            all.poke(index);
            told.push(index);
            told.sort_unstable();
            // Two of them come from other processes, and take their time.
            common::until(|| all.wait(true, FOR_EVER) == told);
        }
        assert_eq!(all.connection.recv().unwrap(), 1);
        assert_eq!(all.wait(true, FOR_EVER), [1, 2, 3, 4, 5, 6]);
    });
}

/// What this thread has used so far: its CPU time, and how often it went to sleep.
fn used() -> (Duration, u64) {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = times.split_whitespace().next().unwrap().parse().unwrap();
    (Duration::from_nanos(nanos), sleeps.unwrap().trim().parse().unwrap())
}

#[test]
fn a_wait_for_nothing_ends_in_time_and_takes_no_cpu() {
    watched("a_wait_for_nothing", || {
        let mut all = All::new();
        for has_fd in [false, true] {
            let (before, start) = (used(), Instant::now());
            assert_eq!(all.wait(has_fd, Duration::from_secs(1)), []);
            assert!(start.elapsed() >= Duration::from_secs(1));
            let after = used();
            // Ten sleeps by the backstop, each with some fences and a helper or two.
            assert!(after.1 - before.1 < 100, "{} sleeps", after.1 - before.1);
            let cpu = after.0 - before.0;
            assert!(cpu < Duration::from_millis(50), "{cpu:?} of CPU");
        }
    });
}

#[test]
fn a_look_takes_nothing_and_does_not_wait() {
    watched("a_look", || {
        let mut all = All::new();
        let before = used();
        for _ in 0..100 {
            assert_eq!(all.wait(false, Duration::ZERO), []);
        }
        let sleeps = used().1 - before.1;
        assert!(sleeps < 50, "{sleeps} sleeps in a hundred looks");
    });
}

/// How many threads this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_wait_leaves_no_file_and_no_thread_behind() {
    alone("a_wait_leaves_nothing_behind", |()| {
        let mut all = All::new();
        let pipes = (0..200).map(|_| Pipe::simplex::<u64>().unwrap());
        let (_senders, mut connections): (Vec<_>, Vec<_>) = pipes.unzip();
        let (mut client, stream) = UnixStream::pair().unwrap();
        let (mut before, mut stream) = (None, Readable(stream));
        for round in 0..20 {
            assert_eq!(all.wait(true, Duration::from_millis(3)), []);
            assert_eq!(wait_any_of(&mut connections, Duration::from_millis(3)).unwrap(), []);
            let mut sources: Vec<&mut dyn Waitable> =
                connections.iter_mut().map(|connection| connection as _).collect();
            sources.push(&mut stream);
            thread::scope(|scope| {
                scope.spawn(soon(|| client.write_all(b"!").unwrap()));
                assert_eq!(wait_any(&mut sources, FOR_EVER).unwrap(), [200]);
            });
            assert_eq!((&stream.0).read(&mut [0; 8]).unwrap(), 1);
            if round == 0 {
                before = Some((common::open_fds(), threads()));
            }
        }
        // A thread that was waited for may be seen for a moment.
        let before = before.unwrap();
        assert_eq!(common::open_fds(), before.0);
        common::until(|| threads() <= before.1);
    });
}

#[test]
fn nothing_to_wait_for_is_not_waited_for() {
    assert_eq!(wait_any(&mut [], FOR_EVER).unwrap(), []);
    assert_eq!(wait_any_of::<Event>(&mut [], FOR_EVER).unwrap(), []);
}

#[test]
fn wrong_use_says_what_is_wrong_and_with_which() {
    watched("wrong_use", || {
        let mut event = Event::new().unwrap();
        let (mut sender, _receiver) = Pipe::simplex::<u64>().unwrap();
        let error = wait_any(&mut [&mut event, &mut sender], FOR_EVER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        let text = error.to_string();
        assert!(text.starts_with("source 1: ") && text.contains("only sends"), "{text}");

        let queue = Queue::builder().handles(1).bounded::<u64>(1).unwrap();
        let mut none = queue.clone();
        let error = wait_any(&mut [&mut none], FOR_EVER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().starts_with("source 0: "), "{error}");
    });
}

fn hold_for_ever((peer, told): (Connection<u64, u64>, Event)) {
    told.set().unwrap();
    stay(Event::new().unwrap());
    drop(peer);
}

fn kill_a_grandchild((peer, told): (Connection<u64, u64>, Event)) {
    let child = Process::spawn(hold_for_ever, (peer, told.clone())).unwrap();
    told.wait().unwrap();
    child.kill().unwrap();
    // The child of another process: whoever waits finds out by itself, or by its parent.
    assert_killed(child.join());
}

#[test]
fn a_peer_that_is_killed_is_the_end_of_its_connection() {
    watched("a_peer_that_is_killed", || {
        for is_child in [true, false] {
            let mut event = Event::new().unwrap();
            let told = Event::new().unwrap();
            let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
            let function = if is_child { hold_for_ever } else { kill_a_grandchild };
            let child = Process::spawn(function, (there, told.clone())).unwrap();
            told.wait().unwrap();
            if is_child {
                assert_eq!(wait_any(&mut [&mut event, &mut here], Duration::ZERO).unwrap(), []);
                child.kill().unwrap();
            }
            assert_eq!(wait_any(&mut [&mut event, &mut here], FOR_EVER).unwrap(), [1]);
            assert!(here.recv().unwrap_err().is_disconnected());
            drop(child);
        }
    });
}

fn watch_and_take((mut queue, mut event, mut results): (Receiver<u64>, Event, Sender<u64>)) -> u64 {
    let mut count = 0;
    loop {
        wait_any(&mut [&mut event, &mut queue], FOR_EVER).unwrap();
        match queue.try_recv() {
            Ok(message) => {
                count += 1;
                results.send(message).unwrap();
            }
            Err(error) if error.is_empty() => {}
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                return count;
            }
        }
    }
}

fn receive_all((mut queue, mut results): (Receiver<u64>, Sender<u64>)) -> u64 {
    let mut count = 0;
    while let Ok(message) = queue.recv() {
        count += 1;
        results.send(message).unwrap();
    }
    count
}

/// Watches and leaves what it sees to others.
fn watch_only((mut queue, mut event): (Receiver<u64>, Event)) {
    while !event.is_set() {
        wait_any(&mut [&mut event, &mut queue], FOR_EVER).unwrap();
    }
}

/// Messages one at a time, so that a wake that is lost costs a tenth of a second; and in heaps.
#[test]
fn nobody_sleeps_beside_a_message() {
    watched("nobody_sleeps_beside_a_message", || {
        let (mut sender, receiver) = Queue::<u64>::channel(64).unwrap();
        let (result, mut results) = Queue::<u64>::channel(64).unwrap();
        let stop = Event::new().unwrap();
        let watchers = [(); 2].map(|()| {
            let job = (receiver.try_clone().unwrap(), stop.clone(), result.try_clone().unwrap());
            Process::spawn(watch_and_take, job).unwrap()
        });
        let job = (receiver.try_clone().unwrap(), stop.clone());
        let idler = Process::spawn(watch_only, job).unwrap();
        let receivers = [(); 2].map(|()| {
            let job = (receiver.try_clone().unwrap(), result.try_clone().unwrap());
            Process::spawn(receive_all, job).unwrap()
        });
        drop((receiver, result));
        let (mut sent, mut stalls) = (0, 0);
        let end = Instant::now() + Duration::from_secs(3) * storms() as u32;
        let mut state = common::seed();
        while Instant::now() < end {
            let heap = if common::next(&mut state).is_multiple_of(4) { 50 } else { 1 };
            let start = Instant::now();
            (sent..sent + heap).for_each(|message| sender.send(message).unwrap());
            let mut came: Vec<u64> = (0..heap).map(|_| results.recv().unwrap()).collect();
            stalls += u64::from(start.elapsed() >= Duration::from_millis(95));
            came.sort_unstable();
            assert!(came.into_iter().eq(sent..sent + heap));
            sent += heap;
        }
        stop.set().unwrap();
        drop(sender);
        idler.join().unwrap();
        let counts: Vec<u64> =
            watchers.into_iter().chain(receivers).map(|child| child.join().unwrap()).collect();
        println!("{sent} messages, {stalls} stalls, taken by {counts:?}");
        assert_eq!(counts.iter().sum::<u64>(), sent);
        // A lost wake is hidden by the backstop, but takes its time. A busy machine may stall too.
        assert!(stalls <= 5, "{stalls} rounds of {sent} messages took the backstop");
    });
}

fn acquire_in_turns((semaphore, mut turns): (Semaphore, Connection<(), ()>)) {
    while turns.recv().is_ok() {
        turns.send(()).unwrap();
        semaphore.acquire().unwrap().forget();
        turns.send(()).unwrap();
    }
}

/// Who sleeps longest is woken, and that is one who does not want the permit.
#[test]
fn a_permit_that_was_only_looked_at_wakes_the_next() {
    watched("a_permit_that_was_only_looked_at", || {
        let semaphore = Semaphore::unowned(0).unwrap();
        let (mut turns, theirs) = Pipe::duplex::<(), ()>().unwrap();
        let child = Process::spawn(acquire_in_turns, (semaphore.clone(), theirs)).unwrap();
        let mut stalls = 0;
        for _ in 0..20 {
            let mut looked_at = semaphore.clone();
            thread::scope(|scope| {
                let (told, tell) = mpsc::channel();
                let looks = scope.spawn(move || {
                    told.send(unsafe { libc::gettid() }).unwrap();
                    wait(&mut looked_at);
                });
                until_asleep(tell.recv().unwrap());
                turns.send(()).unwrap();
                turns.recv().unwrap();
                common::wait_until_asleep(child.pid());
                let start = Instant::now();
                semaphore.release().unwrap();
                turns.recv().unwrap();
                stalls += u32::from(start.elapsed() >= Duration::from_millis(95));
                semaphore.release().unwrap();
                looks.join().unwrap();
                semaphore.acquire().unwrap().forget();
            });
        }
        drop(turns);
        child.join().unwrap();
        assert!(stalls <= 5, "{stalls} of 20 permits took the backstop");
    });
}

#[test]
fn hundreds_are_waited_for() {
    watched("hundreds_are_waited_for", || {
        let pipes = (0..300).map(|_| Pipe::simplex::<u64>().unwrap());
        let (mut senders, mut connections): (Vec<_>, Vec<_>) = pipes.unzip();
        let mut event = Event::new().unwrap();
        assert_eq!(wait_any_of(&mut connections, Duration::from_millis(150)).unwrap(), []);
        for index in [0, 62, 63, 126, 127, 128, 200, 299] {
            let sender = &mut senders[index];
            thread::scope(|scope| {
                scope.spawn(soon(move || sender.send(index as u64).unwrap()));
                assert_eq!(wait_any_of(&mut connections, FOR_EVER).unwrap(), [index]);
            });
            assert_eq!(connections[index].recv().unwrap(), index as u64);
        }
        let mut sources: Vec<&mut dyn Waitable> =
            connections.iter_mut().map(|connection| connection as _).collect();
        sources.push(&mut event);
        let (mut client, stream) = UnixStream::pair().unwrap();
        let mut stream = Readable(stream);
        sources.push(&mut stream);
        thread::scope(|scope| {
            scope.spawn(soon(move || client.write_all(b"!").unwrap()));
            assert_eq!(wait_any(&mut sources, FOR_EVER).unwrap(), [301]);
        });
        drop(sources);
        drop(senders);
        let all: Vec<usize> = (0..300).collect();
        assert_eq!(wait_any_of(&mut connections, FOR_EVER).unwrap(), all);
    });
}

#[test]
fn a_forked_copy_waits_for_what_is_its_own() {
    alone("a_forked_copy", |()| {
        let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
        let (queue, mut event) = (Queue::<u64>::bounded(2).unwrap(), Event::new().unwrap());
        let (mut queue, mut theirs, mut queued, mut set) =
            (queue.clone(), there, queue, event.clone());
        let child = unsafe {
            Process::fork(move || {
                let mut come = Vec::new();
                while come.len() < 3 {
                    come = wait_any(&mut [&mut theirs, &mut queued, &mut set], FOR_EVER).unwrap();
                }
                theirs.recv().unwrap() + queued.recv().unwrap()
            })
        }
        .unwrap();
        here.send(40).unwrap();
        queue.send(2).unwrap();
        event.set().unwrap();
        assert_eq!(child.join().unwrap(), 42);
        assert_eq!(wait_any(&mut [&mut event, &mut here], FOR_EVER).unwrap(), [0, 1]);

        // Behind this crate's back, nothing is inherited.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let sources: [&mut dyn Waitable; 2] = [&mut event, &mut here];
            let is_refused = sources.into_iter().all(|source| {
                let waited = wait_any(&mut [source], FOR_EVER);
                waited.is_err_and(|error| error.kind() == ErrorKind::Forked)
            });
            unsafe { libc::_exit(i32::from(!is_refused)) };
        }
        let mut status = -1;
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
    });
}

#[test]
fn a_wait_of_several_threads_for_one_event_ends_for_all() {
    watched("a_wait_of_several_threads", || {
        let event = Event::new().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (mut mine, mut again) = (event.clone(), event.clone());
                scope.spawn(move || {
                    // Twice the same is no harm.
                    let ready = wait_any(&mut [&mut mine, &mut again], FOR_EVER).unwrap();
                    assert_eq!(ready, [0, 1]);
                });
            }
            assert_eq!(wait_any_of(&mut [event.clone()], A_WHILE).unwrap(), []);
            event.set().unwrap();
        });
    });
}
