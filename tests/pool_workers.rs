//! The workers of a pool are what its builder was told.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "asks the kernel")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use multiproc::{
    Barrier, ErrorKind, Event, Pool, StartMethod, TaskError, Value, available_parallelism, current,
    worker_state,
};

use common::tasks::{kill_myself, pid_after, square, stop};

fn name_of_worker(_: ()) -> String {
    current().name().to_owned()
}

#[test]
fn workers_are_replaced_when_they_have_done_their_share() {
    let _watchdog = common::watchdog("pool_workers");
    let pool = Pool::builder().workers(1).name("Bee").tasks_per_worker(3).build().unwrap();
    let pids: Vec<u32> = (0..9).map(|_| pool.apply(pid_after, Duration::ZERO).unwrap()).collect();
    assert!(pids.chunks(3).all(|three| three.iter().all(|pid| *pid == three[0])), "{pids:?}");
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(pool.apply(name_of_worker, ()).unwrap(), "Bee-1");
}

fn start_counting(from: u64) -> u64 {
    from
}

fn count(_: ()) -> u64 {
    worker_state(|count: &mut u64| {
        *count += 1;
        *count
    })
    .unwrap()
}

fn fail(message: String) {
    panic!("{message}");
}

#[test]
fn an_initializer_makes_the_state_of_each_worker() {
    let _watchdog = common::watchdog("pool_workers");
    let pool = Pool::builder().workers(1).initializer(start_counting, 10).build().unwrap();
    assert_eq!((0..3).map(|_| pool.apply(count, ()).unwrap()).collect::<Vec<_>>(), [11, 12, 13]);
    pool.apply(kill_myself, ()).unwrap_err();
    assert_eq!(pool.apply(count, ()).unwrap(), 11);
}

#[test]
fn an_initializer_that_fails_is_an_error_at_once() {
    let _watchdog = common::watchdog("pool_workers");
    let failed = Pool::builder().workers(2).initializer(fail, "no table".to_owned()).build();
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("no table"), "{error}");
    let failed = Pool::builder().workers(2).initializer(stop, 4).build();
    assert!(failed.unwrap_err().to_string().contains("exit code 4"));
}

fn well_if_set(event: Event) {
    if !event.is_set() {
        std::process::exit(1);
    }
}

/// Sets the event again when the pool has seen the initializer fail.
#[test]
fn an_initializer_that_fails_later_is_tried_again() {
    common::watched("pool_workers", || {
        let event = Event::new().unwrap();
        event.set().unwrap();
        let pool = Pool::builder()
            .workers(1)
            .restarts(1_000_000, Duration::from_secs(60))
            .initializer(well_if_set, event.clone())
            .build()
            .unwrap();
        event.clear().unwrap();
        pool.apply(kill_myself, ()).unwrap_err();
        let task = pool.submit(square, 5).unwrap();
        common::until(|| pool.stats().restarted > 3);
        event.set().unwrap();
        assert_eq!(task.get().unwrap(), 25);
    });
}

fn waste(bytes: usize) -> u32 {
    std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
    std::process::id()
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced() {
    common::watched("pool_workers", || {
        let pool = Pool::builder().workers(1).memory_per_worker(200 << 20).build().unwrap();
        let first = pool.apply(waste, 1 << 10).unwrap();
        assert_eq!(pool.apply(waste, 256 << 20).unwrap(), first);
        let second = pool.apply(waste, 1 << 10).unwrap();
        assert_ne!(second, first);
        assert_eq!(pool.apply(waste, 1 << 10).unwrap(), second);
        assert_eq!(pool.stats().restarted, 0);
    });
}

/// Quick tasks came ahead of time for as long as the line was long, and nobody looked.
#[test]
fn a_worker_that_grows_under_load_is_replaced() {
    common::watched("pool_workers", || {
        const PIECE: usize = 16 << 10;
        const MOST: usize = 32 << 20;
        let pool = Pool::builder().workers(1).memory_per_worker(MOST as u64).build().unwrap();
        let quick: Vec<_> = (0..1000).map(|n| pool.submit(square, n).unwrap()).collect();
        let tasks: Vec<_> = (0..8000).map(|_| pool.submit(waste, PIECE).unwrap()).collect();
        quick.into_iter().for_each(|task| _ = task.get().unwrap());
        let mut shares = BTreeMap::new();
        for task in tasks {
            *shares.entry(task.get().unwrap()).or_insert(0) += 1;
        }
        assert!(shares.values().all(|share| *share <= MOST / PIECE), "{shares:?}");
    });
}

/// The CPUs that this process may use.
fn cpus(_: ()) -> Vec<usize> {
    let mut set = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
    let size = size_of::<libc::cpu_set_t>();
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut set) }, 0);
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

fn cpus_together(barrier: Barrier) -> Vec<usize> {
    barrier.wait().unwrap();
    cpus(())
}

#[test]
fn pinned_workers_have_a_cpu_each() {
    common::watched("pool_workers", || {
        let all = cpus(());
        let count = all.len();
        for workers in [count, count + 1] {
            let barrier = Barrier::new(workers).unwrap();
            let pool = Pool::builder().workers(workers).pinned(true).build().unwrap();
            let tasks: Vec<_> = (0..workers)
                .map(|_| pool.submit(cpus_together, barrier.clone()).unwrap())
                .collect();
            let used: Vec<_> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
            assert!(used.iter().all(|one| one.len() == 1), "{used:?}");
            let different: BTreeSet<usize> = used.into_iter().flatten().collect();
            assert!(different.into_iter().eq(all.iter().copied()));
        }
        let free = Pool::builder().workers(1).build().unwrap();
        assert_eq!(free.apply(cpus, ()).unwrap(), all);
    });
}

#[test]
fn a_lazy_pool_starts_workers_when_there_is_work() {
    common::watched("pool_workers", || {
        let pool = Pool::builder().workers(4).lazy(true).build().unwrap();
        assert!(pool.pids().is_empty());
        assert_eq!((pool.workers(), pool.apply(square, 3).unwrap()), (4, 9));
        assert_eq!(pool.pids().len(), 1);
        let barrier = Barrier::new(4).unwrap();
        let tasks = [(); 4].map(|()| pool.submit(cpus_together, barrier.clone()).unwrap());
        tasks.into_iter().for_each(|task| _ = task.get().unwrap());
        assert_eq!(pool.pids().len(), 4);
    });
}

fn name_together(barrier: Barrier) -> String {
    barrier.wait().unwrap();
    current().name().to_owned()
}

#[test]
fn workers_are_numbered_from_one() {
    common::watched("pool_workers", || {
        let names = |pool: Pool| -> BTreeSet<String> {
            let barrier = Barrier::new(3).unwrap();
            let tasks = [(); 3].map(|()| pool.submit(name_together, barrier.clone()).unwrap());
            tasks.into_iter().map(|task| task.get().unwrap()).collect()
        };
        let wanted = ["1", "2", "3"];
        let bees = names(Pool::builder().workers(3).name("Bee").build().unwrap());
        assert!(bees.into_iter().eq(wanted.map(|number| format!("Bee-{number}"))));
        let workers = names(Pool::new(3).unwrap());
        assert!(workers.into_iter().eq(wanted.map(|number| format!("Worker-{number}"))));
    });
}

#[test]
fn every_start_method_makes_workers() {
    common::watched("pool_workers", || {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let pool = Pool::builder().workers(2).start_method(method).build().unwrap();
            assert_ne!(pool.apply(pid_after, Duration::ZERO).unwrap(), std::process::id());
            assert_eq!(pool.map(square, 0..5).unwrap(), [0, 1, 4, 9, 16]);
            pool.apply(kill_myself, ()).unwrap_err();
            assert_eq!(pool.map(square, 0..5).unwrap(), [0, 1, 4, 9, 16]);
        }
    });
}

#[test]
fn a_pool_has_a_worker_for_each_cpu_unless_told_otherwise() {
    common::watched("pool_workers", || {
        let pool = Pool::builder().build().unwrap();
        assert_eq!(pool.workers(), available_parallelism());
        assert_eq!(pool.pids().len(), pool.workers());
        let error = Pool::new(1001).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let error = Pool::builder().queue_bound(0).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    });
}

#[test]
fn an_initializer_that_is_killed_is_an_error_at_once() {
    common::watched("pool_workers", || {
        let failed = Pool::builder().workers(3).initializer(kill_myself, ()).build();
        let error = failed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        let failed = Pool::builder().workers(1).initializer(fail, "no table".to_owned()).build();
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Worker);
    });
}

/// What goes wrong with the state of this worker: the kinds of the errors.
fn misuse_state(_: ()) -> Vec<ErrorKind> {
    let other_type = worker_state(|text: &mut String| text.clear()).map(|()| 0);
    let twice = worker_state(|_: &mut u64| worker_state(|n: &mut u64| *n)).unwrap();
    [other_type, twice].map(|misuse| misuse.unwrap_err().kind()).into()
}

fn has_state(_: ()) -> bool {
    worker_state(|_: &mut u64| ()).is_ok()
}

#[test]
fn a_state_that_is_not_there_is_an_error() {
    common::watched("pool_workers", || {
        assert_eq!(worker_state(|n: &mut u64| *n).unwrap_err().kind(), ErrorKind::Misuse);
        let pool = Pool::builder().workers(1).initializer(start_counting, 1).build().unwrap();
        assert_eq!(pool.apply(misuse_state, ()).unwrap(), [ErrorKind::Misuse; 2]);
        assert_eq!(pool.apply(count, ()).unwrap(), 2);
        assert!(!Pool::new(1).unwrap().apply(has_state, ()).unwrap());
    });
}

fn spoil_and_panic(_: ()) {
    let _: Result<(), _> = worker_state(|n: &mut u64| {
        *n = 100;
        panic!("in the middle of it");
    });
}

#[test]
fn a_state_outlives_a_panic_over_it() {
    common::watched("pool_workers", || {
        let pool = Pool::builder().workers(1).initializer(start_counting, 1).build().unwrap();
        assert!(pool.apply(spoil_and_panic, ()).unwrap_err().is_panic());
        assert_eq!(pool.apply(count, ()).unwrap(), 101);
    });
}

/// The last worker that came, and how many came while the one before them was there.
type Succession = (Value<AtomicU32>, Value<AtomicU32>);

fn succeed((last, overlaps): Succession) {
    let before = last.swap(std::process::id(), Relaxed);
    if before != 0 && Path::new(&format!("/proc/{before}/stat")).exists() {
        overlaps.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_new_worker_is_there_before_the_old_one_goes() {
    common::watched("pool_workers", || {
        let succession = (Value::atomic(0_u32).unwrap(), Value::atomic(0_u32).unwrap());
        let builder = Pool::builder().workers(1).tasks_per_worker(1);
        let pool = builder.initializer(succeed, succession.clone()).build().unwrap();
        let pids: BTreeSet<_> =
            (0..5).map(|_| pool.apply(pid_after, Duration::ZERO).unwrap()).collect();
        assert_eq!(pids.len(), 5);
        pool.close();
        pool.join().unwrap();
        assert!((4..=5).contains(&succession.1.load(Relaxed)));
        assert_eq!(pool.stats().restarted, 0);
    });
}

/// This process can open no more files, until it is said how many it may have.
fn open_no_more() -> libc::rlimit {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) }, 0);
    may_open(libc::rlimit { rlim_cur: 3, ..before });
    before
}

fn may_open(limit: libc::rlimit) {
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// It was the end of the pool, and of all that others did.
#[test]
fn a_worker_that_cannot_be_started_now_is_started_later() {
    common::alone("cannot_be_started_now", |()| {
        let pool = Pool::builder().workers(2).lazy(true).build().unwrap();
        let first = pool.submit(pid_after, Duration::from_millis(500)).unwrap();
        common::until(|| !pool.stats().busy.iter().all(Duration::is_zero));
        let before = open_no_more();
        // Nobody else has a worker that could do it before.
        let next = pool.submit(square, 3).unwrap();
        let pid = first.get().unwrap();
        assert_eq!(next.get().unwrap(), 9);
        assert_eq!(pool.pids(), [pid]);
        may_open(before);
        let pids = [(); 2].map(|()| pool.submit(pid_after, Duration::from_millis(200)).unwrap());
        assert!(pids.into_iter().any(|task| task.get().unwrap() != pid));
    });
}

#[test]
fn a_lazy_pool_outlives_that_it_has_no_worker() {
    common::alone("has_no_worker", |()| {
        let pool = Pool::builder().workers(2).lazy(true).build().unwrap();
        let before = open_no_more();
        for n in 0..20 {
            match pool.apply(square, n) {
                Err(TaskError::Error(error)) => assert_eq!(error.kind(), ErrorKind::Limit),
                other => panic!("{other:?}"),
            }
        }
        may_open(before);
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

static IS_MOODY: AtomicBool = AtomicBool::new(false);

#[derive(serde::Deserialize)]
struct Moody;

impl serde::Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if IS_MOODY.load(Relaxed) {
            return Err(serde::ser::Error::custom("not today"));
        }
        serializer.serialize_unit_struct("Moody")
    }
}

fn take(_: Moody) {}

/// Those whose turn it was not were told that workers die too fast.
#[test]
fn a_pool_that_cannot_start_a_worker_says_why() {
    common::watched("pool_workers", || {
        let pool = Pool::builder().workers(1).initializer(take, Moody).build().unwrap();
        IS_MOODY.store(true, Relaxed);
        pool.apply(kill_myself, ()).unwrap_err();
        // The first one finds it out.
        for n in 0..4 {
            let end = multiproc::Error::from(pool.apply(square, n).unwrap_err());
            assert_eq!(end.kind(), ErrorKind::Codec, "{n}: {end}");
        }
        assert_eq!(pool.submit(square, 4).unwrap_err().kind(), ErrorKind::Codec);
    });
}

#[test]
fn a_name_that_no_thread_can_have_is_refused() {
    for is_here in [true, false] {
        let pool = Pool::builder().workers(1).name("no\0name").in_process(is_here).build();
        assert_eq!(pool.unwrap_err().kind(), ErrorKind::Misuse);
    }
}
