//! The ranges of an array with the machine's own atomics.

use super::*;
use crate::raw::wait::Fence;
use crate::shim::Futex;
use crate::sys::clock::Deadline;
use std::time::Duration;

const ME: Me = Me { participant: 0, thread: 1 };
const LENGTH: u64 = 10;

fn take(ranges: &Ranges, span: Span, known: Owner, time: Duration) -> Result<(), Refusal> {
    let epoch = Futex::new(0);
    let terms = || Terms { epoch: &epoch, how: Fence::Full, deadline: Deadline::after(time) };
    let caller = Caller { me: ME, terms: Some(terms), suspect: |_| known };
    ranges.take(&caller, span, LENGTH).map(drop)
}

fn taken_by(participant: u32, span: Span) -> Ranges {
    let ranges = Ranges::new();
    let caller = Caller {
        me: Me { participant, thread: 1 },
        terms: None::<fn() -> Terms<'static>>,
        suspect: |_| Owner::Known,
    };
    ranges.take(&caller, span, LENGTH).unwrap();
    ranges
}

#[test]
fn spans_overlap_where_an_element_is_in_both() {
    let span = |start, end| Span { start, end };
    for (one, other, overlaps) in [
        (span(0, 5), span(5, 10), false),
        (span(0, 6), span(5, 10), true),
        (span(0, 10), span(3, 4), true),
        (span(3, 3), span(0, 10), false),
        (span(3, 3), span(3, 3), false),
    ] {
        assert_eq!((one.overlaps(other), other.overlaps(one)), (overlaps, overlaps));
    }
}

#[test]
fn an_owner_that_does_not_exist_is_found_out() {
    let ranges = taken_by(77, Span { start: 0, end: 5 });
    let time = Duration::from_secs(60);
    let got = take(&ranges, Span { start: 4, end: 6 }, Owner::Unknown, time);
    assert_eq!(got, Err(Refusal::Corrupt));
}

#[test]
fn a_range_that_is_not_in_the_array_is_found_out() {
    for (start, end) in [(0, LENGTH + 1), (u64::MAX, u64::MAX), (6, 5)] {
        let ranges = taken_by(1, Span { start, end });
        let got = take(&ranges, Span { start: 0, end: 1 }, Owner::Known, Duration::ZERO);
        assert_eq!(got, Err(Refusal::Corrupt));
        assert_eq!(ranges.mutex().owner(), None);
    }
}

#[test]
fn a_ticket_of_another_time_frees_nothing() {
    let ranges = Ranges::new();
    let caller =
        Caller { me: ME, terms: None::<fn() -> Terms<'static>>, suspect: |_| Owner::Known };
    let span = Span { start: 0, end: 1 };
    let (first, _) = ranges.take(&caller, span, LENGTH).unwrap();
    ranges.release(first, Leaving::Done);
    ranges.take(&caller, span, LENGTH).unwrap();
    ranges.release(first, Leaving::Done);
    assert_eq!(ranges.holders().count(), 1);
    ranges.sweep(ME.participant, 0, false);
    assert_eq!(ranges.holders().count(), 0);
    assert!(ranges.mutex().legacy().is_none());
}
