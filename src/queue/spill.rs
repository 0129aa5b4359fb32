//! Messages that are too long for their block: they lie in the stock, in a run of their own.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::raw::Corrupt;
use crate::raw::queue::RingAt;
use crate::raw::stock::Run;
use crate::raw::units::UNIT;

use super::body::Body;
use super::core::Core;

/// A block that may have a run in the stock of its queue.
#[derive(Debug)]
pub(super) struct Spill<'a> {
    pub(super) core: &'a Core,
    pub(super) ring: &'a RingAt,
    pub(super) block: u32,
}

impl Spill<'_> {
    /// Room for `length` bytes; `None` while the stock is used up.
    ///
    /// # Errors
    /// If the stock never has so much, or memory has run out.
    pub(super) fn take(&self, length: usize) -> Result<Option<Body>, Cause> {
        let at = &self.core.at;
        let stock = at.stock().ok_or_else(|| self.too_long(length))?;
        let count = (length as u64).div_ceil(UNIT);
        let count = u32::try_from(count).ok().filter(|&count| count <= at.plan.units);
        let (Some(count), Ok(_)) = (count, u32::try_from(length)) else {
            return Err(self.too_long(length).into());
        };
        let holder = self.ring.holder(self.block).ok_or(Corrupt)?;
        let found = stock.find(&holder)?.filter(|run| length as u64 <= run_length(*run));
        let run = match found {
            Some(run) => run,
            None => {
                self.core.free_spill(self.ring, self.block);
                match stock.take(&holder, count)? {
                    Some(run) => run,
                    None => return Ok(None),
                }
            }
        };
        let furnish = |bytes: Range<u64>| {
            let offset = self.core.store().offset(bytes.start);
            self.core.shared().furnish(offset, bytes.end - bytes.start)
        };
        stock.furnish(holder.deed, run, length as u64, furnish)?;
        Ok(Some(self.body(run, length)))
    }

    /// The message that lies in the stock.
    ///
    /// # Errors
    /// `Corrupt` if there is none of this length.
    pub(super) fn find(&self, length: usize) -> Result<Body, Cause> {
        let stock = self.core.at.stock().ok_or(Corrupt)?;
        let holder = self.ring.holder(self.block).ok_or(Corrupt)?;
        let run = stock.find(&holder)?.filter(|run| length as u64 <= run_length(*run));
        Ok(self.body(run.ok_or(Corrupt)?, length))
    }

    fn body(&self, run: Run, length: usize) -> Body {
        // SAFETY: the run lies among the units, which are mapped; it belongs to the block, and the
        // block to the handle; it is at least this long, as the callers have checked.
        unsafe { Body::new(self.core.at.run_at(run), length) }
    }

    fn too_long(&self, length: usize) -> Error {
        let at = &self.core.at;
        let most = (at.plan.room() as u64).max(u64::from(at.plan.units) * UNIT);
        let most = most.min(u64::from(u32::MAX));
        let what = format!("a message of {length} bytes: this queue takes {most} at most");
        Error::new(ErrorKind::Limit, what)
    }
}

fn run_length(run: Run) -> u64 {
    let Range { start, end } = run.bytes();
    end - start
}
