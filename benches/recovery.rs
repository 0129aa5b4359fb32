//! How long it takes from `kill -9` of a participant until a survivor goes on.
//!
//! A child's death is told at once by the monitor of its parent, to everybody who shares memory
//! with both; of any other one those who wait learn within 100 ms. Nobody is pinned, and each death
//! is of a process of its own, which is not killed before the survivor sleeps.

mod deaths;
mod support;

use deaths::scenes::{
    FullPipe, FullQueue, LastSender, LockOwner, MessageHolder, PermitOwner, PipeWriter,
};
use deaths::{orphan, own_child, servers, sibling, workers};
use support::delays::Delays;
use support::{is_wanted, start};

const SUPERVISED: &str = "From kill -9 until a survivor goes on, where a parent watches";
const UNSUPERVISED: &str = "From kill -9 until a survivor goes on, where nobody watches";

/// Those whom nobody watches are so many times as few: each takes 100 ms.
const FEWER: usize = 6;

fn main() {
    let rounds = start("recovery", 300);
    if is_wanted(SUPERVISED) {
        supervised(rounds);
    }
    if is_wanted(UNSUPERVISED) {
        unsupervised(rounds.div_ceil(FEWER));
    }
}

fn supervised(rounds: usize) {
    Delays::new(SUPERVISED, "the dead, and who goes on", rounds)
        .row("who writes into a pipe; its parent, in `recv`", own_child::<PipeWriter>)
        .row("who reads a pipe; its parent, in `send` without room", own_child::<FullPipe>)
        .row("last sender of a queue; its parent, in `recv`", own_child::<LastSender>)
        .row("last receiver of a queue; its parent, in `send` without room", own_child::<FullQueue>)
        .row("who has a message; its parent gets it", own_child::<MessageHolder>)
        .row("owner of a `Lock`; its parent has it", own_child::<LockOwner>)
        .row("owner of a `Lock`; a sibling has it", sibling::<LockOwner>)
        .row("owner of a `Semaphore`'s permit; its parent has it", own_child::<PermitOwner>)
        .row("worker of a pool; who waits for its task has the error", workers::error_of_the_task)
        .row("worker of a pool; its successor has answered", workers::answer_of_the_successor)
        .row("server of a `Manager`; its owner, in a call", servers::owner_calls);
}

fn unsupervised(rounds: usize) {
    Delays::new(UNSUPERVISED, "the dead, and who goes on", rounds)
        .row("who writes into a pipe; a stranger, in `recv`", orphan::<PipeWriter>)
        .row("who reads a pipe; a stranger, in `send` without room", orphan::<FullPipe>)
        .row("last sender of a queue; a stranger, in `recv`", orphan::<LastSender>)
        .row("last receiver of a queue; a stranger, in `send` without room", orphan::<FullQueue>)
        .row("who has a message; a stranger gets it", orphan::<MessageHolder>)
        .row("owner of a `Lock`; a stranger has it", orphan::<LockOwner>)
        .row("owner of a `Semaphore`'s permit; a stranger has it", orphan::<PermitOwner>)
        .row("server of a `Manager`; who is not its owner, in a call", servers::client_calls);
}
