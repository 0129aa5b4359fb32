//! Elements of an array as a worker has them to do: it claims some, and then some more, until none
//! are left.

use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::error::Result;
use crate::process::Panic;
use crate::process::remote::caught;
use crate::shim::{AtomicU64, Ordering};
use crate::sync::Data;
use crate::value::Value;

/// So many bytes of arguments, or of results, are claimed at once at the most: the copies of both
/// stay in the cache of a core, and what it costs to claim them is nothing beside them.
const GRAIN_BYTES: usize = 64 << 10;

/// A claim leaves so much of the rest for each other worker and itself: grains become smaller
/// towards the end, so that all workers end at about the same time, however long an element takes.
const REST_SHARE: u64 = 4;

/// The arguments and results of a map, and what all its workers know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Field<A, R> {
    pub(super) inputs: Array<A>,
    /// Nobody but the workers has a handle of it before all of it is written.
    pub(super) results: Array<R>,
    /// The first element that nobody has claimed.
    next: Value<AtomicU64>,
    /// So many elements are there to be done, the first ones of both arrays.
    length: u64,
    workers: u64,
}

impl<A, R> Field<A, R> {
    /// How many elements there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Has nobody claim any more elements.
    pub(super) fn exhaust(&self) {
        // Relaxed: who comes too early for this does what nobody wants.
        self.next.store(u64::MAX, Ordering::Relaxed);
    }

    /// Claims elements for one worker: the first, and how many. Every element is claimed once.
    fn claim(&self) -> Option<(usize, usize)> {
        let most = (GRAIN_BYTES / size_of::<A>().max(size_of::<R>())).max(1) as u64;
        let mut count = 0;
        let beyond = |next: u64| {
            let rest = self.length.checked_sub(next).filter(|rest| *rest > 0)?;
            count = (rest / (self.workers.max(1) * REST_SHARE)).clamp(1, most);
            Some(next + count)
        };
        // Relaxed, both: the inputs were there before the order was sent, and the results are read
        // after the replies.
        let claimed = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, beyond);
        // Both are at most the length of an array; if they are not, the array says so.
        claimed.ok().map(|first| (first as usize, count as usize))
    }
}

impl<A, R> Field<A, R>
where
    A: Data,
    R: Data,
{
    /// The first `length` elements of these arrays, which are to be done by so many workers.
    pub(super) fn new(
        inputs: Array<A>,
        results: Array<R>,
        length: usize,
        workers: usize,
    ) -> Result<Self> {
        let next = Value::atomic(0_u64)?;
        Ok(Self { inputs, results, next, length: length as u64, workers: workers as u64 })
    }

    /// Claims and does elements until none are left. How many they were.
    ///
    /// The user's function sees copies, and has no lock.
    pub(super) fn work(&self, function: fn(A) -> R) -> Result<Result<u64>, Panic> {
        let (mut arguments, mut results) = (Vec::new(), Vec::new());
        let mut done = 0;
        while let Some((first, count)) = self.claim() {
            // As long as the longest.
            arguments.resize(count.max(arguments.len()), A::zeroed());
            results.clear();
            let arguments = &mut arguments[..count];
            if let Err(error) = self.inputs.copy_to(first, arguments) {
                self.exhaust();
                return Ok(Err(error.into()));
            }
            let each = arguments.iter().map(|argument| function(*argument));
            if let Err(panic) = caught(|| results.extend(each)) {
                self.exhaust();
                return Err(panic);
            }
            if let Err(error) = self.results.copy_from(first, &results) {
                self.exhaust();
                return Ok(Err(error.into()));
            }
            done += count as u64;
        }
        Ok(Ok(done))
    }
}
