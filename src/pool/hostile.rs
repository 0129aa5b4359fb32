//! P2 on the wire: whatever comes as an order or a reply is an error, or what it says. No order
//! makes a worker run anything but a function that this program named.

use std::sync::Arc;

use crate::process::Panic;
use crate::process::entry::Entry;
use crate::process::remote::Outcome;
use crate::process::seal::{Role, Sealed};
use crate::raw::tape::Tape;
use crate::transfer::codec::{Codec, CodecError, Serde};

use super::entry;
use super::outcome::Core;
use super::shared::Identity;
use super::wire::{self, Order, Reply, Wire};
use super::work::Call;

fn double(number: u64) -> u64 {
    number.wrapping_mul(2)
}

fn length(text: String) -> Option<String> {
    Some(format!("{} {text}", text.len()))
}

/// The order to call a function with an argument.
fn order(function: Entry, argument: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = Sealed::new(function, Role::Task).unwrap();
    Serde::serialize(&(7_u64, name, argument), &mut bytes).unwrap();
    bytes
}

fn orders(which: u8) -> Vec<u8> {
    match which % 5 {
        0 => order(entry::one(double).unwrap(), &21_u64),
        1 => order(entry::one(length).unwrap(), &"text"),
        2 => order(entry::many(double).unwrap(), &vec![1_u64, 2, 3]),
        3 => order(entry::state(length).unwrap(), &"state"),
        _ => order(entry::share(double).unwrap(), &(3_u32, 4_u64)),
    }
}

/// What a worker does with an order; whether there was anything to be called.
fn obey(bytes: &[u8]) -> Result<bool, CodecError> {
    let Order::In { number, task } = Wire::decode(bytes)? else { return Ok(false) };
    let Ok(task) = task else { return Ok(false) };
    let outcome = task().map_or_else(Outcome::Panicked, Outcome::Returned);
    Wire::encode(&Reply::Out { number, outcome: Some(outcome) }, &mut Vec::new())?;
    Ok(true)
}

fn reply(which: u8) -> Vec<u8> {
    let panic =
        || Panic { message: "oh".to_owned(), location: Some("there".to_owned()), backtrace: None };
    let outcome = match which % 4 {
        0 => Some(Outcome::Returned(Box::new(42_u64))),
        1 => Some(Outcome::Panicked(panic())),
        2 => Some(Outcome::Failed(super::lost())),
        _ => None,
    };
    let mut bytes = Vec::new();
    Wire::encode(&Reply::Out { number: 7, outcome }, &mut bytes).unwrap();
    bytes
}

/// What a pool does with a reply to one of two orders.
fn hear(bytes: &[u8]) {
    for number in [7, 8] {
        let core = Core::<u64>::new(Identity::new());
        wire::mind(number, Call::new(entry::one(double).unwrap(), 21_u64, &core));
    }
    if let Ok(Reply::In { number, verdict }) = Wire::decode(bytes) {
        std::hint::black_box(format!("{verdict:?}"));
        drop(wire::release(number));
    }
    wire::release_all().into_iter().for_each(|work| drop(Arc::clone(&work)));
}

/// Plays a script: an order or a reply, as it should be, damaged, or of any bytes.
pub(crate) fn play(script: &[u8]) {
    let mut tape = Tape::new(script);
    let (what, which) = (tape.byte(), tape.byte());
    let mut bytes = if what & 2 == 0 { reply(which) } else { orders(which) };
    if what & 4 == 0 {
        tape.damage(&mut bytes);
    } else {
        bytes = tape.rest().to_vec();
    }
    if what & 1 == 0 {
        let _ = obey(&bytes);
    } else {
        hear(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The words of an order lie in shared memory. A worker called whatever they named, if it was
    /// code at all, so a broken participant of another segment's could have it run anything.
    #[test]
    fn an_order_whose_name_was_written_over_calls_nothing() {
        for which in 0..4 {
            let whole = orders(which);
            assert!(obey(&whole).unwrap(), "an order of kind {which}");
            let name = Sealed::new(entry::one(double).unwrap(), Role::Task).unwrap();
            let mut sealed = Vec::new();
            Serde::serialize(&name, &mut sealed).unwrap();
            // The name is behind the number, and no shorter than this.
            for bit in 8..8 * (sealed.len() - 4) {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!obey(&bytes).unwrap_or(false), "bit {bit} of an order of kind {which}");
            }
        }
    }

    #[test]
    fn a_sealed_name_of_another_role_over_that_of_an_order_calls_nothing() {
        for role in [Role::Call, Role::Argument] {
            let name = Sealed::new(entry::one(double).unwrap(), role).unwrap();
            let mut bytes = Vec::new();
            Serde::serialize(&(7_u64, name, 21_u64), &mut bytes).unwrap();
            assert!(!obey(&bytes).unwrap(), "{role:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn orders_and_replies_of_any_bytes_end_well(
            script in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            play(&script);
        }
    }
}
