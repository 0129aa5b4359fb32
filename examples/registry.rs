//! A shop whose clerks, each a process, write down what they sell in objects of one manager.
//!
//! ```text
//! cargo run --release --example registry -- [--kill-one] [--sales N]
//! ```
//!
//! A dictionary counts the pieces of each article, and a ledger, a type of this program's own, has
//! the takings. Both live in the manager's server; every clerk has a proxy of each. An observer,
//! one more process, only reads, and prints what it sees. When N pieces are sold, 50 000 unless
//! told otherwise, the shop closes, and the books are compared with what the clerks say. With some
//! millions it is open long enough for a look at it by the example `inspect`.
//!
//! With `--kill-one` a clerk is killed with -9 while it sells. A call is done as a whole or not at
//! all, so what the clerk has written down stays, and nobody waits for it; but it may have died
//! after the dictionary and before the ledger, with one piece in the one and not in the other.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use multiproc::{Dict, Event, Manager, Process, Proxy};
use serde::{Deserialize, Serialize};

const CLERKS: u32 = 4;

/// So many sales, and the shop closes, unless told otherwise.
const ENOUGH: u64 = 50_000;

const USAGE: &str = "usage: registry [--kill-one] [--sales N]";

/// What there is to buy, and for how many cents.
const ARTICLES: [(&str, u64); 4] = [("bread", 320), ("cheese", 890), ("milk", 140), ("tea", 450)];

type Failure = Box<dyn std::error::Error>;

/// The books: hosted by the manager, so it needs no lock of its own.
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    cents: u64,
    sales_of: BTreeMap<u32, u64>,
}

impl Ledger {
    /// Runs in the server, while nobody else is at the ledger.
    fn book(&mut self, (clerk, cents): (u32, u64)) {
        self.cents += cents;
        *self.sales_of.entry(clerk).or_default() += 1;
    }

    /// Runs in the server, beside others who read.
    fn sales(&self, _: ()) -> u64 {
        self.sales_of.values().sum()
    }

    fn cents(&self, _: ()) -> u64 {
        self.cents
    }

    fn sales_of(&self, clerk: u32) -> u64 {
        self.sales_of.get(&clerk).copied().unwrap_or(0)
    }
}

/// What everybody in the shop is given.
#[derive(Clone, Serialize, Deserialize)]
struct Shop {
    pieces: Dict<String, u64>,
    ledger: Proxy<Ledger>,
    is_closed: Event,
}

/// A clerk: sells until the shop closes, and tells how many pieces that were.
fn clerk((shop, number): (Shop, u32)) -> multiproc::Result<u64> {
    let mut sold = 0;
    while !shop.is_closed.is_set() {
        let (article, price) = ARTICLES[(sold as usize + number as usize) % ARTICLES.len()];
        shop.pieces.update_or_insert(article.to_owned(), 0, |pieces, _| *pieces += 1, ())?;
        shop.ledger.call(Ledger::book, (number, price))?;
        sold += 1;
    }
    Ok(sold)
}

/// The observer: changes nothing, and prints what it sees from time to time.
fn observe(shop: Shop) -> multiproc::Result<()> {
    while !shop.is_closed.wait_timeout(Duration::from_millis(10))? {
        let (sales, cents) =
            (shop.ledger.read(Ledger::sales, ())?, shop.ledger.read(Ledger::cents, ())?);
        let tea = shop.pieces.get("tea")?.unwrap_or(0);
        println!("observer: {sales} sales, {} in the till, tea {tea} times", euros(cents));
    }
    Ok(())
}

fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Waits until so much is sold.
fn wait_for(shop: &Shop, sales: u64) -> multiproc::Result<()> {
    while shop.ledger.read(Ledger::sales, ())? < sales {
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether the books agree: what the dictionary counted, what the ledger has, what clerks say.
fn compare(shop: &Shop, said: u64, is_one_dead: bool) -> multiproc::Result<bool> {
    let mut pieces = 0;
    let mut cents = 0;
    for (article, price) in ARTICLES {
        let count = shop.pieces.get(article)?.unwrap_or(0);
        pieces += count;
        cents += count * price;
    }
    let (sales, till) =
        (shop.ledger.read(Ledger::sales, ())?, shop.ledger.read(Ledger::cents, ())?);
    println!("pieces by the dictionary: {pieces}, for {}", euros(cents));
    println!("sales by the ledger: {sales}, for {}", euros(till));
    println!("sales by the clerks: {said}");
    // The piece in the hands of the one who died.
    let open = pieces - sales;
    Ok(sales == said && (if open == 0 { cents == till } else { open == 1 && is_one_dead }))
}

fn main() -> Result<(), Failure> {
    let (mut is_one_to_die, mut enough) = (false, ENOUGH);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--kill-one" => is_one_to_die = true,
            "--sales" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                enough = number.ok_or("--sales takes a number")?;
            }
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            option => return Err(format!("unknown option {option}; {USAGE}").into()),
        }
    }
    println!("the shop is process {}", std::process::id());
    let manager = Manager::start()?;
    let (pieces, ledger) = (manager.dict()?, manager.host(Ledger::default())?);
    let shop = Shop { pieces, ledger, is_closed: Event::new()? };
    let observer = Process::spawn(observe, shop.clone())?;
    let clerks: Vec<_> = (1..=CLERKS)
        .map(|number| Process::spawn(clerk, (shop.clone(), number)))
        .collect::<multiproc::Result<_>>()?;
    if is_one_to_die {
        wait_for(&shop, enough / 2)?;
        clerks[0].kill()?;
    }
    wait_for(&shop, enough)?;
    shop.is_closed.set()?;

    observer.join()??;
    let mut said = 0;
    for (clerk, number) in clerks.into_iter().zip(1..) {
        let booked = shop.ledger.read(Ledger::sales_of, number)?;
        match clerk.join() {
            Ok(sold) => said += sold?,
            Err(end) => {
                println!("clerk {number}: {end}; {booked} sales are in the ledger");
                said += booked;
            }
        }
    }
    if !compare(&shop, said, is_one_to_die)? {
        return Err("the books do not agree".into());
    }
    println!("the books agree");
    Ok(())
}
