//! Several workers at once, some that send and some that receive, in processes or in threads.
//!
//! The clock starts when the last worker has come to the start, and stops when the last message is
//! received. The bench itself sleeps meanwhile. Workers are spread over all CPUs in turn, senders
//! first, and stay where they are put; `--unpinned` leaves that to the kernel.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

use super::is_asked_for;
use super::memory::{Line, lines, pause};
use super::peer::{Worker, all_cpus, pin, sleeps};

/// Longer than a slice of the scheduler, where workers outnumber CPUs.
pub(crate) const SAMPLE: Duration = Duration::from_millis(20);

/// What one worker does for so many messages. Gives the sum of all that it sent or received.
pub(crate) type Work = Box<dyn FnMut(u64) -> u64 + Send>;

/// Looks at the start before another worker may run.
const LOOKS: u32 = 100;

/// Workers that wait in `read` for their share of the next sample.
pub(crate) struct Crew {
    workers: Vec<(Worker, PipeWriter)>,
    senders: usize,
    /// Whether every worker is told of all there is to do, and not of its share.
    is_race: bool,
    /// A byte comes when the last worker is done.
    bell: PipeReader,
    board: Board,
    messages: u64,
}

/// What the workers tell each other and the bench.
#[derive(Clone, Copy)]
struct Board {
    workers: u64,
    zero: Instant,
    /// The round that has begun.
    gate: &'static Line,
    /// How many workers ever came to a start, and to an end.
    arrived: &'static Line,
    finished: &'static Line,
    /// When this round began, and when the last message came, in nanoseconds since `zero`.
    start: &'static Line,
    end: &'static Line,
    /// The sums of everything that was ever sent and received.
    sent: &'static Line,
    received: &'static Line,
    /// How often workers went to sleep.
    slept: &'static Line,
}

/// What a worker needs to know.
struct Post {
    inbox: PipeReader,
    bell: PipeWriter,
    board: Board,
    number: usize,
    is_sender: bool,
}

impl Crew {
    /// Each in a process of its own.
    pub(crate) fn processes(senders: Vec<Work>, receivers: Vec<Work>) -> Self {
        Self::new(senders, receivers, |post, work| Worker::process(move || post.serve(work)))
    }

    /// Each in a thread of this process.
    pub(crate) fn threads(senders: Vec<Work>, receivers: Vec<Work>) -> Self {
        Self::new(senders, receivers, |post, work| Worker::thread(move || post.serve(work)))
    }

    fn new(senders: Vec<Work>, receivers: Vec<Work>, start: impl Fn(Post, Work) -> Worker) -> Self {
        let workers = (senders.len() + receivers.len()) as u64;
        let board = Board::new(workers);
        let (bell, rung) = std::io::pipe().expect("a pipe");
        let senders_count = senders.len();
        let works = senders.into_iter().chain(receivers).enumerate();
        let workers = works.map(|(number, work)| {
            let (inbox, orders) = std::io::pipe().expect("a pipe");
            let bell = rung.try_clone().expect("a copy of a pipe");
            let is_sender = number < senders_count;
            (start(Post { inbox, bell, board, number, is_sender }, work), orders)
        });
        let (workers, senders) = (workers.collect(), senders_count);
        Self { workers, senders, is_race: false, bell, board, messages: 0 }
    }

    /// Everybody is told of all there is to do, and takes as much of it as it gets.
    pub(crate) fn race(mut self) -> Self {
        self.is_race = true;
        self
    }

    /// Sends so many messages, and says how long it took.
    pub(super) fn run(&mut self, messages: u64) -> Duration {
        let Board { start, end, sent, received, .. } = self.board;
        let receivers = self.workers.len() - self.senders;
        for (number, (_, orders)) in self.workers.iter_mut().enumerate() {
            let share = if self.is_race {
                messages
            } else if number < self.senders {
                share(messages, number, self.senders)
            } else {
                share(messages, number - self.senders, receivers)
            };
            // One more than that: zero would end it.
            orders.write_all(&(share + 1).to_ne_bytes()).expect("a worker that reads");
        }
        self.bell.read_exact(&mut [0]).expect("a bell");
        assert_eq!(sent.get(), received.get(), "what came out is not what went in");
        self.messages += messages;
        Duration::from_nanos(end.get() - start.get())
    }

    pub(super) fn forget_sleeps(&mut self) {
        self.messages = 0;
        self.board.slept.set(0);
    }

    pub(super) fn sleeps_per_message(&self) -> f64 {
        self.board.slept.get() as f64 / self.messages as f64
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (worker, orders) in &mut self.workers {
            worker.end(orders);
        }
    }
}

/// What worker `number` of `count` has to do.
fn share(messages: u64, number: usize, count: usize) -> u64 {
    let (number, count) = (number as u64, count as u64);
    messages / count + u64::from(number < messages % count)
}

/// The CPU of worker `number`.
fn seat(number: usize) -> usize {
    let cpus = all_cpus();
    cpus[number % cpus.len()]
}

impl Post {
    fn serve(mut self, mut work: Work) {
        let (cpu, cpus) = ([seat(self.number)], all_cpus());
        pin(if is_asked_for("--unpinned") { cpus } else { &cpu });
        let Board { end, sent, received, slept, .. } = self.board;
        let mut order = [0; 8];
        let mut round = 0;
        while self.inbox.read_exact(&mut order).is_ok() && order != [0; 8] {
            round += 1;
            self.board.assemble(round);
            let before = sleeps();
            let sum = work(u64::from_ne_bytes(order) - 1);
            let now = self.board.now();
            slept.add(sleeps() - before);
            if self.is_sender {
                sent.add(sum);
            } else {
                received.add(sum);
                end.raise(now);
            }
            if self.board.is_last_of(round) {
                self.bell.write_all(&[1]).expect("somebody who listens");
            }
        }
    }
}

impl Board {
    fn new(workers: u64) -> Self {
        let [gate, arrived, finished, start, end, sent, received, slept] = lines();
        let zero = Instant::now();
        Self { workers, zero, gate, arrived, finished, start, end, sent, received, slept }
    }

    fn now(self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// Waits until all workers are here. The last one starts the clock.
    fn assemble(self, round: u64) {
        if self.arrived.add(1) + 1 == round * self.workers {
            self.start.set(self.now());
            return self.gate.set(round);
        }
        while self.gate.get() != round {
            (0..LOOKS).for_each(|_| pause());
            std::thread::yield_now();
        }
    }

    /// Whether everybody else is done.
    fn is_last_of(self, round: u64) -> bool {
        self.finished.add(1) + 1 == round * self.workers
    }
}
