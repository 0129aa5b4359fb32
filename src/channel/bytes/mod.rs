//! Raw bytes on a pipe of framed messages: streamed, copied, or written and read in place.

mod receiving;
mod sending;

pub use receiving::Message;
pub use sending::Reserved;
