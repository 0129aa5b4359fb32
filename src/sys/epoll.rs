//! A set of fds that one thread waits for, and a bell that others ring to call it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::chime::Chime;
use super::number::above_standard;

/// The key that [`Watch::wait`] reports when the bell was rung.
pub(crate) const BELL: u64 = 0;

/// How many events one wait takes; the rest come with the next.
const EVENTS: usize = 64;

/// The set and the bell.
#[derive(Debug)]
pub(crate) struct Watch {
    set: Epoll,
    bell: Chime,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let set = Epoll(above_standard(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0)?);
        let bell = Chime::new()?;
        set.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self { set, bell })
    }

    /// Reports `key` from now on whenever `fd` is readable.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        Ok(self.set.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))?)
    }

    /// Reports `fd` no more; it is no error if it was not in the set.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = self.set.delete(fd);
    }

    /// Makes the waiting thread report [`BELL`].
    pub(crate) fn ring(&self) -> io::Result<()> {
        self.bell.ring()
    }

    /// Closes the fds of a set that came over a fork, whose memory can be neither used nor freed.
    ///
    /// Its owner must forget it: nothing may use or drop it afterwards.
    pub(crate) fn abandon(&self) {
        for fd in [self.set.0.as_raw_fd(), self.bell.as_fd().as_raw_fd()] {
            let _ = nix::unistd::close(fd);
        }
    }

    /// Waits, and reports the keys of the fds that are readable.
    pub(crate) fn wait(&self, mut report: impl FnMut(u64)) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let found = match self.set.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            found => found?,
        };
        for event in &events[..found] {
            if event.data() == BELL {
                self.bell.silence();
            }
            report(event.data());
        }
        Ok(())
    }
}

/// Readable when one of the fds is, or the bell was rung and nobody has heard it.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.0.as_fd()
    }
}
