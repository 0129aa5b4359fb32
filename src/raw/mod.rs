//! Room 2: state machines in place. `repr(C)`, address-free, no fd, no allocation, no sleep but in
//! `wait`. Whatever maps them into memory, a segment or a model, the code is the same.

pub(crate) mod blocks;
pub(crate) mod kind;
#[cfg(not(multiproc_loom))]
pub(crate) mod lane;
pub(crate) mod participants;

#[cfg(all(test, multiproc_loom))]
mod tests;
