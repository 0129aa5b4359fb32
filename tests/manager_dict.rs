//! Dictionaries of a manager: each verb does what that of `HashMap` does, and does it at once.

mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::{HashMap, HashSet};

use common::{until, watched};
use model::{CROWD, Script, assert_stumbled, crowd, play_all, sorted};
use multiproc::{Dict, ErrorKind, List, Manager, ManagerClient, Process};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// What can be done to a dictionary.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Insert(String, i64),
    Get(String),
    GetOrInsert(String, i64),
    Contains(String),
    Remove(String),
    PopAny,
    Update(String, i64),
    UpdateOrInsert(String, i64, i64),
    Panic(String, i64),
    Extend(Vec<(String, i64)>),
    Retain,
    Drain,
    Clear,
    Count,
    List,
    Snapshot,
}

fn key() -> impl Strategy<Value = String> {
    "[a-f]?"
}

fn step() -> impl Strategy<Value = Step> {
    let number = -3..4_i64;
    prop_oneof![
        4 => (key(), number.clone()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => key().prop_map(Step::Get),
        1 => (key(), number.clone()).prop_map(|(key, value)| Step::GetOrInsert(key, value)),
        1 => key().prop_map(Step::Contains),
        2 => key().prop_map(Step::Remove),
        1 => Just(Step::PopAny),
        2 => (key(), number.clone()).prop_map(|(key, more)| Step::Update(key, more)),
        1 => (key(), number.clone(), number.clone())
            .prop_map(|(key, first, more)| Step::UpdateOrInsert(key, first, more)),
        1 => (key(), number.clone()).prop_map(|(key, value)| Step::Panic(key, value)),
        1 => vec((key(), number), 0..4).prop_map(Step::Extend),
        1 => Just(Step::Retain),
        1 => prop_oneof![Just(Step::Drain), Just(Step::Clear)],
        1 => Just(Step::Count),
        1 => Just(Step::List),
        1 => Just(Step::Snapshot),
    ]
}

fn add(value: &mut i64, more: i64) -> i64 {
    *value += more;
    *value
}

fn is_kept(key: &String, value: &mut i64) -> bool {
    *value += 1;
    *value % 2 == 0 && key != "c"
}

/// Changes the value, and panics then.
fn stumble(value: &mut i64, new: i64) {
    *value = new;
    panic!("stumbled over {new}");
}

/// Does the same to a dictionary and to a map.
fn play(_: &mut (), (dict, script): Script<HashMap<String, i64>, Step>) {
    dict.clear().unwrap();
    let mut map = HashMap::<String, i64>::new();
    for step in script {
        match step {
            Step::Insert(key, value) => {
                assert_eq!(dict.insert(key.clone(), value).unwrap(), map.insert(key, value));
            }
            Step::Get(key) => assert_eq!(dict.get(&key).unwrap(), map.get(&key).copied()),
            Step::GetOrInsert(key, value) => {
                let got = dict.get_or_insert(key.clone(), value).unwrap();
                assert_eq!(got, *map.entry(key).or_insert(value));
            }
            Step::Contains(key) => {
                assert_eq!(dict.contains_key(&*key).unwrap(), map.contains_key(&key));
            }
            Step::Remove(key) => assert_eq!(dict.remove(&*key).unwrap(), map.remove(&key)),
            Step::PopAny => {
                let popped = dict.pop_any().unwrap();
                assert_eq!(popped.is_none(), map.is_empty());
                if let Some((key, value)) = popped {
                    assert_eq!(map.remove(&key), Some(value));
                }
            }
            Step::Update(key, more) => {
                let changed = map.get_mut(&key).map(|value| add(value, more));
                assert_eq!(dict.update(&*key, add, more).unwrap(), changed);
            }
            Step::UpdateOrInsert(key, first, more) => {
                let changed = dict.update_or_insert(key.clone(), first, add, more).unwrap();
                assert_eq!(changed, add(map.entry(key).or_insert(first), more));
            }
            Step::Panic(key, new) => stumble_in_both(&dict, &mut map, &key, new),
            Step::Extend(items) => {
                dict.extend(items.clone()).unwrap();
                map.extend(items);
            }
            Step::Retain => {
                dict.retain(is_kept).unwrap();
                map.retain(is_kept);
            }
            Step::Drain => assert_eq!(dict.drain().unwrap(), std::mem::take(&mut map)),
            Step::Clear => {
                dict.clear().unwrap();
                map.clear();
            }
            Step::Count => {
                assert_eq!(dict.len().unwrap(), map.len());
                assert_eq!(dict.is_empty().unwrap(), map.is_empty());
            }
            Step::List => {
                assert_eq!(sorted(dict.keys().unwrap()), sorted(map.keys().cloned()));
                assert_eq!(sorted(dict.values().unwrap()), sorted(map.values().copied()));
                assert_eq!(sorted(dict.items().unwrap()), sorted(map.clone()));
            }
            Step::Snapshot => assert_eq!(dict.snapshot().unwrap(), map),
        }
    }
    assert_eq!(dict.snapshot().unwrap(), map);
}

fn stumble_in_both(dict: &Dict<String, i64>, map: &mut HashMap<String, i64>, key: &str, new: i64) {
    let outcome = dict.update(key, stumble, new);
    let Some(value) = map.get_mut(key) else { return assert_eq!(outcome.unwrap(), None) };
    *value = new;
    let error = outcome.unwrap_err();
    assert_stumbled(&error, &format!("stumbled over {new}"));
}

#[test]
fn every_verb_is_that_of_a_map() {
    play_all("every_verb_is_that_of_a_map", |manager| manager.dict(), step(), play);
}

type Pairs = Dict<[u8; 2], u8>;

/// A slice has its length before its bytes, and an array has not.
fn look_up_slices(_: &mut (), pairs: Pairs) {
    assert_eq!(pairs.get(&[1, 2]).unwrap(), Some(3));
    for slice in [&[][..], &[1, 2], &[1, 2, 3]] {
        assert_eq!(pairs.get(slice).unwrap_err().kind(), ErrorKind::Codec);
        assert_eq!(pairs.remove(slice).unwrap_err().kind(), ErrorKind::Codec);
    }
}

#[test]
fn a_key_that_has_other_bytes_when_borrowed_is_an_error() {
    let manager = Manager::start().unwrap();
    let pairs = manager.dict_from([([1, 2], 3), ([2, 1], 4), ([1, 1], 5)]).unwrap();
    look_up_slices(&mut (), pairs.clone());
    manager.host(()).unwrap().call(look_up_slices, pairs.clone()).unwrap();
    assert_eq!(pairs.len().unwrap(), 3);
}

#[test]
fn a_dictionary_begins_with_what_it_is_made_of() {
    let manager = Manager::start().unwrap();
    let dict = manager.dict_from([(1, 'a'), (2, 'b'), (1, 'c')]).unwrap();
    let hosted: Dict<i32, char> = manager.host(HashMap::from([(1, 'c'), (2, 'b')])).unwrap();
    assert_eq!(dict.snapshot().unwrap(), hosted.snapshot().unwrap());
    assert_ne!(dict, hosted);
}

/// How much each process does.
const WORK: usize = 400;

/// What each ticket was, in the order in which this process drew them.
fn draw_tickets((dict, me): (Dict<String, u64>, usize)) -> Vec<u64> {
    let draw = |next: &mut u64, ()| {
        *next += 1;
        *next - 1
    };
    let mut tickets = Vec::new();
    for n in 0..WORK {
        tickets.push(dict.update_or_insert("next".to_owned(), 0, draw, ()).unwrap());
        let own = format!("{me}-{n}");
        assert_eq!(dict.insert(own.clone(), n as u64).unwrap(), None);
        if n % 2 == 0 {
            assert_eq!(dict.remove(&*own).unwrap(), Some(n as u64));
        }
    }
    tickets
}

#[test]
fn updates_of_all_processes_are_one_after_the_other() {
    watched("updates_of_all_processes_are_one_after_the_other", || {
        let manager = Manager::start().unwrap();
        let dict = manager.dict().unwrap();
        let drawn = crowd(draw_tickets, &dict);
        assert!(drawn.iter().all(|tickets| tickets.is_sorted()));
        let all = (CROWD * WORK) as u64;
        assert_eq!(sorted(drawn.into_iter().flatten()), (0..all).collect::<Vec<_>>());
        assert_eq!(dict.remove("next").unwrap(), Some(all));
        let left = dict.snapshot().unwrap();
        assert_eq!(left.len(), CROWD * WORK / 2);
        for (key, value) in left {
            assert!(value % 2 == 1 && key.ends_with(&format!("-{value}")), "{key}: {value}");
        }
    });
}

/// Moves coins from account to account, and gives some away for good: how many.
fn spend((accounts, me): (Dict<usize, i64>, usize)) -> i64 {
    let pay = |coins: &mut i64, amount: i64| {
        let is_enough = *coins >= amount;
        *coins -= if is_enough { amount } else { 0 };
        is_enough
    };
    let mut given = 0;
    for n in 0..WORK {
        let (from, to) = ((n + me) % 5, (n * me + 1) % 5);
        let amount = (n % 7) as i64;
        if accounts.update(&from, pay, amount).unwrap() != Some(true) {
            continue;
        }
        if n % 3 == 0 {
            given += amount;
            continue;
        }
        accounts.update_or_insert(to, 0, |coins, amount| *coins += amount, amount).unwrap();
    }
    given
}

#[test]
fn nothing_is_lost_between_processes() {
    watched("nothing_is_lost_between_processes", || {
        let manager = Manager::start().unwrap();
        let accounts = manager.dict_from((0..5).map(|account| (account, 1000))).unwrap();
        let given: i64 = crowd(spend, &accounts).into_iter().sum();
        let left = accounts.values().unwrap();
        assert!(left.iter().all(|coins| *coins >= 0), "{left:?}");
        assert_eq!(left.into_iter().sum::<i64>() + given, 5 * 1000);
    });
}

type Tokens = Dict<usize, String>;

/// Takes what there is, by name or any.
fn grab((tokens, me): (Tokens, usize)) -> Vec<usize> {
    let mut grabbed = Vec::new();
    let mut next = me * 100;
    while let Some((token, text)) = tokens.pop_any().unwrap() {
        assert_eq!(token.to_string(), text);
        grabbed.push(token);
        next = (next + 7) % 1000;
        grabbed.extend(tokens.remove(&next).unwrap().map(|_| next));
    }
    grabbed
}

#[test]
fn what_is_taken_out_only_one_process_has() {
    watched("what_is_taken_out_only_one_process_has", || {
        let manager = Manager::start().unwrap();
        let tokens: Tokens = manager.dict_from((0..1000).map(|n| (n, n.to_string()))).unwrap();
        let grabbed = crowd(grab, &tokens).into_iter().flatten();
        assert_eq!(sorted(grabbed), (0..1000).collect::<Vec<_>>());
        assert!(tokens.is_empty().unwrap());
    });
}

/// Sees that what another one changes in one call is never half changed.
fn observe((dict, me): (Dict<usize, u64>, usize)) {
    for n in 0..WORK as u64 {
        if me == 0 {
            dict.extend((0..50).map(|key| (key, n))).unwrap();
            dict.retain(|_, value| {
                *value += 1;
                true
            })
            .unwrap();
        }
        let values: HashSet<u64> = dict.values().unwrap().into_iter().collect();
        assert!(values.len() <= 1, "{values:?}");
    }
}

#[test]
fn nobody_sees_a_verb_half_done() {
    watched("nobody_sees_a_verb_half_done", || {
        let manager = Manager::start().unwrap();
        crowd(observe, &manager.dict().unwrap());
    });
}

/// What Python has as `1`, `"2"` and `0.25` in one dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Mixed {
    Whole(i64),
    Text(String),
    /// The bits of a float.
    Real(u64),
}

type Mix = (Dict<Mixed, Option<Mixed>>, List<i32>);

fn change_both((dict, list): Mix) {
    dict.insert(Mixed::Whole(1), Some(Mixed::Text("1".to_owned()))).unwrap();
    dict.insert(Mixed::Text("2".to_owned()), Some(Mixed::Whole(2))).unwrap();
    dict.insert(Mixed::Real(0.25_f64.to_bits()), None).unwrap();
    list.reverse().unwrap();
}

#[test]
fn m1_a_child_changes_a_dictionary_and_a_list() {
    let manager = Manager::start().unwrap();
    let both: Mix = (manager.dict().unwrap(), manager.list_from(0..10).unwrap());
    Process::spawn(change_both, both.clone()).unwrap().join().unwrap();
    let (dict, list) = both;
    assert_eq!(dict.len().unwrap(), 3);
    assert_eq!(dict.get(&Mixed::Whole(1)).unwrap(), Some(Some(Mixed::Text("1".to_owned()))));
    assert_eq!(dict.get(&Mixed::Text("2".to_owned())).unwrap(), Some(Some(Mixed::Whole(2))));
    assert_eq!(dict.get(&Mixed::Real(0.25_f64.to_bits())).unwrap(), Some(None));
    assert_eq!(list.snapshot().unwrap(), (0..10).rev().collect::<Vec<_>>());
}

fn put((dict, number): (Dict<u32, u32>, u32)) {
    dict.insert(number, number).unwrap();
}

#[test]
fn m2_children_put_in_their_numbers() {
    let manager = Manager::start().unwrap();
    let dict = manager.dict().unwrap();
    let put = |number| Process::spawn(put, (dict.clone(), number)).unwrap();
    let children: Vec<_> = (0..5).map(put).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(sorted(dict.values().unwrap()), [0, 1, 2, 3, 4]);
}

type Index = Dict<String, List<u64>>;

/// Makes lists, of which only the dictionary knows then.
fn fill_index((manager, index): (ManagerClient, Index)) {
    for name in ["odd", "even"] {
        let list = manager.list_from([u64::from(name == "odd")]).unwrap();
        assert_eq!(index.insert(name.to_owned(), list).unwrap(), None);
    }
}

/// In the server, from within a call of the dictionary.
fn push_to_all(lists: &HashMap<String, List<u64>>, _: ()) -> Vec<usize> {
    let push = |list: &List<u64>| {
        list.push(list.last().unwrap().unwrap() + 2).unwrap();
        list.len().unwrap()
    };
    lists.values().map(push).collect()
}

#[test]
fn collections_inside_live_as_long_as_they_are_inside() {
    watched("collections_inside_live_as_long_as_they_are_inside", || {
        let manager = Manager::start().unwrap();
        let index: Index = manager.dict().unwrap();
        let args = (manager.client(), index.clone());
        Process::spawn(fill_index, args).unwrap().join().unwrap();
        let objects = || manager.debug_info().unwrap().objects.len();
        for _ in 0..10 {
            // Whoever made them is dead, and their object's last handles are in the dictionary.
            index.get("odd").unwrap().unwrap().push(3).unwrap();
        }
        assert_eq!(index.read(push_to_all, ()).unwrap().iter().sum::<usize>(), 12 + 2);
        let even = index.get("even").unwrap().unwrap();
        assert_eq!(even.snapshot().unwrap(), [0, 2]);
        assert_eq!(objects(), 3);
        index.remove("odd").unwrap().unwrap().pop().unwrap();
        until(|| objects() == 2);
        index.clear().unwrap();
        assert_eq!(even.pop().unwrap(), Some(2));
        assert_eq!(objects(), 2);
        drop(even);
        until(|| objects() == 1);
    });
}

#[test]
fn a_dictionary_goes_with_all_that_is_in_it() {
    watched("a_dictionary_goes_with_all_that_is_in_it", || {
        let manager = Manager::start().unwrap();
        let outer: Dict<u32, Index> = manager.dict().unwrap();
        for n in 0..3 {
            let inner = manager.dict().unwrap();
            inner.insert("list".to_owned(), manager.list().unwrap()).unwrap();
            outer.insert(n, inner).unwrap();
        }
        let objects = || manager.debug_info().unwrap().objects.len();
        assert_eq!(objects(), 7);
        drop(outer);
        until(|| objects() == 0);
    });
}
