//! What it does with names.

use std::io::Read;

use multiproc::{Lock, Name, Pipe, Queue, Segment, Value};

use crate::messages::{Greeting, Job};
use crate::{Outcome, say};

/// Makes a queue, a value and a pipe, and leaves jobs for whoever comes; then waits for the end of
/// its input.
pub(crate) fn leave(name: &str) -> Outcome {
    let mut jobs = Queue::<Job>::open_or_create(name, 10)?;
    let done = Value::<u64>::open_or_create(format!("{name}-done"), 0)?;
    let mut pipe = Pipe::create::<Greeting, u64>(format!("{name}-pipe"))?;
    pipe.send(Greeting { name: "first".to_owned(), numbers: vec![1, 2, 3] })?;
    for job in [Job::Add(40), Job::Say("hello".to_owned()), Job::Add(2)] {
        jobs.send(job)?;
    }
    say("left");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    say(format!("done {}, answered {}", done.get()?, pipe.recv()?));
    Ok(())
}

/// Makes, opens, uses, replaces and unlinks things of a few names, until it is killed.
pub(crate) fn storm(name: &str) -> Outcome {
    say("storming");
    for round in 0_u64.. {
        let name = Name::new(&format!("{name}-{}", round % 3))?;
        let fresh = name.clone().replace_stale();
        // What others do with the name at the same time is an error at worst.
        let _ = match round % 7 {
            0 => name.unlink().map(drop),
            1 => Value::create(&fresh, round).map(drop),
            2 => Queue::<Job>::open_or_create(&name, 4).map(|mut jobs| {
                let _ = jobs.try_send(Job::Add(round));
            }),
            3 => Value::<u64>::open_or_create(&name, 0).map(|value| {
                let _ = value.try_update(|value| *value += 1);
            }),
            4 => Lock::open_or_create(&fresh).map(|lock| drop(lock.try_lock().is_ok())),
            5 => Pipe::open_or_create::<u64>(&fresh).map(|mut end| {
                let _ = (end.try_send(1), end.try_recv());
            }),
            _ => Segment::list().map(drop),
        };
    }
    Ok(())
}
