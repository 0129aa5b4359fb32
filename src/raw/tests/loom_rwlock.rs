//! Models of the lock for readers or a writer: never both, nobody forgotten, whoever dies.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize as LoomUsize;
use loom::thread;

use super::{expect_caught, race};
use crate::raw::mutex::{Leaving, Legacy, Me, Owner, Refusal};
use crate::raw::rwlock::RwLock;
use crate::raw::wait::{Fence, Terms};
use crate::shim::{AtomicU32, Futex, Ordering, dies_at, without_heavy_fences};
use crate::sys::clock::Deadline;

const BOUND: usize = 3;
const SHALLOW: usize = 2;
const LOW: usize = 1;
/// Participants there are.
const ALL: u32 = 3;
/// No point has this name: who dies there does not.
const NEVER: &str = "never";

/// As [`super::model`], where the fence that stops the compiler alone is nothing: in others it
/// orders more than it does in fact.
fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    without_heavy_fences(|| super::model(name, preemptions, body));
}

/// The pid of participant `id`, in these models.
const fn pid(id: u32) -> u32 {
    100 + id
}

/// What a lock guards: loom sees a writer beside a reader, or out of order.
struct Room {
    lock: RwLock,
    cell: UnsafeCell<u32>,
    epoch: Futex,
    race: LoomUsize,
}

// SAFETY: the cell is reached under the lock alone; that this suffices is what loom checks.
unsafe impl Sync for Room {}

const fn me(participant: u32) -> Me {
    Me { participant, thread: participant + 1 }
}

impl Room {
    fn new() -> Arc<Self> {
        let (lock, cell) = (RwLock::new(), UnsafeCell::new(0));
        Arc::new(Self { lock, cell, epoch: Futex::new(0), race: LoomUsize::new(0) })
    }

    fn terms(&self, deadline: Deadline) -> Terms<'_> {
        Terms { epoch: &self.epoch, how: Fence::Full, deadline }
    }

    fn read_until(&self, id: u32, deadline: Deadline) -> Result<Legacy, Refusal> {
        race(&self.race);
        self.lock.read(me(id), || self.terms(deadline), |_| Owner::Known)
    }

    fn write_until(&self, id: u32, deadline: Deadline) -> Result<Legacy, Refusal> {
        race(&self.race);
        self.lock.write(me(id), || ALL, || self.terms(deadline), |_| Owner::Known)
    }

    fn read(&self, id: u32) -> Legacy {
        self.read_until(id, Deadline::NEVER).unwrap()
    }

    fn write(&self, id: u32) -> Legacy {
        self.write_until(id, Deadline::NEVER).unwrap()
    }

    fn unlock_read(&self, id: u32) {
        race(&self.race);
        self.lock.unlock_read(id);
    }

    fn unlock_write(&self, id: u32) {
        race(&self.race);
        self.lock.unlock_write(id, Leaving::Done);
    }

    fn sweep(&self, id: u32) {
        race(&self.race);
        self.lock.sweep(id, pid(id), true);
    }

    /// What a reader does.
    fn see(&self) -> u32 {
        // SAFETY: called by who may read, see above.
        self.cell.with(|count| unsafe { *count })
    }

    /// What a writer does.
    fn count(&self) {
        // SAFETY: called by who may write, see above.
        self.cell.with_mut(|count| unsafe { *count += 1 });
    }

    fn visit(&self, id: u32) -> Legacy {
        let legacy = self.read(id);
        self.see();
        self.unlock_read(id);
        legacy
    }

    fn change(&self, id: u32) -> Legacy {
        let legacy = self.write(id);
        self.count();
        self.unlock_write(id);
        legacy
    }

    fn assert_free(&self) {
        assert!(self.lock.writer().owner().is_none());
        assert!((0..ALL).all(|id| self.lock.readers_of(id) == 0));
    }
}

fn spawn(room: &Arc<Room>, body: impl FnOnce(&Room) + Send + 'static) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || body(&room))
}

#[test]
fn a_writer_and_a_reader_are_never_in_it_at_once() {
    model("rwlock, 1 writes, 1 reads", BOUND, || {
        let room = Room::new();
        let writer = spawn(&room, |room| {
            room.change(0);
        });
        room.visit(1);
        writer.join().unwrap();
        assert_eq!(room.see(), 1);
        room.assert_free();
    });
}

#[test]
fn a_writer_and_two_readers_are_never_in_it_at_once() {
    model("rwlock, 1 writes, 2 read", LOW, || {
        let room = Room::new();
        let readers = [1, 2].map(|id| {
            spawn(&room, move |room| {
                room.visit(id);
            })
        });
        room.change(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        room.assert_free();
    });
}

#[test]
fn a_writer_waits_for_the_last_of_two_readers() {
    model("rwlock, 1 waits for 2 readers", SHALLOW, || {
        let room = Room::new();
        let readers = [1, 2].map(|id| {
            room.read(id);
            spawn(&room, move |room| {
                room.see();
                room.unlock_read(id);
            })
        });
        room.change(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        room.assert_free();
    });
}

#[test]
fn two_writers_and_a_reader_take_turns() {
    model("rwlock, 2 write, 1 reads", SHALLOW, || {
        let room = Room::new();
        let writers = [0, 1].map(|id| {
            spawn(&room, move |room| {
                room.change(id);
            })
        });
        room.visit(2);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(room.see(), 2);
        room.assert_free();
    });
}

/// Two threads of one participant share a count: behind its zero is what both of them read.
#[test]
fn readers_of_one_participant_are_counted_together() {
    model("rwlock, 2 read in one participant", SHALLOW, || {
        let room = Room::new();
        let readers = [1, 1].map(|id| {
            room.read(id);
            spawn(&room, move |room| {
                room.see();
                room.unlock_read(id);
            })
        });
        room.change(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        room.assert_free();
    });
}

#[test]
fn readers_are_side_by_side() {
    model("rwlock, 2 read at once", BOUND, || {
        let room = Room::new();
        room.read(0);
        let other = spawn(&room, |room| {
            race(&room.race);
            assert!(room.lock.try_read(me(1)).unwrap().is_none());
            room.see();
            room.unlock_read(1);
        });
        room.see();
        room.unlock_read(0);
        other.join().unwrap();
        assert!(room.lock.try_write(me(2), || ALL).is_ok());
    });
}

#[test]
fn readers_wait_for_the_writer_and_are_woken_as_one() {
    model("rwlock, 2 wait for the writer", SHALLOW, || {
        let room = Room::new();
        room.write(0);
        let readers = [1, 2].map(|id| {
            spawn(&room, move |room| {
                let legacy = room.read(id);
                assert!(legacy.is_none() && room.see() == 1);
                room.unlock_read(id);
            })
        });
        room.count();
        room.unlock_write(0);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Who comes after a writer waits behind it, though there are readers in.
#[test]
fn a_writer_that_waits_comes_before_new_readers() {
    model("rwlock, 1 reads, 1 waits to write, 1 comes", SHALLOW, || {
        let room = Room::new();
        room.read(1);
        let writer = spawn(&room, |room| {
            room.change(0);
        });
        let late = spawn(&room, |room| {
            race(&room.race);
            let is_claimed = room.lock.writer().owner().is_some();
            match room.lock.try_read(me(2)) {
                // The writer was in between, or was not there yet.
                Ok(_) => {
                    let seen = room.see();
                    assert!(!is_claimed || seen == 1);
                    room.unlock_read(2);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::Held),
            }
        });
        room.unlock_read(1);
        writer.join().unwrap();
        late.join().unwrap();
        room.assert_free();
    });
}

#[test]
fn a_lock_is_not_waited_for_by_its_writer() {
    model("rwlock, one's own", BOUND, || {
        let room = Room::new();
        room.write(0);
        let other = spawn(&room, |room| {
            race(&room.race);
            let theirs = Me { participant: 0, thread: 9 };
            assert!(matches!(room.lock.try_read(theirs), Ok(_) | Err(Refusal::Held)));
        });
        assert_eq!(room.read_until(0, Deadline::NEVER), Err(Refusal::Own));
        assert_eq!(room.write_until(0, Deadline::NEVER), Err(Refusal::Own));
        assert_eq!(room.lock.try_write(me(0), || ALL), Err(Refusal::Own));
        room.unlock_write(0);
        other.join().unwrap();
    });
}

/// A writer without time blocks readers for a moment; it wakes them when it gives up.
#[test]
fn a_writer_that_gives_up_lets_the_readers_in() {
    model("rwlock, the writer has no time", BOUND, || {
        let room = Room::new();
        room.read(1);
        let hasty =
            spawn(&room, |room| match room.write_until(0, Deadline::after(Duration::ZERO)) {
                Ok(_) => {
                    room.count();
                    room.unlock_write(0);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::TimedOut),
            });
        room.unlock_read(1);
        room.visit(2);
        hasty.join().unwrap();
        room.assert_free();
    });
}

#[test]
fn who_only_tries_disturbs_nobody() {
    model("rwlock, 1 tries to write, 1 reads", BOUND, || {
        let room = Room::new();
        let curious = spawn(&room, |room| {
            race(&room.race);
            match room.lock.try_write(me(0), || ALL) {
                Ok(_) => {
                    room.count();
                    room.unlock_write(0);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::Held),
            }
        });
        room.visit(1);
        curious.join().unwrap();
        room.assert_free();
    });
}

#[test]
fn a_reader_that_gives_up_keeps_nobody() {
    model("rwlock, a reader has no time", SHALLOW, || {
        let room = Room::new();
        room.write(0);
        let hasty =
            spawn(&room, |room| match room.read_until(1, Deadline::after(Duration::ZERO)) {
                Ok(_) => room.unlock_read(1),
                Err(refusal) => assert_eq!(refusal, Refusal::TimedOut),
            });
        let writer = spawn(&room, |room| {
            room.change(2);
        });
        room.unlock_write(0);
        hasty.join().unwrap();
        writer.join().unwrap();
        room.assert_free();
    });
}

/// A reader dies at each step: coming, inside, leaving. The writer gets what it waits for.
#[test]
fn a_dead_reader_gives_back_what_it_had() {
    for point in ["rwlock-counted", "rwlock-left", "bell-rung", NEVER] {
        model(&format!("rwlock, reader dies at {point}"), BOUND, move || {
            let room = Room::new();
            let doomed = spawn(&room, move |room| {
                dies_at(point, || {
                    room.read(1);
                    room.see();
                    if point != NEVER {
                        room.unlock_read(1);
                    }
                });
                room.sweep(1);
            });
            assert!(room.change(0).is_none());
            doomed.join().unwrap();
            room.assert_free();
        });
    }
}

/// The dead takes its own away, and nothing of another reader's.
#[test]
fn a_dead_reader_gives_back_nothing_of_others() {
    model("rwlock, 1 of 2 readers dies", SHALLOW, || {
        let room = Room::new();
        room.read(1);
        room.read(2);
        let janitor = spawn(&room, |room| room.sweep(1));
        let reader = spawn(&room, |room| {
            room.see();
            room.unlock_read(2);
        });
        room.change(0);
        janitor.join().unwrap();
        reader.join().unwrap();
        room.assert_free();
    });
}

/// A reader dies while it waits for a writer; another reader and the writer go on.
#[test]
fn a_reader_that_dies_waiting_takes_no_wake_along() {
    for point in ["wait-announced", "wait-retracted", "rwlock-counted", "rwlock-left"] {
        model(&format!("rwlock, waiting reader dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            room.write(0);
            let doomed = spawn(&room, move |room| {
                dies_at(point, || room.visit(1));
                room.sweep(1);
            });
            let reader = spawn(&room, |room| {
                room.visit(2);
            });
            room.unlock_write(0);
            doomed.join().unwrap();
            reader.join().unwrap();
            room.assert_free();
        });
    }
}

/// A writer dies before it wrote, or after it was done: nobody need hear of it.
#[test]
fn a_writer_that_was_not_inside_leaves_nothing_to_hear_of() {
    let points = [
        "mutex-taken",
        "rwlock-claimed",
        "wait-announced",
        "wait-retracted",
        "rwlock-alone",
        "rwlock-outside",
        "mutex-let-go",
        "mutex-freed",
    ];
    for point in points {
        model(&format!("rwlock, writer dies at {point}"), SHALLOW, move || {
            let room = Room::new();
            room.read(1);
            let doomed = spawn(&room, move |room| {
                dies_at(point, || room.change(0));
                room.sweep(0);
            });
            let reader = spawn(&room, |room| assert!(room.visit(2).is_none()));
            room.see();
            room.unlock_read(1);
            doomed.join().unwrap();
            reader.join().unwrap();
            assert!(room.change(2).is_none());
            room.assert_free();
        });
    }
}

#[test]
fn a_death_inside_is_heard_of() {
    for heir in [Room::visit, Room::change] {
        model("rwlock, writer dies inside", BOUND, move || {
            let room = Room::new();
            room.write(0);
            room.count();
            let janitor = spawn(&room, |room| room.sweep(0));
            assert!(heir(&room, 1).died());
            assert_eq!(room.lock.writer().victim(), (0, pid(0)));
            janitor.join().unwrap();
            // Until somebody says that all is well.
            assert!(room.visit(1).died() && room.change(1).died());
            room.lock.writer().clear();
            assert!(room.visit(1).is_none() && room.change(1).is_none());
        });
    }
}

#[test]
fn a_panic_inside_is_heard_of() {
    model("rwlock, writer panics", BOUND, || {
        let room = Room::new();
        room.write(0);
        let reader = spawn(&room, |room| {
            let legacy = room.visit(1);
            assert!(!legacy.is_none() && !legacy.died());
        });
        race(&room.race);
        room.lock.unlock_write(0, Leaving::Panicked);
        reader.join().unwrap();
        // Its name is still there, until somebody else comes to write.
        dies_at("rwlock-alone", || room.write(0));
        room.sweep(0);
        assert!(!room.lock.writer().legacy().died());
    });
}

/// A kill falls between two instructions: whoever sees the first thing that the dead wrote inside
/// finds its name there.
#[test]
fn a_name_is_there_before_data_is_torn() {
    super::model("rwlock, killed inside", BOUND, || {
        let room = Room::new();
        let data = Arc::new(AtomicU32::new(0));
        let doomed = {
            let data = Arc::clone(&data);
            spawn(&room, move |room| {
                room.write(0);
                data.store(1, Ordering::Relaxed);
            })
        };
        let has_written = data.load(Ordering::Acquire) == 1;
        room.sweep(0);
        assert!(room.lock.writer().legacy().died() || !has_written);
        doomed.join().unwrap();
    });
}

/// As above: where the name is gone, the next one sees all that was written.
#[test]
fn a_name_is_there_until_data_is_whole() {
    model("rwlock, killed on the way out", BOUND, || {
        let room = Room::new();
        room.write(0);
        let doomed = spawn(&room, |room| {
            room.count();
            dies_at("rwlock-outside", || room.unlock_write(0));
        });
        let janitor = spawn(&room, |room| room.sweep(0));
        if !room.read(1).died() {
            assert_eq!(room.see(), 1);
        }
        janitor.join().unwrap();
        doomed.join().unwrap();
    });
}

#[test]
fn a_janitor_that_dies_is_followed_by_another() {
    for point in ["mutex-swept", "mutex-freed", "rwlock-swept", "rwlock-emptied"] {
        for heir in [Room::visit, Room::change] {
            model(&format!("rwlock, janitor of a writer dies at {point}"), BOUND, move || {
                let room = Room::new();
                room.write(0);
                room.count();
                let janitor = spawn(&room, move |room| {
                    dies_at(point, || room.sweep(0));
                    room.sweep(0);
                });
                assert!(heir(&room, 1).died());
                janitor.join().unwrap();
                room.assert_free();
            });
        }
    }
    for point in ["rwlock-swept", "rwlock-emptied"] {
        model(&format!("rwlock, janitor of a reader dies at {point}"), BOUND, move || {
            let room = Room::new();
            room.read(1);
            let janitor = spawn(&room, move |room| {
                dies_at(point, || room.sweep(1));
                room.sweep(1);
            });
            assert!(room.change(0).is_none());
            janitor.join().unwrap();
            room.assert_free();
        });
    }
}

/// A participant that lives gives back what its threads have forgotten.
#[test]
fn what_a_living_participant_forgot_is_given_back() {
    for id in [0, 1] {
        model(&format!("rwlock, participant {id} leaves"), BOUND, move || {
            let room = Room::new();
            if id == 0 {
                room.write(0);
            } else {
                room.read(1);
            }
            let leaving = spawn(&room, move |room| {
                race(&room.race);
                room.lock.sweep(id, pid(id), false);
            });
            assert!(room.change(2).is_none());
            leaving.join().unwrap();
            room.assert_free();
        });
    }
}

#[test]
fn mutants_are_caught() {
    macro_rules! caught {
        ($($mutant:literal by $test:ident,)*) => {
            const HERE: &str = "raw::tests::loom_rwlock";
            let caught = [$(($mutant, format!("{HERE}::{}", stringify!($test)))),*];
            expect_caught(&caught.each_ref().map(|(mutant, test)| (*mutant, test.as_str())));
        };
    }
    caught! {
        "rwlock/fence" by a_writer_and_a_reader_are_never_in_it_at_once,
        "readers/Acquire" by a_writer_and_a_reader_are_never_in_it_at_once,
        "readers/Release" by a_writer_and_a_reader_are_never_in_it_at_once,
        "readers/Acquire" by readers_of_one_participant_are_counted_together,
        "readers/Release" by a_dead_reader_gives_back_what_it_had,
        "mutex/Acquire" by readers_wait_for_the_writer_and_are_woken_as_one,
        "mutex/Release" by readers_wait_for_the_writer_and_are_woken_as_one,
        "rwlock-inside/light" by a_name_is_there_before_data_is_torn,
        "rwlock-inside/Release" by a_name_is_there_until_data_is_whole,
        "rwlock-inside/Acquire" by a_name_is_there_until_data_is_whole,
        "rwlock-poison" by a_death_inside_is_heard_of,
        "rwlock-wake" by a_writer_that_was_not_inside_leaves_nothing_to_hear_of,
        "rwlock-readers" by a_dead_reader_gives_back_what_it_had,
        "rwlock-alarm" by a_dead_reader_gives_back_what_it_had,
    }
}
