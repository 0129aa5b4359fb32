//! Operations of one process alone, without anybody to wait for: what every message pays at least.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use multiproc::Pipe;

/// Into a ring and out again, in one thread.
fn push_pop(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(1024);
    let mut group = criterion.benchmark_group("push and pop");
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
    group.finish();
}

criterion_group!(benches, push_pop);
criterion_main!(benches);
