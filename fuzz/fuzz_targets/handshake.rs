//! What a stranger says to a listener, and what a listener answers to one who connects.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    multiproc::fuzzing::play_handshake(input);
});
