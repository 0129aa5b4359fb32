//! P2 for values: whatever words are in their memory, verbs give an error or an answer.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::shim::Ordering::Relaxed;
use crate::sync::hostile::torment;
use crate::transfer;

use super::Value;

const SOON: Duration = Duration::from_micros(50);

#[test]
fn any_bytes_are_a_value() {
    torment(
        "any_bytes_are_a_value",
        || Value::new([7u64; 20]).unwrap(),
        |value| &value.object,
        |value, _| {
            drop(value.try_get());
            drop(value.set_timeout([8; 20], SOON));
            drop(value.update_timeout(SOON, |words| words[3] = 9));
            let guard = value.lock_timeout(SOON).or_else(|error| error.into_inner().ok_or(()));
            if let Ok(mut guard) = guard {
                guard[19] = guard[18];
            }
            let _ = (value.who_holds(), value.is_locked(), value.is_poisoned());
            assert!(!format!("{value:?}").is_empty());
            value.clear_poison();
        },
    );
}

/// It was a value that could not be decoded.
#[test]
fn a_value_that_arrives_damaged_is_said_to_be() {
    let value = Value::new(7_u64).unwrap();
    let is_length = |word: u64| word == Value::<u64>::BYTES;
    let words = value.object.words();
    let length = words.iter().find(|word| is_length(word.load(Relaxed))).unwrap();
    length.store(8, Relaxed);
    let error = transfer::copied::<_, Value<u64>>(&value).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// As `Value::new` says.
#[test]
fn a_value_is_as_large_as_is_said() {
    fn bytes<const N: usize>() -> usize {
        size_of_val(Value::new([7_u64; N]).unwrap().object.words())
    }
    // 48 bytes, twice as many words of eight, and so on to the next multiple of 128.
    assert_eq!([bytes::<1>(), bytes::<5>(), bytes::<6>(), bytes::<13>()], [128, 128, 256, 256]);
}
