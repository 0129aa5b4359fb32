//! Copies of bytes that others may change meanwhile.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::shim::{AtomicU8, copy_shared};

/// Bytes in shared memory.
pub(super) struct Bytes<'a> {
    first: NonNull<u8>,
    count: usize,
    mapped: PhantomData<&'a [AtomicU8]>,
}

impl Bytes<'_> {
    /// The `count` bytes from `first` on.
    ///
    /// # Safety
    /// - They are mapped as long as the result is used.
    /// - Nobody in this process refers to them but as to atomics.
    pub(super) unsafe fn new(first: NonNull<u8>, count: usize) -> Self {
        Self { first, count, mapped: PhantomData }
    }

    /// Copies them into a buffer of the same length.
    pub(super) fn read(&self, into: &mut [u8]) {
        let count = self.count.min(into.len());
        // SAFETY: as many are mapped, by the word of who made `self`, and in the buffer, which is
        // the caller's alone.
        unsafe { copy_shared(self.first.as_ptr(), into.as_mut_ptr(), count) };
    }

    /// Copies them from a buffer of the same length.
    pub(super) fn write(&self, from: &[u8]) {
        let count = self.count.min(from.len());
        // SAFETY: as above; nobody changes the buffer, which is only read.
        unsafe { copy_shared(from.as_ptr(), self.first.as_ptr(), count) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_where_it_belongs() {
        let mut memory = [0_u64; 8];
        let first = NonNull::from(&mut memory).cast::<u8>();
        for begin in 0..16 {
            for count in 0..40 {
                // SAFETY: within `memory`, which nobody else refers to.
                let (all, some) =
                    unsafe { (Bytes::new(first, 64), Bytes::new(first.add(begin), count)) };
                let from: Vec<u8> = (1..).take(count).collect();
                all.write(&[0xee; 64]);
                some.write(&from);
                let (mut into, mut whole) = (vec![0; count], [0; 64]);
                some.read(&mut into);
                all.read(&mut whole);
                assert_eq!(into, from);
                assert_eq!(&whole[begin..begin + count], from);
                let others = whole[..begin].iter().chain(&whole[begin + count..]);
                assert!(others.into_iter().all(|byte| *byte == 0xee));
            }
        }
    }
}
