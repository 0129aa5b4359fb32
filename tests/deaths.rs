//! P1, P5, P6: participants of a pipe are killed with -9, at named points and at random ones. The
//! survivor reads what was sent, hears of the death as a value, and never hangs.
#![allow(unsafe_code, reason = "tests look at the kernel")]

mod common;

use std::time::{Duration, Instant};

use common::{assert_killed, die, seed, wait_until_asleep, watched};
use multiproc::{Connection, Nothing, Pipe, Plain, Process, RecvError, SendError};

fn assert_peer_dead(error: &RecvError) {
    assert!(error.is_disconnected() && error.is_peer_dead(), "{error}");
}

fn assert_reader_dead<T>(error: &SendError<T>) {
    assert!(error.is_disconnected() && error.is_peer_dead(), "{error}");
}

#[test]
fn a_writer_killed_with_room_reserved_leaves_what_it_sent() {
    fn writer(mut out: Connection<Vec<u8>, Nothing>) {
        for number in 0..100_u8 {
            out.send(vec![number; 100]).unwrap();
        }
        let mut half_written = out.reserve(1000).unwrap();
        half_written[..500].fill(0xff);
        die()
    }
    watched("a_writer_killed_with_room_reserved_leaves_what_it_sent", || {
        let (there, mut here) = Pipe::simplex().unwrap();
        let process = Process::spawn(writer, there).unwrap();
        for number in 0..100_u8 {
            assert_eq!(here.recv().unwrap(), vec![number; 100]);
        }
        assert_peer_dead(&here.recv().unwrap_err());
        assert_peer_dead(&here.try_recv().unwrap_err());
        assert_killed(process.join());
    });
}

#[test]
fn a_writer_killed_in_the_middle_of_a_long_message_is_as_if_it_had_not_begun() {
    fn writer(mut out: Connection<(), ()>) {
        out.send_bytes(b"whole").unwrap();
        // There is room for a part of it only, and the reader does not read before the death.
        let _ = out.send_bytes_timeout(&[1; 1 << 20], Duration::from_millis(1));
        die()
    }
    watched("a_writer_killed_in_the_middle_of_a_long_message", || {
        let (mut here, there) = Pipe::duplex().unwrap();
        let process = Process::spawn(writer, there).unwrap();
        assert_killed(process.join());
        assert_eq!(here.recv_bytes().unwrap(), b"whole");
        assert_peer_dead(&here.recv_bytes().unwrap_err());
    });
}

#[test]
fn a_reader_killed_with_a_message_in_hand_gives_the_writer_its_value_back() {
    fn reader(mut inn: Connection<Nothing, String>) {
        let message = inn.peek().unwrap();
        assert!(!message.is_empty());
        die()
    }
    watched("a_reader_killed_with_a_message_in_hand", || {
        let (mut here, there) = Pipe::simplex::<String>().unwrap();
        let process = Process::spawn(reader, there).unwrap();
        here.send("in hand".to_owned()).unwrap();
        assert_killed(process.join());
        // Not bounded by a count, but by the death being noticed.
        let unsent = loop {
            if let Err(unsent) = here.send("lost".to_owned()) {
                break unsent;
            }
        };
        assert_reader_dead(&unsent);
        assert_eq!(unsent.into_inner(), "lost");
    });
}

#[test]
fn a_writer_asleep_on_a_full_pipe_hears_of_its_readers_death() {
    fn reader(mut inn: Connection<Nothing, u64, Plain>) {
        assert_eq!(inn.recv().unwrap(), 0);
        die()
    }
    watched("a_writer_asleep_on_a_full_pipe", || {
        let (mut here, there) = Pipe::builder().plain().slots(1).simplex::<u64>().unwrap();
        let process = Process::spawn(reader, there).unwrap();
        let unsent = (0..).find_map(|number| here.send(number).err()).unwrap();
        assert_reader_dead(&unsent);
        assert_killed(process.join());
    });
}

#[test]
fn a_reader_killed_in_its_sleep_is_noticed_by_the_writer() {
    fn sleeper(mut both: Connection<u8, u8>) {
        both.send(1).unwrap();
        let _ = both.recv();
    }
    watched("a_reader_killed_in_its_sleep", || {
        let (mut here, there) = Pipe::duplex::<u8, u8>().unwrap();
        let process = Process::spawn(sleeper, there).unwrap();
        here.recv().unwrap();
        wait_until_asleep(process.pid());
        process.kill().unwrap();
        assert_peer_dead(&here.recv().unwrap_err());
        assert_reader_dead(&here.send(2).unwrap_err());
        assert_killed(process.join());
    });
}

#[test]
fn a_sibling_hears_of_a_siblings_death() {
    fn writer((mut out, mut told): (Connection<u8, Nothing>, Connection<Nothing, ()>)) {
        out.send(7).unwrap();
        told.recv().unwrap();
        die()
    }
    fn reader(mut inn: Connection<Nothing, u8>) -> bool {
        assert_eq!(inn.recv().unwrap(), 7);
        inn.recv().unwrap_err().is_peer_dead()
    }
    watched("a_sibling_hears_of_a_siblings_death", || {
        let (out, inn) = Pipe::simplex::<u8>().unwrap();
        let (mut tell, told) = Pipe::simplex::<()>().unwrap();
        let first = Process::spawn(writer, (out, told)).unwrap();
        let second = Process::spawn(reader, inn).unwrap();
        wait_until_asleep(second.pid());
        tell.send(()).unwrap();
        assert!(second.join().unwrap());
        assert_killed(first.join());
    });
}

/// First the pid of the orphan, then whether it heard of a death.
type Report = Connection<u32, Nothing>;

/// Outlives its parent, which has the other end of `inn` and is the only supervisor.
fn orphan((mut inn, mut report, polls): (Connection<Nothing, u8>, Report, bool)) {
    assert_eq!(inn.recv().unwrap(), 1);
    report.send(std::process::id()).unwrap();
    let heard = loop {
        match if polls { inn.try_recv() } else { inn.recv() } {
            Err(nothing) if nothing.is_empty() => std::thread::yield_now(),
            end => break end.unwrap_err(),
        }
    };
    report.send(heard.is_peer_dead().into()).unwrap();
}

/// Kills the parent of an orphan that waits, or polls, for a message of it.
fn kill_the_only_supervisor(polls: bool) {
    fn parent((report, mut told, polls): (Report, Connection<Nothing, ()>, bool)) {
        let (mut out, inn) = Pipe::simplex::<u8>().unwrap();
        let child = Process::builder().daemon(false).spawn(orphan, (inn, report, polls));
        out.send(1).unwrap();
        told.recv().unwrap();
        drop(child);
        die()
    }
    let (report, mut heard) = Pipe::simplex::<u32>().unwrap();
    let (mut tell, told) = Pipe::simplex::<()>().unwrap();
    let process = Process::spawn(parent, (report, told, polls)).unwrap();
    let orphan = heard.recv().unwrap();
    if !polls {
        wait_until_asleep(orphan);
    }
    tell.send(()).unwrap();
    assert_killed(process.join());
    let died = Instant::now();
    assert_eq!(heard.recv().unwrap(), 1);
    println!("unsupervised death noticed after {:?}", died.elapsed());
    assert!(heard.recv().unwrap_err().is_disconnected());
}

#[test]
fn without_a_supervisor_the_survivor_finds_out_by_itself() {
    watched("without_a_supervisor", || kill_the_only_supervisor(false));
}

#[test]
fn who_only_ever_polls_finds_out_as_well() {
    watched("who_only_ever_polls", || kill_the_only_supervisor(true));
}

/// A copy that was forked behind the crate's back has all that its parent had, but not its leases.
#[test]
fn a_copy_of_the_dead_does_not_make_it_look_alive() {
    fn forks((mut both, mut report): (Connection<u8, u8>, Report)) {
        both.send(1).unwrap();
        // SAFETY: the copy only sleeps.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            loop {
                // SAFETY: as above.
                unsafe { libc::pause() };
            }
        }
        report.send(copy as u32).unwrap();
        drop(both.recv());
    }
    watched("a_copy_of_the_dead", || {
        let (mut here, there) = Pipe::duplex::<u8, u8>().unwrap();
        let (report, mut heard) = Pipe::simplex::<u32>().unwrap();
        let process = Process::spawn(forks, (there, report)).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        let copy = heard.recv().unwrap();
        process.kill().unwrap();
        assert_peer_dead(&here.recv().unwrap_err());
        assert_killed(process.join());
        // SAFETY: the copy is nobody's child here, sleeps for ever, and so still has its number.
        unsafe { libc::kill(copy as i32, libc::SIGKILL) };
    });
}

#[test]
fn a_stopped_process_is_not_dead() {
    fn echo(mut both: Connection<u8, u8>) {
        while let Ok(value) = both.recv() {
            both.send(value).unwrap();
        }
    }
    watched("a_stopped_process_is_not_dead", || {
        let (mut here, there) = Pipe::duplex::<u8, u8>().unwrap();
        let process = Process::spawn(echo, there).unwrap();
        here.send(1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        process.signal(libc::SIGSTOP).unwrap();
        here.send(2).unwrap();
        // Several backstops long, each of which suspects the peer.
        assert!(here.recv_timeout(Duration::from_millis(450)).unwrap_err().is_timeout());
        process.signal(libc::SIGCONT).unwrap();
        assert_eq!(here.recv().unwrap(), 2);
        drop(here);
        process.join().unwrap();
    });
}

#[test]
fn a_connection_that_is_sent_to_the_dead_is_closed() {
    fn never_reads(mut inn: Connection<Nothing, Connection<u8, Nothing>>) {
        let _ = inn.poll(Duration::MAX);
        die()
    }
    watched("a_connection_that_is_sent_to_the_dead_is_closed", || {
        let (mut here, there) = Pipe::simplex().unwrap();
        let process = Process::spawn(never_reads, there).unwrap();
        let (out, mut inn) = Pipe::simplex::<u8>().unwrap();
        here.send(out).unwrap();
        assert_killed(process.join());
        assert!(inn.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn an_argument_of_a_process_that_dies_at_once_is_closed() {
    fn dies(_: Connection<u8, Nothing>) {
        die()
    }
    watched("an_argument_of_a_process_that_dies_at_once_is_closed", || {
        for _ in 0..20 {
            let (there, mut here) = Pipe::simplex::<u8>().unwrap();
            let process = Process::spawn(dies, there).unwrap();
            assert_peer_dead(&here.recv().unwrap_err());
            assert_killed(process.join());
        }
    });
}

/// Sends numbers without end; tells on `sent` how many sends have returned.
fn count_for_ever<C>(
    (mut out, mut sent): (Connection<u64, Nothing, C>, Connection<u64, Nothing, Plain>),
) where
    C: multiproc::Codec<u64>,
{
    for number in 0.. {
        if out.send(number).is_err() || sent.send(number).is_err() {
            return;
        }
    }
}

#[test]
fn a_writer_killed_at_random_loses_nothing_that_was_sent() {
    watched("a_writer_killed_at_random", || {
        let seed = seed() as u32;
        for round in 0..60_u32 {
            let pause = Duration::from_micros(u64::from(seed.wrapping_mul(round + 1) % 3000));
            kill_writer_after::<Plain>(pause, Pipe::builder().plain().slots(7).simplex().unwrap());
            kill_writer_after::<multiproc::Serde>(
                pause,
                Pipe::builder().capacity(512).simplex().unwrap(),
            );
        }
    });
}

type Ends<C> = (Connection<u64, Nothing, C>, Connection<Nothing, u64, C>);

type Told = Connection<u64, Nothing, Plain>;

fn kill_writer_after<C>(pause: Duration, ends: Ends<C>)
where
    C: multiproc::Codec<u64> + 'static,
{
    kill_after(pause, count_for_ever::<C>, ends);
}

/// Kills a writer that counts, and demands all that it says it has sent.
fn kill_after<C>(
    pause: Duration,
    writer: fn((Connection<u64, Nothing, C>, Told)),
    (there, mut here): Ends<C>,
) where
    C: multiproc::Codec<u64> + 'static,
{
    let (told, mut sent) = Pipe::builder().plain().slots(1 << 16).simplex::<u64>().unwrap();
    let process = Process::spawn(writer, (there, told)).unwrap();
    let mut received = 0;
    // The first message says that the writer is at it.
    assert_eq!(here.recv().unwrap(), received);
    let kill_at = Instant::now() + pause;
    let end = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Spins, so that the kill comes at any moment and not at one that a wake-up chooses.
            while Instant::now() < kill_at {}
            process.kill().unwrap();
        });
        loop {
            received += 1;
            match here.recv() {
                Ok(number) => assert_eq!(number, received, "lost, doubled or torn"),
                Err(end) => break end,
            }
        }
    });
    assert_peer_dead(&end);
    let acknowledged = sent.iter().last().map_or(0, |last| last + 1);
    assert!(received >= acknowledged, "{acknowledged} sends returned, {received} arrived");
    assert_killed(process.join());
}

/// The writer is slow, so its reader sleeps before every message, and every send is a wake-up.
#[test]
fn a_waker_killed_at_random_leaves_nobody_asleep() {
    fn slow((mut out, mut sent): (Told, Told)) {
        for number in 0.. {
            // Longer than a reader looks before it sleeps; busy, so that the kill hits anywhere.
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(60) {}
            if out.send(number).is_err() || sent.send(number).is_err() {
                return;
            }
        }
    }
    watched("a_waker_killed_at_random", || {
        let seed = seed() as u32;
        for round in 0..100_u32 {
            let pause = Duration::from_micros(u64::from(seed.wrapping_mul(round + 5) % 4000));
            kill_after(pause, slow, Pipe::builder().plain().slots(7).simplex().unwrap());
        }
    });
}

#[test]
fn a_reader_killed_at_random_never_blocks_the_writer() {
    fn reader(mut inn: Connection<Nothing, u64, Plain>) {
        while inn.recv().is_ok() {}
    }
    watched("a_reader_killed_at_random_never_blocks_the_writer", || {
        let seed = seed() as u32;
        for round in 0..60_u32 {
            let (mut here, there) = Pipe::builder().plain().slots(3).simplex::<u64>().unwrap();
            let process = Process::spawn(reader, there).unwrap();
            let pause = Duration::from_micros(u64::from(seed.wrapping_mul(round + 7) % 3000));
            let kill_at = Instant::now() + pause;
            let mut is_killed = false;
            let unsent = loop {
                if let Err(unsent) = here.send(1) {
                    break unsent;
                }
                if !is_killed && Instant::now() >= kill_at {
                    process.kill().unwrap();
                    is_killed = true;
                }
            };
            assert_reader_dead(&unsent);
            assert_killed(process.join());
        }
    });
}

#[test]
fn ping_pong_partners_killed_at_random_leave_a_usable_segment() {
    fn pong(mut both: Connection<u64, u64, Plain>) {
        while let Ok(value) = both.recv() {
            if both.send(value).is_err() {
                return;
            }
        }
    }
    watched("ping_pong_partners_killed_at_random", || {
        let seed = seed() as u32;
        for round in 0..60_u32 {
            let (mut here, there) = Pipe::builder().plain().slots(1).duplex().unwrap();
            let process = Process::spawn(pong, there).unwrap();
            let rounds = u64::from(seed.wrapping_mul(round + 3) % 2000);
            let mut number = 0;
            loop {
                if number == rounds {
                    process.kill().unwrap();
                }
                if here.send(number).is_err() {
                    break;
                }
                match here.recv() {
                    Ok(answer) => assert_eq!(answer, number),
                    Err(_) => break,
                }
                number += 1;
            }
            assert!(number >= rounds);
            assert_killed(process.join());
        }
    });
}
