//! Models of a pool's line as it is: nobody who waits there is forgotten, and it ends.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread::{self, JoinHandle};

use super::{expect_caught, model};
use crate::shim::Ordering::SeqCst;
use crate::sys::clock::Deadline;

#[path = "../../pool/line.rs"]
mod line;
#[path = "../../pool/signal.rs"]
mod signal;

use line::{Line, Phase, Taker, Turn};

const BOUND: usize = 3;

/// A line in which one order may wait, and how many orders have ended.
struct Pool {
    line: Line<u32, Minder>,
    ended: AtomicUsize,
}

struct Minder {
    index: usize,
    /// What a borrower has not done.
    bereft: Vec<u32>,
}

impl Minder {
    fn new(index: usize) -> Self {
        Self { index, bereft: Vec::new() }
    }
}

impl Taker for Minder {
    fn index(&self) -> usize {
        self.index
    }

    fn can_be_lent(&self) -> bool {
        !self.is_bereft()
    }

    fn is_bereft(&self) -> bool {
        !self.bereft.is_empty()
    }
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self { line: Line::new(2, 1), ended: AtomicUsize::new(0) })
    }

    fn push(&self, order: u32) -> Result<bool, Phase> {
        self.line.push(order, Deadline::NEVER, |_| false, |_| unreachable!())
    }

    fn end(&self, count: usize) {
        self.ended.fetch_add(count, SeqCst);
    }

    /// Does one order.
    fn finish(&self) {
        self.end(1);
        self.line.over();
    }

    /// A minder, whose worker dies with its first `deaths` orders, not begun: they go back.
    fn minder(pool: &Arc<Self>, index: usize, mut deaths: u32) -> JoinHandle<()> {
        let pool = Arc::clone(pool);
        thread::spawn(move || {
            let mut minder = Minder::new(index);
            loop {
                let (woken, turn) = pool.line.pop(minder);
                minder = woken;
                match turn {
                    Turn::Serve(_) if deaths == 0 => pool.finish(),
                    Turn::Serve(order) => {
                        deaths -= 1;
                        pool.end(pool.line.put_back(vec![order]).len());
                    }
                    Turn::Recover => {
                        let orders = std::mem::take(&mut minder.bereft);
                        pool.end(pool.line.put_back(orders).len());
                    }
                    Turn::Retire => return,
                }
            }
        })
    }

    /// A minder that has a long order besides the one that it takes, and so puts that back.
    fn busy_minder(pool: &Arc<Self>, index: usize) -> JoinHandle<()> {
        let pool = Arc::clone(pool);
        thread::spawn(move || {
            let (_, turn) = pool.line.pop(Minder::new(index));
            if let Turn::Serve(order) = turn {
                pool.end(pool.line.put_back(vec![order]).len());
            }
        })
    }

    /// Who does an order with a minder that is idle, and whose worker dies or does not, or leaves
    /// it to the others. How many were taken in.
    fn apply(&self, order: u32, is_dying: bool) -> usize {
        let Some(mut minder) = self.line.borrow() else {
            return usize::from(self.push(order).is_ok());
        };
        if is_dying {
            minder.bereft.push(order);
        } else {
            self.finish();
        }
        self.line.give_back(minder);
        1
    }

    /// Who puts an order into the line and then takes it back, if nobody has come for it, to do it
    /// with a minder that is idle.
    fn submit_and_get(&self, order: u32, is_dying: bool) {
        assert_eq!(self.push(order), Ok(true));
        let Some((mut minder, own)) = self.line.reclaim(|waiting| *waiting == order) else {
            return;
        };
        assert_eq!(own, order);
        if is_dying {
            minder.bereft.push(order);
        } else {
            self.finish();
        }
        self.line.give_back(minder);
    }

    fn stop(&self) {
        self.end(self.line.enter(Phase::Terminated).len());
    }
}

/// Closed while an order is with a minder that puts it back and does no more: the other one hears
/// of it and has not left too early, and who waits for the end hears of that.
#[test]
fn what_is_put_back_after_the_close_is_done() {
    model("what_is_put_back_after_the_close_is_done", BOUND, || {
        let pool = Pool::new();
        let minders = [Pool::busy_minder(&pool, 0), Pool::minder(&pool, 1, 0)];
        assert_eq!(pool.push(1), Ok(true));
        assert!(pool.line.enter(Phase::Closed).is_empty());
        assert!(pool.line.drain(Deadline::NEVER));
        assert_eq!(pool.ended.load(SeqCst), 1);
        minders.into_iter().for_each(|minder| minder.join().unwrap());
        assert_eq!(pool.line.lengths(), (0, 0));
    });
}

/// Who waits for room gets it, from whoever makes it: an order that is taken, or put back and
/// taken again.
#[test]
fn who_waits_for_room_is_woken() {
    model("who_waits_for_room_is_woken", BOUND, || {
        let pool = Pool::new();
        let minder = Pool::minder(&pool, 0, 1);
        let pusher = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || assert_eq!(pool.push(1), Ok(true)))
        };
        assert_eq!(pool.push(2), Ok(true));
        assert_eq!(pool.push(3), Ok(true));
        pusher.join().unwrap();
        pool.line.enter(Phase::Closed);
        assert!(pool.line.drain(Deadline::NEVER));
        minder.join().unwrap();
        assert_eq!(pool.ended.load(SeqCst), 3);
    });
}

/// Terminated at any moment: every order that was taken in has ended once, nobody waits any more.
#[test]
fn an_end_reaches_everybody() {
    model("an_end_reaches_everybody", BOUND, || {
        let pool = Pool::new();
        let minder = Pool::minder(&pool, 0, 1);
        let pusher = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || (0..2).filter(|&order| pool.push(order).is_ok()).count())
        };
        pool.stop();
        assert!(pool.line.drain(Deadline::NEVER));
        minder.join().unwrap();
        let pushed = pusher.join().unwrap();
        assert_eq!(pool.ended.load(SeqCst), pushed);
        assert_eq!(pool.line.lengths(), (0, 0));
        assert_eq!(pool.push(9), Err(Phase::Terminated));
    });
}

/// A minder is lent while somebody else has an order for it, and comes back with or without one
/// that was not done: all that were taken in are done, and it ends.
#[test]
fn who_was_lent_does_what_came_meanwhile() {
    for is_dying in [false, true] {
        model("who_was_lent_does_what_came_meanwhile", BOUND, move || {
            let pool = Pool::new();
            let minder = Pool::minder(&pool, 0, 0);
            let borrower = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.apply(1, is_dying))
            };
            assert_eq!(pool.push(2), Ok(true));
            assert!(pool.line.enter(Phase::Closed).is_empty());
            assert!(pool.line.drain(Deadline::NEVER));
            let applied = borrower.join().unwrap();
            assert_eq!(pool.ended.load(SeqCst), 1 + applied);
            minder.join().unwrap();
            assert_eq!(pool.line.lengths(), (0, 0));
        });
    }
}

/// What comes while one of two minders is lent for long is done by the other one meanwhile.
#[test]
fn nobody_waits_for_who_is_lent() {
    model("nobody_waits_for_who_is_lent", BOUND, || {
        let pool = Pool::new();
        let minders = [Pool::minder(&pool, 0, 0), Pool::minder(&pool, 1, 0)];
        let lent = pool.line.borrow();
        assert_eq!(pool.push(1), Ok(true));
        while pool.ended.load(SeqCst) < 1 {
            thread::yield_now();
        }
        if let Some(minder) = lent {
            pool.finish();
            pool.line.give_back(minder);
        }
        pool.line.enter(Phase::Closed);
        minders.into_iter().for_each(|minder| minder.join().unwrap());
        assert_eq!(pool.line.lengths(), (0, 0));
    });
}

/// Who waits for an order comes for it, as does the minder, whose worker dies under it or does not:
/// it is done once, and so is what somebody else has put in meanwhile.
#[test]
fn what_is_reclaimed_is_done_once() {
    for is_dying in [false, true] {
        model("what_is_reclaimed_is_done_once", BOUND, move || {
            let pool = Pool::new();
            let minder = Pool::minder(&pool, 0, 0);
            let submitter = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.submit_and_get(1, is_dying))
            };
            assert_eq!(pool.push(2), Ok(true));
            submitter.join().unwrap();
            assert!(pool.line.enter(Phase::Closed).is_empty());
            assert!(pool.line.drain(Deadline::NEVER));
            assert_eq!(pool.ended.load(SeqCst), 2);
            minder.join().unwrap();
            assert_eq!(pool.line.lengths(), (0, 0));
        });
    }
}

/// Terminated while somebody comes for an order: it has ended once.
#[test]
fn an_end_reaches_what_is_reclaimed() {
    model("an_end_reaches_what_is_reclaimed", BOUND, || {
        let pool = Pool::new();
        let minder = Pool::minder(&pool, 0, 0);
        let submitter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let is_taken_in = pool.push(1).is_ok();
                if let Some((minder, _)) = pool.line.reclaim(|_| true) {
                    pool.finish();
                    pool.line.give_back(minder);
                }
                usize::from(is_taken_in)
            })
        };
        pool.stop();
        assert!(pool.line.drain(Deadline::NEVER));
        minder.join().unwrap();
        assert_eq!(pool.ended.load(SeqCst), submitter.join().unwrap());
        assert_eq!(pool.line.lengths(), (0, 0));
    });
}

#[test]
fn mutants_are_caught() {
    let closed = "raw::tests::loom_line::what_is_put_back_after_the_close_is_done";
    expect_caught(&[
        ("line-put-back", closed),
        ("line-leave", closed),
        ("line-last", closed),
        ("line-room", "raw::tests::loom_line::who_waits_for_room_is_woken"),
        ("signal-sleepers", closed),
        ("line-give-back", "raw::tests::loom_line::who_was_lent_does_what_came_meanwhile"),
        ("line-lent", "raw::tests::loom_line::nobody_waits_for_who_is_lent"),
        ("line-awake", "raw::tests::loom_line::what_is_reclaimed_is_done_once"),
        ("line-looks", "raw::tests::loom_line::nobody_waits_for_who_is_lent"),
        ("line-reclaim", "raw::tests::loom_line::what_is_reclaimed_is_done_once"),
        ("line-enter", "raw::tests::loom_line::an_end_reaches_everybody"),
    ]);
}
