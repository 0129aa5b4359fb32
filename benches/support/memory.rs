//! Cache lines that a forked peer shares, and memory to weigh a process down with.
#![allow(unsafe_code, reason = "the yardsticks stand below the crate")]

use std::sync::atomic::{AtomicU64, Ordering};

/// A word alone on its cache line and on the one that the prefetcher takes along.
#[repr(C, align(128))]
pub(crate) struct Line(AtomicU64);

impl Line {
    pub(crate) fn set(&self, value: u64) {
        // Release: what was written before is seen by whoever sees `value` in `wait_for`.
        self.0.store(value, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Adds to the word, and gives what it was before.
    pub(crate) fn add(&self, value: u64) -> u64 {
        // AcqRel: what was written before is seen by whoever counts on, and by `get`.
        self.0.fetch_add(value, Ordering::AcqRel)
    }

    /// Raises the word to `value`, if it is less.
    pub(crate) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
    }

    /// Polls, with the instruction that the crate polls with, until the word is `value`.
    pub(crate) fn wait_for(&self, value: u64) {
        while self.0.load(Ordering::Acquire) != value {
            pause();
        }
    }
}

/// Waits between two looks at a word that another core is about to write.
pub(crate) fn pause() {
    // SAFETY: every x86-64 has SSE2.
    unsafe { core::arch::x86_64::_mm_lfence() };
}

/// Zeroed lines that this process and those it forks later share. Never unmapped.
pub(crate) fn lines<const N: usize>() -> &'static [Line; N] {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let memory = map(size_of::<[Line; N]>(), flags).expect("a page of shared memory");
    // SAFETY: the mapping is page-aligned, large enough, zeroed (which is a valid `AtomicU64`),
    // written only through atomics, and stays for ever.
    unsafe { &*memory.cast::<[Line; N]>() }
}

/// Bytes that this process and those it forks later share. Never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct SharedBytes {
    memory: *mut u8,
    size: usize,
}

impl SharedBytes {
    pub(crate) fn new(size: usize) -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Self { memory: map(size, flags).expect("shared memory"), size }
    }

    /// Memory that was mapped by somebody else.
    ///
    /// # Safety
    ///
    /// So many bytes are mapped there, shared and for ever, and touched through this alone.
    pub(crate) unsafe fn at(memory: *mut u8, size: usize) -> Self {
        Self { memory, size }
    }

    /// Where they begin: at a page.
    pub(crate) fn address(self) -> *mut u8 {
        self.memory
    }

    /// Copies `from` in, while nobody copies out: the caller's flags see to it.
    pub(crate) fn write(self, from: &[u8]) {
        assert!(from.len() <= self.size);
        // SAFETY: in range of the mapping, which overlaps no slice of this process.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.memory, from.len()) };
    }

    /// Copies out into `to`, while nobody copies in.
    pub(crate) fn read(self, to: &mut [u8]) {
        assert!(to.len() <= self.size);
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(self.memory, to.as_mut_ptr(), to.len()) };
    }

    /// Looks at them, while nobody copies in.
    pub(crate) fn look(self, with: impl Fn(&[u8])) {
        // SAFETY: the mapping is so large, and nobody writes to it until the caller's flags say so.
        with(unsafe { std::slice::from_raw_parts(self.memory, self.size) });
    }
}

/// A private mapping with every page touched, in pages of 4 KiB, given back when dropped.
pub(crate) struct Ballast {
    memory: *mut u8,
    size: usize,
}

impl Ballast {
    /// `None` where the machine has not got so much.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let memory = map(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)?;
        // SAFETY: advice on the mapping just made.
        unsafe { libc::madvise(memory.cast(), size, libc::MADV_NOHUGEPAGE) };
        for offset in (0..size).step_by(4096) {
            // SAFETY: `offset < size`, and the mapping is writable and ours alone.
            unsafe { memory.add(offset).write_volatile(1) };
        }
        Some(Self { memory, size })
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference into it was ever made.
        unsafe { libc::munmap(self.memory.cast(), self.size) };
    }
}

fn map(size: usize, flags: libc::c_int) -> Option<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping, placed by the kernel, aliases nothing.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    (memory != libc::MAP_FAILED).then_some(memory.cast())
}
