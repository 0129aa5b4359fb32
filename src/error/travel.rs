//! An error crosses as the result of a function in another process: its kind, its words, and the
//! `errno` behind it.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, ErrorKind};

#[derive(Serialize, Deserialize)]
struct Wire {
    kind: ErrorKind,
    object: String,
    errno: Option<i32>,
    source: Option<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let errno = self.raw_os_error();
        let source = self.inner.source.as_ref().filter(|_| errno.is_none());
        Wire {
            kind: self.kind(),
            object: self.inner.object.clone(),
            errno,
            source: source.map(ToString::to_string),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { kind, object, errno, source } = Wire::deserialize(deserializer)?;
        let error = Self::new(kind, object);
        Ok(match (errno, source) {
            (Some(errno), _) => error.because(io::Error::from_raw_os_error(errno)),
            (None, Some(source)) => error.because(source),
            (None, None) => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Context;

    fn there_and_back(error: &Error) -> Error {
        postcard::from_bytes(&postcard::to_allocvec(error).unwrap()).unwrap()
    }

    #[test]
    fn an_error_says_the_same_elsewhere() {
        let full = Err::<(), _>(io::Error::from_raw_os_error(libc::ENOSPC));
        let full = full.context(|| "make a thing".to_owned()).unwrap_err();
        let odd = Error::new(ErrorKind::Codec, "decode").because("three bytes too many");
        for error in [full, odd, Error::new(ErrorKind::Deadlock, "oneself")] {
            let other = there_and_back(&error);
            assert_eq!(other.to_string(), error.to_string());
            assert_eq!(other.kind(), error.kind());
            assert_eq!(other.raw_os_error(), error.raw_os_error());
        }
    }
}
