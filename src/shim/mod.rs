//! Room 1: the loom switch, and the only door to atomics, cells and fences.
//!
//! With `--cfg multiproc_loom` everything here is loom's, and the algorithms of `raw` that stand on
//! it can be explored. Otherwise it is what the machine has, and costs nothing.

#[cfg(not(multiproc_loom))]
mod real;
#[cfg(not(multiproc_loom))]
pub(crate) use real::*;

#[cfg(multiproc_loom)]
mod model;
#[cfg(multiproc_loom)]
pub(crate) use model::*;

pub(crate) use std::sync::atomic::Ordering;
