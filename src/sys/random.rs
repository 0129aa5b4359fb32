//! Numbers that nobody else has.
#![allow(unsafe_code)]

use std::io;

/// 128 random bits from the kernel.
pub(crate) fn uuid() -> io::Result<u128> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the kernel writes at most the 16 bytes that the buffer has.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == 16 { Ok(u128::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}
