//! Who is in an object: one that changes it, or any number that look at it.
//!
//! It is a lock that can be asked who has it. Whoever gets in is written down in the same step, so
//! that nobody takes one that has just got in for one that waits (see `waits`).
//!
//! Nobody waits for ever. Who comes to look at it waits behind those that wait to change it. And
//! whoever has changed it leaves it to all that wait to look at it by then, before the next one
//! changes it.

use std::hint;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::shim::lock;

/// So often it is looked again before a thread sleeps: calls are short.
const LOOKS: usize = 10;

/// What a call wants of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To look at it, beside others who do.
    Read,
    /// To have it for itself.
    Write,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The number of its thread, which is in an object once.
    pub(super) thread: usize,
    /// Whether it is in another object already. Then it passes by those who wait in order to change
    /// this one, as they may wait for one that waits for it.
    pub(super) is_nested: bool,
}

/// The way into one object.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    readers: Condvar,
    writers: Condvar,
}

#[derive(Default)]
struct State {
    /// The threads whose calls are in there.
    inside: Vec<usize>,
    /// Whether the one that is in there changes the object.
    is_written: bool,
    /// Who sleeps.
    readers: usize,
    writers: usize,
    /// How often it was left to readers. Those whose sleep is older may go in.
    round: u64,
    /// How many of them are not in there yet.
    promised: usize,
}

impl State {
    /// Lets a caller in that has been waiting since a round, if it need not wait.
    fn admit(&mut self, caller: Caller, way: Way, since: u64) -> bool {
        let is_promised = way == Way::Read && since < self.round;
        let is_free = match way {
            Way::Write => self.inside.is_empty() && self.promised == 0,
            Way::Read => !self.is_written && (caller.is_nested || self.writers == 0 || is_promised),
        };
        if is_free {
            self.promised -= usize::from(is_promised);
            self.inside.push(caller.thread);
            self.is_written = way == Way::Write;
        }
        is_free
    }

    /// How many sleep that want this.
    fn sleepers(&mut self, way: Way) -> &mut usize {
        match way {
            Way::Read => &mut self.readers,
            Way::Write => &mut self.writers,
        }
    }
}

impl Gate {
    /// Enters, if that is possible without waiting.
    pub(super) fn try_enter(&self, caller: Caller, way: Way) -> bool {
        let mut state = lock(&self.state);
        let now = state.round;
        state.admit(caller, way, now)
    }

    /// Enters, and waits for that.
    pub(super) fn enter(&self, caller: Caller, way: Way) {
        for _ in 0..LOOKS {
            if self.try_enter(caller, way) {
                return;
            }
            (0..LOOKS).for_each(|_| hint::spin_loop());
        }
        let mut state = lock(&self.state);
        let since = state.round;
        *state.sleepers(way) += 1;
        while !state.admit(caller, way, since) {
            let bell = if way == Way::Read { &self.readers } else { &self.writers };
            state = bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state.sleepers(way) -= 1;
    }

    /// Leaves, and wakes whose turn it is.
    pub(super) fn leave(&self, thread: usize) {
        let mut state = lock(&self.state);
        state.inside.retain(|inside| *inside != thread);
        if !state.inside.is_empty() {
            return;
        }
        let was_written = std::mem::take(&mut state.is_written);
        if was_written && state.readers > 0 {
            // All of them: none was promised it before, or nobody had got in to change it.
            state.promised = state.readers;
            state.round += 1;
            drop(state);
            self.readers.notify_all();
        } else if state.promised == 0 && state.writers > 0 {
            // Else the last of those that were promised it comes by here.
            drop(state);
            self.writers.notify_one();
        }
    }

    /// The threads that one who wants this waits for; none if it need not wait, or is in there.
    pub(super) fn holders(&self, thread: usize, way: Way) -> Vec<usize> {
        let state = lock(&self.state);
        let waits = way == Way::Write || state.is_written;
        if waits && !state.inside.contains(&thread) { state.inside.clone() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::wait::testing::Watchdog;
    use std::sync::mpsc;
    use std::thread;

    fn caller(thread: usize) -> Caller {
        Caller { thread, is_nested: false }
    }

    fn until_asleep(gate: &Gate, readers: usize, writers: usize) {
        let count = || {
            let state = lock(&gate.state);
            (state.readers, state.writers)
        };
        while count() != (readers, writers) {
            thread::yield_now();
        }
    }

    /// Three that change an object in a loop kept all others from looking at it: one of the three
    /// always waited, and readers went behind it.
    #[test]
    fn who_waits_to_look_at_it_is_let_in_before_it_is_changed_again() {
        let _dog = Watchdog::new("who_waits_to_look_at_it_is_let_in_before_it_is_changed_again");
        let gate = Gate::default();
        assert!(gate.try_enter(caller(0), Way::Write));
        let (told, hear) = mpsc::channel();
        let come = |me: usize, way| {
            let (gate, told) = (&gate, told.clone());
            move || {
                gate.enter(caller(me), way);
                let _ = told.send(me);
                gate.leave(me);
            }
        };
        thread::scope(|scope| {
            scope.spawn(come(1, Way::Write));
            until_asleep(&gate, 0, 1);
            scope.spawn(come(2, Way::Read));
            scope.spawn(come(3, Way::Read));
            until_asleep(&gate, 2, 1);
            gate.leave(0);
        });
        let order: Vec<_> = hear.try_iter().collect();
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], 1, "{order:?}");
    }

    /// Also one that never slept; and one that comes to look goes behind those that sleep.
    #[test]
    fn nobody_passes_by_those_that_were_promised_it() {
        let _dog = Watchdog::new("nobody_passes_by_those_that_were_promised_it");
        let gate = Gate::default();
        assert!(gate.try_enter(caller(0), Way::Write));
        let (go, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let gate = &gate;
            scope.spawn(move || {
                gate.enter(caller(1), Way::Read);
                let _ = wait.recv();
                gate.leave(1);
            });
            until_asleep(gate, 1, 0);
            gate.leave(0);
            let has_passed = gate.try_enter(caller(2), Way::Write);
            if has_passed {
                gate.leave(2);
            }
            scope.spawn(|| {
                gate.enter(caller(3), Way::Write);
                gate.leave(3);
            });
            until_asleep(gate, 0, 1);
            let is_behind = !gate.try_enter(caller(4), Way::Read);
            drop(go);
            assert!(!has_passed && is_behind);
        });
        let state = lock(&gate.state);
        assert!(state.inside.is_empty() && state.promised == 0);
    }

    #[test]
    fn any_number_come_and_go() {
        let _dog = Watchdog::new("any_number_come_and_go");
        let gate = Gate::default();
        let value = std::sync::RwLock::new(0_u32);
        thread::scope(|scope| {
            for me in 0..6 {
                let (gate, value) = (&gate, &value);
                scope.spawn(move || {
                    for number in 0..2_000 {
                        let way = if (me + number) % 3 == 0 { Way::Write } else { Way::Read };
                        gate.enter(Caller { thread: me, is_nested: me == 0 }, way);
                        match way {
                            Way::Write => *value.try_write().unwrap() += 1,
                            Way::Read => drop(value.try_read().unwrap()),
                        }
                        gate.leave(me);
                    }
                });
            }
        });
        let state = lock(&gate.state);
        assert!(state.inside.is_empty() && state.promised == 0 && !state.is_written);
        assert_eq!((state.readers, state.writers), (0, 0));
        assert_eq!(value.into_inner().unwrap(), 4_000);
    }
}
