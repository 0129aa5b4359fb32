//! Sleeping on any number of words and fds at once.
//!
//! The kernel has no call for both, nor for more than 128 words. Up to so many words, or fds alone,
//! take one call and nothing else. For the rest there are threads, which live as long as the sleep:
//! one for the fds where there are words as well, and one for every 127 words more. Whoever of them
//! is woken wakes the others by one more word, on which all of them sleep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Builder, Scope, scope};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::chime::Chime;
use super::clock::Deadline;
use super::{futex, poll, task};

/// Enough for what runs in a helper: system calls.
const STACK: usize = 64 << 10;

/// Sleeps while all words are what is expected of them and no fd is readable, at most for
/// `timeout`. Returns for any reason; look again.
///
/// Where there can be no further thread it sleeps for a millisecond.
pub(crate) fn keep(words: &[(&AtomicU32, u32)], fds: &[BorrowedFd<'_>], timeout: Duration) {
    if words.is_empty() {
        // Whoever looks next hears of an error.
        let _ = wait_for(fds, Deadline::after(timeout));
    } else if fds.is_empty() && (words.len() <= futex::WORDS_MAX || !futex::has_vectors()) {
        futex::wait_many(words, timeout);
    } else {
        keep_together(words, fds, timeout);
    }
}

/// Which of the fds are readable now, at their end, or broken.
pub(crate) fn readable(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    wait_for(fds, Deadline::after(Duration::ZERO))
}

fn keep_together(words: &[(&AtomicU32, u32)], fds: &[BorrowedFd<'_>], timeout: Duration) {
    let over = &AtomicU32::new(0);
    // Where vectors are missing, all words are looked at in turns.
    let most = if futex::has_vectors() { futex::WORDS_MAX - 1 } else { usize::MAX };
    let mut parts = words.chunks(most);
    let mut mine: Vec<_> = parts.next().unwrap_or_default().to_vec();
    mine.push((over, 0));
    // By which the helper at the fds is called back.
    let chime = if fds.is_empty() { None } else { Chime::new().ok() };
    let end = || {
        // Release: what was seen before is seen by who wakes of it.
        over.store(1, Ordering::Release);
        futex::wake(over, i32::MAX);
        // Only a chime that somebody else has closed does not ring; its fd is not readable then,
        // and an error to poll.
        let _ = chime.as_ref().map(Chime::ring);
    };
    scope(|helpers| {
        let mut has_all = fds.is_empty() || chime.is_some();
        if let Some(chime) = &chime {
            let watched: Vec<_> = fds.iter().copied().chain([chime.as_fd()]).collect();
            has_all &= help(helpers, move || {
                let _ = wait_for(&watched, Deadline::NEVER);
                end();
            });
        }
        for part in parts {
            has_all &= help(helpers, move || {
                let mut words = part.to_vec();
                words.push((over, 0));
                futex::wait_many(&words, timeout);
                end();
            });
        }
        let nap = if has_all { timeout } else { timeout.min(futex::TURN) };
        futex::wait_many(&mine, nap);
        end();
    });
}

/// Has a thread do this beside the caller. False if there can be none.
fn help<'scope>(helpers: &'scope Scope<'scope, '_>, what: impl FnOnce() + Send + 'scope) -> bool {
    let helper = Builder::new().name("multiproc-helper".to_owned()).stack_size(STACK);
    let started = helper.spawn_scoped(helpers, || {
        // Signals of the program's are for the program's own threads.
        let _ = task::replace_signal_mask(task::EVERY_PROGRAM_SIGNAL);
        what();
    });
    started.is_ok()
}

/// Waits until one of the fds is readable, or the deadline: which of them are.
fn wait_for(fds: &[BorrowedFd<'_>], deadline: Deadline) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    poll::until(&mut polled, deadline)?;
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    fn pipe() -> (OwnedFd, OwnedFd) {
        nix::unistd::pipe().unwrap()
    }

    /// How long a sleep on so many words, and on a pipe, takes that `wake` ends.
    fn sleep(count: usize, has_pipe: bool, wake: impl FnOnce(&[AtomicU32], &OwnedFd) + Send) {
        let words: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
        let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
        let (reader, writer) = pipe();
        let fds = if has_pipe { vec![reader.as_fd()] } else { Vec::new() };
        scope(|scope| {
            scope.spawn(|| wake(&words, &writer));
            loop {
                keep(&all, &fds, Duration::from_secs(60));
                let is_written = has_pipe && readable(&fds).unwrap()[0];
                if is_written || words.iter().any(|word| word.load(Ordering::Acquire) != 0) {
                    break;
                }
            }
        });
    }

    fn change(words: &[AtomicU32], index: usize) {
        words[index].store(1, Ordering::Release);
        futex::wake(&words[index], 1);
    }

    #[test]
    fn whatever_changes_ends_the_sleep() {
        for has_pipe in [false, true] {
            for count in [1, 127, 128, 129, 300, 600] {
                sleep(count, has_pipe, |words, _| change(words, count - 1));
                sleep(count, has_pipe, |words, _| change(words, 0));
            }
        }
        for count in [0, 1, 129, 300] {
            sleep(count, true, |_, pipe| assert_eq!(nix::unistd::write(pipe, b"!"), Ok(1)));
        }
    }

    #[test]
    fn a_timeout_ends_every_sleep() {
        let (reader, _writer) = pipe();
        for (count, fds) in [(0, vec![reader.as_fd()]), (1, vec![reader.as_fd()]), (300, vec![])] {
            let words: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
            let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
            let start = Instant::now();
            keep(&all, &fds, Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5));
        }
    }

    #[test]
    fn what_has_changed_already_is_not_slept_on() {
        let (reader, writer) = pipe();
        let words: Vec<AtomicU32> = (0..300).map(AtomicU32::new).collect();
        let all: Vec<_> = words.iter().map(|word| (word, 299)).collect();
        keep(&all, &[], Duration::from_secs(60));
        keep(&all[..2], &[reader.as_fd()], Duration::from_secs(60));
        drop(writer);
        keep(&[], &[reader.as_fd()], Duration::from_secs(60));
        keep(&[(&words[0], 0)], &[reader.as_fd()], Duration::from_secs(60));
        assert_eq!(readable(&[reader.as_fd()]).unwrap(), [true]);
    }
}
