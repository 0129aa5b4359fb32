//! Scripts of foreign bytes, each played in a process of its own.

use std::time::Duration;

use multiproc::Process;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Longer than any script takes, where the machine does other things as well.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Plays a script in a process of its own; how it failed, if it did.
fn play_apart(play: fn(Vec<u8>), bytes: &[u8]) -> Result<(), String> {
    let mut process = Process::spawn(play, bytes.to_vec()).unwrap();
    match process.join_timeout(LONG) {
        Ok(Some(())) => Ok(()),
        Ok(None) => {
            process.kill().unwrap();
            Err("it hangs".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Plays so many random scripts of up to `longest` bytes.
pub(crate) fn play_many(play: fn(Vec<u8>), cases: u32, longest: usize) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let scripts = prop::collection::vec(any::<u8>(), 0..longest);
    // On a failure it prints the shortest script that still fails.
    let result = TestRunner::new(config)
        .run(&scripts, |bytes| play_apart(play, &bytes).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
