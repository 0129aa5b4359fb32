//! Zeroed bytes on a line boundary, as a mapping would be, for the tests of the rings.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::raw::memory::LINE;

pub(crate) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

impl Heap {
    pub(crate) fn new(length: usize) -> Self {
        let layout = Layout::from_size_align(length, LINE).unwrap();
        assert!(length > 0);
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Self { base, layout }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.size()
    }

    /// Writes `word` at `offset`, as a hostile peer could.
    pub(crate) fn poke(&self, offset: usize, word: u64) {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len());
        // SAFETY: aligned and in bounds by the line above. No other thread runs in these tests.
        unsafe { self.base.add(offset).cast::<u64>().write(word) };
    }

    /// Reads the word at `offset`.
    pub(crate) fn look(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len());
        // SAFETY: as in `poke`.
        unsafe { self.base.add(offset).cast::<u64>().read() }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
