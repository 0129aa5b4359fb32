//! The same messages as the first program's, by another path.

#[path = "../../messages.rs"]
pub(crate) mod words;
