//! A pool does what it is told, and what it cannot do it says; nobody's end is anybody else's.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "kills processes")]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use multiproc::{
    Connection, ErrorKind, Lock, Pipe, Pool, Process, Queue, Receiver, Sender, TaskError, Value,
    as_completed, current, wait_all, wait_any, worker_state,
};

fn square(n: u64) -> u64 {
    n * n
}

fn pid_after(time: Duration) -> u32 {
    // The sleep is the work.
    thread::sleep(time);
    std::process::id()
}

fn stop(code: i32) -> i32 {
    std::process::exit(code)
}

fn kill_myself(_: ()) {
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

fn odd_is_wrong(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n / 2
}

fn for_ever(_: ()) {
    loop {
        thread::park();
    }
}

#[test]
fn o1_async_tasks_share_the_workers() {
    let pool = Pool::new(3).unwrap();
    let tasks: Vec<_> =
        (0..10).map(|n| pool.submit(pid_after, Duration::from_millis(n % 3)).unwrap()).collect();
    pool.close();
    pool.join().unwrap();
    let pids: BTreeSet<u32> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
    assert!((1..=3).contains(&pids.len()) && !pids.contains(&std::process::id()), "{pids:?}");
}

#[test]
fn o2_apply_goes_one_after_another() {
    let pool = Pool::new(2).unwrap();
    for n in 0..10 {
        assert_eq!(pool.apply(square, n).unwrap(), n * n);
    }
    assert_eq!(pool.stats().done, 10);
}

fn name_of(n: u64) -> String {
    n.to_string()
}

fn sleepy(n: u64) -> String {
    if n % 2 == 1 {
        // The sleep is the work.
        thread::sleep(Duration::from_millis(5));
    }
    n.to_string()
}

#[test]
fn o3_map_keeps_the_order() {
    let wanted: Vec<String> = (0..10).map(|n: u64| n.to_string()).collect();
    let pool = Pool::new(3).unwrap();
    assert_eq!(pool.map(name_of, 0..10).unwrap(), wanted);
    let task = pool.map_async(sleepy, 0..10).unwrap();
    pool.close();
    pool.join().unwrap();
    assert!(task.is_ready() && task.is_ok());
    assert_eq!(task.get().unwrap(), wanted);
}

#[test]
fn o4_results_are_collected_afterwards() {
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..50).map(|n| pool.submit(square, n).unwrap()).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.get().unwrap(), n * n);
    }
}

fn power((base, exponent): (u64, u32)) -> u64 {
    base.pow(exponent)
}

#[test]
fn o5_several_arguments_are_a_tuple() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(power, (2, 10)).unwrap(), 1024);
    let exponent = 3;
    assert_eq!(pool.map(power, (1..4).map(|base| (base, exponent))).unwrap(), [1, 8, 27]);
}

#[test]
fn o6_an_interrupted_pool_says_so() {
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..5).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    let start = Instant::now();
    pool.interrupt();
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Interrupted)));
    }
    pool.join().unwrap();
    assert!(pool.pids().is_empty());
    println!("interrupted in {:?}", start.elapsed());
}

/// In a process of its own, as `SIGINT` is a process's.
fn interrupted(_: ()) -> (usize, bool) {
    let pool = Pool::builder().workers(2).ctrl_c(true).build().unwrap();
    let tasks: Vec<_> = (0..5).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    for pid in pool.pids().into_iter().chain([std::process::id()]) {
        // A terminal would tell all of them.
        unsafe { libc::kill(pid as i32, libc::SIGINT) };
    }
    let ends = tasks.into_iter().map(|task| task.get().unwrap_err());
    let count = ends.filter(|end| matches!(end, TaskError::Interrupted)).count();
    pool.join().unwrap();
    (count, pool.pids().is_empty())
}

#[test]
fn o6_ctrl_c_interrupts_a_pool_that_asks_for_it() {
    let mut process = Process::spawn(interrupted, ()).unwrap();
    let result = process.join_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(result, Some((5, true)));
}

#[test]
fn workers_take_no_notice_of_ctrl_c() {
    let pool = Pool::new(2).unwrap();
    for pid in pool.pids() {
        unsafe { libc::kill(pid as i32, libc::SIGINT) };
    }
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
    assert_eq!(pool.stats().restarted, 0);
}

#[test]
fn o7_misuse_is_an_error() {
    let pool = Pool::new(1).unwrap();
    let error = pool.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    pool.close();
    let error = pool.submit(square, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    pool.join().unwrap();
    assert_eq!(Pool::new(0).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn a_panic_is_the_tasks_alone() {
    let pool = Pool::new(2).unwrap();
    let error = pool.apply(odd_is_wrong, 3).unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "3 is odd");
    assert!(panic.location().unwrap().contains("tests/pool.rs"));
    assert_eq!(pool.apply(odd_is_wrong, 4).unwrap(), 2);
    assert!(pool.map(odd_is_wrong, [2, 4, 5, 6]).unwrap_err().is_panic());
    assert_eq!(pool.stats().restarted, 0);
}

#[test]
fn a_death_is_the_tasks_alone() {
    let pool = Pool::new(2).unwrap();
    let others: Vec<_> = (0..20).map(|n| pool.submit(square, n).unwrap()).collect();
    match pool.apply(kill_myself, ()) {
        Err(TaskError::WorkerDied { pid, status }) => {
            assert_eq!(status.signal(), Some(9));
            assert_ne!(pid, std::process::id());
        }
        other => panic!("{other:?}"),
    }
    match pool.apply(stop, 3) {
        Err(TaskError::WorkerDied { status, .. }) => assert_eq!(status.code(), Some(3)),
        other => panic!("{other:?}"),
    }
    for (n, task) in (0..).zip(others) {
        assert_eq!(task.get().unwrap(), n * n);
    }
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    assert_eq!(pool.stats().restarted, 2);
}

#[test]
fn a_task_that_takes_too_long_is_ended() {
    let pool = Pool::builder().workers(2).task_timeout(Duration::from_millis(50)).build().unwrap();
    let error = pool.apply(for_ever, ()).unwrap_err();
    assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
}

#[test]
fn a_task_can_be_cancelled() {
    let pool = Pool::new(1).unwrap();
    let running = pool.submit(for_ever, ()).unwrap();
    let queued = pool.submit(square, 3).unwrap();
    let last = pool.submit(square, 4).unwrap();
    assert!(queued.cancel() && !queued.cancel());
    assert!(matches!(queued.get(), Err(TaskError::Cancelled)));
    assert!(running.cancel());
    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert_eq!(last.get().unwrap(), 16);
}

fn name_of_worker(_: ()) -> String {
    current().name().to_owned()
}

#[test]
fn workers_are_replaced_when_they_have_done_their_share() {
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
    let pool = Pool::builder().workers(1).initializer(start_counting, 10).build().unwrap();
    assert_eq!((0..3).map(|_| pool.apply(count, ()).unwrap()).collect::<Vec<_>>(), [11, 12, 13]);
    pool.apply(kill_myself, ()).unwrap_err();
    assert_eq!(pool.apply(count, ()).unwrap(), 11);
}

#[test]
fn an_initializer_that_fails_is_an_error_at_once() {
    let failed = Pool::builder().workers(2).initializer(fail, "no table".to_owned()).build();
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("no table"), "{error}");
    let failed = Pool::builder().workers(2).initializer(stop, 4).build();
    assert!(failed.unwrap_err().to_string().contains("exit code 4"));
}

#[test]
fn a_pool_whose_workers_all_die_gives_up() {
    let pool = Pool::builder().workers(1).restarts(3, Duration::from_secs(60)).build().unwrap();
    let tasks: Vec<_> = (0..10).map(|_| pool.submit(kill_myself, ()).unwrap()).collect();
    let errors: Vec<_> = tasks.into_iter().map(|task| task.get().unwrap_err()).collect();
    assert_eq!(errors.iter().filter(|error| error.is_worker_dead()).count(), 4, "{errors:?}");
    assert!(pool.submit(square, 1).is_err());
}

#[test]
fn imap_takes_inputs_as_results_are_asked_for() {
    let pool = Pool::new(2).unwrap();
    let taken = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&taken);
    let inputs = (0..1000_u64).inspect(move |_| {
        counted.fetch_add(1, Relaxed);
    });
    let mut results = pool.imap(square, inputs).window(4);
    for n in 0..10 {
        assert_eq!(results.next().unwrap().unwrap(), n * n);
        assert!(u64::from(taken.load(Relaxed)) <= n + 4);
    }
    drop(results);
    let mut all: Vec<_> =
        pool.imap_unordered(square, 0..100).map(|(n, result)| (n, result.unwrap())).collect();
    all.sort_unstable();
    assert!(all.iter().zip(0..).all(|((n, square), i)| *n == i && *square == (i * i) as u64));
    assert_eq!(pool.imap(square, 0..7_u64).size_hint(), (7, Some(7)));
}

#[test]
fn tasks_are_waited_for_together() {
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..6).map(|n| pool.submit(square, n).unwrap()).collect();
    assert!(wait_all(&tasks, Duration::from_secs(60)));
    let sum: u64 = as_completed(tasks).map(|(_, result)| result.unwrap()).sum();
    assert_eq!(sum, 55);
    let tasks = [pool.submit(for_ever, ()).unwrap(), pool.submit(|_: ()| (), ()).unwrap()];
    assert_eq!(wait_any(&tasks, Duration::from_secs(60)), Some(1));
    assert!(!wait_all(&tasks, Duration::ZERO));
}

#[test]
fn callbacks_run_without_a_lock() {
    let pool = Arc::new(Pool::new(1).unwrap());
    let (sender, results) = mpsc::channel();
    let again = Arc::clone(&pool);
    pool.submit(square, 5).unwrap().on_done(move |result| {
        let first = *result.as_ref().unwrap();
        let inner = sender.clone();
        again.submit(square, first).unwrap().on_done(move |result| {
            inner.send(*result.as_ref().unwrap()).unwrap();
        });
    });
    assert_eq!(results.recv_timeout(Duration::from_secs(60)).unwrap(), 625);
}

#[test]
fn a_pool_in_process_has_the_same_face() {
    let pool = Pool::builder().workers(2).in_process(true).build().unwrap();
    assert_eq!(pool.apply(pid_after, Duration::ZERO).unwrap(), std::process::id());
    assert_eq!(pool.map(square, 0..20).unwrap().len(), 20);
    assert!(pool.apply(odd_is_wrong, 1).unwrap_err().is_panic());
}

fn pool_in_a_task(n: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..n).unwrap().into_iter().sum()
}

#[test]
fn a_task_may_have_a_pool_of_its_own() {
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(pool_in_a_task, 4).unwrap(), 14);
    assert_eq!(pool.apply(|n| Process::spawn(square, n).unwrap().join().unwrap(), 6).unwrap(), 36);
}

#[test]
fn a_dropped_pool_leaves_nobody() {
    let pool = Pool::new(3).unwrap();
    let pids = pool.pids();
    let tasks: Vec<_> = (0..9).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    drop(pool);
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    }
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}/stat")).exists(), "{pid} is alive");
    }
}

fn write_words(mut words: Sender<String>) {
    for word in ["hello", "python", "world", "quit"] {
        words.send(word.to_owned()).unwrap();
    }
}

fn read_words(mut words: Receiver<String>) -> Vec<String> {
    words.iter().take_while(|word| word != "quit").collect()
}

#[test]
fn m3_handles_are_arguments_of_workers_started_earlier() {
    let pool = Pool::new(2).unwrap();
    let queue = || Queue::<String>::channel(10).unwrap();
    let wanted = ["hello", "python", "world"];
    // In turn, and overlapped.
    let (sender, receiver) = queue();
    pool.apply(write_words, sender).unwrap();
    assert_eq!(pool.apply(read_words, receiver).unwrap(), wanted);
    let (sender, receiver) = queue();
    let reader = pool.submit(read_words, receiver).unwrap();
    let writer = pool.submit(write_words, sender).unwrap();
    assert_eq!(reader.get().unwrap(), wanted);
    writer.get().unwrap();
}

fn make_pipe(_: ()) -> (Connection<u64, u64>, Lock) {
    let (mut here, there) = Pipe::duplex::<u64, u64>().unwrap();
    here.send(42).unwrap();
    (there, Lock::new().unwrap())
}

#[test]
fn handles_are_results_of_tasks() {
    let pool = Pool::new(1).unwrap();
    let (mut pipe, lock) = pool.apply(make_pipe, ()).unwrap();
    assert_eq!(pipe.recv().unwrap(), 42);
    drop(lock.lock().unwrap());
    assert!(pipe.recv().unwrap_err().is_disconnected());
}

/// Workers die at random, while all kinds of tasks are on their way; every task ends, those that
/// were not at a worker that died with their result.
#[test]
fn deaths_at_random_fail_only_what_they_hit() {
    let pool = Pool::builder().workers(3).restarts(1000, Duration::from_secs(1)).build().unwrap();
    let mut dead = 0;
    for round in 0..40_u64 {
        let tasks: Vec<_> = (0..20).map(|n| pool.submit(square, n).unwrap()).collect();
        if let Some(pid) = pool.pids().get(round as usize % 3) {
            unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
        }
        for (n, task) in (0..).zip(tasks) {
            match task.get() {
                Ok(square) => assert_eq!(square, n * n),
                Err(error) => {
                    assert!(error.is_worker_dead(), "{error}");
                    dead += 1;
                }
            }
        }
    }
    let stats = pool.stats();
    assert!(dead <= stats.restarted, "{dead} {stats:?}");
    assert_eq!((stats.queued, stats.running), (0, 0));
    assert_eq!(stats.done + stats.failed, 800);
}

#[test]
fn a_task_whose_result_was_taken_is_over() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let mut task = pool.submit(square, 3).unwrap();
        assert_eq!(task.get_timeout(Duration::from_secs(5)).unwrap(), Some(9));
        let (sender, heard) = mpsc::channel();
        task.on_done(move |result| sender.send(result.is_err()).unwrap());
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)), Ok(true));
        assert_eq!(wait_any(std::slice::from_ref(&task), Duration::from_secs(5)), Some(0));
        assert!(as_completed([task]).next().unwrap().1.is_err());
    });
}

#[derive(serde::Deserialize)]
struct PanicsInSerialize;

impl serde::Serialize for PanicsInSerialize {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("no bytes")
    }
}

fn take_it(_: PanicsInSerialize) {}

#[test]
fn a_panic_while_arguments_are_encoded_is_the_tasks_alone() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(take_it, PanicsInSerialize).unwrap();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[derive(serde::Serialize, Debug)]
struct PanicsInDeserialize;

impl<'de> serde::Deserialize<'de> for PanicsInDeserialize {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no value")
    }
}

fn give_it(_: ()) -> PanicsInDeserialize {
    PanicsInDeserialize
}

fn take_odd(_: PanicsInDeserialize) {}

#[test]
fn a_panic_while_a_result_is_decoded_is_the_tasks_alone() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(give_it, ()).unwrap();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        println!("{:?}", task.get());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn a_panic_while_arguments_are_decoded_is_the_tasks_panic() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let error = pool.apply(take_odd, PanicsInDeserialize).unwrap_err();
        assert!(error.is_panic() || matches!(error, TaskError::Error(_)), "{error:?}");
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

struct BadDrop;
impl Drop for BadDrop {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("in drop");
        }
    }
}

#[test]
fn a_callback_whose_panic_panics_when_dropped() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(pid_after, Duration::from_millis(100)).unwrap();
        task.on_done(|_| std::panic::panic_any(BadDrop));
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        let task = pool.submit(square, 3).unwrap();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
    });
}

static SLOW: std::sync::Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> =
    std::sync::Mutex::new(None);

#[derive(serde::Deserialize)]
struct SlowAndBad;

impl serde::Serialize for SlowAndBad {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        if let Some((begun, go)) = SLOW.lock().unwrap().take() {
            begun.send(()).unwrap();
            go.recv().unwrap();
        }
        Err(serde::ser::Error::custom("no"))
    }
}

fn take_slow(_: SlowAndBad) {}

#[test]
fn an_order_put_back_after_the_end_is_ended() {
    common::watched("pool", || {
        let pool = Pool::builder().workers(1).in_process(true).build().unwrap();
        for n in 0..200 {
            pool.apply(square, n).unwrap();
        }
        let (begun, has_begun) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        *SLOW.lock().unwrap() = Some((begun, goes));
        let (free, freed) = mpsc::channel::<()>();
        let first = pool.submit(square, 1).unwrap();
        first.on_done(move |_| freed.recv().unwrap());
        let before = pool.submit(pid_after, Duration::from_millis(50)).unwrap();
        let task = pool.submit(take_slow, SlowAndBad).unwrap();
        free.send(()).unwrap();
        has_begun.recv_timeout(Duration::from_secs(5)).unwrap();
        pool.terminate();
        go.send(()).unwrap();
        before.wait();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
    });
}

#[test]
fn cancelling_many_does_not_break_the_pool() {
    common::watched("pool", || {
        let pool = Pool::new(4).unwrap();
        for _ in 0..5 {
            let tasks: Vec<_> = (0..4).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
            common::until(|| pool.stats().running == 4);
            for task in &tasks {
                assert!(task.cancel());
            }
            common::until(|| pool.stats().running == 0);
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

#[test]
fn timeouts_do_not_break_the_pool() {
    common::watched("pool", || {
        let pool = Pool::builder().workers(12).task_timeout(Duration::from_millis(200));
        let pool = pool.build().unwrap();
        let tasks: Vec<_> = (0..12).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
        for task in tasks {
            let error = task.get().unwrap_err();
            assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[test]
fn a_task_cancelled_while_it_is_sent_harms_nobody() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        for pid in pool.pids() {
            unsafe { libc::kill(pid as i32, libc::SIGSTOP) };
        }
        let task = pool.submit(length, vec![7; 64 << 20]).unwrap();
        common::until(|| pool.stats().running == 1);
        // Time for the work to get stuck half way into the pipe; earlier must do as well.
        thread::sleep(Duration::from_millis(500));
        assert!(task.cancel());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        println!("{:?}", pool.stats());
    });
}

#[test]
fn a_worker_is_not_at_work_after_a_task_that_was_not_sent() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        *SLOW.lock().unwrap() = None;
        pool.apply(take_slow, SlowAndBad).unwrap_err();
        let before = pool.stats().busy[0];
        // Who were at work would be seen to be so.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pool.stats().busy[0], before);
    });
}

#[test]
fn all_who_join_wait_for_the_end() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        let (free, freed) = mpsc::channel::<()>();
        let task = pool.submit(pid_after, Duration::from_millis(50)).unwrap();
        task.on_done(move |_| _ = freed.recv());
        pool.close();
        let (joined, joins) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    pool.join().unwrap();
                    joined.send(task.is_ready()).unwrap();
                });
            }
            let early = joins.recv_timeout(Duration::from_millis(500));
            free.send(()).unwrap();
            assert!(early.is_err(), "joined before the end");
        });
    });
}

fn interrupted_twice(_: ()) -> bool {
    let first = Pool::builder().workers(1).ctrl_c(true).build().unwrap();
    let task = first.submit(for_ever, ()).unwrap();
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    task.get().unwrap_err();
    let second = Pool::builder().workers(1).ctrl_c(true).build().unwrap();
    let task = second.submit(for_ever, ()).unwrap();
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    matches!(task.get(), Err(TaskError::Interrupted))
}

#[test]
fn a_pool_made_after_an_interrupt_hears_the_next() {
    common::watched("pool", || {
        assert!(Process::spawn(interrupted_twice, ()).unwrap().join().unwrap());
    });
}

#[test]
fn a_pool_in_process_is_dropped_whatever_runs() {
    common::watched("pool", || {
        let pool = Pool::builder().workers(1).in_process(true).build().unwrap();
        let task = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        pool.terminate();
        assert!(task.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        pool.join().unwrap();
    });
}

#[test]
fn a_running_task_with_others_behind_it_can_be_cancelled() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        for n in 0..200 {
            pool.apply(square, n).unwrap();
        }
        let stuck = pool.submit(for_ever, ()).unwrap();
        let rest: Vec<_> = (0..5).map(|n| pool.submit(square, n).unwrap()).collect();
        // Time for the work to be given ahead, and to be taken back.
        thread::sleep(Duration::from_millis(200));
        println!("{:?}", pool.stats());
        assert!(stuck.cancel());
        for (n, task) in rest.iter().enumerate() {
            assert!(task.wait_timeout(Duration::from_secs(5)), "{n} {:?}", pool.stats());
        }
    });
}

#[test]
fn an_idle_death_costs_no_task() {
    common::watched("pool", || {
        let pool =
            Pool::builder().workers(1).restarts(1000, Duration::from_secs(1)).build().unwrap();
        for n in 0..20 {
            let pid = pool.pids()[0];
            let fd = common::pidfd(pid);
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            use std::os::fd::AsFd;
            assert!(common::ends_within(fd.as_fd(), Duration::from_secs(5)));
            assert_eq!(pool.apply(square, n).unwrap(), n * n, "{n}");
        }
    });
}

fn wait_at(gate: multiproc::Event) {
    gate.wait().unwrap();
}

fn open(gate: multiproc::Event) {
    gate.set().unwrap();
}

#[test]
fn a_task_is_not_stuck_behind_one_that_waits_for_it() {
    common::watched("pool", || {
        let pool = Pool::new(2).unwrap();
        for n in 0..400 {
            pool.apply(square, n).unwrap();
        }
        let gate = multiproc::Event::new().unwrap();
        let held = || {
            let (free, freed) = mpsc::channel::<()>();
            let (hold, held) = mpsc::channel::<()>();
            let task = pool.submit(pid_after, Duration::from_millis(20)).unwrap();
            task.on_done(move |_| {
                hold.send(()).unwrap();
                let _ = freed.recv();
            });
            (free, held)
        };
        let (one, two) = (held(), held());
        one.1.recv().unwrap();
        two.1.recv().unwrap();
        let mut first = Vec::new();
        first.extend((0..100).map(|n| pool.submit(square, n).unwrap()));
        let waits = pool.submit(wait_at, gate.clone()).unwrap();
        let opens = pool.submit(open, gate).unwrap();
        let rest: Vec<_> = (0..10).map(|n| pool.submit(square, n).unwrap()).collect();
        drop(one);
        first.iter().for_each(multiproc::Task::wait);
        drop(two);
        assert!(wait_all(&rest, Duration::from_secs(5)), "{:?}", pool.stats());
        assert!(opens.wait_timeout(Duration::from_secs(5)), "{:?}", pool.stats());
        waits.get().unwrap();
    });
}

#[test]
fn a_forked_copy_of_a_pool_is_dropped_without_harm() {
    fn body(_: ()) {
        let pool = Pool::new(1).unwrap();
        let pids = pool.pids();
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(pool);
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        assert_eq!(pool.pids(), pids);
    }
    common::alone("pool", body);
}

fn well_if_set(event: multiproc::Event) {
    if !event.is_set() {
        std::process::exit(1);
    }
}

/// Sets the event again when the pool has seen the initializer fail.
#[test]
fn an_initializer_that_fails_later_is_tried_again() {
    common::watched("pool", || {
        let event = multiproc::Event::new().unwrap();
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

#[test]
fn what_was_cancelled_takes_no_room() {
    common::watched("pool", || {
        let pool = Pool::builder().workers(1).queue_bound(2).build().unwrap();
        let running = pool.submit(for_ever, ()).unwrap();
        common::until(|| pool.stats().running == 1);
        for _ in 0..10 {
            assert!(pool.submit(square, 3).unwrap().cancel());
        }
        assert!(running.cancel());
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
    });
}

fn wait_for(event: multiproc::Event) {
    event.wait().unwrap();
}

fn count_up(calls: Value<AtomicU64>) {
    calls.fetch_add(1, Relaxed);
}

/// Behind a long task wait orders that its worker has got already. They are taken back, and it must
/// not do them as well.
#[test]
fn what_is_taken_back_is_done_once() {
    common::watched("pool", || {
        let pool = Pool::new(1).unwrap();
        for _ in 0..5 {
            let (event, calls) = (multiproc::Event::new().unwrap(), Value::atomic(0_u64).unwrap());
            // So many that the worker is fast, and the line is long, when the long one comes.
            let fast: Vec<_> = (0..2000).map(|n| pool.submit(square, n).unwrap()).collect();
            let long = pool.submit(wait_for, event.clone()).unwrap();
            let counted: Vec<_> =
                (0..50).map(|_| pool.submit(count_up, calls.clone()).unwrap()).collect();
            fast.into_iter().for_each(|task| _ = task.get().unwrap());
            // Time for the work to be given ahead, and to be taken back.
            thread::sleep(Duration::from_millis(20));
            event.set().unwrap();
            long.get().unwrap();
            counted.into_iter().for_each(|task| task.get().unwrap());
            // Behind whatever the worker had got before.
            pool.apply(square, 1).unwrap();
            assert_eq!(calls.load(Relaxed), 50);
        }
    });
}
