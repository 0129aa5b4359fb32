//! P2 for arrays: whatever words are in their memory, verbs give an error or an answer.

use std::time::Duration;

use crate::error::LockError;
use crate::raw::ranges::RANGES_MAX;
use crate::sync::hostile::torment;

use super::Array;

const SOON: Duration = Duration::from_micros(50);
const LENGTH: usize = 100;

#[test]
fn any_bytes_are_an_array() {
    torment(
        "any_bytes_are_an_array",
        || Array::new(LENGTH, 7u64).unwrap(),
        |array| &array.object,
        |array, dice| {
            let start = dice.next() as usize % LENGTH;
            let part = array.lock_range_timeout(start.., SOON).or_else(LockError::recover);
            if let Ok(mut part) = part {
                assert_eq!(part.len(), LENGTH - start);
                part.fill(1);
                drop(array.try_lock_range(..start));
            }
            if let Ok(mut all) = array.lock_timeout(SOON).or_else(LockError::recover) {
                assert_eq!(all.len(), LENGTH);
                all.fill(2);
            }
            assert!(array.who_holds().len() <= RANGES_MAX + 1);
            let _ = (array.is_locked(), array.is_poisoned());
            assert!(!format!("{array:?}").is_empty());
            array.clear_poison();
        },
    );
}
