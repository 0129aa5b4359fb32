//! Shared handles travel with tasks, which may have processes and pools of their own.

mod common;

use multiproc::{Connection, Lock, Pipe, Pool, Process, Queue, Receiver, Sender};

use common::tasks::square;

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
