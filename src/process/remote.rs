//! What processes that call functions for others, again and again, say of each call.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::transfer::codec::{CodecError, Serde};

use super::Panic;
use super::child::panic_of;

/// What a function returned, before anybody knows of which type it is.
pub(crate) trait Answer: Send {
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError>;
}

impl<R: Serialize + Send> Answer for R {
    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Serde::serialize(self, bytes).map_err(|cause| not_encoded::<R>("result", &cause))
    }
}

/// Why a value of the user's does not travel, and which.
#[cold]
pub(crate) fn not_encoded<T>(role: &str, cause: &CodecError) -> CodecError {
    format!("encode a {}, the {role} of a call: {cause}", type_name::<T>()).into()
}

/// What a call left behind, where it was made.
pub(crate) enum Outcome {
    Returned(Box<dyn Answer>),
    Panicked(Panic),
    Failed(Error),
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Self::Returned(answer) = self {
            // Its destructor is the user's.
            let _ = caught(|| *answer = Box::new(()));
        }
    }
}

/// What is said of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The bytes of the result are behind this.
    Returned,
    Panicked(Panic),
    Failed(Error),
}

impl Outcome {
    /// Appends the verdict, and the result if there is one.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::Returned(answer) => {
                Serde::serialize(&Verdict::Returned, bytes)?;
                contained(|| answer.encode(bytes))
            }
            Self::Panicked(panic) => Serde::serialize(&Verdict::Panicked(panic.clone()), bytes),
            Self::Failed(error) => Serde::serialize(&Failed(error), bytes),
        }
    }
}

/// A borrowed [`Verdict::Failed`].
struct Failed<'a>(&'a Error);

impl Serialize for Failed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("Verdict", 2, "Failed", self.0)
    }
}

/// Has a value encode or decode itself, which is the user's: a panic in it is an error.
pub(crate) fn contained<T>(act: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    caught(act).unwrap_or_else(|panic| Err(panic.to_string().into()))
}

/// Runs a function of the user's; a panic ends it alone.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let panic = panic_of(payload.as_ref());
        // What a payload does in its destructor is of no interest any more.
        std::mem::forget(payload);
        panic
    })
}
