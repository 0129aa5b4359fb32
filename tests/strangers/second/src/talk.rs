//! Connections with the other program.

use multiproc::{Connection, connect};

use crate::wire::words::{Greeting, Job, Tools};
use crate::{Outcome, say};

fn begin(path: &str) -> Result<(Connection<Greeting, Tools>, Tools), Box<dyn std::error::Error>> {
    let mut connection = connect::<Greeting, Tools>(path)?;
    connection.send(Greeting { name: "second".to_owned(), numbers: vec![1, 2, 3] })?;
    let tools = connection.recv()?;
    Ok((connection, tools))
}

/// Works with the tools that it gets.
pub(crate) fn talk(path: &str) -> Outcome {
    let (connection, Tools { mut jobs, lock, done }) = begin(path)?;
    let guard = lock.lock().map_err(|error| error.to_string())?;
    for number in 1..=100 {
        jobs.send(Job::Add(number))?;
    }
    jobs.send(Job::Say("all".to_owned()))?;
    done.set(100)?;
    drop(guard);
    drop(connection);
    say("done");
    Ok(())
}

/// Is killed with the lock in its hands.
pub(crate) fn die_with_lock(path: &str) -> Outcome {
    let (_connection, Tools { mut jobs, lock, done }) = begin(path)?;
    let _guard = lock.lock().map_err(|error| error.to_string())?;
    done.set(1)?;
    jobs.send(Job::Say("dying".to_owned()))?;
    say("dying");
    loop {
        std::thread::park();
    }
}

/// Says what comes of it to expect something else.
pub(crate) fn disagree(path: &str) -> Outcome {
    match connect::<Job, Tools>(path) {
        Ok(_) => Err("that should not have been".into()),
        Err(error) => {
            say(error);
            Ok(())
        }
    }
}

/// Says one thing, and hears it again.
pub(crate) fn greet(path: &str, name: &str) -> Outcome {
    let mut connection = connect::<Greeting, Greeting>(path)?;
    let greeting = Greeting { name: name.to_owned(), numbers: (0..1000).collect() };
    connection.send(greeting.clone())?;
    if connection.recv()? != greeting {
        return Err("not what was said".into());
    }
    say("heard");
    Ok(())
}
