//! One function for all elements of a slice: pieces of it go through shared memory, which is used
//! again for the next ones.

use std::sync::{Arc, mpsc};

use crate::array::Array;
use crate::error::{Error, ErrorKind};
use crate::process::entry::Entry;
use crate::sync::Data;

use super::error::TaskError;
use super::share::Map;
use super::task::Task;
use super::{Pool, entry};

/// So many bytes a piece has for each worker, of arguments or of results: enough for the orders to
/// cost nothing, and few enough that all of them stay in the caches that the CPUs share.
const PIECE_BYTES: usize = 1 << 20;

/// So many pieces are on their way: while workers do one, another one waits for them, and the
/// caller copies a third.
const PIECES: usize = 3;

impl Pool {
    /// As [`map_array`](Self::map_array), for a slice.
    ///
    /// The elements are copied into shared memory, and the results out of it, a piece at a time, so
    /// little memory is needed beside the slice and the results.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Pool;
    ///
    /// fn hash(n: u64) -> u64 {
    ///     n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// let numbers: Vec<u64> = (0..100_000).collect();
    /// let hashes = pool.map_slice(hash, &numbers)?;
    /// assert_eq!(hashes[99_999], hash(99_999));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`map_array`](Self::map_array); [`Error`](TaskError::Error) of kind
    /// [`Memory`](ErrorKind::Memory) if there is not enough of it for the results.
    pub fn map_slice<A, R>(&self, f: fn(A) -> R, inputs: &[A]) -> Result<Vec<R>, TaskError>
    where
        A: Data + Send + Sync,
        R: Data + Send + Sync,
    {
        self.shared.identity.may_wait()?;
        // The memory of large ones comes from the kernel when it is written, and is not zeroed
        // twice.
        let results = bytemuck::allocation::try_zeroed_vec(inputs.len());
        let mut results: Vec<R> = results.map_err(|()| no_memory(inputs.len(), size_of::<R>()))?;
        let room = PIECE_BYTES * self.workers() / size_of::<A>().max(size_of::<R>()).max(1);
        let mut pieces = Pieces {
            pool: self,
            entry: entry::share(f)?,
            inputs,
            next: 0,
            room: room.max(1),
            running: Default::default(),
            ended: mpsc::channel(),
        };
        pieces.run(&mut results)?;
        Ok(results)
    }
}

/// The map of a slice, in the thread that waits for it.
struct Pieces<'a, A, R> {
    pool: &'a Pool,
    entry: Entry,
    inputs: &'a [A],
    /// The first element that is in no piece yet.
    next: usize,
    /// How many elements a piece has, except the last.
    room: usize,
    running: [Option<Piece<A, R>>; PIECES],
    /// Which pieces are over.
    ended: (mpsc::Sender<usize>, mpsc::Receiver<usize>),
}

/// A piece that the workers have.
struct Piece<A, R> {
    map: Arc<Map<A, R>>,
    task: Task<Array<R>>,
    inputs: Array<A>,
    first: usize,
    length: usize,
}

impl<A, R> Pieces<'_, A, R>
where
    A: Data + Send + Sync,
    R: Data + Send + Sync,
{
    /// Does all pieces.
    fn run(&mut self, results: &mut [R]) -> Result<(), TaskError> {
        for number in 0..PIECES {
            let length = self.length();
            if length > 0 {
                self.begin(number, Array::zeros(length)?, Array::zeros(length)?)?;
            }
        }
        while self.running.iter().any(Option::is_some) {
            // There is a sender here, so it waits.
            let Ok(number) = self.ended.1.recv() else { break };
            let Some(piece) = self.running[number].take() else { continue };
            let done = piece.task.get()?;
            let places = &mut results[piece.first..piece.first + piece.length];
            done.copy_to(0, places).map_err(Error::from)?;
            if self.length() > 0 {
                self.begin(number, piece.inputs, done)?;
            }
        }
        Ok(())
    }

    /// How many elements the next piece has.
    fn length(&self) -> usize {
        self.room.min(self.inputs.len() - self.next)
    }

    /// Gives the next piece to the workers, in arrays that are long enough.
    fn begin(
        &mut self,
        number: usize,
        inputs: Array<A>,
        results: Array<R>,
    ) -> Result<(), TaskError> {
        let (first, length) = (self.next, self.length());
        self.next += length;
        inputs.copy_from(0, &self.inputs[first..self.next]).map_err(Error::from)?;
        let (map, task) = self.pool.share_out(self.entry, inputs.clone(), results, length)?;
        let ended = self.ended.0.clone();
        task.on_done(move |_| _ = ended.send(number));
        self.running[number] = Some(Piece { map, task, inputs, first, length });
        Ok(())
    }
}

/// Nobody waits for what is left after an error.
impl<A, R> Drop for Pieces<'_, A, R> {
    fn drop(&mut self) {
        self.running.iter().flatten().for_each(|piece| piece.map.stop());
    }
}

#[cold]
fn no_memory(count: usize, size: usize) -> Error {
    let what = format!("{count} results of {size} bytes");
    Error::new(ErrorKind::Memory, what)
}
