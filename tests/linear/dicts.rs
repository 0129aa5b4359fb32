//! Dictionaries of a manager.

use multiproc::{Dict, Manager};

use crate::common::{next, seed, storms, watched};
use crate::history::{Call, Model, Verdict};
use crate::log::{Part, Plan, meet};

const CALLS: usize = 12;
const KEYS: usize = 2;

/// What a call returns that found no value.
const NOTHING: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(usize, u64),
    Get(usize),
    Remove(usize),
}

impl Op {
    /// As one word of a log: what, the key, the value.
    fn number(self) -> u64 {
        match self {
            Self::Insert(key, value) => value << 8 | (key as u64) << 2,
            Self::Get(key) => (key as u64) << 2 | 1,
            Self::Remove(key) => (key as u64) << 2 | 2,
        }
    }

    fn of(number: u64) -> Self {
        let key = (number >> 2 & 0x3f) as usize;
        match number & 3 {
            0 => Self::Insert(key, number >> 8),
            1 => Self::Get(key),
            _ => Self::Remove(key),
        }
    }

    fn at_random(random: &mut u64) -> Self {
        let (kind, key) = (next(random) % 3, next(random) as usize % KEYS);
        match kind {
            0 => Self::Insert(key, next(random) >> 16),
            1 => Self::Get(key),
            _ => Self::Remove(key),
        }
    }
}

/// A dictionary of one process.
struct Values;

impl Model for Values {
    type Op = Op;
    type State = [Option<u64>; KEYS];

    fn first(&self) -> Self::State {
        [None; KEYS]
    }

    fn after(&self, state: &Self::State, call: &Call<Op>) -> Vec<Self::State> {
        let mut next = *state;
        let found = match call.op {
            Op::Insert(key, value) => next[key].replace(value),
            Op::Get(key) => next[key],
            Op::Remove(key) => next[key].take(),
        };
        match call.ended {
            Some((_, returned)) if returned != found.unwrap_or(NOTHING) => vec![],
            _ => vec![next],
        }
    }
}

type Numbers = Dict<usize, u64>;

fn act(dict: &Numbers, op: Op) -> u64 {
    let found = match op {
        Op::Insert(key, value) => dict.insert(key, value),
        Op::Get(key) => dict.get(&key),
        Op::Remove(key) => dict.remove(&key),
    };
    found.unwrap().unwrap_or(NOTHING)
}

fn use_dict((dict, mut log, together, mut random): Part<Numbers>) {
    // The pipe is there before the clock runs.
    dict.len().unwrap();
    meet(&together);
    for _ in 0..CALLS {
        let op = Op::at_random(&mut random);
        log.call(op.number(), || act(&dict, op));
    }
}

/// Reads what was there before the others began.
fn remember((dict, mut log, together, mut random): Part<Numbers>) {
    let seen = dict.snapshot().unwrap();
    meet(&together);
    for _ in 0..CALLS {
        let op = Op::at_random(&mut random);
        log.call(op.number(), || match op {
            Op::Get(key) => seen.get(&key).copied().unwrap_or(NOTHING),
            other => act(&dict, other),
        });
    }
}

fn look(body: fn(Part<Numbers>), kills: bool) -> Verdict {
    let mut random = seed();
    let mut verdict = Verdict::default();
    let manager = Manager::start().unwrap();
    let plan = Plan { body, calls: CALLS, op: Op::of, kills };
    for _ in 0..60 * storms() {
        let dict = manager.dict().unwrap();
        verdict.add(&Values, &plan.record(|_| dict.clone(), &mut random));
    }
    verdict
}

#[test]
fn dictionaries_are_dictionaries() {
    watched("dictionaries_are_dictionaries", || {
        look(use_dict, false).assert_right("Dict");
        look(use_dict, true).assert_right("Dict, with a death");
    });
}

#[test]
fn a_dictionary_that_remembers_is_caught() {
    watched("a_dictionary_that_remembers_is_caught", || {
        assert!(Verdict::is_caught(|| look(remember, false)));
    });
}
