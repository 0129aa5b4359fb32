//! A socket, and those who have come to it.

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
use crate::sys::{fork, socket};
use crate::transfer::Parcel;

use super::guest::{Guest, Step};
use super::key::AuthKey;
use super::terms::{PeerCred, Terms, Users};

/// So many are in the middle of the handshake at the same time; one more, and the oldest goes. An
/// honest one is through before so many others have come.
const GUESTS_MAX: usize = 64;

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
    address: Address,
    /// Readable when there is something to do.
    watch: Watch,
    guests: Mutex<VecDeque<Guest>>,
    is_shut: AtomicBool,
    generation: u32,
}

impl Door {
    pub(super) fn open(path: &Path, rules: Rules) -> Result<Self> {
        let what = || format!("listen at {}", path.display());
        let refused = |kind, why: &str| Error::new(kind, format!("{}: {why}", what()));
        let watch = Watch::new().context(what)?;
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
            self.let_in(&mut guests)?;
            if let Some(accepted) = self.serve(&mut guests, terms, &mut make) {
                return accepted.map(Some);
            }
            let next = guests.front().map_or(Deadline::NEVER, |guest| guest.until);
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
    fn let_in(&self, guests: &mut VecDeque<Guest>) -> Result<()> {
        let what = || format!("accept a connection at {}", self.path.display());
        // Bounded, so that those who are in are not kept by those who come.
        for _ in 0..GUESTS_MAX {
            let Some(socket) = address::accept(self.socket.as_fd()).context(what)? else { break };
            let peer = PeerCred::from(address::peer(socket.as_fd()).context(what)?);
            let guest = Guest::new(socket, peer, Deadline::after(self.rules.patience));
            if !self.rules.users.admit(peer.uid) {
                return refused(guest.refuse("the listening side does not allow this user"));
            }
            self.watch.add(guest.as_fd(), SOMEBODY).context(what)?;
            guests.push_back(guest);
            if guests.len() > GUESTS_MAX {
                let oldest = self.take(guests, 0);
                return refused(oldest.refuse("too many others came while it was silent"));
            }
        }
        Ok(())
    }

    /// Lets everybody go as far as he can; stops at the first who is through, or not let in.
    fn serve<R>(
        &self,
        guests: &mut VecDeque<Guest>,
        terms: &Terms,
        make: &mut impl FnMut() -> Result<(Parcel, R)>,
    ) -> Option<Result<(R, PeerCred)>> {
        let key = self.rules.key.as_ref();
        let mut at = 0;
        while let Some(guest) = guests.get_mut(at) {
            let is_late = guest.until.is_past();
            match guest.advance(terms, key) {
                Step::Waits if is_late => {
                    let step = self.take(guests, at).refuse_as_late(self.rules.patience);
                    return refused(step).err().map(Err);
                }
                Step::Waits => at += 1,
                Step::Gone => drop(self.take(guests, at)),
                Step::Refused(error) => {
                    drop(self.take(guests, at));
                    return Some(Err(error));
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

    fn take(&self, guests: &mut VecDeque<Guest>, at: usize) -> Guest {
        let guest = guests.remove(at).expect("one of them, as the callers have seen");
        self.watch.remove(guest.as_fd());
        guest
    }
}

fn refused(step: Step) -> Result<()> {
    match step {
        Step::Refused(error) => Err(error),
        _ => Ok(()),
    }
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
