//! A shared mapping as what it is: an address and a length, never a reference to its bytes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};

/// Memory that other processes read and write at any time.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: MmapRaw,
}

impl Mapping {
    /// Maps `length` bytes of `memory`, which must be sealed at no less than that.
    pub(crate) fn new(memory: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(length).map_raw(memory.as_raw_fd())?;
        Ok(Self { raw })
    }

    /// The address of the first byte; aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        // SAFETY: a mapping is never at address zero.
        unsafe { NonNull::new_unchecked(self.raw.as_mut_ptr()) }
    }

    /// How many bytes are mapped.
    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }
}
