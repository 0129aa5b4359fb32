//! Namespaces of a manager: named values, each of a type of its own, which may be handles.

mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;

use common::{until, watched};
use model::{CROWD, Script, assert_stumbled, crowd, play_all, sorted};
use multiproc::{
    Array, Barrier, Carried, Condition, Dict, Error, ErrorKind, Event, Fields, List, Lock, Manager,
    ManagerClient, Namespace, Process, Queue, ReentrantLock, Result, Semaphore, Value,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// What a field can be here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Anything {
    Number(u32),
    Text(String),
    Pair((bool, u8)),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    Number,
    Text,
    Pair,
}

/// What can be done to a namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Set(String, Anything),
    Get(String, Kind),
    Update(String, Anything),
    Panic(String, u32),
    Take(String, Kind),
    Remove(String),
    Contains(String),
    Names,
}

fn anything() -> impl Strategy<Value = Anything> {
    prop_oneof![
        any::<u32>().prop_map(Anything::Number),
        "[x-z]{0,3}".prop_map(Anything::Text),
        any::<(bool, u8)>().prop_map(Anything::Pair),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let name = || "[a-d]";
    let kind = || prop_oneof![Just(Kind::Number), Just(Kind::Text), Just(Kind::Pair)];
    prop_oneof![
        4 => (name(), anything()).prop_map(|(name, value)| Step::Set(name, value)),
        3 => (name(), kind()).prop_map(|(name, kind)| Step::Get(name, kind)),
        3 => (name(), anything()).prop_map(|(name, value)| Step::Update(name, value)),
        1 => (name(), any::<u32>()).prop_map(|(name, number)| Step::Panic(name, number)),
        2 => (name(), kind()).prop_map(|(name, kind)| Step::Take(name, kind)),
        1 => name().prop_map(Step::Remove),
        1 => name().prop_map(Step::Contains),
        1 => Just(Step::Names),
    ]
}

impl Anything {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Number(_) => "u32",
            Self::Text(_) => "alloc::string::String",
            Self::Pair(_) => "(bool, u8)",
        }
    }
}

impl Kind {
    fn type_name(self) -> &'static str {
        match self {
            Self::Number => "u32",
            Self::Text => "alloc::string::String",
            Self::Pair => "(bool, u8)",
        }
    }
}

/// A field as one type, whichever it is.
fn any_of<T>(said: Result<Option<T>>, whole: fn(T) -> Anything) -> Result<Option<Anything>> {
    said.map(|value| value.map(whole))
}

fn get(space: &Namespace, name: &str, kind: Kind) -> Result<Option<Anything>> {
    match kind {
        Kind::Number => any_of(space.get(name), Anything::Number),
        Kind::Text => any_of(space.get(name), Anything::Text),
        Kind::Pair => any_of(space.get(name), Anything::Pair),
    }
}

fn take(space: &Namespace, name: &str, kind: Kind) -> Result<Option<Anything>> {
    match kind {
        Kind::Number => any_of(space.take(name), Anything::Number),
        Kind::Text => any_of(space.take(name), Anything::Text),
        Kind::Pair => any_of(space.take(name), Anything::Pair),
    }
}

/// The field as it was, and the new value in its place.
fn exchange(space: &Namespace, name: &str, new: Anything) -> Result<Option<Anything>> {
    fn replace<T: Carried + Sync>(space: &Namespace, name: &str, new: T) -> Result<Option<T>> {
        space.update(name, |value: &mut T, new: T| std::mem::replace(value, new), new)
    }
    match new {
        Anything::Number(new) => any_of(replace(space, name, new), Anything::Number),
        Anything::Text(new) => any_of(replace(space, name, new), Anything::Text),
        Anything::Pair(new) => any_of(replace(space, name, new), Anything::Pair),
    }
}

fn stumble(number: &mut u32, new: u32) {
    *number = new;
    panic!("stumbled over {new}");
}

/// What a namespace says must be what the model says, or that it is of another type.
fn same(said: Result<Option<Anything>>, wanted: Option<&Anything>, asked: &str) {
    match said {
        Ok(value) => assert_eq!(value.as_ref(), wanted),
        Err(error) => assert_other_type(&error, wanted.unwrap().type_name(), asked),
    }
}

fn assert_other_type(error: &Error, is: &str, asked: &str) {
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    assert_ne!(is, asked);
    assert!(error.to_string().ends_with(&format!("is a {is}, no {asked}")), "{error}");
}

/// Does the same to a namespace and to a map.
fn play(_: &mut (), (space, script): Script<Fields, Step>) {
    for name in space.names().unwrap() {
        assert!(space.remove(&name).unwrap());
    }
    let mut model = BTreeMap::<String, Anything>::new();
    for step in script {
        match step {
            Step::Set(name, value) => {
                match value.clone() {
                    Anything::Number(number) => space.set(&name, number).unwrap(),
                    Anything::Text(text) => space.set(&name, text).unwrap(),
                    Anything::Pair(pair) => space.set(&name, pair).unwrap(),
                }
                model.insert(name, value);
            }
            Step::Get(name, kind) => {
                same(get(&space, &name, kind), model.get(&name), kind.type_name());
            }
            Step::Update(name, new) => {
                let asked = new.type_name();
                same(exchange(&space, &name, new.clone()), model.get(&name), asked);
                let place = model.get_mut(&name).filter(|place| place.type_name() == asked);
                place.into_iter().for_each(|place| *place = new.clone());
            }
            Step::Panic(name, new) => {
                let outcome = space.update(&name, stumble, new);
                match model.get_mut(&name) {
                    None => assert_eq!(outcome.unwrap(), None),
                    Some(Anything::Number(number)) => {
                        *number = new;
                        assert_stumbled(&outcome.unwrap_err(), &format!("stumbled over {new}"));
                    }
                    Some(other) => {
                        assert_other_type(&outcome.unwrap_err(), other.type_name(), "u32");
                    }
                }
            }
            Step::Take(name, kind) => {
                let asked = kind.type_name();
                same(take(&space, &name, kind), model.get(&name), asked);
                if model.get(&name).is_some_and(|value| value.type_name() == asked) {
                    model.remove(&name);
                }
            }
            Step::Remove(name) => {
                assert_eq!(space.remove(&name).unwrap(), model.remove(&name).is_some());
            }
            Step::Contains(name) => {
                assert_eq!(space.contains(&name).unwrap(), model.contains_key(&name));
            }
            Step::Names => assert!(space.names().unwrap().iter().eq(model.keys())),
        }
    }
    assert!(space.names().unwrap().iter().eq(model.keys()));
}

#[test]
fn every_verb_is_that_of_a_map_of_anything() {
    let make = |manager: &Manager| manager.namespace();
    play_all("every_verb_is_that_of_a_map_of_anything", make, step(), play);
}

#[test]
fn a_wrong_type_is_an_error_that_names_both() {
    let manager = Manager::start().unwrap();
    let space = manager.namespace().unwrap();
    space.set("size", 7_u64).unwrap();
    let error = space.get::<String>("size").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    let words = "field size of a namespace is a u64, no alloc::string::String";
    assert_eq!(error.to_string(), words);
    assert_eq!(space.take::<String>("size").unwrap_err().to_string(), words);
    assert_eq!(space.get("size").unwrap(), Some(7_u64));
    assert_eq!(space.read(|fields, ()| format!("{fields:?}"), ()).unwrap(), r#"{"size": "u64"}"#);
}

/// How much each process does.
const WORK: u64 = 400;

/// Changes two fields of which the sum is always zero.
fn change_both(fields: &mut Fields, more: u64) -> Result<()> {
    *fields.get_mut::<u64>("sum")?.unwrap() += more;
    *fields.get_mut::<i64>("difference")?.unwrap() -= more as i64;
    Ok(())
}

fn add_both(fields: &Fields, _: ()) -> Result<i64> {
    let sum = *fields.get::<u64>("sum")?.unwrap();
    Ok(sum as i64 + fields.get::<i64>("difference")?.unwrap())
}

/// Counts, keeps accounts of several fields at once, and gives each baton on.
fn contribute((space, me): (Namespace, usize)) -> Vec<u64> {
    let mut batons = Vec::new();
    for n in 0..WORK {
        space.update("count", |count: &mut u64, ()| *count += 1, ()).unwrap().unwrap();
        space.call(change_both, n).unwrap().unwrap();
        assert_eq!(space.read(add_both, ()).unwrap().unwrap(), 0);
        space.set(&format!("own {me}"), n).unwrap();
        assert_eq!(space.get(&format!("own {me}")).unwrap(), Some(n));
        if let Some(baton) = space.take::<u64>("baton").unwrap() {
            batons.push(baton);
            space.set("baton", baton + 1).unwrap();
        }
    }
    batons
}

#[test]
fn nothing_is_lost_between_processes() {
    watched("nothing_is_lost_between_processes", || {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        space.set("count", 0_u64).unwrap();
        space.set("sum", 0_u64).unwrap();
        space.set("difference", 0_i64).unwrap();
        space.set("baton", 0_u64).unwrap();
        let batons = sorted(crowd(contribute, &space).into_iter().flatten());
        let crowd = CROWD as u64;
        assert_eq!(space.get("count").unwrap(), Some(crowd * WORK));
        assert_eq!(space.get("sum").unwrap(), Some(crowd * WORK * (WORK - 1) / 2));
        // Whoever took it was the only one who had it.
        assert!(batons.iter().copied().eq(0..batons.len() as u64));
        assert_eq!(space.get("baton").unwrap(), Some(batons.len() as u64));
    });
}

/// The fields of programs that use all that a manager makes.
fn furnish(manager: &ManagerClient, space: &Namespace) -> Result<()> {
    space.set("lock", manager.lock()?)?;
    space.set("inner", manager.reentrant_lock()?)?;
    space.set("permits", manager.semaphore(1)?)?;
    space.set("bounded", manager.bounded_semaphore(2)?)?;
    space.set("changed", manager.condition()?)?;
    space.set("done", manager.event()?)?;
    space.set("meeting", manager.barrier(2)?)?;
    space.set("queue", manager.queue::<String>(4)?)?;
    space.set("value", manager.value(0_u64)?)?;
    space.set("array", manager.array(vec![0_u32; 4])?)?;
    space.set("dict", manager.dict::<usize, u32>()?)?;
    space.set("list", manager.list::<u32>()?)?;
    space.set("text", String::new())
}

fn field<T: Carried + Sync + Clone>(space: &Namespace, name: &str) -> T {
    space.get(name).unwrap().unwrap()
}

fn use_all((space, me): (Namespace, usize)) {
    let (lock, inner): (Lock, ReentrantLock) = (field(&space, "lock"), field(&space, "inner"));
    let (value, array): (Value<u64>, Array<u32>) = (field(&space, "value"), field(&space, "array"));
    let permits: Semaphore = field(&space, "permits");
    field::<Barrier>(&space, "meeting").wait().unwrap();
    for _ in 0..WORK {
        let _all = (lock.lock().unwrap(), inner.lock().unwrap());
        let _again = (inner.lock().unwrap(), permits.acquire().unwrap());
        // Each of them alone would do.
        let mut seen = value.lock().unwrap();
        *seen += 1;
        array.set(me, array.get(me).unwrap() + 1).unwrap();
    }
    let mut queue: Queue<String> = field(&space, "queue");
    queue.send(format!("from {me}")).unwrap();
    field::<Dict<usize, u32>>(&space, "dict").insert(me, 10 + me as u32).unwrap();
    field::<List<u32>>(&space, "list").push(me as u32).unwrap();
    let change = |text: &mut String, more: String| text.push_str(&more);
    let guard = lock.lock().unwrap();
    space.update("text", change, "x".to_owned()).unwrap();
    field::<Condition>(&space, "changed").notify_all().unwrap();
    drop(guard);
    field::<Event>(&space, "done").wait().unwrap();
}

#[test]
fn m4_a_namespace_has_all_that_a_manager_makes() {
    watched("m4_a_namespace_has_all_that_a_manager_makes", || {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        furnish(&manager, &space).unwrap();
        let work = |me| Process::spawn(use_all, (space.clone(), me)).unwrap();
        let children: Vec<_> = (0..2).map(work).collect();
        let mut queue: Queue<String> = field(&space, "queue");
        let messages = sorted((0..2).map(|_| queue.recv().unwrap()));
        assert_eq!(messages, ["from 0", "from 1"]);
        let (lock, changed): (Lock, Condition) = (field(&space, "lock"), field(&space, "changed"));
        let is_short = |_: &mut ()| field::<String>(&space, "text").len() < 2;
        drop(changed.wait_while(lock.lock().unwrap(), is_short).unwrap());
        field::<Event>(&space, "done").set().unwrap();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(field::<Value<u64>>(&space, "value").get().unwrap(), 2 * WORK);
        let array: Array<u32> = field(&space, "array");
        let both = [array.get(0).unwrap(), array.get(1).unwrap(), array.get(2).unwrap()];
        assert_eq!(both, [WORK as u32, WORK as u32, 0]);
        let dict: Dict<usize, u32> = field(&space, "dict");
        assert_eq!(sorted(dict.items().unwrap()), [(0, 10), (1, 11)]);
        assert_eq!(sorted(field::<List<u32>>(&space, "list").snapshot().unwrap()), [0, 1]);
        assert!(field::<Semaphore>(&space, "bounded").release().is_err());
    });
}

/// Makes what only the namespace has, when this process is gone.
fn leave_behind((manager, space): (ManagerClient, Namespace)) {
    space.set("lock", Lock::new().unwrap()).unwrap();
    let list = manager.list_from([1, 2, 3]).unwrap();
    let inner = manager.namespace().unwrap();
    inner.set("list", list).unwrap();
    space.set("inner", inner).unwrap();
}

#[test]
fn handles_live_as_long_as_they_are_fields() {
    watched("handles_live_as_long_as_they_are_fields", || {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        let args = (manager.client(), space.clone());
        Process::spawn(leave_behind, args).unwrap().join().unwrap();
        let objects = || manager.debug_info().unwrap().objects.len();
        assert!(field::<Lock>(&space, "lock").try_lock().is_ok());
        let list: List<i32> = field(&field::<Namespace>(&space, "inner"), "list");
        assert_eq!(list.pop().unwrap(), Some(3));
        assert_eq!(objects(), 3);
        let inner: Namespace = space.take("inner").unwrap().unwrap();
        drop(list);
        assert_eq!(field::<List<i32>>(&inner, "list").len().unwrap(), 2);
        drop(inner);
        until(|| objects() == 1);
        assert!(space.remove("lock").unwrap());
        assert_eq!(space.names().unwrap(), [""; 0]);
    });
}
