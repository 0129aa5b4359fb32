//! A secret that both sides of a handshake know.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::transfer::mac::{self, Proof};

/// A secret that a [`Listener`](crate::Listener) and those who connect to it prove to one another
/// to know.
///
/// It is never sent, and never printed: each side proves that it knows it, by HMAC-SHA256 over
/// random numbers of both. It is wiped from memory when it is dropped.
///
/// Without a key it is the kernel that says who connects: processes of the same user, unless
/// others are allowed. A key is for those, and for telling apart what one user runs. Whoever
/// listens in the place of the right one gets a proof to try keys on, so a key should be long and
/// random, not a word.
///
/// # Examples
/// ```
/// use multiproc::AuthKey;
///
/// let key = AuthKey::new("32 random bytes, from a file that only we can read")?;
/// assert_eq!(format!("{key:?}"), "AuthKey(..)");
/// # Ok::<(), multiproc::Error>(())
/// ```
#[doc(alias = "authkey")]
#[derive(Clone)]
pub struct AuthKey(Zeroizing<Vec<u8>>);

impl AuthKey {
    /// A key of these bytes.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{AuthKey, ErrorKind};
    ///
    /// let key = AuthKey::new(b"at least 16 bytes that nobody guesses")?;
    /// assert!(!format!("{key:?}").contains("nobody"));
    /// assert_eq!(AuthKey::new("").unwrap_err().kind(), ErrorKind::Misuse);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Misuse`](ErrorKind::Misuse) if there are none: that is a file that was not read, and no
    /// secret.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::Misuse, "a key of no bytes"));
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    pub(super) fn prove(&self, parts: &[&[u8]]) -> Proof {
        mac::prove(&self.0, parts)
    }

    pub(super) fn is_proof(&self, proof: &Proof, parts: &[&[u8]]) -> bool {
        mac::is_proof(proof, &self.0, parts)
    }
}

impl fmt::Debug for AuthKey {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}
