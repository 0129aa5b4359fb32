//! The life of a worker: one order after the other, until nobody gives any more.

use std::any::Any;
use std::cell::RefCell;

use crate::channel::Connection;
use crate::error::{Error, ErrorKind};
use crate::process::remote::Outcome;
use crate::sys::interrupt;

use super::claim::Claim;
use super::wire::{Order, Reply, Wire, not_sent};
use super::work::quietly;

/// The worker's end of its pipe.
pub(super) type Place = Connection<Reply, Order, Wire>;

thread_local! {
    /// What the initializer of this worker returned.
    static STATE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Keeps what the initializer returned.
pub(super) fn keep_state(state: Box<dyn Any>) {
    STATE.set(Some(state));
}

/// Lets a task of a pool use what the initializer of its worker returned.
///
/// # Errors
/// [`Misuse`](ErrorKind::Misuse) if this is no worker, its pool has no initializer that returned an
/// `S`, or the state is in use already by an outer call.
///
/// # Examples
/// ```
/// use multiproc::{Pool, worker_state};
///
/// fn load(path: String) -> Vec<u64> {
///     vec![path.len() as u64; 3]
/// }
///
/// fn look_up(index: usize) -> u64 {
///     worker_state(|table: &mut Vec<u64>| table[index]).unwrap()
/// }
///
/// let pool = Pool::builder().workers(2).initializer(load, "/etc/table".to_owned()).build()?;
/// assert_eq!(pool.apply(look_up, 1)?, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn worker_state<S: 'static, R>(look: impl FnOnce(&mut S) -> R) -> Result<R, Error> {
    let misuse = |what: &str| {
        let name = std::any::type_name::<S>();
        Error::new(ErrorKind::Misuse, format!("use the state of a worker as a {name}: {what}"))
    };
    STATE.with(|state| {
        let mut state = state.try_borrow_mut().map_err(|_| misuse("it is in use"))?;
        let state = state.as_mut().ok_or_else(|| misuse("this worker has none"))?;
        let state = state.downcast_mut().ok_or_else(|| misuse("it is of another type"))?;
        Ok(look(state))
    })
}

/// The whole life of a worker process.
pub(super) fn process_main((place, claim): (Place, Claim)) {
    // What the terminal says it says to the pool, who decides.
    interrupt::pass_over();
    main(place, &claim);
}

/// Does what it is told until the pool is gone.
pub(super) fn main(mut place: Place, claim: &Claim) {
    while let Ok(order) = place.recv() {
        let Order::In { number, task } = order else { return };
        let outcome = match task {
            // It was taken back. Whoever gave it finds that out if it was not.
            task if !claim.begin(number) => {
                quietly(|| drop(task));
                None
            }
            Err(cause) => Some(Outcome::Failed(Error::new(ErrorKind::Codec, cause))),
            Ok(task) => Some(task().map_or_else(Outcome::Panicked, Outcome::Returned)),
        };
        let Err(refused) = place.send(Reply::Out { number, outcome }) else { continue };
        let Some(error) = refused.error() else { return };
        let why = Outcome::Failed(not_sent(error));
        if place.send(Reply::Out { number, outcome: Some(why) }).is_err() {
            return;
        }
    }
}
