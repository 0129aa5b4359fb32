//! Loom's atomics, a futex made of them, and the switch that breaks one step at a time.

use std::sync::OnceLock;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use super::Ordering;

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64};

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

/// In a model both halves are full fences: that membarrier amounts to it is argued, not modelled.
pub(crate) fn light_fence(label: &'static str) {
    let left_out =
        chosen().and_then(|mutant| mutant.strip_prefix(label)).is_some_and(|rest| rest == "/light");
    if !left_out {
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

/// The kernel's check-and-sleep, as a mutex and a bell. Time does not pass in a model.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    queue: Mutex<()>,
    bell: Condvar,
}

impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), queue: Mutex::new(()), bell: Condvar::new() }
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    pub(crate) fn wait(&self, expected: u32, _timeout: Option<Duration>) {
        let queue = self.queue.lock().unwrap();
        // An RMW, not a load: the kernel's compare reads the newest value.
        if self.word.fetch_add(0, Ordering::AcqRel) == expected {
            drop(self.bell.wait(queue).unwrap());
        }
    }

    pub(crate) fn wait_or(&self, expected: u32, _other: &Futex, _: u32, timeout: Option<Duration>) {
        self.wait(expected, timeout);
    }

    pub(crate) fn wake_one(&self) {
        let _queue = self.queue.lock().unwrap();
        self.bell.notify_one();
    }

    pub(crate) fn wake_all(&self) {
        let _queue = self.queue.lock().unwrap();
        self.bell.notify_all();
    }
}

pub(crate) fn poll_pause() {
    loom::hint::spin_loop();
}

pub(crate) fn yield_now() {
    loom::thread::yield_now();
}
