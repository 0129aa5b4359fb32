//! Everything that one call waits for.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::raw::wait::Waited;
use crate::raw::wait_many::{NoRest, Rest, Watched, wait_many};
use crate::shim::Futex;
use crate::sys::clock::Deadline;
use crate::sys::vigil;

use super::waitable::{Kind, Source};

/// Handles and fds, each with its index.
pub(super) struct Party<'a> {
    handles: Vec<&'a mut dyn Watched>,
    handles_at: Vec<usize>,
    fds: Fds<'a>,
    fds_at: Vec<usize>,
}

impl<'a> Party<'a> {
    pub(super) fn new<'b: 'a>(sources: &'a mut [Source<'b>]) -> Self {
        let mut party = Self {
            handles: Vec::with_capacity(sources.len()),
            handles_at: Vec::with_capacity(sources.len()),
            fds: Fds { fds: Vec::new(), failed: None },
            fds_at: Vec::new(),
        };
        for (index, source) in sources.iter_mut().enumerate() {
            match &mut source.0 {
                Kind::Handle(handle) => party.add(index, &mut **handle),
                Kind::Event(event) => party.add(index, event),
                Kind::Fd(fd) => {
                    party.fds.fds.push(*fd);
                    party.fds_at.push(index);
                }
            }
        }
        party
    }

    fn add(&mut self, index: usize, handle: &'a mut dyn Watched) {
        self.handles.push(handle);
        self.handles_at.push(index);
    }

    /// What is ready now, in order, for one who only looks: the kernel is asked about the others.
    pub(super) fn look(&mut self) -> Result<Vec<usize>> {
        let ready = self.ready()?;
        if !ready.is_empty() {
            return Ok(ready);
        }
        self.handles.iter_mut().for_each(|handle| handle.suspect());
        self.ready()
    }

    /// Waits until something is ready, or the deadline: what is, in order.
    pub(super) fn wait(&mut self, deadline: Deadline) -> Result<Vec<usize>> {
        // Not bounded, but it waits, and each round more is a message that somebody else took.
        loop {
            let ready = self.ready()?;
            if !ready.is_empty() || self.is_empty() {
                return Ok(ready);
            }
            let waited = if self.fds.fds.is_empty() {
                wait_many(&mut self.handles, deadline, &mut NoRest)
            } else {
                wait_many(&mut self.handles, deadline, &mut self.fds)
            };
            if waited == Waited::TimedOut {
                return self.ready();
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.handles.is_empty() && self.fds.fds.is_empty()
    }

    /// What is ready now, in order.
    pub(super) fn ready(&mut self) -> Result<Vec<usize>> {
        let handles = self.handles.iter_mut().zip(&self.handles_at);
        let mut ready: Vec<usize> = handles
            .filter_map(|(handle, index)| handle.is_surely_ready().then_some(*index))
            .collect();
        if !self.fds_at.is_empty() {
            let readable = self.fds.readable().context(|| "poll fds".to_owned())?;
            let fds = readable.into_iter().zip(&self.fds_at);
            ready.extend(fds.filter_map(|(is_ready, index)| is_ready.then_some(*index)));
            ready.sort_unstable();
        }
        Ok(ready)
    }
}

/// What is waited for without a place to wait at.
struct Fds<'a> {
    fds: Vec<BorrowedFd<'a>>,
    failed: Option<io::Error>,
}

impl Fds<'_> {
    fn readable(&mut self) -> io::Result<Vec<bool>> {
        self.failed.take().map_or_else(|| vigil::readable(&self.fds), Err)
    }
}

impl Rest for Fds<'_> {
    fn is_ready(&mut self) -> bool {
        match vigil::readable(&self.fds) {
            Ok(readable) => readable.contains(&true),
            Err(cause) => {
                self.failed = Some(cause);
                true
            }
        }
    }

    fn sleep(&mut self, words: &[(&Futex, u32)], nap: Duration) {
        let words: Vec<_> = words.iter().map(|(futex, value)| (futex.word(), *value)).collect();
        vigil::keep(&words, &self.fds, nap);
    }
}
