//! Models of the waiting layer: no wake is lost, whoever dies, on whichever fence.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::bench::{Bench, FIRST, Waiter, wake_everyone};
use crate::raw::seat::Seat;
use crate::raw::wait::{Fence, Terms, Waited};
use crate::shim::{AtomicU32, Futex, Ordering, at, dies_at, mutant, without_heavy_fences};
use crate::sys::clock::Deadline;

/// Preemptions an execution. Two waiters in four modes get `SHALLOW`: with three preemptions they
/// pass as well, in half a million executions a mode.
const BOUND: usize = 3;
const SHALLOW: usize = 2;
const CLOSED: u32 = Seat::flag(0);
const DIED: u32 = Seat::flag(1);

/// The publisher's fence, the waiter's, and whether light fences meet heavy ones: not where some
/// waiter has none.
const MODES: [(&str, Fence, Fence, bool); 4] = [
    ("membarrier", Fence::Asymmetric, Fence::Asymmetric, true),
    ("unregistered publisher", Fence::Full, Fence::Asymmetric, true),
    ("fenced waiter", Fence::Asymmetric, Fence::Full, false),
    ("no membarrier", Fence::Full, Fence::Full, false),
];

/// Runs the same model in each of the modes.
fn in_each_mode(
    name: &str,
    bound: usize,
    body: impl Fn(Fence, Fence) + Copy + Send + Sync + 'static,
) {
    for (mode, publisher, waiter, heavy) in MODES {
        let run = || model(&format!("{name}, {mode}"), bound, move || body(publisher, waiter));
        if heavy { run() } else { without_heavy_fences(run) }
    }
}

/// Messages that can be taken once.
struct Items {
    cells: [AtomicU32; 2],
    race: LoomUsize,
}

impl Items {
    fn new() -> Self {
        Self { cells: [AtomicU32::new(0), AtomicU32::new(0)], race: LoomUsize::new(0) }
    }

    fn put(&self, index: usize) {
        self.cells[index].store(1, Ordering::Release);
    }

    /// A load before the RMW, as only a load may miss what was published.
    fn take(&self) -> bool {
        self.cells.iter().any(|cell| {
            race(&self.race);
            cell.load(Ordering::Acquire) == 1
                && cell.compare_exchange(1, 2, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }
}

/// A pipe in small: one seat and what its waiter waits for.
struct Pipe {
    seat: Seat,
    items: Items,
    epoch: Futex,
}

impl Pipe {
    fn new(waiter: Fence) -> Arc<Self> {
        let pipe = Self { seat: Seat::new(), items: Items::new(), epoch: Futex::new(0) };
        if waiter == Fence::Full {
            assert!(pipe.seat.demand_fences() && !pipe.seat.demand_fences());
        }
        Arc::new(pipe)
    }

    fn send(&self, index: usize, how: Fence) {
        self.items.put(index);
        self.seat.notify(how);
    }

    fn terms(&self, how: Fence, deadline: Deadline) -> Terms<'_> {
        Terms { epoch: &self.epoch, how, deadline }
    }

    /// True if it took a message, false if it saw a flag and after that no message.
    fn receive(&self, how: Fence) -> bool {
        let mut took = false;
        let waited = self.seat.wait(
            self.terms(how, Deadline::NEVER),
            || {
                took = self.items.take();
                took || self.seat.flags() != 0
            },
            || (),
        );
        assert_eq!(waited, Waited::Ready);
        took || self.items.take()
    }
}

/// Two waiters of the first word, two of the second, and one of each.
const FRONT: [usize; 2] = [FIRST, FIRST + 1];
const BACK: [usize; 2] = [64, 65];
const APART: [usize; 2] = [FIRST, 64];

/// A queue in small: one bench, the table of its waiters, and what they wait for.
struct Hall {
    bench: Bench<2>,
    table: Vec<Waiter>,
    items: Items,
    epoch: Futex,
}

impl Hall {
    /// A hall whose waiters are in these two slots, the higher one last.
    fn new(waiters: Fence, slots: [usize; 2]) -> Arc<Self> {
        let table: Vec<Waiter> = (0..=slots[1]).map(|_| Waiter::new()).collect();
        let (bench, items) = (Bench::new(), Items::new());
        if waiters == Fence::Full {
            assert!(bench.demand_fences() && !bench.demand_fences());
        }
        slots.into_iter().for_each(|slot| table[slot].enter(7));
        Arc::new(Self { bench, table, items, epoch: Futex::new(0) })
    }

    fn send(&self, index: usize, how: Fence) {
        self.items.put(index);
        self.bench.notify_one(&self.table, how);
    }

    fn receive(&self, me: usize, how: Fence, deadline: Deadline) -> Waited {
        self.wait(me, how, deadline, || self.items.take())
    }

    fn wait(
        &self,
        me: usize,
        how: Fence,
        deadline: Deadline,
        ready: impl FnMut() -> bool,
    ) -> Waited {
        let terms = Terms { epoch: &self.epoch, how, deadline };
        self.bench.wait(&self.table, me, terms, ready, || ())
    }
}

/// Time does not pass in a model, so what times out there does so at once: at any point of a
/// schedule.
fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

fn spawn<T: Send + Sync + 'static, R: 'static>(
    shared: &Arc<T>,
    body: impl FnOnce(&T) -> R + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

#[test]
fn a_seat_loses_no_message() {
    in_each_mode("seat, one message", BOUND, |publisher, waiter| {
        let pipe = Pipe::new(waiter);
        let receiver = spawn(&pipe, move |pipe| assert!(pipe.receive(waiter)));
        pipe.send(0, publisher);
        receiver.join().unwrap();
    });
    in_each_mode("seat, two messages", BOUND, |publisher, waiter| {
        let pipe = Pipe::new(waiter);
        let receiver = spawn(&pipe, move |pipe| {
            assert!(pipe.receive(waiter));
            assert!(pipe.receive(waiter));
        });
        pipe.send(0, publisher);
        pipe.send(1, publisher);
        receiver.join().unwrap();
    });
}

/// The message is stored Relaxed and not notified, so that the flag alone has to carry it.
#[test]
fn a_raised_flag_ends_the_wait_and_shows_what_came_before() {
    model("seat, close while waiting", BOUND, || {
        let pipe = Pipe::new(Fence::Asymmetric);
        let receiver = spawn(&pipe, |pipe| {
            let ready = || {
                race(&pipe.items.race);
                pipe.seat.flags() & CLOSED != 0
            };
            let terms = pipe.terms(Fence::Asymmetric, Deadline::NEVER);
            assert_eq!(pipe.seat.wait(terms, ready, || ()), Waited::Ready);
            assert_eq!(pipe.items.cells[0].load(Ordering::Relaxed), 1);
        });
        pipe.items.cells[0].store(1, Ordering::Relaxed);
        pipe.seat.raise(CLOSED);
        receiver.join().unwrap();
    });
}

#[test]
fn two_may_raise_at_once() {
    model("seat, two raise", BOUND, || {
        let pipe = Pipe::new(Fence::Asymmetric);
        let peer = spawn(&pipe, |pipe| pipe.seat.raise(CLOSED));
        let janitor = spawn(&pipe, |pipe| pipe.seat.raise(DIED));
        let ready = || pipe.seat.flags() == CLOSED | DIED;
        let terms = pipe.terms(Fence::Asymmetric, Deadline::NEVER);
        assert_eq!(pipe.seat.wait(terms, ready, || ()), Waited::Ready);
        peer.join().unwrap();
        janitor.join().unwrap();
    });
}

#[test]
fn a_wait_that_times_out_leaves_the_seat_usable() {
    in_each_mode("seat, time-out", BOUND, |publisher, waiter| {
        let pipe = Pipe::new(waiter);
        let receiver = spawn(&pipe, move |pipe| {
            let terms = pipe.terms(waiter, now());
            let waited = pipe.seat.wait(terms, || pipe.items.take(), || ());
            assert!(waited == Waited::Ready || pipe.receive(waiter));
        });
        pipe.send(0, publisher);
        receiver.join().unwrap();
    });
}

#[test]
fn the_janitor_rescues_the_sleeper_of_a_dead_waker() {
    for point in ["notify-nothing", "notify-taken", "raise-flagged"] {
        model(&format!("seat, waker dies at {point}"), BOUND, move || {
            let pipe = Pipe::new(Fence::Asymmetric);
            let receiver = spawn(&pipe, |pipe| assert!(pipe.receive(Fence::Asymmetric)));
            let sender = spawn(&pipe, move |pipe| {
                dies_at(point, || {
                    pipe.items.put(0);
                    match point {
                        "notify-taken" => pipe.seat.notify(Fence::Asymmetric),
                        "raise-flagged" => pipe.seat.raise(CLOSED),
                        _ => (),
                    }
                });
            });
            sender.join().unwrap();
            if !mutant("no-janitor") {
                pipe.seat.raise(DIED);
            }
            receiver.join().unwrap();
        });
    }
}

#[test]
fn a_seat_outlives_its_waiter() {
    for point in ["wait-announced", "wait-retracted"] {
        in_each_mode(&format!("seat, waiter dies at {point}"), BOUND, move |publisher, waiter| {
            let pipe = Pipe::new(waiter);
            let dead = spawn(&pipe, move |pipe| {
                let terms = pipe.terms(waiter, now());
                // It takes nothing: what the dead has in its hands is lost, and not of interest.
                dies_at(point, || pipe.seat.wait(terms, || false, || ()))
            });
            let sender = spawn(&pipe, move |pipe| pipe.send(0, publisher));
            assert_eq!(dead.join().unwrap(), None);
            // The janitor, and then the next waiter, which may be up before the publisher is done.
            pipe.seat.raise(0);
            assert!(pipe.receive(waiter));
            sender.join().unwrap();
        });
    }
}

/// The recovery is stored Relaxed and the word is woken without a flag: only the epoch carries it.
#[test]
fn a_bumped_epoch_makes_the_waiter_suspect() {
    model("seat, death epoch", BOUND, || {
        let pipe = Pipe::new(Fence::Asymmetric);
        let waiter = spawn(&pipe, |pipe| {
            let dead = std::cell::Cell::new(false);
            let suspect = || dead.set(pipe.items.cells[0].load(Ordering::Relaxed) == 1);
            let terms = pipe.terms(Fence::Asymmetric, Deadline::NEVER);
            assert_eq!(pipe.seat.wait(terms, || dead.get(), suspect), Waited::Ready);
        });
        pipe.items.cells[0].store(1, Ordering::Relaxed);
        pipe.epoch.word().fetch_add(1, at(Ordering::Release, "epoch-bumped"));
        pipe.seat.raise(0);
        waiter.join().unwrap();
    });
}

/// Each of two takes one of two messages.
fn two_take_two(name: &str, slots: [usize; 2]) {
    in_each_mode(&format!("bench, two waiters {name}"), SHALLOW, move |publisher, waiter| {
        let hall = Hall::new(waiter, slots);
        let receivers = slots.map(|me| {
            spawn(&hall, move |hall| {
                assert_eq!(hall.receive(me, waiter, Deadline::NEVER), Waited::Ready);
            })
        });
        hall.send(0, publisher);
        hall.send(1, publisher);
        for receiver in receivers {
            receiver.join().unwrap();
        }
    });
}

#[test]
fn a_bench_loses_no_message() {
    two_take_two("in the first word", FRONT);
}

/// The publisher looks at the first word alone, so it must say that there is somebody behind it.
#[test]
fn a_waiter_in_the_second_word_is_found() {
    in_each_mode("bench, one waiter in the second word", BOUND, |publisher, waiter| {
        let hall = Hall::new(waiter, BACK);
        let receiver = spawn(&hall, move |hall| {
            assert_eq!(hall.receive(BACK[0], waiter, Deadline::NEVER), Waited::Ready);
        });
        hall.send(0, publisher);
        receiver.join().unwrap();
    });
    two_take_two("in the second word", BACK);
    two_take_two("in two words", APART);
}

#[test]
fn all_are_notified_at_once() {
    in_each_mode("bench, notify all", SHALLOW, |_, waiter| {
        let hall = Hall::new(waiter, APART);
        let receivers = APART.map(|me| {
            spawn(&hall, move |hall| {
                let ready = || {
                    race(&hall.items.race);
                    hall.items.cells[0].load(Ordering::Acquire) == 1
                };
                assert_eq!(hall.wait(me, waiter, Deadline::NEVER, ready), Waited::Ready);
            })
        });
        hall.items.put(0);
        hall.bench.notify_all(&hall.table);
        for receiver in receivers {
            receiver.join().unwrap();
        }
    });
}

/// Whichever of the two is picked, the one that stays must get the message.
#[test]
fn who_gives_up_passes_the_baton() {
    for (quitter, stayer) in [(FRONT[0], FRONT[1]), (FRONT[1], FRONT[0])] {
        in_each_mode("bench, one gives up", SHALLOW, move |publisher, waiter| {
            let hall = Hall::new(waiter, FRONT);
            let stays = spawn(&hall, move |hall| {
                assert_eq!(hall.receive(stayer, waiter, Deadline::NEVER), Waited::Ready);
            });
            let quits = spawn(&hall, move |hall| {
                if hall.receive(quitter, waiter, now()) == Waited::Ready {
                    // It was quick enough, so the other one needs a message of its own.
                    hall.send(1, waiter);
                }
            });
            hall.send(0, publisher);
            stays.join().unwrap();
            quits.join().unwrap();
        });
    }
}

#[test]
fn the_janitor_passes_the_baton_of_a_dead_waiter() {
    for point in ["announce-in-use", "wait-announced", "wait-retracted"] {
        let slots = if point == "announce-in-use" { BACK } else { FRONT };
        model(&format!("bench, waiter dies at {point}"), BOUND, move || {
            let hall = Hall::new(Fence::Asymmetric, slots);
            let (how, [mortal, stayer]) = (Fence::Asymmetric, slots);
            let stays = spawn(&hall, move |hall| {
                assert_eq!(hall.receive(stayer, how, Deadline::NEVER), Waited::Ready);
            });
            let dead = spawn(&hall, move |hall| {
                // A deadline, because only the awake can die in a model.
                dies_at(point, || hall.wait(mortal, how, now(), || false))
            });
            hall.send(0, how);
            assert_eq!(dead.join().unwrap(), None);
            if !mutant("no-janitor") {
                hall.bench.strike(&hall.table, mortal);
                wake_everyone(&hall.table);
                hall.table[mortal].release();
            }
            stays.join().unwrap();
        });
    }
}

#[test]
fn the_janitor_rescues_the_sleepers_of_a_dead_waker() {
    for point in ["notify-nothing", "notify-taken", "notify-all"] {
        model(&format!("bench, waker dies at {point}"), BOUND, move || {
            let hall = Hall::new(Fence::Asymmetric, FRONT);
            let receiver = spawn(&hall, |hall| {
                let waited = hall.receive(FIRST, Fence::Asymmetric, Deadline::NEVER);
                assert_eq!(waited, Waited::Ready);
            });
            let sender = spawn(&hall, move |hall| {
                dies_at("notify-taken", || {
                    hall.items.put(0);
                    match point {
                        "notify-taken" => hall.bench.notify_one(&hall.table, Fence::Asymmetric),
                        "notify-all" => hall.bench.notify_all(&hall.table),
                        _ => (),
                    }
                });
            });
            sender.join().unwrap();
            if !mutant("no-janitor") {
                wake_everyone(&hall.table);
            }
            receiver.join().unwrap();
        });
    }
}

/// The slot has a new owner before the janitor of the old one is done with it.
#[test]
fn a_strike_that_comes_late_only_wakes() {
    model("bench, late strike", BOUND, || {
        let hall = Hall::new(Fence::Asymmetric, FRONT);
        let receiver = spawn(&hall, |hall| {
            let waited = hall.receive(FIRST, Fence::Asymmetric, Deadline::NEVER);
            assert_eq!(waited, Waited::Ready);
        });
        let janitor = spawn(&hall, |hall| hall.bench.strike(&hall.table, FIRST));
        hall.send(0, Fence::Asymmetric);
        receiver.join().unwrap();
        janitor.join().unwrap();
    });
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            expect_caught(&[$(($mutant, concat!("raw::tests::loom_wait::", stringify!($test)))),*]);
        };
    }
    caught! {
        "parked/light" by a_seat_loses_no_message,
        "parked/heavy" by a_seat_loses_no_message,
        "parked/fence" by a_seat_loses_no_message,
        "fenced/fence" by a_seat_loses_no_message,
        "wait-look-again" by a_seat_loses_no_message,
        "notify-wake" by a_seat_loses_no_message,
        "seat-flags/Release" by a_raised_flag_ends_the_wait_and_shows_what_came_before,
        "seat-flags/Acquire" by a_raised_flag_ends_the_wait_and_shows_what_came_before,
        "raise-unmarked" by the_janitor_rescues_the_sleeper_of_a_dead_waker,
        "no-janitor" by the_janitor_rescues_the_sleeper_of_a_dead_waker,
        "epoch-bumped/Release" by a_bumped_epoch_makes_the_waiter_suspect,
        "epoch-bumped/Acquire" by a_bumped_epoch_makes_the_waiter_suspect,
        "wait-suspect-first" by a_bumped_epoch_makes_the_waiter_suspect,
        "wait-suspect" by a_bumped_epoch_makes_the_waiter_suspect,
        "parked/light" by a_bench_loses_no_message,
        "parked/heavy" by a_bench_loses_no_message,
        "parked/fence" by a_bench_loses_no_message,
        "fenced/fence" by a_bench_loses_no_message,
        "wait-look-again" by a_bench_loses_no_message,
        "wake-token" by a_bench_loses_no_message,
        "wait-baton-early" by a_bench_loses_no_message,
        "wait-baton-late" by who_gives_up_passes_the_baton,
        "parked-all/fence" by all_are_notified_at_once,
        "rescued/fence" by the_janitor_rescues_the_sleepers_of_a_dead_waker,
        "no-janitor" by the_janitor_rescues_the_sleepers_of_a_dead_waker,
        "no-janitor" by the_janitor_passes_the_baton_of_a_dead_waiter,
        "parked/light" by a_waiter_in_the_second_word_is_found,
        "parked/heavy" by a_waiter_in_the_second_word_is_found,
        "parked/fence" by a_waiter_in_the_second_word_is_found,
        "fenced/fence" by a_waiter_in_the_second_word_is_found,
        "bench-in-use" by a_waiter_in_the_second_word_is_found,
        "strike-wake" by a_strike_that_comes_late_only_wakes,
    }
}
