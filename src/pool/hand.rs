//! A worker as the pool has it: its process, or thread, and the pipe to it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::channel::{Connection, Pipe};
use crate::error::{Context, Result};
use crate::process::{ExitStatus, Process};
use crate::raw::Corrupt;
use crate::raw::claim::Given;
use crate::sys::task;

use super::claim::Claim;
use super::plan::Plan;
use super::shared::Victim;
use super::wire::{Order, Reply, Wire};
use super::worker;

/// How long a worker that was told to leave may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A worker, from the pool's side.
pub(super) struct Hand {
    body: Body,
    pub(super) connection: Connection<Order, Reply, Wire>,
    /// Which orders it has begun.
    claim: Claim,
    /// Which it was given.
    given: Given,
    /// How many orders it has done.
    pub(super) done: u64,
}

enum Body {
    Process(Process<()>),
    Thread(#[expect(dead_code, reason = "it ends with its pipe")] thread::JoinHandle<()>),
}

impl Hand {
    pub(super) fn start(plan: &Plan, index: usize) -> Result<Self> {
        let (ours, theirs) = Pipe::builder().codec::<Wire>().duplex::<Order, Reply>()?;
        let claim = Claim::new()?;
        let its_claim = claim.clone();
        let name = format!("{}-{}", plan.name, index + 1);
        let body = if plan.in_process {
            let life =
                thread::Builder::new().name(name).spawn(move || worker::main(theirs, &its_claim));
            Body::Thread(life.context(|| "start a thread of a pool".to_owned())?)
        } else {
            let builder =
                Process::builder().name(name).start_method(plan.method).kill_on_drop(true);
            // Until it passes SIGINT over, the worker has it blocked, as the thread that starts it.
            let mask = task::block_interrupts();
            let process = builder.spawn(worker::process_main, (theirs, its_claim));
            mask.into_iter().for_each(|mask| _ = task::replace_signal_mask(mask));
            Body::Process(process?)
        };
        Ok(Self { body, connection: ours, claim, given: Given::new(), done: 0 })
    }

    /// The process id of the worker, if it is a process.
    #[cfg(feature = "tracing")]
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.body {
            Body::Process(process) => Some(process.pid()),
            Body::Thread(_) => None,
        }
    }

    pub(super) fn victim(&self) -> Option<Victim> {
        match &self.body {
            Body::Process(process) => Some(Victim::new(Arc::clone(process.child()))),
            Body::Thread(_) => None,
        }
    }

    /// The number of one order more.
    pub(super) fn number(&mut self) -> u64 {
        self.given.number()
    }

    /// It has done an order.
    pub(super) fn has_done(&mut self, number: u64) {
        self.given.answered(number);
        self.done += 1;
    }

    /// Takes back what was not begun: the lowest number of it.
    pub(super) fn take_back(&self) -> Result<u64, Corrupt> {
        self.given.take_back(self.claim.word())
    }

    /// The memory of the worker, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match &self.body {
            Body::Process(process) => task::memory_of(process.pid()).unwrap_or(0),
            Body::Thread(_) => 0,
        }
    }

    /// Waits for the end of a worker that is dead or dying, or takes it for a stranger: who it was,
    /// how it ended, and the number of the first order that it had not begun.
    pub(super) fn wait(self) -> (u32, ExitStatus, u64) {
        drop(self.connection);
        let (pid, status) = match self.body {
            Body::Process(mut process) => {
                let _ = process.kill();
                let _ = process.join_timeout(FAREWELL);
                (process.pid(), process.exit_status().unwrap_or(ExitStatus::UNKNOWN))
            }
            Body::Thread(_) => (std::process::id(), ExitStatus::UNKNOWN),
        };
        (pid, status, self.given.left_by_the_dead(self.claim.word()))
    }

    /// Tells the worker to leave, and waits until it has, or kills it.
    pub(super) fn dismiss(self) {
        drop(self.connection);
        if let Body::Process(mut process) = self.body
            && process.join_timeout(FAREWELL).is_ok_and(|left| left.is_none())
        {
            let _ = process.kill();
            let _ = process.join_timeout(FAREWELL);
        }
    }
}
