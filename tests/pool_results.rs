//! What a task brought is had once, in whatever way it is asked for.

mod common;

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use multiproc::{Event, Pool, Task, TaskError, as_completed, wait_any};

use common::tasks::{for_ever, kill_myself, odd_is_wrong, open, pid_after, square, wait_for};

#[test]
fn a_task_whose_result_was_taken_is_over() {
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let mut task = pool.submit(square, 3).unwrap();
        assert_eq!(task.get_timeout(Duration::from_secs(5)).unwrap(), Some(9));
        let (sender, heard) = mpsc::channel();
        task.on_done(move |result| sender.send(result.is_err()).unwrap());
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)), Ok(true));
        assert_eq!(wait_any(&mut [&mut task], Duration::from_secs(5)).unwrap(), [0]);
        assert!(as_completed([task]).next().unwrap().1.is_err());
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
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let task = pool.submit(pid_after, Duration::from_millis(100)).unwrap();
        task.on_done(|_| std::panic::panic_any(BadDrop));
        task.wait();
        let task = pool.submit(square, 3).unwrap();
        task.wait();
    });
}

#[test]
fn a_result_can_be_waited_for_again() {
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let event = Event::new().unwrap();
        let mut task = pool.submit(wait_for, event.clone()).unwrap();
        assert!(!task.wait_timeout(Duration::from_millis(1)) && !task.is_ready());
        assert_eq!(task.get_timeout(Duration::ZERO).unwrap(), None);
        event.set().unwrap();
        assert_eq!(task.get_timeout(Duration::MAX).unwrap(), Some(()));
        assert!(task.is_ready() && task.is_ok() && !task.cancel());
        assert!(task.get_timeout(Duration::ZERO).is_err());
    });
}

#[test]
fn callbacks_come_once_and_also_when_it_is_over() {
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let (sender, heard) = mpsc::channel();
        let task = pool.submit(square, 3).unwrap();
        let failed = pool.submit(odd_is_wrong, 3).unwrap();
        for _ in 0..2 {
            let (one, other) = (sender.clone(), sender.clone());
            task.on_done(move |result| one.send(*result.as_ref().unwrap()).unwrap());
            failed.on_done(move |result| {
                assert!(result.as_ref().unwrap_err().is_panic());
                other.send(0).unwrap();
            });
            task.wait();
            failed.wait();
        }
        drop(sender);
        let mut all: Vec<u64> = heard.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 0, 9, 9]);
    });
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor, as small as they get.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn a_task_can_be_awaited() {
    common::watched("pool_results", || {
        let pool = Pool::new(2).unwrap();
        let event = Event::new().unwrap();
        let sum = block_on(async {
            let waiting = pool.submit(wait_for, event.clone())?;
            let ready = pool.submit(square, 3)?;
            ready.wait();
            let nine = ready.await?;
            let opened = pool.submit(open, event.clone())?;
            waiting.await?;
            opened.await?;
            Ok::<_, TaskError>(nine + pool.submit(square, 4)?.await?)
        });
        assert_eq!(sum.unwrap(), 25);
        let dead = block_on(async { pool.submit(kill_myself, ())?.await });
        assert!(dead.unwrap_err().is_worker_dead());
    });
}

#[test]
fn stats_count_every_task_once() {
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let event = Event::new().unwrap();
        let first = pool.submit(wait_for, event.clone()).unwrap();
        common::until(|| pool.stats().running == 1);
        let good: Vec<_> = (0..10).map(|n| pool.submit(square, n).unwrap()).collect();
        let bad = [1, 3, 5].map(|n| pool.submit(odd_is_wrong, n).unwrap());
        let cancelled = [0, 1].map(|n| pool.submit(square, n).unwrap());
        assert!(cancelled.iter().all(Task::cancel));
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running, stats.done, stats.failed), (15, 1, 0, 0));
        event.set().unwrap();
        first.get().unwrap();
        good.into_iter().for_each(|task| _ = task.get().unwrap());
        bad.into_iter().for_each(|task| _ = task.get().unwrap_err());
        pool.apply(kill_myself, ()).unwrap_err();
        pool.apply(square, 1).unwrap();
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running), (0, 0));
        assert_eq!((stats.done, stats.failed, stats.restarted), (12, 6, 1));
        assert!(stats.busy.len() == 1 && !stats.busy[0].is_zero());
    });
}

#[test]
fn what_a_pool_did_not_get_to_has_failed() {
    common::watched("pool_results", || {
        let pool = Pool::new(1).unwrap();
        let tasks = [(); 5].map(|()| pool.submit(for_ever, ()).unwrap());
        pool.terminate();
        tasks.into_iter().for_each(|task| _ = task.get().unwrap_err());
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running, stats.done, stats.failed), (0, 0, 0, 5));
    });
}

#[test]
fn iterators_know_how_many_results_are_left() {
    common::watched("pool_results", || {
        let pool = Pool::new(2).unwrap();
        let mut ordered = pool.imap(square, vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let mut unordered = pool.imap_unordered(square, vec![0; 20]);
        for left in (0..10).rev() {
            ordered.next().unwrap().unwrap();
            unordered.next().unwrap().1.unwrap();
            assert_eq!((ordered.len(), unordered.len()), (left, left + 10));
        }
        assert!(ordered.next().is_none() && ordered.next().is_none());
        let tasks: Vec<_> = (0..3).map(|n| pool.submit(square, n).unwrap()).collect();
        let mut ended = as_completed(tasks);
        for left in (0..3).rev() {
            ended.next().unwrap().1.unwrap();
            assert_eq!(ended.len(), left);
        }
        // How many there are, nobody can know before they are made.
        let some = pool.imap(square, (0..10).filter(|n| n % 2 == 0));
        assert_eq!(some.size_hint(), (0, Some(10)));
        assert_eq!(some.count(), 5);
    });
}

#[test]
fn who_submits_more_than_the_queue_holds_waits_for_room() {
    common::watched("pool_results", || {
        let pool = Pool::builder().workers(1).queue_bound(2).build().unwrap();
        let event = Event::new().unwrap();
        let first = pool.submit(wait_for, event.clone()).unwrap();
        common::until(|| pool.stats().running == 1);
        let mut tasks: Vec<_> = (0..2).map(|n| pool.submit(square, n).unwrap()).collect();
        let (sender, submitted) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(pool.submit(square, 2).unwrap()).unwrap());
            let early = submitted.recv_timeout(Duration::from_millis(100));
            assert_eq!(pool.stats().queued, 2);
            event.set().unwrap();
            assert!(early.is_err(), "submitted to a full queue");
            tasks.push(submitted.recv().unwrap());
        });
        first.get().unwrap();
        let squares: Vec<_> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
        assert_eq!(squares, [0, 1, 4]);
    });
}
