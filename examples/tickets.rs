//! Twenty processes want to buy the one ticket that is left: first without a lock, then with one.
//!
//! ```text
//! cargo run --release --example tickets
//! ```
//!
//! The office is a JSON file. To buy is to read how many tickets are left, to think about it, and
//! to write one less. Without a lock several buyers read before the first one writes, and each of
//! them goes home with the same ticket.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use multiproc::{Lock, Process};
use serde_json::{Value, json};

const BUYERS: usize = 20;

type Failure = Box<dyn std::error::Error>;

/// Buys a ticket if there is one. Whether it did.
fn buy((office, lock): (PathBuf, Option<Lock>)) -> bool {
    let _guard = lock.as_ref().map(|lock| lock.lock().expect("a lock that nobody dies with"));
    let left = tickets(&office);
    if left == 0 {
        return false;
    }
    thread::sleep(Duration::from_millis(100));
    offer(&office, left - 1);
    true
}

/// How many tickets are left. An office that is being written to is read again.
fn tickets(office: &Path) -> u64 {
    loop {
        let text = fs::read_to_string(office).expect("an office");
        if let Ok(Some(left)) = serde_json::from_str(&text).map(|page: Value| page["left"].as_u64())
        {
            return left;
        }
    }
}

fn offer(office: &Path, left: u64) {
    fs::write(office, json!({ "left": left }).to_string()).expect("an office");
}

/// How many of the buyers have got the one ticket.
fn sell(office: &Path, lock: Option<&Lock>) -> Result<usize, Failure> {
    offer(office, 1);
    let order = (office.to_owned(), lock.cloned());
    let buyers: Vec<Process<bool>> = (0..BUYERS)
        .map(|_| Process::spawn(buy, order.clone()))
        .collect::<multiproc::Result<_>>()?;
    let mut sold = 0;
    for buyer in buyers {
        sold += usize::from(buyer.join()?);
    }
    Ok(sold)
}

fn main() -> Result<(), Failure> {
    let office = std::env::temp_dir().join(format!("tickets-{}.json", std::process::id()));
    let sold = [sell(&office, None), sell(&office, Some(&Lock::new()?))];
    fs::remove_file(&office)?;
    let [without, with] = sold;
    println!("without a lock: {} of {BUYERS} buyers got the one ticket", without?);
    println!("with the lock: {} of {BUYERS} buyers got the one ticket", with?);
    Ok(())
}
