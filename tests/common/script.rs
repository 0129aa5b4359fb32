//! Scripts of foreign bytes: what a broken participant does to the memory of pipes, between the
//! verbs of one that is not broken. The tests and the fuzzers play the same.
//!
//! Nothing here waits: verbs are `try_` ones, have no time, or cannot wait where they are used. So
//! a script that does not end is a finding, as is one that crashes.
#![allow(dead_code, unreachable_pub, reason = "each user plays some of it")]
#![allow(unsafe_code, reason = "it breaks memory")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use multiproc::{Connection, Nothing, Pipe, Plain, wait_any};

/// Where a segment has what.
pub const PARTICIPANTS: usize = 0x1000;
pub const BLOCKS: usize = 0x11000;
pub const DATA: usize = 0x41000;
pub const BLOCK_SIZE: usize = 192;

/// So much of a segment is opened: all tables, and the first blocks.
const OPENED: usize = DATA + 0x20000;

const MARK: u64 = 1 << 63;
const CARGO: u64 = 1 << 32;
const BEGIN: u64 = 2 << 32;
const CONTINUE: u64 = 4 << 32;

/// Words that mean something somewhere.
const WORDS: [u64; 24] = [
    0,
    1,
    2,
    3,
    16,
    24,
    128,
    u32::MAX as u64,
    u64::MAX,
    1 << 31,
    (1 << 31) - 1,
    MARK,
    MARK | 8,
    MARK | (1 << 62),
    MARK | u32::MAX as u64,
    MARK | CARGO | 24,
    MARK | BEGIN | 8,
    MARK | BEGIN | 16,
    MARK | CONTINUE,
    MARK | CONTINUE | 8,
    // A live block, a claimed one and a free one, of a few granules.
    (6 << 16) | 2,
    (6 << 16) | 1,
    (6 << 16) | 3,
    (0xff_ffff << 16) | 2,
];

/// A segment of this process, mapped once more.
#[derive(Debug)]
pub struct Window {
    file: File,
    base: *mut u8,
}

// SAFETY: an address of shared memory, and a file. Whoever writes there races with everybody, which
// is what it is for: other processes could do the same.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Every segment of this process.
    pub fn all() -> Vec<Self> {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let segments = fds.flatten().map(|fd| fd.path()).filter(|path| {
            let target = std::fs::read_link(path).unwrap_or_default();
            target.to_string_lossy() == "/memfd:multiproc (deleted)"
        });
        let mut windows: Vec<Self> = Vec::new();
        for path in segments {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let (rights, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
            let (null, shared) = (std::ptr::null_mut(), libc::MAP_SHARED);
            // SAFETY: a new mapping, placed by the kernel, aliases nothing that Rust knows of.
            let base = unsafe { libc::mmap(null, OPENED, rights, shared, fd, 0) };
            assert_ne!(base, libc::MAP_FAILED);
            windows.push(Self { file, base: base.cast() });
        }
        windows
    }

    /// The one segment of this process.
    pub fn only() -> Self {
        let mut windows = Self::all();
        assert_eq!(windows.len(), 1);
        windows.remove(0)
    }

    pub fn len(&self) -> usize {
        OPENED
    }

    pub fn peek(&self, at: usize) -> u64 {
        assert!(at.is_multiple_of(8) && at < OPENED);
        // SAFETY: aligned and in range by the line above, and mapped as long as `self`.
        unsafe { self.base.add(at).cast::<u64>().read_volatile() }
    }

    pub fn poke(&self, at: usize, value: u64) {
        assert!(at.is_multiple_of(8) && at < OPENED);
        // SAFETY: as in `peek`.
        unsafe { self.base.add(at).cast::<u64>().write_volatile(value) };
    }

    pub fn poke_half(&self, at: usize, value: u32) {
        assert!(at.is_multiple_of(4) && at < OPENED);
        // SAFETY: as in `peek`.
        unsafe { self.base.add(at).cast::<u32>().write_volatile(value) };
    }

    pub fn fill(&self, at: usize, words: usize, value: u64) {
        for word in 0..words.min((OPENED - at) / 8) {
            self.poke(at + 8 * word, value);
        }
    }

    /// Gives pages back to the system, so that zeros are in their place.
    pub fn punch(&self, at: usize, length: usize) {
        let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let fd = self.file.as_raw_fd();
        // SAFETY: the file is open; the pages stay mapped.
        let done = unsafe { libc::fallocate(fd, flags, at as i64, length as i64) };
        assert_eq!(done, 0);
    }

    /// All of it becomes zeros.
    pub fn punch_all(&self) {
        self.punch(0, self.file.metadata().unwrap().len() as usize);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `all` with this length, and nothing refers to it any more.
        unsafe { libc::munmap(self.base.cast(), OPENED) };
    }
}

/// The numbers of a script, one after the other; zeros when there are no more.
#[derive(Debug)]
pub struct Tape<'a>(&'a [u8]);

impl Tape<'_> {
    pub fn new(script: &[u8]) -> Tape<'_> {
        Tape(script)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// A number of up to this many bytes, such as a message has.
    pub fn length(&mut self) -> usize {
        let byte = usize::from(self.byte());
        if byte < 0xf0 { byte } else { (byte - 0xef) * 301 }
    }

    pub fn word(&mut self) -> u64 {
        let byte = self.byte();
        if let Some(word) = WORDS.get(usize::from(byte)) {
            return *word;
        }
        match byte % 3 {
            0 => self.number() as u64,
            1 => !(self.number() as u64),
            _ => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
        }
    }

    /// Somewhere in a segment, most often where it matters. A multiple of 4.
    fn place(&mut self) -> usize {
        let (what, number) = (self.byte(), self.number());
        match what % 8 {
            0 => (number % 24) * 8,
            1 => PARTICIPANTS + (number % 4) * 64 + (number >> 8) % 3 * 4,
            2 => BLOCKS + (number % 10) * BLOCK_SIZE,
            3 => BLOCKS + (number % 10) * BLOCK_SIZE + (number >> 8) % 19 * 8,
            // The first words of lines: cursors, seats, owners, geometry.
            4 | 5 => DATA + (number % 48) * 128 + (number >> 8) % 3 * 4,
            6 => DATA + 4 * (number % 0x800),
            _ => 4 * (number * 17 % (OPENED / 4 - 2)),
        }
    }
}

type Both = Connection<String, String>;
type Load = (u32, Both);

/// The pipes of a script, each end here as long as it was not dropped.
#[derive(Default)]
struct World {
    ends: [Option<Both>; 2],
    out: Option<Connection<u64, Nothing, Plain>>,
    inn: Option<Connection<Nothing, u64, Plain>>,
    cart: Option<Connection<Load, Nothing>>,
    quay: Option<Connection<Nothing, Load>>,
    windows: Vec<Window>,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.renew_ends(256);
        world.renew_plain(3);
        world.renew_cart();
        world.windows = Window::all();
        world
    }

    fn renew_ends(&mut self, capacity: usize) {
        let pipe = Pipe::builder().capacity(capacity).duplex().ok();
        self.ends = pipe.map_or([None, None], |(one, other)| [Some(one), Some(other)]);
    }

    fn renew_plain(&mut self, slots: usize) {
        (self.out, self.inn) = Pipe::builder().plain().slots(slots).simplex().ok().unzip();
    }

    fn renew_cart(&mut self) {
        (self.cart, self.quay) = Pipe::builder().capacity(1024).simplex().ok().unzip();
    }

    fn break_memory(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let Some(window) = self.windows.get(number % self.windows.len().max(1)) else { return };
        let (how, at) = (tape.byte(), tape.place());
        match how % 8 {
            0..=3 => window.poke(at & !7, tape.word()),
            4 => window.poke_half(at, tape.word() as u32),
            5 => window.poke(at & !7, window.peek(at & !7) ^ 1 << (tape.byte() % 64)),
            6 => window.fill(at & !7, tape.length(), tape.word()),
            _ => window.punch(at & !4095, 4096 * (1 + number / 16)),
        }
    }

    /// Writes into a pipe that was whole a moment ago, while its memory breaks.
    fn write_in_place(&mut self, tape: &mut Tape<'_>) {
        self.renew_ends(512);
        let Some(mut end) = self.ends[0].take() else { return };
        let length = tape.length();
        if let Ok(mut reserved) = end.reserve(length) {
            reserved.fill(tape.byte());
            self.break_memory(tape);
            self.break_memory(tape);
            let _ = reserved.commit(length.min(tape.length()));
        }
        self.ends[0] = Some(end);
    }

    fn read_in_place(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let Some(mut end) = self.ends[number % 2].take() else { return };
        if let Ok(message) = end.try_peek() {
            let before = message.len();
            std::hint::black_box(message.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            self.break_memory(tape);
            assert_eq!(message.len(), before, "a message that changes its length");
            std::hint::black_box(message.to_vec());
            if number & 2 != 0 {
                let _ = message.consume();
            }
        }
        // It does not wait for what is there.
        if number & 4 != 0 && end.poll(Duration::ZERO).is_ok_and(|is_there| is_there) {
            let _ = end.recv_bytes_into(&mut [0; 300]);
        }
        self.ends[number % 2] = Some(end);
    }

    fn send(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let Some(end) = &mut self.ends[number % 2] else { return };
        let length = tape.length();
        match number / 2 % 4 {
            0 => drop(end.try_send("x".repeat(length))),
            1 => drop(end.send_timeout("x".repeat(length), Duration::ZERO)),
            2 => drop(end.try_send_bytes(&vec![tape.byte(); length])),
            _ => drop(end.send_bytes_timeout(&vec![tape.byte(); length], Duration::ZERO)),
        }
    }

    fn receive(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let Some(end) = &mut self.ends[number % 2] else { return };
        match number / 2 % 6 {
            0 => drop(end.try_recv()),
            1 => drop(end.recv_timeout(Duration::ZERO)),
            2 => drop(end.try_recv_bytes()),
            3 => drop(end.recv_bytes_timeout(Duration::ZERO)),
            4 if number & 64 == 0 => drop(end.poll(Duration::from_micros(1))),
            4 => drop(wait_any(&mut [end], Duration::from_micros(1))),
            _ if end.poll(Duration::ZERO).is_ok_and(|is_there| is_there) => {
                drop(end.recv_batch(&mut Vec::new(), 3));
            }
            _ => {}
        }
    }

    fn use_plain(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        if let Some(out) = &mut self.out {
            match number % 3 {
                0 => drop(out.try_send(tape.word())),
                1 => drop(out.send_timeout(tape.word(), Duration::ZERO)),
                _ => {}
            }
        }
        if let Some(inn) = &mut self.inn {
            match number / 4 % 4 {
                0 => drop(inn.try_recv()),
                1 => drop(inn.recv_timeout(Duration::ZERO)),
                2 if inn.poll(Duration::ZERO).is_ok_and(|is_there| is_there) => {
                    drop(inn.recv_batch(&mut Vec::new(), 1 + number / 16));
                }
                2 => {}
                _ => drop(wait_any(&mut [inn], Duration::from_micros(1))),
            }
        }
    }

    /// Moves an end through another pipe, whose memory may break while it is on its way.
    fn travel(&mut self, tape: &mut Tape<'_>) {
        let number = usize::from(tape.byte());
        let end = &mut self.ends[number % 2];
        if let Some(moving) = end.take()
            && let Some(cart) = &mut self.cart
        {
            match cart.try_send((7, moving)) {
                Ok(()) => {}
                Err(unsent) => *end = Some(unsent.into_inner().1),
            }
        }
        for _ in 0..number / 2 % 4 {
            self.break_memory(tape);
        }
        let Some(quay) = &mut self.quay else { return };
        match number / 8 % 4 {
            0 => drop(quay.try_recv_bytes()),
            1 => drop(quay.try_peek().map(|message| message.consume())),
            _ => {
                if let Ok((_, end)) = quay.try_recv() {
                    self.ends[number % 2] = Some(end);
                }
            }
        }
    }

    fn drop_some(&mut self, tape: &mut Tape<'_>) {
        match tape.byte() % 8 {
            0 => drop(self.ends[0].take()),
            1 => drop(self.ends[1].take()),
            2 => drop(self.out.take()),
            3 => drop(self.inn.take()),
            4 => drop(self.cart.take()),
            5 => drop(self.quay.take()),
            6 => {
                let (out, inn) = self.ends[0].take().map(Connection::split).unzip();
                let _ = out.map(|mut out| out.try_send("split".to_owned()).is_ok());
                let _ = inn.map(|mut inn| inn.try_recv().is_ok());
            }
            _ => drop(std::mem::take(&mut self.ends)),
        }
    }

    fn make(&mut self, tape: &mut Tape<'_>) {
        match tape.byte() % 4 {
            0 => self.renew_ends(256 << (tape.byte() % 4)),
            1 => self.renew_plain(1 + usize::from(tape.byte() % 8)),
            2 => self.renew_cart(),
            _ => {}
        }
        self.windows = Window::all();
    }
}

/// Plays a script, from the first pipe to the last drop.
pub fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let mut world = World::new();
    while !tape.is_over() {
        match tape.byte() % 16 {
            0..=4 => world.break_memory(&mut tape),
            5 | 6 => world.send(&mut tape),
            7 | 8 => world.receive(&mut tape),
            9 => world.read_in_place(&mut tape),
            10 => world.write_in_place(&mut tape),
            11 => world.use_plain(&mut tape),
            12 | 13 => world.travel(&mut tape),
            14 => world.drop_some(&mut tape),
            _ => world.make(&mut tape),
        }
    }
}
