//! Shared handles travel with tasks, which may have processes and pools of their own.

mod common;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use multiproc::{Connection, Lock, Pipe, Pool, Process, Queue, Receiver, Sender, TaskError, Value};

use common::tasks::{for_ever, square};

fn pool_in_a_task(n: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..n).unwrap().into_iter().sum()
}

#[test]
fn a_task_may_have_a_pool_of_its_own() {
    let _watchdog = common::watchdog("pool_handles");
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(pool_in_a_task, 4).unwrap(), 14);
    assert_eq!(pool.apply(|n| Process::spawn(square, n).unwrap().join().unwrap(), 6).unwrap(), 36);
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
    let _watchdog = common::watchdog("pool_handles");
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
    let _watchdog = common::watchdog("pool_handles");
    let pool = Pool::new(1).unwrap();
    let (mut pipe, lock) = pool.apply(make_pipe, ()).unwrap();
    assert_eq!(pipe.recv().unwrap(), 42);
    drop(lock.lock().unwrap());
    assert!(pipe.recv().unwrap_err().is_disconnected());
}

fn add_locked((lock, sum, n): (Lock, Value<AtomicU64>, u64)) {
    let _guard = lock.lock().unwrap();
    // Not in one step, which is what the lock is for.
    let before = sum.load(Relaxed);
    std::hint::spin_loop();
    sum.store(before + n, Relaxed);
}

#[test]
fn handles_are_shared_by_all_tasks_of_a_map() {
    common::watched("pool_handles", || {
        let pool = Pool::new(3).unwrap();
        let (lock, sum) = (Lock::new().unwrap(), Value::atomic(0_u64).unwrap());
        pool.map(add_locked, (0..1000).map(|n| (lock.clone(), sum.clone(), n))).unwrap();
        assert_eq!(sum.load(Relaxed), 499_500);
    });
}

fn die_with(lock: Lock) {
    let _guard = lock.lock().unwrap();
    common::die();
}

#[test]
fn a_lock_outlives_a_worker_that_dies_with_it() {
    common::watched("pool_handles", || {
        let pool = Pool::new(1).unwrap();
        let lock = Lock::new().unwrap();
        assert!(pool.apply(die_with, lock.clone()).unwrap_err().is_worker_dead());
        assert!(lock.lock().unwrap_err().is_owner_dead());
        lock.clear_poison();
        // Also the worker that came later can have it.
        let sum = Value::atomic(0_u64).unwrap();
        pool.apply(add_locked, (lock, sum.clone(), 5)).unwrap();
        assert_eq!(sum.load(Relaxed), 5);
    });
}

fn words_of_a_child(word: String) -> Receiver<String> {
    let (sender, receiver) = Queue::channel(10).unwrap();
    let child = Process::spawn(send_twice, (word, sender)).unwrap();
    child.join().unwrap();
    receiver
}

fn send_twice((word, mut sender): (String, Sender<String>)) {
    for _ in 0..2 {
        sender.send(word.clone()).unwrap();
    }
}

/// A queue that a task made, and a process that the task spawned has filled.
#[test]
fn what_a_task_and_its_children_have_made_outlives_them() {
    common::watched("pool_handles", || {
        let pool = Pool::new(2).unwrap();
        let queues = pool.map(words_of_a_child, ["a", "b", "c"].map(str::to_owned)).unwrap();
        pool.terminate();
        pool.join().unwrap();
        let mut words = Vec::new();
        for mut queue in queues {
            words.extend(queue.iter());
        }
        assert_eq!(words, ["a", "a", "b", "b", "c", "c"]);
    });
}

/// Says who its own workers are, and keeps them busy for ever.
fn busy_pool_in_a_task(mut pids: Sender<u32>) {
    let pool = Pool::new(2).unwrap();
    let tasks = [(); 2].map(|()| pool.submit(for_ever, ()).unwrap());
    common::until(|| pool.stats().running == 2);
    pool.pids().into_iter().for_each(|pid| pids.send(pid).unwrap());
    tasks.into_iter().for_each(|task| task.get().unwrap());
}

#[test]
fn the_pool_of_a_task_ends_with_its_worker() {
    common::watched("pool_handles", || {
        let pool = Pool::new(1).unwrap();
        let (sender, mut pids) = Queue::channel(2).unwrap();
        let task = pool.submit(busy_pool_in_a_task, sender).unwrap();
        let inner = [(); 2].map(|()| common::pidfd(pids.recv().unwrap()));
        drop(pool);
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
        let soon = Duration::from_secs(30);
        assert!(inner.iter().all(|worker| common::ends_within(worker.as_fd(), soon)));
    });
}

fn sum_of_sums(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    Pool::new(2).unwrap().map(sum_of_sums, [depth - 1; 2]).unwrap().into_iter().sum()
}

#[test]
fn pools_are_in_tasks_of_pools_in_tasks_of_pools() {
    common::watched("pool_handles", || {
        assert_eq!(sum_of_sums(3), 8);
    });
}
