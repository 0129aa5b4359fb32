//! `futex(2)` and `futex_waitv(2)` on words that processes share, so never `FUTEX_PRIVATE_FLAG`.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::clock::Deadline;
use crate::trace::{self, Said};

/// `struct futex_waitv` of linux/futex.h.
#[repr(C)]
struct WaitV {
    val: u64,
    uaddr: u64,
    flags: u32,
    reserved: u32,
}

/// `FUTEX2_SIZE_U32`, shared.
const FUTEX_32: u32 = 2;

/// Sleeps while `*word == expected`, at most for `timeout`. Returns for any reason; look again.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let time = timeout.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    trace::begin!(start);
    // SAFETY: `word` is a live, aligned u32; the kernel only reads it. FUTEX_WAIT takes a relative
    // time.
    let done =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time) };
    let _said = Said::of(done);
    trace::slept!(start, 1, _said.ending(&[(word, expected)]));
}

/// Sleeps while both words hold what is expected of them, at most for `timeout`.
///
/// Below Linux 5.16, or where a filter denies the call, it waits on the first word alone.
pub(crate) fn wait_two(
    first: (&AtomicU32, u32),
    second: (&AtomicU32, u32),
    timeout: Option<Duration>,
) {
    trace::begin!(start);
    let ended = waitv(&[entry(first), entry(second)], timeout);
    match ended {
        Vector::Missing => wait(first.0, first.1, timeout),
        Vector::Done(_said) => {
            trace::slept!(start, 2, _said.ending_with_epoch(&[first, second]));
        }
    }
}

/// As many words one call can wait for (`FUTEX_WAITV_MAX`).
pub(crate) const WORDS_MAX: usize = 128;

/// How often words are looked at where nobody can sleep on all of them.
pub(crate) const TURN: Duration = Duration::from_millis(1);

/// Sleeps while all words hold what is expected of them, at most for `timeout`.
///
/// Below Linux 5.16, or where a filter denies the call, it looks at all of them every millisecond,
/// and sleeps on the first one in between; so it does with more than [`WORDS_MAX`] of them.
pub(crate) fn wait_many(words: &[(&AtomicU32, u32)], timeout: Duration) {
    let mut entries =
        [const { WaitV { val: 0, uaddr: 0, flags: FUTEX_32, reserved: 0 } }; WORDS_MAX];
    if let Some(entries) = entries.get_mut(..words.len()) {
        entries.iter_mut().zip(words).for_each(|(place, word)| *place = entry(*word));
        trace::begin!(start);
        if let Vector::Done(_said) = waitv(entries, Some(timeout)) {
            trace::slept!(start, words.len(), _said.ending(words));
            return;
        }
    }
    let Some((first, expected)) = words.first() else { return };
    let deadline = Deadline::after(timeout);
    // Acquire: what was done before a word was changed is seen by who looks next.
    while words.iter().all(|(word, expected)| word.load(Ordering::Acquire) == *expected) {
        wait(first, *expected, Some(deadline.left_at_most(TURN)));
        if deadline.is_past() {
            return;
        }
    }
}

/// Whether this machine can sleep on many words, as far as is known.
pub(crate) fn has_vectors() -> bool {
    // Relaxed: a stale answer costs one more failing call.
    !DENIED.load(Ordering::Relaxed)
}

/// Whether `futex_waitv` was found to be missing.
static DENIED: AtomicBool = AtomicBool::new(false);

/// What came of a sleep on many words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vector {
    /// It is over, for any reason.
    Done(Said),
    /// The machine has none, or no memory for it.
    Missing,
}

fn entry((word, expected): (&AtomicU32, u32)) -> WaitV {
    WaitV { val: u64::from(expected), uaddr: word.as_ptr() as u64, flags: FUTEX_32, reserved: 0 }
}

fn waitv(words: &[WaitV], timeout: Option<Duration>) -> Vector {
    if !has_vectors() {
        return Vector::Missing;
    }
    let deadline = timeout.map(absolute);
    let deadline = deadline.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `words` and the deadline outlive the call; the kernel only reads the words that the
    // entries, which `entry` made of references that the callers still have, lead to.
    let done = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            words.as_ptr(),
            words.len() as u32,
            0_u32,
            deadline,
            libc::CLOCK_MONOTONIC,
        )
    };
    if done >= 0 {
        return Vector::Done(Said::of(done));
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => {
            // Relaxed: see `has_vectors`.
            DENIED.store(true, Ordering::Relaxed);
            Vector::Missing
        }
        Some(libc::ENOMEM) => Vector::Missing,
        _ => Vector::Done(Said::of(done)),
    }
}

/// Wakes up to `count` sleepers on `word`, and says how many woke.
pub(crate) fn wake(word: &AtomicU32, count: i32) -> usize {
    let woken = wake_untold(word, count);
    trace::woke!(woken);
    woken
}

/// As [`wake`], in a signal handler, where nothing is told.
pub(crate) fn wake_untold(word: &AtomicU32, count: i32) -> usize {
    // SAFETY: FUTEX_WAKE uses the address only as a key.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    usize::try_from(woken).unwrap_or(0)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

/// `timeout` from now on `CLOCK_MONOTONIC`, with the carry of the nanoseconds.
fn absolute(timeout: Duration) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    );
    timespec(now.saturating_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_word_that_changed_is_not_waited_for() {
        let (a, b) = (AtomicU32::new(1), AtomicU32::new(2));
        wait(&a, 0, None);
        wait_two((&a, 0), (&b, 2), None);
        wait_two((&a, 1), (&b, 0), None);
    }

    #[test]
    fn a_timeout_ends_both_waits() {
        let (a, b) = (AtomicU32::new(0), AtomicU32::new(0));
        let short = Duration::from_millis(5);
        let start = Instant::now();
        wait(&a, 0, Some(short));
        wait_two((&a, 0), (&b, 0), Some(short));
        assert!(start.elapsed() >= short);
    }

    #[test]
    fn either_word_wakes_a_double_wait() {
        for second in [false, true] {
            let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
            let theirs = Arc::clone(&words);
            let sleeper = std::thread::spawn(move || {
                while theirs.0.load(Ordering::Acquire) + theirs.1.load(Ordering::Acquire) == 0 {
                    wait_two((&theirs.0, 0), (&theirs.1, 0), None);
                }
            });
            let word = if second { &words.1 } else { &words.0 };
            word.store(1, Ordering::Release);
            wake(word, 1);
            sleeper.join().unwrap();
        }
    }

    #[test]
    fn any_of_many_words_wakes_a_sleeper() {
        for count in [1, 2, WORDS_MAX, WORDS_MAX + 1] {
            let words: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
            let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
            let start = Instant::now();
            wait_many(&all, Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while words[count - 1].load(Ordering::Acquire) == 0 {
                        wait_many(&all, Duration::from_secs(60));
                    }
                });
                words[count - 1].store(1, Ordering::Release);
                wake(&words[count - 1], 1);
            });
            wait_many(&all, Duration::from_secs(60));
        }
        wait_many(&[], Duration::ZERO);
    }
}
