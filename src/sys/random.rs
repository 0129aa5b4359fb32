//! Numbers that nobody else has.
#![allow(unsafe_code)]

use std::io;

/// 128 random bits from the kernel.
pub(crate) fn uuid() -> io::Result<u128> {
    bytes().map(u128::from_ne_bytes)
}

/// Random bytes from the kernel, which gives up to 256 at once.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256) };
    let mut bytes = [0_u8; N];
    // SAFETY: the kernel writes at most the bytes that the buffer has.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if got == N as isize { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}
