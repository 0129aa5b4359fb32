//! Who waits for what among the calls of a server, so that none waits for itself.
//!
//! A call that is in no object yet has nothing that another one could wait for, so it just waits.
//! One that is in an object already, and calls another, looks first whether whoever is in that one
//! waits, over however many steps, for this thread. Whoever closes a circle is the last to begin
//! waiting, and finds all others written down.
//!
//! What is written down can be old: a thread is struck out after it got in. But it is in the object
//! from the same step on ([`gate`](super::gate)), and stays there as long as somebody looks, as it
//! waits to be struck out. So whoever is found waiting does wait, until the look is over.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::shim::lock;

use super::gate::{Caller, Way};
use super::hosted::Hosted;

/// Which object a thread that is in one waits for, and what for.
static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

type Waiting = HashMap<usize, (Arc<Hosted>, Way)>;

/// The next thread's number.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Relaxed: only that all differ.
    static ME: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    /// The objects that calls of this thread are in.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread is in an object.
pub(super) struct Inside<'a> {
    hosted: &'a Hosted,
    me: usize,
}

/// Enters an object, and waits for that.
///
/// # Errors
/// `Deadlock` if this thread would wait for itself.
pub(super) fn enter(hosted: &Arc<Hosted>, way: Way) -> Result<Inside<'_>> {
    let me = ME.with(|me| *me);
    let is_nested = INSIDE.with_borrow(|inside| {
        let is_in = inside.contains(&hosted.key());
        if is_in { Err(deadlock(hosted)) } else { Ok(!inside.is_empty()) }
    })?;
    let caller = Caller { thread: me, is_nested };
    if !is_nested {
        hosted.gate.enter(caller, way);
    } else if !hosted.gate.try_enter(caller, way) {
        await_turn(me, hosted, way)?;
        hosted.gate.enter(caller, way);
        lock(&WAITING).as_mut().and_then(|waiting| waiting.remove(&me));
    }
    INSIDE.with_borrow_mut(|inside| inside.push(hosted.key()));
    Ok(Inside { hosted, me })
}

/// Writes down that this thread waits for an object, unless those in there wait for it.
fn await_turn(me: usize, hosted: &Arc<Hosted>, way: Way) -> Result<()> {
    let mut waiting = lock(&WAITING);
    let waiting = waiting.get_or_insert_default();
    let mut known = HashSet::from([me]);
    let mut next = hosted.gate.holders(me, way);
    // Bounded: every thread is looked at once.
    while let Some(thread) = next.pop() {
        if thread == me {
            return Err(deadlock(hosted));
        }
        if !known.insert(thread) {
            continue;
        }
        if let Some((object, way)) = waiting.get(&thread) {
            next.extend(object.gate.holders(thread, *way));
        }
    }
    waiting.insert(me, (Arc::clone(hosted), way));
    Ok(())
}

#[cold]
fn deadlock(hosted: &Hosted) -> Error {
    let what = format!(
        "call object {} of a manager, a {}, from a call that it would wait for",
        hosted.key(),
        hosted.type_name()
    );
    Error::new(ErrorKind::Deadlock, what)
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.hosted.gate.leave(self.me);
        INSIDE.with_borrow_mut(|inside| inside.pop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::kind::Kind;
    use crate::segment::{self, Spec};

    fn hosted(key: u64) -> Arc<Hosted> {
        let life = Spec { kind: Kind::Inert, bytes: 1, furnished: 1, init: &|_, _| {} };
        Hosted::new(key, 0_u8, segment::allocate(&life).unwrap())
    }

    fn nested(thread: usize) -> Caller {
        Caller { thread, is_nested: true }
    }

    /// Numbers that no thread of the other tests has.
    const ONE: usize = usize::MAX;
    const OTHER: usize = usize::MAX - 1;

    fn write_down(thread: usize, hosted: &Arc<Hosted>, way: Way) {
        lock(&WAITING).get_or_insert_default().insert(thread, (Arc::clone(hosted), way));
    }

    fn strike_out(thread: usize) {
        lock(&WAITING).as_mut().and_then(|waiting| waiting.remove(&thread));
    }

    /// It had waited for a writer, and has got in beside the other one, who reads, too, and wants
    /// to be where it came from: that was a `Deadlock`, and is none.
    #[test]
    fn whoever_has_just_got_in_does_not_wait() {
        let (first, second) = (hosted(1), hosted(2));
        assert!(first.gate.try_enter(nested(ONE), Way::Write));
        write_down(ONE, &second, Way::Read);
        assert!(second.gate.try_enter(nested(OTHER), Way::Read));
        assert!(second.gate.try_enter(nested(ONE), Way::Read));
        await_turn(OTHER, &first, Way::Write).unwrap();
        [ONE, OTHER].into_iter().for_each(strike_out);
    }

    #[test]
    fn whoever_waits_for_this_one_is_a_deadlock() {
        let (first, second) = (hosted(1), hosted(2));
        let (one, other) = (usize::MAX - 2, usize::MAX - 3);
        assert!(first.gate.try_enter(nested(one), Way::Write));
        assert!(second.gate.try_enter(nested(other), Way::Write));
        for way in [Way::Read, Way::Write] {
            write_down(one, &second, way);
            for way in [Way::Read, Way::Write] {
                let error = await_turn(other, &first, way).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Deadlock);
            }
        }
        strike_out(one);
    }
}
