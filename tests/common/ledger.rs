//! A board that processes write on, in memory of the test's own: what is tried has no part in it.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "it maps memory")]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The name by which every process finds a board.
pub type Address = (u32, i32);

/// Memory for a board, which is made of atomics: zeros are a fresh one.
pub struct Ledger<B: 'static> {
    file: OwnedFd,
    /// Gone with the ledger.
    pub board: &'static B,
}

impl<B> Ledger<B> {
    pub fn new() -> Self {
        let file = unsafe { libc::memfd_create(c"storm".as_ptr(), libc::MFD_CLOEXEC) };
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        assert_eq!(unsafe { libc::ftruncate(file.as_raw_fd(), size_of::<B>() as i64) }, 0);
        let board = map(&file);
        Self { file, board }
    }

    pub fn address(&self) -> Address {
        (std::process::id(), self.file.as_raw_fd())
    }
}

impl<B> Drop for Ledger<B> {
    fn drop(&mut self) {
        let board = std::ptr::from_ref(self.board).cast_mut().cast();
        unsafe { libc::munmap(board, size_of::<B>()) };
    }
}

/// The board of this address, for as long as the process lives.
pub fn open<B>((pid, fd): Address) -> &'static B {
    let path = format!("/proc/{pid}/fd/{fd}");
    map(&File::options().read(true).write(true).open(path).unwrap())
}

fn map<B>(file: &impl AsRawFd) -> &'static B {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let (null, shared, fd) = (std::ptr::null_mut(), libc::MAP_SHARED, file.as_raw_fd());
    let at = unsafe { libc::mmap(null, size_of::<B>(), rights, shared, fd, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    unsafe { &*at.cast::<B>() }
}
