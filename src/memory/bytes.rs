//! Copies of bytes that others may change meanwhile: word by word, each of them atomic.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::shim::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Bytes in shared memory: those before the first whole word, words, and those behind the last.
pub(super) struct Bytes<'a> {
    head: &'a [AtomicU8],
    words: &'a [AtomicU64],
    tail: &'a [AtomicU8],
}

impl Bytes<'_> {
    /// The `count` bytes from `first` on.
    ///
    /// # Safety
    /// - They are mapped as long as the result is used.
    /// - Nobody in this process refers to them but as to atomics.
    pub(super) unsafe fn new(first: NonNull<u8>, count: usize) -> Self {
        // SAFETY: by the caller's word; any bytes are an `AtomicU8`.
        let all = unsafe { std::slice::from_raw_parts(first.cast::<AtomicU8>().as_ptr(), count) };
        // SAFETY: any eight of them are an `AtomicU64`.
        let (head, words, tail) = unsafe { all.align_to::<AtomicU64>() };
        Self { head, words, tail }
    }

    /// Copies them into a buffer of the same length.
    pub(super) fn read(&self, into: &mut [u8]) {
        let (head, rest) = into.split_at_mut(self.head.len());
        let (words, tail) = rest.split_at_mut(size_of_val(self.words));
        // Relaxed, all: who writes what when is the callers' business.
        let ends = self.head.iter().chain(self.tail).zip(head.iter_mut().chain(tail));
        ends.for_each(|(shared, byte)| *byte = shared.load(Relaxed));
        for (shared, word) in self.words.iter().zip(words.chunks_exact_mut(size_of::<u64>())) {
            word.copy_from_slice(&shared.load(Relaxed).to_ne_bytes());
        }
    }

    /// Copies them from a buffer of the same length.
    pub(super) fn write(&self, from: &[u8]) {
        let (head, rest) = from.split_at(self.head.len());
        let (words, tail) = rest.split_at(size_of_val(self.words));
        // Relaxed, all: as above.
        let ends = self.head.iter().chain(self.tail).zip(head.iter().chain(tail));
        ends.for_each(|(shared, byte)| shared.store(*byte, Relaxed));
        for (shared, word) in self.words.iter().zip(words.chunks_exact(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole.copy_from_slice(word);
            shared.store(u64::from_ne_bytes(whole), Relaxed);
        }
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
