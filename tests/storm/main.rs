//! P1 to P4: the storm. Processes do everything that there is to do, at random and at once; they
//! are killed, stopped and replaced at random. Whoever is left goes on, nothing is torn, and in the
//! end every message, permit and update is accounted for.
//!
//! `MULTIPROC_STORMS=n` makes it `n` times as long, and `MULTIPROC_SEED` repeats the decisions of
//! one: ten minutes are
//! `MULTIPROC_STORMS=75 cargo test --release --test storm -- --nocapture`.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory to keep accounts in")]
#![allow(unreachable_pub, reason = "a test has no users")]

#[path = "../common/mod.rs"]
mod common;

mod acts;
mod board;
mod possessions;
mod things;

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

use acts::ALL;
use board::{Board, PLACES};
use common::ledger::Ledger;
use common::{assert_killed, next, seed, storms, until, watchdog};
use multiproc::{Connection, ErrorKind, Nothing, Pipe, Pool, Process, Task, TaskError, Value};
use possessions::Possessions;
use things::{Letter, PERMITS, Things};

/// How long a storm is, if it is not made longer.
const STORM: Duration = Duration::from_secs(8);

/// How long it may take until everybody has done something when nobody is stopped any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many acts of each that is.
const SIGNS_OF_LIFE: u64 = 3;

const POOL: usize = 2;

struct Worker {
    process: Process<()>,
    outbox: Connection<Letter, Nothing>,
    is_stopped: bool,
}

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    hired: u64,
    killed: u64,
    stopped: u64,
    left: u64,
    /// Workers of the pool.
    shot: u64,
    calms: u64,
    /// The longest time until everybody had done something.
    slowest_calm: Duration,
}

struct Scene {
    ledger: Ledger<Board>,
    things: Things,
    workers: [Option<Worker>; PLACES],
    pool: Pool,
    tasks: Vec<(u64, Task<u64>)>,
    /// What the tasks count, and how many have ended well or not.
    count: Value<AtomicU64>,
    ended: [u64; 2],
    counts: Counts,
    random: u64,
}

fn count_and_double((count, number): (Value<AtomicU64>, u64)) -> u64 {
    // Some take their time, and are killed meanwhile.
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(100 * (number % 8)) {}
    count.fetch_add(1, Relaxed);
    2 * number
}

impl Scene {
    fn new(seed: u64) -> Self {
        Self {
            ledger: Ledger::new(),
            things: Things::new().unwrap(),
            workers: Default::default(),
            pool: Pool::builder()
                .workers(POOL)
                .restarts(usize::MAX, Duration::from_secs(1))
                .build()
                .unwrap(),
            tasks: Vec::new(),
            count: Value::<u64>::atomic(0).unwrap(),
            ended: [0; 2],
            counts: Counts::default(),
            random: seed,
        }
    }

    fn board(&self) -> &'static Board {
        self.ledger.board
    }

    fn pick(&mut self, count: usize) -> usize {
        (next(&mut self.random) % count as u64) as usize
    }

    fn hire(&mut self, place: usize) {
        let (address, seed) = (self.ledger.address(), next(&mut self.random));
        let (process, outbox) = loop {
            let (outbox, inbox) = Pipe::simplex().unwrap();
            let spawned = self.things.try_clone().and_then(|things| {
                Process::spawn(acts::work, (things, inbox, address, place, seed))
            });
            match spawned {
                Ok(process) => break (process, outbox),
                // The dead have their handles for a moment.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Limit, "{error}"),
            }
            std::thread::yield_now();
        };
        self.counts.hired += 1;
        self.workers[place] = Some(Worker { process, outbox, is_stopped: false });
    }

    /// Kills so many, stopped or not, and sends others in their places.
    fn kill(&mut self, count: usize) {
        let mut dead = Vec::new();
        for _ in 0..count {
            let place = self.pick(PLACES);
            let pause = self.pick(300);
            let Some(worker) = self.workers[place].take() else { continue };
            self.board().places[place].is_doomed.store(1, SeqCst);
            worker.process.kill().unwrap();
            self.counts.killed += 1;
            dead.push((place, worker));
            // The next one may be busy with this one's remains.
            self.linger(Duration::from_micros(pause as u64));
        }
        for (place, worker) in dead {
            assert_killed(worker.process.join());
            self.vacate(place);
            self.hire(place);
        }
    }

    fn vacate(&mut self, place: usize) {
        let place = &self.board().places[place];
        place.has_permit.store(0, SeqCst);
        place.act.store(0, SeqCst);
        place.is_to_leave.store(0, SeqCst);
        place.is_doomed.store(0, SeqCst);
    }

    fn stop(&mut self, place: usize) {
        if let Some(worker) = &mut self.workers[place] {
            worker.process.signal(libc::SIGSTOP).unwrap();
            worker.is_stopped = true;
            self.counts.stopped += 1;
        }
    }

    fn all_go_on(&mut self) {
        for worker in self.workers.iter_mut().flatten().filter(|worker| worker.is_stopped) {
            worker.process.signal(libc::SIGCONT).unwrap();
            worker.is_stopped = false;
        }
    }

    /// Someone leaves in order, or someone new comes.
    fn come_or_go(&mut self, place: usize) {
        self.all_go_on();
        let Some(worker) = self.workers[place].take() else { return self.hire(place) };
        self.board().places[place].is_to_leave.store(1, SeqCst);
        worker.process.join().unwrap();
        self.vacate(place);
        self.counts.left += 1;
    }

    /// Gives the ends of a pipe to two of them, if they are there and read their letters.
    fn introduce(&mut self) {
        let (caller, callee) = Pipe::duplex().unwrap();
        for letter in [Letter::Call(caller), Letter::Answer(callee)] {
            let place = self.pick(PLACES);
            let Some(worker) = &mut self.workers[place] else { continue };
            if let Err(unsent) = worker.outbox.try_send(letter) {
                assert!(unsent.is_full(), "{unsent}");
            }
        }
    }

    fn shoot_at_the_pool(&mut self) {
        let (number, pause) = (self.pick(POOL), self.pick(2000));
        if let Some(pid) = self.pool.pids().get(number).copied() {
            self.counts.shot += 1;
            // It has something to do.
            self.submit(20);
            self.linger(Duration::from_micros(pause as u64));
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    }

    fn submit(&mut self, count: usize) {
        for number in 0..count as u64 {
            let order = (self.count.clone(), number);
            self.tasks.push((number, self.pool.submit(count_and_double, order).unwrap()));
        }
    }

    fn collect(&mut self) {
        for (number, task) in self.tasks.drain(..) {
            match task.get() {
                Ok(result) => assert_eq!(result, 2 * number),
                Err(TaskError::WorkerDied { .. }) => {
                    self.ended[1] += 1;
                    continue;
                }
                Err(other) => panic!("{other}"),
            }
            self.ended[0] += 1;
        }
    }

    /// Lets others act, for so long at the most.
    fn linger(&self, most: Duration) {
        let start = Instant::now();
        while start.elapsed() < most {
            std::thread::yield_now();
        }
    }

    fn round(&mut self) {
        self.counts.rounds += 1;
        let (what, place) = (self.pick(16), self.pick(PLACES));
        match what {
            0..=4 => self.kill(1),
            5 => self.kill(3),
            6..=8 => self.stop(place),
            9 | 10 => self.all_go_on(),
            11 => self.shoot_at_the_pool(),
            12 => self.come_or_go(place),
            _ => self.submit(5),
        }
        (0..3).for_each(|_| self.introduce());
        let pause = self.pick(4000);
        self.linger(Duration::from_micros(pause as u64));
        if self.counts.rounds.is_multiple_of(25) {
            self.calm();
        }
    }

    /// Nobody is stopped: everybody does something, and every task ends.
    fn calm(&mut self) {
        self.all_go_on();
        let start = Instant::now();
        let board = self.board();
        let done = |place: usize| board.places[place].done.load(Relaxed);
        let before: [u64; PLACES] = std::array::from_fn(done);
        loop {
            let is_behind = |place: &usize| {
                self.workers[*place].is_some() && done(*place) < before[*place] + SIGNS_OF_LIFE
            };
            if !(0..PLACES).any(|place| is_behind(&place)) {
                break;
            }
            self.find_the_fallen();
            if start.elapsed() > PATIENCE {
                self.say_who_does_what();
                common::report_waits();
                panic!("no progress");
            }
            std::thread::yield_now();
        }
        self.collect();
        self.counts.calms += 1;
        self.counts.slowest_calm = self.counts.slowest_calm.max(start.elapsed());
    }

    /// Nobody ends by himself.
    fn find_the_fallen(&mut self) {
        let is_fallen = |worker: &Option<Worker>| {
            worker.as_ref().is_some_and(|worker| !worker.process.is_alive())
        };
        if let Some(place) = self.workers.iter().position(is_fallen) {
            let worker = self.workers[place].take().unwrap();
            self.say_who_does_what();
            panic!("the worker at place {place} ended: {:?}", worker.process.join());
        }
    }

    fn say_who_does_what(&self) {
        println!("{:?}", self.counts);
        for (place, worker) in self.workers.iter().enumerate() {
            let act = self.board().places[place].act.load(Relaxed) as usize;
            let act = act.checked_sub(1).map_or("nothing", |act| ALL[act].0);
            let pid = worker.as_ref().map(|worker| worker.process.pid());
            println!("  place {place}, process {pid:?}: {act}");
        }
        let Things { lock, reentrant, rwlock, semaphore, .. } = &self.things;
        println!("{lock:?} {reentrant:?} {rwlock:?} {semaphore:?}");
        println!("{:?} {:?}", self.things.bounded, self.things.growing);
    }

    /// Everybody leaves in order.
    fn end(&mut self) {
        self.calm();
        self.board().is_over.store(1, SeqCst);
        for place in 0..PLACES {
            if let Some(worker) = self.workers[place].take() {
                worker.process.join().unwrap();
            }
        }
        self.board().is_over.store(0, SeqCst);
        self.drain();
    }

    /// Takes what is left in the queues.
    fn drain(&mut self) {
        let books = &self.ledger.board.books;
        while let Ok(held) = self.things.bounded.try_recv_guard() {
            let [name, number, ..] = held.get().unwrap();
            books[0].mark((name, number));
        }
        while let Ok(held) = self.things.growing.try_recv_guard() {
            let message = held.get().unwrap();
            books[1].mark((message[0], message[1]));
        }
        let things = &self.things;
        until(|| things.bounded.info().handles.len() == 1);
        until(|| things.growing.info().handles.len() == 1);
    }
}

/// What came out is what went in, but for what the dead took with them.
fn check(scene: &Scene) {
    let Scene { things, counts, count, ended: [well, badly], .. } = scene;
    let board = scene.board();
    let stats = [things.bounded.stats(), things.growing.stats()];
    for (stats, book) in stats.iter().zip(&board.books) {
        let acknowledged = book.acknowledged.load(Relaxed);
        let (received, doubles) = (book.received.load(Relaxed), book.doubles.load(Relaxed));
        println!("{stats:?}: {acknowledged} acknowledged, {received} seen, {doubles} twice");
        assert_eq!((stats.received + stats.lost, stats.in_flight), (stats.sent, 0));
        assert!(acknowledged <= stats.sent && stats.sent <= acknowledged + counts.killed);
        assert!(stats.received <= received && received <= stats.received + stats.lost);
        assert!(doubles == 0 && stats.lost <= counts.killed);
    }
    let values = [things.value.get().unwrap()[0], things.atomic.load(SeqCst)];
    for (value, updates) in values.into_iter().zip(&board.updates) {
        let updates = updates.load(Relaxed);
        assert!(updates <= value && value <= updates + counts.killed, "{updates} {value}");
    }
    assert_eq!(things.semaphore.available(), PERMITS);
    let tasks = count.load(SeqCst);
    println!("tasks: {well} done, {badly} died with their workers, {tasks} counted");
    assert!(*well <= tasks && tasks <= well + badly);
    assert!(*badly <= counts.shot);
    assert!(!things.lock.is_locked() && !things.reentrant.is_locked());
    assert!(!things.array.is_locked() && !things.value.is_locked());
}

#[test]
fn a_storm_over_everything() {
    let _watchdog = watchdog("a_storm_over_everything");
    let seed = seed();
    let mut scene = Scene::new(seed);
    (0..PLACES).for_each(|place| scene.hire(place));
    scene.submit(20);
    scene.end();
    let before = Possessions::now();
    (0..PLACES).for_each(|place| scene.hire(place));
    let start = Instant::now();
    while start.elapsed() < STORM * storms() as u32 {
        scene.round();
    }
    scene.end();
    let (acts, answers) = (scene.board().done(), scene.board().answers.load(Relaxed));
    println!("{:?}, {acts} acts, {answers} answers", scene.counts);
    for ((name, _), times) in ALL.iter().zip(&scene.board().acts) {
        println!("  {name}: {}", times.load(Relaxed));
    }
    check(&scene);
    before.compare(Possessions::now());
}
