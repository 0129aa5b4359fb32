//! Lists of a manager: each verb does what that of `Vec` does, and does it at once; an index that
//! is none is an error.

mod common;
#[path = "common/model.rs"]
mod model;

use std::ops::Bound;

use common::{until, watched};
use model::{CROWD, Script, assert_stumbled, crowd, play_all, sorted};
use multiproc::{ErrorKind, List, Lock, Manager, Process, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

type Ends = (Bound<usize>, Bound<usize>);

/// What can be done to a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Push(i32),
    Pop,
    Insert(usize, i32),
    Remove(usize),
    RemoveItem(i32),
    Get(usize),
    Ends,
    Set(usize, i32),
    Update(usize, i32),
    Panic(usize, i32),
    Swap(usize, usize),
    Count,
    Find(i32),
    Sort,
    SortBy,
    SortByKey,
    Reverse,
    Extend(Vec<i32>),
    Truncate(usize),
    Clear,
    Retain,
    Slice(Ends),
    Drain(Ends),
}

fn bound() -> impl Strategy<Value = Bound<usize>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..8_usize).prop_map(Bound::Included),
        (0..8_usize).prop_map(Bound::Excluded),
        Just(Bound::Included(usize::MAX)),
        Just(Bound::Excluded(usize::MAX)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (index, number) = (0..8_usize, -9..10_i32);
    let both = (index.clone(), number.clone());
    prop_oneof![
        3 => number.clone().prop_map(Step::Push),
        1 => Just(Step::Pop),
        2 => both.clone().prop_map(|(index, element)| Step::Insert(index, element)),
        1 => index.clone().prop_map(Step::Remove),
        1 => number.clone().prop_map(Step::RemoveItem),
        1 => index.clone().prop_map(Step::Get),
        1 => Just(Step::Ends),
        1 => both.clone().prop_map(|(index, element)| Step::Set(index, element)),
        1 => both.clone().prop_map(|(index, more)| Step::Update(index, more)),
        1 => both.prop_map(|(index, element)| Step::Panic(index, element)),
        1 => (index.clone(), index.clone()).prop_map(|(one, other)| Step::Swap(one, other)),
        1 => Just(Step::Count),
        1 => number.clone().prop_map(Step::Find),
        1 => prop_oneof![Just(Step::Sort), Just(Step::SortBy), Just(Step::SortByKey)],
        1 => Just(Step::Reverse),
        3 => vec(number, 0..6).prop_map(Step::Extend),
        1 => index.prop_map(Step::Truncate),
        1 => prop_oneof![Just(Step::Clear), Just(Step::Retain)],
        1 => (bound(), bound()).prop_map(Step::Slice),
        1 => (bound(), bound()).prop_map(Step::Drain),
    ]
}

fn add(element: &mut i32, more: i32) -> i32 {
    *element += more;
    *element
}

/// Changes the element, and panics then.
fn stumble(element: &mut i32, new: i32) {
    *element = new;
    panic!("stumbled over {new}");
}

/// What a list says must be what the model says, or that there is no such element.
fn same<T: PartialEq + std::fmt::Debug>(said: Result<T>, wanted: Option<T>, length: usize) {
    match said {
        Ok(value) => assert_eq!(Some(value), wanted),
        Err(error) => {
            assert_eq!(wanted, None, "{error}");
            assert_eq!(error.kind(), ErrorKind::Bounds, "{error}");
            assert!(error.to_string().ends_with(&format!("a list of {length}")), "{error}");
        }
    }
}

/// Does the same to a list and to a vector.
fn play(_: &mut (), (list, script): Script<Vec<i32>, Step>) {
    list.clear().unwrap();
    let mut model = Vec::new();
    for step in script {
        if !change_one(&list, &mut model, &step) {
            change_many(&list, &mut model, step);
        }
        assert_eq!(list.snapshot().unwrap(), model);
    }
}

/// The steps that concern single elements.
fn change_one(list: &List<i32>, model: &mut Vec<i32>, step: &Step) -> bool {
    let length = model.len();
    match *step {
        Step::Push(element) => {
            list.push(element).unwrap();
            model.push(element);
        }
        Step::Pop => assert_eq!(list.pop().unwrap(), model.pop()),
        Step::Insert(index, element) => {
            let inserted = (index <= length).then(|| model.insert(index, element));
            same(list.insert(index, element), inserted, length);
        }
        Step::Remove(index) => {
            let removed = (index < length).then(|| model.remove(index));
            same(list.remove(index), removed, length);
        }
        Step::RemoveItem(element) => {
            let index = model.iter().position(|other| *other == element);
            let removed = index.map(|index| model.remove(index));
            assert_eq!(list.remove_item(&element).unwrap(), removed);
        }
        Step::Get(index) => assert_eq!(list.get(index).unwrap(), model.get(index).copied()),
        Step::Ends => {
            assert_eq!(list.first().unwrap(), model.first().copied());
            assert_eq!(list.last().unwrap(), model.last().copied());
        }
        Step::Set(index, element) => {
            let old = model.get_mut(index).map(|place| std::mem::replace(place, element));
            same(list.set(index, element), old, length);
        }
        Step::Update(index, more) => {
            let changed = model.get_mut(index).map(|element| add(element, more));
            same(list.update(index, add, more), changed, length);
        }
        Step::Panic(index, new) => {
            let outcome = list.update(index, stumble, new);
            let Some(element) = model.get_mut(index) else {
                same(outcome, None, length);
                return true;
            };
            *element = new;
            assert_stumbled(&outcome.unwrap_err(), &format!("stumbled over {new}"));
        }
        Step::Swap(one, other) => {
            let swapped = (one < length && other < length).then(|| model.swap(one, other));
            same(list.swap(one, other), swapped, length);
        }
        _ => return false,
    }
    true
}

/// The steps that concern all elements, or many.
fn change_many(list: &List<i32>, model: &mut Vec<i32>, step: Step) {
    let length = model.len();
    match step {
        Step::Count => {
            assert_eq!(list.len().unwrap(), length);
            assert_eq!(list.is_empty().unwrap(), model.is_empty());
        }
        Step::Find(element) => {
            assert_eq!(list.contains(&element).unwrap(), model.contains(&element));
            let index = model.iter().position(|other| *other == element);
            assert_eq!(list.position(&element).unwrap(), index);
            let count = model.iter().filter(|other| **other == element).count();
            assert_eq!(list.count(&element).unwrap(), count);
        }
        Step::Sort => {
            list.sort().unwrap();
            model.sort();
        }
        Step::SortBy => {
            list.sort_by(|one, other| other.cmp(one)).unwrap();
            model.sort_by(|one, other| other.cmp(one));
        }
        Step::SortByKey => {
            list.sort_by_key(|element| element.abs() / 3).unwrap();
            model.sort_by_key(|element| element.abs() / 3);
        }
        Step::Reverse => {
            list.reverse().unwrap();
            model.reverse();
        }
        Step::Extend(elements) => {
            list.extend(elements.clone()).unwrap();
            model.extend(elements);
        }
        Step::Truncate(to) => {
            list.truncate(to).unwrap();
            model.truncate(to);
        }
        Step::Clear => {
            list.clear().unwrap();
            model.clear();
        }
        Step::Retain => {
            list.retain(|element| element % 2 == 0).unwrap();
            model.retain(|element| element % 2 == 0);
        }
        Step::Slice(ends) => same(list.slice(ends), model.get(ends).map(<[_]>::to_vec), length),
        Step::Drain(ends) => {
            let drained = model.get(ends).map(<[_]>::to_vec);
            if drained.is_some() {
                model.drain(ends);
            }
            same(list.drain(ends), drained, length);
        }
        single => panic!("{single:?} is of one element"),
    }
}

#[test]
fn every_verb_is_that_of_a_vector() {
    play_all("every_verb_is_that_of_a_vector", |manager| manager.list(), step(), play);
}

#[test]
fn an_error_names_the_index_and_the_length() {
    let manager = Manager::start().unwrap();
    let list = manager.list_from(["a", "b"].map(str::to_owned)).unwrap();
    let new = || "c".to_owned();
    let said = [
        (list.remove(2).unwrap_err(), "element 2 of a list of 2"),
        (list.set(5, new()).unwrap_err(), "element 5 of a list of 2"),
        (list.swap(0, 7).unwrap_err(), "element 7 of a list of 2"),
        (list.update(3, |text, ()| text.clear(), ()).unwrap_err(), "element 3 of a list of 2"),
        (list.insert(3, new()).unwrap_err(), "insert element 3 into a list of 2"),
        (list.slice(1..=2).unwrap_err(), "elements 1 to 3 of a list of 2"),
        (list.drain(4..).unwrap_err(), "elements 4 to 2 of a list of 2"),
    ];
    for (error, words) in said {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Bounds, words));
    }
    assert_eq!(list.snapshot().unwrap(), ["a", "b"]);
}

#[test]
fn elements_are_looked_for_by_what_they_borrow_as() {
    let manager = Manager::start().unwrap();
    let list = manager.list_from(["a", "b", "a"].map(str::to_owned)).unwrap();
    assert!(list.contains("b").unwrap() && !list.contains("c").unwrap());
    assert_eq!((list.position("b").unwrap(), list.position("c").unwrap()), (Some(1), None));
    assert_eq!(list.count("a").unwrap(), 2);
    assert_eq!(list.remove_item("a").unwrap().as_deref(), Some("a"));
    assert_eq!(list.snapshot().unwrap(), ["b", "a"]);
}

#[test]
fn floats_and_long_lists_can_be_elements() {
    let manager = Manager::start().unwrap();
    let long = manager.list_from((0..200_000).map(f64::from)).unwrap();
    long.sort_by(|one, other| other.total_cmp(one)).unwrap();
    assert_eq!(long.first().unwrap(), Some(199_999.0));
    assert_eq!(long.slice(199_990..).unwrap().len(), 10);
    assert!(long.snapshot().unwrap().is_sorted_by(|one, other| one > other));
    assert_eq!(long.drain(1..).unwrap().len(), 199_999);
}

/// How much each process does.
const WORK: usize = 400;

/// Two processes put elements in, at the end; the other two take them out, in the front.
fn pass_on((list, me): (List<(usize, usize)>, usize)) -> Vec<(usize, usize)> {
    if me < CROWD / 2 {
        (0..WORK).for_each(|n| list.push((me, n)).unwrap());
        return Vec::new();
    }
    let mut taken = Vec::new();
    while taken.len() < WORK {
        match list.remove(0) {
            Ok(element) => taken.push(element),
            Err(error) => assert_eq!(error.to_string(), "element 0 of a list of 0"),
        }
    }
    taken
}

#[test]
fn a_list_passes_on_each_element_once_and_in_order() {
    watched("a_list_passes_on_each_element_once_and_in_order", || {
        let manager = Manager::start().unwrap();
        let list = manager.list().unwrap();
        let taken = crowd(pass_on, &list);
        for mine in &taken {
            for maker in 0..CROWD {
                assert!(mine.iter().filter(|(who, _)| *who == maker).is_sorted());
            }
        }
        let put = (0..CROWD / 2).flat_map(|me| (0..WORK).map(move |n| (me, n)));
        assert_eq!(sorted(taken.into_iter().flatten()), put.collect::<Vec<_>>());
        assert!(list.is_empty().unwrap());
    });
}

/// Adds to shared elements, and turns the list round meanwhile. What it added.
fn add_up((list, me): (List<u64>, usize)) -> u64 {
    let mut added = 0;
    for n in 0..WORK {
        let more = (n * me) as u64 % 11;
        list.update(n % 8, |element, more| *element += more, more).unwrap();
        added += more;
        match n % 4 {
            0 => list.reverse().unwrap(),
            1 => list.swap(n % 7, me).unwrap(),
            2 => list.sort().unwrap(),
            // What was there goes to another one.
            _ => {
                let old = list.set(0, 0).unwrap();
                list.update(7, |element, old| *element += old, old).unwrap();
            }
        }
    }
    added
}

#[test]
fn totals_hold_whatever_the_order() {
    watched("totals_hold_whatever_the_order", || {
        let manager = Manager::start().unwrap();
        let list = manager.list_from([0; 8]).unwrap();
        let added: u64 = crowd(add_up, &list).into_iter().sum();
        assert_eq!(list.snapshot().unwrap().into_iter().sum::<u64>(), added);
    });
}

/// Sees whole batches only, whoever put them in, and takes out whole batches.
fn batches((list, me): (List<usize>, usize)) -> usize {
    let mut count = 0;
    for n in 0..WORK / 4 {
        list.extend(vec![me * WORK + n; 8]).unwrap();
        let seen = list.snapshot().unwrap();
        assert!(seen.chunks(8).all(|batch| batch.len() == 8 && batch[0] == batch[7]), "{seen:?}");
        if n % 10 == 9 {
            let taken = list.drain(..).unwrap();
            assert!(taken.chunks(8).all(|batch| batch.len() == 8 && batch[0] == batch[7]));
            count += taken.len();
        }
    }
    count
}

#[test]
fn nobody_sees_a_verb_half_done() {
    watched("nobody_sees_a_verb_half_done", || {
        let manager = Manager::start().unwrap();
        let list = manager.list().unwrap();
        let count: usize = crowd(batches, &list).into_iter().sum();
        assert_eq!(count + list.len().unwrap(), CROWD * WORK / 4 * 8);
    });
}

fn die_with_all(locks: List<Lock>) {
    let locks = locks.drain(..).unwrap();
    let _guards: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
    std::process::exit(7);
}

#[test]
fn locks_are_elements_and_those_of_the_dead_are_freed() {
    watched("locks_are_elements_and_those_of_the_dead_are_freed", || {
        let manager = Manager::start().unwrap();
        let locks = manager.list_from((0..3).map(|_| manager.lock().unwrap())).unwrap();
        let mine = locks.snapshot().unwrap();
        Process::spawn(die_with_all, locks.clone()).unwrap().join().unwrap_err();
        assert!(locks.is_empty().unwrap());
        assert!(mine.iter().all(|lock| lock.lock().unwrap_err().is_owner_dead()));
    });
}

#[test]
fn a_list_of_lists_lives_as_long_as_the_outer_one() {
    watched("a_list_of_lists_lives_as_long_as_the_outer_one", || {
        let manager = Manager::start().unwrap();
        let rows: List<List<u8>> = manager.list().unwrap();
        let fill = |rows: List<List<u8>>| {
            let last = rows.last().unwrap().unwrap();
            last.push(rows.len().unwrap() as u8).unwrap();
        };
        for _ in 0..4 {
            rows.push(manager.list().unwrap()).unwrap();
            Process::spawn(fill, rows.clone()).unwrap().join().unwrap();
        }
        let objects = || manager.debug_info().unwrap().objects.len();
        let seen: Vec<_> =
            rows.snapshot().unwrap().iter().map(|row| row.snapshot().unwrap()).collect();
        assert_eq!(seen, [[1], [2], [3], [4]]);
        rows.truncate(1).unwrap();
        until(|| objects() == 2);
        drop(rows);
        until(|| objects() == 0);
    });
}
