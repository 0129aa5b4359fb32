//! Memory with a name: files in the folder that shm_open(3) uses, whole before anybody can open
//! them.
//!
//! A file is made without a name (`O_TMPFILE`, open(2)), filled, and linked under its name last. So
//! nobody ever sees a half of it, and of one whose maker dies before that nothing is left.
//!
//! Such a file cannot be sealed. Whoever may write to it may cut it, and whoever has it mapped then
//! gets SIGBUS; so only files of this user are opened that nobody else may open.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open as open_file};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat, stat};
use nix::sys::uio::pread;
use nix::unistd::{Uid, Whence, ftruncate, linkat, lseek, unlink};

use super::number::above_standard;

/// Where the names are.
pub(crate) const FOLDER: &str = "/dev/shm";

/// For this user alone.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) size: u64,
    /// How many bytes of memory it has.
    pub(crate) memory: u64,
    /// Which file it is: its device, and its number there.
    pub(crate) file: (u64, u64),
}

/// Makes `size` bytes of memory without a name and without pages.
pub(crate) fn create(size: u64) -> io::Result<OwnedFd> {
    let length = i64::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let memory = open_file(FOLDER, OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC, PRIVATE)?;
    let memory = above_standard(memory)?;
    ftruncate(&memory, length)?;
    Ok(memory)
}

/// Gives memory its name. False if something has that name already.
pub(crate) fn publish(memory: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    let own = format!("/proc/self/fd/{}", memory.as_raw_fd());
    match linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

/// Opens the memory of this name, if there is any.
///
/// # Errors
/// Also for what is no memory of this user's alone.
pub(crate) fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    // Not blocking: a pipe of this name would have us wait for somebody to write.
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let memory = match open_file(path, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => above_standard(opened?)?,
    };
    check_private(memory.as_fd())?;
    Ok(Some(memory))
}

/// What the system says of memory with a name, if nobody else than this user can have cut it.
pub(crate) fn check_private(memory: BorrowedFd<'_>) -> io::Result<Facts> {
    let stat = fstat(memory)?;
    let mode = stat.st_mode;
    check_owner(&stat)?;
    let others = Mode::S_IRWXG.union(Mode::S_IRWXO);
    if Mode::from_bits_truncate(mode).intersects(others) {
        return Err(refused(format!("others may open it, too: its mode is {:o}", mode & 0o777)));
    }
    facts(&stat)
}

/// Whether it is a file of this user's.
fn check_owner(stat: &FileStat) -> io::Result<()> {
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(refused("it is no regular file".to_owned()));
    }
    if stat.st_uid != Uid::effective().as_raw() {
        return Err(refused(format!("it belongs to the user of number {}", stat.st_uid)));
    }
    Ok(())
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

/// Opens memory for reading alone, by a name of it or by `/proc/PID/fd/N`: what has the name, if
/// there is anything.
///
/// # Errors
/// Also for what is no memory of this user's.
pub(crate) fn open_to_look(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    // The files of a process are links, and those of the folder must be none.
    let links = if path.starts_with(FOLDER) { OFlag::O_NOFOLLOW } else { OFlag::empty() };
    let memory = match open_file(path, flags | links, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => above_standard(opened?)?,
    };
    check_owner(&fstat(&memory)?)?;
    Ok(Some(memory))
}

/// Whether a file could not be opened for want of fds or memory, whatever file it is.
pub(crate) fn is_shortage(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Whether what has this name is this user's.
pub(crate) fn is_ours(path: &Path) -> bool {
    lstat(path).is_ok_and(|stat| stat.st_uid == Uid::effective().as_raw())
}

/// What the system says of memory.
pub(crate) fn facts_of(memory: BorrowedFd<'_>) -> io::Result<Facts> {
    facts(&fstat(memory)?)
}

fn facts(stat: &FileStat) -> io::Result<Facts> {
    let number = |it| u64::try_from(it).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    Ok(Facts {
        size: number(stat.st_size)?,
        memory: number(stat.st_blocks)?.saturating_mul(512),
        file: (stat.st_dev, stat.st_ino),
    })
}

/// The first eight bytes, little endian.
pub(crate) fn first_word(memory: BorrowedFd<'_>) -> io::Result<u64> {
    let mut word = [0; size_of::<u64>()];
    let read = pread(memory, &mut word, 0)?;
    if read == word.len() { Ok(u64::from_le_bytes(word)) } else { Ok(0) }
}

/// Whether a range of the memory has pages throughout.
pub(crate) fn is_whole(memory: BorrowedFd<'_>, from: u64, end: u64) -> io::Result<bool> {
    let from = i64::try_from(from).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    match lseek(memory, from, Whence::SeekHole) {
        Ok(hole) => Ok(u64::try_from(hole).is_ok_and(|hole| end <= hole)),
        // Behind the end of the file.
        Err(Errno::ENXIO) => Ok(end <= from as u64),
        Err(cause) => Err(cause.into()),
    }
}

/// Whether the memory has a name still.
pub(crate) fn is_named(memory: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(fstat(memory)?.st_nlink > 0)
}

/// Whether this name is that of the memory.
pub(crate) fn is_name_of(path: &Path, memory: BorrowedFd<'_>) -> bool {
    let (Ok(found), Ok(memory)) = (stat(path), fstat(memory)) else { return false };
    (found.st_dev, found.st_ino) == (memory.st_dev, memory.st_ino)
}

/// Takes a name away. Whoever has the memory, keeps it. False if nothing has that name.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match unlink(path) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

/// All names that begin so.
pub(crate) fn names(prefix: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn own_path(test: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("multiproc-test-{test}-{}", std::process::id()))
    }

    #[test]
    fn memory_has_no_name_until_it_is_published_and_one_name_only() {
        let path = own_path("published");
        let (first, second) = (create(4096).unwrap(), create(4096).unwrap());
        assert!(open(&path).unwrap().is_none());
        assert!(!is_named(first.as_fd()).unwrap());
        assert!(publish(first.as_fd(), &path).unwrap());
        assert!(!publish(second.as_fd(), &path).unwrap());
        assert!(is_named(first.as_fd()).unwrap() && !is_named(second.as_fd()).unwrap());
        assert!(is_name_of(&path, first.as_fd()) && !is_name_of(&path, second.as_fd()));
        let opened = open(&path).unwrap().unwrap();
        assert_eq!(check_private(opened.as_fd()).unwrap().size, 4096);
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
        assert!(!is_named(opened.as_fd()).unwrap());
    }

    #[test]
    fn what_others_may_write_is_not_opened() {
        let path = own_path("open-to-all");
        std::fs::write(&path, [0; 4096]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains("620"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(open(&path).is_ok());
        assert!(remove(&path).unwrap());
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let path = own_path("pipe");
        nix::unistd::mkfifo(&path, PRIVATE).unwrap();
        assert!(open(&path).is_err());
        assert!(remove(&path).unwrap());
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(open(&path).is_err());
        assert!(remove(&path).unwrap());
    }
}
