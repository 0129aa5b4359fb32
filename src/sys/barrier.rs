//! `membarrier(2)`: the sleeper pays for the fence that every publisher would otherwise need.
//!
//! A publisher stores, then looks whether anybody sleeps; a sleeper announces itself, then looks
//! again. One of the two must see the other, which takes a store-load fence on both sides
//! (62 to 131 ns a message in a cross-core stream), or an expedited barrier on the sleeper's.
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// Makes this process take part in others' barriers. Cheap, idempotent; false where it is denied.
pub(crate) fn register() -> bool {
    command(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// Whether this machine lets processes use expedited barriers. Asked once.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(register)
}

/// A full fence in every running thread of every registered process. False where it is denied.
pub(crate) fn heavy() -> bool {
    command(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn command(command: libc::c_int) -> bool {
    // SAFETY: membarrier touches no memory of the caller.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
