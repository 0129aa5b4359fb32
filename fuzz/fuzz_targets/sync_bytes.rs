//! Foreign bytes in the memory of locks, values and arrays, between their verbs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/script.rs"]
mod script;
#[path = "../../tests/common/sync_script.rs"]
mod sync_script;

fuzz_target!(|input: &[u8]| {
    // A run begins with memory that nobody has broken yet.
    multiproc::fuzzing::forget_arenas();
    sync_script::play(input);
});
