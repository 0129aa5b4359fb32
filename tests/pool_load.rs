//! Very many tasks, very large ones, and very many deaths.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::fs;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use multiproc::{Event, Pool, Task};

use common::tasks::{square, wait_for};

const OUTSTANDING: u64 = 100_000;

#[test]
fn a_hundred_thousand_tasks_are_outstanding() {
    common::watched("pool_load", || {
        let pool = Pool::new(2).unwrap();
        let event = Event::new().unwrap();
        let gates = [(); 2].map(|()| pool.submit(wait_for, event.clone()).unwrap());
        common::until(|| pool.stats().running == 2);
        let before = common::open_fds();
        let tasks: Vec<_> = (0..OUTSTANDING).map(|n| pool.submit(square, n).unwrap()).collect();
        assert_eq!(pool.stats().queued as u64, OUTSTANDING);
        // Other tests come and go, but with no more than a few each.
        assert!(common::open_fds() < before + 100);
        event.set().unwrap();
        gates.into_iter().for_each(|gate| gate.get().unwrap());
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.get().unwrap(), n * n);
        }
        assert_eq!(pool.stats().done, OUTSTANDING + 2);
    });
}

const GIB: usize = 1 << 30;

/// A text, the bytes that it travels as, and the same in the other process.
const NEEDED: usize = 7 * GIB;

/// One at a time.
static LARGE: Mutex<()> = Mutex::new(());

/// Whether there is memory for a task of a GiB.
fn has_memory() -> bool {
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let mut lines = info.lines().filter_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: usize = lines.next().unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    let has_memory = kib >= NEEDED >> 10;
    if !has_memory {
        eprintln!("skipped: {kib} KiB of memory are free, {} needed", NEEDED >> 10);
    }
    has_memory
}

/// A long text, whose every MiB is another one.
fn long_text(length: usize) -> String {
    let mut text = "x".repeat(length).into_bytes();
    for (n, place) in text.iter_mut().step_by(1 << 20).enumerate() {
        *place = b'a' + (n % 23) as u8;
    }
    String::from_utf8(text).unwrap()
}

fn is_long_text(text: &str) -> bool {
    let is_marked = |(n, byte): (usize, &u8)| *byte == b'a' + (n % 23) as u8;
    text.as_bytes().iter().step_by(1 << 20).enumerate().all(is_marked)
}

fn length_of_text(text: String) -> Option<usize> {
    is_long_text(&text).then_some(text.len())
}

#[test]
fn an_argument_may_be_a_gibibyte() {
    common::watched("pool_load", || {
        let _alone = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
        if has_memory() {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.apply(length_of_text, long_text(GIB)).unwrap(), Some(GIB));
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
        }
    });
}

#[test]
fn a_result_may_be_a_gibibyte() {
    common::watched("pool_load", || {
        let _alone = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
        if has_memory() {
            let pool = Pool::new(1).unwrap();
            assert_eq!(length_of_text(pool.apply(long_text, GIB).unwrap()), Some(GIB));
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
        }
    });
}

/// How many tasks the soak has: `MULTIPROC_SOAK`, or as many as take a second or two.
fn tasks_of_soak() -> usize {
    let wanted = std::env::var("MULTIPROC_SOAK").ok().and_then(|count| count.parse().ok());
    wanted.unwrap_or(20_000 * common::storms())
}

/// A worker is killed after about so many answers.
const ANSWERS_A_LIFE: u64 = 100;

/// Tasks that are on their way at the same time.
const BATCH: usize = 2_000;

/// How often each task was answered, by callback.
type Answers = Arc<Vec<AtomicU8>>;

/// A square, and the work of some microseconds, so that there is something to die in.
fn slow_square(n: u64) -> u64 {
    (0..1000).fold(n * n, |square, step| std::hint::black_box(square ^ step ^ step))
}

fn submit_counted(pool: &Pool, number: usize, answers: &Answers) -> Task<u64> {
    let task = pool.submit(slow_square, number as u64).unwrap();
    let answers = Arc::clone(answers);
    task.on_done(move |_| _ = answers[number].fetch_add(1, Relaxed));
    task
}

/// Kills workers of the pool at random, until it is over. How many.
fn kill_at_random(pool: &Pool, answered: &AtomicUsize, over: mpsc::Receiver<()>, seed: u64) -> u64 {
    let (mut state, mut killed, mut next) = (seed, 0, 0);
    while over.try_recv() == Err(TryRecvError::Empty) {
        if answered.load(Relaxed) < next {
            thread::yield_now();
            continue;
        }
        next = answered.load(Relaxed) + (common::next(&mut state) % (2 * ANSWERS_A_LIFE)) as usize;
        let pids = pool.pids();
        let place = common::next(&mut state) as usize % pids.len().max(1);
        if let Some(pid) = pids.get(place) {
            unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
            killed += 1;
        }
    }
    killed
}

/// Every task is answered once: with its result, or by the death of the worker that was at it.
#[test]
fn a_soak_of_tasks_and_deaths_answers_every_task_once() {
    let count = tasks_of_soak();
    let _watchdog = (count <= 20_000 * common::storms()).then(|| common::watchdog("pool_load"));
    let seed = common::seed();
    let builder = Pool::builder().workers(3).restarts(usize::MAX, Duration::from_secs(1));
    let pool = builder.build().unwrap();
    let answers: Answers = Arc::new((0..count).map(|_| AtomicU8::new(0)).collect());
    let answered = AtomicUsize::new(0);
    let (start, mut dead) = (Instant::now(), 0);
    let killed = thread::scope(|scope| {
        // Dropped, also by a failure, it ends the killer.
        let (going, over) = mpsc::channel();
        let killer = scope.spawn(|| kill_at_random(&pool, &answered, over, seed));
        for first in (0..count).step_by(BATCH) {
            let numbers = first..count.min(first + BATCH);
            let tasks: Vec<_> =
                numbers.map(|number| (number, submit_counted(&pool, number, &answers))).collect();
            for (number, task) in tasks {
                match task.get() {
                    Ok(result) => assert_eq!(result, square(number as u64)),
                    Err(error) => {
                        assert!(error.is_worker_dead(), "{error}");
                        dead += 1;
                    }
                }
                answered.fetch_add(1, Relaxed);
            }
        }
        drop(going);
        killer.join().unwrap()
    });
    let (time, stats) = (start.elapsed(), pool.stats());
    println!(
        "{count} tasks in {time:.1?}, {killed} kills, {} restarts, {dead} lost",
        stats.restarted
    );
    assert!(answers.iter().all(|count| count.load(Relaxed) == 1));
    assert_eq!((stats.queued, stats.running), (0, 0));
    assert_eq!((stats.done, stats.failed), ((count - dead) as u64, dead as u64));
    assert!(dead as u64 <= stats.restarted && stats.restarted <= killed && killed > 0);
}
