//! Loom's atomics, a futex made of them, and the switch that breaks one step at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use loom::thread::ThreadId;

use super::Ordering;

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// The step that this run leaves out or weakens, from the environment.
fn chosen() -> Option<&'static str> {
    static MUTANT: OnceLock<Option<String>> = OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("MULTIPROC_MUTANT").ok()).as_deref()
}

/// The ordering, or `Relaxed` where this run's mutant is `label/Ordering`.
pub(crate) fn at(ordering: Ordering, label: &'static str) -> Ordering {
    let weakened = chosen()
        .and_then(|mutant| mutant.strip_prefix(label))
        .is_some_and(|rest| rest.strip_prefix('/') == Some(&format!("{ordering:?}")));
    if weakened { Ordering::Relaxed } else { ordering }
}

/// Whether this run leaves out the step of this name.
pub(crate) fn mutant(name: &'static str) -> bool {
    chosen() == Some(name)
}

/// A sequentially consistent fence, unless this run's mutant is `label/fence`.
pub(crate) fn fence(label: &'static str) {
    let left_out =
        chosen().and_then(|mutant| mutant.strip_prefix(label)).is_some_and(|rest| rest == "/fence");
    if !left_out {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Nothing: no model reorders what one thread does.
pub(crate) fn program_order() {}

/// As [`fence`]: in a model no read-modify-write is one.
pub(crate) fn fence_after_rmw(label: &'static str) {
    fence(label);
}

/// In a model both halves are full fences: that membarrier amounts to it is argued, not modelled.
///
/// Under [`without_heavy_fences`] it is nothing, as it is on a machine that denies membarrier.
pub(crate) fn light_fence(label: &'static str) {
    let left_out =
        chosen().and_then(|mutant| mutant.strip_prefix(label)).is_some_and(|rest| rest == "/light");
    if !left_out && has_heavy_fence() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// See [`light_fence`].
pub(crate) fn heavy_fence(label: &'static str) {
    let left_out =
        chosen().and_then(|mutant| mutant.strip_prefix(label)).is_some_and(|rest| rest == "/heavy");
    if !left_out {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

// The threads of a model are coroutines of the one thread that runs its test, and share these.
thread_local! {
    static DENIED: Cell<bool> = const { Cell::new(false) };
    static DOOMED: RefCell<Vec<(ThreadId, &'static str)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn has_heavy_fence() -> bool {
    !DENIED.get()
}

/// Runs models of a machine that denies membarrier.
pub(crate) fn without_heavy_fences(models: impl FnOnce()) {
    DENIED.set(true);
    models();
    DENIED.set(false);
}

/// Runs `body`, but kills this thread when it gets to [`kill_point`] `point`; then gives `None`.
///
/// Nothing that the dead would have done to shared memory is done, as no code here cleans up.
pub(crate) fn dies_at<R>(point: &'static str, body: impl FnOnce() -> R) -> Option<R> {
    let this = loom::thread::current().id();
    DOOMED.with_borrow_mut(|doomed| doomed.push((this, point)));
    let done = catch_unwind(AssertUnwindSafe(body));
    DOOMED.with_borrow_mut(|doomed| doomed.retain(|(thread, _)| *thread != this));
    match done {
        Ok(done) => Some(done),
        Err(cause) if cause.is::<Killed>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

struct Killed;

pub(crate) fn kill_point(name: &'static str) {
    // Without a doomed thread loom is not asked who runs, because the answer costs.
    if DOOMED.with_borrow(|doomed| doomed.iter().all(|(_, point)| *point != name)) {
        return;
    }
    let this = loom::thread::current().id();
    if DOOMED.with_borrow(|doomed| doomed.contains(&(this, name))) {
        resume_unwind(Box::new(Killed));
    }
}

/// The kernel's check-and-sleep, as a mutex and a bell. Time does not pass in a model, so a
/// time-out is for ever, unless it is zero: then the sleep ends at once, wherever the others happen
/// to be.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    /// Who sleeps, the first to come in front.
    queue: Mutex<VecDeque<Sleeper>>,
    bell: Condvar,
}

#[derive(Debug)]
enum Sleeper {
    /// At the bell of this word.
    Here,
    /// At a bell of its own, as it sleeps on other words as well.
    Elsewhere(Arc<Vigil>),
}

/// A thread that sleeps on many words.
#[derive(Debug)]
struct Vigil {
    is_over: Mutex<bool>,
    bell: Condvar,
}

impl Vigil {
    fn end(&self) {
        *self.is_over.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        let queue = Mutex::new(VecDeque::new());
        Self { word: AtomicU32::new(value), queue, bell: Condvar::new() }
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) {
        let mut queue = self.queue.lock().unwrap();
        // An RMW, not a load: the kernel's compare reads the newest value.
        let sleeps = self.word.fetch_add(0, Ordering::AcqRel) == expected;
        if sleeps && timeout != Some(Duration::ZERO) {
            queue.push_back(Sleeper::Here);
            drop(self.bell.wait(queue).unwrap());
        }
    }

    /// Compares both words, but sleeps on this one only, as below Linux 5.16.
    pub(crate) fn wait_or(
        &self,
        expected: u32,
        other: &Futex,
        other_expected: u32,
        timeout: Option<Duration>,
    ) {
        if other.word.fetch_add(0, Ordering::AcqRel) == other_expected {
            self.wait(expected, timeout);
        }
    }

    /// As the kernel does it: goes to sleep on one word after the other, comparing each, and is no
    /// more on any of them afterwards. A wake on any of them meanwhile is spent on this thread.
    pub(crate) fn wait_many(words: &[(&Self, u32)], timeout: Duration) {
        let vigil = Arc::new(Vigil { is_over: Mutex::new(false), bell: Condvar::new() });
        let sleeps = words.iter().all(|(futex, expected)| {
            let mut queue = futex.queue.lock().unwrap();
            let is_same = futex.word.fetch_add(0, Ordering::AcqRel) == *expected;
            if is_same {
                queue.push_back(Sleeper::Elsewhere(Arc::clone(&vigil)));
            }
            is_same
        });
        if sleeps && timeout != Duration::ZERO {
            let mut is_over = vigil.is_over.lock().unwrap();
            while !*is_over {
                is_over = vigil.bell.wait(is_over).unwrap();
            }
        }
        for (futex, _) in words {
            let is_another = |sleeper: &Sleeper| match sleeper {
                Sleeper::Here => true,
                Sleeper::Elsewhere(other) => !Arc::ptr_eq(other, &vigil),
            };
            futex.queue.lock().unwrap().retain(is_another);
        }
    }

    pub(crate) fn wake_one(&self) -> bool {
        let first = {
            let mut queue = self.queue.lock().unwrap();
            let first = queue.pop_front();
            if let Some(Sleeper::Here) = first {
                self.bell.notify_one();
            }
            first
        };
        if let Some(Sleeper::Elsewhere(vigil)) = &first {
            vigil.end();
        }
        first.is_some()
    }

    pub(crate) fn wake_all(&self) {
        let all = {
            let mut queue = self.queue.lock().unwrap();
            self.bell.notify_all();
            std::mem::take(&mut *queue)
        };
        for sleeper in all {
            if let Sleeper::Elsewhere(vigil) = sleeper {
                vigil.end();
            }
        }
    }
}

/// Two words in one of loom's, so that neither gets to 2^32 in a model.
#[derive(Debug)]
pub(crate) struct Wide(AtomicU64);

impl Wide {
    /// The top bit of a half.
    pub(crate) const TOP: u64 = 1 << 31;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn first(&self, ordering: Ordering) -> u64 {
        apart(self.0.load(ordering)).0
    }

    pub(crate) fn second(&self, ordering: Ordering) -> u64 {
        apart(self.0.load(ordering)).1
    }

    pub(crate) fn compare_exchange(
        &self,
        expected: (u64, u64),
        new: (u64, u64),
        success: Ordering,
        failure: Ordering,
    ) -> Result<(), (u64, u64)> {
        let exchanged = self.0.compare_exchange(packed(expected), packed(new), success, failure);
        exchanged.map(drop).map_err(apart)
    }
}

fn packed((first, second): (u64, u64)) -> u64 {
    assert!(first < 1 << 32 && second < 1 << 32, "too much for a model");
    first << 32 | second
}

fn apart(words: u64) -> (u64, u64) {
    (words >> 32, words & u64::from(u32::MAX))
}

/// Spinning would only multiply the executions: a second look is one that a schedule gives anyway.
pub(crate) fn spin_budget() -> Duration {
    Duration::ZERO
}

pub(crate) fn came_while_spinning() {}

pub(crate) fn came_after_yield() {}

pub(crate) const LOOKS: u32 = 1;

pub(crate) const BACK_OFFS: u32 = 1;

pub(crate) fn back_off(_look: u32) {}

pub(crate) const YIELD_BUDGET: Duration = Duration::ZERO;

/// Time does not pass, so it is never too long.
pub(crate) const TRUST: Duration = Duration::MAX;

pub(crate) fn poll_pause() {
    loom::hint::spin_loop();
}

pub(crate) fn yield_now() {
    loom::thread::yield_now();
}
