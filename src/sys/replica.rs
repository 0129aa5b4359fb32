//! A private copy of shared memory, in parts: for those who look and must not touch.
//!
//! Whoever reads a hole of a tmpfs file through a mapping gives it a page; pread(2) does not. What
//! was not copied reads as zeros and takes no memory either, so a replica can be as large as the
//! memory that it is of.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::errno::Errno;

/// Private memory at whose offsets is what was at those offsets of a file.
#[derive(Debug)]
pub(crate) struct Replica {
    raw: MmapRaw,
}

impl Replica {
    /// One of `length` bytes, all of them zero.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let raw = MmapRaw::from(MmapOptions::new().len(length).no_reserve_swap().map_anon()?);
        // A large page for each small part would be much memory. A kernel without large pages
        // refuses.
        let _ = raw.advise(Advice::NoHugePage);
        Ok(Self { raw })
    }

    /// The address of the first byte; aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping is never at address zero.
        unsafe { NonNull::new_unchecked(self.raw.as_mut_ptr()) }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Copies a range of a file here, as far as both have it.
    pub(crate) fn fetch(&self, file: BorrowedFd<'_>, at: u64, length: u64) -> io::Result<()> {
        let end = at.saturating_add(length).min(self.len());
        let mut at = at;
        // Bounded: each turn comes nearer to the end, or was interrupted.
        while at < end {
            // SAFETY: the bytes are within the mapping (`end`), which is private: nobody has a
            // reference to them but as atomics, which may change at any time.
            let read = unsafe {
                let to = self.base().add(at as usize).as_ptr().cast();
                libc::pread(file.as_raw_fd(), to, (end - at) as usize, at as libc::off_t)
            };
            match Errno::result(read) {
                Ok(0) => return Ok(()),
                Ok(read) => at += read as u64,
                Err(Errno::EINTR) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(())
    }
}

/// The word at an offset of a file, as of now; `None` behind its end.
pub(crate) fn word_of(file: BorrowedFd<'_>, at: u64) -> io::Result<Option<u64>> {
    let mut word = [0; size_of::<u64>()];
    let read = nix::sys::uio::pread(file, &mut word, at as libc::off_t)?;
    Ok((read == word.len()).then_some(u64::from_le_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{memfd, shm};
    use std::os::fd::AsFd;

    fn byte(replica: &Replica, at: usize) -> u8 {
        assert!((at as u64) < replica.len());
        // SAFETY: within the mapping, which is this thread's.
        unsafe { replica.base().add(at).read() }
    }

    #[test]
    fn parts_are_copied_to_where_they_were_and_holes_stay_holes() {
        const SIZE: u64 = 64 << 30;
        let memory = memfd::create(c"replica", SIZE).unwrap();
        nix::sys::uio::pwrite(&memory, &[7; 100], 1 << 33).unwrap();
        let before = shm::facts_of(memory.as_fd()).unwrap().memory;
        let replica = Replica::new(SIZE as usize).unwrap();
        replica.fetch(memory.as_fd(), (1 << 33) + 10, 200).unwrap();
        replica.fetch(memory.as_fd(), 0, 1 << 20).unwrap();
        assert_eq!([9, 10, 99, 100].map(|at| byte(&replica, (1 << 33) + at)), [0, 7, 7, 0]);
        assert_eq!(byte(&replica, 1 << 35), 0);
        assert_eq!(shm::facts_of(memory.as_fd()).unwrap().memory, before);
        assert_eq!(word_of(memory.as_fd(), 1 << 33).unwrap(), Some(0x0707_0707_0707_0707));
    }

    #[test]
    fn what_is_beyond_the_end_is_not_copied() {
        let memory = memfd::holding(&[1; 5000]).unwrap();
        let replica = Replica::new(4096).unwrap();
        replica.fetch(memory.as_fd(), 4000, u64::MAX).unwrap();
        replica.fetch(memory.as_fd(), u64::MAX, 9).unwrap();
        assert_eq!((byte(&replica, 3999), byte(&replica, 4095)), (0, 1));
        let longer = Replica::new(8192).unwrap();
        longer.fetch(memory.as_fd(), 0, 8192).unwrap();
        assert_eq!((byte(&longer, 4999), byte(&longer, 5000)), (1, 0));
        assert_eq!(word_of(memory.as_fd(), 4995).unwrap(), None);
    }
}
