//! A worker of a pool, from the end of its function until it sleeps and waits for the next order.

use multiproc::{Connection, Pipe, Pool, TaskError};

use crate::stepping::{Fate, Gate, alone, begin, breakpoint, try_points};
use crate::tracing::Tracee;

fn ends_here((gate, number): (Gate, u64)) -> Vec<u64> {
    begin(gate);
    vec![number; 10]
}

/// What its caller does from here on is tried, and this is where it begins.
fn begins_and_ends((gate, number): (Gate, u64)) -> u64 {
    let mut gate = gate;
    gate.recv().unwrap();
    breakpoint();
    number
}

fn square(number: u64) -> u64 {
    number * number
}

/// The pool has done all that it was given: nothing is left over, and nothing was done twice.
fn is_well(pool: Pool, done: u64) {
    let squares: Vec<_> = (0..4).map(|number| pool.submit(square, number).unwrap()).collect();
    for (number, task) in (0..).zip(squares) {
        assert_eq!(task.get().unwrap(), number * number);
    }
    let stats = pool.stats();
    assert_eq!(stats.done, done + 4, "{stats:?}");
    pool.close();
    pool.join().unwrap();
    assert!(pool.pids().is_empty());
}

/// One worker, which is killed on its way from the end of a function.
#[test]
fn from_the_end_of_a_task_to_the_next_wait() {
    alone("from_the_end_of_a_task", |()| {
        try_points("pool: from a result to the next wait", false, |point, at| {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
            let (mut open, gate): (Connection<(), _>, Gate) = Pipe::simplex().unwrap();
            let task = pool.submit(ends_here, (gate, 7)).unwrap();
            let tracee = Tracee::seize(pool.pids()[0])?;
            open.send(()).unwrap();
            let fate = tracee.step(point, || false);
            at.is(fate);
            let result = task.get();
            let is_back = match &result {
                Ok(numbers) => *numbers == [7; 10],
                Err(TaskError::WorkerDied { .. }) => false,
                Err(error) => panic!("{error}"),
            };
            assert!(is_back || result.is_err() && !matches!(fate, Fate::Asleep(_)), "{fate}");
            is_well(pool, 1 + u64::from(is_back));
            Some(fate)
        });
    });
}

/// The next order is in the worker's hands already, or on its way there.
#[test]
fn from_the_end_of_a_task_to_the_next_one() {
    alone("from_the_end_of_a_task_to_the_next_one", |()| {
        try_points("pool: from a result into the next task", false, |point, at| {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
            let (mut open, gate): (Connection<(), _>, Gate) = Pipe::simplex().unwrap();
            let first = pool.submit(begins_and_ends, (gate, 7)).unwrap();
            let next: Vec<_> = (0..3).map(|n| pool.submit(square, n).unwrap()).collect();
            let tracee = Tracee::seize(pool.pids()[0])?;
            open.send(()).unwrap();
            let fate = tracee.step(point, || false);
            at.is(fate);
            let mut ends = vec![(7, first.get())];
            ends.extend((0..).map(|n| n * n).zip(next.into_iter().map(|task| task.get())));
            let lost = ends.iter().filter(|(_, end)| end.is_err()).count();
            for (wanted, end) in ends {
                match end {
                    Ok(number) => assert_eq!(number, wanted),
                    Err(TaskError::WorkerDied { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            // One task was in its hands, and the others are done elsewhere.
            assert!(lost <= 1, "{lost} tasks went with one worker");
            is_well(pool, 5 - lost as u64);
            Some(fate)
        });
    });
}
