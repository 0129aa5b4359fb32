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

use line::{Line, Phase};

const BOUND: usize = 3;

/// A line in which one order may wait, and how many orders have ended.
struct Pool {
    line: Line<u32>,
    ended: AtomicUsize,
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self { line: Line::new(1), ended: AtomicUsize::new(0) })
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
    fn minder(pool: &Arc<Self>, mut deaths: u32) -> JoinHandle<()> {
        let pool = Arc::clone(pool);
        thread::spawn(move || {
            while let Some(order) = pool.line.pop() {
                if deaths == 0 {
                    pool.finish();
                    continue;
                }
                deaths -= 1;
                pool.end(pool.line.put_back(vec![order]).len());
            }
        })
    }

    /// A minder that has a long order besides the one that it takes, and so puts that back.
    fn busy_minder(pool: &Arc<Self>) -> JoinHandle<()> {
        let pool = Arc::clone(pool);
        thread::spawn(move || {
            if let Some(order) = pool.line.pop() {
                pool.end(pool.line.put_back(vec![order]).len());
            }
        })
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
        let minders = [Pool::busy_minder(&pool), Pool::minder(&pool, 0)];
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
        let minder = Pool::minder(&pool, 1);
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
        let minder = Pool::minder(&pool, 1);
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

#[test]
fn mutants_are_caught() {
    let closed = "raw::tests::loom_line::what_is_put_back_after_the_close_is_done";
    expect_caught(&[
        ("line-put-back", closed),
        ("line-leave", closed),
        ("line-last", closed),
        ("line-room", "raw::tests::loom_line::who_waits_for_room_is_woken"),
        ("signal-sleepers", closed),
        ("line-enter", "raw::tests::loom_line::an_end_reaches_everybody"),
    ]);
}
