//! Sockets with a place in the file system, where programs that were started apart find one
//! another (unix(7)).
//!
//! A socket file says nothing about whether anybody still listens: the kernel leaves it when its
//! process ends. Who wants the place asks whoever is there, and takes it if nobody answers. Two
//! that did so at once could each take away the other's new socket, so they lock the directory.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, Flock, FlockArg, OFlag, fcntl, open, openat};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect as connect_to,
    getsockopt, listen as listen_on, setsockopt, socket, sockopt,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, stat};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::clock::Deadline;
use super::fork;
use super::number::above_standard;

/// Longer paths do not fit into an address; the last byte is a zero.
const PATH_MAX: usize = 107;

/// How a file is opened to be looked at, and nothing else.
const FILE: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// How long a directory may be locked by others, who do with it what is done here.
const LOCKED: Duration = Duration::from_secs(5);

/// A lock cannot be waited for with a deadline, so it is asked for this often.
const LOCK_AGAIN: Duration = Duration::from_millis(1);

/// The place of a listening socket.
#[derive(Debug)]
pub(crate) struct Address {
    directory: OwnedFd,
    name: OsString,
    /// Device and number of the file, which stay its own as long as the socket is open.
    node: (u64, u64),
    /// A forked copy of it takes nothing away.
    generation: u32,
}

/// Who is at the other end of a socket, by the kernel's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Listens at `path`, whose socket has `mode` before anybody can connect to it.
///
/// # Errors
/// `EADDRINUSE` if somebody listens there, `ENOTSOCK` if there is something else than a socket,
/// `EDEADLK` if others keep the directory locked.
pub(crate) fn listen(path: &Path, mode: u32) -> io::Result<(OwnedFd, Address)> {
    let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = above_standard(open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?)?;
    let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
    // The file gets its mode from the socket, less the umask: there is no moment of more.
    let private = Mode::S_IRUSR | Mode::S_IWUSR;
    fchmod(socket.as_fd(), private)?;
    let locked = lock(directory.as_fd())?;
    make_room(directory.as_fd(), &name)?;
    with_address(path, directory.as_fd(), &name, |address| bind(socket.as_raw_fd(), address))?;
    let file = openat(directory.as_fd(), name.as_os_str(), FILE, Mode::empty());
    let (found, file) = match file.and_then(|file| Ok((fstat(&file)?, file))) {
        Ok(opened) => opened,
        Err(cause) => {
            // Nobody has put anything else there, as the directory is locked.
            let _ = unlinkat(directory.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            return Err(cause.into());
        }
    };
    let node = (found.st_dev, found.st_ino);
    let address = Address { directory, name, node, generation: fork::generation() };
    // A umask that takes from the owner, or others who may connect.
    let is_wanted = found.st_mode & 0o777 == mode;
    let opened = if is_wanted { Ok(()) } else { change_mode(&file, mode) };
    if let Err(cause) = opened.and_then(|()| Ok(listen_on(&socket, Backlog::MAXCONN)?)) {
        address.remove();
        return Err(cause);
    }
    drop(locked);
    Ok((socket, address))
}

impl Address {
    /// Takes the file away, if it is still the one of this socket, which must still be open.
    ///
    /// Nobody takes the place of a socket at which somebody listens, so nothing comes in between.
    pub(crate) fn remove(&self) {
        if self.generation != fork::generation() {
            return;
        }
        let file = status(self.directory.as_fd(), &self.name);
        if file.is_ok_and(|file| (file.st_dev, file.st_ino) == self.node) {
            let name = self.name.as_os_str();
            let _ = unlinkat(self.directory.as_fd(), name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// The next one who has connected, if there is one; never blocks, nor does what it gives.
#[allow(unsafe_code)]
pub(crate) fn accept(listening: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match accept4(listening.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
            // SAFETY: the kernel has just made this fd for us.
            Ok(raw) => return above_standard(unsafe { OwnedFd::from_raw_fd(raw) }).map(Some),
            Err(Errno::EAGAIN) => return Ok(None),
            // Whoever it was is gone.
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Connects to whoever listens at `path`, waiting until `deadline` for a place in its line.
///
/// # Errors
/// `ECONNREFUSED` if nobody listens there any more, `ENOTSOCK` if that is no socket.
pub(crate) fn connect(path: &Path, deadline: Deadline) -> io::Result<OwnedFd> {
    let socket = new_socket(SockFlag::empty())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = above_standard(open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?)?;
    let name = path.file_name().ok_or(Errno::ENOTSOCK)?;
    // Bounded by the deadline.
    loop {
        if let Some(left) = deadline.left() {
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT.into());
            }
            let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1);
            setsockopt(&socket, sockopt::SendTimeout, &TimeVal::microseconds(left))?;
        }
        let to = |address: &UnixAddr| connect_to(socket.as_raw_fd(), address);
        match with_address(path, directory.as_fd(), name, to) {
            Ok(()) => break,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::ECONNREFUSED) if !is_socket(path) => return Err(Errno::ENOTSOCK.into()),
            Err(cause) => return Err(cause.into()),
        }
    }
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(socket)
}

/// Who is at the other end: of one who connected as he was then, of one who listens as he was when
/// he began to.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let theirs = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(Peer { pid: theirs.pid() as u32, uid: theirs.uid(), gid: theirs.gid() })
}

fn new_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    above_standard(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

/// Has the directory for this process alone, against all who do the same with it.
fn lock(directory: BorrowedFd<'_>) -> io::Result<Flock<OwnedFd>> {
    let deadline = Deadline::after(LOCKED);
    let mut file = directory.try_clone_to_owned()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((_, Errno::EAGAIN)) if deadline.is_past() => return Err(Errno::EDEADLK.into()),
            Err((back, Errno::EAGAIN | Errno::EINTR)) => file = back,
            Err((_, cause)) => return Err(cause.into()),
        }
        thread::sleep(LOCK_AGAIN);
    }
}

/// Takes away what a dead listener left at the place. The directory is locked.
fn make_room(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match status(directory, name) {
        Err(Errno::ENOENT) => return Ok(()),
        Err(cause) => return Err(cause.into()),
        Ok(file) if !is_of_kind(&file, SFlag::S_IFSOCK) => return Err(Errno::ENOTSOCK.into()),
        Ok(_) => {}
    }
    let probe = new_socket(SockFlag::SOCK_NONBLOCK)?;
    // By way of the directory, as what follows: whatever the path leads to by now.
    match by_directory(directory, name, |to| connect_to(probe.as_raw_fd(), to)) {
        Err(Errno::ECONNREFUSED) => {}
        Err(Errno::ENOENT) => return Ok(()),
        // It answers, or has no time, or is of another kind, or of somebody who lets nobody in.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE | Errno::EACCES) => {
            return Err(Errno::EADDRINUSE.into());
        }
        Err(cause) => return Err(cause.into()),
    }
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        done => Ok(done?),
    }
}

/// Says the place as an address: as it was given where that is short enough, so that others can
/// read it in lists of sockets, or else by way of the directory.
fn with_address<T>(
    path: &Path,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    act: impl FnOnce(&UnixAddr) -> nix::Result<T>,
) -> nix::Result<T> {
    if path.as_os_str().as_bytes().len() <= PATH_MAX {
        return act(&UnixAddr::new(path)?);
    }
    by_directory(directory, name, act)
}

fn by_directory<T>(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    act: impl FnOnce(&UnixAddr) -> nix::Result<T>,
) -> nix::Result<T> {
    let mut short = OsString::from(format!("/proc/self/fd/{}/", directory.as_raw_fd()));
    short.push(name);
    act(&UnixAddr::new(Path::new(&short))?)
}

/// Changes the mode of this file, whatever stands under its name by now.
fn change_mode(file: &OwnedFd, mode: u32) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

fn status(directory: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn is_of_kind(file: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == kind
}

/// Whether a path leads to a socket, by whatever links.
fn is_socket(path: &Path) -> bool {
    stat(path).is_ok_and(|file| is_of_kind(&file, SFlag::S_IFSOCK))
}
