//! Sets of a manager: each verb does what that of `HashSet` does, and does it at once.

mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::HashSet;

use common::watched;
use model::{CROWD, Script, crowd, play_all, sorted};
use multiproc::{List, Manager, Process, Set};
use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// What can be done to a set.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Insert(String),
    Remove(String),
    Contains(String),
    PopAny,
    Extend(Vec<String>),
    Retain,
    Drain,
    Clear,
    Count,
    Combine(HashSet<String>),
    Compare(HashSet<String>),
}

fn element() -> impl Strategy<Value = String> {
    "[a-f]{0,2}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => element().prop_map(Step::Insert),
        2 => element().prop_map(Step::Remove),
        2 => element().prop_map(Step::Contains),
        1 => Just(Step::PopAny),
        1 => vec(element(), 0..8).prop_map(Step::Extend),
        1 => prop_oneof![Just(Step::Retain), Just(Step::Drain), Just(Step::Clear)],
        1 => Just(Step::Count),
        1 => hash_set(element(), 0..8).prop_map(Step::Combine),
        1 => hash_set("[a-f]", 0..3).prop_map(Step::Compare),
    ]
}

/// Does the same to a set of a manager and to one of std.
fn play(_: &mut (), (set, script): Script<HashSet<String>, Step>) {
    set.clear().unwrap();
    let mut model = HashSet::new();
    for step in script {
        match step {
            Step::Insert(element) => {
                assert_eq!(set.insert(element.clone()).unwrap(), model.insert(element));
            }
            Step::Remove(element) => {
                assert_eq!(set.remove(&*element).unwrap(), model.remove(&element));
            }
            Step::Contains(element) => {
                assert_eq!(set.contains(&*element).unwrap(), model.contains(&element));
            }
            Step::PopAny => {
                let popped = set.pop_any().unwrap();
                assert_eq!(popped.is_none(), model.is_empty());
                assert!(popped.is_none_or(|element| model.remove(&element)));
            }
            Step::Extend(elements) => {
                set.extend(elements.clone()).unwrap();
                model.extend(elements);
            }
            Step::Retain => {
                set.retain(|element| element.len() < 2).unwrap();
                model.retain(|element: &String| element.len() < 2);
            }
            Step::Drain => assert_eq!(set.drain().unwrap(), std::mem::take(&mut model)),
            Step::Clear => {
                set.clear().unwrap();
                model.clear();
            }
            Step::Count => {
                assert_eq!(set.len().unwrap(), model.len());
                assert_eq!(set.is_empty().unwrap(), model.is_empty());
            }
            Step::Combine(other) => combine(&set, &model, other),
            Step::Compare(other) => compare(&set, &model, other),
        }
        assert_eq!(set.snapshot().unwrap(), model);
    }
}

/// The other set by reference, and by value.
fn combine(set: &Set<String>, model: &HashSet<String>, other: HashSet<String>) {
    assert_eq!(set.union(&other).unwrap(), model | &other);
    assert_eq!(set.intersection(&other).unwrap(), model & &other);
    assert_eq!(set.difference(&other).unwrap(), model - &other);
    assert_eq!(set.symmetric_difference(&other).unwrap(), model ^ &other);
    assert_eq!(set.union(other.clone()).unwrap(), model | &other);
    assert_eq!(set.intersection(other.clone()).unwrap(), model & &other);
    assert_eq!(set.difference(other.clone()).unwrap(), model - &other);
    assert_eq!(set.symmetric_difference(other.clone()).unwrap(), model ^ &other);
}

fn compare(set: &Set<String>, model: &HashSet<String>, other: HashSet<String>) {
    for other in [&other, &(model & &other), &(model | &other), &(&other - model)] {
        assert_eq!(set.is_subset(other).unwrap(), model.is_subset(other));
        assert_eq!(set.is_superset(other).unwrap(), model.is_superset(other));
        assert_eq!(set.is_disjoint(other).unwrap(), model.is_disjoint(other));
    }
    assert_eq!(set.is_subset(other.clone()).unwrap(), model.is_subset(&other));
    assert_eq!(set.is_superset(other.clone()).unwrap(), model.is_superset(&other));
    assert_eq!(set.is_disjoint(other.clone()).unwrap(), model.is_disjoint(&other));
}

#[test]
fn every_verb_is_that_of_a_set() {
    play_all("every_verb_is_that_of_a_set", |manager| manager.set(), step(), play);
}

#[test]
fn a_set_begins_with_what_it_is_made_of() {
    let manager = Manager::start().unwrap();
    let set = manager.set_from([1, 2, 1, 3]).unwrap();
    assert_eq!(set.snapshot().unwrap(), HashSet::from([1, 2, 3]));
    // The other one's snapshot is a set as every other one.
    let other: Set<i32> = manager.host(HashSet::from([3, 4])).unwrap();
    assert_eq!(set.intersection(other.snapshot().unwrap()).unwrap(), HashSet::from([3]));
}

/// How much there is for all processes.
const WORK: usize = 1000;

/// Which numbers this process was the first to put in.
fn claim((set, me): (Set<usize>, usize)) -> Vec<usize> {
    let order = (0..WORK).map(|n| (n * 7 + me * 250) % WORK);
    order.filter(|number| set.insert(*number).unwrap()).collect()
}

/// Which numbers this process took out, by name or any.
fn disclaim((set, me): (Set<usize>, usize)) -> Vec<usize> {
    let mut mine = Vec::new();
    for number in (0..WORK).map(|n| (n * 7 + me * 250) % WORK) {
        if set.remove(&number).unwrap() {
            mine.push(number);
        }
        if number % 3 == 0 {
            mine.extend(set.pop_any().unwrap());
        }
    }
    mine
}

#[test]
fn each_element_goes_in_once_and_comes_out_once() {
    watched("each_element_goes_in_once_and_comes_out_once", || {
        let manager = Manager::start().unwrap();
        let set = manager.set().unwrap();
        let all: Vec<usize> = (0..WORK).collect();
        assert_eq!(sorted(crowd(claim, &set).into_iter().flatten()), all);
        assert_eq!(set.snapshot().unwrap(), all.iter().copied().collect());
        assert_eq!(sorted(crowd(disclaim, &set).into_iter().flatten()), all);
        assert!(set.is_empty().unwrap());
    });
}

/// Each process puts whole families in and takes whole families out; nobody sees a part of one.
fn families((set, me): (Set<usize>, usize)) {
    for n in 0..200 {
        let family = (n * (me + 1)) % 10;
        set.extend((0..10).map(|member| family * 10 + member)).unwrap();
        let seen = set.snapshot().unwrap();
        let whole = |member: &usize| (0..10).all(|n| seen.contains(&(member / 10 * 10 + n)));
        assert!(seen.iter().all(whole), "{seen:?}");
        set.retain(|member| member / 10 % 2 == 0).unwrap();
    }
}

#[test]
fn nobody_sees_a_verb_half_done() {
    watched("nobody_sees_a_verb_half_done", || {
        let manager = Manager::start().unwrap();
        let set = manager.set().unwrap();
        assert_eq!(crowd(families, &set).len(), CROWD);
        assert!(set.snapshot().unwrap().iter().all(|member| member / 10 % 2 == 0));
    });
}

fn tell_apart((found, wanted): (Set<(u64, String)>, List<String>)) -> usize {
    for name in wanted.drain(..).unwrap() {
        found.insert((name.len() as u64, name)).unwrap();
    }
    found.len().unwrap()
}

#[test]
fn a_set_and_a_list_are_used_by_a_child() {
    let manager = Manager::start().unwrap();
    let found = manager.set().unwrap();
    let wanted = manager.list_from(["ant", "bee", "ant"].map(str::to_owned)).unwrap();
    let child = Process::spawn(tell_apart, (found.clone(), wanted.clone())).unwrap();
    assert_eq!(child.join().unwrap(), 2);
    assert!(found.contains(&(3, "bee".to_owned())).unwrap());
    assert!(wanted.is_empty().unwrap());
}
