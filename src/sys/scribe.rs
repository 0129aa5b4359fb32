//! A thread that does, for all others, what they must not do where they are.
//!
//! Whoever leaves a note there never waits, takes no lock of ours and runs nothing of the user's.
//! There is one such thread in a process, from the first note on; a forked child has another one.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::clock::Deadline;
use super::{fork, task};

/// So many notes lie there at the most; what comes on top is counted as lost.
const ROOM: usize = 4096;

/// How often it is looked whether there is room again.
const TURN: Duration = Duration::from_millis(1);

/// What reads the notes, and where they are left.
#[derive(Debug)]
pub(crate) struct Scribe<T: 'static> {
    name: &'static str,
    /// What is done with each note, and how many were lost before it.
    act: fn(T, u64),
    desk: AtomicPtr<Desk<T>>,
    lost: AtomicU64,
}

/// The desk of one process among those that came from one another by fork.
#[derive(Debug)]
struct Desk<T> {
    generation: u32,
    letters: SyncSender<Letter<T>>,
}

#[derive(Debug)]
enum Letter<T> {
    Note(T),
    /// Tell that this was read.
    Receipt(SyncSender<()>),
}

impl<T: Send + 'static> Scribe<T> {
    pub(crate) const fn new(name: &'static str, act: fn(T, u64)) -> Self {
        let desk = AtomicPtr::new(std::ptr::null_mut());
        Self { name, act, desk, lost: AtomicU64::new(0) }
    }

    /// Leaves a note.
    pub(crate) fn leave(&'static self, note: T) {
        if self.desk().letters.try_send(Letter::Note(note)).is_err() {
            // Relaxed: a number to tell.
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all is done that was left before. False if that takes longer.
    pub(crate) fn catch_up(&self, timeout: Duration) -> bool {
        let Some(desk) = self.latest().filter(|desk| desk.generation == fork::generation()) else {
            // Nobody has left anything in this process.
            return true;
        };
        let deadline = Deadline::after(timeout);
        let (receipt, read) = sync_channel(1);
        let mut letter = Letter::Receipt(receipt);
        // Not bounded, but it waits.
        while let Err(refused) = desk.letters.try_send(letter) {
            let TrySendError::Full(back) = refused else { return false };
            if deadline.is_past() {
                return false;
            }
            letter = back;
            std::thread::sleep(TURN);
        }
        read.recv_timeout(deadline.left().unwrap_or(Duration::MAX)).is_ok()
    }

    fn latest(&self) -> Option<&'static Desk<T>> {
        // Acquire `desk`: pairs with the exchange in `renew`.
        let known = self.desk.load(Ordering::Acquire);
        // SAFETY: the pointer is null or came from `Box::into_raw` in `renew`, which published it
        // and never frees what it has published; nothing changes what is behind it.
        unsafe { known.as_ref() }
    }

    fn desk(&'static self) -> &'static Desk<T> {
        match self.latest() {
            Some(desk) if desk.generation == fork::generation() => desk,
            stale => self.renew(stale),
        }
    }

    #[cold]
    fn renew(&'static self, stale: Option<&'static Desk<T>>) -> &'static Desk<T> {
        let (letters, left) = sync_channel(ROOM);
        let new = Desk { generation: fork::generation(), letters };
        let new = Box::into_raw(Box::new(new));
        let expected =
            stale.map_or(std::ptr::null_mut(), |desk| std::ptr::from_ref(desk).cast_mut());
        // Release `desk`: whoever loads the pointer sees the fields. Acquire: so do we if we lose.
        match self.desk.compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                let life = move || self.read(&left);
                // Where there can be no thread, every note finds its reader gone, and is lost.
                let _ = std::thread::Builder::new().name(self.name.to_owned()).spawn(life);
                // SAFETY: published, so nobody frees it, see `latest`.
                unsafe { &*new }
            }
            Err(winner) => {
                // SAFETY: it came from `Box::into_raw` above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: not null, or the exchange had succeeded or met `stale`; see `latest`.
                unsafe { &*winner }
            }
        }
    }

    /// The life of the thread.
    fn read(&self, left: &Receiver<Letter<T>>) {
        // Signals of the program's are for the program's own threads.
        let _ = task::replace_signal_mask(task::EVERY_PROGRAM_SIGNAL);
        while let Ok(letter) = left.recv() {
            match letter {
                Letter::Note(note) => {
                    // Relaxed: a number to tell.
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    let act = AssertUnwindSafe(|| (self.act)(note, lost));
                    if let Err(payload) = catch_unwind(act) {
                        // What a payload does in its destructor is of no interest.
                        std::mem::forget(payload);
                    }
                }
                Letter::Receipt(reader) => _ = reader.try_send(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static DONE: Mutex<Vec<u32>> = Mutex::new(Vec::new());

    fn act(note: u32, _lost: u64) {
        assert_ne!(note, 1, "this note panics, on purpose");
        DONE.lock().unwrap().push(note);
    }

    static SCRIBE: Scribe<u32> = Scribe::new("test-scribe", act);

    #[test]
    fn notes_are_read_in_their_order_whatever_one_does() {
        assert!(SCRIBE.catch_up(Duration::ZERO));
        (0..5).for_each(|note| SCRIBE.leave(note));
        assert!(SCRIBE.catch_up(Duration::from_secs(60)));
        assert_eq!(*DONE.lock().unwrap(), [0, 2, 3, 4]);
    }

    static BUSY: Mutex<u64> = Mutex::new(0);

    fn wait_for_busy(_note: u32, lost: u64) {
        *BUSY.lock().unwrap() += lost;
    }

    static SLOW: Scribe<u32> = Scribe::new("slow-scribe", wait_for_busy);

    #[test]
    fn nobody_waits_for_a_scribe_that_is_stuck() {
        let busy = BUSY.lock().unwrap();
        (0..2 * ROOM as u32).for_each(|note| SLOW.leave(note));
        assert!(!SLOW.catch_up(Duration::ZERO));
        drop(busy);
        assert!(SLOW.catch_up(Duration::from_secs(60)));
        SLOW.leave(0);
        assert!(SLOW.catch_up(Duration::from_secs(60)));
        let lost = *BUSY.lock().unwrap();
        assert!(ROOM as u64 - 1 <= lost && lost <= 1 + ROOM as u64, "{lost}");
    }
}
