//! Locks and semaphores.

use multiproc::{Lock, Semaphore};

use crate::common::{next, seed, storms, watched};
use crate::history::{Call, Model, Verdict};
use crate::log::{Object, Part, Plan, meet};

const CALLS: usize = 12;
const PERMITS_MAX: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Op {
    Take,
    GiveBack,
}

impl Op {
    const TAKE: u64 = 1;
    const GIVE_BACK: u64 = 2;

    fn of(number: u64) -> Self {
        if number == Self::TAKE { Self::Take } else { Self::GiveBack }
    }
}

/// So many permits; a lock has one.
struct Permits(u64);

impl Model for Permits {
    type Op = Op;
    type State = u64;

    fn first(&self) -> u64 {
        self.0
    }

    fn after(&self, free: &u64, call: &Call<Op>) -> Vec<u64> {
        match (call.op, call.ended) {
            (Op::GiveBack, _) => vec![free + 1],
            (Op::Take, Some((_, 0))) if *free > 0 => vec![],
            (Op::Take, Some((_, 0)) | None) if *free == 0 => vec![*free],
            (Op::Take, _) if *free == 0 => vec![],
            (Op::Take, _) => vec![free - 1],
        }
    }
}

fn use_lock((lock, mut log, together, mut random): Part<Lock>) {
    let mut guard = None;
    meet(&together);
    for call in 0.. {
        if guard.is_some() {
            log.call(Op::GIVE_BACK, || {
                guard = None;
                0
            });
        } else if call < CALLS {
            let waits = next(&mut random).is_multiple_of(4);
            log.call(Op::TAKE, || {
                guard = if waits { lock.lock().ok() } else { lock.try_lock().ok() };
                guard.is_some().into()
            });
        } else {
            return;
        }
    }
}

fn use_semaphore((semaphore, mut log, together, mut random): Part<Semaphore>) {
    let mut permits = Vec::new();
    meet(&together);
    for call in 0.. {
        let gives_back = call >= CALLS || next(&mut random).is_multiple_of(2);
        if gives_back && !permits.is_empty() {
            log.call(Op::GIVE_BACK, || {
                permits.pop();
                0
            });
        } else if call < CALLS {
            log.call(Op::TAKE, || {
                let permit = semaphore.try_acquire().unwrap();
                let is_taken = permit.is_some();
                permits.extend(permit);
                is_taken.into()
            });
        } else {
            return;
        }
    }
}

/// Takes what others have: what no lock lets anybody do.
fn take_anyway((semaphore, mut log, together, _): Part<Semaphore>) {
    meet(&together);
    for _ in 0..CALLS / 2 {
        let mut permit = None;
        log.call(Op::TAKE, || {
            permit = semaphore.try_acquire().unwrap();
            1
        });
        log.call(Op::GIVE_BACK, || {
            permit = None;
            0
        });
    }
}

fn look<T: Object>(make: fn() -> T, body: fn(Part<T>), permits: u64) -> Verdict {
    let mut random = seed();
    let mut verdict = Verdict::default();
    let plan = Plan { body, calls: CALLS + PERMITS_MAX, op: Op::of, kills: false };
    for _ in 0..60 * storms() {
        let object = make();
        verdict.add(&Permits(permits), &plan.record(|_| object.clone(), &mut random));
    }
    verdict
}

#[test]
fn locks_are_locks() {
    watched("locks_are_locks", || {
        look(|| Lock::new().unwrap(), use_lock, 1).assert_right("Lock");
    });
}

#[test]
fn semaphores_are_semaphores() {
    watched("semaphores_are_semaphores", || {
        look(|| Semaphore::new(1).unwrap(), use_semaphore, 1).assert_right("Semaphore of 1");
        look(|| Semaphore::new(3).unwrap(), use_semaphore, 3).assert_right("Semaphore of 3");
    });
}

#[test]
fn a_semaphore_that_everybody_passes_is_caught() {
    watched("a_semaphore_that_everybody_passes_is_caught", || {
        let look = || look(|| Semaphore::new(1).unwrap(), take_anyway, 1);
        assert!(Verdict::is_caught(look));
    });
}
