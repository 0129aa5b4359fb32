//! A segment, its tables and its arena on foreign bytes, between its operations.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| multiproc::fuzzing::play_segment(input));
