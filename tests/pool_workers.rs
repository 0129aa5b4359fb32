//! The workers of a pool are what its builder was told.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use multiproc::{Event, Pool, current, worker_state};

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
