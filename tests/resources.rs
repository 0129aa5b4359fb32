//! P3, P4: nothing is left behind, nothing is spent on waiting, and a message costs no system call.
#![allow(unsafe_code, reason = "tests look at the kernel")]

mod common;

use std::fs;
use std::time::Duration;

use common::watched;
use multiproc::{Connection, Nothing, Pipe, Plain, Process};

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
        // The newest arena is kept for the next object: one fd, one mapping.
        assert!(open_fds() <= fds + 1, "{} fds, {fds} before", open_fds());
        assert!(mappings() <= maps + 2, "{} mappings, {maps} before", mappings());
        let grown = status("RssShmem").saturating_sub(memory);
        assert!(grown < 1024, "{grown} kB of shared memory kept");
    });
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
