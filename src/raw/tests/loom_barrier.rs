//! Models of the barrier: all parties agree how a generation ended, and nobody waits for the dead.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::barrier::{Barrier, Failure, Party};
use crate::raw::wait::{Fence, Terms};
use crate::shim::{Futex, dies_at};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;
const NO_ACTION: Option<fn()> = None;
const BROKEN: Result<u32, Failure> = Err(Failure::Broken);
const TIMED_OUT: Result<u32, Failure> = Err(Failure::TimedOut);

/// A barrier, and what the parties do on the way from one to the next.
struct Hall {
    barrier: Barrier,
    parties: u32,
    epoch: Futex,
    work: [UnsafeCell<u32>; 6],
    race: LoomUsize,
}

// SAFETY: loom checks that nobody is at a work while somebody writes it; that is modelled.
unsafe impl Sync for Hall {}
// SAFETY: nothing in here belongs to a thread.
unsafe impl Send for Hall {}

impl Hall {
    fn new(parties: u32) -> Arc<Self> {
        let (barrier, epoch) = (Barrier::new(parties), Futex::new(0));
        let work = std::array::from_fn(|_| UnsafeCell::new(0));
        Arc::new(Self { barrier, parties, epoch, work, race: LoomUsize::new(0) })
    }

    fn wait_until(
        &self,
        participant: u32,
        deadline: Deadline,
        action: Option<impl FnOnce()>,
    ) -> Result<u32, Failure> {
        race(&self.race);
        let party = Party { of: self.parties, participant };
        let terms = Terms { epoch: &self.epoch, how: Fence::Full, deadline };
        self.barrier.wait(party, terms, action, || ())
    }

    fn wait(&self, participant: u32) -> Result<u32, Failure> {
        self.wait_until(participant, Deadline::NEVER, NO_ACTION)
    }

    /// Waits no longer than it takes to look.
    fn hurry(&self, participant: u32) -> Result<u32, Failure> {
        self.wait_until(participant, Deadline::after(Duration::ZERO), NO_ACTION)
    }

    fn sweep(&self, dead: u32) {
        race(&self.race);
        self.barrier.sweep(dead, true);
    }

    fn write(&self, work: usize) {
        // SAFETY: loom checks it, see above.
        self.work[work].with_mut(|work| unsafe { *work += 1 });
    }

    fn read(&self, work: usize) -> u32 {
        // SAFETY: loom checks it, see above.
        self.work[work].with(|work| unsafe { *work })
    }
}

#[test]
fn two_meet_and_find_each_others_work() {
    model("barrier, 2 meet", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || {
            there.write(1);
            let index = there.wait(1).unwrap();
            assert_eq!(there.read(0), 1);
            index
        });
        hall.write(0);
        let index = hall.wait(0).unwrap();
        assert_eq!(hall.read(1), 1);
        assert_eq!(index + other.join().unwrap(), 1);
    });
}

#[test]
fn three_meet() {
    model("barrier, 3 meet", 2, || {
        let hall = Hall::new(3);
        let others = [1, 2].map(|me| {
            let there = Arc::clone(&hall);
            thread::spawn(move || {
                there.write(me as usize);
                let index = there.wait(me).unwrap();
                assert_eq!((0..3).map(|party| there.read(party)).sum::<u32>(), 3);
                index
            })
        });
        hall.write(0);
        let mut indexes = 1 << hall.wait(0).unwrap();
        for other in others {
            indexes |= 1 << other.join().unwrap();
        }
        assert_eq!(indexes, 0b111);
    });
}

/// The fast one is at the next meeting while the slow one has not left the last.
#[test]
fn two_meet_again() {
    model("barrier, 2 meet twice", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || {
            there.write(1);
            there.wait(1).unwrap();
            assert_eq!(there.read(0), 1);
            there.write(3);
            there.wait(1).unwrap();
            assert_eq!(there.read(2), 1);
        });
        hall.write(0);
        hall.wait(0).unwrap();
        assert_eq!(hall.read(1), 1);
        hall.write(2);
        hall.wait(0).unwrap();
        assert_eq!(hall.read(3), 1);
        other.join().unwrap();
    });
}

/// The last one acts, before anybody goes on, and finds the work of all.
#[test]
fn the_last_one_acts_for_all() {
    model("barrier, 2 meet, 1 acts", BOUND, || {
        let hall = Hall::new(2);
        let party = |there: &Hall, me: u32| {
            there.write(me as usize);
            let action = || {
                assert_eq!(there.read(0) + there.read(1), 2);
                there.write(2);
            };
            assert!(there.wait_until(me, Deadline::NEVER, Some(action)).is_ok());
            assert_eq!(there.read(2), 1);
        };
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || party(&there, 1));
        party(&hall, 0);
        other.join().unwrap();
    });
}

/// Whoever comes while the last one acts waits outside, and then is in the next generation.
#[test]
fn who_comes_while_the_last_one_acts_is_next() {
    model("barrier of 1, 2 come", BOUND, || {
        let hall = Hall::new(1);
        let party = |there: &Hall, me: u32| {
            // Loom checks that no two act at once.
            assert_eq!(there.wait_until(me, Deadline::NEVER, Some(|| there.write(0))), Ok(0));
        };
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || party(&there, 1));
        party(&hall, 0);
        other.join().unwrap();
        assert_eq!(hall.read(0), 2);
    });
}

/// One that is in a hurry comes beside the two that there are to be. Two pass, or nobody.
#[test]
fn one_too_many_in_a_hurry() {
    model("barrier, 3 come to 2, 1 in a hurry", 1, || {
        let hall = Hall::new(2);
        let others = [1, 2].map(|me| {
            let there = Arc::clone(&hall);
            thread::spawn(move || there.wait_until(me, Deadline::NEVER, Some(|| ())))
        });
        let mine = hall.hurry(0);
        if mine.is_ok() {
            // One of the others has passed as well, and the other is alone.
            hall.barrier.abort();
        }
        let theirs = others.map(|other| other.join().unwrap());
        let passed = theirs.iter().chain([&mine]).filter(|passed| passed.is_ok()).count();
        assert!(passed == 2 || (passed == 0 && mine == TIMED_OUT), "{mine:?} {theirs:?}");
    });
}

/// One dies at a point of its way; the janitor sweeps. Gives what the survivor got, and whether
/// anybody died.
fn survivor(
    name: &'static str,
    point: &'static str,
    acts: bool,
    check: impl Fn(Result<u32, Failure>, bool) + Send + Sync + Copy + 'static,
) {
    model(&format!("{name}, at {point}"), BOUND, move || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let dying = thread::spawn(move || {
            let action = acts.then_some(|| ());
            let lived = dies_at(point, || there.wait_until(1, Deadline::NEVER, action));
            if lived.is_none() {
                there.sweep(1);
            }
            lived.is_none()
        });
        let result = hall.wait(0);
        check(result, dying.join().unwrap());
    });
}

#[test]
fn a_party_that_dies_on_its_way_breaks_it() {
    survivor("barrier, a party dies", "barrier-marked", false, |result, died| {
        assert!(died);
        assert_eq!(result, BROKEN);
    });
}

#[test]
fn a_party_that_dies_inside_breaks_it_or_was_counted() {
    survivor("barrier, a party dies", "barrier-arrived", false, |result, died| {
        let expected = if died { [Ok(1), BROKEN] } else { [Ok(0); 2] };
        assert!(expected.contains(&result), "{result:?}");
    });
}

#[test]
fn a_party_that_dies_in_its_action_breaks_it() {
    survivor("barrier, a party dies", "barrier-acting", true, |result, died| {
        assert_eq!(result, if died { BROKEN } else { Ok(1) });
    });
}

#[test]
fn a_party_that_dies_before_it_woke_the_others_has_let_them_pass() {
    for acts in [false, true] {
        survivor("barrier, a party dies", "barrier-passed", acts, |result, died| {
            assert_eq!(result, Ok(if died { 0 } else { 1 }));
        });
    }
}

/// Whoever broke it and dies before it woke the others is followed by the janitor's alarm.
#[test]
fn a_break_that_dies_is_made_good() {
    model("barrier, who breaks it dies", BOUND, || {
        let hall = Hall::new(3);
        let there = Arc::clone(&hall);
        let dying = thread::spawn(move || {
            assert!(dies_at("barrier-broken", || there.hurry(1)).is_none());
            there.sweep(1);
        });
        assert_eq!(hall.wait(0), BROKEN);
        dying.join().unwrap();
    });
}

#[test]
fn a_reset_that_dies_is_made_good() {
    model("barrier, who resets it dies", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let dying = thread::spawn(move || {
            race(&there.race);
            let lived = dies_at("barrier-reset", || there.barrier.reset());
            if lived.is_none() {
                there.sweep(1);
            } else {
                // Nobody was there yet.
                there.barrier.abort();
            }
        });
        assert_eq!(hall.wait(0), BROKEN);
        dying.join().unwrap();
    });
}

/// A party that has passed dies before it comes again: the others would wait for it.
#[test]
fn a_death_between_two_generations_breaks_the_next() {
    model("barrier, a death between", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || {
            there.wait(1).unwrap();
            there.sweep(1);
        });
        hall.wait(0).unwrap();
        assert_eq!(hall.wait(0), BROKEN);
        other.join().unwrap();
    });
}

/// The others have gone on without a party since: its death is not their business.
#[test]
fn a_death_in_an_earlier_generation_breaks_nothing() {
    model("barrier, a death of the past", 2, || {
        let hall = Hall::new(2);
        // Two that pass one after the other, and then do not come again.
        for (first, last) in [(1, 2), (3, 4)] {
            assert!(dies_at("barrier-arrived", || hall.wait(first)).is_none());
            hall.wait(last).unwrap();
        }
        let there = Arc::clone(&hall);
        let janitor = thread::spawn(move || {
            there.sweep(1);
            there.wait(5)
        });
        assert!(hall.wait(0).is_ok());
        assert!(janitor.join().unwrap().is_ok());
    });
}

/// The janitor breaks a generation that passes at the same moment, or does not.
#[test]
fn a_sweep_and_the_last_arrival_agree() {
    model("barrier, sweep and last arrival", BOUND, || {
        let hall = Hall::new(2);
        // It is dead, but counted.
        assert!(dies_at("barrier-arrived", || hall.wait(2)).is_none());
        let there = Arc::clone(&hall);
        let janitor = thread::spawn(move || there.sweep(2));
        let result = hall.wait(0);
        janitor.join().unwrap();
        // This generation, or the next.
        assert!(hall.barrier.view().is_broken);
        assert!([Ok(1), BROKEN].contains(&result));
    });
}

/// Of two threads of one participant, the slow one does not take the mark of the fast one back.
#[test]
fn a_mark_never_goes_back() {
    model("barrier, 2 threads of 1 participant", BOUND, || {
        let hall = Hall::new(2);
        // Somebody is there.
        assert!(dies_at("barrier-arrived", || hall.wait(2)).is_none());
        let there = Arc::clone(&hall);
        let slow = thread::spawn(move || {
            assert!(dies_at("barrier-marked", || there.wait(1)).is_none());
        });
        // Another one lets the two of them pass, but rings no bell, whose fence would order all.
        assert!(dies_at("barrier-passed", || hall.wait(0)).is_none());
        // So it is with the next two.
        assert!(dies_at("barrier-arrived", || hall.wait(3)).is_none());
        assert!(dies_at("barrier-passed", || hall.wait(4)).is_none());
        // The participant dies: one thread of it on its way, the other in a later generation.
        assert!(dies_at("barrier-arrived", || hall.wait(1)).is_none());
        slow.join().unwrap();
        hall.sweep(1);
        assert!(hall.barrier.view().is_broken);
    });
}

#[test]
fn a_time_out_and_the_last_arrival_agree() {
    model("barrier, 1 in a hurry", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || {
            there.write(1);
            there.wait(1)
        });
        let mine = hall.hurry(0);
        if mine.is_ok() {
            assert_eq!(hall.read(1), 1);
        }
        match (mine, other.join().unwrap()) {
            (Ok(mine), Ok(other)) => assert_eq!(mine + other, 1),
            (mine, other) => assert_eq!((mine, other), (TIMED_OUT, BROKEN)),
        }
        assert_eq!(hall.barrier.view().is_broken, mine.is_err());
    });
}

#[test]
fn two_time_outs_and_the_last_arrival_agree() {
    model("barrier, 2 in a hurry", 2, || {
        let hall = Hall::new(3);
        let others = [1, 2].map(|me| {
            let there = Arc::clone(&hall);
            thread::spawn(move || if me == 1 { there.hurry(me) } else { there.wait(me) })
        });
        let mine = hall.hurry(0);
        let [second, third] = others.map(|other| other.join().unwrap());
        let all = [mine, second, third];
        if mine.is_ok() {
            assert!(all.iter().all(|passed| passed.is_ok()));
        } else {
            let late = all.iter().filter(|passed| **passed == TIMED_OUT).count();
            assert_eq!(late, 1, "one breaks it");
            assert!(all.iter().all(|passed| passed.is_err()));
        }
    });
}

#[test]
fn an_abort_reaches_whoever_waits() {
    model("barrier, 1 aborts", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || there.wait(1));
        race(&hall.race);
        hall.barrier.abort();
        assert_eq!(other.join().unwrap(), BROKEN);
    });
}

/// A reset is before an arrival, and the two meet; or after it, and it was in vain.
#[test]
fn a_reset_and_an_arrival_agree() {
    model("barrier, 1 resets", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || there.wait(1));
        race(&hall.race);
        hall.barrier.reset();
        let mine = hall.hurry(0);
        let theirs = other.join().unwrap();
        assert_eq!(mine.is_ok(), theirs.is_ok());
        if mine.is_err() {
            assert_eq!((mine, theirs), (TIMED_OUT, BROKEN));
        }
    });
}

#[test]
fn a_reset_reaches_whoever_waits() {
    model("barrier, 1 waits, 1 resets", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let other = thread::spawn(move || there.wait(1));
        race(&hall.race);
        let waits = hall.barrier.view().waiting == 1;
        hall.barrier.reset();
        if !waits {
            hall.barrier.abort();
        }
        assert_eq!(other.join().unwrap(), BROKEN);
    });
}

/// Whoever is slow to leave is told of its own generation, also if the next one was reset.
#[test]
fn a_reset_of_the_next_generation_is_not_for_this_one() {
    model("barrier, the next is reset", BOUND, || {
        let hall = Hall::new(2);
        let there = Arc::clone(&hall);
        let slow = thread::spawn(move || there.wait(1));
        hall.wait(0).unwrap();
        assert_eq!(hall.hurry(0), TIMED_OUT);
        hall.barrier.reset();
        assert!(slow.join().unwrap().is_ok());
    });
}

#[test]
fn mutants_are_caught() {
    const HERE: &str = "raw::tests::loom_barrier";
    let caught = [
        ("barrier-changed/AcqRel", "two_meet_and_find_each_others_work"),
        ("barrier-changed/Acquire", "two_meet_and_find_each_others_work"),
        ("barrier-marked/Acquire", "a_mark_never_goes_back"),
        ("barrier-marked/Release", "a_mark_never_goes_back"),
        ("barrier-mark", "a_party_that_dies_on_its_way_breaks_it"),
        ("barrier-sweep-between", "a_death_between_two_generations_breaks_the_next"),
        ("barrier-sweep-any", "a_death_in_an_earlier_generation_breaks_nothing"),
        ("barrier-open-ring", "two_meet_and_find_each_others_work"),
        ("barrier-break-ring", "an_abort_reaches_whoever_waits"),
        ("barrier-reset-ring", "a_reset_reaches_whoever_waits"),
        ("barrier-late-look", "a_time_out_and_the_last_arrival_agree"),
        ("barrier-endings", "a_reset_of_the_next_generation_is_not_for_this_one"),
        ("bell/fence", "two_meet_and_find_each_others_work"),
        ("bell-alarm", "a_break_that_dies_is_made_good"),
    ];
    let caught = caught.map(|(mutant, test)| (mutant, format!("{HERE}::{test}")));
    expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
}
