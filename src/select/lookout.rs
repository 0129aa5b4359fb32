//! The lookout: the one thread of a process that waits in the place of those who wait for fds.
//!
//! It has the things that it waits for, and gives each one back when it is ready, or recalled. So
//! nobody else waits for one at the same time, and there is nothing to share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::raw::event::Event;
use crate::raw::wait_many::{Post, Watched};
use crate::shim::lock;
use crate::sys::clock::Deadline;
use crate::sys::{fork, task};

use super::party::Party;
use super::waitable::{Kind, Source};

/// Enough for what runs on it: looks, system calls, and the recovery of shared memory.
const STACK: usize = 256 << 10;

/// Something that the lookout waits for. Dropped, it is back with its owner, who is told.
pub(super) trait Charge: Send {
    fn source(&mut self) -> Result<Source<'_>>;

    /// Goes back without a word: it was recalled.
    fn go_back(self: Box<Self>);
}

/// The outside of the thread.
#[derive(Debug)]
pub(super) struct Lookout {
    generation: u32,
    /// Set when there is something in the inbox.
    call: Event,
    inbox: Mutex<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inbox {
    arrivals: Vec<(usize, Box<dyn Charge>)>,
    recalls: Vec<usize>,
    /// The thread leaves, or has left.
    is_over: bool,
}

/// The lookout of this process, and for how many it waits.
static LOOKOUT: Mutex<Option<(Arc<Lookout>, usize)>> = Mutex::new(None);

/// The lookout of this process, for one more who needs it. The first one starts it.
pub(super) fn enter() -> Result<Arc<Lookout>> {
    let mut place = lock(&LOOKOUT);
    if let Some((lookout, users)) = place.as_mut()
        && lookout.is_ours()
    {
        *users += 1;
        return Ok(Arc::clone(lookout));
    }
    let lookout = Arc::new(Lookout {
        generation: fork::generation(),
        call: Event::new(),
        inbox: Mutex::default(),
        thread: Mutex::default(),
    });
    let inside = Arc::clone(&lookout);
    let thread = Builder::new()
        .name("multiproc-lookout".to_owned())
        .stack_size(STACK)
        .spawn(move || inside.run())
        .context(|| "start the thread that waits for the sake of fds".to_owned())?;
    *lock(&lookout.thread) = Some(thread);
    let stale = place.replace((Arc::clone(&lookout), 1));
    // Of a process that this one was forked from: its thread is not here to be let go of.
    std::mem::forget(stale);
    Ok(lookout)
}

impl Lookout {
    /// Whether its thread is one of this process, and not of one that this one was forked from.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Waits for something from now on. The number by which it can be recalled.
    pub(super) fn watch(&self, charge: Box<dyn Charge>) -> usize {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only that no two get the same number matters.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let mut inbox = lock(&self.inbox);
        if inbox.is_over {
            drop(inbox);
            // Its owner is told, and looks for himself.
            drop(charge);
            return number;
        }
        inbox.arrivals.push((number, charge));
        drop(inbox);
        self.call.set();
        number
    }

    /// Has something given back, if it has not been.
    pub(super) fn recall(&self, number: usize) {
        lock(&self.inbox).recalls.push(number);
        self.call.set();
    }

    /// One who needed it does not any more. The thread ends with the last.
    pub(super) fn leave(self: &Arc<Self>) {
        let mut place = lock(&LOOKOUT);
        match place.as_mut() {
            Some((lookout, users)) if Arc::ptr_eq(lookout, self) => {
                *users -= 1;
                if *users > 0 {
                    return;
                }
            }
            _ => return,
        }
        *place = None;
        drop(place);
        lock(&self.inbox).is_over = true;
        self.call.set();
        let thread = lock(&self.thread).take();
        // It has nothing left to wait for. Its panic, of which it has told, is its own.
        let _ = thread.map(JoinHandle::join);
    }

    fn run(&self) {
        // Signals of the program's are for the program's own threads.
        let _ = task::replace_signal_mask(task::EVERY_PROGRAM_SIGNAL);
        let _over = Over(self);
        let mut charges: Vec<(usize, Box<dyn Charge>)> = Vec::new();
        loop {
            // Before the inbox is opened: what comes after that is another call.
            self.call.clear();
            let (arrivals, recalls) = {
                let mut inbox = lock(&self.inbox);
                if inbox.is_over {
                    return;
                }
                let inbox = &mut *inbox;
                (std::mem::take(&mut inbox.arrivals), std::mem::take(&mut inbox.recalls))
            };
            charges.extend(arrivals);
            for number in recalls {
                if let Some(at) = charges.iter().position(|(known, _)| *known == number) {
                    charges.swap_remove(at).1.go_back();
                }
            }
            for index in self.wait(&mut charges).into_iter().rev() {
                drop(charges.swap_remove(index));
            }
        }
    }

    /// Waits until there is a call, or some of them are ready: which.
    fn wait(&self, charges: &mut [(usize, Box<dyn Charge>)]) -> Vec<usize> {
        let mut call = Call(self);
        let mut sources = Vec::with_capacity(charges.len() + 1);
        for (index, (_, charge)) in charges.iter_mut().enumerate() {
            match charge.source() {
                Ok(source) => sources.push(source),
                // Its owner finds out when he uses it.
                Err(_) => return vec![index],
            }
        }
        let last = sources.len();
        sources.push(Source(Kind::Handle(&mut call)));
        let ready = Party::new(&mut sources).wait(Deadline::NEVER);
        // Whoever gave it an fd that cannot be polled finds out when he uses it.
        let mut ready = ready.unwrap_or_else(|_| (0..last).collect());
        ready.retain(|index| *index < last);
        ready
    }
}

/// Ends the thread's work, also if it panics: then everything goes back to its owner.
struct Over<'a>(&'a Lookout);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut inbox = lock(&self.0.inbox);
        inbox.is_over = true;
        let arrivals = std::mem::take(&mut inbox.arrivals);
        drop(inbox);
        drop(arrivals);
    }
}

/// A call, as one of the things that the thread waits for.
struct Call<'a>(&'a Lookout);

impl Watched for Call<'_> {
    fn post(&self) -> Post<'_> {
        self.0.call.post(None)
    }

    fn is_ready(&mut self) -> bool {
        self.0.call.is_set()
    }

    fn suspect(&mut self) {}
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} arrivals, {} recalls", self.arrivals.len(), self.recalls.len())
    }
}

/// The error of a handle that needs the lookout of another process.
#[cold]
pub(super) fn forked() -> Error {
    let what = "use a `Readiness` that was inherited by fork: its thread is in the parent";
    Error::new(ErrorKind::Forked, what)
}
