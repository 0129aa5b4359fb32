//! P3, P4: nothing is left behind, nothing is spent on waiting, and a message costs no system call.
#![allow(unsafe_code, reason = "tests look at the kernel")]

mod common;

use std::fs;
use std::time::Duration;

use common::{until, watched};
use multiproc::{Connection, ErrorKind, Nothing, Pipe, Plain, Process, Queue};

/// Tests of this file count what the whole process has, so they take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn in_turn(name: &'static str, test: impl FnOnce()) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    watched(name, test);
}

fn open_fds() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A number of kB from `/proc/self/status`.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn answer(mut both: Connection<u64, u64>) {
    while let Ok(value) = both.recv() {
        both.send(value + 1).unwrap();
    }
}

#[test]
fn a_thousand_pipes_leave_nothing() {
    in_turn("a_thousand_pipes_leave_nothing", || {
        drop(Pipe::duplex::<u64, u64>().unwrap());
        let (fds, maps, memory) = (open_fds(), mappings(), status("RssShmem"));
        for _ in 0..3 {
            let mut pipes: Vec<_> =
                (0..1000).map(|_| Pipe::duplex::<u64, u64>().unwrap()).collect();
            for (here, there) in &mut pipes {
                here.send(1).unwrap();
                assert_eq!(there.recv().unwrap(), 1);
            }
            drop(pipes);
        }
        // The newest arena is kept for the next object: one fd, one mapping; and the threads of
        // other tests come and go.
        assert!(open_fds() <= fds + 1, "{} fds, {fds} before", open_fds());
        assert!(mappings() <= maps + 8, "{} mappings, {maps} before", mappings());
        let grown = status("RssShmem").saturating_sub(memory);
        assert!(grown < 1024, "{grown} kB of shared memory kept");
    });
}

/// What this process has; to be compared with later.
struct Before {
    fds: usize,
    maps: usize,
    shared: u64,
    own: u64,
}

impl Before {
    fn now() -> Self {
        let (shared, own) = (status("RssShmem"), status("RssAnon"));
        Self { fds: open_fds(), maps: mappings(), shared, own }
    }

    /// The newest arena is kept for the next object: one fd, one mapping; and the heap grows.
    fn compare(&self) {
        let Self { fds, maps, shared, own } = *self;
        let now = Self::now();
        assert!(now.fds <= fds + 1, "{} fds, {fds} before", now.fds);
        assert!(now.maps <= maps + 8, "{} mappings, {maps} before", now.maps);
        assert!(now.shared < shared + 1024, "{} kB shared, {shared} before", now.shared);
        assert!(now.own < own + 2048, "{} kB of its own, {own} before", now.own);
    }
}

#[test]
fn a_thousand_queues_leave_nothing() {
    in_turn("a_thousand_queues_leave_nothing", || {
        let one_of_each = |number: u64| {
            let mut framed = Queue::bounded(10).unwrap();
            let mut plain = Queue::builder().codec::<Plain>().bounded(10).unwrap();
            let mut grows = Queue::unbounded().unwrap();
            for queue in [&mut framed, &mut grows] {
                queue.send(vec![number; 3]).unwrap();
                queue.send(vec![number; 10_000]).unwrap();
                assert_eq!(queue.recv().unwrap(), [number; 3]);
            }
            plain.send(number).unwrap();
            // They go with a message inside.
            let (mut sender, receiver) = Queue::channel(2).unwrap();
            sender.send(format!("{number}")).unwrap();
            drop(receiver);
            assert!(sender.send("unsent".to_owned()).is_err());
        };
        one_of_each(0);
        let before = Before::now();
        (0..1000).for_each(one_of_each);
        before.compare();
    });
}

#[test]
fn a_thousand_queues_at_once_leave_nothing() {
    in_turn("a_thousand_queues_at_once_leave_nothing", || {
        let make = || Queue::builder().codec::<Plain>().handles(3).bounded(10).unwrap();
        let fds = open_fds();
        let thousand = || {
            let mut queues: Vec<Queue<u64, Plain>> = (0..1000).map(|_| make()).collect();
            let mut others: Vec<_> = queues.iter().map(|queue| queue.sender().unwrap()).collect();
            // They share arenas.
            assert!(open_fds() <= fds + 5, "{} fds, {fds} before", open_fds());
            for (number, sender) in (0..).zip(&mut others) {
                sender.send(number).unwrap();
                sender.send(number).unwrap();
            }
            for (number, queue) in (0..).zip(&mut queues) {
                assert_eq!(queue.recv().unwrap(), number);
            }
        };
        // The first time makes an arena, which is kept.
        thousand();
        let before = Before::now();
        (0..3).for_each(|_| thousand());
        before.compare();
    });
}

#[test]
fn a_queue_that_was_long_gives_its_memory_back() {
    const MESSAGES: u64 = 50_000;
    in_turn("a_queue_that_was_long", || {
        let mut queue = Queue::unbounded().unwrap();
        let before = status("RssShmem");
        for round in 0..2 {
            (0..MESSAGES).for_each(|number| queue.send(vec![number; 20]).unwrap());
            let grown = status("RssShmem") - before;
            assert!(grown > 5_000, "only {grown} kB for {MESSAGES} messages");
            for number in 0..MESSAGES {
                assert_eq!(queue.recv().unwrap()[..], [number; 20]);
            }
            let left = status("RssShmem") - before;
            assert!(left < grown / 2, "{left} kB of {grown} kB left in round {round}");
        }
    });
}

/// Children that use a queue and are killed, more than a hundred times as many as it has handles.
#[test]
fn the_dead_leave_their_handles() {
    const CHILDREN: u32 = 1000;
    fn lives_on(mut queue: Queue<u32>) {
        while let Ok(number) = queue.recv() {
            let _ = queue.try_send(number);
        }
    }
    fn dies(queue: Queue<u32>) {
        let held = queue.clone();
        lives_on_a_little(queue);
        drop(held);
    }
    fn lives_on_a_little(mut queue: Queue<u32>) {
        let _ = queue.try_send(std::process::id());
        if std::process::id().is_multiple_of(2) {
            let _held = queue.recv_guard();
            // SAFETY: sends a signal to this very process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        let _ = queue.recv();
        // SAFETY: as above.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    in_turn("the_dead_leave_their_handles", || {
        // One is ours, one is on its way, and two are a child's.
        let mut queue = Queue::builder().handles(9).bounded(3).unwrap();
        let survivor = Process::spawn(lives_on, queue.clone()).unwrap();
        drop(Pipe::duplex::<u64, u64>().unwrap());
        let before = Before::now();
        for _ in 0..CHILDREN / 2 {
            let children = [(); 2].map(|()| spawn_when_possible(dies, &queue));
            for child in children {
                let end = child.join().unwrap_err();
                assert_eq!(end.signal(), Some(libc::SIGKILL), "{end}");
            }
        }
        queue.close();
        survivor.join().unwrap();
        until(|| queue.info().handles.len() == 1);
        while queue.recv().is_ok() {}
        let stats = queue.stats();
        assert_eq!((stats.received + stats.lost, stats.in_flight), (stats.sent, 0));
        assert!(stats.lost > 0, "{stats:?}");
        before.compare();
    });
}

/// Whoever looks after the dead may be killed meanwhile: then there is a handle a moment later.
fn spawn_when_possible(f: fn(Queue<u32>), queue: &Queue<u32>) -> Process<()> {
    loop {
        let spawned = queue.try_clone().and_then(|queue| Process::spawn(f, queue));
        match spawned {
            Ok(process) => return process,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Limit, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_thousand_processes_leave_nothing() {
    in_turn("a_thousand_processes_leave_nothing", || {
        Process::spawn(drop::<u8>, 1).unwrap().join().unwrap();
        drop(Pipe::duplex::<u64, u64>().unwrap());
        let (fds, maps) = (open_fds(), mappings());
        for round in 0..10 {
            let mut children: Vec<_> = (0..100_u64)
                .map(|_| {
                    let (here, there) = Pipe::duplex::<u64, u64>().unwrap();
                    (here, Process::spawn(answer, there).unwrap())
                })
                .collect();
            for (number, (here, _)) in children.iter_mut().enumerate() {
                here.send(number as u64).unwrap();
            }
            for (number, (mut here, process)) in children.into_iter().enumerate() {
                assert_eq!(here.recv().unwrap(), number as u64 + 1);
                drop(here);
                if round % 2 == 0 {
                    process.join().unwrap();
                }
            }
        }
        // Those that were not joined end by themselves and are reaped by the monitor.
        while !multiproc::active_children().is_empty() {
            std::thread::yield_now();
        }
        assert!(open_fds() <= fds + 1, "{} fds, {fds} before", open_fds());
        assert!(mappings() <= maps + 2, "{} mappings, {maps} before", mappings());
        let zombies = children_in_state('Z');
        assert!(zombies == 0, "{zombies} zombies");
    });
}

fn children_in_state(state: char) -> usize {
    let me = std::process::id().to_string();
    let stats = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let mut rest = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            rest.next() == Some(&state.to_string()) && rest.next() == Some(&me)
        })
        .count()
}

#[test]
fn many_ends_in_one_child_cost_one_segment() {
    fn count(ends: Vec<Connection<Nothing, u64, Plain>>) -> (usize, u64) {
        let segments = fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter(|link| link.to_string_lossy().contains("memfd:multiproc"))
            .count();
        (segments, ends.into_iter().map(|mut end| end.recv().unwrap()).sum())
    }
    in_turn("many_ends_in_one_child_cost_one_segment", || {
        let pipes = || Pipe::builder().plain().slots(4).simplex::<u64>().unwrap();
        let (outs, inns): (Vec<_>, Vec<_>) = (0..700).map(|_| pipes()).unzip();
        let process = Process::spawn(count, inns).unwrap();
        for (number, mut out) in outs.into_iter().enumerate() {
            out.send(number as u64).unwrap();
        }
        let (segments, sum) = process.join().unwrap();
        assert_eq!(sum, 700 * 699 / 2);
        assert!(segments <= 3, "{segments} segments for 700 objects");
    });
}

#[test]
fn more_than_a_packet_of_fds_crosses_in_one_message() {
    fn sum(ends: Vec<Connection<u64, u64>>) -> u64 {
        ends.into_iter().map(|mut end| end.recv().unwrap()).sum()
    }
    in_turn("more_than_a_packet_of_fds_crosses_in_one_message", || {
        let (mut heres, theres): (Vec<_>, Vec<_>) =
            (0..300).map(|_| Pipe::duplex::<u64, u64>().unwrap()).unzip();
        let process = Process::spawn(sum, theres).unwrap();
        heres.iter_mut().for_each(|here| here.send(2).unwrap());
        assert_eq!(process.join().unwrap(), 600);
    });
}

#[test]
fn a_blocked_process_takes_no_cpu_time() {
    fn blocked(mut both: Connection<u64, u64>) {
        both.send(0).unwrap();
        both.recv().unwrap();
        both.send(0).unwrap();
    }
    fn usage(pid: u32) -> (u64, u64) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let switches =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        (ticks, switches.unwrap().trim().parse().unwrap())
    }
    in_turn("a_blocked_process_takes_no_cpu_time", || {
        let (mut here, there) = Pipe::duplex().unwrap();
        let process = Process::spawn(blocked, there).unwrap();
        here.recv().unwrap();
        // The time that passes is what is measured here.
        assert!(here.recv_timeout(Duration::from_millis(200)).unwrap_err().is_timeout());
        let (ticks, switches) = usage(process.pid());
        assert!(here.recv_timeout(Duration::from_secs(1)).unwrap_err().is_timeout());
        let (later_ticks, later_switches) = usage(process.pid());
        // A tick is 10 ms; ten wake-ups a second are the backstop, and one may fall on each edge.
        assert!(later_ticks - ticks <= 1, "{} ms of CPU time", (later_ticks - ticks) * 10);
        assert!(later_switches - switches <= 12, "{} wake-ups", later_switches - switches);
        here.send(1).unwrap();
        here.recv().unwrap();
        process.join().unwrap();
    });
}

/// The kernel kills a process in strict seccomp mode for any call but read, write and exit.
#[test]
fn a_stream_of_messages_makes_no_system_call() {
    fn streams(mut done: Connection<Nothing, ()>) {
        let (mut out, mut inn) = Pipe::builder().plain().slots(64).simplex::<u64>().unwrap();
        let (mut text_out, mut text_inn) = Pipe::simplex::<String>().unwrap();
        let mut text = "no allocation that the heap does not have already".to_owned();
        text_out.send(text.clone()).unwrap();
        text = text_inn.recv().unwrap();
        // SAFETY: from here on this thread makes no system call but the exit at the end.
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        for round in 0..100_000 {
            for number in 0..64 {
                out.send(round + number).unwrap();
            }
            for number in 0..64 {
                assert_eq!(inn.recv().unwrap(), round + number);
            }
            text_out.send(text).unwrap();
            text = text_inn.recv().unwrap();
        }
        // SAFETY: leaves this thread, the only one, by the one exit that strict mode lets through.
        unsafe { libc::syscall(libc::SYS_exit, 42) };
        drop(done.recv());
    }
    in_turn("a_stream_of_messages_makes_no_system_call", || {
        let (_tell, done) = Pipe::simplex::<()>().unwrap();
        let process = Process::spawn(streams, done).unwrap();
        assert_eq!(process.join().unwrap_err().code(), Some(42));
    });
}
