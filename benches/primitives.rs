//! Operations of one process alone, without anybody to wait for: what every message pays at least.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::atomic::Ordering;

use criterion::{Criterion, criterion_group, criterion_main};
use multiproc::{Array, Event, Lock, Pipe, Plain, Queue, ReentrantLock, RwLock, Semaphore, Value};

/// Into a ring and out again, in one thread.
fn pipes(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(1024);
    let mut group = criterion.benchmark_group("pipe: push and pop");
    group.bench_function("rtrb", |bencher| {
        bencher.iter(|| {
            producer.push(black_box(7)).expect("an empty ring");
            consumer.pop().expect("a message")
        });
    });
    let (mut out, mut inn) = Pipe::builder().plain().simplex::<u64>().expect("a pipe");
    group.bench_function("multiproc, plain", |bencher| {
        bencher.iter(|| {
            out.send(black_box(7)).expect("an empty pipe");
            inn.recv().expect("a message")
        });
    });
    let (mut out, mut inn) = Pipe::simplex::<u64>().expect("a pipe");
    group.bench_function("multiproc, serde", |bencher| {
        bencher.iter(|| {
            out.send(black_box(7)).expect("an empty pipe");
            inn.recv().expect("a message")
        });
    });
    let (mut out, mut inn) = Pipe::simplex::<()>().expect("a pipe");
    let message = [7; 256];
    group.bench_function("multiproc, 256 bytes", |bencher| {
        bencher.iter(|| {
            out.send_bytes(black_box(&message)).expect("an empty pipe");
            inn.recv_bytes_into(&mut [0; 256]).expect("a message")
        });
    });
    group.finish();
}

fn queues(criterion: &mut Criterion) {
    let ring = crossbeam_queue::ArrayQueue::<u64>::new(1024);
    let mut group = criterion.benchmark_group("queue: send and receive");
    group.bench_function("crossbeam's ArrayQueue", |bencher| {
        bencher.iter(|| {
            ring.push(black_box(7)).expect("an empty ring");
            ring.pop().expect("a message")
        });
    });
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(1024);
    group.bench_function("crossbeam-channel", |bencher| {
        bencher.iter(|| {
            sender.send(black_box(7)).expect("a receiver");
            receiver.recv().expect("a message")
        });
    });
    let mut queue = Queue::builder().codec::<Plain>().bounded::<u64>(1024).expect("a queue");
    group.bench_function("multiproc, plain", |bencher| {
        bencher.iter(|| {
            queue.send(black_box(7)).expect("an empty queue");
            queue.recv().expect("a message")
        });
    });
    let mut queue = Queue::<u64>::bounded(1024).expect("a queue");
    group.bench_function("multiproc, serde", |bencher| {
        bencher.iter(|| {
            queue.send(black_box(7)).expect("an empty queue");
            queue.recv().expect("a message")
        });
    });
    group.finish();
}

fn locks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock: lock and unlock");
    let mutex = std::sync::Mutex::new(());
    group.bench_function("std::sync::Mutex", |bencher| {
        bencher.iter(|| drop(mutex.lock().expect("a lock")));
    });
    let lock = Lock::new().expect("a lock");
    group.bench_function("multiproc, Lock", |bencher| {
        bencher.iter(|| drop(lock.lock().expect("a lock")));
    });
    let lock = ReentrantLock::new().expect("a lock");
    group.bench_function("multiproc, ReentrantLock", |bencher| {
        bencher.iter(|| drop(lock.lock().expect("a lock")));
    });
    let lock = RwLock::new().expect("a lock");
    group.bench_function("multiproc, RwLock, read", |bencher| {
        bencher.iter(|| drop(lock.read().expect("a lock")));
    });
    group.bench_function("multiproc, RwLock, write", |bencher| {
        bencher.iter(|| drop(lock.write().expect("a lock")));
    });
    group.finish();
    let mut group = criterion.benchmark_group("others, nobody waits");
    let semaphore = Semaphore::new(1).expect("a semaphore");
    group.bench_function("Semaphore, acquire and release", |bencher| {
        bencher.iter(|| drop(semaphore.acquire().expect("a permit")));
    });
    let event = Event::new().expect("an event");
    group.bench_function("Event, set and clear", |bencher| {
        bencher.iter(|| event.set().and_then(|()| event.clear()).expect("an event"));
    });
    group.finish();
}

fn data(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data");
    let value = Value::new(0_u64).expect("a value");
    group.bench_function("Value, get", |bencher| bencher.iter(|| value.get().expect("a value")));
    group.bench_function("Value, update", |bencher| {
        bencher.iter(|| value.update(|value| *value += 1).expect("a value"));
    });
    let atomic = Value::atomic(0_u64).expect("a value");
    group.bench_function("Value<AtomicU64>, fetch_add", |bencher| {
        bencher.iter(|| atomic.fetch_add(1, Ordering::Relaxed));
    });
    let array = Array::new(1000, 1_u64).expect("an array");
    group.bench_function("Array, get", |bencher| {
        bencher.iter(|| array.get(black_box(7)).expect("an element"));
    });
    group.bench_function("Array, sum of 1000 under the lock", |bencher| {
        bencher.iter(|| array.lock().expect("the lock").iter().sum::<u64>());
    });
    group.finish();
}

criterion_group!(benches, pipes, queues, locks, data);
criterion_main!(benches);
