//! What both sides must agree on, and whom they have to do with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sys::{address, task};
use crate::transfer::codec::Codec;
use crate::transfer::identity::fingerprint;

/// More of the words for a message is not sent; what differs is mostly seen before.
const WORDS_MAX: usize = 2000;

/// What goes to and fro over a connection, as one side sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    sends: Subject,
    receives: Subject,
}

/// What the messages of one direction are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    /// What [`Codec::identity`] says, or the beginning of it.
    words: String,
    /// What the ends of a pipe compare. Words alone can lie: a codec writes its own.
    fingerprint: u64,
}

impl Terms {
    /// Those of a connection.
    pub(super) fn of<Out, In, C: Codec<Out> + Codec<In>>() -> Self {
        Self { sends: Subject::of::<Out, C>(), receives: Subject::of::<In, C>() }
    }

    /// Those of two sides that have the same to do with one another.
    pub(crate) fn common(words: String) -> Self {
        let subject = Subject { words: cut(words), fingerprint: 0 };
        Self { sends: subject.clone(), receives: subject }
    }

    /// Whether what one side sends is what the other receives, and the other way round. If not, why
    /// not, in words for both sides; these are the ones of the listening side.
    pub(super) fn agree(&self, connecting: &Self) -> Result<(), String> {
        if self.sends == connecting.receives && self.receives == connecting.sends {
            return Ok(());
        }
        let is_by_name = self.sends.words == connecting.receives.words
            && self.receives.words == connecting.sends.words;
        let hint = if is_by_name { "; the names or sizes of these types differ" } else { "" };
        Err(format!("the listening side {self}, the connecting side {connecting}{hint}"))
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sends, receives] = [&self.sends, &self.receives].map(|one| shown(&one.words));
        if sends == receives {
            return write!(f, "sends and receives `{sends}`");
        }
        write!(f, "sends `{sends}` and receives `{receives}`")
    }
}

impl Subject {
    fn of<T, C: Codec<T>>() -> Self {
        Self { words: cut(C::identity()), fingerprint: fingerprint::<T, C>() }
    }
}

fn cut(mut words: String) -> String {
    if words.len() > WORDS_MAX {
        words.truncate(words.floor_char_boundary(WORDS_MAX));
        words.push_str(" ...");
    }
    words
}

/// Words of somebody else, without what a terminal would take for an order.
pub(super) fn shown(words: &str) -> String {
    words.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Who is at the other end of a connection, by the kernel's account: its process, and as whom it
/// connected.
///
/// The number of a process is free for others when it has ended; use it to tell people, not to
/// decide. Numbers are those of the caller's namespaces: a process or user that these do not know
/// is 0, or the overflow user.
///
/// # Examples
/// ```
/// # use multiproc::{Connector, Listener, connect};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("door");
/// let listener = Listener::bind(&path)?;
/// let client = std::thread::spawn(move || connect::<u8, u8>(path));
/// let (_connection, peer) = listener.accept::<u8, u8>()?;
/// assert_eq!(peer.pid, std::process::id());
/// println!("process {} of user {} has come", peer.pid, peer.uid);
/// # client.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCred {
    /// The process that connected.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl From<address::Peer> for PeerCred {
    fn from(address::Peer { pid, uid, gid }: address::Peer) -> Self {
        Self { pid, uid, gid }
    }
}

impl fmt::Display for PeerCred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of user {}", self.pid, self.uid)
    }
}

/// Which users one has to do with, oneself aside.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    others: Vec<u32>,
    are_all: bool,
}

impl Users {
    pub(super) fn allow(&mut self, uid: u32) {
        self.others.push(uid);
    }

    pub(super) fn allow_all(&mut self) {
        self.are_all = true;
    }

    pub(super) fn admit(&self, uid: u32) -> bool {
        let [_, own, ..] = task::credentials();
        self.are_all || uid == own || self.others.contains(&uid)
    }

    /// The mode of a socket that all of them can connect to.
    pub(super) fn mode(&self) -> u32 {
        if self.are_all || !self.others.is_empty() { 0o666 } else { 0o600 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::codec::{Plain, Serde};

    #[test]
    fn terms_agree_in_the_mirror_only() {
        let here = Terms::of::<u64, String, Serde>();
        assert_eq!(here.agree(&Terms::of::<String, u64, Serde>()), Ok(()));
        let other = here.agree(&Terms::of::<u64, String, Serde>()).unwrap_err();
        assert_eq!(other.matches("`Serde u64`").count(), 2, "{other}");
        assert!(Terms::of::<u64, u64, Plain>().agree(&Terms::of::<u64, u64, Serde>()).is_err());
    }

    #[test]
    fn words_of_others_give_no_orders_to_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn long_words_are_cut_between_letters() {
        let words = cut("é".repeat(WORDS_MAX));
        assert!(words.len() <= WORDS_MAX + 4 && words.ends_with("é ..."), "{}", words.len());
    }

    #[test]
    fn only_one_s_own_user_is_admitted_unless_others_are_allowed() {
        let [_, own, ..] = task::credentials();
        let mut users = Users::default();
        assert!(users.admit(own) && !users.admit(own + 1));
        assert_eq!(users.mode(), 0o600);
        users.allow(own + 1);
        assert!(users.admit(own + 1) && !users.admit(own + 2));
        users.allow_all();
        assert!(users.admit(own + 2));
    }
}
