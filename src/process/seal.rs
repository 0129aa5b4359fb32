//! The seal on a name of a function that travels in shared memory.
//!
//! Whoever resolves a name jumps to where it says. In a letter on a socket of its own a name is
//! believed, as nobody else can write there. In shared memory a broken participant can write over
//! it, and what it leaves there may be an address of code too, in the middle of something. So there
//! a name goes under a seal, which is made of the name and of a secret that all processes of one
//! family have in private memory: a child is told it in the letter with its job.
//!
//! A seal is good in one [`Role`] only. The names lie side by side in shared memory, and what is
//! beside a function in its name is called in different ways, or not at all: copied over a name of
//! another role, a good one would be as bad as one that was made up.
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

/// What a function is named for, which says how what stands beside it in the name is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Role {
    /// A worker of a pool is to do it.
    Task = 1,
    /// A manager's server is to do it.
    Call,
    /// It is an argument of a call in such a server.
    Argument,
}

/// The name of a function, and the proof that a process of this family wrote it for one role.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sealed {
    entry: Entry,
    seal: u64,
}

impl Sealed {
    /// Seals a name that this process has made, or believes.
    pub(crate) fn new(entry: Entry, role: Role) -> Result<Self> {
        let secret = secret().context(no_secret)?;
        Ok(Self { entry, seal: seal(entry, role, secret) })
    }

    /// As [`new`](Self::new), for whoever reads what this thread writes, see [`for_reader`].
    pub(crate) fn for_reader(entry: Entry, role: Role) -> Result<Self> {
        match READER.get() {
            0 => Self::new(entry, role),
            secret => Ok(Self { entry, seal: seal(entry, role, secret) }),
        }
    }

    /// The name, if it was sealed for this role and nobody has written over it.
    ///
    /// # Errors
    ///
    /// Kind [`Corrupt`](ErrorKind::Corrupt) if somebody has.
    pub(crate) fn open(self, role: Role) -> Result<Entry> {
        if self.seal == seal(self.entry, role, secret().context(no_secret)?) {
            return Ok(self.entry);
        }
        Err(Error::new(ErrorKind::Corrupt, "the name of a function was written over"))
    }
}

/// What only those who have the secret can make of a name. Equal in all processes of the program.
fn seal(entry: Entry, role: Role, secret: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    hasher.write_u64(role as u64);
    entry.words().into_iter().for_each(|word| hasher.write_u64(word));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::codec::Serde;

    const ROLES: [Role; 3] = [Role::Task, Role::Call, Role::Argument];

    fn double(n: u32) -> u32 {
        2 * n
    }

    #[test]
    fn a_sealed_name_comes_back() {
        let entry = Entry::of(double).unwrap();
        for role in ROLES {
            let sealed = Sealed::new(entry, role).unwrap();
            assert_eq!(sealed.open(role).unwrap().words(), entry.words());
        }
    }

    /// The mark of a function that a call had as its argument could be copied over the name of the
    /// call, and was called as if it were a thunk.
    #[test]
    fn a_name_that_was_sealed_in_one_role_opens_in_no_other() {
        let entry = Entry::of(double).unwrap();
        for role in ROLES {
            let foreign = for_reader(Some(secret().unwrap()), || Sealed::for_reader(entry, role));
            for sealed in [Sealed::new(entry, role), Sealed::for_reader(entry, role), foreign] {
                let sealed = sealed.unwrap();
                for other in ROLES {
                    let opened = sealed.open(other).map_err(|error| error.kind());
                    let expected = if other == role { Ok(()) } else { Err(ErrorKind::Corrupt) };
                    assert_eq!(opened.map(|_| ()), expected, "{role:?} as {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_name_that_was_written_over_is_corrupt() {
        let name = Sealed::new(Entry::of(double).unwrap(), Role::Task).unwrap();
        let mut bytes = Vec::new();
        Serde::serialize(&name, &mut bytes).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Some changes make numbers that are too long to be any.
            if let Ok(sealed) = Serde::deserialize::<Sealed>(&bytes) {
                assert_eq!(sealed.open(Role::Task).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn a_name_for_another_family_is_sealed_with_its_secret_and_only_there() {
        let entry = Entry::of(double).unwrap();
        let role = Role::Argument;
        let other = secret().unwrap() ^ 2;
        let (foreign, nested) = for_reader(Some(other), || {
            let nested = for_reader(None, || Sealed::for_reader(entry, role).unwrap());
            (Sealed::for_reader(entry, role).unwrap(), nested)
        });
        let own = Sealed::for_reader(entry, role).unwrap();
        assert_eq!(foreign.seal, seal(entry, role, other));
        assert_eq!(foreign.open(role).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(nested.open(role).is_ok() && own.open(role).is_ok());
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
