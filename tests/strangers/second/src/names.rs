//! What it does with names.

use multiproc::{Pipe, Queue, Receiver, Value};
use serde::{Deserialize, Serialize};

use crate::wire::words::{Greeting, Job};
use crate::{Outcome, say};

/// Takes the jobs that were left, and does them.
pub(crate) fn take(name: &str) -> Outcome {
    let mut jobs: Receiver<Job> = Queue::open(name)?;
    let done = Value::<u64>::open(format!("{name}-done"))?;
    let mut pipe = Pipe::open::<u64, Greeting>(format!("{name}-pipe"))?;
    let greeting = pipe.recv()?;
    say(format!("{} has {:?}", greeting.name, greeting.numbers));
    for _ in 0..3 {
        match jobs.recv()? {
            Job::Add(number) => done.update(|done| *done += number)?,
            Job::Say(text) => say(text),
        }
    }
    pipe.send(done.get()?)?;
    Ok(())
}

/// Means something else by the same names.
pub(crate) fn mistake(name: &str) -> Outcome {
    #[derive(Serialize, Deserialize)]
    enum Job {
        Add(u32),
        Say(String),
    }
    let wrong = Queue::<Job>::open(name).map(drop).expect_err("another job");
    say(format!("{:?}: {wrong}", wrong.kind()));
    let wrong = Value::<f64>::open(format!("{name}-done")).expect_err("no number with a point");
    say(format!("{:?}: {wrong}", wrong.kind()));
    Ok(())
}
