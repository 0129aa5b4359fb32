//! Conditions between processes: as many wake as were notified, whoever dies.
//!
//! The first part is after CPython's `ConditionTests` in `Lib/test/_test_multiprocessing.py`, PSF
//! licence: the cases, not the code.
#![allow(unsafe_code, reason = "tests look at the kernel")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{die, next, seed, storms, until, watched};
use multiproc::{
    Condition, Connection, ErrorKind, Lock, LockError, Nothing, Pipe, Process, Queue, ReentrantLock,
};

/// Longer than any test: the watchdog comes first.
const LONG: Duration = Duration::from_secs(600);

/// What sleepers need: they tell when they have the lock and go to sleep, and when they woke.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Dormitory {
    lock: Lock,
    condition: Condition,
    going: Queue<u32>,
    woken: Queue<u32>,
}

impl Dormitory {
    fn new() -> Self {
        Self {
            lock: Lock::new().unwrap(),
            condition: Condition::new().unwrap(),
            going: Queue::bounded(64).unwrap(),
            woken: Queue::bounded(64).unwrap(),
        }
    }

    fn sleep(mut self, name: u32) {
        let guard = self.lock.lock().unwrap();
        self.going.send(name).unwrap();
        let guard = self.condition.wait(guard).unwrap();
        self.woken.send(name).unwrap();
        drop(guard);
    }

    /// Has another process sleep, and returns when it does.
    fn child(&mut self, name: u32) -> Process<()> {
        let child = Process::spawn(sleeper, (self.clone(), name)).unwrap();
        self.wait_until_asleep();
        child
    }

    /// Returns when one more sleeps: it has given up the lock.
    fn wait_until_asleep(&mut self) {
        self.going.recv().unwrap();
        drop(self.lock.lock().unwrap());
    }

    /// Half of them are threads, and half of them processes.
    fn six(&mut self) -> (Vec<Process<()>>, Vec<thread::JoinHandle<()>>) {
        let children = (0..3).map(|name| self.child(name)).collect();
        let threads = (3..6).map(|name| {
            let this = self.clone();
            let thread = thread::spawn(move || this.sleep(name));
            self.wait_until_asleep();
            thread
        });
        (children, threads.collect())
    }

    /// Demands that those who were notified have woken, in whatever order, and nobody else.
    fn expect_woken(&mut self, mut names: Vec<u32>, asleep: usize) {
        let mut woken: Vec<_> = names.iter().map(|_| self.woken.recv().unwrap()).collect();
        woken.sort_unstable();
        names.sort_unstable();
        assert_eq!(woken, names);
        assert_eq!(waiting(&self.condition), asleep);
        assert!(self.woken.is_empty());
    }
}

fn sleeper((dormitory, name): (Dormitory, u32)) {
    dormitory.sleep(name);
}

/// How many wait and are not notified.
fn waiting(condition: &Condition) -> usize {
    let shown = format!("{condition:?}");
    let number = shown.strip_prefix("Condition { waiting: ").and_then(|end| end.strip_suffix(" }"));
    number.and_then(|number| number.parse().ok()).expect(&shown)
}

fn join_all((children, threads): (Vec<Process<()>>, Vec<thread::JoinHandle<()>>)) {
    children.into_iter().for_each(|child| child.join().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_notification_wakes_one() {
    watched("a_notification_wakes_one", || {
        let mut dormitory = Dormitory::new();
        let child = dormitory.child(1);
        let there = dormitory.clone();
        let thread = thread::spawn(move || there.sleep(2));
        dormitory.wait_until_asleep();
        dormitory.expect_woken(vec![], 2);
        assert!(dormitory.condition.notify_one().unwrap());
        dormitory.expect_woken(vec![1], 1);
        // With the lock, as in Python.
        let guard = dormitory.lock.lock().unwrap();
        assert!(dormitory.condition.notify_one().unwrap());
        assert!(!dormitory.condition.notify_one().unwrap());
        drop(guard);
        dormitory.expect_woken(vec![2], 0);
        join_all((vec![child], vec![thread]));
    });
}

#[test]
fn all_are_woken_at_once() {
    fn doze(dormitory: Dormitory) -> bool {
        let guard = dormitory.lock.lock().unwrap();
        let nap = Duration::from_millis(20);
        dormitory.condition.wait_timeout(guard, nap).unwrap().1
    }
    watched("all_are_woken_at_once", || {
        let mut dormitory = Dormitory::new();
        let dozing: Vec<_> =
            (0..6).map(|_| Process::spawn(doze, dormitory.clone()).unwrap()).collect();
        dozing.into_iter().for_each(|child| assert!(!child.join().unwrap()));
        assert_eq!(dormitory.condition.notify_all().unwrap(), 0);
        let six = dormitory.six();
        assert_eq!(dormitory.condition.notify_all().unwrap(), 6);
        dormitory.expect_woken((0..6).collect(), 0);
        join_all(six);
    });
}

#[test]
fn as_many_are_woken_as_are_notified() {
    watched("as_many_are_woken_as_are_notified", || {
        let mut dormitory = Dormitory::new();
        let six = dormitory.six();
        assert_eq!(dormitory.condition.notify(0).unwrap(), 0);
        dormitory.expect_woken(vec![], 6);
        assert_eq!(dormitory.condition.notify(2).unwrap(), 2);
        dormitory.expect_woken(vec![0, 1], 4);
        assert_eq!(dormitory.condition.notify(4).unwrap(), 4);
        dormitory.expect_woken(vec![2, 3, 4, 5], 0);
        assert_eq!(dormitory.condition.notify(3).unwrap(), 0);
        dormitory.expect_woken(vec![], 0);
        join_all(six);
    });
}

#[test]
fn a_wait_ends_in_time() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let start = Instant::now();
    let nap = Duration::from_millis(150);
    let (guard, is_notified) = condition.wait_timeout(lock.lock().unwrap(), nap).unwrap();
    assert!(!is_notified && nap <= start.elapsed());
    let (guard, is_notified) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
    assert!(!is_notified && lock.is_locked());
    drop(guard);
    assert!(!lock.is_locked());
    assert_eq!(waiting(&condition), 0);
}

/// The state that the tests of predicates count up: how many messages there are.
type Counted = (Lock, Condition, Queue<()>);

fn counted() -> Counted {
    (Lock::new().unwrap(), Condition::new().unwrap(), Queue::bounded(8).unwrap())
}

/// Notifies the other side `times` times, and each time the state is one more.
fn count((lock, condition, state): &mut Counted, times: usize) {
    for _ in 0..times {
        let guard = lock.lock().unwrap();
        state.send(()).unwrap();
        condition.notify_one().unwrap();
        drop(guard);
    }
}

#[test]
fn a_wait_for_a_condition_ends_when_it_is_met() {
    fn wait((lock, condition, state): Counted) -> usize {
        let guard = lock.lock().unwrap();
        let guard = condition.wait_while(guard, |_| state.len() < 4).unwrap();
        let found = state.len();
        drop(guard);
        found
    }
    watched("a_wait_for_a_condition_ends_when_it_is_met", || {
        let mut counted = counted();
        let child = Process::spawn(wait, counted.clone()).unwrap();
        count(&mut counted, 4);
        assert_eq!(child.join().unwrap(), 4);
        let (lock, condition, _) = &counted;
        // Who waits for what is so already does not wait.
        let (guard, is_met) =
            condition.wait_timeout_while(lock.lock().unwrap(), Duration::ZERO, |_| false).unwrap();
        assert!(is_met);
        drop(condition.wait_while(guard, |_| false).unwrap());
    });
}

#[test]
fn a_wait_for_a_condition_that_is_not_met_ends_in_time() {
    const TIME: Duration = Duration::from_millis(150);
    fn wait((lock, condition, state): Counted) -> (bool, bool) {
        let (guard, start) = (lock.lock().unwrap(), Instant::now());
        let (guard, is_met) =
            condition.wait_timeout_while(guard, TIME, |_| state.len() < 4).unwrap();
        drop(guard);
        (is_met, TIME <= start.elapsed())
    }
    watched("a_wait_for_a_condition_that_is_not_met_ends_in_time", || {
        let mut counted = counted();
        let child = Process::spawn(wait, counted.clone()).unwrap();
        count(&mut counted, 3);
        assert_eq!(child.join().unwrap(), (false, true));
    });
}

#[test]
fn a_wait_says_whether_it_was_notified() {
    fn notify((lock, condition): (Lock, Condition)) {
        let guard = lock.lock().unwrap();
        assert!(condition.notify_one().unwrap());
        drop(guard);
    }
    watched("a_wait_says_whether_it_was_notified", || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let guard = lock.lock().unwrap();
        let (guard, is_notified) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
        assert!(!is_notified);
        let (guard, is_notified) =
            condition.wait_timeout(guard, Duration::from_millis(10)).unwrap();
        assert!(!is_notified);
        let child = Process::spawn(notify, (lock.clone(), condition.clone())).unwrap();
        let (guard, is_notified) = condition.wait_timeout(guard, LONG).unwrap();
        assert!(is_notified);
        drop(guard);
        child.join().unwrap();
    });
}

// What is ours.

/// Python's wait ends with `KeyboardInterrupt` when a signal comes; ours goes on.
#[test]
fn a_stop_does_not_end_a_wait() {
    watched("a_stop_does_not_end_a_wait", || {
        let mut dormitory = Dormitory::new();
        let child = dormitory.child(1);
        stop(&child);
        child.signal(libc::SIGCONT).unwrap();
        until(|| state_of(child.pid()) != 'T');
        dormitory.expect_woken(vec![], 1);
        assert!(dormitory.condition.notify_one().unwrap());
        dormitory.expect_woken(vec![1], 0);
        child.join().unwrap();
    });
}

#[test]
fn who_has_waited_longest_is_woken_first() {
    watched("who_has_waited_longest_is_woken_first", || {
        let mut dormitory = Dormitory::new();
        let six = dormitory.six();
        for name in 0..6 {
            assert!(dormitory.condition.notify_one().unwrap());
            dormitory.expect_woken(vec![name], 5 - name as usize);
        }
        join_all(six);
    });
}

#[test]
fn all_levels_of_a_reentrant_lock_are_given_up_and_taken_again() {
    watched("all_levels_of_a_reentrant_lock", || {
        let (lock, condition) = (ReentrantLock::new().unwrap(), Condition::new().unwrap());
        let (first, second) = (lock.lock().unwrap(), lock.lock().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                let guard = lock.lock().unwrap();
                assert_eq!(guard.depth(), 1);
                assert!(condition.notify_one().unwrap());
                drop(guard);
            });
            let second = condition.wait_while(second, {
                let mut is_first = true;
                move |()| std::mem::take(&mut is_first)
            });
            let second = second.unwrap();
            assert_eq!(second.depth(), 2);
            drop(second);
        });
        assert_eq!(first.depth(), 1);
        drop(first);
        assert!(!lock.is_locked());
    });
}

#[test]
fn more_than_can_wait_are_told_so() {
    const WAITERS: usize = 1024;
    watched("more_than_can_wait_are_told_so", || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                let wait = || drop(condition.wait(lock.lock().unwrap()).unwrap());
                thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait).unwrap();
            }
            until(|| waiting(&condition) == WAITERS);
            let refused = condition.wait(lock.lock().unwrap()).unwrap_err();
            let error = refused.error().unwrap();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.to_string().contains("1024 threads"), "{error}");
            assert!(!lock.is_locked());
            assert_eq!(condition.notify_all().unwrap(), WAITERS);
        });
        assert_eq!(waiting(&condition), 0);
    });
}

#[test]
fn handles_are_of_one_condition() {
    let (one, other) = (Condition::new().unwrap(), Condition::new().unwrap());
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    assert_eq!(format!("{one:?}"), "Condition { waiting: 0 }");
}

// Deaths.

/// What the kernel says of a process: `S` if it sleeps, `T` if it is stopped.
fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

fn stop(child: &Process<()>) {
    child.signal(libc::SIGSTOP).unwrap();
    until(|| state_of(child.pid()) == 'T');
}

fn kill(child: Process<()>) {
    child.kill().unwrap();
    assert_eq!(child.join().unwrap_err().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_waiter_that_was_killed_takes_no_notification() {
    watched("a_waiter_that_was_killed_takes_no_notification", || {
        let mut dormitory = Dormitory::new();
        let [first, second] = [1, 2].map(|name| dormitory.child(name));
        kill(first);
        assert!(dormitory.condition.notify_one().unwrap());
        dormitory.expect_woken(vec![2], 0);
        second.join().unwrap();
        assert!(!dormitory.lock.is_poisoned());
    });
}

#[test]
fn a_waiter_that_is_killed_hands_its_notification_on() {
    watched("a_waiter_that_is_killed_hands_its_notification_on", || {
        let mut dormitory = Dormitory::new();
        let [first, second] = [1, 2].map(|name| dormitory.child(name));
        stop(&first);
        assert!(dormitory.condition.notify_one().unwrap());
        dormitory.expect_woken(vec![], 1);
        kill(first);
        dormitory.expect_woken(vec![2], 0);
        second.join().unwrap();
    });
}

#[test]
fn a_waiter_that_is_stopped_keeps_its_notification() {
    watched("a_waiter_that_is_stopped_keeps_its_notification", || {
        let mut dormitory = Dormitory::new();
        let [first, second] = [1, 2].map(|name| dormitory.child(name));
        stop(&first);
        assert!(dormitory.condition.notify_one().unwrap());
        // As long as several backstops, each of which has the second look for the dead.
        let guard = dormitory.lock.lock().unwrap();
        let nap = Duration::from_millis(350);
        let (guard, is_notified) = dormitory.condition.wait_timeout(guard, nap).unwrap();
        assert!(!is_notified);
        drop(guard);
        dormitory.expect_woken(vec![], 1);
        first.signal(libc::SIGCONT).unwrap();
        dormitory.expect_woken(vec![1], 1);
        assert!(dormitory.condition.notify_one().unwrap());
        dormitory.expect_woken(vec![2], 0);
        join_all((vec![first, second], vec![]));
    });
}

#[test]
fn a_lock_whose_owner_died_meanwhile_comes_with_the_news() {
    fn notify_and_die((lock, condition): (Lock, Condition)) {
        let _guard = lock.lock().unwrap();
        assert!(condition.notify_one().unwrap());
        die()
    }
    watched("a_lock_whose_owner_died_meanwhile", || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let guard = lock.lock().unwrap();
        let child = Process::spawn(notify_and_die, (lock.clone(), condition.clone())).unwrap();
        let poisoned = condition.wait_timeout(guard, LONG).unwrap_err();
        assert!(poisoned.is_owner_dead());
        let (guard, is_notified) = poisoned.into_inner().unwrap();
        assert!(is_notified && lock.is_locked());
        lock.clear_poison();
        drop(guard);
        assert_eq!(child.join().unwrap_err().signal(), Some(libc::SIGKILL));
    });
}

/// The only supervisor dies with the lock, and with the notification of a thread that waits for the
/// lock.
#[test]
fn without_a_supervisor_a_waiter_finds_out_by_itself() {
    type Report = Connection<bool, Nothing>;
    fn orphan((dormitory, mut report): (Dormitory, Report)) {
        let Dormitory { lock, condition, mut going, .. } = dormitory;
        let guard = lock.lock().unwrap();
        going.send(2).unwrap();
        // Not for ever: nobody would end an orphan.
        let woken = condition.wait_timeout(guard, Duration::from_secs(30));
        let heard = woken.err().filter(LockError::is_owner_dead).and_then(LockError::into_inner);
        report.send(heard.is_some_and(|(_, is_notified)| is_notified)).unwrap();
    }
    fn parent(report: Report) {
        let mut dormitory = Dormitory::new();
        let there = dormitory.clone();
        thread::spawn(move || there.sleep(1));
        dormitory.wait_until_asleep();
        let child = (dormitory.clone(), report);
        let _child = Process::builder().daemon(false).spawn(orphan, child).unwrap();
        dormitory.wait_until_asleep();
        let _guard = dormitory.lock.lock().unwrap();
        assert!(dormitory.condition.notify_one().unwrap());
        // Now the thread is awake.
        until(|| format!("{:?}", dormitory.lock).contains("is_awaited: true"));
        die()
    }
    watched("without_a_supervisor_a_waiter_finds_out_by_itself", || {
        let (report, mut heard) = Pipe::simplex::<bool>().unwrap();
        let process = Process::spawn(parent, report).unwrap();
        assert_eq!(process.join().unwrap_err().signal(), Some(libc::SIGKILL));
        assert!(heard.recv().unwrap());
    });
}

/// The sleepers are owed a wake by one that died on the way to it.
#[test]
fn a_notifier_killed_at_random_leaves_nobody_asleep() {
    const SLEEPERS: usize = 3;
    fn notify(condition: Condition) {
        loop {
            condition.notify(2).unwrap();
        }
    }
    watched("a_notifier_killed_at_random_leaves_nobody_asleep", || {
        let mut random = seed();
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let is_over = AtomicBool::new(false);
        let sleep = || {
            let mut guard = lock.lock().unwrap();
            while !is_over.load(Relaxed) {
                guard = condition.wait(guard).unwrap();
            }
        };
        thread::scope(|scope| {
            (0..SLEEPERS).for_each(|_| drop(scope.spawn(sleep)));
            for _ in 0..30 * storms() {
                let child = Process::spawn(notify, condition.clone()).unwrap();
                let kill_at = Instant::now() + Duration::from_micros(next(&mut random) % 5000);
                until(|| kill_at <= Instant::now());
                kill(child);
                until(|| waiting(&condition) == SLEEPERS);
            }
            let guard = lock.lock().unwrap();
            is_over.store(true, Relaxed);
            drop(guard);
            assert_eq!(condition.notify_all().unwrap(), SLEEPERS);
        });
    });
}

/// One job, one notification, and waiters that are killed wherever they are: a job that nobody has
/// is one whose waiter had the lock already when it died.
#[test]
fn waiters_killed_at_random_leave_no_job_undone() {
    type Shop = (Lock, Condition, Queue<u32>);
    fn work((lock, condition, mut jobs): Shop) {
        loop {
            let guard = lock.lock().or_else(LockError::recover).unwrap();
            let guard = condition.wait_while(guard, |_| jobs.is_empty());
            let guard = guard.or_else(LockError::recover).unwrap();
            drop(jobs.try_recv());
            drop(guard);
        }
    }
    watched("waiters_killed_at_random_leave_no_job_undone", || {
        let mut random = seed();
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let mut jobs = Queue::bounded(8).unwrap();
        let shop = (lock.clone(), condition.clone(), jobs.clone());
        let survivor = Process::spawn(work, shop.clone()).unwrap();
        let mut handed_in = 0;
        for _ in 0..60 * storms() {
            let mortal = Process::spawn(work, shop.clone()).unwrap();
            let kill_at = Instant::now() + Duration::from_micros(next(&mut random) % 5000);
            while Instant::now() < kill_at {
                handed_in += usize::from(hand_in(&lock, &condition, &mut jobs));
            }
            kill(mortal);
            if lock.is_poisoned() {
                lock.clear_poison();
                condition.notify_one().unwrap();
            }
            until(|| jobs.is_empty());
        }
        println!("{handed_in} jobs");
        kill(survivor);
    });
}

/// False if there are too many already.
fn hand_in(lock: &Lock, condition: &Condition, jobs: &mut Queue<u32>) -> bool {
    let guard = lock.lock().or_else(LockError::recover).unwrap();
    let is_handed_in = jobs.try_send(1).is_ok();
    drop(guard);
    if is_handed_in {
        condition.notify_one().unwrap();
    }
    is_handed_in
}
