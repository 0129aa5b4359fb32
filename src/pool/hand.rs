//! A worker as the pool has it: its process, or thread, and the pipe to it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::channel::{Connection, Pipe};
use crate::error::{Context, Result};
use crate::process::{ExitStatus, Process};
use crate::sys::task;

use super::builder::Plan;
use super::claim::Claim;
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
    pub(super) claim: Claim,
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
            Body::Process(builder.spawn(worker::process_main, (theirs, its_claim))?)
        };
        Ok(Self { body, connection: ours, claim, done: 0 })
    }

    pub(super) fn victim(&self) -> Option<Victim> {
        match &self.body {
            Body::Process(process) => Some(Victim::new(Arc::clone(process.child()))),
            Body::Thread(_) => None,
        }
    }

    /// The memory of the worker, in bytes.
    pub(super) fn memory(&self) -> u64 {
        match &self.body {
            Body::Process(process) => task::memory_of(process.pid()).unwrap_or(0),
            Body::Thread(_) => 0,
        }
    }

    /// Waits for the end of a worker that is dead or dying, or takes it for a stranger.
    pub(super) fn wait(self) -> (u32, ExitStatus) {
        drop(self.connection);
        match self.body {
            Body::Process(mut process) => {
                let _ = process.kill();
                let _ = process.join_timeout(FAREWELL);
                (process.pid(), process.exit_status().unwrap_or(ExitStatus::UNKNOWN))
            }
            Body::Thread(_) => (std::process::id(), ExitStatus::UNKNOWN),
        }
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
