//! Two programs that were built apart, and started apart, talk to one another.

mod common;
#[path = "common/strangers.rs"]
mod strangers;

use std::path::PathBuf;
use std::time::Duration;

use common::{next, seed, until, watched};
use strangers::{Programs, Running, start};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    (folder, path)
}

/// Runs a test with both programs and a place for a socket.
fn strangers(test: &'static str, body: impl FnOnce(&Programs, &str)) {
    // Building takes as long as it takes.
    let Some(programs) = strangers::build() else { return };
    watched(test, || {
        let (_folder, path) = place();
        body(programs, path.to_str().unwrap());
    });
}

fn listening(programs: &Programs, arguments: &[&str]) -> Running {
    let mut first = start(&programs.first, arguments);
    let said = first.line();
    assert!(said.starts_with("listening"), "{said}");
    first
}

#[test]
fn they_exchange_messages_a_queue_a_lock_and_a_value() {
    strangers("they_exchange_messages_a_queue_a_lock_and_a_value", |programs, path| {
        let mut first = listening(programs, &["talk", path]);
        let mut second = start(&programs.second, &["talk", path]);
        assert_eq!(first.line(), format!("accepted {}", second.pid()));
        assert_eq!(first.line(), "second has [1, 2, 3]");
        assert_eq!(first.line(), "all: 5050 in 100");
        assert_eq!(first.line(), "lock whole, end true");
        assert_eq!(second.line(), "done");
        second.finish();
        first.finish();
        assert!(!std::path::Path::new(path).exists());
    });
}

#[test]
fn a_lock_that_the_other_program_died_with_is_had_and_told_of() {
    strangers("a_lock_that_the_other_program_died_with", |programs, path| {
        let mut first = listening(programs, &["talk", path]);
        let mut second = start(&programs.second, &["die-with-lock", path]);
        assert_eq!(second.line(), "dying");
        second.kill();
        assert_eq!(first.line(), format!("accepted {}", second.pid()));
        assert_eq!(first.line(), "second has [1, 2, 3]");
        assert_eq!(first.line(), "dying: 0 in 1");
        assert_eq!(first.line(), "lock orphaned, end true");
        first.finish();
    });
}

#[test]
fn who_expects_another_type_hears_both_names_on_both_sides() {
    strangers("who_expects_another_type_hears_both_names_on_both_sides", |programs, path| {
        let mut first = listening(programs, &["talk", path]);
        let mut second = start(&programs.second, &["disagree", path]);
        for said in [first.line(), second.line()] {
            assert!(said.contains("`Serde Greeting { name: string"), "{said}");
            assert!(said.contains("`Serde Job <Add | Say; u64>`"), "{said}");
            assert!(!said.contains("messages::") && !said.contains("words::"), "{said}");
        }
        first.finish();
        second.finish();
    });
}

#[test]
fn one_that_is_killed_at_any_moment_of_connecting_is_in_nobody_s_way() {
    strangers("one_that_is_killed_at_any_moment_of_connecting", |programs, path| {
        let first = listening(programs, &["serve", path]);
        let honest = |name: &str| {
            let mut second = start(&programs.second, &["greet", path, name]);
            assert_eq!(second.line(), "heard");
            second.finish();
        };
        honest("warm");
        let before = first.open_fds();
        let mut state = seed();
        for _ in 0..60 * common::storms() {
            let mut second = start(&programs.second, &["greet", path, "killed"]);
            // The sleep is the work: a moment between the start of a program and its end.
            std::thread::sleep(Duration::from_micros(next(&mut state) % 4000));
            second.kill();
            second.wait();
        }
        honest("still there");
        until(|| first.open_fds() <= before);
        honest("last");
        first.finish();
    });
}

#[test]
fn a_listener_that_is_killed_at_any_moment_is_an_error_for_the_other() {
    strangers("a_listener_that_is_killed_at_any_moment_is_an_error", |programs, path| {
        let mut state = seed();
        let mut failed = 0;
        for _ in 0..40 * common::storms() {
            // Each takes over what the one before left.
            let mut first = listening(programs, &["serve", path]);
            let mut second = start(&programs.second, &["greet", path, "hello"]);
            // The sleep is the work: a moment in which it connects.
            std::thread::sleep(Duration::from_micros(next(&mut state) % 4000));
            first.kill();
            let was_heard = second.line() == "heard";
            assert_eq!(second.wait().success(), was_heard);
            failed += usize::from(!was_heard);
        }
        assert!(failed > 0, "none was killed in the middle");
        assert!(std::path::Path::new(path).exists());
    });
}

#[test]
fn another_run_of_the_program_uses_its_manager() {
    strangers("another_run_of_the_program_uses_its_manager", |programs, path| {
        let mut first = listening(programs, &["manage", path]);
        let mut again = start(&programs.first, &["use-manager", path]);
        assert_eq!(again.line(), "balance 27 42 3 7");
        first.close_input();
        assert_eq!(first.line(), "visits Some(11), objects 4");
        assert_eq!(first.line(), "over");
        assert_eq!(again.line(), "Err(Disconnected)");
        again.finish();
        first.finish();
        assert!(!std::path::Path::new(path).exists());
    });
}

#[test]
fn a_manager_that_is_killed_is_disconnected_for_the_other_run() {
    strangers("a_manager_that_is_killed_is_disconnected_for_the_other_run", |programs, path| {
        let mut first = listening(programs, &["manage", path]);
        let mut again = start(&programs.first, &["use-manager", path]);
        assert_eq!(again.line(), "balance 27 42 3 7");
        first.kill();
        assert_eq!(again.line(), "Err(Disconnected)");
        again.finish();
        let error = start(&programs.first, &["use-manager", path]).line();
        assert!(error.contains("nobody listens there any more"), "{error}");
        // The next run has the place.
        let mut next = listening(programs, &["manage", path]);
        next.close_input();
        assert_eq!(next.line(), "visits None, objects 4");
        next.wait();
    });
}

#[test]
fn a_copy_of_the_program_is_the_program() {
    strangers("a_copy_of_the_program_is_the_program", |programs, path| {
        let copy = std::path::Path::new(path).with_extension("copy");
        std::fs::copy(&programs.first, &copy).unwrap();
        let mut first = listening(programs, &["manage", path]);
        let mut again = start(&copy, &["use-manager", path]);
        assert_eq!(again.line(), "balance 27 42 3 7");
        first.close_input();
        assert_eq!(again.line(), "Err(Disconnected)");
        again.finish();
        first.wait();
    });
}

#[test]
fn another_program_cannot_name_functions_and_hears_why() {
    strangers("another_program_cannot_name_functions_and_hears_why", |programs, path| {
        let first = listening(programs, &["manage", path]);
        let said = start(&programs.second, &["use-manager", path]).line();
        assert!(said.contains("calls of functions of the program"), "{said}");
        drop(first);
        let other = format!("{path}-2");
        let mut first = listening(programs, &["give-dict", &other]);
        let mut second = start(&programs.second, &["take-dict", &other]);
        let said = second.line();
        assert!(said.contains("came from another run of a program"), "{said}");
        second.finish();
        assert_eq!(first.line(), "left");
        first.finish();
    });
}
