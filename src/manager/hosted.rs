//! An object in a server: a value of any type behind a lock, and the handle that tells whether
//! anybody else has one.

use std::any::{Any, type_name};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::{Error, ErrorKind, Result};
use crate::process::remote::caught;
use crate::segment::Shared;

use super::gate::{Gate, Way};
use super::link::panicked;
use super::waits;

/// An object that a server hosts.
pub(super) struct Hosted {
    key: u64,
    type_name: &'static str,
    /// A `RwLock` of the type that it was made with. Nobody waits for it: that is done at the gate.
    value: Box<dyn Any + Send + Sync>,
    /// Held by all who have a handle, and by the server: without content.
    pub(super) life: Shared,
    /// Who is in it.
    pub(super) gate: Gate,
    calls: AtomicUsize,
}

impl Hosted {
    pub(super) fn new<T: Send + Sync + 'static>(key: u64, value: T, life: Shared) -> Arc<Self> {
        Arc::new(Self {
            key,
            type_name: type_name::<T>(),
            value: Box::new(RwLock::new(value)),
            life,
            gate: Gate::default(),
            calls: AtomicUsize::new(0),
        })
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        // Relaxed: a number to look at.
        self.calls.load(Ordering::Relaxed) as u64
    }

    /// Changes the value, while nobody else is at it.
    pub(super) fn write<T, R>(self: &Arc<Self>, act: impl FnOnce(&mut T) -> R) -> Result<R>
    where
        T: Send + Sync + 'static,
    {
        let value = self.value::<T>()?;
        let inside = waits::enter(self, Way::Write)?;
        let mut guard = value.write().unwrap_or_else(PoisonError::into_inner);
        let result = caught(|| act(&mut guard));
        drop(guard);
        drop(inside);
        result.map_err(panicked)
    }

    /// Looks at the value, beside others who look.
    pub(super) fn read<T, R>(self: &Arc<Self>, act: impl FnOnce(&T) -> R) -> Result<R>
    where
        T: Send + Sync + 'static,
    {
        let value = self.value::<T>()?;
        let inside = waits::enter(self, Way::Read)?;
        let guard = value.read().unwrap_or_else(PoisonError::into_inner);
        let result = caught(|| act(&guard));
        drop(guard);
        drop(inside);
        result.map_err(panicked)
    }

    fn value<T: Send + Sync + 'static>(&self) -> Result<&RwLock<T>> {
        // Relaxed: a number to look at.
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.value.downcast_ref().ok_or_else(|| {
            let (known, asked) = (self.type_name, type_name::<T>());
            let what = format!("call a {known} of a manager as if it were a {asked}");
            Error::new(ErrorKind::Corrupt, what)
        })
    }
}
