//! The seal on a name of a function that travels in shared memory.
//!
//! Whoever resolves a name jumps to where it says. In a letter on a socket of its own a name is
//! believed, as nobody else can write there. In shared memory a broken participant can write over
//! it, and what it leaves there may be an address of code too, in the middle of something. So there
//! a name goes under a seal, which is made of the name and of a secret that all processes of one
//! family have in private memory: a child is told it in the letter with its job.
//!
//! A manager of another family tells its secret to those who connect to it, in a letter too. They
//! seal with it what they ask of that manager. Where they write down for one another how to find
//! it, which goes through shared memory, the secret is masked with their own family's.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hasher};
use std::io;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::{AtomicU64, Ordering};
use crate::sys::random;
use crate::transfer::mac;

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
    // Relaxed: see `secret`. A child has one thread when it is told.
    SECRET.store(secret, Ordering::Relaxed);
    FAMILY.store(0, Ordering::Relaxed);
}

/// What the family is called, 0 as long as nobody has asked.
static FAMILY: AtomicU64 = AtomicU64::new(0);

/// What this family is called, for everybody to see: it tells nothing of the secret.
pub(crate) fn family() -> Result<u64> {
    // Relaxed, both: whoever computes it comes to the same.
    let known = FAMILY.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    let name = derived(b"the name of the family", &[])? | 1;
    FAMILY.store(name, Ordering::Relaxed);
    Ok(name)
}

/// What another family's secret is masked with (by exclusive or) where everybody can see it, so
/// that this family alone can read it: `of` is whose secret that is.
pub(crate) fn mask(of: u128) -> Result<u64> {
    derived(b"a mask for a secret of somebody else", &of.to_le_bytes())
}

/// Eight bytes that follow from the secret, and from which it does not follow.
fn derived(purpose: &[u8], of: &[u8]) -> Result<u64> {
    let secret = secret().context(no_secret)?;
    let proof = mac::prove(&secret.to_le_bytes(), &[purpose, of]);
    Ok(proof.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

fn no_secret() -> String {
    "make a secret to seal names with".to_owned()
}

thread_local! {
    /// The secret of whoever is to read what this thread writes, 0 if that is our own family.
    static READER: Cell<u64> = const { Cell::new(0) };
}

/// Has names that `act` writes by [`Sealed::for_reader`] be sealed with this secret, if it is not
/// that of our own family.
pub(crate) fn for_reader<T>(secret: Option<u64>, act: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also if `act` panics.
    struct Back(u64);
    impl Drop for Back {
        fn drop(&mut self) {
            READER.set(self.0);
        }
    }
    let _back = Back(READER.replace(secret.unwrap_or(0)));
    act()
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
        let secret = secret().context(no_secret)?;
        Ok(Self { entry, seal: seal(entry, secret) })
    }

    /// As [`new`](Self::new), for whoever reads what this thread writes, see [`for_reader`].
    pub(crate) fn for_reader(entry: Entry) -> Result<Self> {
        match READER.get() {
            0 => Self::new(entry),
            secret => Ok(Self { entry, seal: seal(entry, secret) }),
        }
    }

    /// The name, if nobody has written over it.
    ///
    /// # Errors
    ///
    /// Kind [`Corrupt`](ErrorKind::Corrupt) if somebody has.
    pub(crate) fn open(self) -> Result<Entry> {
        if self.seal == seal(self.entry, secret().context(no_secret)?) {
            return Ok(self.entry);
        }
        Err(Error::new(ErrorKind::Corrupt, "the name of a function was written over"))
    }
}

/// What only those who have the secret can make of a name. Equal in all processes of the program.
fn seal(entry: Entry, secret: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    entry.words().into_iter().for_each(|word| hasher.write_u64(word));
    hasher.finish()
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

    #[test]
    fn a_name_for_another_family_is_sealed_with_its_secret_and_only_there() {
        let entry = Entry::of(double).unwrap();
        let other = secret().unwrap() ^ 2;
        let (foreign, nested) = for_reader(Some(other), || {
            let nested = for_reader(None, || Sealed::for_reader(entry).unwrap());
            (Sealed::for_reader(entry).unwrap(), nested)
        });
        assert_eq!(foreign.seal, seal(entry, other));
        assert_eq!(foreign.open().unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(nested.open().is_ok() && Sealed::for_reader(entry).unwrap().open().is_ok());
    }

    #[test]
    fn what_everybody_may_see_is_not_the_secret() {
        let secret = secret().unwrap();
        assert_eq!(family().unwrap(), family().unwrap());
        assert_ne!(family().unwrap(), secret);
        assert_ne!(mask(1).unwrap(), mask(2).unwrap());
        assert_ne!(mask(1).unwrap(), secret);
    }
}
