//! The words that parent, fork server and child say to one another.
//!
//! All of them are letters or packets on sockets that only these three have. They are postcard;
//! the bytes of arguments and results follow behind the words, so that they are never copied into
//! them. Whatever cannot be read is an error, never a panic.

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::error::Error;

/// Names the fd of the control socket to a new process of this program.
pub(crate) const VARIABLE: &str = "MULTIPROC_CONTROL";

/// Follows the fd in [`VARIABLE`] if the child is to wait for `init()`.
pub(crate) const IN_MAIN: &str = "main";

/// The first word of every first message: "mp" and the version of this protocol.
pub(crate) const MAGIC: u32 = 0x6d70_0001;

/// What a process that was started by exec is told first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) magic: u32,
    pub(crate) fingerprint: u64,
    pub(crate) parent: u32,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Make children until the socket closes.
    Server,
    /// Be the child.
    Child,
}

/// The server's answer to [`Birth`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) magic: u32,
    pub(crate) pid: u32,
    /// Whether it has one thread, and may be copied.
    pub(crate) is_alone: bool,
}

/// What the parent tells a child: everything but the arguments, which are behind it.
///
/// Its fds come in the order of the fields that mention them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job<'a> {
    pub(crate) entry: Entry,
    /// What the family seals names with, see [`seal`](super::seal).
    pub(crate) secret: u64,
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    /// Python's identity: the numbers of the process and its ancestors, `1:2`.
    #[serde(borrow)]
    pub(crate) identity: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) parent_name: Cow<'a, str>,
    pub(crate) parent: u32,
    pub(crate) is_daemon: bool,
    /// For each of 0, 1 and 2: whether an fd for it is with the letter.
    pub(crate) stdio: [bool; 3],
    /// Whether an fd of the working directory is with the letter.
    pub(crate) has_directory: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) signal_mask: u64,
    /// Empty if it is as at birth.
    pub(crate) affinity: Vec<u64>,
    #[serde(borrow)]
    pub(crate) environment: Environment<'a>,
}

type Bytes<'a> = Cow<'a, [u8]>;

/// How a child's environment differs from the one that it was born with.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment<'a> {
    #[serde(borrow)]
    pub(crate) remove: Vec<Bytes<'a>>,
    #[serde(borrow)]
    pub(crate) set: Vec<(Bytes<'a>, Bytes<'a>)>,
}

/// What a child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report<'a> {
    /// The function is about to run.
    Ready,
    /// It returned; the result is behind this word.
    Returned,
    /// It panicked.
    Panicked {
        #[serde(borrow)]
        message: Cow<'a, str>,
        location: Option<String>,
        backtrace: Option<String>,
    },
    /// The arguments or the result could not be carried, or the surroundings not be made.
    Failed(Error),
}

/// Puts a message into bytes.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(io::Error::other)
}

/// Reads a message, and what is behind it.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes)
        .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

/// A request to the fork server: this one word, and the child's end of its socket.
pub(crate) const MAKE_CHILD: [u8; 4] = MAGIC.to_le_bytes();

/// The server's reply: an errno, or 0, a pid and a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) errno: i32,
    pub(crate) pid: u32,
}

impl Made {
    pub(crate) const SIZE: usize = 8;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.errno.to_le_bytes());
        bytes[4..].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [e0, e1, e2, e3, p0, p1, p2, p3] = bytes;
        Self {
            errno: i32::from_le_bytes([e0, e1, e2, e3]),
            pid: u32::from_le_bytes([p0, p1, p2, p3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_words_are_errors() {
        assert!(decode::<Job<'_>>(&[]).is_err());
        assert!(decode::<Job<'_>>(&[255; 40]).is_err());
        assert!(decode::<Report<'_>>(&[9]).is_err());
        assert!(decode::<Report<'_>>(&[2, 255, 255, 255, 255, 15]).is_err());
    }

    #[test]
    fn what_is_behind_a_word_is_left_alone() {
        let mut bytes = encode(&Report::Returned).unwrap();
        bytes.extend([1, 2, 3]);
        let (report, rest) = decode::<Report<'_>>(&bytes).unwrap();
        assert!(matches!(report, Report::Returned));
        assert_eq!(rest, [1, 2, 3]);
    }

    #[test]
    fn a_reply_comes_back() {
        let made = Made { errno: 11, pid: 77 };
        assert_eq!(Made::from_bytes(made.to_bytes()), made);
    }
}
