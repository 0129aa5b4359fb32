//! What the tests of a manager's collections share: scripts that are played beside a model, and
//! crowds of processes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::fmt::Debug;

use multiproc::{Carried, Error, ErrorKind, Manager, Process, Proxy, Result};
use proptest::collection::vec;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};

use super::common::{storms, watched};

/// A collection, and what is to be done to it.
pub type Script<T, S> = (Proxy<T>, Vec<S>);

/// Has random scripts played with a collection, here, and in its server from within a call of
/// another object.
pub fn play_all<T, S>(
    test: &'static str,
    make: fn(&Manager) -> Result<Proxy<T>>,
    step: impl Strategy<Value = S>,
    play: fn(&mut (), Script<T, S>),
) where
    T: Send + Sync + 'static,
    S: Carried + Clone + Debug,
{
    watched(test, || {
        let manager = Manager::start().unwrap();
        // Nobody needs to read of the panics that are part of scripts.
        manager.run(|()| std::panic::set_hook(Box::new(|_| {})), ()).unwrap();
        let (collection, desk) = (make(&manager).unwrap(), manager.host(()).unwrap());
        let cases = 200 * storms() as u32;
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&vec(step, 0..40), |script| {
            play(&mut (), (collection.clone(), script.clone()));
            desk.call(play, (collection.clone(), script)).unwrap();
            Ok(())
        });
        outcome.unwrap();
    });
}

/// That a function which was called in the server panicked there, and said so.
pub fn assert_stumbled(error: &Error, words: &str) {
    assert_eq!(error.kind(), ErrorKind::Worker, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// So many processes at once.
pub const CROWD: usize = 4;

/// Has that many processes do the same, each with its number.
pub fn crowd<T, R>(work: fn((T, usize)) -> R, shared: &T) -> Vec<R>
where
    T: Carried + Clone,
    R: Carried,
{
    let start = |me| Process::spawn(work, (shared.clone(), me)).unwrap();
    let processes: Vec<_> = (0..CROWD).map(start).collect();
    processes.into_iter().map(|process| process.join().unwrap()).collect()
}

pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}
