//! The seal on a name of a function that travels in shared memory.
//!
//! Whoever resolves a name jumps to where it says. In a letter on a socket of its own a name is
//! believed, as nobody else can write there. In shared memory a broken participant can write over
//! it, and what it leaves there may be an address of code too, in the middle of something. So there
//! a name goes under a seal, which is made of the name and of a secret that all processes of one
//! family have in private memory: a child is told it in the letter with its job.

use std::hash::{DefaultHasher, Hasher};
use std::io;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::{AtomicU64, Ordering};
use crate::sys::random;

/// The secret of the family, 0 as long as there is none. One word, so that a fork between two
/// instructions leaves nothing half done.
static SECRET: AtomicU64 = AtomicU64::new(0);

/// The secret of the family, made by the first who asks.
pub(crate) fn secret() -> io::Result<u64> {
    // Relaxed, all: the word says everything that there is to know.
    let known = SECRET.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    // Never 0.
    let new = random::uuid()? as u64 | 1;
    match SECRET.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(new),
        Err(theirs) => Ok(theirs),
    }
}

/// Takes over the secret that the parent has told.
pub(crate) fn inherit(secret: u64) {
    // Relaxed: see `secret`.
    SECRET.store(secret, Ordering::Relaxed);
}

/// The name of a function, and the proof that a process of this family wrote it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sealed {
    entry: Entry,
    seal: u64,
}

impl Sealed {
    /// Seals a name that this process has made, or believes.
    pub(crate) fn new(entry: Entry) -> Result<Self> {
        Ok(Self { entry, seal: seal(entry)? })
    }

    /// The name, if nobody has written over it.
    ///
    /// # Errors
    ///
    /// Kind [`Corrupt`](ErrorKind::Corrupt) if somebody has.
    pub(crate) fn open(self) -> Result<Entry> {
        if self.seal == seal(self.entry)? {
            return Ok(self.entry);
        }
        Err(Error::new(ErrorKind::Corrupt, "the name of a function was written over"))
    }
}

/// What only those who have the secret can make of a name. Equal in all processes of the program.
fn seal(entry: Entry) -> Result<u64> {
    let secret = secret().context(|| "make a secret to seal names with".to_owned())?;
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    entry.words().into_iter().for_each(|word| hasher.write_u64(word));
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::codec::Serde;

    fn double(n: u32) -> u32 {
        2 * n
    }

    #[test]
    fn a_sealed_name_comes_back() {
        let entry = Entry::of(double).unwrap();
        assert_eq!(Sealed::new(entry).unwrap().open().unwrap().words(), entry.words());
    }

    #[test]
    fn a_name_that_was_written_over_is_corrupt() {
        let mut bytes = Vec::new();
        Serde::serialize(&Sealed::new(Entry::of(double).unwrap()).unwrap(), &mut bytes).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Some changes make numbers that are too long to be any.
            if let Ok(sealed) = Serde::deserialize::<Sealed>(&bytes) {
                assert_eq!(sealed.open().unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }
}
