//! Two programs that were built apart, and started apart, share what has a name.

mod common;
#[path = "common/own.rs"]
mod own;
#[path = "common/strangers.rs"]
mod strangers;

use std::time::{Duration, Instant};

use common::{next, seed, watched};
use multiproc::{Name, Queue, Segment, Value};
use own::Own;
use strangers::{Programs, start};

/// Runs a test with both programs and a name, and those that begin with it.
fn strangers(test: &'static str, body: impl FnOnce(&Programs, &Own)) {
    // Building takes as long as it takes.
    let Some(programs) = strangers::build() else { return };
    watched(test, || {
        let own = Own::new(test);
        let _others = ["done", "pipe", "0", "1", "2"]
            .map(|what| Own(Name::new(&format!("{}-{what}", own.text())).unwrap()));
        body(programs, &own);
    });
}

#[test]
fn messages_wait_for_the_other_program() {
    strangers("messages_wait_for_the_other_program", |programs, own| {
        let name = own.text();
        let mut first = start(&programs.first, &["leave", &name]);
        assert_eq!(first.line(), "left");
        let mut second = start(&programs.second, &["take", &name]);
        assert_eq!(second.line(), "first has [1, 2, 3]");
        assert_eq!(second.line(), "hello");
        second.finish();
        first.close_input();
        assert_eq!(first.line(), "done 42, answered 42");
        first.finish();
    });
}

#[test]
fn they_are_shown_both_what_they_mean() {
    strangers("they_are_shown_both_what_they_mean", |programs, own| {
        let name = own.text();
        let mut first = start(&programs.first, &["leave", &name]);
        assert_eq!(first.line(), "left");
        let mut second = start(&programs.second, &["mistake", &name]);
        let said = second.line();
        assert!(
            said.starts_with("Mismatch") && said.contains("u64") && said.contains("u32"),
            "{said}"
        );
        let said = second.line();
        assert!(
            said.starts_with("Mismatch") && said.contains("u64") && said.contains("f64"),
            "{said}"
        );
        second.finish();
    });
}

/// What the dead left is there, for a third program as well: this one.
#[test]
fn what_a_killed_program_left_is_there_for_the_next_one() {
    strangers("what_a_killed_program_left_is_there", |programs, own| {
        let name = own.text();
        let mut first = start(&programs.first, &["leave", &name]);
        assert_eq!(first.line(), "left");
        first.kill();
        drop(first);
        let listed = Segment::list().unwrap();
        let left = listed.iter().filter(|info| info.name.as_str().starts_with(&name));
        let (mut count, mut stale) = (0, 0);
        left.for_each(|info| (count, stale) = (count + 1, stale + usize::from(!info.is_in_use)));
        assert_eq!((count, stale), (3, 3));
        let mut second = start(&programs.second, &["take", &name]);
        assert_eq!(second.line(), "first has [1, 2, 3]");
        assert_eq!(second.line(), "hello");
        // Nobody hears its answer, and it says so; the work is done.
        assert!(!second.wait().success());
        let done = Value::<u64>::open(format!("{name}-done")).unwrap();
        assert_eq!(done.get().unwrap(), 42);
    });
}

/// Programs that do everything at once with the same few names, and are killed at any moment,
/// keep nobody from anything.
#[test]
fn names_outlive_those_who_storm_over_them() {
    strangers("names_outlive_those_who_storm_over_them", |programs, own| {
        let (name, mut state) = (own.text(), seed());
        let storm = || {
            let mut program = start(&programs.first, &["storm", &name]);
            assert_eq!(program.line(), "storming");
            program
        };
        let mut all: Vec<_> = (0..3).map(|_| storm()).collect();
        let (begin, mut killed) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(3) * common::storms() as u32 {
            // The sleep is the work: somebody dies at a random moment.
            std::thread::sleep(Duration::from_millis(next(&mut state) % 20));
            let which = next(&mut state) as usize % all.len();
            all[which].kill();
            all[which] = storm();
            killed += 1;
        }
        drop(all);
        println!("{killed} killed");
        for which in 0..3 {
            let name = Name::new(&format!("{name}-{which}")).unwrap();
            let fresh = name.clone().replace_stale();
            let mut queue = Queue::<u64>::create(&fresh, 2).unwrap();
            queue.send(which).unwrap();
            assert_eq!(Queue::<u64>::open(&name).unwrap().recv().unwrap(), which);
            assert!(name.unlink().unwrap());
        }
    });
}
