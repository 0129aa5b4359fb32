//! The checker: a search through all orders that time allows (Wing and Gong, "Testing and verifying
//! concurrent objects", 1993), where what was tried is not tried again (Lowe, "Testing for
//! linearizability", 2017).

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// More calls than this no history has.
pub(crate) const CALLS_MAX: usize = 64;

/// One call of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<Op> {
    pub(crate) process: usize,
    pub(crate) op: Op,
    /// When it began.
    pub(crate) from: u64,
    /// When it ended and what it returned; `None` if its process died in it.
    pub(crate) ended: Option<(u64, u64)>,
}

/// What an object does if there is one process alone.
pub(crate) trait Model {
    type Op: Copy + Debug;
    type State: Clone + Eq + Hash;

    fn first(&self) -> Self::State;

    /// The states that the call can lead to, if it returns this; whatever it returns if `None`.
    fn after(&self, state: &Self::State, call: &Call<Self::Op>) -> Vec<Self::State>;
}

/// Whether the calls are those of such an object.
fn is_linearizable<M: Model>(model: &M, calls: &[Call<M::Op>]) -> bool {
    assert!(calls.len() <= CALLS_MAX);
    let all = (0..calls.len()).fold(0_u64, |all, call| all | 1 << call);
    let mut search = Search { model, calls, seen: HashSet::new() };
    search.succeeds(all, &model.first())
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Op>],
    /// From where no way led to the end: calls that are left, and the state.
    seen: HashSet<(u64, M::State)>,
}

impl<M: Model> Search<'_, M> {
    fn succeeds(&mut self, left: u64, state: &M::State) -> bool {
        let is_left = |call: usize| left >> call & 1 == 1;
        let ends = (0..self.calls.len()).filter(|call| is_left(*call));
        let ends = ends.filter_map(|call| self.calls[call].ended);
        // What nobody heard the end of need not have happened.
        let Some(horizon) = ends.map(|(end, _)| end).min() else { return true };
        if !self.seen.insert((left, state.clone())) {
            return false;
        }
        for (number, call) in self.calls.iter().enumerate() {
            if !is_left(number) || call.from > horizon {
                continue;
            }
            let next = self.model.after(state, call);
            if next.iter().any(|state| self.succeeds(left & !(1 << number), state)) {
                return true;
            }
        }
        false
    }
}

/// How many pairs of calls of two processes were under way at the same time.
fn overlaps<Op>(calls: &[Call<Op>]) -> usize {
    let end = |call: &Call<Op>| call.ended.map_or(u64::MAX, |(end, _)| end);
    let overlap =
        |a: &Call<Op>, b: &Call<Op>| a.process < b.process && a.from < end(b) && b.from < end(a);
    calls.iter().map(|a| calls.iter().filter(|b| overlap(a, b)).count()).sum()
}

/// What a number of histories came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many were looked at.
    pub(crate) histories: usize,
    /// In how many of them calls of two processes overlap.
    pub(crate) overlapping: usize,
    /// How many pairs of calls that is.
    pub(crate) pairs: usize,
    /// How many are none of such an object.
    pub(crate) wrong: usize,
    /// The first of those.
    first: Option<String>,
}

impl Verdict {
    /// Looks at one more.
    pub(crate) fn add<M: Model>(&mut self, model: &M, calls: &[Call<M::Op>]) {
        self.histories += 1;
        let pairs = overlaps(calls);
        self.overlapping += usize::from(pairs > 0);
        self.pairs += pairs;
        if !is_linearizable(model, calls) {
            self.wrong += 1;
            self.first.get_or_insert_with(|| table(calls));
        }
    }

    /// Whether one of many looks finds what is wrong: calls need not overlap in the first.
    pub(crate) fn is_caught(look: impl Fn() -> Self) -> bool {
        (0..50).any(|_| look().wrong > 0)
    }

    /// All are right. The more of them overlap, the more that says.
    pub(crate) fn assert_right(&self, what: &str) {
        let Self { histories, overlapping, pairs, wrong, first } = self;
        println!("{what}: {histories} histories, {pairs} pairs of calls overlap, in {overlapping}");
        let first = first.as_deref().unwrap_or_default();
        assert!(*wrong == 0, "{what}: {wrong} are none of such an object, as\n{first}");
    }
}

/// The calls as a table, for whoever has to find out.
fn table<Op: Debug>(calls: &[Call<Op>]) -> String {
    let began = calls.iter().map(|call| call.from).min().unwrap_or(0);
    let mut lines: Vec<_> = calls.iter().map(|call| (call.from, line(call, began))).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line<Op: Debug>(call: &Call<Op>, began: u64) -> String {
    let Call { process, op, from, ended } = call;
    let end = match ended {
        Some((to, returned)) => format!("{:>8} {returned:?}", to - began),
        None => "    died".to_owned(),
    };
    format!("{:>8} .. {end} process {process}: {op:?}\n", from - began)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is written and read.
    struct Register;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Write(u64),
        Read,
    }

    impl Model for Register {
        type Op = Op;
        type State = u64;

        fn first(&self) -> u64 {
            0
        }

        fn after(&self, state: &u64, call: &Call<Op>) -> Vec<u64> {
            match (call.op, call.ended) {
                (Op::Write(value), _) => vec![value],
                (Op::Read, Some((_, read))) if read != *state => vec![],
                (Op::Read, _) => vec![*state],
            }
        }
    }

    fn call(op: Op, from: u64, to: u64, returned: u64) -> Call<Op> {
        Call { process: 0, op, from, ended: Some((to, returned)) }
    }

    #[test]
    fn overlapping_calls_may_have_any_order() {
        let write = call(Op::Write(1), 0, 10, 0);
        for read in [0, 1] {
            assert!(is_linearizable(&Register, &[write, call(Op::Read, 5, 6, read)]));
        }
    }

    #[test]
    fn what_has_ended_is_seen() {
        let write = call(Op::Write(1), 0, 10, 0);
        assert!(!is_linearizable(&Register, &[write, call(Op::Read, 11, 12, 0)]));
        assert!(is_linearizable(&Register, &[write, call(Op::Read, 11, 12, 1)]));
    }

    #[test]
    fn two_readers_do_not_see_a_write_come_and_go() {
        let write = call(Op::Write(1), 0, 10, 0);
        let (new, old) = (call(Op::Read, 1, 2, 1), call(Op::Read, 3, 4, 0));
        assert!(!is_linearizable(&Register, &[write, new, old]));
    }

    #[test]
    fn the_call_of_a_dead_process_may_have_happened_or_not() {
        let write = Call { process: 0, op: Op::Write(1), from: 0, ended: None };
        for read in [0, 1] {
            assert!(is_linearizable(&Register, &[write, call(Op::Read, 5, 6, read)]));
        }
        let (new, old) = (call(Op::Read, 1, 2, 1), call(Op::Read, 3, 4, 0));
        assert!(!is_linearizable(&Register, &[write, new, old]));
    }
}
