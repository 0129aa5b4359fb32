//! A socket, and those who have come to it.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::lock;
use crate::sys::address::{self, Address};
use crate::sys::clock::Deadline;
use crate::sys::epoll::Watch;
use crate::sys::socket::PollFlags;
use crate::sys::{fork, socket, task};
use crate::transfer::Parcel;

use super::guest::{Guest, Step};
use super::key::AuthKey;
use super::terms::{PeerCred, Terms, Users};

/// So many are kept in the middle of the handshake. Where more come, some of whoever has the most
/// there go, once all that they have said was heard.
const GUESTS_MAX: usize = 64;

/// So many are taken in at once, before those who are in are served again.
const NEWCOMERS_MAX: usize = 64;

/// Wakes whoever waits for the fds of a [`Door`]; nobody asks which of them it was.
const SOMEBODY: u64 = 1;

/// Whom a door is opened to.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) key: Option<AuthKey>,
    pub(super) users: Users,
    /// How long a handshake may take.
    pub(super) patience: Duration,
}

/// A place where others connect.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
    rules: Rules,
    socket: OwnedFd,
    /// Whom those who connect see here: the user that began to listen.
    owner: u32,
    address: Address,
    /// Readable when there is something to do.
    watch: Watch,
    guests: Mutex<Guests>,
    is_shut: AtomicBool,
    generation: u32,
}

/// Those who have come.
#[derive(Debug, Default)]
struct Guests {
    /// In the order in which they came.
    inside: VecDeque<Guest>,
    /// Who was not let in, to be told. Nobody is taken in before it is empty, so there are not more
    /// than can be inside.
    refused: VecDeque<Error>,
}

impl Door {
    pub(super) fn open(path: &Path, rules: Rules) -> Result<Self> {
        let what = || format!("listen at {}", path.display());
        let refused = |kind, why: &str| Error::new(kind, format!("{}: {why}", what()));
        let watch = Watch::new().context(what)?;
        let [_, owner, ..] = task::credentials();
        let (socket, address) = match address::listen(path, rules.users.mode()) {
            Ok(open) => open,
            Err(cause) => {
                return Err(match cause.raw_os_error() {
                    Some(libc::EADDRINUSE) => {
                        refused(ErrorKind::InUse, "somebody listens there already")
                    }
                    Some(libc::ENOTSOCK) => {
                        refused(ErrorKind::InUse, "there is something else than a socket")
                    }
                    Some(libc::EDEADLK) => {
                        refused(ErrorKind::Timeout, "somebody keeps its directory locked")
                    }
                    Some(libc::ENAMETOOLONG) => refused(ErrorKind::Limit, "the name is too long"),
                    _ => Err::<(), _>(cause).context(what).unwrap_err(),
                });
            }
        };
        let door = Self {
            path: path.to_owned(),
            rules,
            socket,
            owner,
            address,
            watch,
            guests: Mutex::default(),
            is_shut: AtomicBool::new(false),
            generation: fork::generation(),
        };
        door.watch.add(door.socket.as_fd(), SOMEBODY).context(what)?;
        Ok(door)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until `until` for one who is through with the handshake, or looks who is there if it
    /// is `None`; gives him what `make` makes, and the caller the other part of it.
    ///
    /// # Errors
    /// Kind [`Refused`](ErrorKind::Refused) if one was not let in. The next call goes on with the
    /// others.
    pub(crate) fn accept<R>(
        &self,
        terms: &Terms,
        until: Option<Deadline>,
        mut make: impl FnMut() -> Result<(Parcel, R)>,
    ) -> Result<Option<(R, PeerCred)>> {
        if self.generation != fork::generation() {
            let what = "a listener that was inherited by fork belongs to the parent";
            return Err(Error::new(ErrorKind::Forked, what));
        }
        loop {
            let mut guests = lock(&self.guests);
            // First those who are in: whatever goes wrong with others, they get on.
            let mut accepted = self.serve(&mut guests, terms, &mut make);
            let mut came = Ok(());
            if accepted.is_none() && guests.refused.is_empty() {
                came = self.let_in(&mut guests);
                accepted = self.serve(&mut guests, terms, &mut make);
                if accepted.is_none() {
                    self.make_room(&mut guests);
                }
            }
            if let Some(accepted) = accepted {
                return accepted.map(Some);
            }
            if let Some(refused) = guests.refused.pop_front() {
                return Err(refused);
            }
            came?;
            let next = guests.inside.front().map_or(Deadline::NEVER, |guest| guest.until);
            drop(guests);
            let Some(until) = until.filter(|until| !until.is_past() && !self.is_shut()) else {
                return Ok(None);
            };
            let until = next.left().map_or(until, |left| Deadline::after(until.left_at_most(left)));
            socket::ready(&[(self.watch.as_fd(), PollFlags::POLLIN)], until)
                .context(|| format!("wait at {}", self.path.display()))?;
        }
    }

    /// Ends every wait of [`accept`](Self::accept), now and later.
    pub(crate) fn shut(&self) {
        // Relaxed: the bell, which is never silenced, comes behind it through the kernel.
        self.is_shut.store(true, Ordering::Relaxed);
        let _ = self.watch.ring();
    }

    pub(crate) fn is_shut(&self) -> bool {
        // Relaxed: see `shut`.
        self.is_shut.load(Ordering::Relaxed)
    }

    /// Takes in those who have connected, in their order.
    fn let_in(&self, guests: &mut Guests) -> Result<()> {
        let what = || format!("accept a connection at {}", self.path.display());
        // Bounded, so that those who are in are not kept by those who come.
        for _ in 0..NEWCOMERS_MAX {
            if guests.inside.len() >= GUESTS_MAX + NEWCOMERS_MAX {
                break;
            }
            let Some(socket) = address::accept(self.socket.as_fd()).context(what)? else { break };
            let peer = PeerCred::from(address::peer(socket.as_fd()).context(what)?);
            let guest = Guest::new(socket, peer, Deadline::after(self.rules.patience));
            if self.rules.users.admit(peer.uid) {
                self.watch.add(guest.as_fd(), SOMEBODY).context(what)?;
                guests.inside.push_back(guest);
            } else {
                let why = "the listening side does not allow this user";
                guests.refused.push_back(guest.refuse(why));
            }
        }
        Ok(())
    }

    /// Lets everybody go as far as he can, up to the first who is through.
    fn serve<R>(
        &self,
        guests: &mut Guests,
        terms: &Terms,
        make: &mut impl FnMut() -> Result<(Parcel, R)>,
    ) -> Option<Result<(R, PeerCred)>> {
        let key = self.rules.key.as_ref();
        let mut at = 0;
        while let Some(guest) = guests.inside.get_mut(at) {
            let is_late = guest.until.is_past();
            match guest.advance(terms, key, self.owner) {
                Step::Waits if is_late => {
                    let late = self.take(guests, at).refuse_as_late(self.rules.patience);
                    guests.refused.push_back(late);
                }
                Step::Waits => at += 1,
                Step::Gone => drop(self.take(guests, at)),
                Step::Refused(error) => {
                    drop(self.take(guests, at));
                    guests.refused.push_back(error);
                }
                Step::Through(talk) => {
                    let guest = self.take(guests, at);
                    let (parcel, made) = match make() {
                        Ok(made) => made,
                        Err(error) => {
                            guest.refuse(&format!("the listening side could not: {error}"));
                            return Some(Err(error));
                        }
                    };
                    if guest.welcome(talk.as_ref(), key, &parcel).is_ok() {
                        parcel.commit();
                        return Some(Ok((made, guest.peer())));
                    }
                    // He has gone in the meantime.
                }
            }
        }
        None
    }

    /// Sends away who is too many. All have been served, so they are silent.
    fn make_room(&self, guests: &mut Guests) {
        while guests.inside.len() > GUESTS_MAX {
            let at = most_crowded(guests.inside.iter().map(Guest::peer));
            let silent = self.take(guests, at).refuse("too many others came while it was silent");
            guests.refused.push_back(silent);
        }
    }

    fn take(&self, guests: &mut Guests, at: usize) -> Guest {
        let guest = guests.inside.remove(at).expect("one of them, as the callers have seen");
        self.watch.remove(guest.as_fd());
        guest
    }
}

/// The first of the process that has the most, of the user who has the most: whoever comes in a
/// crowd pushes out itself.
fn most_crowded(peers: impl Iterator<Item = PeerCred> + Clone) -> usize {
    let crowd = |peer: PeerCred| {
        let same_user = peers.clone().filter(|other| other.uid == peer.uid);
        (same_user.clone().count(), same_user.filter(|other| other.pid == peer.pid).count())
    };
    let ranked = peers.clone().enumerate().map(|(at, peer)| (crowd(peer), Reverse(at)));
    ranked.max().map_or(0, |(_, Reverse(at))| at)
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // While the socket is open: then nobody else has the place.
        self.address.remove();
    }
}
