//! What is measured: for each mode, what this side does and what the other side does.
#![allow(unsafe_code, reason = "an instruction of x86-64")]

use std::time::Instant;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::prelude::ipc;

use crate::Outcome;
use crate::ports::{In, SINGLE, STREAM, Services};

/// Does so many iterations, and gives the times of the answer; those of the peer are empty.
pub(crate) type Side = Box<dyn FnMut(u64) -> Outcome<Vec<u64>>>;

/// Bytes of a cache line, of which the receiver of a message reads one word.
const LINE: usize = 64;

/// Bytes of such a word.
const WORD: usize = size_of::<u64>();

/// The directions of messages, by the names of their services.
const THERE: &str = "there";
const BACK: &str = "back";

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Round trips of a number, where both sides poll.
    LatencyPoll,
    /// Round trips of a number, where both sides sleep.
    LatencyEvent,
    /// Numbers in one direction.
    StreamPoll,
    /// Messages of so many bytes there, a number back.
    SizePoll(usize),
}

impl Mode {
    /// What the process does that has the clock.
    pub(crate) fn here(self, services: &Services) -> Outcome<Side> {
        match self {
            Self::LatencyPoll => ask(services, Polling),
            Self::LatencyEvent => ask(services, Sleeping::new(services, THERE, BACK)?),
            Self::StreamPoll => stream(services),
            Self::SizePoll(size) => send_bytes(services, size),
        }
    }

    /// What its peer does.
    pub(crate) fn there(self, services: &Services) -> Outcome<Side> {
        match self {
            Self::LatencyPoll => echo(services, Polling),
            Self::LatencyEvent => echo(services, Sleeping::new(services, BACK, THERE)?),
            Self::StreamPoll => verify(services),
            Self::SizePoll(_) => receive_bytes(services),
        }
    }

    /// So many iterations touch all memory.
    pub(crate) fn warm_up(self) -> u64 {
        match self {
            Self::SizePoll(_) => 4,
            _ => 4096,
        }
    }
}

/// How a side waits for a message.
trait Wait {
    /// Follows a message on its way.
    fn wake_peer(&self) -> Outcome<()>;

    /// Comes before a look for a message.
    fn wait(&self) -> Outcome<()>;
}

/// Looks again and again.
struct Polling;

impl Wait for Polling {
    fn wake_peer(&self) -> Outcome<()> {
        Ok(())
    }

    fn wait(&self) -> Outcome<()> {
        pause();
        Ok(())
    }
}

/// Sleeps until there is a notification.
struct Sleeping {
    notifier: Notifier<ipc::Service>,
    listener: Listener<ipc::Service>,
}

impl Sleeping {
    /// The services of events have names of their own, beside those of messages.
    fn new(services: &Services, out: &str, inn: &str) -> Outcome<Self> {
        Ok(Self { notifier: services.event_out(out)?, listener: services.event_in(inn)? })
    }
}

impl Wait for Sleeping {
    fn wake_peer(&self) -> Outcome<()> {
        self.notifier.notify()?;
        Ok(())
    }

    fn wait(&self) -> Outcome<()> {
        self.listener.blocking_wait(|_| ())?;
        Ok(())
    }
}

/// Waits between two looks at what another core is about to write.
fn pause() {
    // SAFETY: every x86-64 has SSE2.
    unsafe { core::arch::x86_64::_mm_lfence() };
}

/// The next number.
fn receive(numbers: &In<u64>, wait: &impl Wait) -> Outcome<u64> {
    loop {
        wait.wait()?;
        if let Some(sample) = numbers.receive()? {
            return Ok(*sample);
        }
    }
}

/// Sends a number, waits for it to come back, and times that. The memory of the next number is
/// borrowed while this one is on its way, as in the benchmark of iceoryx2 itself.
fn ask(services: &Services, wait: impl Wait + 'static) -> Outcome<Side> {
    let (out, inn) = (services.numbers_out(THERE, SINGLE)?, services.numbers_in(BACK, SINGLE)?);
    Ok(Box::new(move |iterations| {
        let mut times = Vec::with_capacity(iterations as usize);
        let mut sample = out.loan_uninit()?;
        for message in 0..iterations {
            let start = Instant::now();
            sample.write_payload(message).send()?;
            wait.wake_peer()?;
            sample = out.loan_uninit()?;
            let echo = receive(&inn, &wait)?;
            times.push(start.elapsed().as_nanos() as u64);
            assert_eq!(echo, message);
        }
        Ok(times)
    }))
}

/// Sends every number back.
fn echo(services: &Services, wait: impl Wait + 'static) -> Outcome<Side> {
    let (out, inn) = (services.numbers_out(BACK, SINGLE)?, services.numbers_in(THERE, SINGLE)?);
    Ok(Box::new(move |iterations| {
        for _ in 0..iterations {
            let sample = out.loan_uninit()?;
            sample.write_payload(receive(&inn, &wait)?).send()?;
            wait.wake_peer()?;
        }
        Ok(Vec::new())
    }))
}

/// Sends a stream of numbers, and stops the clock when the last was acknowledged.
fn stream(services: &Services) -> Outcome<Side> {
    let (out, inn) = (services.numbers_out(THERE, STREAM)?, services.numbers_in(BACK, SINGLE)?);
    Ok(Box::new(move |iterations| {
        let start = Instant::now();
        for message in 0..iterations {
            out.send_copy(message)?;
        }
        let received = receive(&inn, &Polling)?;
        let time = start.elapsed().as_nanos() as u64;
        assert_eq!(received, iterations);
        Ok(vec![time])
    }))
}

/// Receives a stream of numbers, without a gap, and acknowledges its end.
fn verify(services: &Services) -> Outcome<Side> {
    let (out, inn) = (services.numbers_out(BACK, SINGLE)?, services.numbers_in(THERE, STREAM)?);
    Ok(Box::new(move |iterations| {
        for expected in 0..iterations {
            assert_eq!(receive(&inn, &Polling)?, expected);
        }
        out.send_copy(iterations)?;
        Ok(Vec::new())
    }))
}

/// Copies bytes into every message, and waits for their sum. The first word of each is another.
fn send_bytes(services: &Services, size: usize) -> Outcome<Side> {
    if size < WORD {
        return Err(format!("less than {WORD} bytes").into());
    }
    let (out, inn) = (services.bytes_out(THERE, size)?, services.numbers_in(BACK, SINGLE)?);
    let mut source: Vec<u8> = (0..size).map(|index| index as u8).collect();
    source[..WORD].fill(0);
    let rest = sum(&source);
    Ok(Box::new(move |iterations| {
        let start = Instant::now();
        for message in 0..iterations {
            source[..WORD].copy_from_slice(&message.to_ne_bytes());
            out.loan_slice_uninit(size)?.write_from_slice(&source).send()?;
            assert_eq!(receive(&inn, &Polling)?, rest.wrapping_add(message));
        }
        Ok(vec![start.elapsed().as_nanos() as u64])
    }))
}

/// Reads every message in place, gives its memory back, and answers with the sum.
fn receive_bytes(services: &Services) -> Outcome<Side> {
    let (out, inn) = (services.numbers_out(BACK, SINGLE)?, services.bytes_in(THERE)?);
    Ok(Box::new(move |iterations| {
        for _ in 0..iterations {
            let total = loop {
                pause();
                if let Some(sample) = inn.receive()? {
                    break sum(sample.payload());
                }
            };
            out.send_copy(total)?;
        }
        Ok(Vec::new())
    }))
}

/// The sum of the first word of every line, and of that of the rest if it has one.
fn sum(bytes: &[u8]) -> u64 {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let words = lines.iter().filter_map(|line| line.first_chunk::<WORD>());
    let words = words.chain(rest.first_chunk::<WORD>());
    words.fold(0, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}
