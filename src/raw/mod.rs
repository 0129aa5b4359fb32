//! Room 2: state machines in place. `repr(C)`, address-free, no fd, no allocation, no sleep but in
//! `wait`. Whatever maps them into memory, a segment or a model, the code is the same.

#[cfg_attr(not(test), expect(dead_code, reason = "the queue and the locks will sit on it"))]
pub(crate) mod bench;
pub(crate) mod seat;
pub(crate) mod wait;

#[cfg(all(test, multiproc_loom))]
mod tests;
