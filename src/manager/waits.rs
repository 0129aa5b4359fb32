//! Who waits for what among the calls of a server, so that none waits for itself.
//!
//! A call that is in no object yet has nothing that another one could wait for, so it just waits.
//! One that is in an object already, and calls another, looks first whether whoever is in that one
//! waits, over however many steps, for this thread. Whoever closes a circle is the last to begin
//! waiting, and finds all others written down.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::shim::lock;

use super::hosted::Hosted;

/// Which object a thread that is in one waits for.
static WAITING: Mutex<Option<HashMap<usize, Arc<Hosted>>>> = Mutex::new(None);

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

/// Enters an object: `attempt` does not wait, `wait` does.
///
/// # Errors
/// `Deadlock` if this thread would wait for itself.
pub(super) fn enter<'a, G>(
    hosted: &'a Arc<Hosted>,
    attempt: impl FnOnce() -> Option<G>,
    wait: impl FnOnce() -> G,
) -> Result<(G, Inside<'a>)> {
    let me = ME.with(|me| *me);
    let is_nested = INSIDE.with_borrow(|inside| {
        let is_in = inside.contains(&hosted.key());
        if is_in { Err(deadlock(hosted)) } else { Ok(!inside.is_empty()) }
    })?;
    let guard = match is_nested.then(attempt) {
        None => wait(),
        Some(Some(guard)) => guard,
        Some(None) => {
            await_turn(me, hosted)?;
            let guard = wait();
            lock(&WAITING).as_mut().and_then(|waiting| waiting.remove(&me));
            guard
        }
    };
    lock(&hosted.inside).push(me);
    INSIDE.with_borrow_mut(|inside| inside.push(hosted.key()));
    Ok((guard, Inside { hosted, me }))
}

/// Writes down that this thread waits for an object, unless those in there wait for it.
fn await_turn(me: usize, hosted: &Arc<Hosted>) -> Result<()> {
    let mut waiting = lock(&WAITING);
    let waiting = waiting.get_or_insert_default();
    let mut known = HashSet::new();
    let mut next = vec![Arc::clone(hosted)];
    // Bounded: every object is looked at once.
    while let Some(object) = next.pop() {
        if !known.insert(object.key()) {
            continue;
        }
        let threads = lock(&object.inside).clone();
        if threads.contains(&me) {
            return Err(deadlock(hosted));
        }
        next.extend(threads.iter().filter_map(|thread| waiting.get(thread)).cloned());
    }
    waiting.insert(me, Arc::clone(hosted));
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
        // A thread is in an object once.
        lock(&self.hosted.inside).retain(|thread| *thread != self.me);
        INSIDE.with_borrow_mut(|inside| inside.pop());
    }
}
