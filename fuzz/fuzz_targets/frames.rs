//! The byte ring on arbitrary bytes, which change between the calls.
#![no_main]
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use libfuzzer_sys::fuzz_target;
use multiproc::fuzzing::Frames;

/// So large is the ring of the largest capacity that is tried.
const LENGTH: usize = 128 + 1024;

fuzz_target!(|input: (u8, Vec<u64>, Vec<(u8, u8, u64)>)| {
    let (size, image, script) = input;
    let layout = Layout::from_size_align(LENGTH, 128).unwrap();
    // SAFETY: the layout is not empty.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    let poke = |at: usize, value: u64| {
        // SAFETY: a multiple of 8 within the allocation.
        unsafe { base.add(at % (LENGTH / 8) * 8).cast::<u64>().write(value) };
    };
    image.iter().enumerate().take(LENGTH / 8).for_each(|(at, value)| poke(at, *value));
    let capacity = 32 << (size % 6);
    // SAFETY: the allocation outlives the ring, and the bytes change only between its calls.
    let mut frames = unsafe { Frames::new(base, 128 + capacity, capacity as u64) };
    for (what, at, value) in script {
        match what % 8 {
            0 => poke(usize::from(at), value),
            1 => poke(16 + usize::from(at), 1 << 63 | value & 0xff_0000_01ff),
            2 => frames.reserve(value as usize % 1200),
            3 => frames.commit(value as usize % 1200, at),
            4 => {
                std::hint::black_box(frames.peek());
            }
            5 => frames.release(),
            6 => frames.attach(),
            _ => poke(0, value & !15),
        }
    }
    drop(frames);
    // SAFETY: allocated above with this layout.
    unsafe { dealloc(base.as_ptr(), layout) };
});
