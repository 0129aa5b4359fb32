//! A manager, and another run of this program that uses it.

use multiproc::{Dict, Listener, Manager, ManagerClient, Process, Proxy, Queue};

use crate::{Outcome, say};

#[derive(serde::Serialize, serde::Deserialize)]
struct Account {
    balance: i64,
}

impl Account {
    fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }
}

/// Sends a dictionary to whoever connects.
pub(crate) fn give_dict(path: &str) -> Outcome {
    let manager = Manager::start()?;
    let listener = Listener::bind(path)?;
    say("listening");
    let (mut connection, _) = listener.accept::<Dict<String, u64>, u8>()?;
    connection.send(manager.dict()?)?;
    say(if connection.recv().is_err() { "left" } else { "stayed" });
    Ok(())
}

/// Has a manager that listens, until its standard input ends.
pub(crate) fn manage(path: &str) -> Outcome {
    let manager = Manager::start()?;
    let root = manager.root()?;
    root.set("visits", manager.dict::<String, u64>()?)?;
    root.set("account", manager.host(Account { balance: 12 })?)?;
    root.set("names", manager.list::<String>()?)?;
    manager.listen(path)?;
    say(format_args!("listening {}", manager.pid()));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let visits: Dict<String, u64> = root.get("visits")?.ok_or("no visits")?;
    say(format_args!(
        "visits {:?}, objects {}",
        visits.get("Ann")?,
        manager.debug_info()?.objects.len()
    ));
    manager.shutdown()?;
    say("over");
    Ok(())
}

/// Runs in a child of the second run, which never connected.
fn visit((visits, account): (Dict<String, u64>, Proxy<Account>)) -> multiproc::Result<i64> {
    visits.update_or_insert("Ann".to_owned(), 0, |count, more| *count += more, 10)?;
    account.call(Account::deposit, 15)
}

/// Uses the manager of another run; then waits for its end.
pub(crate) fn use_it(path: &str) -> Outcome {
    let client = match ManagerClient::connect(path) {
        Ok(client) => client,
        Err(error) => {
            say(error);
            return Ok(());
        }
    };
    let root = client.root()?;
    let visits: Dict<String, u64> = root.get("visits")?.ok_or("no visits")?;
    let account: Proxy<Account> = root.get("account")?.ok_or("no account")?;
    visits.update_or_insert("Ann".to_owned(), 0, |count, more| *count += more, 1)?;
    let balance = account.call(Account::deposit, 15)?;
    // A child gets the handles as arguments, and another one by a queue in shared memory.
    let child = Process::spawn(visit, (visits.clone(), account.clone()))?;
    let balance_of_child = child.join()??;
    let own = client.host(Account { balance: 1 })?;
    let (mut here, there) = multiproc::Pipe::duplex::<Proxy<Account>, i64>()?;
    let child = Process::spawn(by_pipe, there)?;
    here.send(own)?;
    let balance_by_pipe = here.recv()?;
    child.join()?;
    let mut queue: Queue<u64> = client.queue(3)?;
    queue.send(7)?;
    say(format_args!("balance {balance} {balance_of_child} {balance_by_pipe} {}", queue.recv()?));
    // Nobody calls meanwhile; the next call hears that the server is gone.
    while visits.get("Ann").is_ok() {
        std::thread::yield_now();
    }
    say(format_args!("{:?}", visits.get("Ann").map_err(|error| error.kind())));
    Ok(())
}

fn by_pipe(mut pipe: multiproc::Connection<i64, Proxy<Account>>) {
    let account = pipe.recv().expect("an account");
    pipe.send(account.call(Account::deposit, 2).expect("a call")).expect("somebody who listens");
}
