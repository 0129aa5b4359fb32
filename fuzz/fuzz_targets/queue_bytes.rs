//! Foreign bytes in the memory of queues, between their verbs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/queue_script.rs"]
mod queue_script;
#[path = "../../tests/common/script.rs"]
mod script;

fuzz_target!(|input: &[u8]| {
    // A run begins with memory that nobody has broken yet.
    multiproc::fuzzing::forget_arenas();
    queue_script::play(input);
});
