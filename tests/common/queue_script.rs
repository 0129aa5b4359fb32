//! Scripts of foreign bytes under queues: what a broken participant does to their memory, between
//! the verbs of one that is not broken. The tests and the fuzzers play the same.
//!
//! Nothing here waits: verbs are `try_` ones, or have no time.
#![allow(dead_code, unreachable_pub, reason = "each user plays some of it")]

use std::time::Duration;

use multiproc::{Codec, Connection, Nothing, Pipe, Plain, Queue, wait_any};

use super::script::{self, Tape, Window};

/// Where the blocks of a segment begin that has just one.
pub const DATA_OF_ONE: usize = 0x12000;

/// So much of a queue is broken: all of a small one.
pub const BROKEN: usize = 0x3000;

/// Two handles of one queue.
pub type Pair<T, C> = [Option<Queue<T, C>>; 2];

/// The queues of a script.
struct World {
    framed: Pair<String, multiproc::Serde>,
    plain: Pair<[u64; 4], Plain>,
    words: Pair<u64, Plain>,
    cart: Option<Connection<Queue<String>, Nothing>>,
    quay: Option<Connection<Nothing, Queue<String>>>,
    windows: Vec<Window>,
}

/// A queue of some kind, and a copy of the handle.
pub fn pair<T, C: Codec<T>>(tape: &mut Tape<'_>) -> Pair<T, C> {
    let kind = tape.byte();
    let builder = Queue::builder().codec::<C>().handles(4).memory(1 << 22);
    let builder = builder.redeliver(kind & 1 != 0).joinable(kind & 2 != 0);
    let queue = match usize::from(kind / 4 % 8) {
        0 => builder.unbounded(),
        capacity => builder.bounded(capacity),
    };
    let other = queue.as_ref().ok().and_then(|queue| queue.try_clone().ok());
    [queue.ok(), other]
}

impl World {
    fn new(tape: &mut Tape<'_>) -> Self {
        let (framed, plain, words) = (pair(tape), pair(tape), pair(tape));
        let (cart, quay) = Pipe::simplex().ok().unzip();
        Self { framed, plain, words, cart, quay, windows: Window::all() }
    }

    fn break_memory(&self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let Some(window) = self.windows.get(number % self.windows.len().max(1)) else { return };
        // The header says whether it is a segment of one.
        let data = if window.peek(40) >> 32 == 1 { DATA_OF_ONE } else { script::DATA };
        let at = match number / 8 % 4 {
            0 => (tape.number() % 0x400) & !7,
            1 | 2 => data + ((tape.number() % BROKEN) & !7),
            // The block of another object, or its words.
            _ => data + ((tape.number() * 13 % 0x18000) & !7),
        };
        // What a segment says of itself was copied; what is broken there breaks pipes.
        let at = if at < 0x80 { data + at } else { at };
        match tape.byte() % 6 {
            0 | 1 => window.poke(at, tape.word()),
            2 => window.poke_half(at + 4 * (number % 2), tape.word() as u32),
            3 | 4 => window.poke(at, window.peek(at) ^ 1 << (tape.byte() % 64)),
            _ => window.fill(at, tape.length(), tape.word()),
        }
    }

    fn send(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        if let Some(queue) = &mut self.framed[number % 2] {
            let text = "x".repeat(tape.length());
            match number / 2 % 3 {
                0 => drop(queue.try_send(text)),
                1 => drop(queue.send_timeout(text, Duration::ZERO)),
                _ => {
                    // Room in the ring is not waited for.
                    if let Ok(mut slot) = queue.reserve(number) {
                        self.windows.iter().take(1).for_each(|window| {
                            window.poke(DATA_OF_ONE + 8 * number, number as u64);
                        });
                        slot.fill(1);
                    }
                }
            }
        }
        if let Some(queue) = &mut self.plain[number % 2] {
            drop(queue.try_send([tape.word(); 4]));
        }
        if let Some(queue) = &mut self.words[number % 2] {
            drop(queue.try_send(tape.word()));
        }
    }

    fn receive(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        if let Some(queue) = &mut self.framed[number % 2] {
            match number / 2 % 3 {
                0 => drop(queue.try_recv()),
                1 => drop(queue.recv_timeout(Duration::ZERO)),
                _ => drop(queue.drain().take(9).count()),
            }
        }
        if let Some(queue) = &mut self.plain[number % 2] {
            drop(queue.try_recv());
        }
        if let Some(queue) = &mut self.words[number % 2] {
            drop(queue.try_recv());
        }
    }

    fn read_in_place(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let mut queue = self.framed[number % 2].take();
        if let Some(Ok(held)) = queue.as_mut().map(Queue::try_recv_guard) {
            let before = held.bytes().len();
            std::hint::black_box(held.bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>());
            self.break_memory(tape);
            assert_eq!(held.bytes().len(), before, "a message that changes its length");
            let _ = held.get();
        }
        self.framed[number % 2] = queue;
    }

    fn look(&mut self, tape: &mut Tape<'_>) {
        fn look_at<T, C: Codec<T>>(queue: Option<&mut Queue<T, C>>, number: u8) {
            let Some(queue) = queue else { return };
            std::hint::black_box((queue.len(), queue.is_full(), queue.is_closed()));
            match number / 2 % 5 {
                0 => drop(format!("{queue:?} {:?}", queue.info())),
                1 => drop(queue.task_done()),
                2 => drop(queue.join_timeout(Duration::ZERO)),
                3 => drop(wait_any(&mut [queue], Duration::from_micros(1))),
                _ => drop(queue.stats()),
            }
        }
        let number = tape.byte();
        look_at(self.framed[usize::from(number % 2)].as_mut(), number);
        look_at(self.plain[usize::from(number % 2)].as_mut(), number);
        look_at(self.words[usize::from(number % 2)].as_mut(), number);
    }

    /// Moves a handle through a pipe, while the queue may break.
    fn travel(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let (place, Some(cart)) = (&mut self.framed[number % 2], &mut self.cart) else { return };
        if let Some(queue) = place.take()
            && let Err(unsent) = cart.try_send(queue)
        {
            *place = Some(unsent.into_inner());
        }
        (0..number / 2 % 3).for_each(|_| self.break_memory(tape));
        let Some(quay) = &mut self.quay else { return };
        if let Ok(queue) = quay.try_recv() {
            self.framed[number % 2] = Some(queue);
        }
    }

    fn change_handles(&mut self, tape: &mut Tape<'_>) {
        fn change<T, C: Codec<T>>([one, other]: &mut Pair<T, C>, number: u8) {
            match number % 6 {
                0 => drop(one.take()),
                1 => drop(other.take()),
                2 => *one = other.as_ref().and_then(|other| other.try_clone().ok()),
                3 => *other = one.clone(),
                4 => drop(one.as_ref().map(|one| (one.sender().ok(), one.receiver().ok()))),
                _ => one.iter().for_each(Queue::close),
            }
        }
        let number = tape.byte();
        match number / 6 % 4 {
            0 => change(&mut self.framed, number),
            1 => change(&mut self.plain, number),
            2 => change(&mut self.words, number),
            _ => {
                self.framed = pair(tape);
                self.plain = pair(tape);
                self.words = pair(tape);
            }
        }
        self.windows = Window::all();
    }
}

/// Plays a script, from the first queue to the last drop.
pub fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let mut world = World::new(&mut tape);
    while !tape.is_over() {
        match tape.byte() % 16 {
            0..=3 => world.break_memory(&mut tape),
            4..=6 => world.send(&mut tape),
            7..=9 => world.receive(&mut tape),
            10 => world.read_in_place(&mut tape),
            11 | 12 => world.look(&mut tape),
            13 => world.travel(&mut tape),
            _ => world.change_handles(&mut tape),
        }
    }
}
