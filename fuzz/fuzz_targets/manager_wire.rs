//! Arbitrary requests, replies and knocks between a manager's server and its clients.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| multiproc::fuzzing::play_calls(input));
