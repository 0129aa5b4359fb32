//! Arbitrary words between parent, fork server and child.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| multiproc::fuzzing::play_words(input));
