//! Pools that want to be told of Ctrl-C.

use std::sync::{Arc, Mutex, Weak};
use std::thread;

use crate::error::{Context, Result};
use crate::sys::interrupt::{Interrupts, Signals};

use super::injector::Phase;
use super::shared::{Shared, lock};

/// The pools of this process that are interrupted by `SIGINT`, and the signal while there are any.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { pools: Vec::new(), signal: None });

struct Listeners {
    pools: Vec<Weak<Shared>>,
    signal: Option<Interrupts>,
}

/// While it lives, `SIGINT` interrupts a pool.
pub(super) struct Listening(Weak<Shared>);

/// Interrupts this pool when the signal comes.
pub(super) fn listen(pool: &Arc<Shared>) -> Result<Listening> {
    let mut listeners = lock(&LISTENERS);
    if let Some(signal) = &mut listeners.signal {
        // The others may have been interrupted already.
        signal.take_again().context(|| "listen to SIGINT".to_owned())?;
    } else {
        let taken = Interrupts::take().context(|| "listen to SIGINT".to_owned());
        let (signal, signals) = taken?;
        let life = thread::Builder::new().name("pool-interrupt".to_owned());
        life.spawn(move || pass_on(signals)).context(|| "start a thread of a pool".to_owned())?;
        listeners.signal = Some(signal);
    }
    let listening = Listening(Arc::downgrade(pool));
    listeners.pools.push(Weak::clone(&listening.0));
    Ok(listening)
}

fn pass_on(mut signals: Signals) {
    while signals.wait() {
        let pools = {
            let listeners = lock(&LISTENERS);
            listeners.pools.clone()
        };
        pools.iter().filter_map(Weak::upgrade).for_each(|pool| pool.stop(Phase::Interrupted));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = lock(&LISTENERS);
        listeners.pools.retain(|pool| !pool.ptr_eq(&self.0));
        if listeners.pools.is_empty() {
            listeners.signal = None;
        }
    }
}
