//! Connections with the other program.

use multiproc::{ErrorKind, Listener, Lock, Queue, Value};

use crate::messages::{Greeting, Job, Tools};
use crate::{Outcome, say};

/// Accepts one connection, hands out tools, and says what was done with them.
pub(crate) fn talk(path: &str) -> Outcome {
    let listener = Listener::bind(path)?;
    say("listening");
    let (mut connection, peer) = match listener.accept::<Tools, Greeting>() {
        Ok(accepted) => accepted,
        Err(error) => {
            say(error);
            return Ok(());
        }
    };
    say(format_args!("accepted {}", peer.pid));
    let Greeting { name, numbers } = connection.recv()?;
    say(format_args!("{name} has {numbers:?}"));
    let mut jobs = Queue::bounded(3)?;
    let tools = Tools { jobs: jobs.try_clone()?, lock: Lock::new()?, done: Value::new(0)? };
    let (lock, done) = (tools.lock.clone(), tools.done.clone());
    connection.send(tools)?;
    let mut sum = 0;
    let text = loop {
        match jobs.recv()? {
            Job::Add(number) => sum += number,
            Job::Say(text) => break text,
        }
    };
    // The other side keeps the lock until it has counted.
    let taken = lock.lock();
    say(format_args!("{text}: {sum} in {}", done.get()?));
    let end = connection.recv();
    let is_end = end.as_ref().is_err_and(multiproc::RecvError::is_disconnected);
    say(format_args!("lock {}, end {is_end}", if taken.is_ok() { "whole" } else { "orphaned" }));
    Ok(())
}

/// Accepts whoever comes, and answers what he says, until nobody is to come any more.
pub(crate) fn serve(path: &str) -> Outcome {
    let listener = Listener::bind(path)?;
    say("listening");
    loop {
        match listener.accept::<Greeting, Greeting>() {
            Ok((mut connection, _)) => {
                let Ok(greeting) = connection.recv() else { continue };
                let is_last = greeting.name == "last";
                let _ = connection.send(greeting);
                if is_last {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Refused => say(error),
            Err(error) => return Err(error.into()),
        }
    }
}
