//! Functions as arguments of calls, by their names.
#![allow(unsafe_code)]

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::entry::{self, Entry};
use crate::process::seal::{Role, Sealed};
use crate::transfer::cargo;

/// A function of the program that another process is to call: `F` is its pointer.
#[derive(Clone, Copy)]
pub(super) struct Function<F>(F);

/// A function that takes a value.
pub(super) type Taking<A, R> = Function<fn(A) -> R>;
/// A function that looks at a value.
pub(super) type Looking<T, R> = Function<fn(&T) -> R>;
/// A function that changes a value.
pub(super) type Changing<T, A, R> = Function<fn(&mut T, A) -> R>;
/// A function that looks at a key and changes its value.
pub(super) type ChangingAt<K, V, R> = Function<fn(&K, &mut V) -> R>;
/// A function that says which of two values is first.
pub(super) type Comparing<T> = Function<fn(&T, &T) -> Ordering>;

impl<A: 'static, R: 'static> Taking<A, R> {
    pub(super) fn taking(function: fn(A) -> R) -> Self {
        Self(function)
    }
}

impl<T: 'static, R: 'static> Looking<T, R> {
    pub(super) fn looking(function: fn(&T) -> R) -> Self {
        Self(function)
    }
}

impl<T: 'static, A: 'static, R: 'static> Changing<T, A, R> {
    pub(super) fn changing(function: fn(&mut T, A) -> R) -> Self {
        Self(function)
    }
}

impl<K: 'static, V: 'static, R: 'static> ChangingAt<K, V, R> {
    pub(super) fn changing_at(function: fn(&K, &mut V) -> R) -> Self {
        Self(function)
    }
}

impl<T: 'static> Comparing<T> {
    pub(super) fn comparing(function: fn(&T, &T) -> Ordering) -> Self {
        Self(function)
    }
}

impl<F: Copy> Function<F> {
    pub(super) fn pointer(self) -> F {
        self.0
    }
}

/// Stands beside the function in its name, so that it is taken for no function of another type.
#[inline(never)]
fn marker<F: 'static>() -> u64 {
    entry::signature::<F, Function<F>>()
}

fn mark<F: 'static>() -> *const () {
    marker::<F> as fn() -> u64 as *const ()
}

impl<F: Copy + 'static> Serialize for Function<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const { assert!(size_of::<F>() == size_of::<*const ()>()) };
        // SAFETY: a `fn` pointer, as only those are made above, and as large as any (checked).
        let address = unsafe { std::mem::transmute_copy::<F, *const ()>(&self.0) };
        let named = Entry::with_thunk::<F>(address, mark::<F>(), marker::<F>());
        let failed = |error| cargo::not_packed(error, serde::ser::Error::custom);
        let sealed = named.and_then(|entry| Sealed::for_reader(entry, Role::Argument));
        sealed.map_err(failed)?.serialize(serializer)
    }
}

impl<'de, F: Copy + 'static> Deserialize<'de> for Function<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let failed = |error| cargo::not_unpacked(error, serde::de::Error::custom);
        let named = Sealed::deserialize(deserializer)?.open(Role::Argument);
        let (function, beside, signature) = named.and_then(Entry::resolve).map_err(failed)?;
        if beside != mark::<F>() || signature != marker::<F>() {
            return Err(failed(entry::mismatch()));
        }
        // SAFETY: the name was made of an `F` by a process that runs the same image, as the mark
        // and the signature say, and that was a `fn` pointer.
        Ok(Self(unsafe { std::mem::transmute_copy::<*const (), F>(&function) }))
    }
}
