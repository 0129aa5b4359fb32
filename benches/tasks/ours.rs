//! This crate's pool.

use std::hint::black_box;
use std::time::Instant;

use multiproc::{Array, Pool};

use super::{NUMBERS, WORKERS, increment, numbers, scramble};
use crate::support::Contender;

/// What is mapped in one call, where each number goes through a codec.
const ENCODED: usize = 1_000_000;

pub(crate) fn pool(workers: usize) -> Pool {
    Pool::new(workers).expect("a pool")
}

/// Row: one task after the other.
pub(crate) fn apply(name: &str, pool: Pool) -> Contender {
    Contender::repeat(name, move |number| {
        assert_eq!(pool.apply(increment, number).expect("a worker"), number + 1);
    })
}

/// Row: the same in two steps.
pub(crate) fn get(name: &str, pool: Pool) -> Contender {
    Contender::repeat(name, move |number| {
        let task = pool.submit(increment, number).expect("an open pool");
        assert_eq!(task.get().expect("a worker"), number + 1);
    })
}

/// Row: so many tasks, and then so many results.
pub(crate) fn stream(name: &str, workers: usize) -> Contender {
    let pool = pool(workers);
    let run = move |iterations| {
        let start = Instant::now();
        let submit = |number| pool.submit(increment, number).expect("an open pool");
        let tasks: Vec<_> = (0..iterations).map(submit).collect();
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.get().expect("a worker"), number + 1);
        }
        start.elapsed()
    };
    Contender::new(name, run).long()
}

/// Row: results in order.
pub(crate) fn imap(name: &str) -> Contender {
    let pool = pool(WORKERS);
    let run = move |iterations| {
        let start = Instant::now();
        for (number, result) in (0..).zip(pool.imap(increment, 0..iterations)) {
            assert_eq!(result.expect("a worker"), number + 1);
        }
        start.elapsed()
    };
    Contender::new(name, run).long()
}

/// Row: results as they come.
pub(crate) fn imap_unordered(name: &str) -> Contender {
    let pool = pool(WORKERS);
    let run = move |iterations| {
        let start = Instant::now();
        for (number, result) in pool.imap_unordered(increment, 0..iterations) {
            assert_eq!(result.expect("a worker"), number as u64 + 1);
        }
        start.elapsed()
    };
    Contender::new(name, run).long()
}

/// Row: numbers through the codec, there and back.
pub(crate) fn map(name: &str) -> Contender {
    let (pool, inputs) = (pool(WORKERS), numbers(ENCODED));
    mapping(name, ENCODED, move || {
        pool.map(scramble, inputs.iter().copied()).expect("two workers").len()
    })
}

/// Row: numbers that are in shared memory, and stay there.
pub(crate) fn map_array(name: &str) -> Contender {
    let inputs = Array::from_slice(&numbers(NUMBERS)).expect("memory");
    let pool = pool(WORKERS);
    mapping(name, NUMBERS, move || pool.map_array(scramble, &inputs).expect("two workers").len())
}

/// Row: numbers that are copied into shared memory, and out of it.
pub(crate) fn map_slice(name: &str) -> Contender {
    let (pool, inputs) = (pool(WORKERS), numbers(NUMBERS));
    mapping(name, NUMBERS, move || pool.map_slice(scramble, &inputs).expect("two workers").len())
}

/// Row: a map of `count` numbers, which gives as many.
pub(crate) fn mapping(name: &str, count: usize, map: impl Fn() -> usize + 'static) -> Contender {
    Contender::repeat(name, move |_| assert_eq!(black_box(map()), count)).of_many(count)
}
