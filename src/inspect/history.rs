//! What several looks tell together: since when something is as it is, and how fast it changes.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::info::{Hold, SegmentInfo, Wait};
use super::state::{ObjectInfo, ObjectState};

/// What was seen before. Each look is noted by [`note`](Self::note).
///
/// **How long** something lasts is counted from the first of the looks that have all found it: it
/// may have begun earlier, and between two looks it may have ended and begun again.
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, History};
///
/// let mut history = History::new();
/// for _ in 0..2 {
///     let segments = inspect::process(std::process::id())?;
///     history.note(&segments);
///     for segment in &segments {
///         for object in &segment.objects {
///             for hold in &object.holds {
///                 let time = history.held_for(segment, object, hold);
///                 println!("{} has {} for {time:?}", hold.pid, hold.what);
///             }
///         }
///     }
/// }
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    holds: HashMap<(Of, Hold), Since>,
    waits: HashMap<(Of, Wait), Since>,
    counts: HashMap<Of, Counts>,
    looks: u64,
}

/// How fast messages come and go.
///
/// # Examples
/// ```
/// use multiproc::inspect::{self, History};
/// # use multiproc::Queue;
///
/// # let mut jobs = Queue::bounded(10)?;
/// let mut history = History::new();
/// history.note(&inspect::process(std::process::id())?);
/// jobs.send(7_u64)?;
/// let segments = inspect::process(std::process::id())?;
/// history.note(&segments);
/// let objects = segments.iter().flat_map(|segment| {
///     segment.objects.iter().map(move |object| (segment, object))
/// });
/// let rates = objects.filter_map(|(segment, object)| history.rates(segment, object));
/// assert!(rates.into_iter().any(|rates| rates.sent > 0.0 && rates.received == 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Messages sent in a second; of a pipe without slots, bytes.
    pub sent: f64,
    /// Received in a second, the same.
    pub received: f64,
}

/// An object, told from those that were in its place before.
type Of = ((u64, u64), u32, u32);

/// The first of the looks that have all found something, and the number of the last one.
#[derive(Clone, Copy, Debug)]
struct Since {
    first: Instant,
    last_look: u64,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    at: Instant,
    sent: u64,
    received: u64,
    rates: Option<Rates>,
    last_look: u64,
}

fn of(segment: &SegmentInfo, object: &ObjectInfo) -> Of {
    (segment.file, object.block, object.generation)
}

/// How many messages came and went.
fn counts_of(object: &ObjectInfo) -> Option<(u64, u64)> {
    match &object.state {
        ObjectState::Queue { stats, .. } => stats.map(|stats| (stats.sent, stats.received)),
        ObjectState::Pipe { sent_and_received, .. } => *sent_and_received,
        _ => None,
    }
}

impl History {
    /// One without looks.
    ///
    /// # Examples
    /// ```
    /// use multiproc::inspect::{self, History};
    ///
    /// let mut history = History::new();
    /// history.note(&inspect::process(std::process::id())?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what a look at these segments has found. What it has not found is forgotten.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::inspect::{self, History};
    /// # let mut history = History::new();
    /// for _ in 0..2 {
    ///     history.note(&inspect::process(std::process::id())?); // every second, say
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    pub fn note(&mut self, segments: &[SegmentInfo]) {
        self.note_at(segments, Instant::now());
    }

    fn note_at(&mut self, segments: &[SegmentInfo], now: Instant) {
        self.looks += 1;
        let look = self.looks;
        for segment in segments {
            for object in &segment.objects {
                let of = of(segment, object);
                for hold in &object.holds {
                    found(&mut self.holds, (of, hold.clone()), now, look);
                }
                for wait in &object.waits {
                    found(&mut self.waits, (of, wait.clone()), now, look);
                }
                if let Some(counts) = counts_of(object) {
                    self.count(of, counts, now, look);
                }
            }
        }
        self.holds.retain(|_, since| since.last_look == look);
        self.waits.retain(|_, since| since.last_look == look);
        self.counts.retain(|_, counts| counts.last_look == look);
    }

    fn count(&mut self, of: Of, (sent, received): (u64, u64), now: Instant, look: u64) {
        let before = self.counts.get(&of);
        let rates = before.map(|before| {
            let seconds = now.duration_since(before.at).as_secs_f64().max(1e-9);
            // Counts that were taken while others acted may go back by a few.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            Rates { sent: rate(sent, before.sent), received: rate(received, before.received) }
        });
        self.counts.insert(of, Counts { at: now, sent, received, rates, last_look: look });
    }

    /// For how long every look has found this hold of an object.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Lock, inspect::{self, History}};
    /// let lock = Lock::new()?;
    /// let _guard = lock.lock()?;
    /// let segments = inspect::process(std::process::id())?;
    /// let mut history = History::new();
    /// history.note(&segments);
    /// # let segment = segments.iter().find(|segment| !segment.objects.is_empty()).unwrap();
    /// # let object = segment.objects.iter().find(|object| !object.holds.is_empty()).unwrap();
    /// assert!(history.held_for(segment, object, &object.holds[0]).is_some());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn held_for(
        &self,
        segment: &SegmentInfo,
        object: &ObjectInfo,
        hold: &Hold,
    ) -> Option<Duration> {
        self.holds.get(&(of(segment, object), hold.clone())).map(|since| since.first.elapsed())
    }

    /// For how long every look has found this wait at an object.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::inspect::{self, History};
    /// # let mut history = History::new();
    /// let segments = inspect::process(std::process::id())?;
    /// history.note(&segments);
    /// for segment in &segments {
    ///     for object in &segment.objects {
    ///         for wait in &object.waits {
    ///             let time = history.waited_for(segment, object, wait);
    ///             println!("{} waits for {} since {time:?}", wait.pid, wait.what);
    ///         }
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn waited_for(
        &self,
        segment: &SegmentInfo,
        object: &ObjectInfo,
        wait: &Wait,
    ) -> Option<Duration> {
        self.waits.get(&(of(segment, object), wait.clone())).map(|since| since.first.elapsed())
    }

    /// How fast messages came and went between the last two looks at a queue or a pipe.
    ///
    /// # Examples
    /// ```
    /// # use multiproc::{Queue, inspect::{self, History}};
    /// # let mut jobs = Queue::bounded(10)?;
    /// # let mut history = History::new();
    /// history.note(&inspect::process(std::process::id())?);
    /// jobs.send(7_u64)?;
    /// let segments = inspect::process(std::process::id())?;
    /// history.note(&segments);
    /// # let segment = segments.iter().find(|segment| !segment.objects.is_empty()).unwrap();
    /// let rates = history.rates(segment, &segment.objects[0]).unwrap();
    /// assert!(rates.sent > 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn rates(&self, segment: &SegmentInfo, object: &ObjectInfo) -> Option<Rates> {
        self.counts.get(&of(segment, object))?.rates
    }
}

fn found<K: Hash + Eq>(all: &mut HashMap<K, Since>, what: K, now: Instant, look: u64) {
    let since = all.entry(what).or_insert(Since { first: now, last_look: look });
    since.last_look = look;
}

#[cfg(test)]
mod tests {
    use super::super::info::Held;
    use super::super::state::{ObjectKind, PipeEnd, PipeUnit};
    use super::*;

    fn segment(sent: u64, holds: Vec<Hold>) -> SegmentInfo {
        let end = PipeEnd { owner: None, pid: 0, is_closed: false, has_died: false };
        let state = ObjectState::Pipe {
            writer: end,
            reader: end,
            unit: PipeUnit::Messages,
            capacity: 10,
            sent_and_received: Some((sent, sent / 2)),
        };
        let object = ObjectInfo {
            block: 3,
            generation: 1,
            kind: ObjectKind::Pipe,
            bytes: 0,
            users: Vec::new(),
            state,
            holds,
            waits: Vec::new(),
        };
        SegmentInfo { objects: vec![object], ..super::super::nothing() }
    }

    #[test]
    fn what_every_look_has_found_lasts_and_what_one_has_not_begins_anew() {
        let hold = Hold { participant: 1, pid: 2, what: Held::All };
        let (mut history, begin) = (History::new(), Instant::now());
        let held = segment(0, vec![hold.clone()]);
        let seen = |history: &History| history.holds.values().map(|since| since.first).next();
        for second in 0..3 {
            history.note_at(std::slice::from_ref(&held), begin + Duration::from_secs(second));
            assert_eq!(seen(&history), Some(begin));
        }
        history.note_at(&[segment(0, Vec::new())], begin);
        assert_eq!(history.held_for(&held, &held.objects[0], &hold), None);
        history.note_at(std::slice::from_ref(&held), begin + Duration::from_secs(9));
        assert_eq!(seen(&history), Some(begin + Duration::from_secs(9)));
    }

    #[test]
    fn rates_are_of_the_last_two_looks() {
        let (mut history, begin) = (History::new(), Instant::now());
        let looks = [(0, 1000), (2, 3000), (4, 3000)].map(|(second, sent)| {
            let segment = segment(sent, Vec::new());
            history.note_at(std::slice::from_ref(&segment), begin + Duration::from_secs(second));
            history.rates(&segment, &segment.objects[0])
        });
        let rates = |sent, received| Some(Rates { sent, received });
        assert_eq!(looks, [None, rates(1000.0, 500.0), rates(0.0, 0.0)]);
    }
}
