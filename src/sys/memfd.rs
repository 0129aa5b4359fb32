//! Sealed anonymous memory: no name, nothing in a file system, freed by the kernel with its last
//! user.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::ftruncate;

use super::cgroup;
use super::number::above_standard;

/// Nobody may resize the memory under a mapping, nor undo that.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// A shorter reservation is not refused as long as the kernel has a page: 64 KiB.
const SHORT: u64 = 64 << 10;

/// So much is taken at the most between two looks at what is left: 16 MiB, which cost 2 ms.
const CREDIT_MAX: u64 = 16 << 20;

/// Makes `size` bytes of sealed memory without pages; [`reserve`] gives them pages.
pub(crate) fn create(name: &CStr, size: u64) -> io::Result<OwnedFd> {
    let memory = create_unsealed(name, size)?;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(memory)
}

/// Makes `size` bytes of memory that anybody who has it can resize still.
pub(crate) fn create_unsealed(name: &CStr, size: u64) -> io::Result<OwnedFd> {
    let length = i64::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = above_standard(memfd_create(name, flags)?)?;
    ftruncate(&memory, length)?;
    Ok(memory)
}

/// Gives pages to a range, so that running out of memory is an error here and not a signal later.
/// A page that the range begins or ends in is part of it.
///
/// The kernel would hand out page after page until it has to kill somebody, so all but a short
/// range is first compared with what is left.
pub(crate) fn reserve(memory: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    if length >= SHORT {
        return reserve_part(memory, offset, length);
    }
    range(FallocateFlags::empty(), memory, offset, length)
}

/// Gives pages to one range of many: small ones add up, so each is compared with what is left.
///
/// A call that fails takes back the pages of its range that nobody has touched yet, also those that
/// another call gave.
pub(crate) fn reserve_part(memory: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    if !is_available(length) {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    range(FallocateFlags::empty(), memory, offset, length)
}

/// Gives the pages of a range back; it reads as zeros from now on.
pub(crate) fn release(memory: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    range(punch, memory, offset, length)
}

/// Whether the machine can still give so many bytes without swapping, and the limits of containers
/// let it, by their own account. Who says nothing is believed to have all.
pub(crate) fn is_available(length: u64) -> bool {
    // What may be taken before somebody looks again: a part of what was left at the last look. That
    // takes 25 us, in a container more, and a page 0.2 us.
    static CREDIT: AtomicU64 = AtomicU64::new(0);
    // Relaxed, all: a number of its own.
    let take = |credit: u64| credit.checked_sub(length);
    if CREDIT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        return true;
    }
    let left = in_machine().unwrap_or(u64::MAX).min(cgroup::memory_left().unwrap_or(u64::MAX));
    let Some(rest) = left.checked_sub(length) else { return false };
    CREDIT.store((rest / 8).min(CREDIT_MAX), Ordering::Relaxed);
    true
}

/// What the machine has left, see proc(5).
fn in_machine() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn range(flags: FallocateFlags, memory: BorrowedFd<'_>, at: u64, length: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let at = i64::try_from(at).map_err(too_far)?;
    let length = i64::try_from(length).map_err(too_far)?;
    loop {
        match fallocate(memory, flags, at, length) {
            Err(nix::errno::Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

/// The size of memory that came from outside, once it is certain that nobody can change it.
pub(crate) fn sealed_size(memory: BorrowedFd<'_>) -> io::Result<u64> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let seals = match fcntl(memory, FcntlArg::F_GET_SEALS) {
        Err(nix::errno::Errno::EINVAL) => return Err(invalid("the file is not a memfd")),
        seals => SealFlag::from_bits_retain(seals?),
    };
    if !seals.contains(SEALS) {
        return Err(invalid("the memory is not sealed against resizing"));
    }
    u64::try_from(fstat(memory)?.st_size).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Whether both are descriptions of the same memory.
pub(crate) fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Opens the same memory once more, as a new open file description with locks of its own.
pub(crate) fn reopen(memory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    above_standard(open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Puts the description behind `new` in the place of the one behind `old`, under the old number.
#[allow(unsafe_code)]
pub(crate) fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open; the number stays owned by the owner of `old`, which is all that
    // ownership of it means.
    let done = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a memfd that holds exactly `bytes`, for what is too large for a socket.
#[cfg(any(test, fuzzing))]
pub(crate) fn holding(bytes: &[u8]) -> io::Result<OwnedFd> {
    holding_all(&[bytes])
}

/// Makes a memfd that holds exactly `parts`, one after the other.
pub(crate) fn holding_all(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let size = parts.iter().map(|part| part.len() as u64).sum();
    let memory = create(c"multiproc-letter", size)?;
    if size > 0 {
        reserve(memory.as_fd(), 0, size)?;
    }
    let mut at = 0;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let written = nix::sys::uio::pwrite(&memory, rest, at)?;
            rest = &rest[written..];
            at += i64::try_from(written).map_err(io::Error::other)?;
        }
    }
    Ok(memory)
}

/// Reads all of a sealed memfd into private memory.
pub(crate) fn contents(memory: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let size = usize::try_from(sealed_size(memory)?).map_err(io::Error::other)?;
    // Whoever sends bytes has paid for their pages; a hole of any size costs nothing.
    let paid = u64::try_from(fstat(memory)?.st_blocks).unwrap_or(0).saturating_mul(512);
    if paid < size as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory has holes"));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
    bytes.resize(size, 0);
    let mut read = 0;
    while read < size {
        let at = i64::try_from(read).map_err(io::Error::other)?;
        match nix::sys::uio::pread(memory, &mut bytes[read..], at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_cannot_be_resized_and_says_so() {
        let memory = create(c"test", 8192).unwrap();
        assert_eq!(sealed_size(memory.as_fd()).unwrap(), 8192);
        assert!(ftruncate(&memory, 4096).is_err());
        assert!(ftruncate(&memory, 16384).is_err());
    }

    #[test]
    fn unsealed_memory_is_refused() {
        let memory = memfd_create(c"open", MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(sealed_size(memory.as_fd()).is_err());
    }

    /// A peer could have all memory of this process filled at no cost of its own.
    #[test]
    fn a_hole_is_no_content() {
        let hole = create(c"hole", 1 << 40).unwrap();
        assert_eq!(contents(hole.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn bytes_come_back_from_a_memfd() {
        for bytes in [Vec::new(), vec![7_u8; 3 << 20]] {
            assert_eq!(contents(holding(&bytes).unwrap().as_fd()).unwrap(), bytes);
        }
    }

    #[test]
    fn more_memory_than_there_is_is_an_error() {
        let memory = create(c"huge", 1 << 50).unwrap();
        assert!(reserve(memory.as_fd(), 0, 1 << 50).is_err());
    }
}
