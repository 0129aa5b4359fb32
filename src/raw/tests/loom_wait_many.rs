//! Models of waiting at many places: no wake is lost, and none is kept, whoever dies.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, model, race};
use crate::raw::bell::Bell;
use crate::raw::bench::{Bench, FIRST, Waiter};
use crate::raw::event::{Event, Moment};
use crate::raw::seat::Seat;
use crate::raw::wait::{Fence, Terms, Waited};
use crate::raw::wait_many::{NoRest, Post, Watched, wait_many};
use crate::shim::{AtomicU32, Futex, Ordering, at, dies_at, mutant, without_heavy_fences};
use crate::sys::clock::Deadline;

/// Preemptions an execution. Three threads get `SHALLOW`.
const BOUND: usize = 3;
const SHALLOW: usize = 2;

/// The publisher's fence, the waiter's, and whether light fences meet heavy ones: not where some
/// waiter has none.
const MODES: [(&str, Fence, Fence, bool); 3] = [
    ("membarrier", Fence::Asymmetric, Fence::Asymmetric, true),
    ("unregistered publisher", Fence::Full, Fence::Asymmetric, true),
    ("no membarrier", Fence::Full, Fence::Full, false),
];

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

/// Something that is there or not, and can be taken once.
struct Item {
    cell: AtomicU32,
    race: LoomUsize,
}

impl Item {
    fn new() -> Self {
        Self { cell: AtomicU32::new(0), race: LoomUsize::new(0) }
    }

    fn put(&self) {
        self.cell.store(1, Ordering::Release);
    }

    /// By a read-modify-write, as those must who ring bells.
    fn exchange(&self) {
        self.cell.swap(1, Ordering::AcqRel);
    }

    fn is_there(&self) -> bool {
        race(&self.race);
        self.cell.load(Ordering::Acquire) == 1
    }

    fn take(&self) -> bool {
        self.is_there()
            && self.cell.compare_exchange(1, 2, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A pipe in small, in a segment of its own.
struct Pipe {
    seat: Seat,
    item: Item,
    epoch: Futex,
}

impl Pipe {
    fn new() -> Self {
        Self { seat: Seat::new(), item: Item::new(), epoch: Futex::new(0) }
    }

    fn send(&self, how: Fence) {
        self.item.put();
        self.seat.notify(how);
    }
}

/// A queue in small: two waiters, of whom the first waits for many things.
struct Hall {
    bench: Bench<2>,
    table: Vec<Waiter>,
    item: Item,
    epoch: Futex,
}

const WATCHER: usize = FIRST;
const STAYER: usize = FIRST + 1;

impl Hall {
    fn new() -> Self {
        let table: Vec<Waiter> = (0..=STAYER).map(|_| Waiter::new()).collect();
        [WATCHER, STAYER].iter().for_each(|slot| table[*slot].enter(7));
        Self { bench: Bench::new(), table, item: Item::new(), epoch: Futex::new(0) }
    }

    fn send(&self, how: Fence) {
        self.item.put();
        self.bench.notify_one(&self.table, how);
    }

    /// Waits for the message as a receiver does, and takes it.
    fn receive(&self, how: Fence) {
        let terms = Terms { epoch: &self.epoch, how, deadline: Deadline::NEVER };
        let take = || self.item.take();
        let waited = self.bench.wait(&self.table, STAYER, terms, take, || ());
        assert_eq!(waited, Waited::Ready);
    }
}

/// A semaphore in small.
struct Gate {
    bell: Bell,
    item: Item,
    epoch: Futex,
}

impl Gate {
    fn new() -> Self {
        Self { bell: Bell::new(), item: Item::new(), epoch: Futex::new(0) }
    }

    fn open(&self) {
        self.item.exchange();
        self.bell.ring_one();
    }
}

struct AtPipe<'a>(&'a Pipe, Fence);

impl Watched for AtPipe<'_> {
    fn post(&self) -> Post<'_> {
        self.0.seat.post(&self.0.epoch, self.1)
    }

    fn is_ready(&mut self) -> bool {
        self.0.item.is_there()
    }

    fn suspect(&mut self) {}
}

struct AtHall<'a>(&'a Hall, Fence);

impl Watched for AtHall<'_> {
    fn post(&self) -> Post<'_> {
        self.0.bench.stool(&self.0.table, WATCHER, self.1).post(&self.0.epoch)
    }

    fn is_ready(&mut self) -> bool {
        self.0.item.is_there()
    }

    fn suspect(&mut self) {}
}

struct AtGate<'a>(&'a Gate);

impl Watched for AtGate<'_> {
    fn post(&self) -> Post<'_> {
        self.0.bell.post(&self.0.epoch)
    }

    fn is_ready(&mut self) -> bool {
        self.0.item.is_there()
    }

    fn suspect(&mut self) {}
}

struct AtEvent<'a>(&'a Event, Moment);

impl Watched for AtEvent<'_> {
    fn post(&self) -> Post<'_> {
        self.0.post(None)
    }

    fn is_ready(&mut self) -> bool {
        self.0.now().is_set_since(self.1)
    }

    fn suspect(&mut self) {}
}

/// Time does not pass in a model, so what times out there does so at once: at any point of a
/// schedule.
fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

fn wait_for(sources: &mut [&mut dyn Watched], deadline: Deadline) -> Waited {
    wait_many(sources, deadline, &mut NoRest)
}

fn spawn<T: Send + Sync + 'static, R: 'static>(
    shared: &Arc<T>,
    body: impl FnOnce(&T) -> R + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

#[test]
fn news_of_any_place_end_the_wait() {
    for sender in [0, 1] {
        in_each_mode(&format!("many, pipe {sender} of two"), BOUND, move |publisher, waiter| {
            let pipes = Arc::new([Pipe::new(), Pipe::new()]);
            if waiter == Fence::Full {
                pipes.iter().for_each(|pipe| assert!(pipe.seat.demand_fences()));
            }
            let watcher = spawn(&pipes, move |[first, second]| {
                let (mut first, mut second) = (AtPipe(first, waiter), AtPipe(second, waiter));
                let waited = wait_for(&mut [&mut first, &mut second], Deadline::NEVER);
                assert_eq!(waited, Waited::Ready);
                assert!([first, second][sender].is_ready());
            });
            pipes[sender].send(publisher);
            watcher.join().unwrap();
        });
    }
}

#[test]
fn news_of_every_kind_end_the_wait() {
    for kind in ["pipe", "hall", "gate", "event"] {
        model(&format!("many, every kind, {kind}"), BOUND, move || {
            let all = Arc::new((Pipe::new(), Hall::new(), Gate::new(), Event::new()));
            let watcher = spawn(&all, |(pipe, hall, gate, event)| {
                let how = Fence::Asymmetric;
                let (mut pipe, mut hall) = (AtPipe(pipe, how), AtHall(hall, how));
                let (mut gate, mut event) = (AtGate(gate), AtEvent(event, Moment::ZERO));
                let mut sources: [&mut dyn Watched; 4] =
                    [&mut pipe, &mut hall, &mut gate, &mut event];
                assert_eq!(wait_for(&mut sources, Deadline::NEVER), Waited::Ready);
            });
            match kind {
                "pipe" => all.0.send(Fence::Asymmetric),
                "hall" => all.1.send(Fence::Asymmetric),
                "gate" => all.2.open(),
                _ => {
                    all.3.set();
                    all.3.clear();
                }
            }
            watcher.join().unwrap();
        });
    }
}

/// Where no place needs the heavy fence, the light ones must do.
#[test]
fn bells_alone_do_with_their_own_fence() {
    model("many, a gate and an event", BOUND, || {
        let all = Arc::new((Gate::new(), Event::new()));
        let watcher = spawn(&all, |(gate, event)| {
            let (mut gate, mut event) = (AtGate(gate), AtEvent(event, Moment::ZERO));
            let waited = wait_for(&mut [&mut gate, &mut event], Deadline::NEVER);
            assert_eq!(waited, Waited::Ready);
        });
        all.0.open();
        watcher.join().unwrap();
    });
}

/// Whichever of the two is picked for the message, it is the other one that takes it.
#[test]
fn who_only_looks_leaves_no_receiver_asleep() {
    in_each_mode("many, a receiver beside", SHALLOW, |publisher, waiter| {
        let both = Arc::new((Hall::new(), Pipe::new()));
        if waiter == Fence::Full {
            assert!(both.0.bench.demand_fences() && both.1.seat.demand_fences());
        }
        let receiver = spawn(&both, move |(hall, _)| hall.receive(waiter));
        let watcher = spawn(&both, move |(hall, pipe)| {
            let (mut hall, mut pipe) = (AtHall(hall, waiter), AtPipe(pipe, waiter));
            // The message may be gone before it is seen, and then only time ends it.
            let _ = wait_for(&mut [&mut hall, &mut pipe], now());
        });
        both.0.send(publisher);
        receiver.join().unwrap();
        watcher.join().unwrap();
    });
}

/// The watcher is ready for another reason, and never comes back: its marks must be gone.
#[test]
fn who_leaves_takes_its_marks_along() {
    model("many, left with another's news", SHALLOW, || {
        let both = Arc::new((Hall::new(), Pipe::new()));
        both.1.send(Fence::Asymmetric);
        let how = Fence::Asymmetric;
        let receiver = spawn(&both, move |(hall, _)| hall.receive(how));
        let watcher = spawn(&both, move |(hall, pipe)| {
            let (mut hall, mut pipe) = (AtHall(hall, how), AtPipe(pipe, how));
            // Lingering would find the message, so it is looked for from the second look on.
            let mut pipe = Late(&mut pipe, 1);
            assert_eq!(wait_for(&mut [&mut hall, &mut pipe], Deadline::NEVER), Waited::Ready);
        });
        both.0.send(how);
        receiver.join().unwrap();
        watcher.join().unwrap();
    });
}

/// Something whose first looks are in vain.
struct Late<'a>(&'a mut dyn Watched, u32);

impl Watched for Late<'_> {
    fn post(&self) -> Post<'_> {
        self.0.post()
    }

    fn is_ready(&mut self) -> bool {
        match self.1.checked_sub(1) {
            Some(left) => {
                self.1 = left;
                false
            }
            None => self.0.is_ready(),
        }
    }

    fn suspect(&mut self) {
        self.0.suspect();
    }
}

/// A bell has no record of who was woken, so whoever takes nothing rings it again.
#[test]
fn who_only_looks_rings_the_bell_again() {
    model("many, one acquires beside", SHALLOW, || {
        let both = Arc::new((Gate::new(), Event::new()));
        let other = spawn(&both, |(gate, _)| {
            let deadline = Deadline::NEVER;
            let terms = Terms { epoch: &gate.epoch, how: Fence::Full, deadline };
            let waited = gate.bell.wait(terms, || gate.item.take(), || ());
            assert_eq!(waited, Waited::Ready);
        });
        let watcher = spawn(&both, |(gate, event)| {
            let (mut gate, mut event) = (AtGate(gate), AtEvent(event, Moment::ZERO));
            let _ = wait_for(&mut [&mut gate, &mut event], Deadline::NEVER);
        });
        both.0.open();
        other.join().unwrap();
        // What the watcher waited for may be gone.
        both.1.set();
        watcher.join().unwrap();
    });
}

/// What the recovery did is stored Relaxed and no place is woken: only the epoch carries it. That
/// is of the second place, as sleeping on one segment's epoch is not enough.
#[test]
fn a_bumped_epoch_makes_the_waiter_suspect() {
    model("many, death epoch", BOUND, || {
        let pipes = Arc::new([Pipe::new(), Pipe::new()]);
        let watcher = spawn(&pipes, |[first, second]| {
            let how = Fence::Asymmetric;
            let (mut first, mut second) = (AtPipe(first, how), Suspicious(second, false));
            let waited = wait_for(&mut [&mut first, &mut second], Deadline::NEVER);
            assert_eq!(waited, Waited::Ready);
        });
        pipes[1].item.cell.store(1, Ordering::Relaxed);
        pipes[1].epoch.word().fetch_add(1, at(Ordering::Release, "epoch-bumped"));
        if !mutant("no-janitor") {
            pipes[1].epoch.wake_all();
        }
        watcher.join().unwrap();
    });
}

/// Knows only what it asked after.
struct Suspicious<'a>(&'a Pipe, bool);

impl Watched for Suspicious<'_> {
    fn post(&self) -> Post<'_> {
        self.0.seat.post(&self.0.epoch, Fence::Asymmetric)
    }

    fn is_ready(&mut self) -> bool {
        self.1
    }

    fn suspect(&mut self) {
        self.1 = self.0.item.cell.load(Ordering::Relaxed) == 1;
    }
}

/// The janitor strikes the marks of the dead and wakes everybody, as after any death.
#[test]
fn a_watcher_that_dies_leaves_no_receiver_asleep() {
    for point in ["many-announced", "many-retracted"] {
        model(&format!("many, watcher dies at {point}"), SHALLOW, move || {
            let both = Arc::new((Hall::new(), Pipe::new()));
            let how = Fence::Asymmetric;
            let receiver = spawn(&both, move |(hall, _)| hall.receive(how));
            let dead = spawn(&both, move |(hall, pipe)| {
                let (mut hall, mut pipe) = (AtHall(hall, how), AtPipe(pipe, how));
                dies_at(point, || wait_for(&mut [&mut hall, &mut pipe], now()))
            });
            both.0.send(how);
            // It may have found the message before it came to where it dies.
            let _ = dead.join().unwrap();
            both.0.bench.strike(&both.0.table, WATCHER);
            crate::raw::bench::wake_everyone(&both.0.table);
            both.0.table[WATCHER].release();
            receiver.join().unwrap();
        });
    }
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            expect_caught(
                &[$(($mutant, concat!("raw::tests::loom_wait_many::", stringify!($test)))),*],
            );
        };
    }
    caught! {
        "parked/light" by news_of_any_place_end_the_wait,
        "parked/heavy" by news_of_any_place_end_the_wait,
        "parked/fence" by news_of_any_place_end_the_wait,
        "many-look-again" by news_of_any_place_end_the_wait,
        "bell/fence" by bells_alone_do_with_their_own_fence,
        "event-generation" by news_of_every_kind_end_the_wait,
        "many-baton" by who_only_looks_leaves_no_receiver_asleep,
        "many-retract" by who_leaves_takes_its_marks_along,
        "many-baton" by who_only_looks_rings_the_bell_again,
        "many-suspect-first" by a_bumped_epoch_makes_the_waiter_suspect,
        "many-suspect" by a_bumped_epoch_makes_the_waiter_suspect,
        "many-epoch" by a_bumped_epoch_makes_the_waiter_suspect,
        "no-janitor" by a_bumped_epoch_makes_the_waiter_suspect,
        "epoch-bumped/Release" by a_bumped_epoch_makes_the_waiter_suspect,
        "epoch-bumped/Acquire" by a_bumped_epoch_makes_the_waiter_suspect,
    }
}
