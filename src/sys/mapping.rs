//! A shared mapping as what it is: an address and a length, never a reference to its bytes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};

/// Memory that other processes read and write at any time.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: MmapRaw,
}

impl Mapping {
    /// Maps `length` bytes of `memory`, which nobody else may cut to less.
    ///
    /// A core dump leaves them out: it would read them all, and so give memory to each hole, of
    /// which there may be more than the machine has.
    pub(crate) fn new(memory: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(length).map_raw(memory.as_raw_fd())?;
        raw.advise(Advice::DontDump)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use std::os::fd::AsFd;

    #[test]
    fn core_dumps_leave_shared_memory_out() {
        let memory = memfd::create(c"dump", 1 << 20).unwrap();
        let mapping = Mapping::new(memory.as_fd(), 1 << 20).unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let first = format!("{:x}-", mapping.base().as_ptr() as usize);
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&first));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        // proc(5): "do not include area into core dump".
        assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{flags}");
    }
}
