//! P1: queues under fire. Producers and consumers are real processes that are killed, stopped and
//! replaced at random. Whoever is left goes on, and in the end every message is accounted for.
//!
//! `MULTIPROC_STORMS` makes the storms so many times as long; `MULTIPROC_SEED` repeats one.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory to keep accounts in")]

mod common;

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

use common::ledger::{Address, Ledger, open};
use common::{ends_within, next, pidfd, seed, storms, until, watchdog};
use multiproc::{
    Codec, Connection, JoinError, Nothing, Pipe, Plain, Process, Queue, QueueStats, Received,
    Receiver, SendError, Sender, Serde,
};
use serde::{Deserialize, Serialize};

const SIGKILL: i32 = 9;

/// How often a worker that waits looks around.
const GLANCE: Duration = Duration::from_millis(50);

/// So many producers there can ever have been in one storm, of so many messages each.
const PRODUCERS: usize = 2048;
const QUOTA: usize = 1 << 15;

/// So many consumers at a time.
const CONSUMERS: usize = 8;

/// Nothing more is sent.
const ENOUGH: u64 = 1;
/// Nothing more is received by those who wait.
const OVER: u64 = 2;

/// What everybody writes down, in memory that outlives them all.
#[repr(C)]
struct Board {
    orders: AtomicU64,
    producers: AtomicU64,
    /// How many are there of those who are alone.
    present: AtomicU64,
    /// How many messages were received more than once.
    doubles: AtomicU64,
    sent: AtomicU64,
    /// How many messages each consumer's place has received.
    passed: [AtomicU64; CONSUMERS],
    /// How many sends of each producer have returned.
    acknowledged: [AtomicU64; PRODUCERS],
    /// A bit for each message that was received.
    received: Bits,
    /// A bit for each that was received again.
    again: Bits,
}

type Bits = [[AtomicU64; QUOTA / 64]; PRODUCERS];

impl Board {
    fn has_order(&self, order: u64) -> bool {
        self.orders.load(Relaxed) & order != 0
    }

    fn ahead(&self) -> u64 {
        self.sent.load(Relaxed).saturating_sub(self.passed())
    }

    fn passed(&self) -> u64 {
        self.passed.iter().map(|passed| passed.load(Relaxed)).sum()
    }

    /// Writes down that a message was received.
    fn mark(&self, (producer, number): (u64, u64)) {
        let (word, bit) = (number as usize / 64, number % 64);
        let mark = |bits: &Bits| {
            let before = bits[producer as usize][word].fetch_or(1 << bit, Relaxed);
            before >> bit & 1 == 0
        };
        if !mark(&self.received) && mark(&self.again) {
            self.doubles.fetch_add(1, Relaxed);
        }
    }

    fn is_marked(&self, producer: usize, number: u64) -> bool {
        let word = self.received[producer].get(number as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) >> (number % 64) & 1 == 1)
    }
}

/// A message that says who sent it and as the how manyth, and tells if it was torn.
trait Load: Sized + std::fmt::Debug + 'static {
    type Codec: Codec<Self> + 'static;

    /// Whether a message has a place where it is in somebody's hands. A word has none: who dies
    /// with it has received it.
    const HAS_HANDS: bool = true;

    fn new(producer: u64, number: u64) -> Self;

    fn read(&self) -> (u64, u64);
}

/// Rides in a slot.
type Word = u64;

impl Load for Word {
    type Codec = Plain;

    const HAS_HANDS: bool = false;

    fn new(producer: u64, number: u64) -> Self {
        let name = producer << 15 | number;
        name << 32 | next(&mut name.clone()) & 0xffff_ffff
    }

    fn read(&self) -> (u64, u64) {
        let name = self >> 32;
        let (producer, number) = (name >> 15, name % QUOTA as u64);
        assert_eq!(*self, Self::new(producer, number), "torn");
        (producer, number)
    }
}

/// Rides in a block.
type Small = [u64; 4];

impl Load for Small {
    type Codec = Plain;

    fn new(producer: u64, number: u64) -> Self {
        [producer, number, producer ^ number, !number]
    }

    fn read(&self) -> (u64, u64) {
        let [producer, number, both, not] = *self;
        assert!(both == producer ^ number && not == !number, "torn: {self:?}");
        (producer, number)
    }
}

/// Of every size, also of some that do not lie in the ring.
type Any = Vec<u64>;

impl Load for Any {
    type Codec = Serde;

    fn new(producer: u64, number: u64) -> Self {
        let mut state = (producer << 32 | number) + 1;
        let bits = next(&mut state);
        let length = if bits.is_multiple_of(16) { bits % 3000 } else { bits % 40 };
        let body = (0..length).map(|place| producer ^ number ^ place);
        [producer, number, length].into_iter().chain(body).collect()
    }

    fn read(&self) -> (u64, u64) {
        let [producer, number, length, ref body @ ..] = self[..] else { panic!("torn: {self:?}") };
        let is_whole = |(place, word): (usize, &u64)| *word == producer ^ number ^ place as u64;
        assert!(body.len() as u64 == length && body.iter().enumerate().all(is_whole), "torn");
        (producer, number)
    }
}

/// One of so many.
fn pick(state: &mut u64, count: usize) -> usize {
    (next(state) % count as u64) as usize
}

/// What a process needs besides its end of the queue.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Duty {
    address: Address,
    /// Which of the consumers' places it has.
    place: usize,
    /// Whether messages may come twice, and out of order.
    is_lax: bool,
}

fn produce<L: Load>((mut sender, duty): (Sender<L, L::Codec>, Duty)) {
    let board: &Board = open(duty.address);
    loop {
        let me = board.producers.fetch_add(1, Relaxed);
        let acknowledged = &board.acknowledged[me as usize];
        for number in 0..QUOTA as u64 {
            if board.has_order(ENOUGH) {
                return;
            }
            if let Err(end) = send(&mut sender, L::new(me, number)) {
                assert!(end.is_disconnected() && board.has_order(ENOUGH), "{end}");
                return;
            }
            acknowledged.store(number + 1, Relaxed);
            board.sent.fetch_add(1, Relaxed);
            // A queue that grows is not full, but the end is to come some day.
            until(|| board.ahead() < 5000 || board.has_order(ENOUGH));
        }
    }
}

fn consume<L: Load>((mut receiver, duty): (Receiver<L, L::Codec>, Duty)) {
    let mut clerk = Clerk::new(duty);
    while !clerk.board.has_order(OVER) {
        match receiver.recv_guard_timeout(GLANCE) {
            Ok(held) => clerk.enter(held),
            Err(end) if end.is_disconnected() => return,
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    }
}

/// Sends a message with one verb or another.
fn send<L: Load>(sender: &mut Sender<L, L::Codec>, load: L) -> Result<(), SendError<L>> {
    let sent = match load.read().1 % 4 {
        0 => sender.send_timeout(load, Duration::from_micros(100)),
        1 => sender.try_send(load),
        _ => sender.send(load),
    };
    match sent {
        Err(unsent) if unsent.is_full() || unsent.is_timeout() => sender.send(unsent.into_inner()),
        sent => sent,
    }
}

/// Looks at messages in place, so that each one that was let go of is written down.
struct Clerk {
    duty: Duty,
    board: &'static Board,
    last: HashMap<u64, u64>,
}

impl Clerk {
    fn new(duty: Duty) -> Self {
        Self { duty, board: open(duty.address), last: HashMap::new() }
    }

    fn enter<L: Load>(&mut self, held: Received<'_, L, L::Codec>) {
        let (producer, number) = held.get().unwrap().read();
        let before = self.last.insert(producer, number);
        assert!(self.duty.is_lax || before < Some(number), "{number} behind {before:?}");
        self.board.mark((producer, number));
        // Some take their time, and are killed meanwhile.
        if number.is_multiple_of(64) {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(100) {}
        }
        drop(held);
        self.board.passed[self.duty.place].fetch_add(1, Relaxed);
    }
}

/// What a storm is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Weather {
    /// `None` for a queue that grows.
    capacity: Option<usize>,
    redelivers: bool,
    producers: usize,
    consumers: usize,
    rounds: usize,
}

impl Weather {
    /// Whether the queue knows what is in somebody's hands.
    fn has_hands<L: Load>(self) -> bool {
        L::HAS_HANDS || self.redelivers || self.capacity.is_none()
    }
}

struct Worker {
    process: Process<()>,
    is_producer: bool,
    place: usize,
    is_stopped: bool,
}

/// A queue, the processes at it, and the account of what they do.
struct Scene<L: Load> {
    ledger: Ledger<Board>,
    queue: Queue<L, L::Codec>,
    weather: Weather,
    workers: Vec<Worker>,
    killed: Killed,
    random: u64,
}

/// How many were killed.
#[derive(Clone, Copy, Debug, Default)]
struct Killed {
    producers: u64,
    consumers: u64,
}

fn queue_for<L: Load>(weather: Weather) -> Queue<L, L::Codec> {
    let builder = Queue::builder().codec::<L::Codec>().handles(40).redeliver(weather.redelivers);
    match weather.capacity {
        Some(capacity) => builder.bounded(capacity).unwrap(),
        None => builder.unbounded().unwrap(),
    }
}

impl<L: Load> Scene<L> {
    fn new(weather: Weather, random: u64) -> Self {
        let (ledger, queue) = (Ledger::new(), queue_for(weather));
        let workers = Vec::new();
        let mut scene = Self { ledger, queue, weather, workers, killed: Killed::default(), random };
        (0..weather.producers).for_each(|_| scene.hire(true, 0));
        (0..weather.consumers).for_each(|place| scene.hire(false, place));
        scene
    }

    fn hire(&mut self, is_producer: bool, place: usize) {
        let address = self.ledger.address();
        let duty = Duty { address, place, is_lax: self.weather.redelivers };
        let process = if is_producer {
            Process::spawn(produce::<L>, (self.queue.sender().unwrap(), duty)).unwrap()
        } else {
            Process::spawn(consume::<L>, (self.queue.receiver().unwrap(), duty)).unwrap()
        };
        self.workers.push(Worker { process, is_producer, place, is_stopped: false });
    }

    fn pick(&mut self, count: usize) -> usize {
        pick(&mut self.random, count)
    }

    /// Lets time pass at random, without giving the processor to anybody on purpose.
    fn dawdle(&mut self, most: Duration) {
        let micros = self.pick(most.as_micros() as usize + 1);
        let until = Instant::now() + Duration::from_micros(micros as u64);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    /// Kills so many at once, whether they are stopped or not, and sends others in their place.
    fn kill(&mut self, count: usize) {
        let mut dead = Vec::new();
        for _ in 0..count.min(self.workers.len()) {
            let index = self.pick(self.workers.len());
            let worker = self.workers.swap_remove(index);
            worker.process.kill().unwrap();
            // The next one may be busy with this one's remains.
            self.dawdle(Duration::from_micros(300));
            dead.push(worker);
        }
        for worker in dead {
            self.killed.producers += u64::from(worker.is_producer);
            self.killed.consumers += u64::from(!worker.is_producer);
            self.hire(worker.is_producer, worker.place);
            let end = worker.process.join();
            let signal = end.as_ref().err().and_then(JoinError::signal);
            assert_eq!(signal, Some(SIGKILL), "{end:?}");
        }
    }

    /// Stops somebody, if somebody else can do the same. Who it was.
    fn stop(&mut self) -> Option<usize> {
        let index = self.pick(self.workers.len());
        let is_producer = self.workers[index].is_producer;
        let others = self.workers.iter().enumerate().filter(|(other, worker)| {
            *other != index && worker.is_producer == is_producer && !worker.is_stopped
        });
        if others.count() == 0 {
            return None;
        }
        self.dawdle(Duration::from_micros(300));
        let worker = &mut self.workers[index];
        worker.process.signal(libc::SIGSTOP).unwrap();
        worker.is_stopped = true;
        Some(index)
    }

    fn go_on(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.process.signal(libc::SIGCONT).unwrap();
        worker.is_stopped = false;
    }

    fn all_go_on(&mut self) {
        (0..self.workers.len()).for_each(|index| self.go_on(index));
    }

    /// Demands that so many more messages pass.
    fn demand(&mut self, messages: u64) {
        let due = self.ledger.board.passed() + messages;
        while self.ledger.board.passed() < due {
            let ended = self.workers.iter().position(|worker| !worker.process.is_alive());
            if let Some(index) = ended {
                let end = self.workers.swap_remove(index).process.join();
                panic!("a process ended by itself: {end:?}");
            }
            std::thread::yield_now();
        }
    }

    /// Ends everything in order; what is left of the queue.
    fn end(mut self) -> Account {
        self.all_go_on();
        self.ledger.board.orders.fetch_or(ENOUGH, Relaxed);
        let (producers, consumers): (Vec<_>, Vec<_>) =
            self.workers.drain(..).partition(|worker| worker.is_producer);
        producers.into_iter().for_each(|worker| worker.process.join().unwrap());
        self.queue.close();
        consumers.into_iter().for_each(|worker| worker.process.join().unwrap());
        assert!(self.queue.is_empty() && self.queue.recv().unwrap_err().is_disconnected());
        let handles = self.queue.info().handles;
        assert_eq!(handles.len(), 1, "{handles:?}");
        let (stats, has_hands) = (Stats::of(&self.queue), self.weather.has_hands::<L>());
        Account { ledger: self.ledger, stats, killed: self.killed, has_hands }
    }
}

/// What a queue says, so that it can be passed on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Stats {
    sent: u64,
    received: u64,
    in_flight: u64,
    lost: u64,
    redelivered: u64,
}

impl Stats {
    fn of<T, C>(queue: &Queue<T, C>) -> Self {
        let QueueStats { sent, received, in_flight, lost, redelivered, .. } = queue.stats();
        Self { sent, received, in_flight, lost, redelivered }
    }
}

/// What is there to compare in the end.
struct Account {
    ledger: Ledger<Board>,
    stats: Stats,
    killed: Killed,
    has_hands: bool,
}

impl Account {
    /// Received and lost is what was sent; nothing came twice that was not to be delivered again.
    fn check(&self) {
        let Self { stats, killed, .. } = self;
        let board = self.ledger.board;
        let producers = board.producers.load(Relaxed) as usize;
        let (mut acknowledged, mut received, mut missing) = (0, 0, 0);
        for producer in 0..producers {
            let sent = board.acknowledged[producer].load(Relaxed);
            acknowledged += sent;
            let marked = |number: &u64| board.is_marked(producer, *number);
            let here = (0..sent).filter(marked).count() as u64;
            missing += sent - here;
            // Who was killed may have sent one more than it could say.
            let more = (sent..QUOTA as u64).filter(marked).count() as u64;
            assert!(more == 0 || more == 1 && marked(&sent), "{more} that nobody sent");
            received += here + more;
        }
        let doubles = board.doubles.load(Relaxed);
        println!(
            "{stats:?}: {received} received, {missing} missing, {doubles} doubles, \
             {killed:?}, {producers} producers"
        );
        assert_eq!((stats.received + stats.lost, stats.in_flight), (stats.sent, 0));
        assert!(acknowledged <= stats.sent && stats.sent <= acknowledged + killed.producers);
        let unseen = if self.has_hands { 0 } else { killed.consumers };
        assert!(missing <= stats.lost + unseen, "{missing} missing, {} lost", stats.lost);
        // Who was killed with a message in its hands may have written it down.
        assert!(stats.received <= received + unseen && received <= stats.received + stats.lost);
        assert!(doubles <= stats.redelivered);
    }
}

fn storm<L: Load>(weather: Weather) {
    let seed = seed();
    println!("{weather:?}, seed {seed}");
    let mut scene = Scene::<L>::new(weather, seed);
    for _ in 0..weather.rounds * storms() {
        match scene.pick(8) {
            0..=2 => scene.kill(1),
            3 => scene.kill(2),
            4 => scene.kill(4),
            5 | 6 => drop(scene.stop()),
            _ => scene.all_go_on(),
        }
        let messages = scene.pick(300) as u64;
        scene.demand(messages);
    }
    scene.end().check();
}

fn weather(capacity: usize) -> Weather {
    let capacity = Some(capacity);
    Weather { capacity, redelivers: false, producers: 3, consumers: 3, rounds: 40 }
}

#[test]
fn a_storm_over_a_queue_of_one() {
    let _watchdog = watchdog("a_storm_over_a_queue_of_one");
    storm::<Small>(weather(1));
    storm::<Word>(weather(1));
}

#[test]
fn a_storm_over_a_queue_of_three() {
    let _watchdog = watchdog("a_storm_over_a_queue_of_three");
    storm::<Any>(Weather { producers: 4, consumers: 2, ..weather(3) });
}

#[test]
fn a_storm_over_a_queue_of_many() {
    let _watchdog = watchdog("a_storm_over_a_queue_of_many");
    storm::<Small>(Weather { producers: 2, consumers: 4, ..weather(64) });
    storm::<Word>(Weather { producers: 4, consumers: 4, ..weather(64) });
}

#[test]
fn a_storm_over_a_queue_that_grows() {
    let _watchdog = watchdog("a_storm_over_a_queue_that_grows");
    storm::<Any>(Weather { capacity: None, producers: 2, consumers: 3, ..weather(1) });
}

#[test]
fn storms_in_which_everything_is_delivered() {
    let _watchdog = watchdog("storms_in_which_everything_is_delivered");
    for capacity in [1, 3, 64] {
        storm::<Small>(Weather { redelivers: true, rounds: 15, ..weather(capacity) });
        storm::<Any>(Weather { redelivers: true, rounds: 15, ..weather(capacity) });
    }
}

/// Whoever is stopped, the others go on for as long as they like.
#[test]
fn the_stopped_stall_nobody() {
    const MESSAGES: u64 = 10_000;
    let _watchdog = watchdog("the_stopped_stall_nobody");
    fn stop_some<L: Load>(capacity: usize) {
        let mut scene = Scene::<L>::new(weather(capacity), seed() + capacity as u64);
        scene.demand(100);
        for _ in 0..7 * storms() {
            scene.dawdle(Duration::from_millis(1));
            let stopped = scene.stop();
            scene.demand(MESSAGES);
            stopped.into_iter().for_each(|index| scene.go_on(index));
        }
        let account = scene.end();
        account.check();
        assert_eq!(account.stats.lost, 0);
    }
    for capacity in [1, 3, 64] {
        stop_some::<Small>(capacity);
        stop_some::<Word>(capacity);
    }
}

/// Who gives everybody his place, and is gone then.
type Crib = (Weather, Duty, Receiver<()>, Connection<Vec<u32>, Nothing>, Audit);

/// What the one is asked who is never killed: to take stock, and to say it.
type Audit = (Connection<Nothing, ()>, Connection<Stats, Nothing>);

/// Says that this process is there, and ends it with the one that holds the other end.
fn follow(mut leash: Receiver<()>, duty: Duty) {
    open::<Board>(duty.address).present.fetch_add(1, Relaxed);
    std::thread::spawn(move || {
        assert!(leash.recv().unwrap_err().is_disconnected());
        std::process::exit(1)
    });
}

fn nurse<L: Load>((weather, duty, leash, mut report, audit): Crib) {
    type Job<End> = (Receiver<()>, (End, Duty));
    fn alone_produce<L: Load>((leash, job): Job<Sender<L, L::Codec>>) {
        follow(leash, job.1);
        produce::<L>(job);
    }
    fn alone_consume<L: Load>((leash, job): Job<Receiver<L, L::Codec>>) {
        follow(leash, job.1);
        consume::<L>(job);
    }
    let queue = queue_for::<L>(weather);
    let builder = || Process::builder().daemon(false);
    let producer = |_| {
        let job = (queue.sender().unwrap(), duty);
        builder().spawn(alone_produce::<L>, (leash.clone(), job)).unwrap()
    };
    let consumer = |place| {
        let job = (queue.receiver().unwrap(), Duty { place, ..duty });
        builder().spawn(alone_consume::<L>, (leash.clone(), job)).unwrap()
    };
    let mut born: Vec<Process<()>> = (0..weather.producers).map(producer).collect();
    born.extend((0..weather.consumers).map(consumer));
    let job = (queue.clone(), duty, leash.clone(), audit);
    let auditor = builder().spawn(take_stock::<L>, job).unwrap();
    let board: &Board = open(duty.address);
    until(|| board.present.load(Relaxed) == born.len() as u64 + 1);
    report.send(born.iter().map(Process::pid).collect()).unwrap();
    drop(auditor);
    // Nobody is left who is told of deaths.
    unsafe { libc::kill(libc::getpid(), SIGKILL) };
}

/// Waits until everybody else is gone, and takes what they have left.
fn take_stock<L: Load>(
    (mut queue, duty, leash, (mut asked, mut answer)): (
        Queue<L, L::Codec>,
        Duty,
        Receiver<()>,
        Audit,
    ),
) {
    follow(leash, duty);
    asked.recv().unwrap();
    // Not the first to receive from somebody, so what comes need not be in order.
    let mut clerk = Clerk::new(Duty { is_lax: true, ..duty });
    let mut is_alone = false;
    loop {
        while let Ok(held) = queue.try_recv_guard() {
            clerk.enter(held);
        }
        if is_alone {
            break;
        }
        // The dead may still have something, and are noticed by those who look for it.
        is_alone = queue.info().handles.len() == 1;
    }
    answer.send(Stats::of(&queue)).unwrap();
}

fn signal(orphan: &OwnedFd, signal: i32) {
    let call = libc::SYS_pidfd_send_signal;
    unsafe { libc::syscall(call, orphan.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) };
}

/// Producers and consumers of whose deaths nobody is told. Some are killed, others go on.
fn storm_among_orphans<L: Load>(weather: Weather, random: &mut u64) {
    let ledger = Ledger::<Board>::new();
    let duty = Duty { address: ledger.address(), place: 0, is_lax: weather.redelivers };
    let (hold, leash) = Queue::<()>::channel(1).unwrap();
    let (report, mut born) = Pipe::simplex().unwrap();
    let ((mut ask, asked), (answer, mut answered)) =
        (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
    let crib = (weather, duty, leash, report, (asked, answer));
    let nursery = Process::spawn(nurse::<L>, crib).unwrap();
    let orphans: Vec<u32> = born.recv().unwrap();
    let mut orphans: Vec<OwnedFd> = orphans.into_iter().map(pidfd).collect();
    assert_eq!(nursery.join().unwrap_err().signal(), Some(SIGKILL));
    let mut consumers = orphans.split_off(weather.producers);
    let mut producers = orphans;
    let demand = |messages: u64| {
        let due = ledger.board.passed() + messages;
        while ledger.board.passed() < due {
            std::thread::yield_now();
        }
    };
    demand(100);
    while producers.len() > 1 && consumers.len() > 1 {
        // Two at once, so that one may be dead while he cleans up after the other, or stopped.
        for _ in 0..2 {
            let kind = if pick(random, 2) == 0 { &mut producers } else { &mut consumers };
            if kind.len() > 1 {
                let victim = kind.swap_remove(pick(random, kind.len()));
                let start = Instant::now();
                let pause = Duration::from_micros(next(random) % 400);
                while start.elapsed() < pause {}
                signal(&victim, SIGKILL);
            }
        }
        demand(next(random) % 300);
    }
    let killed = Killed {
        producers: (weather.producers - producers.len()) as u64,
        consumers: (weather.consumers - consumers.len()) as u64,
    };
    ledger.board.orders.fetch_or(ENOUGH, Relaxed);
    let has_ended = |one: &OwnedFd| ends_within(one.as_fd(), Duration::from_secs(50));
    assert!(producers.iter().all(has_ended));
    ledger.board.orders.fetch_or(OVER, Relaxed);
    assert!(consumers.iter().all(has_ended));
    ask.send(()).unwrap();
    let stats = answered.recv().unwrap();
    drop(hold);
    Account { ledger, stats, killed, has_hands: weather.has_hands::<L>() }.check();
}

#[test]
fn storms_among_orphans() {
    let _watchdog = watchdog("storms_among_orphans");
    let mut random = seed();
    for round in 0..8 * storms() {
        let capacity = [Some(1), Some(3), Some(64), None][round % 4];
        let redelivers = round % 8 >= 4;
        let weather = Weather { capacity, redelivers, producers: 3, consumers: 3, rounds: 0 };
        println!("{weather:?}");
        storm_among_orphans::<Word>(weather, &mut random);
        storm_among_orphans::<Small>(weather, &mut random);
        storm_among_orphans::<Any>(weather, &mut random);
    }
}
