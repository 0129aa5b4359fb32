//! Channels of all kinds, each in the same four words, and what is done with them.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod ends;
pub(crate) mod kernel;
pub(crate) mod mailbox;
pub(crate) mod processes;
pub(crate) mod python;
pub(crate) mod threads;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::Contender;
use crate::support::crew::{Crew, Work};
use crate::support::memory::pause;
use crate::support::peer::{with_process, with_thread};

/// Messages that fit into a queue.
pub(crate) const CAPACITY: usize = 1024;

/// Longer than anybody spins before going to sleep.
const DAWDLE: Duration = Duration::from_micros(80);

/// How many send, and how many receive.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) senders: usize,
    pub(crate) receivers: usize,
}

/// A message that knows its number.
pub(crate) trait Load: Serialize + DeserializeOwned + Send + 'static {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

/// Messages go in here and come out there, in other threads or processes.
pub(crate) trait Channel<M: Load>: 'static {
    type Sender: Send + 'static;
    type Receiver: Send + 'static;

    /// Whether it crosses between processes.
    const CROSSES: bool;

    fn sender(&self) -> Self::Sender;
    fn receiver(&self) -> Self::Receiver;

    fn send(sender: &mut Self::Sender, message: M);
    fn receive(receiver: &mut Self::Receiver) -> M;
}

/// Channels that one can look into without waiting.
pub(crate) trait Poll<M: Load>: Channel<M> {
    fn poll(receiver: &mut Self::Receiver) -> Option<M>;
}

/// A stream of messages, one by one.
pub(crate) fn stream<M: Load, C: Channel<M>>(name: &str, shape: Shape, channel: C) -> Contender {
    let send = |_| {
        let mut sender = channel.sender();
        let work: Work = Box::new(move |count| {
            let mut sum = 0_u64;
            for number in 0..count {
                let message = M::of(number);
                sum = sum.wrapping_add(message.number());
                C::send(&mut sender, message);
            }
            sum
        });
        work
    };
    let receive = |_| {
        let mut receiver = channel.receiver();
        let work: Work = Box::new(move |count| {
            (0..count).fold(0, |sum, _| sum.wrapping_add(C::receive(&mut receiver).number()))
        });
        work
    };
    let senders = (0..shape.senders).map(send).collect();
    let receivers = (0..shape.receivers).map(receive).collect();
    Contender::crew(name, crew(C::CROSSES, senders, receivers))
}

pub(crate) fn crew(crosses: bool, senders: Vec<Work>, receivers: Vec<Work>) -> Crew {
    if crosses { Crew::processes(senders, receivers) } else { Crew::threads(senders, receivers) }
}

/// A message one way and its answer the other way, in `send` and `receive` as a user calls them.
pub(crate) fn round_trip<M: Load, C: Channel<M>>(name: &str, there: C, back: C) -> Contender {
    Contender::round_trip(name, exchange::<M, C>(&there, &back, C::receive))
}

/// The same, where both sides look until there is something.
pub(crate) fn spinning<M: Load, C: Poll<M>>(name: &str, there: C, back: C) -> Contender {
    Contender::round_trip(name, exchange::<M, C>(&there, &back, look::<M, C>))
}

/// Looks until there is something.
pub(crate) fn look<M: Load, C: Poll<M>>(receiver: &mut C::Receiver) -> M {
    loop {
        match C::poll(receiver) {
            Some(message) => return message,
            None => pause(),
        }
    }
}

fn exchange<M: Load, C: Channel<M>>(
    there: &C,
    back: &C,
    receive: impl Fn(&mut C::Receiver) -> M + Copy + Send + 'static,
) -> Box<dyn FnMut(u64) -> Duration> {
    watched_exchange::<M, C>(there, back, receive, || ())
}

/// The same, where each answer that has come is told.
pub(crate) fn watched_exchange<M: Load, C: Channel<M>>(
    there: &C,
    back: &C,
    receive: impl Fn(&mut C::Receiver) -> M + Copy + Send + 'static,
    mut tell: impl FnMut() + 'static,
) -> Box<dyn FnMut(u64) -> Duration> {
    let (mut request, mut answers) = (there.sender(), back.receiver());
    let ask = move |iterations| {
        for number in 0..iterations {
            let message = M::of(number);
            let expected = message.number();
            C::send(&mut request, message);
            assert_eq!(receive(&mut answers).number(), expected);
            tell();
        }
    };
    with_echo::<M, C>(there, back, receive, ask)
}

/// Runs `ask` here, and in another process or thread what answers every message with itself.
fn with_echo<M: Load, C: Channel<M>>(
    there: &C,
    back: &C,
    receive: impl Fn(&mut C::Receiver) -> M + Send + 'static,
    ask: impl FnMut(u64) + 'static,
) -> Box<dyn FnMut(u64) -> Duration> {
    let (mut requests, mut answer) = (there.receiver(), back.sender());
    let echo = move |iterations| {
        for _ in 0..iterations {
            let message = receive(&mut requests);
            C::send(&mut answer, message);
        }
    };
    if C::CROSSES { Box::new(with_process(echo, ask)) } else { Box::new(with_thread(echo, ask)) }
}

/// A message to somebody who has gone to sleep, and the answer. Only that is timed.
pub(crate) fn to_sleeper<M: Load, C: Channel<M>>(name: &str, there: C, back: C) -> Contender {
    let spent = Rc::new(Cell::new(Duration::ZERO));
    let clock = Rc::clone(&spent);
    let (mut request, mut answers) = (there.sender(), back.receiver());
    let ask = move |iterations| {
        for number in 0..iterations {
            let before = Instant::now();
            while before.elapsed() < DAWDLE {
                pause();
            }
            let start = Instant::now();
            C::send(&mut request, M::of(number));
            let _ = C::receive(&mut answers);
            clock.set(clock.get() + start.elapsed());
        }
    };
    let mut run = with_echo::<M, C>(&there, &back, C::receive, ask);
    Contender::new(name, move |iterations| {
        run(iterations);
        spent.take()
    })
}

impl Load for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

/// 56 bytes.
impl Load for [u64; 7] {
    fn of(number: u64) -> Self {
        [number; 7]
    }

    fn number(&self) -> u64 {
        assert_eq!(self[0], self[6]);
        self[0]
    }
}

/// 31 or 32 bytes: an allocation to make it, and another one to receive it.
impl Load for String {
    fn of(number: u64) -> Self {
        let text = "thirty-two bytes and no number..";
        text[..32 - (number & 1) as usize].to_owned()
    }

    fn number(&self) -> u64 {
        self.len() as u64
    }
}
