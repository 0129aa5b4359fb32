//! Arbitrary orders and replies between a pool and its workers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| multiproc::fuzzing::play_wire(input));
