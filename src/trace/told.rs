//! The events as they are when the feature is on: counted, noted where they happen, told elsewhere.

use std::cell::Cell;
use std::io;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

pub(crate) use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use crate::shim::{AtomicU32, AtomicU64, Ordering};
use crate::sys::scribe::Scribe;

static PARKS: AtomicU64 = AtomicU64::new(0);
static TIMEOUTS: AtomicU64 = AtomicU64::new(0);
static WAKES: AtomicU64 = AtomicU64::new(0);

static SCRIBE: Scribe<Event> = Scribe::new("multiproc-trace", tell);

thread_local! {
    /// Whether nothing of this thread is told: it is the scribe's, or in a process that does not
    /// run its function yet.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// How often threads of this process slept and were woken, since it began.
///
/// A process that was made by [`Process::fork`](crate::Process::fork) goes on from the numbers of
/// its parent.
///
/// # Examples
///
/// ```
/// use multiproc::trace::wait_counts;
/// use std::time::Duration;
///
/// let (mut inbox, event) = (multiproc::Queue::<u8>::bounded(1)?, multiproc::Event::new()?);
/// let before = wait_counts();
/// inbox.send(1).unwrap();
/// inbox.recv().unwrap();
/// assert_eq!(wait_counts(), before); // nobody had to wait
/// event.wait_timeout(Duration::from_millis(5))?;
/// assert!(before.parks < wait_counts().parks);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitCounts {
    /// Sleeps at a futex. One wait can be several: none is longer than 100 ms.
    pub parks: u64,
    /// Those of them that ended because their time was up.
    pub timeouts: u64,
    /// Wakes that were sent to the kernel, whether anybody slept there or not.
    pub wakes: u64,
}

/// How often threads of this process slept and were woken. There with the feature `tracing`.
///
/// # Examples
///
/// ```
/// # use multiproc::trace::wait_counts;
/// let counts = wait_counts();
/// println!("{} sleeps, {} of them in vain", counts.parks, counts.timeouts);
/// # assert!(counts.timeouts <= counts.parks);
/// ```
#[must_use]
pub fn wait_counts() -> WaitCounts {
    // Relaxed, all: numbers to look at. The time-outs come first, so there are no more of them.
    let timeouts = TIMEOUTS.load(Ordering::Relaxed);
    let [parks, wakes] = [&PARKS, &WAKES].map(|count| count.load(Ordering::Relaxed));
    WaitCounts { parks, timeouts, wakes }
}

/// Waits until every event of this process up to now was told. There with the feature `tracing`.
///
/// False if that takes longer than `timeout`, or there can be no thread that tells them; at once
/// if it is called by a subscriber for an event of this crate, which would wait for itself.
///
/// # Examples
///
/// ```
/// multiproc::Process::spawn(u32::count_ones, 7)?.join().unwrap();
/// // The subscriber has heard of that end, too.
/// assert!(multiproc::trace::flush_events(std::time::Duration::from_secs(10)));
/// # Ok::<(), multiproc::Error>(())
/// ```
#[must_use]
pub fn flush_events(timeout: Duration) -> bool {
    !IS_QUIET.get() && SCRIBE.catch_up(timeout)
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Woken,
    TimedOut,
    Death,
    Interrupted,
    Spurious,
    /// It never began: the word had changed, or the kernel refused.
    NotSlept,
}

/// What is told, in plain words.
#[derive(Debug)]
pub(crate) enum Event {
    Started { pid: u32, name: String, method: &'static str, took: Duration },
    Ended { pid: u32, name: String, status: String, lived: Duration },
    ServerStarted { pid: u32, took: Duration },
    ServerGone { pid: u32 },
    Hired { pool: String, worker: usize, pid: Option<u32>, took: Duration },
    Gone { pool: String, worker: usize, pid: Option<u32>, reason: String },
    GaveUp { pool: String, worker: usize, reason: String },
    ManagerStarted { pid: u32, name: String, took: Duration },
    ManagerEnded { pid: u32, status: String },
    Buried { segment: u128, participant: u32, pid: u32, tally: Tally, took: Duration },
    Parked { wait: Wait, ending: Ending, words: usize, took: Duration },
    Woke { wait: Wait, woken: usize },
}

/// Which thread, and what the counts were.
#[derive(Debug)]
pub(crate) struct Wait {
    thread: ThreadId,
    counts: WaitCounts,
}

impl Wait {
    fn here() -> Self {
        Self { thread: std::thread::current().id(), counts: wait_counts() }
    }
}

/// What the kernel said of a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    done: i64,
    errno: Option<i32>,
}

impl Said {
    /// Right after the call, as it asks for `errno`.
    pub(crate) fn of(done: i64) -> Self {
        Self { done, errno: io::Error::last_os_error().raw_os_error() }
    }

    /// Why the sleep ended, which was for as long as these words were these.
    pub(crate) fn ending(self, words: &[(&AtomicU32, u32)]) -> Ending {
        let woken = usize::try_from(self.done).ok().map(|index| words.get(index));
        match (woken, self.errno) {
            // Relaxed: a remark; whoever slept looks again.
            (Some(Some((word, was))), _) if word.load(Ordering::Relaxed) != *was => Ending::Woken,
            (Some(_), _) => Ending::Spurious,
            (None, Some(libc::ETIMEDOUT)) => Ending::TimedOut,
            (None, Some(libc::EINTR)) => Ending::Interrupted,
            (None, _) => Ending::NotSlept,
        }
    }

    /// The same where the second word is a death epoch.
    pub(crate) fn ending_with_epoch(self, words: &[(&AtomicU32, u32); 2]) -> Ending {
        match self.ending(words) {
            Ending::Woken if self.done == 1 => Ending::Death,
            ending => ending,
        }
    }
}

/// What a dead participant left behind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    blocks: u32,
    freed: u32,
    locks: u32,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// It held a block.
    pub(crate) fn block(&mut self) {
        self.blocks += 1;
    }

    /// Nobody else does.
    pub(crate) fn freed(&mut self) {
        self.freed += 1;
    }

    /// It may have had a lock.
    pub(crate) fn locks(&mut self, is_locked: impl FnOnce() -> bool) {
        self.locks += u32::from(is_locked());
    }
}

/// Keeps this thread from telling anything, and the copy of it in a process that it forks.
#[derive(Debug)]
pub(crate) struct Quiet {
    was_quiet: bool,
}

impl Quiet {
    pub(crate) fn new() -> Self {
        Self { was_quiet: IS_QUIET.replace(true) }
    }

    /// The thread tells again what it told before.
    pub(crate) fn end(self) {}

    /// Nothing is told of this thread, for as long as nobody calls [`end_here`](Self::end_here).
    pub(crate) fn begin_here() {
        IS_QUIET.set(true);
    }

    pub(crate) fn end_here() {
        IS_QUIET.set(false);
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        IS_QUIET.set(self.was_quiet);
    }
}

/// Whether an event of this level, of this thread, is wanted. Asks nobody.
pub(crate) fn wants(level: Level) -> bool {
    level <= STATIC_MAX_LEVEL
        && level <= LevelFilter::current()
        // A thread that has given up its locals is about to end.
        && !IS_QUIET.try_with(Cell::get).unwrap_or(true)
}

/// Notes an event, which is told elsewhere. Waits for nothing, and runs nothing of the user's.
#[cold]
pub(crate) fn note(event: Event) {
    SCRIBE.leave(event);
}

/// Counts a sleep, and tells of it.
pub(crate) fn slept(ending: Ending, began: Instant, words: usize) {
    if ending == Ending::NotSlept {
        return;
    }
    // Relaxed, all: numbers to look at. The park comes first, see `wait_counts`.
    PARKS.fetch_add(1, Ordering::Relaxed);
    if ending == Ending::TimedOut {
        TIMEOUTS.fetch_add(1, Ordering::Relaxed);
    }
    if wants(Level::TRACE) {
        note(Event::Parked { wait: Wait::here(), ending, words, took: began.elapsed() });
    }
}

/// Counts a wake that was sent to the kernel, and tells of it.
pub(crate) fn woke(woken: usize) {
    // Relaxed: a number to look at.
    WAKES.fetch_add(1, Ordering::Relaxed);
    if wants(Level::TRACE) {
        note(Event::Woke { wait: Wait::here(), woken });
    }
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Woken => "woken",
            Self::TimedOut => "time-out",
            Self::Death => "death",
            Self::Interrupted => "interrupted",
            Self::Spurious => "spurious",
            Self::NotSlept => "not slept",
        }
    }
}

/// On the scribe's thread: has the subscriber hear an event, after which so many were lost.
fn tell(event: Event, lost: u64) {
    Quiet::begin_here();
    if lost > 0 {
        tracing::warn!(target: "multiproc::trace", lost, "events lost");
    }
    match event {
        Event::Parked { .. } | Event::Woke { .. } => tell_wait(event),
        Event::Buried { segment, participant, pid, tally, took } => {
            tell_burial(segment, participant, pid, tally, took);
        }
        _ => tell_life(event),
    }
}

/// Of processes.
fn tell_life(event: Event) {
    use tracing::{debug, warn};
    match event {
        Event::Started { pid, name, method, took } => {
            let took_us = us(took);
            debug!(target: "multiproc::process", pid, name, method, took_us, "process started");
        }
        Event::Ended { pid, name, status, lived } => {
            let lived_ms = us(lived) / 1000;
            debug!(target: "multiproc::process", pid, name, status, lived_ms, "process ended");
        }
        Event::ServerStarted { pid, took } => {
            debug!(target: "multiproc::process", pid, took_us = us(took), "fork server started");
        }
        Event::ServerGone { pid } => {
            debug!(target: "multiproc::process", pid, "fork server gone");
        }
        Event::Hired { pool, worker, pid, took } => {
            let took_us = us(took);
            debug!(target: "multiproc::pool", pool, worker, pid, took_us, "worker started");
        }
        Event::Gone { pool, worker, pid, reason } => {
            debug!(target: "multiproc::pool", pool, worker, pid, reason, "worker gone");
        }
        Event::GaveUp { pool, worker, reason } => {
            warn!(target: "multiproc::pool", pool, worker, reason, "pool gave up");
        }
        Event::ManagerStarted { pid, name, took } => {
            let took_us = us(took);
            debug!(target: "multiproc::manager", pid, name, took_us, "server started");
        }
        Event::ManagerEnded { pid, status } => {
            debug!(target: "multiproc::manager", pid, status, "server ended");
        }
        Event::Buried { .. } | Event::Parked { .. } | Event::Woke { .. } => {}
    }
}

/// Of a death that was recovered from.
fn tell_burial(segment: u128, participant: u32, pid: u32, tally: Tally, took: Duration) {
    let segment = format!("{segment:032x}");
    let Tally { blocks, freed, locks } = tally;
    let took_us = us(took);
    macro_rules! buried {
        ($level:ident) => {
            tracing::$level!(
                target: "multiproc::recovery",
                segment, participant, pid, blocks, freed, locks, took_us,
                "participant buried"
            )
        };
    }
    if locks > 0 {
        buried!(warn);
    } else {
        buried!(info);
    }
}

/// Of sleeps and wakes.
fn tell_wait(event: Event) {
    use tracing::trace;
    match event {
        Event::Parked { wait, ending, words, took } => {
            let WaitCounts { parks, wakes, .. } = wait.counts;
            let (thread, took_us, ended) = (wait.thread, us(took), ending.name());
            trace!(
                target: "multiproc::wait",
                ?thread, took_us, ended, words, parks, wakes,
                "parked"
            );
        }
        Event::Woke { wait, woken } => {
            let WaitCounts { parks, wakes, .. } = wait.counts;
            let thread = wait.thread;
            trace!(target: "multiproc::wait", ?thread, woken, parks, wakes, "woke");
        }
        _ => {}
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
