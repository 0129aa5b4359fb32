//! Who is in an object: one that changes it, or any number that look at it.
//!
//! It is a lock that can be asked who has it. Whoever gets in is written down in the same step, so
//! that nobody takes one that has just got in for one that waits (see `waits`).

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
    nested_readers: usize,
    writers: usize,
}

impl State {
    /// Lets a caller in, if it need not wait.
    fn admit(&mut self, caller: Caller, way: Way) -> bool {
        let is_free = match way {
            Way::Write => self.inside.is_empty(),
            // Who wants to change it does not wait for ever.
            Way::Read => !self.is_written && (caller.is_nested || self.writers == 0),
        };
        if is_free {
            self.inside.push(caller.thread);
            self.is_written = way == Way::Write;
        }
        is_free
    }

    /// Counts one who sleeps, or who does not any more.
    fn count(&mut self, caller: Caller, way: Way, change: isize) {
        let numbers = match way {
            Way::Write => [Some(&mut self.writers), None],
            Way::Read => {
                [Some(&mut self.readers), caller.is_nested.then_some(&mut self.nested_readers)]
            }
        };
        for number in numbers.into_iter().flatten() {
            *number = number.saturating_add_signed(change);
        }
    }
}

impl Gate {
    /// Enters, if that is possible without waiting.
    pub(super) fn try_enter(&self, caller: Caller, way: Way) -> bool {
        lock(&self.state).admit(caller, way)
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
        state.count(caller, way, 1);
        while !state.admit(caller, way) {
            let bell = if way == Way::Read { &self.readers } else { &self.writers };
            state = bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.count(caller, way, -1);
    }

    /// Leaves, and lets in whom it can.
    pub(super) fn leave(&self, thread: usize) {
        let mut state = lock(&self.state);
        state.inside.retain(|inside| *inside != thread);
        if !state.inside.is_empty() {
            return;
        }
        state.is_written = false;
        // Nested readers are told in any case: nobody else knows that they could go on.
        let readers = state.readers > 0 && (state.writers == 0 || state.nested_readers > 0);
        let writers = state.writers > 0;
        drop(state);
        if readers {
            self.readers.notify_all();
        }
        if writers {
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
